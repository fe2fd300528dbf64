//! Pods and namespaces that cannot be known: what broken fields leave open of them (NP-59).
//!
//! What policy asks of a pod is who it is (its namespace, its labels), whether it is on its host's
//! network, and whether it has ended. Of a namespace: its labels, and whether it is going. Where
//! that is written as the API would not have it, or a field may be it misspelt, it is not known,
//! and never taken for absent.

use serde_json::Value;

use super::label;
use super::reading::{field, is_port_name, only, protocol};

const OBJECT_FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
const METADATA_FIELDS: [&str; 16] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "clusterName",
];

/// Whether it is not known whom policy would make of the pod: nothing may reach or leave it.
pub(super) fn is_about_pod(pod: &Value) -> bool {
    let phase = within(pod, "status", "phase");
    let is_phase = |one: &Value| {
        ["Pending", "Running", "Succeeded", "Failed", "Unknown", ""].iter().any(|name| one == name)
    };
    is_lost(pod)
        || is_about_labels(pod)
        || is_about_part(pod, "spec", &["hostNetwork", "containers", "initContainers"])
        || is_about_part(pod, "status", &["phase", "podIP", "podIPs", "hostIP", "hostIPs"])
        || within(pod, "spec", "hostNetwork").is_some_and(|one| !one.is_boolean())
        || phase.is_some_and(|one| !is_phase(one))
}

/// Whether an object's labels are not known.
pub(super) fn is_about_labels(object: &Value) -> bool {
    match within(object, "metadata", "labels") {
        None => !has_whole_metadata(object),
        Some(Value::Object(labels)) => labels.iter().any(|(key, value)| {
            let is_value = |text| label::check_value(text).is_ok();
            label::check_key(key).is_err() || !value.as_str().is_some_and(is_value)
        }),
        Some(_) => true,
    }
}

/// Whether a namespace may be going, for all that can be read of it.
pub(super) fn may_be_going(namespace: &Value) -> bool {
    let stays = |phase: &Value| phase == "Active" || phase == "";
    within(namespace, "metadata", "deletionTimestamp").is_some()
        || within(namespace, "status", "phase").is_some_and(|phase| !stays(phase))
        || is_about_part(namespace, "status", &["phase"])
        || !has_whole_metadata(namespace)
}

/// Whether nobody can tell in which namespace a namespaced object is.
pub(super) fn is_lost(object: &Value) -> bool {
    match within(object, "metadata", "namespace") {
        None => !has_whole_metadata(object),
        Some(Value::String(name)) if name.is_empty() => !has_whole_metadata(object),
        Some(name) => !is_namespace_name(name),
    }
}

/// Whether nobody can tell which namespace an object is.
pub(super) fn is_nameless(namespace: &Value) -> bool {
    !within(namespace, "metadata", "name").is_some_and(is_namespace_name)
}

/// Whether the rules of a policy are of another API than ours.
pub(super) fn is_outdated(policy: &Value) -> bool {
    policy["apiVersion"] != "networking.k8s.io/v1" || policy["kind"] != "NetworkPolicy"
}

/// Whether a container's port, or where it would stand, cannot be read.
pub(super) fn is_about_ports(pod: &Value) -> bool {
    ["containers", "initContainers"].into_iter().any(|list| match within(pod, "spec", list) {
        None => false,
        Some(Value::Array(containers)) => {
            containers.iter().any(|one| is_about_container(one, list == "initContainers"))
        }
        Some(_) => true,
    })
}

fn is_about_container(container: &Value, is_init: bool) -> bool {
    let restarts = field(container, "restartPolicy").filter(|_| is_init);
    let known = ["Always", "OnFailure", "Never", ""];
    if is_misspelt(container, &["ports", "restartPolicy"])
        || restarts.is_some_and(|one| known.iter().all(|name| one != name))
    {
        return true;
    }
    if is_init && restarts.is_none_or(|one| one != "Always") {
        return false;
    }
    match field(container, "ports") {
        None => false,
        Some(Value::Array(ports)) => ports.iter().any(is_about_port),
        Some(_) => true,
    }
}

fn is_about_port(port: &Value) -> bool {
    let fields = ["name", "containerPort", "protocol", "hostPort", "hostIP"];
    let Ok(()) = only(port, &fields) else { return true };
    match field(port, "name") {
        // What has no name can be asked for by none.
        None => false,
        Some(Value::String(name)) if name.is_empty() => false,
        Some(Value::String(name)) => {
            let number = field(port, "containerPort").and_then(Value::as_u64);
            let is_number = number.is_some_and(|number| (1..=65535).contains(&number));
            !is_port_name(name) || !is_number || protocol(port).is_err()
        }
        Some(_) => true,
    }
}

/// One DNS label.
fn is_namespace_name(name: &Value) -> bool {
    let Some(name) = name.as_str() else { return false };
    let is_outer = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.chars().all(|letter| is_outer(letter) || letter == '-')
        && name.starts_with(is_outer)
        && name.ends_with(is_outer)
}

/// Whether every field of the object's metadata is one there is.
fn has_whole_metadata(object: &Value) -> bool {
    let metadata = field(object, "metadata").and_then(Value::as_object);
    metadata.is_some_and(|all| all.keys().all(|name| METADATA_FIELDS.contains(&name.as_str())))
}

/// Whether a part of an object is no map, may be written under another name, or may itself hold
/// one of these fields in another spelling.
fn is_about_part(object: &Value, part: &str, fields: &[&str]) -> bool {
    let Some(written) = field(object, part) else {
        let all = object.as_object().into_iter().flatten();
        return all.map(|(name, _)| name).any(|name| !OBJECT_FIELDS.contains(&name.as_str()));
    };
    is_misspelt(written, fields)
}

/// Whether it is no map, or one of the fields is absent but there in other letters.
fn is_misspelt(written: &Value, fields: &[&str]) -> bool {
    let Some(map) = written.as_object() else { return true };
    let is_wanted = |name: &String| {
        let meant = fields.iter().find(|known| name.eq_ignore_ascii_case(known));
        meant.is_some_and(|known| field(written, known).is_none() && known != name)
    };
    map.keys().any(is_wanted)
}

fn within<'a>(object: &'a Value, part: &str, name: &str) -> Option<&'a Value> {
    field(field(object, part)?, name)
}
