//! The rules of a ruleset in one list, and which of them every pod is under.
//!
//! A pod's *policy set* in a direction is the list of *parts* that select it: a policy (with
//! the rules that do not narrow its subjects), or one narrowed rule of a policy. Pods with equal
//! lists share the set.

use hashbrown::HashMap;

use super::super::ruleset::{
    Action, Cause, Direction, End, Peers, PodIndex, PolicyId, Ports, Rule, Ruleset, SetId, Stage,
    Tier, View,
};
use super::super::table::{Audit, PolicySetId, Sets, VerdictId};
use super::intern::{Interner, Lists, index};

/// When a line is asked: by tier, by policy in it, by the rule's index. Equal for lines that were
/// written as one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) tier: u32,
    pub(super) policy: u32,
    pub(super) rule: u32,
}

/// What a line says of what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ruling {
    Verdict(VerdictId),
    /// The next tier is asked.
    Pass,
}

/// One rule as the rows see it, or the end of a tier.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) rank: Rank,
    pub(super) ruling: Ruling,
    /// It records packets, and is asked in [`View::Log`] alone.
    pub(super) logs: bool,
    pub(super) peers: &'a Peers,
    pub(super) ports: &'a Ports,
}

/// Last in the list of a policy set of [`View::Log`], whose lines that record are asked.
pub(super) const LOGS: u32 = u32::MAX;

impl Line<'_> {
    /// The end of a tier that denies: everything that came so far.
    pub(super) const fn end(tier: u32, verdict: VerdictId) -> Self {
        let rank = Rank { tier, policy: u32::MAX, rule: u32::MAX };
        let ruling = Ruling::Verdict(verdict);
        Self { rank, ruling, logs: false, peers: &Peers::Any, ports: &Ports::Any }
    }
}

/// What can be in a policy set.
pub(super) struct Part<'a> {
    /// Set where the part is a policy, which selects; a narrowed rule only adds to one.
    pub(super) selects: Option<PolicyId>,
    stage: Stage,
    tier: &'a Tier,
    pub(super) lines: Vec<Line<'a>>,
}

/// Every part that selects somebody, and every distinct policy set.
pub(super) struct Rules<'a> {
    pub(super) parts: Vec<Part<'a>>,
    /// By policy set: its parts, ascending. Set 0 has none.
    pub(super) policy_sets: Vec<Vec<u32>>,
    /// By pod: what decides.
    pub(super) sets: Vec<Sets>,
    /// By pod: what is asked beside that.
    pub(super) audits: Vec<Audit>,
    /// By policy: when it is asked.
    places: Vec<Asked>,
}

/// When a policy is asked: places among all, and what its tier says in the end.
#[derive(Clone, Copy)]
struct Asked {
    tier: u32,
    policy: u32,
    end: End,
}

/// Causes by verdict.
pub(super) struct Causes {
    pub(super) all: Vec<Cause>,
    rules: HashMap<(PolicyId, u32, Action), Ruling>,
    denies: HashMap<Vec<PolicyId>, VerdictId>,
}

impl Causes {
    /// Those that every table has, in the order of the constants of [`VerdictId`].
    pub(super) fn new() -> Self {
        let closed = Cause::DefaultDeny { isolating: [].into() };
        let all = vec![closed, Cause::NotIsolated];
        Self { all, rules: HashMap::new(), denies: HashMap::new() }
    }

    /// The verdict of isolation by these policies.
    pub(super) fn deny(&mut self, isolating: Vec<PolicyId>) -> VerdictId {
        *self.denies.entry(isolating).or_insert_with_key(|isolating| {
            self.all.push(Cause::DefaultDeny { isolating: isolating.as_slice().into() });
            VerdictId(index(self.all.len() - 1))
        })
    }

    fn ruling(&mut self, policy: PolicyId, rule: &Rule) -> Ruling {
        let Rule { index: rule, action, .. } = *rule;
        *self.rules.entry((policy, rule, action)).or_insert_with(|| {
            let (cause, bit) = match action {
                Action::Allow => (Cause::Rule { policy, rule }, VerdictId::ALLOW),
                Action::Deny => (Cause::DenyRule { policy, rule }, 0),
                Action::Log => (Cause::Logged { policy, rule }, VerdictId::LOGGED),
                Action::Pass => return Ruling::Pass,
            };
            self.all.push(cause);
            Ruling::Verdict(VerdictId(index(self.all.len() - 1) | bit))
        })
    }
}

