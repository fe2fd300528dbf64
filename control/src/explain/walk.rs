//! Tier by tier, policy by policy: who was asked, and what each said.

use lockgate_dataplane::policy::ruleset::{
    Action, Direction, End, Party, PodIndex, Policy, SetId, Stage, Tier,
};
use serde::Serialize;

use super::far::{self, Packet};
use super::judge::{Asked, Judge};
use super::lowered::{OneLowered, Seen};
use super::nearest::{self, Meeting, Miss};
use super::{Reason, RuleName, Side, Verdict};
use crate::inventory::{Inventory, Resident};
use crate::manifest::{Metadata, NetworkPolicy};
use crate::policy;
use crate::policy::{Listed, OrderedPolicy};
use crate::resolve::Wearer;

/// One step of the walk through the tiers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The tier.
    pub tier: String,
    /// Who was asked: `namespace/name`, or a name alone; `None` is the end of the tier.
    pub policy: Option<String>,
    /// The kind of that object, with its group where two have one name.
    pub kind: Option<&'static str>,
    /// What it said.
    pub said: Said,
    /// The rule that said it, by its place in the list for the direction, from 0.
    pub rule: Option<u32>,
}

/// What a policy, or the end of a tier, says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// No rule of it matches: the next is asked.
    NoMatch,
    /// It passes this side.
    Allow,
    /// It is dropped.
    Deny,
    /// The next tier is asked.
    Pass,
    /// It is recorded, and the next rule is asked.
    Log,
}

impl Said {
    fn of(action: Action) -> Self {
        match action {
            Action::Allow => Self::Allow,
            Action::Deny => Self::Deny,
            Action::Pass => Self::Pass,
            Action::Log => Self::Log,
        }
    }

    /// Its name in text and JSON.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NoMatch => "no match",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Pass => "pass",
            Self::Log => "log",
        }
    }
}

/// A policy that is asked, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Voice<'q, 'i> {
    standing: Policy,
    source: Source<'q, 'i>,
    /// What answers call it.
    name: String,
}

#[derive(Clone, Copy, Debug)]
enum Source<'q, 'i> {
    Plain(&'i NetworkPolicy),
    Ordered(&'q OneLowered<'i>),
}

impl<'q, 'i> Voice<'q, 'i> {
    pub(super) fn plain(policy: &'i NetworkPolicy, inventory: &'i Inventory) -> Self {
        let key = &policy.metadata.key;
        let (name, stage) = (key.path().into(), inventory.stage(key));
        let standing = Policy { stage, ..Policy::isolating(name, SetId(0), None, None) };
        Self { name: inventory.called(&standing), standing, source: Source::Plain(policy) }
    }

    /// Whether what is staged concerns it: it is not asked both before and after.
    pub(super) fn is_staged(&self) -> bool {
        self.standing.stage != Stage::InForce
    }

    pub(super) fn ordered(one: &'q OneLowered<'i>, inventory: &'i Inventory) -> Self {
        let (standing, source) = (one.meaning.clone(), Source::Ordered(one));
        Self { name: inventory.called(&standing), standing, source }
    }

    /// The same, the first to be asked first.
    pub(super) fn sorted(mut voices: Vec<Self>) -> Vec<Self> {
        voices.sort_by(|a, b| a.standing.rank().cmp(&b.standing.rank()));
        voices
    }

    /// Keeps of these, sorted, who is asked in [`View::Itself`]: of tiers that judge it, up to the first
    /// that does not and would have decided.
    pub(super) fn keep_judging_itself(voices: &mut Vec<Self>) {
        let judges = |voice: &Self| voice.standing.tier.judges_itself;
        let spares = |voice: &Self| !judges(voice) && voice.standing.tier.end == End::Deny;
        voices.truncate(voices.iter().position(spares).unwrap_or(voices.len()));
        voices.retain(judges);
    }

    pub(super) fn stage(&self) -> Stage {
        self.standing.stage
    }

    /// The policy, where it is an ordered one.
    pub(super) fn source(&self) -> Option<&'i OrderedPolicy> {
        match self.source {
            Source::Plain(_) => None,
            Source::Ordered(one) => Some(one.source),
        }
    }

