//! What rows are made of, worked out once for all rows that one change makes: when each policy is
//! asked, and the lines of each part.

use super::super::super::ruleset::{Action, End, Peers, PolicyId};
use super::super::intern::index;
use super::super::rules::{LOGS, Line, Rank, Ruling};
use super::columns::{Columns, GroupId};
use super::model::{Model, PartId};
use super::numbers::Numbers;

/// Both, for the parts that were asked for.
pub(super) struct Drafts<'m> {
    model: &'m Model,
    turns: Turns,
    /// By part: where its lines begin and end. Zeros that nobody touches cost nothing, so this is as
    /// long as there are parts though a change has few.
    parts: Vec<(u32, u32)>,
    lines: Vec<Drafted<'m>>,
}

/// When each policy is asked.
struct Turns {
    all: Vec<Turn>,
    /// By policy: its place in `all`, from 1. As long as there are policies, as above.
    places: Vec<u32>,
}

/// When a policy is asked, among those of this change.
#[derive(Clone, Copy)]
struct Turn {
    tier: u32,
    policy: u32,
    end: End,
}

/// A line with its group; `None` is everyone's.
type Drafted<'m> = (Option<GroupId>, Line<'m>);

/// The lines of a policy set: everyone's, and others with their group.
#[derive(Default)]
pub(super) struct Lines<'m> {
    pub(super) everyone: Vec<Line<'m>>,
    pub(super) grouped: Vec<(GroupId, Line<'m>)>,
}

/// Who has verdicts.
pub(super) trait Judges {
    /// What a rule says.
    fn ruling(&mut self, policy: PolicyId, rule: u32, action: Action, model: &Model) -> Ruling;
    /// What the end of a tier says in which these policies were asked.
    fn end(&mut self, policies: &[PolicyId], tier: u32, model: &Model) -> Line<'static>;
}

impl<'m> Drafts<'m> {
    /// Of these parts, with repeats.
    pub(super) fn new(
        parts: impl IntoIterator<Item = PartId>,
        (model, numbers): (&'m Model, &Numbers),
        judges: &mut impl Judges,
        columns: &mut Columns,
    ) -> Self {
        let mut ids: Vec<PartId> = parts.into_iter().filter(|id| *id != LOGS).collect();
        ids.sort_unstable();
        ids.dedup();
        let turns = Turns::new(model, ids.iter().map(|&id| model.part(id).policy).collect());
        let mut parts = vec![(0, 0); ids.last().map_or(0, |last| *last as usize + 1)];
        let mut lines: Vec<Drafted<'m>> = Vec::new();
        for id in ids {
            let part = model.part(id);
            let Some(turn) = turns.of(part.policy) else { continue };
            let first = index(lines.len());
            lines.extend(model.rules_of(part).map(|rule| {
                let line = Line {
                    rank: Rank { tier: turn.tier, policy: turn.policy, rule: rule.index },
                    ruling: judges.ruling(part.policy, rule.index, rule.action, model),
                    logs: rule.action == Action::Log,
                    peers: &rule.peers,
                    ports: &rule.ports,
                };
                let group = match &rule.peers {
                    Peers::Any => None,
                    Peers::Sets(sets) => Some(columns.group(&numbers.list(sets))),
                };
                (group, line)
            }));
            parts[id as usize] = (first, index(lines.len()));
        }
        Self { model, turns, parts, lines }
    }

    /// The groups that the lines of these parts name, ascending.
    pub(super) fn groups(&self, parts: &[PartId]) -> Vec<GroupId> {
        let mut groups: Vec<GroupId> = self.lines_of(parts).filter_map(|line| line.0).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// The lines of these parts, and the ends of their tiers. Who has a narrowed rule of a policy is
    /// among the subjects of all of it.
    pub(super) fn lines(&self, parts: &[PartId], judges: &mut impl Judges) -> Lines<'m> {
        let mut lines = Lines::default();
        for (group, line) in self.lines_of(parts) {
            match group {
                None => lines.everyone.push(*line),
                Some(group) => lines.grouped.push((*group, *line)),
            }
        }
        let mut asked: Vec<(Turn, PolicyId)> = parts
            .iter()
            .filter(|id| **id != LOGS)
            .map(|&id| self.model.part(id).policy)
            .filter_map(|policy| Some((self.turns.of(policy)?, policy)))
            .collect();
        asked.sort_unstable_by_key(|(turn, _)| turn.policy);
        asked.dedup_by_key(|(turn, _)| turn.policy);
        for tier in asked.chunk_by(|a, b| a.0.tier == b.0.tier) {
            if tier[0].0.end == End::Deny {
                let policies: Vec<PolicyId> = tier.iter().map(|one| one.1).collect();
                lines.everyone.push(judges.end(&policies, tier[0].0.tier, self.model));
            }
        }
        lines
    }

    fn lines_of(&self, parts: &[PartId]) -> impl Iterator<Item = &Drafted<'m>> {
        let logs = parts.last() == Some(&LOGS);
        let ranges = parts.iter().filter_map(|&id| self.parts.get(id as usize));
        let lines = ranges.flat_map(|&(from, to)| &self.lines[from as usize..to as usize]);
        lines.filter(move |(_, line)| logs || !line.logs)
    }
}

impl Turns {
    /// Of these policies.
    fn new(model: &Model, mut policies: Vec<PolicyId>) -> Self {
        let of = |id: PolicyId| &model.ruleset.policies[id.0 as usize];
        policies.sort_unstable();
        policies.dedup();
        let mut places = vec![0; policies.last().map_or(0, |last| last.0 as usize + 1)];
        // No two objects have one rank; should they, places decide, as with the twins.
        policies.sort_by_cached_key(|&id| of(id).rank());
        let mut all = Vec::with_capacity(policies.len());
        let tiers = policies.chunk_by(|&a, &b| of(a).tier == of(b).tier);
        for (tier, policies) in (0..).zip(tiers) {
            for &id in policies {
                all.push(Turn { tier, policy: index(all.len()), end: of(id).tier.end });
                places[id.0 as usize] = index(all.len());
            }
        }
        Self { all, places }
    }

    fn of(&self, policy: PolicyId) -> Option<Turn> {
        let place = *self.places.get(policy.0 as usize)?;
        self.all.get((place as usize).checked_sub(1)?).copied()
    }
}
