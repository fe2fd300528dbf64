//! The rules as they are now, with what is looked up backwards: the sets of a pod, the parts that
//! a set is the subjects of. A [`Delta`] goes in; who must be looked at again comes out.

use ipnet::IpNet;

use super::super::super::delta::Delta;
use super::super::super::ruleset::{
    Action, Direction, Peers, PodIndex, Policy, PolicyId, Rule, Ruleset, SetId, Stage, Tier, View,
};
use super::super::intern::index;
use super::super::rules::LOGS;

/// Number of a part. Used again only after all who had it were looked at.
pub(super) type PartId = u32;

/// What can be in a policy set: a policy in one direction with the rules that do not narrow its
/// subjects, or one narrowed rule of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) policy: PolicyId,
    pub(super) direction: Direction,
    /// The rule's place in its list, and the set that narrows it.
    pub(super) narrow: Option<(usize, SetId)>,
}

/// The rules, forwards and backwards.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) ruleset: Ruleset,
    /// By pod: the sets it is in, ascending.
    sets_of: Vec<Vec<SetId>>,
    parts: Vec<Option<Part>>,
    free: Vec<PartId>,
    /// Given back, but perhaps still somebody's.
    freed: Vec<PartId>,
    /// By set: the parts whose subjects it is.
    selecting: Vec<Vec<PartId>>,
    /// By policy: its parts, egress before ingress, whole before narrowed.
    of_policy: Vec<Vec<PartId>>,
}

/// Who is to be looked at again.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Pods that may be in other sets or parts, or have other addresses. Ascending.
    pub(super) pods: Vec<PodIndex>,
    /// Parts that are what they were, with other rules.
    pub(super) parts: Vec<PartId>,
    /// Sets that are gone; their number may be another's already.
    pub(super) dropped: Vec<SetId>,
    /// Policies that are there now and were not, or differ.
    pub(super) policies: Vec<PolicyId>,
    /// Policies that are there no more.
    pub(super) gone: Vec<PolicyId>,
    /// CIDRs that tell more apart than before: found out while bringing up to date.
    pub(super) cut: Vec<IpNet>,
}

impl Model {
    /// Takes a change in.
    pub(super) fn apply(&mut self, delta: Delta) -> Changes {
        let mut changes = Changes::default();
        let mut added = Vec::new();
        for (id, policy) in &delta.policies {
            self.change_policy(*id, policy.as_ref(), &mut changes, &mut added);
        }
        self.change_members(&delta, &mut changes);
        self.ruleset.apply(delta);
        for subjects in added {
            changes.pods.extend(&self.ruleset.set(subjects).pods);
        }
        changes.pods.sort_unstable();
        changes.pods.dedup();
        changes
    }

    /// All who had a freed part have been looked at.
    pub(super) fn settle(&mut self) {
        self.free.append(&mut self.freed);
    }

    /// Everything, as if it were new.
    pub(super) fn everything(&self) -> Changes {
        let policies = (0..).map(PolicyId).zip(&self.ruleset.policies);
        Changes {
            pods: (0..index(self.ruleset.pods.len())).map(PodIndex).collect(),
            policies: policies.filter(|(_, one)| says(one)).map(|(id, _)| id).collect(),
            ..Changes::default()
        }
    }

    /// The sets that a pod is in, ascending.
    pub(super) fn sets_of(&self, pod: PodIndex) -> &[SetId] {
        self.sets_of.get(pod.0 as usize).map_or(&[], Vec::as_slice)
    }

    /// The parts of one direction that select a pod, ascending.
    pub(super) fn parts_of(&self, pod: PodIndex, direction: Direction) -> Vec<PartId> {
        let sets = self.sets_of(pod);
        let selecting = sets.iter().filter_map(|set| self.selecting.get(set.0 as usize));
        let mut parts: Vec<PartId> = selecting
            .flatten()
            .copied()
            .filter(|&id| {
                let part = self.part(id);
                let narrow = part.narrow.is_none_or(|(_, set)| sets.binary_search(&set).is_ok());
                part.direction == direction && narrow
            })
            .collect();
        parts.sort_unstable();
        parts
    }

