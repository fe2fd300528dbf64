//! What can only be seen with all objects in view.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Census, Inventory, Resident};
use crate::manifest::{
    INTERFACE_FIELD, Metadata, Object, ObjectKey, Origin, Pod, Problem, Severity,
};
use crate::policy::{Kind, Order, OrderedPolicy, StagedAction, is_always_there};

/// Everything that does not fit.
pub(super) fn between_objects(inventory: &Inventory) -> Vec<Problem> {
    let census = Census::of(inventory);
    let mut found = Vec::new();
    found.extend(written_twice(inventory));
    found.extend(shared_addresses(&census));
    found.extend(pods_on_node_addresses(inventory, &census));
    found.extend(pods_without_address(inventory));
    found.extend(shared_interfaces(inventory));
    found.extend(namespaces_without_object(inventory));
    found.extend(departed_policies(inventory));
    found.extend(ordered_policies(inventory));
    found
}

/// What becomes of objects that a document which is none may have been.
pub(super) fn of_strays(
    file: &str,
    stray: u32,
    kept: &BTreeSet<ObjectKey>,
    stand_ins: &[Object],
) -> Vec<Problem> {
    let told = |key: &ObjectKey, line, what: &str| {
        let message = format!("document {stray} of its file is no object and may have been {what}");
        let remedy = "mend the document, or remove it";
        let place = (Some(file), line);
        Problem::of_object(Severity::Error, place, &key.to_string(), "", &message, remedy)
    };
    let kept = kept.iter().map(|key| told(key, None, "this one: it stays in force as last read"));
    let stand_ins = stand_ins.iter().map(|one| {
        let (key, line) = (&one.metadata().key, one.metadata().origin.line);
        told(key, Some(line), "this policy: it isolates or denies as stated, and opens nothing")
    });
    kept.chain(stand_ins).collect()
}

fn finding(
    severity: Severity,
    metadata: &Metadata,
    field: &str,
    (message, remedy): (&str, &str),
) -> Problem {
    let origin = &metadata.origin;
    let line = (origin.line > 0).then_some(origin.line);
    let place = (Some(&*origin.file), line);
    Problem::of_object(severity, place, &metadata.key.to_string(), field, message, remedy)
}

fn written_twice(inventory: &Inventory) -> Vec<Problem> {
    let told = |(counts, earlier): (&Metadata, &Metadata)| {
        let Origin { file, line, .. } = &counts.origin;
        let message = format!("is written again in {file}:{line}, which counts");
        let text = (message.as_str(), "remove one of them");
        finding(Severity::Error, earlier, "", text)
    };
    inventory.rewritten().map(told).collect()
}

fn shared_addresses(census: &Census<'_>) -> Vec<Problem> {
    let places: BTreeSet<usize> = census.shared.values().flatten().copied().collect();
    let sharers = places.into_iter().filter_map(|place| census.residents.get(place));
    sharers.flat_map(|one| of_sharer(census, one)).collect()
}

/// Whose addresses a pod has too.
pub(super) fn of_sharer(census: &Census<'_>, sharer: &Resident<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    for (address, places) in &census.shared {
        let sharers = || places.iter().filter_map(|one| census.residents.get(*one));
        if !sharers().any(|one| one.endpoint == sharer.endpoint) {
            continue;
        }
        let others = sharers().filter(|other| other.endpoint != sharer.endpoint);
        let others: Vec<_> = others.map(Resident::name).collect();
        let message = format!(
            "{address} is the address of {} too: nothing reaches or leaves either",
            others.join(", ")
        );
        let text = (message.as_str(), "give each pod an address of its own");
        found.push(finding(Severity::Error, &sharer.pod.metadata, "status.podIPs", text));
    }
    found
}

fn pods_on_node_addresses(inventory: &Inventory, census: &Census<'_>) -> Vec<Problem> {
    let nodes: BTreeSet<_> = inventory.pods().flat_map(|pod| &*pod.host_ips).collect();
    let mut found = Vec::new();
    for resident in &census.residents {
        for address in resident.owned.iter().filter(|address| nodes.contains(address)) {
            let message = format!("{address} is a node's address too: it is taken for the pod's");
            let text = (message.as_str(), "set hostNetwork: true, or mend podIP or hostIP");
            found.push(finding(Severity::Warning, &resident.pod.metadata, "status.podIPs", text));
        }
    }
    found
}

fn pods_without_address(inventory: &Inventory) -> Vec<Problem> {
    let is_lost = |pod: &&Pod| !pod.is_completed && pod.addresses.is_empty() && !pod.host_network;
    let text = ("the pod has no address: it is judged once it has one", "add status.podIPs");
    inventory
        .pods()
        .filter(is_lost)
        .map(|pod| finding(Severity::Notice, &pod.metadata, "status.podIPs", text))
        .collect()
}

fn shared_interfaces(inventory: &Inventory) -> Vec<Problem> {
    let mut by_name: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in inventory.pods().filter(|pod| !pod.is_completed) {
        if let Some(name) = &pod.interface {
            by_name.entry(name).or_default().push(pod);
        }
    }
    let mut found = Vec::new();
    for (name, pods) in by_name.iter().filter(|(_, pods)| pods.len() > 1) {
        let message = format!("interface {name} is another pod's too: neither gets it");
        let text = (message.as_str(), "give each pod an interface of its own");
        let error = |pod: &&Pod| finding(Severity::Error, &pod.metadata, INTERFACE_FIELD, text);
        found.extend(pods.iter().map(error));
    }
    found
}