    pub(super) fn metadata(&self) -> &'i Metadata {
        match self.source {
            Source::Plain(policy) => &policy.metadata,
            Source::Ordered(one) => &one.source.metadata,
        }
    }
}

/// What is found out of the policies of one tier.
#[derive(Default)]
struct Heard {
    misses: Vec<(RuleName, Vec<Miss>)>,
    broken: Vec<RuleName>,
}

/// One side of a packet on its way through the tiers.
pub(super) struct Walk<'q, 'i> {
    judge: Judge<'q, 'i>,
    direction: Direction,
    meeting: Meeting<'q>,
    seen: Seen,
    packet: Packet<'q, 'i>,
    steps: Vec<Step>,
}

impl<'q, 'i> Walk<'q, 'i> {
    pub(super) fn new(
        judge: Judge<'q, 'i>,
        asked: &Asked<'q>,
        direction: Direction,
        (subject, place): (&'q Resident<'i>, PodIndex),
        meeting: Meeting<'q>,
    ) -> Self {
        let (own, other) = asked.sides(direction);
        let seen_pod = |met| judge.resident(met).filter(|one: &&Resident<'i>| !one.is_denied);
        let wearer = |one: &Resident<'i>| Wearer::pod(judge.inventory, one.pod);
        let far = seen_pod(other).map(|one| one.pod);
        let (sender, target) = match direction {
            Direction::Ingress => (far, Some(subject.pod)),
            Direction::Egress => (Some(subject.pod), far),
        };
        let party = Party {
            address: other.address,
            pod: other.place.and_then(|at| u32::try_from(at).ok()).map(PodIndex),
            own_node: false,
        };
        let met = |met: &'q super::ends::Met, who: Option<&Resident<'i>>| far::Met {
            wearer: who.map(wearer),
            address: met.address,
            sets: Packet::sets(judge.inventory, met.address),
            shown: &met.shown,
        };
        let packet = Packet {
            inventory: judge.inventory,
            direction,
            own: met(own, Some(subject)),
            other: met(other, seen_pod(other)),
            target,
            sender,
            service: asked.service,
        };
        let seen = Seen { own: place, other: party, service: asked.service };
        Self { judge, direction, meeting, seen, packet, steps: Vec::new() }
    }

    /// Asks them all, as they are sorted.
    pub(super) fn through(mut self, voices: &[Voice<'q, 'i>]) -> Side {
        'tiers: for tier in voices.chunk_by(|a, b| a.standing.tier == b.standing.tier) {
            let mut heard = Heard::default();
            for voice in tier {
                let said = self.ask(voice, &mut heard);
                let rule = said.map(|(_, rule)| rule);
                let action = said.map(|(action, _)| action);
                for recorded in self.records(voice, rule) {
                    self.note(voice, Said::Log, Some(recorded));
                }
                self.note(voice, action.map_or(Said::NoMatch, Said::of), rule);
                match (action, rule) {
                    (Some(Action::Pass), _) => continue 'tiers,
                    (Some(action), Some(rule)) => {
                        let by = RuleName { policy: voice.name.clone(), rule };
                        return self.decided(action, by, (voice, tier), heard);
                    }
                    _ => {}
                }
            }
            let Some(end) = tier.first().map(|voice| &*voice.standing.tier) else { continue };
            self.note_end(end);
            if end.end == End::Deny {
                return self.isolated(tier, heard);
            }
        }
        let reason = if voices.is_empty() { Reason::NotIsolated } else { Reason::Undecided };
        Side { walk: self.steps, ..Side::allowed(reason, Vec::new()) }
    }

    /// What one says, and by which rule.
    fn ask(&self, voice: &Voice<'q, 'i>, heard: &mut Heard) -> Option<(Action, u32)> {
        match voice.source {
            Source::Plain(policy) => {
                self.ask_plain(policy, voice, heard).map(|rule| (Action::Allow, rule))
            }
            Source::Ordered(one) => self.ask_ordered(one, voice, heard),
        }
    }

