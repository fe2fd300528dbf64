//! What rules of ordered policy refer to.

use serde_json::{Value, json};

use crate::worlds::Choices;

pub(super) const ACCOUNTS: [&str; 3] = ["default", "robot", "clerk"];
const SETS: [&[&str]; 6] = [
    &["10.0.0.0/30"],
    &["203.0.113.0/24", "2001:db8::/32"],
    &["10.0.0.3/32", "fd00::3/128", "192.168.0.0/30"],
    &["10.0.0.5"],
    &[],
    &["0.0.0.0/0"],
];
/// Addresses of nodes, of nobody and of pods.
const HOSTS: [&[&str]; 8] = [
    &["192.168.0.1", "fd01::1"],
    &["203.0.113.7", "2001:db8::9"],
    &["10.0.0.3"],
    &["fd00::2", "192.168.0.2"],
    &["198.51.100.9", "10.0.0.1", "fd00::1"],
    &["fd02::9"],
    &["10.0.0.4", "fd00::4"],
    &[],
];

/// Lets some pods run as an account of their own.
pub(super) fn give_accounts(objects: &mut [Value], choices: &mut Choices) {
    for pod in objects.iter_mut().filter(|object| object["kind"] == "Pod") {
        if let Some(name) = choices.pick(&[None, Some("robot"), Some("clerk"), Some("default")]) {
            pod["spec"]["serviceAccountName"] = name.into();
        }
    }
}

/// Labels from the alphabet of the pods.
fn labels(choices: &mut Choices) -> Value {
    let mut labels = json!({});
    for key in ["app", "tier"] {
        if let Some(value) = choices.pick(&[Some("a"), Some("b"), None, Some("")]) {
            labels[key] = value.into();
        }
    }
    labels
}

pub(super) fn accounts(choices: &mut Choices, namespaces: &[String]) -> Vec<Value> {
    let mut all = Vec::new();
    for namespace in namespaces {
        for name in ACCOUNTS {
            // Some have no object: they still have their name.
            if choices.chance(60) {
                let metadata =
                    json!({ "name": name, "namespace": namespace, "labels": labels(choices) });
                all.push(
                    json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata }),
                );
            }
        }
    }
    all
}

pub(super) fn nodes(choices: &mut Choices) -> Vec<Value> {
    let node = |choices: &mut Choices, number: usize| {
        let addresses = json!([
            { "type": "InternalIP", "address": format!("192.168.0.{number}") },
            { "type": "InternalIP", "address": format!("fd01::{number}") },
            { "type": "ExternalIP", "address": format!("203.0.113.{number}") },
            { "type": "Hostname", "address": format!("n{number}") },
        ]);
        json!({ "apiVersion": "v1", "kind": "Node",
                "metadata": { "name": format!("n{number}"), "labels": labels(choices) },
                "status": { "addresses": addresses } })
    };
    (1..=3).map(|number| node(choices, number)).collect()
}

pub(super) fn sets(choices: &mut Choices, namespaces: &[String]) -> Vec<Value> {
    (0..choices.below(5)).map(|number| set(choices, namespaces, number)).collect()
}

fn set(choices: &mut Choices, namespaces: &[String], number: usize) -> Value {
    let is_global = choices.chance(50);
    let kind = if is_global { "GlobalNetworkSet" } else { "NetworkSet" };
    let nets = choices.pick(&SETS);
    let labels = labels(choices);
    let mut metadata = json!({ "name": format!("set{number}") });
    if !is_global {
        metadata["namespace"] = choices.pick(namespaces).into();
    }
    let version = give_labels(choices, &mut metadata, labels);
    json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": { "nets": nets } })
}

/// As an API has labels or as Calico stores them; in which version that is.
fn give_labels(choices: &mut Choices, metadata: &mut Value, labels: Value) -> &'static str {
    if choices.below(4) == 0 {
        let given = json!({ "labels": labels }).to_string();
        metadata["annotations"] = json!({ "projectcalico.org/metadata": given });
        return "crd.projectcalico.org/v1";
    }
    metadata["labels"] = labels;
    "projectcalico.org/v3"
}

/// One to three host endpoints.
pub(super) fn hosts(choices: &mut Choices) -> Vec<Value> {
    (0..=choices.below(3)).map(|number| host(choices, number)).collect()
}

fn host(choices: &mut Choices, number: usize) -> Value {
    let mut metadata = json!({ "name": format!("host{number}") });
    let labels = labels(choices);
    let version = give_labels(choices, &mut metadata, labels);
    let mut spec = json!({ "node": format!("n{}", 1 + number), "interfaceName": "eth0" });
    if !choices.chance(10) {
        spec["expectedIPs"] = json!(choices.pick(&HOSTS));
    }
    if choices.chance(30) {
        // What a rule calls so is of pods alone.
        spec["ports"] = json!([{ "name": "web", "port": 80, "protocol": "TCP" }]);
    }
    json!({ "apiVersion": version, "kind": "HostEndpoint", "metadata": metadata, "spec": spec })
}

/// Two services, each by a slice for each family or by none.
pub(super) fn slices(choices: &mut Choices, namespaces: &[String]) -> Vec<Value> {
    let mut all = Vec::new();
    for name in ["shop", "store"] {
        let namespace = choices.pick(namespaces);
        let metadata = json!({ "name": name, "namespace": namespace });
        all.push(json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata,
                         "spec": { "ports": [{ "port": 8000, "targetPort": 80 }] } }));
        for (family, stem) in [("IPv4", "10.0.0."), ("IPv6", "fd00::")] {
            let some: Vec<String> =
                (0..=choices.below(3)).map(|_| format!("{stem}{}", 1 + choices.below(8))).collect();
            let port = choices.pick(&[80, 81, 53]);
            let protocol = choices.pick(&["TCP", "UDP"]);
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": format!("{name}-{}", family.to_lowercase()),
                    "namespace": namespace,
                    "labels": { "kubernetes.io/service-name": name },
                },
                "addressType": family,
                "endpoints": [{ "addresses": some, "conditions": { "ready": true } }],
                "ports": [{ "name": "web", "port": port, "protocol": protocol }],
            });
            all.push(slice);
        }
    }
    all
}

/// Tiers before and after those that are always there; none is called `absent`.
pub(super) fn tiers(choices: &mut Choices) -> Vec<Value> {
    let orders = [
        json!(1),
        json!(-5.5),
        json!(1000),
        json!(999_999.5),
        json!(20_000_000),
        Value::Null,
        json!(1_000_000),
    ];
    let tier = |choices: &mut Choices, name: &str| {
        let mut spec = json!({});
        let order = choices.pick(&orders);
        if !order.is_null() {
            spec["order"] = order;
        }
        if let Some(action) = choices.pick(&[None, Some("Deny"), Some("Pass"), Some("Pass")]) {
            spec["defaultAction"] = action.into();
        }
        let version = choices.pick(&["projectcalico.org/v3", "crd.projectcalico.org/v1"]);
        json!({ "apiVersion": version, "kind": "Tier", "metadata": { "name": name }, "spec": spec })
    };
    ["early", "open", "late"].iter().map(|name| tier(choices, name)).collect()
}
