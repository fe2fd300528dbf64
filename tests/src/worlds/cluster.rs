//! Namespaces and pods of a made-up world.

use serde_json::{Map, Value, json};

use super::Choices;

const NAMESPACES: [&str; 4] = ["x", "y", "z", "default"];
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// What a pod listens on: the names come with other numbers and protocols elsewhere.
const PORTS: [(&str, u16, &str); 7] = [
    ("web", 80, "TCP"),
    ("web", 81, "TCP"),
    ("web", 80, "UDP"),
    ("dns", 53, "UDP"),
    ("dns", 53, "TCP"),
    ("sig", 80, "SCTP"),
    ("", 82, "TCP"),
];

/// The objects of 1 to 4 namespaces and 2 to 8 pods on 1 to 3 nodes.
pub(super) fn objects(choices: &mut Choices) -> Vec<Value> {
    let namespaces = &NAMESPACES[..=choices.below(NAMESPACES.len())];
    let nodes = 1 + choices.below(3);
    // Whether the pods of nodes 1, 2 and 3 say both addresses of their node, or one.
    let dual = [choices.chance(60), choices.chance(60), choices.chance(60)];
    let mut objects = Vec::new();
    for name in namespaces {
        // Some namespaces have no object: they still have their name's label.
        if !choices.chance(25) {
            objects.push(namespace(choices, name));
        }
    }
    for (number, name) in NAMES.iter().take(2 + choices.below(7)).enumerate() {
        let namespace = choices.pick(namespaces);
        let node = 1 + choices.below(nodes);
        let mut pod = pod(choices, namespace, name, number + 1, node);
        if dual[node - 1] {
            pod["status"]["hostIPs"] = json!([
                { "ip": format!("192.168.0.{node}") },
                { "ip": format!("fd01::{node}") },
            ]);
        }
        objects.push(pod);
    }
    objects
}

/// The namespaces that pods are in.
pub(super) fn namespaces_of(objects: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = objects
        .iter()
        .filter(|object| object["kind"] == "Pod")
        .map(|pod| pod["metadata"]["namespace"].as_str().unwrap_or("default").to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Labels from the alphabet: `app` and `tier`, each absent, `a`, `b` or empty.
fn labels(choices: &mut Choices) -> Value {
    let mut labels = Map::new();
    for key in ["app", "tier"] {
        if let Some(value) = choices.pick(&[Some("a"), Some("b"), None, Some("")]) {
            labels.insert(key.to_owned(), value.into());
        }
    }
    Value::Object(labels)
}

fn namespace(choices: &mut Choices, name: &str) -> Value {
    let mut metadata = json!({ "name": name });
    match choices.below(4) {
        0 | 1 => metadata["labels"] = labels(choices),
        2 => {
            metadata["labels"] = labels(choices);
            // The API server keeps this label true, whatever was written.
            metadata["labels"]["kubernetes.io/metadata.name"] = choices.pick(&[name, "x"]).into();
        }
        _ => {}
    }
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })
}

fn pod(choices: &mut Choices, namespace: &str, name: &str, number: usize, node: usize) -> Value {
    let mut metadata = json!({ "name": name });
    if namespace != "default" || choices.chance(50) {
        metadata["namespace"] = namespace.into();
    }
    if !choices.chance(15) {
        metadata["labels"] = labels(choices);
    }
    if choices.chance(10) {
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    let mut spec =
        json!({ "containers": [container(choices, "one")], "nodeName": format!("n{node}") });
    if choices.chance(20) {
        // A second container may use a name again, and a sidecar too.
        let more = container(choices, "two");
        spec["containers"] = json!([container(choices, "one"), more]);
    }
    if choices.chance(20) {
        let mut first = container(choices, "zero");
        first["restartPolicy"] = choices.pick(&[Value::Null, "Always".into()]);
        spec["initContainers"] = json!([first]);
    }
    let mut addresses = own_addresses(choices, number);
    let mut phase = "Running";
    match choices.below(12) {
        10 => phase = choices.pick(&["Succeeded", "Failed"]),
        11 => {
            spec["hostNetwork"] = true.into();
            addresses = vec![format!("192.168.0.{node}"), format!("fd01::{node}")];
        }
        _ => {}
    }
    if phase != "Running" && choices.chance(50) {
        // NP-53: the address of a completed pod may be another's already.
        addresses = own_addresses(choices, 1);
    }
    let ips: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
    let mut status = json!({ "phase": phase, "hostIP": format!("192.168.0.{node}") });
    if !addresses.is_empty() {
        status["podIP"] = addresses[0].clone().into();
        if addresses.len() > 1 || !choices.chance(20) {
            status["podIPs"] = ips.into();
        }
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec,
            "status": status })
}

fn own_addresses(choices: &mut Choices, number: usize) -> Vec<String> {
    let (v4, v6) = (format!("10.0.0.{number}"), format!("fd00::{number:x}"));
    match choices.below(10) {
        0..=3 => vec![v4, v6],
        4 => vec![v6, v4],
        5 | 6 => vec![v6],
        7 => vec![],
        _ => vec![v4],
    }
}

fn container(choices: &mut Choices, name: &str) -> Value {
    let mut ports: Vec<Value> = Vec::new();
    for _ in 0..choices.below(4) {
        let (name, number, protocol) = choices.pick(&PORTS);
        let mut port = json!({ "containerPort": number });
        // A name is unique in a container, at least on each protocol.
        let taken = ports.iter().any(|port| {
            port["name"] == name && port["protocol"].as_str().unwrap_or("TCP") == protocol
        });
        if !name.is_empty() && !taken {
            port["name"] = name.into();
        }
        if protocol != "TCP" || choices.chance(50) {
            port["protocol"] = protocol.into();
        }
        ports.push(port);
    }
    let mut container = json!({ "name": name, "image": "i" });
    if !ports.is_empty() {
        container["ports"] = ports.into();
    }
    container
}