impl<'a> Rules<'a> {
    pub(super) fn gather(ruleset: &'a Ruleset, causes: &mut Causes) -> Self {
        let pods = ruleset.pods.len();
        let places = places(ruleset);
        let (parts, policy_sets) = (Vec::new(), Vec::new());
        let mut rules = Self { parts, policy_sets, sets: Vec::new(), audits: Vec::new(), places };
        let mut lists = Interner::<[u32]>::new();
        lists.number(&[]);
        rules.sets.resize(pods, Sets::NONE);
        rules.audits.resize(pods, Audit::default());
        for direction in [Direction::Egress, Direction::Ingress] {
            let members = rules.parts(ruleset, direction, causes);
            let members = Lists::gather(pods, &members);
            for pod in 0..pods {
                let all = members.of(index(pod));
                for view in View::ALL {
                    let set = PolicySetId(lists.number(&rules.seen(all, view)));
                    let sets = match view {
                        View::Now => &mut rules.sets[pod],
                        View::Next => &mut rules.audits[pod].next,
                        View::Log => &mut rules.audits[pod].log,
                        View::Itself => &mut rules.audits[pod].itself,
                    };
                    *sets.of_mut(direction) = set;
                }
            }
        }
        rules.policy_sets = lists.into_values();
        rules
    }

    /// Of these parts those that are asked in a view: in that of what is recorded none where nothing is.
    fn seen(&self, parts: &[u32], view: View) -> Vec<u32> {
        let of = |part: u32| &self.parts[part as usize];
        let mut seen: Vec<u32> =
            parts.iter().copied().filter(|&part| of(part).stage.stands(view)).collect();
        if view == View::Itself {
            Tier::keep_judging_itself(&mut seen, |part| of(part).tier);
        }
        if view == View::Log {
            let logs = |&part: &u32| of(part).lines.iter().any(|line| line.logs);
            if !seen.iter().any(logs) {
                return Vec::new();
            }
            seen.push(LOGS);
        }
        seen
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
            let (stage, in_tier) = (policy.stage, &*policy.tier);
            let Asked { tier, policy, .. } = self.places[id.0 as usize];
            let mut line = |rule: &'a Rule| Line {
                rank: Rank { tier, policy, rule: rule.index },
                ruling: causes.ruling(id, rule),
                logs: rule.action == Action::Log,
                peers: &rule.peers,
                ports: &rule.ports,
            };
            let wide = rules.iter().filter(|rule| rule.subjects.is_none()).map(&mut line);
            let part = Part { selects: Some(id), stage, tier: in_tier, lines: wide.collect() };
            self.push(part, subjects, &mut members);
            for rule in rules {
                let Some(narrow) = rule.subjects else { continue };
                let subjects = common(subjects, &ruleset.set(narrow).pods);
                let part = Part { selects: None, stage, tier: in_tier, lines: vec![line(rule)] };
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

    /// The parts of a policy set.
    pub(super) fn of<'s>(&'s self, parts: &'s [u32]) -> impl Iterator<Item = &'s Part<'a>> {
        parts.iter().filter(|&&part| part != LOGS).map(|&part| &self.parts[part as usize])
    }

    /// The ends of the tiers that deny, of a policy set.
    pub(super) fn ends(&self, parts: &[u32], causes: &mut Causes) -> Vec<Line<'static>> {
        let selecting = self.of(parts).filter_map(|part| part.selects);
        let asked = |id: &PolicyId| self.places[id.0 as usize];
        let mut policies: Vec<PolicyId> = selecting.collect();
        policies.sort_unstable_by_key(|id| asked(id).policy);
        let tiers = policies.chunk_by(|a, b| asked(a).tier == asked(b).tier);
        let closed = tiers.filter(|tier| asked(&tier[0]).end == End::Deny);
        closed.map(|tier| Line::end(asked(&tier[0]).tier, causes.deny(tier.to_vec()))).collect()
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

/// By policy: when it is asked.
fn places(ruleset: &Ruleset) -> Vec<Asked> {
    let of = |at: usize| &ruleset.policies[at];
    let mut sorted: Vec<usize> = (0..ruleset.policies.len()).collect();
    sorted.sort_by_key(|&at| of(at).rank());
    let mut places = vec![Asked { tier: 0, policy: 0, end: End::Deny }; sorted.len()];
    let tiers = sorted.chunk_by(|&a, &b| of(a).tier == of(b).tier);
    let ranked = tiers.zip(0..).flat_map(|(tier, number)| tier.iter().map(move |at| (at, number)));
    for ((&at, tier), policy) in ranked.zip(0..) {
        places[at] = Asked { tier, policy, end: of(at).tier.end };
    }
    places
}

/// What two ascending lists share: costs the shorter, and a search in the longer for each.
fn common(a: &[PodIndex], b: &[PodIndex]) -> Vec<PodIndex> {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short.iter().filter(|pod| long.binary_search(pod).is_ok()).copied().collect()
}
