//! Who is at an end: pods that live, their addresses, labels, ports and nodes.

use std::net::IpAddr;
use std::sync::LazyLock;

use lockgate_dataplane::packet::Protocol;
use serde_json::{Map, Value};

use super::reading::{at, field, protocol};
use super::{Cluster, End, Family, doubt};

/// An end of a question, found in the cluster.
pub(super) struct Found<'a> {
    /// The living pod that has the address, if one has.
    pub(super) pod: Option<&'a Value>,
    /// The address that packets would bear.
    pub(super) address: IpAddr,
}

/// Whether a pod hears from this address what a Service has brought back that it sent itself.
pub(super) fn is_switch(address: IpAddr) -> bool {
    ["169.254.1.1", "fd4c:6f63:6b67::3"].contains(&address.to_string().as_str())
}

/// Finds an end. A pod on its host's network is the address it uses (NP-41).
pub(super) fn find<'a>(
    cluster: &'a Cluster,
    end: &End,
    family: Family,
) -> Result<Found<'a>, String> {
    let (pod, address) = match end {
        End::Address(address) => {
            let has = |pod: &&Value| lives(pod) && addresses(pod).contains(address);
            (cluster.pods().find(has), *address)
        }
        End::Pod(namespace, name) => {
            let none = || format!("{namespace}/{name} has no {family:?} address");
            let named = |pod: &&Value| is_named(pod, namespace, name) && !is_completed(pod);
            let pod = cluster.pods().find(named).ok_or_else(none)?;
            let mut of_family = addresses(pod).into_iter().filter(|a| Family::of(*a) == family);
            (lives(pod).then_some(pod), of_family.next().ok_or_else(none)?)
        }
    };
    if Family::of(address) != family {
        return Err(format!("{address} is not {family:?}"));
    }
    Ok(Found { pod, address })
}

/// Whether selectors can mean the pod: not completed (NP-53), not on the host's network (NP-41),
/// with an address. A pod that is being deleted still lives.
pub(super) fn lives(pod: &Value) -> bool {
    !is_on_host(pod) && !is_completed(pod) && !addresses(pod).is_empty()
}

/// Whether another living pod claims an address of this one.
pub(super) fn is_shared(cluster: &Cluster, pod: &Value) -> bool {
    let own = addresses(pod);
    let shares = |other: &Value| addresses(other).iter().any(|address| own.contains(address));
    cluster.pods().any(|other| key(other) != key(pod) && lives(other) && shares(other))
}

/// Whether several living pods claim an address.
pub(super) fn is_claimed_twice(cluster: &Cluster, address: IpAddr) -> bool {
    cluster.pods().filter(|pod| lives(pod) && addresses(pod).contains(&address)).count() > 1
}

fn is_on_host(pod: &Value) -> bool {
    at(pod, "spec/hostNetwork").and_then(Value::as_bool) == Some(true)
}

fn is_completed(pod: &Value) -> bool {
    let phase = at(pod, "status/phase").and_then(Value::as_str);
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// `status.podIPs` or `status.podIP`, each once; of a pod with a network of its own, the first
/// of each family that a pod can have. Its node's is none.
pub(super) fn addresses(pod: &Value) -> Vec<IpAddr> {
    let mut found = listed(pod, "status/podIPs", "status/podIP");
    if !is_on_host(pod) {
        let node = node_addresses(pod);
        found.retain(|address| can_be_a_pods(*address) && !node.contains(address));
        let second = |at: usize| found[..at].iter().any(|one| one.is_ipv4() == found[at].is_ipv4());
        found = (0..found.len()).filter(|at| !second(*at)).map(|at| found[at]).collect();
    }
    found
}

fn can_be_a_pods(address: IpAddr) -> bool {
    let is_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || matches!(v4.octets()[0], 0 | 240..),
        // Loopback and unspecified are IPv4 in disguise, too.
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4().is_some(),
    };
    !(is_local || address.is_loopback() || address.is_multicast())
}