    /// Of a pod's parts in one direction those that are asked in a view: in that of what is recorded
    /// none where nothing is.
    pub(super) fn seen(&self, parts: &[PartId], view: View) -> Vec<PartId> {
        let policy = |id: PartId| &self.ruleset.policies[self.part(id).policy.0 as usize];
        let mut seen: Vec<PartId> =
            parts.iter().copied().filter(|&id| policy(id).stage.stands(view)).collect();
        if view == View::Itself {
            Tier::keep_judging_itself(&mut seen, |id| &policy(id).tier);
        }
        if view == View::Log {
            let logs = |&id: &PartId| self.rules_of(self.part(id)).any(logs);
            if !seen.iter().any(logs) {
                return Vec::new();
            }
            seen.push(LOGS);
        }
        seen
    }

    /// A part that is there.
    pub(super) fn part(&self, id: PartId) -> Part {
        let nothing =
            Part { policy: PolicyId(u32::MAX), direction: Direction::Egress, narrow: None };
        self.parts[id as usize].unwrap_or(nothing)
    }

    /// The rules of a part.
    pub(super) fn rules_of(&self, part: Part) -> impl Iterator<Item = &Rule> {
        let policy = &self.ruleset.policies[part.policy.0 as usize];
        let rules = policy.rules(part.direction).unwrap_or_default();
        let own = match part.narrow {
            None => rules,
            Some((place, _)) => rules.get(place..=place).unwrap_or_default(),
        };
        let is_own = move |rule: &&Rule| rule.subjects.is_some() == part.narrow.is_some();
        own.iter().filter(is_own)
    }

    /// The sets that a policy's rules name as peers, with repeats.
    pub(super) fn peers_of(&self, policy: PolicyId) -> impl Iterator<Item = SetId> + '_ {
        let policy = &self.ruleset.policies[policy.0 as usize];
        let rules = policy.egress.iter().chain(&policy.ingress).flat_map(|rules| rules.iter());
        let sets = rules.filter_map(|rule| match &rule.peers {
            Peers::Any => None,
            Peers::Sets(sets) => Some(sets),
        });
        sets.flatten().copied()
    }

    fn change_members(&mut self, delta: &Delta, changes: &mut Changes) {
        for (set, new) in &delta.sets {
            let old = self.ruleset.sets.get(set.0 as usize).map_or(&[][..], |old| &old.pods);
            for pod in old {
                join(&mut self.sets_of, *pod, *set, false);
            }
            match new {
                None => changes.dropped.push(*set),
                Some(new) => {
                    new.pods.iter().for_each(|pod| join(&mut self.sets_of, *pod, *set, true));
                }
            }
        }
        for &(set, pod, joins) in &delta.members {
            join(&mut self.sets_of, pod, set, joins);
            changes.pods.push(pod);
        }
        changes.pods.extend(delta.pods.iter().map(|(pod, _)| *pod));
    }

    fn change_policy(
        &mut self,
        id: PolicyId,
        new: Option<&Policy>,
        changes: &mut Changes,
        added: &mut Vec<SetId>,
    ) {
        let at = id.0 as usize;
        if self.of_policy.len() <= at {
            self.of_policy.resize_with(at + 1, Vec::new);
        }
        let old = self.ruleset.policies.get(at);
        let old_subjects = old.map(|old| old.subjects);
        // Of another rank it is asked elsewhere among those that select with it.
        let is_same = old.map(|old| (old.subjects, old.rank(), asked(old)))
            == new.map(|new| (new.subjects, new.rank(), asked(new)));
        // A direction's parts differ together: which of its rules it was is not worth finding.
        let differs = |direction: Direction| {
            old.and_then(|old| old.rules(direction)) != new.and_then(|new| new.rules(direction))
        };
        let differing = [Direction::Egress, Direction::Ingress].map(differs);
        let wanted: Vec<Part> = new.map_or_else(Vec::new, |new| parts(id, new));
        let kept = if is_same { self.like(&self.of_policy[at], &wanted) } else { 0 };
        for (&part, new_part) in self.of_policy[at].iter().zip(&wanted).take(kept) {
            if differing[usize::from(new_part.direction == Direction::Ingress)] {
                changes.parts.push(part);
            }
            self.parts[part as usize] = Some(*new_part);
        }
        let gone = self.of_policy[at].split_off(kept);
        if let Some(subjects) = old_subjects.filter(|_| !gone.is_empty()) {
            let selecting = &mut self.selecting[subjects.0 as usize];
            selecting.retain(|part| !gone.contains(part));
            changes.pods.extend(&self.ruleset.set(subjects).pods);
            for part in gone {
                self.parts[part as usize] = None;
                self.freed.push(part);
            }
        }
        if let Some(new) = new {
            for part in &wanted[kept..] {
                self.add_part(id, new.subjects, *part);
            }
            if wanted.len() > kept {
                added.push(new.subjects);
            }
        }
        if wanted.is_empty() { changes.gone.push(id) } else { changes.policies.push(id) }
    }

    /// How many of a policy's parts are like those that it should have, from the first on.
    fn like(&self, had: &[PartId], wanted: &[Part]) -> usize {
        let same = |(had, wanted): &(&PartId, &Part)| {
            let had = self.part(**had);
            let narrow = |part: &Part| part.narrow.map(|(_, set)| set);
            had.direction == wanted.direction && narrow(&had) == narrow(wanted)
        };
        had.iter().zip(wanted).take_while(same).count()
    }

    fn add_part(&mut self, policy: PolicyId, subjects: SetId, part: Part) {
        let id = self.free.pop().unwrap_or_else(|| {
            self.parts.push(None);
            index(self.parts.len() - 1)
        });
        self.parts[id as usize] = Some(part);
        self.of_policy[policy.0 as usize].push(id);
        let at = subjects.0 as usize;
        if self.selecting.len() <= at {
            self.selecting.resize_with(at + 1, Vec::new);
        }
        self.selecting[at].push(id);
    }
}

