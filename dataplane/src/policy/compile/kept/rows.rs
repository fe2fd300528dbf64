//! The row of every policy set, kept: made when it is new or a part of it differs, made longer
//! when its shape has a new value, and given new cells when its shape's have changed.

use std::sync::Arc;

use hashbrown::HashMap;

use super::super::super::ruleset::{Action, Cause, PolicyId};
use super::super::super::shared::Shared;
use super::super::super::table::{Program, Row, VerdictId};
use super::super::intern::index;
use super::super::rows::{self, Writer};
use super::super::rules::{Line, Ruling};
use super::columns::{Columns, GroupId, Shape, ShapeId};
use super::drafts::{Drafts, Judges, Lines};
use super::model::{Model, PartId};
use super::numbers::Numbers;
use super::policy_sets::{PolicySets, SetNumber};
use super::tallied::{Owner, Owners, Tallied};

/// Every row, and the causes of their verdicts.
#[derive(Debug)]
pub(super) struct Rows {
    /// By policy set, and some empty ones to grow into.
    pub(super) all: Arc<[Row]>,
    pub(super) causes: Shared<Cause>,
    /// Whose they are, by name and kind.
    pub(super) tallied: Tallied,
    /// By policy: how often its place has changed hands. Verdicts of another have other numbers.
    terms: Vec<u32>,
    rulings: HashMap<(Tenant, u32, Action), Ruling>,
    denies: HashMap<Box<[Tenant]>, VerdictId>,
    /// That of nobody: it denies everything.
    none: Row,
    writer: Writer,
}

/// A policy's place and the term of who has it.
type Tenant = (PolicyId, u32);

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
        let (none, writer) = (rows::empty(), Writer::default());
        Self { all: Arc::new([]), causes, tallied, terms, rulings, denies, none, writer }
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
                Arc::make_mut(&mut self.all)[number as usize] = self.none.clone();
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
        let touched = columns.refresh();
        let is_longer =
            |&&(id, before): &&(ShapeId, usize)| columns.shape(id).values.len() > before;
        let is_kept = |row: &&SetNumber| stale.binary_search(row).is_err();
        let longer = touched.iter().filter(is_longer);
        let rows = longer.flat_map(|(id, _)| columns.shape(*id).rows.iter().filter(is_kept));
        let parts: Vec<PartId> = rows.flat_map(|row| sets.get(*row).parts.to_vec()).collect();
        let drafts = Drafts::new(parts, (model, numbers), self, columns);
        for (id, before) in touched {
            let shape = columns.shape(id);
            for &number in shape.rows.iter().filter(is_kept) {
                let has_more = shape.values.len() > before;
                let lines = has_more.then(|| drafts.lines(&sets.get(number).parts, self));
                let row = &mut Arc::make_mut(&mut self.all)[number as usize];
                row.cells = Arc::clone(&shape.cells);
                if let Some(lines) = lines {
                    self.writer.begin(row);
                    let more = programs(&lines, shape, before, &mut self.writer);
                    row.programs = row.programs.iter().copied().chain(more).collect();
                    self.writer.keep(row);
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
        let parts = stale.iter().flat_map(|&number| sets.get(number).parts.iter().copied());
        let drafts = Drafts::new(parts, (model, numbers), self, columns);
        // All are weighed before the first is made, so that rows with common groups begin alike.
        let mut groups_of = Vec::with_capacity(stale.len());
        for &number in stale {
            let groups = drafts.groups(&sets.get(number).parts);
            if sets.get(number).shape.is_none() {
                columns.weigh(&groups, true);
            }
            groups_of.push(groups);
        }
        for (&number, groups) in stale.iter().zip(groups_of) {
            let shape_id = columns.acquire(groups, number, sets.get(number).shape);
            sets.set_shape(number, shape_id);
            let lines = drafts.lines(&sets.get(number).parts, self);
            let shape = columns.shape(shape_id);
            self.writer.begin(&self.none);
            let programs = programs(&lines, shape, 0, &mut self.writer).collect();
            let cells = Arc::clone(&shape.cells);
            let mut row = Row { cells, programs, ..self.none.clone() };
            self.writer.keep(&mut row);
            Arc::make_mut(&mut self.all)[number as usize] = row;
        }
    }

    fn tenant(&self, policy: PolicyId) -> Tenant {
        (policy, self.terms.get(policy.0 as usize).copied().unwrap_or(0))
    }

    /// Makes room for so many rows.
    fn grow(&mut self, rows: usize) {
        if self.all.len() < rows {
            let more =
                std::iter::repeat_n(&self.none, rows + rows / 8 + 8 - self.all.len()).cloned();
            self.all = self.all.iter().cloned().chain(more).collect();
        }
    }
}

impl Judges for Rows {
    fn ruling(&mut self, policy: PolicyId, rule: u32, action: Action, model: &Model) -> Ruling {
        let tenant = self.tenant(policy);
        *self.rulings.entry((tenant, rule, action)).or_insert_with(|| {
            let (cause, bit) = match action {
                Action::Allow => (Cause::Rule { policy, rule }, VerdictId::ALLOW),
                Action::Deny => (Cause::DenyRule { policy, rule }, 0),
                Action::Log => (Cause::Logged { policy, rule }, VerdictId::LOGGED),
                Action::Pass => return Ruling::Pass,
            };
            self.causes.push(cause);
            self.tallied.push(|| match action {
                Action::Allow => Owners::Rule(owner(policy, model)),
                Action::Deny => Owners::Denying([owner(policy, model)].into()),
                Action::Log | Action::Pass => Owners::Nobody,
            });
            Ruling::Verdict(VerdictId(index(self.causes.len() - 1) | bit))
        })
    }

    fn end(&mut self, policies: &[PolicyId], tier: u32, model: &Model) -> Line<'static> {
        let tenants = policies.iter().map(|policy| self.tenant(*policy)).collect();
        let verdict = *self.denies.entry(tenants).or_insert_with(|| {
            self.causes.push(Cause::DefaultDeny { isolating: policies.into() });
            let owners = || policies.iter().map(|policy| owner(*policy, model)).collect();
            self.tallied.push(|| Owners::Denying(owners()));
            VerdictId(index(self.causes.len() - 1))
        });
        Line::end(tier, verdict)
    }
}

fn owner(policy: PolicyId, model: &Model) -> Owner {
    let policy = &model.ruleset.policies[policy.0 as usize];
    (Arc::clone(&policy.name), policy.kind)
}

/// The programs of a shape's values from the `first` on.
fn programs<'a>(
    lines: &'a Lines<'_>,
    shape: &'a Shape,
    first: usize,
    writer: &'a mut Writer,
) -> impl Iterator<Item = Program> + 'a {
    let mut known: Vec<(GroupId, u32)> = shape.groups.iter().copied().zip(0..).collect();
    known.sort_unstable();
    let found = lines.grouped.iter().filter_map(|(group, line)| {
        let at = known.binary_search_by_key(group, |place| place.0).ok()?;
        Some((known[at].1, *line))
    });
    let mut listed: Vec<(u32, Line<'_>)> = found.collect();
    listed.sort_by_key(|one| one.0);
    let mut own: Vec<Line<'_>> = Vec::new();
    shape.values[first..].iter().map(move |value| {
        own.clear();
        own.extend_from_slice(&lines.everyone);
        for &place in value {
            let begin = listed.partition_point(|one| one.0 < place);
            let of_place = listed[begin..].iter().take_while(|one| one.0 == place);
            own.extend(of_place.map(|one| one.1));
        }
        writer.program(&own)
    })
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
