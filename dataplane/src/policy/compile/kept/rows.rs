//! The row of every policy set, kept: made when it is new or a part of it differs, made longer
//! when its shape has a new value, and given new cells when its shape's have changed.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::super::super::ports::Few;
use super::super::super::ruleset::{Action, Cause, End, Peers, PolicyId, Rule};
use super::super::super::shared::Shared;
use super::super::super::table::{Program, Row, VerdictId};
use super::super::intern::index;
use super::super::rows::Writer;
use super::super::rules::{LOGS, Line, Rank, Ruling};
use super::columns::{Columns, GroupId, Shape};
use super::model::{Model, PartId};
use super::numbers::Numbers;
use super::policy_sets::{PolicySets, SetNumber};
use super::tallied::{Owners, Tallied};

/// Every row, and the causes of their verdicts.
#[derive(Debug)]
pub(super) struct Rows {
    /// By policy set, and some empty ones to grow into.
    pub(super) all: Arc<[Row]>,
    pub(super) causes: Shared<Cause>,
    /// Whose they are, by name.
    pub(super) tallied: Tallied,
    /// By policy: how often its place has changed hands. Verdicts of another have other numbers.
    terms: Vec<u32>,
    rulings: HashMap<(Tenant, u32, Action), Ruling>,
    denies: HashMap<Box<[Tenant]>, VerdictId>,
    none: Arc<[Few]>,
}

/// A policy's place and the term of who has it.
type Tenant = (PolicyId, u32);

/// The lines of a policy set: everyone's, and others with their group.
#[derive(Default)]
struct Lines<'m> {
    everyone: Vec<Line<'m>>,
    grouped: Vec<(GroupId, Line<'m>)>,
}

impl Rows {
    /// No rows yet; the verdicts of each are counted by so many workers.
    pub(super) fn new(workers: u8) -> Self {
        let closed = Cause::DefaultDeny { isolating: [].into() };
        let causes = [closed, Cause::NotIsolated];
        let (rulings, denies) = (HashMap::new(), HashMap::new());
        let mut tallied = Tallied::new(workers);
        for _ in &causes {
            tallied.push(|| Owners::Nobody);
        }
        let causes = causes.into_iter().collect();
        let terms = Vec::new();
        Self { all: Arc::new([]), causes, tallied, terms, rulings, denies, none: Arc::new([]) }
    }

    /// A policy's place is another's now, or nobody's.
    pub(super) fn hand_over(&mut self, policy: PolicyId) {
        let at = policy.0 as usize;
        if self.terms.len() <= at {
            self.terms.resize(at + 1, 0);
        }
        self.terms[at] += 1;
    }

    /// Brings all rows up to date. `parts` are those whose rules differ.
    pub(super) fn update(
        &mut self,
        parts: &[PartId],
        (model, numbers): (&Model, &Numbers),
        sets: &mut PolicySets,
        columns: &mut Columns,
    ) {
        for (number, shape) in sets.sweep() {
            if let Some(shape) = shape {
                columns.release(shape, number);
            }
            if (number as usize) < self.all.len() {
                Arc::make_mut(&mut self.all)[number as usize] = self.empty();
            }
        }
        let mut stale: Vec<SetNumber> = sets.take_new();
        stale.extend(parts.iter().flat_map(|part| sets.with_part(*part)));
        stale.sort_unstable();
        stale.dedup();
        self.grow(sets.len());
        self.refresh(&stale, (model, numbers), sets, columns);
        self.make(&stale, (model, numbers), sets, columns);
        self.tallied.grow();
    }

    /// Rows whose shapes have changed, but for those that are to be made anew.
    fn refresh(
        &mut self,
        stale: &[SetNumber],
        (model, numbers): (&Model, &Numbers),
        sets: &PolicySets,
        columns: &mut Columns,
    ) {
        for (id, before) in columns.refresh() {
            let rows = columns.shape(id).rows.clone();
            for number in rows.into_iter().filter(|row| stale.binary_search(row).is_err()) {
                let has_more = columns.shape(id).values.len() > before;
                let lines = has_more
                    .then(|| self.lines((model, numbers), &sets.get(number).parts, columns));
                let shape = columns.shape(id);
                let row = &mut Arc::make_mut(&mut self.all)[number as usize];
                row.cells = Arc::clone(&shape.cells);
                if let Some(lines) = lines {
                    let mut writer = Writer::resume(row);
                    let more = programs(&lines, shape, before, &mut writer);
                    row.programs = row.programs.iter().copied().chain(more).collect();
                    keep(row, writer);
                }
            }
        }
    }

