//! What policies denied and let open, by name and within a bound. Pure.
//!
//! The first policies to count are named, up to the bound, and stay named while they are there;
//! what others count goes to the series of no name, and stays there. So no series ever goes
//! backwards. One of a policy that is gone stays too, until a living one wants its place: the last
//! counts can still be scraped, and policies that come and go take nobody's place.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashSet;
use lockgate_dataplane::compiler::Counted;
use lockgate_dataplane::policy::ruleset::{Direction, Ruleset, View};

use super::family::{Families, Labels};
use super::float;

/// Sums of what was counted.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Packets denied, by direction.
    denied: [u64; 2],
    /// Connections opened, by direction.
    opened: [u64; 2],
    /// Packets that would be denied, and connections that would open, were all in force that is
    /// staged.
    next_denied: [u64; 2],
    next_opened: [u64; 2],
}

/// `namespace/name` and the kind.
type Named = (Arc<str>, &'static str);

/// What policies did since the start.
#[derive(Debug)]
pub struct PolicyCounts {
    /// So many are named.
    named_max: usize,
    /// By `namespace/name` and kind.
    named: BTreeMap<Named, Sums>,
    /// Of all that found no place.
    others: Sums,
}

impl PolicyCounts {
    /// Nothing yet; at most so many policies will be named.
    #[must_use]
    pub fn new(named_max: usize) -> Self {
        Self { named_max, named: BTreeMap::new(), others: Sums::default() }
    }

    /// Adds what was counted. Policies of the ruleset are there; others are gone.
    pub fn add(&mut self, counted: Vec<Counted>, ruleset: &Ruleset) {
        // Looked for once, and only where there is no place left.
        let mut gone: Option<Vec<Named>> = None;
        for Counted { policy, kind, direction, opened, view, count } in counted {
            let policy = (policy, *kind);
            if !self.named.contains_key(&policy) && self.named.len() >= self.named_max {
                let gone = gone.get_or_insert_with(|| self.gone(ruleset));
                if let Some(one) = gone.pop() {
                    self.named.remove(&one);
                }
            }
            let has_place = self.named.len() < self.named_max;
            let sums = match self.named.get_mut(&policy) {
                Some(sums) => sums,
                None if has_place => self.named.entry(policy).or_default(),
                None => &mut self.others,
            };
            let sums = match (view, opened) {
                (View::Next, true) => &mut sums.next_opened,
                (View::Next, false) => &mut sums.next_denied,
                (_, true) => &mut sums.opened,
                (_, false) => &mut sums.denied,
            };
            if let Some(sum) = sums.get_mut(direction as usize) {
                *sum = sum.saturating_add(count);
            }
        }
    }

    /// The named policies that are there no more.
    fn gone(&self, ruleset: &Ruleset) -> Vec<Named> {
        let there = ruleset.policies.iter().map(|policy| (&*policy.name, *policy.kind));
        let there: HashSet<(&str, &str)> = there.collect();
        let is_gone = |(name, kind): &&Named| !there.contains(&(&**name, *kind));
        self.named.keys().filter(is_gone).cloned().collect()
    }

    /// The families; only what was counted has a series.
    pub(super) fn families(&self, families: &mut Families) {
        families.counter(
            "policy_denied_packets_total",
            "Packets that a rule of the policy denies in a direction, or that no rule allows where the \
             tier of the policies that select the pod ends in denial: each of those counts the \
             packet. Without a name: all policies beyond policy_metrics_max.",
            self.series(|sums| sums.denied),
        );
        families.counter(
            "policy_allowed_connections_total",
            "Connections opened because a rule of the policy allows them in a direction; of several \
             policies the first by name counts. Without a name: all policies beyond \
             policy_metrics_max.",
            self.series(|sums| sums.opened),
        );
        families.counter(
            "policy_staged_denied_packets_total",
            "Packets that one side lets pass, and that the policy would have denied there \
             were all in force that is staged. Without a name: all policies beyond \
             policy_metrics_max.",
            self.series(|sums| sums.next_denied),
        );
        families.counter(
            "policy_staged_allowed_connections_total",
            "Packets that a rule of the policy would have allowed in a direction were all \
             in force that is staged, where something else decides now. Without a name: all \
             policies beyond policy_metrics_max.",
            self.series(|sums| sums.next_opened),
        );
    }

    fn series(&self, of: fn(&Sums) -> [u64; 2]) -> Vec<(Labels, f64)> {
        let mut series = Vec::new();
        for (direction, label) in [(Direction::Egress, "egress"), (Direction::Ingress, "ingress")] {
            let named = self.named.iter().map(|((name, kind), sums)| (&**name, *kind, sums));
            for (name, kind, sums) in named.chain([("", "", &self.others)]) {
                let count = of(sums).get(direction as usize).copied().unwrap_or(0);
                if count > 0 {
                    let (namespace, policy) = name.split_once('/').unwrap_or(("", name));
                    let labels = Labels::new()
                        .with("direction", label)
                        .with("kind", kind)
                        .with("namespace", namespace)
                        .with("policy", policy);
                    series.push((labels, float(count)));
                }
            }
        }
        series
    }
}

#[cfg(test)]
mod tests;
