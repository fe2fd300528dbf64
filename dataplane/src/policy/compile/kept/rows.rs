//! The row of every policy set, kept: made when it is new or a part of it differs, made longer
//! when its shape has a new value, and given new cells when its shape's have changed.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::super::super::ports::Few;
use super::super::super::ruleset::{Cause, Peers, PolicyId};
use super::super::super::shared::Shared;
use super::super::super::table::{Program, Row, VerdictId};
use super::super::intern::index;
use super::super::rows::Writer;
use super::super::rules::Line;
use super::columns::{Columns, GroupId, Shape};
use super::model::{Model, PartId};
use super::numbers::Numbers;
use super::policy_sets::{PolicySets, SetNumber};

/// Every row, and the causes of their verdicts.
#[derive(Debug)]
pub(super) struct Rows {
    /// By policy set, and some empty ones to grow into.
    pub(super) all: Arc<[Row]>,
    pub(super) causes: Shared<Cause>,
    allows: HashMap<(PolicyId, u32), VerdictId>,
    denies: HashMap<Box<[PolicyId]>, VerdictId>,
    none: Arc<[Few]>,
}

/// The lines of a policy set: everyone's, and others with their group.
struct Lines<'m> {
    everyone: Vec<Line<'m>>,
    grouped: Vec<(GroupId, Line<'m>)>,
    closed: VerdictId,
}

impl Rows {
    pub(super) fn new() -> Self {
        let closed = Cause::DefaultDeny { isolating: [].into() };
        let causes = [closed, Cause::NotIsolated, Cause::Itself, Cause::OwnNode];
        let (allows, denies) = (HashMap::new(), HashMap::new());
        let causes = causes.into_iter().collect();
        Self { all: Arc::new([]), causes, allows, denies, none: Arc::new([]) }
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
                row.plane = shape.plane;
                if let Some(lines) = lines {
                    let mut writer = Writer::resume(row, lines.closed);
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
            let mut writer = Writer::new(lines.closed);
            let programs = programs(&lines, shape, 0, &mut writer).collect();
            let mut row = Row {
                programs,
                cells: Arc::clone(&shape.cells),
                plane: shape.plane,
                ..self.empty()
            };
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
        let mut lines =
            Lines { everyone: Vec::new(), grouped: Vec::new(), closed: VerdictId::NOT_ISOLATED };
        let mut policies: Vec<PolicyId> = parts.iter().map(|&id| model.part(id).policy).collect();
        // Should two names be equal, places decide, as with the twins.
        policies.sort_unstable_by_key(|id| (model.ruleset.policies[id.0 as usize].order(), *id));
        policies.dedup();
        let mut isolating = Vec::new();
        for &id in parts {
            let part = model.part(id);
            if part.narrow.is_none() {
                isolating.push(part.policy);
            }
            let rank = policies.iter().position(|one| *one == part.policy).map_or(0, index);
            for rule in model.rules_of(part) {
                let verdict = self.allow(part.policy, rule.index);
                let line = Line {
                    rank: (rank, rule.index),
                    verdict,
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
        if !isolating.is_empty() {
            policies.retain(|policy| isolating.contains(policy));
            lines.closed = self.deny(policies);
        }
        lines
    }

    fn allow(&mut self, policy: PolicyId, rule: u32) -> VerdictId {
        *self.allows.entry((policy, rule)).or_insert_with(|| {
            self.causes.push(Cause::Rule { policy, rule });
            VerdictId(index(self.causes.len() - 1) | VerdictId::ALLOW)
        })
    }

    /// The verdict of isolation by these policies, by name.
    fn deny(&mut self, policies: Vec<PolicyId>) -> VerdictId {
        *self.denies.entry(policies.into()).or_insert_with_key(|policies| {
            self.causes.push(Cause::DefaultDeny { isolating: policies.clone().into() });
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
            many: None,
            plane: 0,
        }
    }
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
    if many.len() != row.many.as_ref().map_or(0, |many| many.len()) {
        row.many = Some(many.into());
    }
}
