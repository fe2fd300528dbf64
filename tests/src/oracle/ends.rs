//! Who is at an end: pods that live, their addresses, labels, ports and nodes.

use std::net::IpAddr;

use lockgate_dataplane::packet::Protocol;
use serde_json::{Map, Value};

use super::reading::{field, protocol};
use super::{Cluster, End, Family};

/// An end of a question, found in the cluster.
pub(super) struct Found<'a> {
    /// The living pod that has the address, if one has.
    pub(super) pod: Option<&'a Value>,
    /// The address that packets would bear.
    pub(super) address: IpAddr,
}

/// Finds an end. A pod on its host's network is the address it uses (NP-41).
pub(super) fn find<'a>(
    cluster: &'a Cluster,
    end: &End,
    family: Family,
) -> Result<Found<'a>, String> {
    let address = match end {
        End::Address(address) => *address,
        End::Pod(namespace, name) => cluster
            .pods()
            .filter(|pod| is_named(pod, namespace, name) && !is_completed(pod))
            .flat_map(addresses)
            .find(|address| Family::of(*address) == family)
            .ok_or_else(|| format!("{namespace}/{name} has no {family:?} address"))?,
    };
    if Family::of(address) != family {
        return Err(format!("{address} is not {family:?}"));
    }
    let pod = cluster.pods().find(|pod| lives(pod) && addresses(pod).contains(&address));
    Ok(Found { pod, address })
}

/// Whether selectors can mean the pod: not completed (NP-53), not on the host's network (NP-41),
/// with an address. A pod that is being deleted still lives.
pub(super) fn lives(pod: &Value) -> bool {
    let on_host = pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true);
    !on_host && !is_completed(pod) && !addresses(pod).is_empty()
}

fn is_completed(pod: &Value) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// `status.podIPs` and `status.podIP`, each once.
pub(super) fn addresses(pod: &Value) -> Vec<IpAddr> {
    listed(pod, "/status/podIPs", "/status/podIP")
}

/// The addresses of the pod's node: `status.hostIPs` and `status.hostIP`.
pub(super) fn node_addresses(pod: &Value) -> Vec<IpAddr> {
    listed(pod, "/status/hostIPs", "/status/hostIP")
}

fn listed(pod: &Value, many: &str, one: &str) -> Vec<IpAddr> {
    let many = pod.pointer(many).and_then(Value::as_array).into_iter().flatten();
    let many = many.filter_map(|item| item.get("ip"));
    let mut found = Vec::new();
    for text in many.chain(pod.pointer(one)).filter_map(Value::as_str) {
        if let Ok(address) = text.parse()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// The namespace and name of a namespaced object; no namespace means `default`.
pub(super) fn key(object: &Value) -> (String, String) {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let namespace = match text("/metadata/namespace") {
        "" => "default",
        written => written,
    };
    (namespace.to_owned(), text("/metadata/name").to_owned())
}

/// `namespace/name`.
pub(super) fn full_name(object: &Value) -> String {
    let (namespace, name) = key(object);
    format!("{namespace}/{name}")
}

/// Whether the object has this namespace and name.
pub(super) fn is_named(object: &Value, namespace: &str, name: &str) -> bool {
    key(object) == (namespace.to_owned(), name.to_owned())
}

/// An object's own labels.
pub(super) fn labels(object: &Value) -> Map<String, Value> {
    object.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// A namespace's labels: those of its object, if there is one, and its name's (NP-12).
pub(super) fn namespace_labels(cluster: &Cluster, namespace: &str) -> Map<String, Value> {
    let written = cluster
        .namespaces()
        .find(|object| object.pointer("/metadata/name").and_then(Value::as_str) == Some(namespace));
    let mut labels = written.map(labels).unwrap_or_default();
    labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.into());
    labels
}

/// The numbers that the pod's containers give to a port name on a protocol (NP-22). Sidecars
/// (init containers that restart always) run beside the containers and count; others do not.
pub(super) fn named_ports(pod: &Value, name: &str, wanted: Protocol) -> Vec<u64> {
    let of = |pointer| pod.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let sidecars = of("/spec/initContainers").filter(|container| {
        container.get("restartPolicy").and_then(Value::as_str) == Some("Always")
    });
    let mut numbers = Vec::new();
    for container in of("/spec/containers").chain(sidecars) {
        let ports = container.get("ports").and_then(Value::as_array);
        for port in ports.into_iter().flatten() {
            let number = port.get("containerPort").and_then(Value::as_u64);
            if field(port, "name").and_then(Value::as_str) == Some(name)
                && protocol(port) == Ok(wanted)
                && let Some(number @ 1..=65535) = number
            {
                numbers.push(number);
            }
        }
    }
    numbers
}