/// When a policy is asked, and which of its parts record, by what narrows them: what makes a
/// difference to which lists its parts are in.
fn asked(policy: &Policy) -> (Stage, [Vec<Option<SetId>>; 2]) {
    let recording = |rules: Option<&[Rule]>| {
        let recording = rules.unwrap_or_default().iter().filter(|rule| logs(rule));
        recording.map(|rule| rule.subjects).collect()
    };
    (policy.stage, [policy.egress.as_deref(), policy.ingress.as_deref()].map(recording))
}

fn logs(rule: &Rule) -> bool {
    rule.action == Action::Log
}

/// Whether a policy isolates anybody in any direction.
fn says(policy: &Policy) -> bool {
    policy.egress.is_some() || policy.ingress.is_some()
}

/// The parts that a policy has.
fn parts(id: PolicyId, policy: &Policy) -> Vec<Part> {
    let mut parts = Vec::new();
    for direction in [Direction::Egress, Direction::Ingress] {
        let Some(rules) = policy.rules(direction) else { continue };
        let part = |narrow| Part { policy: id, direction, narrow };
        parts.push(part(None));
        let narrowed = rules.iter().enumerate();
        let narrow = |(place, rule): (usize, &Rule)| Some((place, rule.subjects?));
        parts.extend(narrowed.filter_map(narrow).map(|one| part(Some(one))));
    }
    parts
}

/// Notes that a pod is in a set now, or no more.
fn join(sets_of: &mut Vec<Vec<SetId>>, pod: PodIndex, set: SetId, joins: bool) {
    let at = pod.0 as usize;
    if sets_of.len() <= at {
        sets_of.resize_with(at + 1, Vec::new);
    }
    let sets = &mut sets_of[at];
    match (sets.binary_search(&set), joins) {
        (Err(place), true) => sets.insert(place, set),
        (Ok(place), false) => _ = sets.remove(place),
        _ => {}
    }
}