fn namespaces_without_object(inventory: &Inventory) -> Vec<Problem> {
    let known: BTreeSet<_> = inventory.namespaces().map(|one| &one.metadata.key.name).collect();
    let keys = inventory.pods().map(|pod| &pod.metadata.key).filter(|key| !key.is_lost());
    let used: BTreeSet<_> = keys.map(|key| &key.namespace).collect();
    used.difference(&known)
        .map(|name| {
            Problem::of_object(
                Severity::Notice,
                (None, None),
                &format!("Namespace {name}"),
                "",
                "has pods but no object: its only label is its name",
                "add the Namespace if selectors need its labels",
            )
        })
        .collect()
}

fn departed_policies(inventory: &Inventory) -> Vec<Problem> {
    let message = "was deleted while its namespace is terminating: it isolates until the namespace \
                   and its last pod are gone, and opens nothing";
    let remedy = "nothing to do; to lift it at once, let the namespace live";
    let place = (None, None);
    let told = |key: &ObjectKey| {
        Problem::of_object(Severity::Notice, place, &key.to_string(), "", message, remedy)
    };
    inventory.departed().map(told).collect()
}

/// What is to be known of a policy that is not enforced.
fn unenforced(inventory: &Inventory, policy: &OrderedPolicy) -> Option<Problem> {
    let is_there = |key: ObjectKey| {
        inventory.policy(&key).is_some() || inventory.ordered_policy(&key).is_some()
    };
    let text = match policy.staged? {
        StagedAction::Delete if !policy.metadata.key.enforced().is_some_and(is_there) => (
            "is staged to take the policy of its name away, and there is none",
            "mend the name, or delete it",
        ),
        StagedAction::Set => (
            "is staged: it decides nothing, and lockgate audit tells what it would",
            "put it in force once that is what is meant",
        ),
        StagedAction::Delete => (
            "is staged to take the policy of its name away: lockgate audit tells what would decide",
            "delete both once that is what is meant",
        ),
        StagedAction::Learn | StagedAction::Ignore => (
            "is staged and left out: it decides nothing, and nothing is told of what it would",
            "write stagedAction: Set to be told",
        ),
    };
    Some(finding(Severity::Notice, &policy.metadata, "", text))
}

/// What becomes of a policy whose tier is not there.
pub(crate) fn absent_tier(tier: &str) -> String {
    format!(
        "there is no Tier {tier}: the policy is asked after those of every tier that is there; what \
         it allows matches nothing, and what it passes is denied"
    )
}

/// What to do then.
pub(crate) const ADD_TIER: &str = "add the Tier, or name another";

/// Of policies that state one order and may be for one pod, all but the first: nothing but their
/// names says which is asked before (CNP-1).
fn equal_orders(inventory: &Inventory) -> Vec<Problem> {
    let is_stated = |one: &&OrderedPolicy| {
        one.staged.is_none() && one.order != Order::LAST && one.order != Order::FIRST
    };
    let mut places: BTreeMap<(Option<&str>, Order, bool), Vec<&OrderedPolicy>> = BTreeMap::new();
    for policy in inventory.ordered_policies().filter(is_stated) {
        // These come after all others of their order.
        let is_later = policy.kind == Kind::AdminNetworkPolicy;
        places.entry((policy.tier.as_deref(), policy.order, is_later)).or_default().push(policy);
    }
    let mut found = Vec::new();
    for mut equal in places.into_values().filter(|equal| equal.len() > 1) {
        equal.sort_by_key(|one| one.rank());
        // The first for all namespaces, and the first of each.
        let mut first: HashMap<&str, &OrderedPolicy> = HashMap::new();
        let all = equal.first().copied();
        for policy in equal {
            let space = &*policy.metadata.key.namespace;
            // One for all namespaces may be for the pods of any.
            let known = match space {
                "" => all.filter(|one| one.metadata.key != policy.metadata.key),
                space => first.get("").or_else(|| first.get(space)).copied(),
            };
            found.extend(known.map(|known| told_equal(policy, known)));
            first.entry(space).or_insert(policy);
        }
    }
    found
}

fn told_equal(policy: &OrderedPolicy, first: &OrderedPolicy) -> Problem {
    let first = &first.metadata.key;
    let message = format!("its order is that of {first} too, which is asked before it");
    let text = (message.as_str(), "give them different orders if it matters: see lockgate lint");
    let is_cluster = matches!(policy.kind, Kind::ClusterNetworkPolicy | Kind::AdminNetworkPolicy);
    let field = if is_cluster { "spec.priority" } else { "spec.order" };
    finding(Severity::Notice, &policy.metadata, field, text)
}

fn ordered_policies(inventory: &Inventory) -> Vec<Problem> {
    let mut found = equal_orders(inventory);
    for policy in inventory.ordered_policies() {
        found.extend(unenforced(inventory, policy));
        found.extend(without_tier(inventory, policy));
    }
    found
}

/// That a policy's tier is not there.
pub(crate) fn without_tier(inventory: &Inventory, policy: &OrderedPolicy) -> Option<Problem> {
    let tier = policy.tier.as_deref()?;
    let is_there = is_always_there(tier) || inventory.tier(tier).is_some();
    let message = absent_tier(tier);
    let text = (message.as_str(), ADD_TIER);
    (!is_there).then(|| finding(Severity::Error, &policy.metadata, "spec.tier", text))
}