    /// Rows that are new, or have other rules.
    fn make(
        &mut self,
        stale: &[SetNumber],
        (model, numbers): (&Model, &Numbers),
        sets: &mut PolicySets,
        columns: &mut Columns,
    ) {
        // All are weighed before the first is made, so that rows with common groups begin alike.
        let mut groups_of = Vec::with_capacity(stale.len());
        for &number in stale {
            let lines = self.lines((model, numbers), &sets.get(number).parts, columns);
            let groups: HashSet<GroupId> = lines.grouped.iter().map(|line| line.0).collect();
            let groups: Vec<GroupId> = groups.into_iter().collect();
            if sets.get(number).shape.is_none() {
                columns.weigh(&groups, true);
            }
            groups_of.push(groups);
        }
        for (&number, groups) in stale.iter().zip(groups_of) {
            let shape_id = columns.acquire(&groups, number, sets.get(number).shape);
            sets.set_shape(number, shape_id);
            let lines = self.lines((model, numbers), &sets.get(number).parts, columns);
            let shape = columns.shape(shape_id);
            let mut writer = Writer::default();
            let programs = programs(&lines, shape, 0, &mut writer).collect();
            let mut row = Row { programs, cells: Arc::clone(&shape.cells), ..self.empty() };
            keep(&mut row, writer);
            Arc::make_mut(&mut self.all)[number as usize] = row;
        }
    }

    fn lines<'m>(
        &mut self,
        (model, numbers): (&'m Model, &Numbers),
        parts: &[PartId],
        columns: &mut Columns,
    ) -> Lines<'m> {
        let mut lines = Lines::default();
        let (logs, parts) = match parts {
            [parts @ .., LOGS] => (true, parts),
            parts => (false, parts),
        };
        let places = places(model, parts);
        for &id in parts {
            let part = model.part(id);
            let place = places.iter().position(|one| one.policy == part.policy).unwrap_or(0);
            let (tier, policy) = (places[place].tier, index(place));
            let is_asked = |rule: &&Rule| logs || rule.action != Action::Log;
            for rule in model.rules_of(part).filter(is_asked) {
                let line = Line {
                    rank: Rank { tier, policy, rule: rule.index },
                    ruling: self.ruling(part.policy, rule, model),
                    logs: rule.action == Action::Log,
                    peers: &rule.peers,
                    ports: &rule.ports,
                };
                match &rule.peers {
                    Peers::Any => lines.everyone.push(line),
                    Peers::Sets(sets) => {
                        let group = columns.group(&numbers.list(sets));
                        lines.grouped.push((group, line));
                    }
                }
            }
        }
        for tier in places.chunk_by(|a, b| a.tier == b.tier) {
            if tier[0].end == End::Deny {
                let policies: Vec<PolicyId> = tier.iter().map(|one| one.policy).collect();
                lines.everyone.push(Line::end(tier[0].tier, self.deny(&policies, model)));
            }
        }
        lines
    }

    fn tenant(&self, policy: PolicyId) -> Tenant {
        (policy, self.terms.get(policy.0 as usize).copied().unwrap_or(0))
    }

    fn ruling(&mut self, policy: PolicyId, rule: &Rule, model: &Model) -> Ruling {
        let (tenant, action, rule) = (self.tenant(policy), rule.action, rule.index);
        *self.rulings.entry((tenant, rule, action)).or_insert_with(|| {
            let (cause, bit) = match action {
                Action::Allow => (Cause::Rule { policy, rule }, VerdictId::ALLOW),
                Action::Deny => (Cause::DenyRule { policy, rule }, 0),
                Action::Log => (Cause::Logged { policy, rule }, VerdictId::LOGGED),
                Action::Pass => return Ruling::Pass,
            };
            self.causes.push(cause);
            self.tallied.push(|| match action {
                Action::Allow => Owners::Rule(name(policy, model)),
                Action::Deny => Owners::Denying([name(policy, model)].into()),
                Action::Log | Action::Pass => Owners::Nobody,
            });
            Ruling::Verdict(VerdictId(index(self.causes.len() - 1) | bit))
        })
    }

    /// The verdict of isolation by these policies, by name.
    fn deny(&mut self, policies: &[PolicyId], model: &Model) -> VerdictId {
        let tenants = policies.iter().map(|policy| self.tenant(*policy)).collect();
        *self.denies.entry(tenants).or_insert_with(|| {
            self.causes.push(Cause::DefaultDeny { isolating: policies.into() });
            let names = || policies.iter().map(|policy| name(*policy, model)).collect();
            self.tallied.push(|| Owners::Denying(names()));
            VerdictId(index(self.causes.len() - 1))
        })
    }

    /// Makes room for so many rows.
    fn grow(&mut self, rows: usize) {
        if self.all.len() < rows {
            let more =
                std::iter::repeat_with(|| self.empty()).take(rows + rows / 8 + 8 - self.all.len());
            self.all = self.all.iter().cloned().chain(more).collect();
        }
    }

    /// A row that denies everything.
    fn empty(&self) -> Row {
        Row {
            cells: Arc::new([]),
            programs: Arc::new([]),
            few: Arc::clone(&self.none),
            many: Arc::new([]),
        }
    }
}

