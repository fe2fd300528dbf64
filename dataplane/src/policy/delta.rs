//! What changes between two rulesets, by place.
//!
//! A place is given to one pod, set or policy for as long as it lives, and is empty afterwards; in
//! one delta no place changes hands. [`Ruleset::apply`] is the trivial reading; the kept tables
//! (`compile::kept`) make their changes from the same lists.

use super::ruleset::{PeerSet, Pod, PodIndex, Policy, PolicyId, Ruleset, SetId};
use crate::ids::EndpointId;

/// A change of a [`Ruleset`]. Each place occurs at most once in each list, each member of a set
/// at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Pods that are new or differ; `None`: gone. A gone pod has left all its sets.
    pub pods: Vec<(PodIndex, Option<Pod>)>,
    /// Sets made, as they are in the end; `None`: gone, nothing refers to it.
    pub sets: Vec<(SetId, Option<PeerSet>)>,
    /// Pods that join (true) or leave a set which was there before.
    pub members: Vec<(SetId, PodIndex, bool)>,
    /// Policies that are new or differ; `None`: gone.
    pub policies: Vec<(PolicyId, Option<Policy>)>,
}

impl Delta {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
            && self.sets.is_empty()
            && self.members.is_empty()
            && self.policies.is_empty()
    }

    /// All of a ruleset, for whoever has nothing yet.
    #[must_use]
    pub fn of(ruleset: &Ruleset) -> Self {
        let Ruleset { pods, sets, policies } = ruleset.clone();
        Self {
            pods: (0..).map(PodIndex).zip(pods.into_iter().map(Some)).collect(),
            sets: (0..).map(SetId).zip(sets.into_iter().map(Some)).collect(),
            members: Vec::new(),
            policies: (0..).map(PolicyId).zip(policies.into_iter().map(Some)).collect(),
        }
    }
}

impl Ruleset {
    /// Takes a change in.
    pub fn apply(&mut self, delta: Delta) {
        for (id, set) in delta.sets {
            put(&mut self.sets, id.0, set, PeerSet::default);
        }
        for (id, pod) in delta.pods {
            put(&mut self.pods, id.0, pod, no_pod);
        }
        for (id, pod, joins) in delta.members {
            let Some(set) = self.sets.get_mut(id.0 as usize) else { continue };
            match (set.pods.binary_search(&pod), joins) {
                (Err(at), true) => set.pods.insert(at, pod),
                (Ok(at), false) => _ = set.pods.remove(at),
                _ => {}
            }
        }
        for (id, policy) in delta.policies {
            put(&mut self.policies, id.0, policy, no_policy);
        }
    }
}

/// Puts a value in its place, which may be beyond the end.
fn put<T>(all: &mut Vec<T>, at: u32, value: Option<T>, empty: impl Fn() -> T) {
    let at = at as usize;
    if all.len() <= at {
        all.resize_with(at + 1, &empty);
    }
    all[at] = value.unwrap_or_else(empty);
}

/// What an empty place holds.
fn no_pod() -> Pod {
    Pod { endpoint: EndpointId(u32::MAX), addresses: [].into() }
}

/// What an empty place holds: it isolates nobody, so whom it selects does not matter.
fn no_policy() -> Policy {
    Policy::isolating("".into(), SetId(0), None, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_of_all_makes_it_and_places_are_emptied_and_filled() {
        let pod = |n: u8| Pod {
            endpoint: EndpointId(u32::from(n)),
            addresses: [[10, 0, 0, n].into()].into(),
        };
        let set = |pods: &[u32]| PeerSet {
            pods: pods.iter().copied().map(PodIndex).collect(),
            blocks: Vec::new(),
        };
        let policy = Policy { name: "x/p".into(), ingress: Some([].into()), ..no_policy() };
        let all = Ruleset {
            pods: vec![pod(1), pod(2)],
            sets: vec![set(&[0, 1])],
            policies: vec![policy.clone()],
        };
        let mut made = Ruleset::default();
        made.apply(Delta::of(&all));
        assert_eq!(made, all);
        assert!(Delta::of(&Ruleset::default()).is_empty() && !Delta::of(&all).is_empty());
        made.apply(Delta {
            pods: vec![(PodIndex(0), None), (PodIndex(3), Some(pod(4)))],
            sets: vec![(SetId(1), Some(set(&[3])))],
            members: vec![(SetId(0), PodIndex(0), false), (SetId(0), PodIndex(3), true)],
            policies: vec![(PolicyId(0), None), (PolicyId(1), Some(policy.clone()))],
        });
        assert_eq!(made.pods, [no_pod(), pod(2), no_pod(), pod(4)]);
        assert_eq!(made.sets, [set(&[1, 3]), set(&[3])]);
        assert_eq!(made.policies, [no_policy(), policy]);
    }

    #[test]
    fn a_delta_with_one_change_of_any_kind_is_not_empty() {
        let none = Delta::default();
        assert!(none.is_empty());
        let one = [
            Delta { pods: vec![(PodIndex(0), None)], ..none.clone() },
            Delta { sets: vec![(SetId(0), None)], ..none.clone() },
            Delta { members: vec![(SetId(0), PodIndex(0), true)], ..none.clone() },
            Delta { policies: vec![(PolicyId(0), None)], ..none },
        ];
        assert!(one.iter().all(|delta| !delta.is_empty()));
    }
}
