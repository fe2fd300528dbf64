//! The groups of pods and of addresses that rules mean, before sets are made of them.

use std::collections::HashMap;
use std::sync::Arc;

use lockgate_dataplane::policy::ruleset::{Block, Peers, PodIndex, Policy, Rule, SetId};

use super::world::Doubt;
use crate::policy::Selection;

/// Pods at an end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pods {
    /// These, ascending.
    Listed(Vec<PodIndex>),
    /// All that are selected, whoever that will be.
    Selected(Arc<Selection>, Doubt),
}

impl Pods {
    pub(super) fn nobody() -> Self {
        Self::Listed(Vec::new())
    }

    /// Whether nobody can be among them.
    pub(super) fn is_nobody(&self) -> bool {
        matches!(self, Self::Listed(pods) if pods.is_empty())
    }
}

/// What a set will be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// Of pods.
    Pods(Pods),
    /// Of addresses.
    Blocks(Vec<Block>),
}

/// Groups by number: equal ones have the same.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    list: Vec<Group>,
    ids: HashMap<Group, SetId>,
}

impl Groups {
    pub(super) fn of(&mut self, group: Group) -> SetId {
        *self.ids.entry(group).or_insert_with_key(|group| {
            self.list.push(group.clone());
            SetId(u32::try_from(self.list.len().saturating_sub(1)).unwrap_or(u32::MAX))
        })
    }

    /// All of them, by number.
    pub(crate) fn into_list(self) -> Vec<Group> {
        self.list
    }
}

/// The same policy where each of its sets has another number, as `ids` says by the old one.
pub(crate) fn renumbered(policy: Policy, ids: &[SetId]) -> Policy {
    // Each has one: the policy has its sets of where `ids` was made.
    let id = |old: SetId| {
        let at = usize::try_from(old.0).ok();
        at.and_then(|at| ids.get(at)).copied().unwrap_or(old)
    };
    let side = |rules: Option<Arc<[Rule]>>| -> Option<Arc<[Rule]>> {
        let rule = |rule: &Rule| Rule {
            subjects: rule.subjects.map(id),
            peers: match &rule.peers {
                Peers::Any => Peers::Any,
                Peers::Sets(sets) => {
                    let mut sets: Vec<SetId> = sets.iter().copied().map(id).collect();
                    sets.sort_unstable();
                    sets.dedup();
                    Peers::Sets(sets)
                }
            },
            ..rule.clone()
        };
        Some(rules?.iter().map(rule).collect())
    };
    let (ingress, egress) = (side(policy.ingress), side(policy.egress));
    Policy { subjects: id(policy.subjects), ingress, egress, ..policy }
}