/// A policy that selects, and when it is asked.
struct Asked {
    policy: PolicyId,
    tier: u32,
    end: End,
}

/// The policies that have a part among these, the first to be asked first. Who has a narrowed rule
/// of one is among the subjects of all of it.
fn places(model: &Model, parts: &[PartId]) -> Vec<Asked> {
    let of = |id: PolicyId| &model.ruleset.policies[id.0 as usize];
    let mut policies: Vec<PolicyId> = parts.iter().map(|&id| model.part(id).policy).collect();
    // Should two names be equal, places decide, as with the twins.
    policies.sort_unstable_by_key(|&id| (of(id).rank(), id));
    policies.dedup();
    let tiers = policies.chunk_by(|&a, &b| of(a).tier == of(b).tier).zip(0..);
    let asked = |policy, tier| Asked { policy, tier, end: of(policy).tier.end };
    tiers.flat_map(|(some, tier)| some.iter().map(move |&one| asked(one, tier))).collect()
}

fn name(policy: PolicyId, model: &Model) -> Arc<str> {
    Arc::clone(&model.ruleset.policies[policy.0 as usize].name)
}

/// The programs of a shape's values from the `first` on.
fn programs<'a>(
    lines: &'a Lines<'_>,
    shape: &'a Shape,
    first: usize,
    writer: &'a mut Writer,
) -> impl Iterator<Item = Program> + 'a {
    let places: HashMap<GroupId, usize> = shape.groups.iter().copied().zip(0..).collect();
    let mut lists: Vec<Vec<Line<'_>>> = vec![Vec::new(); shape.groups.len()];
    for (group, line) in &lines.grouped {
        if let Some(&place) = places.get(group) {
            lists[place].push(*line);
        }
    }
    let mut own: Vec<Line<'_>> = Vec::new();
    shape.values[first..].iter().map(move |value| {
        own.clear();
        own.extend_from_slice(&lines.everyone);
        value.iter().for_each(|&place| own.extend_from_slice(&lists[place as usize]));
        writer.program(&own)
    })
}

/// Keeps the intervals that were written.
fn keep(row: &mut Row, writer: Writer) {
    let Writer { few, many, .. } = writer;
    if few.len() != row.few.len() {
        row.few = few.into();
    }
    if many.len() != row.many.len() {
        row.many = many.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_grow_by_an_eighth_and_eight() {
        let mut rows = Rows::new(0);
        for (wanted, there) in [(100, 120), (120, 120), (121, 144)] {
            rows.grow(wanted);
            assert_eq!(rows.all.len(), there);
        }
    }
}
