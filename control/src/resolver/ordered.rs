//! Ordered policies in the kept rules: all are worked out anew, as [`resolve`](crate::resolve) does
//! it, when anything changes that they may mean. Their sets are told whole.

use std::collections::{BTreeSet, HashMap};

use lockgate_dataplane::policy::delta::Delta;
use lockgate_dataplane::policy::ruleset::{Peers, PodIndex, Policy, PolicyId, Rule, SetId};

use super::Resolver;
use super::policies::{Held, Refers};
use super::sets::Meaning;
use crate::inventory::{Census, Inventory};
use crate::manifest::ObjectKey;
use crate::resolve::{Ordered, Sets};

impl Resolver {
    /// Works out all ordered policies, and tells what differs.
    pub(super) fn read_ordered(&mut self, inventory: &Inventory, delta: &mut Delta) {
        let mut left = std::mem::take(&mut self.ordered);
        if left.is_empty() && inventory.ordered_policies().next().is_none() {
            return;
        }
        let census = Census::of(inventory);
        let ordered = Ordered::new(inventory, &census.residents);
        let mut sets = Sets::default();
        let policies: Vec<(ObjectKey, Policy)> = inventory
            .ordered_policies()
            .filter_map(|one| Some((one.metadata.key.clone(), ordered.policy(one, &mut sets)?)))
            .collect();
        let place = |key| self.pods.place(key).map(PodIndex);
        let places: Vec<Option<PodIndex>> =
            census.residents.iter().map(|one| place(&one.pod.metadata.key)).collect();
        let mut kept = Kept { meanings: meanings(sets, &places), ids: HashMap::new() };
        for (key, policy) in policies {
            let id = self.policies.place(&key);
            let mut refers = Refers::default();
            let told = self.kept(policy, &mut kept, &mut refers);
            self.tell_ordered(id, Held { told: Some(told), refers }, delta);
            left.remove(&key);
            self.ordered.insert(key);
        }
        for key in left {
            let id = self.policies.place(&key);
            self.tell_ordered(id, Held::default(), delta);
            self.policies.forget(&key, id);
        }
    }

    fn tell_ordered(&mut self, id: PolicyId, new: Held, delta: &mut Delta) {
        let old = self.policies.exchange(id, new);
        let told = self.policies.told(id);
        if told != old.told.as_ref() {
            delta.policies.push((id, told.cloned()));
        }
        self.drop_refers(id, old.refers, &Refers::default());
    }

    /// The same with the sets that are kept.
    fn kept(&mut self, policy: Policy, kept: &mut Kept, refers: &mut Refers) -> Policy {
        // Each set once for each policy that refers to it.
        kept.ids.clear();
        let subjects = self.kept_set(policy.subjects, kept, refers);
        let mut side = |rules: Option<std::sync::Arc<[Rule]>>| {
            let rules = rules?;
            let rules = rules.iter().map(|rule| Rule {
                subjects: rule.subjects.map(|set| self.kept_set(set, kept, refers)),
                peers: match &rule.peers {
                    Peers::Any => Peers::Any,
                    Peers::Sets(sets) => {
                        let ids = sets.iter().map(|set| self.kept_set(*set, kept, refers));
                        let ids: BTreeSet<SetId> = ids.collect();
                        Peers::Sets(ids.into_iter().collect())
                    }
                },
                ..rule.clone()
            });
            Some(rules.collect::<Vec<_>>().into())
        };
        let (ingress, egress) = (side(policy.ingress), side(policy.egress));
        Policy { subjects, ingress, egress, ..policy }
    }

    fn kept_set(&mut self, set: SetId, kept: &mut Kept, refers: &mut Refers) -> SetId {
        if let Some(known) = kept.ids.get(&set) {
            return *known;
        }
        let meaning = kept.meanings.get(set.0 as usize).cloned();
        let (id, _) = self.refer(meaning.unwrap_or(Meaning::Listed(Vec::new())), refers);
        kept.ids.insert(set, id);
        id
    }
}

/// Sets made from nothing, and those kept that mean the same.
struct Kept {
    meanings: Vec<Meaning>,
    /// Of the policy that is read.
    ids: HashMap<SetId, SetId>,
}

/// What sets mean where pods have these places.
fn meanings(sets: Sets, places: &[Option<PodIndex>]) -> Vec<Meaning> {
    let meaning = |set: lockgate_dataplane::policy::ruleset::PeerSet| {
        if !set.blocks.is_empty() {
            return Meaning::Blocks(set.blocks);
        }
        let place = |pod: PodIndex| places.get(pod.0 as usize).copied().flatten();
        let mut pods: Vec<PodIndex> = set.pods.into_iter().filter_map(place).collect();
        pods.sort_unstable();
        Meaning::Listed(pods)
    };
    sets.into_list().into_iter().map(meaning).collect()
}
