//! The rules of a ruleset in one list, and which of them every pod is under.
//!
//! A pod's *policy set* in a direction is the list of *parts* that select it: a policy (with
//! the rules that do not narrow its subjects), or one narrowed rule of a policy. Pods with equal
//! lists share the set.

use hashbrown::HashMap;

use super::super::ruleset::{
    Cause, Direction, Peers, PodIndex, PolicyId, Ports, Rule, Ruleset, SetId,
};
use super::super::table::{PolicySetId, Sets, VerdictId};
use super::intern::{Interner, Lists, index};

/// One rule as the rows see it.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// Position in the order in which allowing rules become causes: the policy's among all by
    /// name, and the rule's index. Equal for lines that were written as one rule.
    pub(super) rank: (u32, u32),
    pub(super) verdict: VerdictId,
    pub(super) peers: &'a Peers,
    pub(super) ports: &'a Ports,
}

/// What can be in a policy set.
pub(super) struct Part<'a> {
    /// Set where the part is a policy, which isolates; a narrowed rule only adds to one.
    pub(super) isolates: Option<PolicyId>,
    pub(super) lines: Vec<Line<'a>>,
}

/// Every part that selects somebody, and every distinct policy set.
pub(super) struct Rules<'a> {
    pub(super) parts: Vec<Part<'a>>,
    /// By policy set: its parts, ascending. Set 0 has none.
    pub(super) policy_sets: Vec<Vec<u32>>,
    /// By pod.
    pub(super) sets: Vec<Sets>,
    /// By policy: its place among all by name.
    pub(super) order: Vec<u32>,
}

/// Causes by verdict.
pub(super) struct Causes {
    pub(super) all: Vec<Cause>,
    rules: HashMap<(PolicyId, u32), VerdictId>,
}

impl Causes {
    /// Those that every table has, in the order of the constants of [`VerdictId`].
    pub(super) fn new() -> Self {
        let closed = Cause::DefaultDeny { isolating: [].into() };
        let all = vec![closed, Cause::NotIsolated];
        Self { all, rules: HashMap::new() }
    }

    /// The verdict of isolation by these policies.
    pub(super) fn deny(&mut self, isolating: Vec<PolicyId>) -> VerdictId {
        self.all.push(Cause::DefaultDeny { isolating: isolating.into() });
        VerdictId(index(self.all.len() - 1))
    }

    fn allow(&mut self, policy: PolicyId, rule: u32) -> VerdictId {
        *self.rules.entry((policy, rule)).or_insert_with(|| {
            self.all.push(Cause::Rule { policy, rule });
            VerdictId(index(self.all.len() - 1) | VerdictId::ALLOW)
        })
    }
}

impl<'a> Rules<'a> {
    pub(super) fn gather(ruleset: &'a Ruleset, causes: &mut Causes) -> Self {
        let pods = ruleset.pods.len();
        let order = order(ruleset);
        let (parts, policy_sets) = (Vec::new(), Vec::new());
        let mut rules = Self { parts, policy_sets, sets: Vec::new(), order };
        let mut lists = Interner::<[u32]>::new();
        lists.number(&[]);
        rules.sets.resize(pods, Sets::NONE);
        for direction in [Direction::Egress, Direction::Ingress] {
            let members = rules.parts(ruleset, direction, causes);
            let members = Lists::gather(pods, &members);
            for (sets, pod) in rules.sets.iter_mut().zip(0..) {
                let set = PolicySetId(lists.number(members.of(pod)));
                match direction {
                    Direction::Egress => sets.egress = set,
                    Direction::Ingress => sets.ingress = set,
                }
            }
        }
        rules.policy_sets = lists.into_values();
        rules
    }

    /// Adds the parts of one direction; gives back (pod, part) pairs, parts ascending.
    fn parts(
        &mut self,
        ruleset: &'a Ruleset,
        direction: Direction,
        causes: &mut Causes,
    ) -> Vec<(u32, u32)> {
        let mut members = Vec::new();
        for (policy, id) in ruleset.policies.iter().zip((0..).map(PolicyId)) {
            let Some(rules) = policy.rules(direction) else { continue };
            let subjects = &ruleset.set(policy.subjects).pods;
            // A policy that selects nobody says nothing, and its peers tell nobody apart.
            if subjects.is_empty() {
                continue;
            }
            let place = self.order[id.0 as usize];
            let mut line = |rule: &'a Rule| Line {
                rank: (place, rule.index),
                verdict: causes.allow(id, rule.index),
                peers: &rule.peers,
                ports: &rule.ports,
            };
            let wide = rules.iter().filter(|rule| rule.subjects.is_none()).map(&mut line);
            let part = Part { isolates: Some(id), lines: wide.collect() };
            self.push(part, subjects, &mut members);
            for rule in rules {
                let Some(narrow) = rule.subjects else { continue };
                let subjects = common(subjects, &ruleset.set(narrow).pods);
                let part = Part { isolates: None, lines: vec![line(rule)] };
                self.push(part, &subjects, &mut members);
            }
        }
        members
    }

    fn push(&mut self, part: Part<'a>, subjects: &[PodIndex], members: &mut Vec<(u32, u32)>) {
        if !subjects.is_empty() {
            let number = index(self.parts.len());
            members.extend(subjects.iter().map(|pod| (pod.0, number)));
            self.parts.push(part);
        }
    }

    /// Every set that some line refers to, ascending.
    pub(super) fn used_sets(&self) -> Vec<SetId> {
        let lines = self.parts.iter().flat_map(|part| &part.lines);
        let mut used: Vec<SetId> = lines
            .filter_map(|line| match line.peers {
                Peers::Any => None,
                Peers::Sets(sets) => Some(sets),
            })
            .flatten()
            .copied()
            .collect();
        used.sort_unstable();
        used.dedup();
        used
    }
}

/// By policy: its place among all by name.
fn order(ruleset: &Ruleset) -> Vec<u32> {
    let mut sorted: Vec<usize> = (0..ruleset.policies.len()).collect();
    sorted.sort_by_key(|&at| ruleset.policies[at].order());
    let mut order = vec![0; sorted.len()];
    for (place, at) in sorted.into_iter().enumerate() {
        order[at] = index(place);
    }
    order
}

/// What two ascending lists share: costs the shorter, and a search in the longer for each.
fn common(a: &[PodIndex], b: &[PodIndex]) -> Vec<PodIndex> {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short.iter().filter(|pod| long.binary_search(pod).is_ok()).copied().collect()
}