    fn ask_plain(
        &self,
        policy: &NetworkPolicy,
        voice: &Voice<'q, 'i>,
        heard: &mut Heard,
    ) -> Option<u32> {
        for (index, rule) in (0_u32..).zip(policy.rules(self.direction).unwrap_or_default()) {
            let named = RuleName { policy: voice.name.clone(), rule: index };
            let Some(rule) = rule else {
                heard.broken.push(named);
                continue;
            };
            let failures = nearest::misses(rule, &self.meeting);
            if failures.is_empty() {
                return Some(index);
            }
            heard.misses.push((named, failures));
        }
        None
    }

    fn ask_ordered(
        &self,
        one: &OneLowered<'i>,
        voice: &Voice<'q, 'i>,
        heard: &mut Heard,
    ) -> Option<(Action, u32)> {
        let lowered = self.judge.ordered;
        let decides = lowered.decides(&one.meaning, self.direction, &self.seen);
        let listed = one.source.rules(self.direction).unwrap_or_default();
        for (index, listed) in (0_u32..).zip(listed) {
            if decides.is_some_and(|rule| rule.index < index) {
                break;
            }
            let named = RuleName { policy: voice.name.clone(), rule: index };
            match listed {
                Listed::Nothing | Listed::DenyAll => heard.broken.push(named),
                Listed::Rule(rule) if rule.action == policy::Action::Allow => {
                    let (meaning, direction) = (&one.meaning, self.direction);
                    let fit = lowered.nearest_fit(meaning, direction, index, &self.seen);
                    let mut missed = far::misses(rule, fit, &self.packet);
                    if let Some(shut) = lowered.shut(one.source) {
                        missed.retain(|miss| !miss.is_unknown());
                        missed.insert(0, shut);
                    }
                    heard.misses.push((named, missed));
                }
                Listed::Rule(_) => {}
            }
        }
        decides.map(|rule| (rule.action, rule.index))
    }

    /// The rules of one that record the packet before one of them decides.
    fn records(&self, voice: &Voice<'q, 'i>, before: Option<u32>) -> Vec<u32> {
        match voice.source {
            Source::Plain(_) => Vec::new(),
            Source::Ordered(one) => {
                self.judge.ordered.records(&one.meaning, self.direction, before, &self.seen)
            }
        }
    }

    fn note(&mut self, voice: &Voice<'q, 'i>, said: Said, rule: Option<u32>) {
        self.steps.push(Step {
            tier: voice.standing.tier.name.to_string(),
            policy: Some(voice.standing.name.to_string()),
            kind: Some(voice.metadata().key.kind.spoken()),
            said,
            rule,
        });
    }

    fn note_end(&mut self, tier: &Tier) {
        let said = if tier.end == End::Deny { Said::Deny } else { Said::Pass };
        let tier = tier.name.to_string();
        self.steps.push(Step { tier, policy: None, kind: None, said, rule: None });
    }

    /// A rule has allowed or denied.
    fn decided(
        self,
        action: Action,
        by: RuleName,
        (voice, tier): (&Voice<'q, 'i>, &[Voice<'q, 'i>]),
        heard: Heard,
    ) -> Side {
        let side = Side::allowed(Reason::Rule, names(tier));
        if action == Action::Allow {
            return Side { by: vec![by], walk: self.steps, ..side };
        }
        let mut broken = heard.broken;
        broken.retain(|rule| *rule == by);
        Side {
            verdict: Verdict::Deny,
            reason: Reason::DenyRule,
            by: vec![by],
            broken,
            problems: self.judge.problems(std::slice::from_ref(voice), self.direction),
            walk: self.steps,
            ..side
        }
    }

    /// No rule of a tier that isolates matched.
    fn isolated(self, tier: &[Voice<'q, 'i>], heard: Heard) -> Side {
        Side {
            verdict: Verdict::Deny,
            nearest: nearest::nearest(heard.misses),
            broken: heard.broken,
            problems: self.judge.problems(tier, self.direction),
            walk: self.steps,
            ..Side::allowed(Reason::DefaultDeny, names(tier))
        }
    }
}

/// The names of policies.
pub(super) fn names(voices: &[Voice<'_, '_>]) -> Vec<String> {
    voices.iter().map(|voice| voice.name.clone()).collect()
}

#[cfg(test)]
mod tests;
