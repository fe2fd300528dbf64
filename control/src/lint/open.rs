//! Namespaces that are open by default: a pod without labels is isolated for ingress by nothing.

use std::collections::BTreeMap;

use lockgate_dataplane::policy::ruleset::{Action, Direction, End};

use super::reading::{Asked, Reading};
use super::spans::Packets;
use super::{Finding, finding};
use crate::inventory::Inventory;
use crate::manifest::{Metadata, ObjectKey, ObjectKind};
use crate::policy::Side;
use crate::resolve::Ordered;

/// Every namespace that is, by its object, or by its first pod where it has none.
pub(super) fn namespaces(
    inventory: &Inventory,
    reading: &Reading<'_>,
    ordered: &Ordered<'_>,
) -> Vec<Finding> {
    let mut all: BTreeMap<&str, Metadata> = BTreeMap::new();
    for one in inventory.namespaces().filter(|one| !one.metadata.key.is_lost()) {
        all.insert(&one.metadata.key.name, one.metadata.clone());
    }
    for pod in inventory.pods().filter(|pod| !pod.metadata.key.is_lost()) {
        let name = &pod.metadata.key.namespace;
        let key = ObjectKey::new(ObjectKind::Namespace, "", name.clone());
        all.entry(name).or_insert(Metadata { key, ..pod.metadata.clone() });
    }
    for going in inventory.namespaces().filter(|one| one.is_terminating) {
        all.remove(&*going.metadata.key.name);
    }
    let open = all.into_iter().filter_map(|(name, one)| Some((open(name, reading, ordered)?, one)));
    let remedy = "add a NetworkPolicy with podSelector: {} and policyTypes: [Ingress], and let no \
                  policy pass what is to reach it";
    let told = |(who, one): (&str, Metadata)| {
        let message = format!(
            "nothing isolates a pod of it for ingress that no policy selects by its labels: {who} \
             reaches it"
        );
        finding("open-namespace", &one, "", &message, remedy)
    };
    open.map(told).collect()
}

/// Who reaches a pod without labels that nothing isolates; `None` of one that is isolated.
fn open(namespace: &str, reading: &Reading<'_>, ordered: &Ordered<'_>) -> Option<&'static str> {
    let is_for_bare = |own: &Side| {
        let selected = own.selection.as_ref();
        let is_plain = *own == Side { selection: selected.cloned(), ..Side::default() };
        is_plain && selected.is_none_or(|selection| ordered.selects_bare(namespace, selection))
    };
    // What no rule has decided, and what of that rules pass on.
    let (mut left, mut passed) = (vec![Packets::all()], Vec::new());
    let mut who = "everyone";
    let is_for = |(_, asked): &(usize, &Asked<'_>)| {
        asked.resolved.rules(Direction::Ingress).is_some()
            && ordered.selects_bare(namespace, &asked.written.subject)
    };
    let mut policies = reading.policies.iter().enumerate().filter(is_for).peekable();
    while let Some((place, asked)) = policies.next() {
        for piece in reading.pieces.iter().filter(|piece| piece.at.policy == place) {
            // One that is broken denies everything, as it is enforced.
            let rule = asked.rule(piece.at);
            let is_whole = rule.is_none_or(|rule| piece.is_exact && is_for_bare(&rule.own));
            let is_ingress = piece.at.direction == Direction::Ingress;
            let decides = !matches!(piece.action, Action::Log);
            if is_ingress && decides {
                // One of which only a part is for such a pod may deny too.
                let is_met = left.iter().any(|one| one.meets(&piece.packets));
                if piece.action == Action::Deny && is_met {
                    who = "whoever no rule denies";
                }
                if !is_whole {
                    continue;
                }
                if piece.action == Action::Pass {
                    passed.extend(left.iter().map(|one| one.and(&piece.packets)));
                }
                left = left.into_iter().flat_map(|one| one.less(&piece.packets)).collect();
            }
        }
        let tier = &asked.resolved.tier;
        if policies.peek().is_none_or(|(_, next)| next.resolved.tier != *tier) {
            // It isolates, unless its rules decide of everything.
            if tier.end == End::Deny && !left.is_empty() {
                return None;
            }
            passed.retain(|one| !one.is_empty());
            left.append(&mut passed);
        }
    }
    (!left.is_empty()).then_some(who)
}