/// Whether the address is one of the pod's own node (NP-40): what the pods on it say of its
/// addresses, and what those on its network have. An address of a living pod never is.
pub(super) fn is_own_node(cluster: &Cluster, pod: &Value, address: IpAddr) -> bool {
    let own = node_addresses(pod);
    let mut beside = cluster.pods().filter(|other| {
        !is_completed(other) && node_addresses(other).iter().any(|host| own.contains(host))
    });
    beside.any(|other| {
        let on_host = is_on_host(other) && addresses(other).contains(&address);
        on_host || node_addresses(other).contains(&address)
    })
}

/// What a pod says of its node's addresses.
fn node_addresses(pod: &Value) -> Vec<IpAddr> {
    listed(pod, "status/hostIPs", "status/hostIP")
}

/// The addresses of a list, or the one beside it where there is no list. Where both are written
/// and the one is not in the list, they contradict each other: then nobody knows any.
fn listed(pod: &Value, many: &str, one: &str) -> Vec<IpAddr> {
    let read = |text: &Value| text.as_str()?.parse::<IpAddr>().ok();
    let many = at(pod, many).and_then(Value::as_array).into_iter().flatten();
    let many: Vec<_> = many.filter_map(|item| item.get("ip")).map(read).collect();
    let one = at(pod, one).filter(|one| !one.is_null() && *one != "").map(read);
    let all = match one {
        Some(one) if many.is_empty() => vec![one],
        Some(one) if one.is_none() || !many.contains(&one) => vec![],
        _ => many,
    };
    let mut found = Vec::new();
    for address in all.into_iter().flatten() {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// The namespace and name of a namespaced object; no namespace means `default`.
pub(super) fn key(object: &Value) -> (&str, &str) {
    let text = |path| at(object, path).and_then(Value::as_str).unwrap_or_default();
    let namespace = match text("metadata/namespace") {
        "" => "default",
        written => written,
    };
    (namespace, text("metadata/name"))
}

/// `namespace/name`; `?` before a namespace that cannot be one.
pub(super) fn full_name(object: &Value) -> String {
    let (namespace, name) = key(object);
    let doubt = if doubt::is_lost(object) { "?" } else { "" };
    format!("{doubt}{namespace}/{name}")
}

/// Whether the object has this namespace and name.
pub(super) fn is_named(object: &Value, namespace: &str, name: &str) -> bool {
    key(object) == (namespace, name)
}

/// An object's own labels.
pub(super) fn labels(object: &Value) -> &Map<String, Value> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    at(object, "metadata/labels").and_then(Value::as_object).unwrap_or(&NONE)
}

/// A namespace's labels: those of its object, if there is one, and its name's (NP-12). `None`
/// where they are not known; an object that nobody can name may be that of any without one.
pub(super) fn namespace_labels(cluster: &Cluster, namespace: &str) -> Option<Map<String, Value>> {
    let written = cluster
        .namespaces()
        .find(|object| at(object, "metadata/name").and_then(Value::as_str) == Some(namespace));
    let is_doubtful = match written {
        Some(object) => doubt::is_about_labels(object),
        None => cluster.namespaces().any(doubt::is_nameless),
    };
    let mut labels = written.map(labels).cloned().unwrap_or_default();
    labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.into());
    (!is_doubtful).then_some(labels)
}

/// The number that the pod's containers give to a port name on a protocol (NP-22): the first,
/// as in the API's own lookup. Sidecars (init containers that restart always) run beside the
/// containers and come after them; other init containers do not count.
/// Where one of them cannot be read the pod has none: another would take its name.
pub(super) fn named_port(pod: &Value, name: &str, wanted: Protocol) -> Option<u64> {
    if doubt::is_about_ports(pod) {
        return None;
    }
    let of = |path| at(pod, path).and_then(Value::as_array).into_iter().flatten();
    let sidecars = of("spec/initContainers")
        .filter(|container| at(container, "restartPolicy") == Some(&Value::from("Always")));
    let containers = of("spec/containers").chain(sidecars);
    let ports = containers.filter_map(|one| at(one, "ports").and_then(Value::as_array));
    ports.flatten().find_map(|port| {
        let is_named = field(port, "name").and_then(Value::as_str) == Some(name);
        let number = port.get("containerPort").and_then(Value::as_u64)?;
        let is_meant = is_named && protocol(port) == Ok(wanted) && (1..=65535).contains(&number);
        is_meant.then_some(number)
    })
}
