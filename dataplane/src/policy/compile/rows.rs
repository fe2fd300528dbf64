//! The rows of the table: for every policy set its cells and programs.
//!
//! A row's lines are sorted by peer group; the shape of its groups says which combinations of
//! groups occur; and for each of those the lines that apply become one program. An overlap is
//! decided by rank: by the first line that does not pass on, and of what is passed on by the first
//! of a later tier. So no packet ever meets a tier.

use std::cmp::Reverse;
use std::sync::Arc;

use hashbrown::HashMap;

use super::super::ports::{FEW, Few, Many, STEPS};
use super::super::ruleset::{Peers, PortRange, Ports, SetId};
use super::super::table::{List, Program, Row, Span, VerdictId};
use super::intern::index;
use super::rules::{Causes, LOGS, Line, Rules, Ruling};
use super::shapes::Shapes;
use super::standings::{Standing, Standings};
use super::trees::Root;
use crate::packet::Protocol;

/// Peer groups: the classes of each list of sets that a line names. Groups with equal classes
/// are one, whatever their sets.
pub(super) struct Groups {
    /// By set; ZEROS where the set is not used.
    pub(super) sets: Vec<Root>,
    lists: HashMap<Vec<SetId>, Root>,
    /// How many rows name the group, and how many classes it has.
    weights: HashMap<Root, (Reverse<usize>, Reverse<usize>)>,
}

/// A line of a row: with its group, `None` being everyone.
type Placed<'a> = (Option<Root>, Line<'a>);

/// Makes every row. Row 0 is never read.
pub(super) fn rows(
    rules: &Rules,
    groups: &mut Groups,
    shapes: &mut Shapes,
    causes: &mut Causes,
) -> Vec<Row> {
    for parts in &rules.policy_sets {
        let placed = groups.place(rules, parts, shapes);
        groups.weigh(&placed, shapes);
    }
    let (none, mut writer) = (empty(), Writer::default());
    let mut rows = Vec::with_capacity(rules.policy_sets.len());
    for parts in &rules.policy_sets {
        let mut placed = groups.place(rules, parts, shapes);
        placed.extend(rules.ends(parts, causes).into_iter().map(|end| (None, end)));
        rows.push(groups.row(placed, shapes, (&none, &mut writer)));
    }
    rows
}

impl Groups {
    pub(super) fn new(sets: Vec<Root>) -> Self {
        Self { sets, lists: HashMap::new(), weights: HashMap::new() }
    }

    /// The lines of a policy set with their groups; those that match nobody left out.
    fn place<'a>(
        &mut self,
        rules: &Rules<'a>,
        parts: &[u32],
        shapes: &mut Shapes,
    ) -> Vec<Placed<'a>> {
        let logs = parts.last() == Some(&LOGS);
        let lines = rules.of(parts).flat_map(|part| &part.lines);
        let lines = lines.filter(|line| logs || !line.logs);
        let placed = lines.map(|line| match line.peers {
            Peers::Any => (None, *line),
            Peers::Sets(sets) => (Some(self.group(sets, shapes)), *line),
        });
        placed.filter(|(group, _)| *group != Some(Root::ZEROS)).collect()
    }

    fn group(&mut self, sets: &[SetId], shapes: &mut Shapes) -> Root {
        if let [set] = sets {
            return self.sets[set.0 as usize];
        }
        if let Some(&known) = self.lists.get(sets) {
            return known;
        }
        let roots = sets.iter().map(|set| self.sets[set.0 as usize]);
        let group = roots.fold(Root::ZEROS, |all, set| shapes.trees.overlay(all, set, |_| 1));
        self.lists.insert(sets.to_vec(), group);
        group
    }

    fn weigh(&mut self, placed: &[Placed], shapes: &Shapes) {
        let mut groups: Vec<Root> = placed.iter().filter_map(|line| line.0).collect();
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            let count = || (Reverse(0), Reverse(shapes.trees.count(group)));
            self.weights.entry(group).or_insert_with(count).0.0 += 1;
        }
    }

    fn row(
        &self,
        mut placed: Vec<Placed>,
        shapes: &mut Shapes,
        (none, writer): (&Row, &mut Writer),
    ) -> Row {
        // Everyone's lines first (`None`), then by group, the most widely used first: `shapes`
        // tells why. Within a group by rank.
        let weight = |group: Option<Root>| group.map(|group| (self.weights[&group], group));
        placed.sort_unstable_by_key(|(group, line)| (weight(*group), line.rank));
        let split = placed.partition_point(|line| line.0.is_none());
        let (everyone, grouped) = placed.split_at(split);
        let lists: Vec<&[Placed]> = grouped.chunk_by(|a, b| a.0 == b.0).collect();
        let groups: Vec<Root> = lists.iter().filter_map(|list| list[0].0).collect();

        let shape = shapes.of(&groups);
        let growth = shapes.growth(shape, groups.len());
        let sealed = shapes.seal(shape);
        writer.begin(none);
        let mut programs = Vec::with_capacity(sealed.locals.len());
        let mut lines: Vec<Line> = Vec::new();
        for &local in sealed.locals.iter() {
            lines.clear();
            lines.extend(everyone.iter().map(|line| line.1));
            let mut at = local as usize;
            while at != 0 {
                let (from, group) = growth[at - 1];
                lines.extend(lists[group as usize].iter().map(|line| line.1));
                at = from as usize;
            }
            programs.push(writer.program(&lines));
        }
        let mut row = Row { cells: sealed.cells, programs: programs.into(), ..none.clone() };
        writer.keep(&mut row);
        row
    }
}

/// A row that denies everything.
pub(super) fn empty() -> Row {
    let (cells, programs) = (Arc::new([]), Arc::new([]));
    Row { cells, programs, few: Arc::new([]), many: Arc::new([]) }
}

/// Writes the programs of one row after the other. Equal intervals of a row are kept once.
#[derive(Debug, Default)]
pub(super) struct Writer {
    few: Vec<Few>,
    many: Vec<Many>,
    known: HashMap<Vec<(u16, Span)>, Span>,
    scratch: Scratch,
}

/// What a program is written with, so that it need not be allocated for each.
#[derive(Debug, Default)]
struct Scratch {
    every: Vec<Claim>,
    own: [Vec<Claim>; Protocol::ALL.len()],
    standing: Standings,
    intervals: Vec<(u16, Span)>,
}

/// So much room for lists of intervals is kept from row to row.
const KNOWN_ROOM: usize = 1024;

/// What a line says of some ports of one protocol: what `intervals` sweeps over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    first: u16,
    standing: Standing,
}

impl Claim {
    /// That of a line, of one of its ranges.
    fn of(line: &Line, range: &PortRange) -> Self {
        let Line { rank, ruling, .. } = *line;
        // What has no ports has none to be told apart by.
        let is_any = !range.protocol.has_ports();
        let source = if is_any { PortRange::ANY_SOURCE } else { range.source };
        Self { first: range.first, standing: Standing { rank, last: range.last, source, ruling } }
    }
}

impl Writer {
    /// From here on programs of this row are written, beside those that it has.
    pub(super) fn begin(&mut self, row: &Row) {
        self.few.clear();
        self.few.extend_from_slice(&row.few);
        self.many.clear();
        self.many.extend_from_slice(&row.many);
        if self.known.capacity() > KNOWN_ROOM {
            self.known = HashMap::new();
        }
        self.known.clear();
    }

    /// Gives the row the intervals that were written for it.
    pub(super) fn keep(&self, row: &mut Row) {
        if self.few.len() != row.few.len() {
            row.few = self.few.as_slice().into();
        }
        if self.many.len() != row.many.len() {
            row.many = self.many.as_slice().into();
        }
    }

    pub(super) fn program(&mut self, lines: &[Line]) -> Program {
        let mut scratch = std::mem::take(&mut self.scratch);
        let program = self.written(lines, &mut scratch);
        self.scratch = scratch;
        program
    }

    fn written(&mut self, lines: &[Line], scratch: &mut Scratch) -> Program {
        let Scratch { every, own, standing, intervals } = scratch;
        every.clear();
        own.iter_mut().for_each(Vec::clear);
        standing.clear();
        for line in lines {
            match line.ports {
                Ports::Any => {
                    let all = PortRange::of_target(Protocol::Other, 0, u16::MAX);
                    every.push(Claim::of(line, &all));
                }
                Ports::Ranges(ranges) => {
                    for range in ranges {
                        own[range.protocol as usize].push(Claim::of(line, range));
                    }
                }
            }
        }
        for claim in every.iter() {
            standing.insert(claim.standing);
        }
        let rest = Span::one(decide(standing, &[], 0).0);
        Program(own.each_mut().map(|claims| {
            if claims.is_empty() {
                return rest;
            }
            claims.extend_from_slice(every);
            claims.sort_unstable();
            standing.clear();
            intervals.clear();
            self.cut(claims, standing, intervals);
            self.span(intervals)
        }))
    }

    fn span(&mut self, intervals: &[(u16, Span)]) -> Span {
        let is_verdict = |(_, span): &(u16, Span)| span.verdict().is_some();
        if let [only] = intervals
            && is_verdict(only)
        {
            return only.1;
        }
        if let Some(&known) = self.known.get(intervals) {
            return known;
        }
        let then_by_source = !intervals.iter().all(is_verdict);
        let (place, list) = if intervals.len() <= FEW {
            (self.place(Few::new(intervals)), List::Few)
        } else if intervals.len() <= STEPS {
            let place = |few| Span::lookup(self.place(few), List::Few, false);
            let steps = Few::steps(intervals, place);
            (self.place(steps), List::Steps)
        } else {
            self.many.push(Many::new(intervals));
            (index(self.many.len() - 1), List::Many)
        };
        let span = Span::lookup(place, list, then_by_source);
        self.known.insert(intervals.to_vec(), span);
        span
    }

    fn place(&mut self, few: Few) -> u32 {
        self.few.push(few);
        index(self.few.len() - 1)
    }

    /// Cuts the ports into intervals by what decides on each of the claims, which are sorted.
    /// Neighbours differ.
    fn cut(
        &mut self,
        claims: &[Claim],
        standing: &mut Standings,
        intervals: &mut Vec<(u16, Span)>,
    ) {
        let mut coming = claims.iter().peekable();
        // Those that speak of a port of the source are few, and stand apart.
        let mut narrow = Vec::new();
        let mut at = 0u16;
        loop {
            while let Some(claim) = coming.next_if(|claim| claim.first <= at) {
                if claim.standing.source == PortRange::ANY_SOURCE {
                    standing.insert(claim.standing);
                } else {
                    narrow.push(claim.standing);
                }
            }
            narrow.retain(|claim| claim.last >= at);
            let (span, mut last) = if narrow.is_empty() {
                let (verdict, last) = decide(standing, &[], at);
                (Span::one(verdict), last)
            } else {
                self.by_source(standing, &narrow, at)
            };
            if let Some(next) = coming.peek() {
                // It is above `at`, so above 0.
                last = last.min(next.first - 1);
            }
            push(intervals, last, span);
            match last.checked_add(1) {
                Some(next) => at = next,
                None => return,
            }
        }
    }

    /// What decides on a port by that of the source, and up to which port it does.
    fn by_source(&mut self, standing: &mut Standings, narrow: &[Standing], at: u16) -> (Span, u16) {
        let mut until = narrow.iter().map(|claim| claim.last).min().unwrap_or(u16::MAX);
        let mut intervals: Vec<(u16, Span)> = Vec::new();
        let mut source = 0u16;
        loop {
            let (mut here, mut last) = (Vec::new(), u16::MAX);
            for claim in narrow {
                let (from, to) = claim.source;
                if source < from {
                    last = last.min(from - 1);
                } else if source <= to {
                    last = last.min(to);
                    here.push(*claim);
                }
            }
            here.sort_unstable();
            let (verdict, port) = decide(standing, &here, at);
            until = until.min(port);
            push(&mut intervals, last, Span::one(verdict));
            match last.checked_add(1) {
                Some(next) => source = next,
                None => return (self.span(&intervals), until),
            }
        }
    }
}

/// Adds an interval up to this port.
fn push(intervals: &mut Vec<(u16, Span)>, last: u16, span: Span) {
    match intervals.last_mut() {
        Some(before) if before.1 == span => before.0 = last,
        _ => intervals.push((last, span)),
    }
}

/// What decides on a port, and up to which it does while nothing else begins: the first claim, or
/// where that passes on the first of a later tier. Claims that have ended are taken away where they
/// are met; of the narrow ones, sorted, none has. What nothing decides is allowed.
fn decide(standing: &mut Standings, narrow: &[Standing], at: u16) -> (VerdictId, u16) {
    let (mut tier, mut until) = (0, u16::MAX);
    loop {
        let from = Standing::first_of(tier);
        let wide = standing.first_from(from, at);
        let narrow = narrow.get(narrow.partition_point(|claim| *claim < from)..);
        let narrow = narrow.and_then(|claims| claims.first()).copied();
        let Some(first) = wide.into_iter().chain(narrow).min() else {
            return (VerdictId::NOT_ISOLATED, until);
        };
        until = until.min(first.last);
        match first.ruling {
            Ruling::Verdict(verdict) => return (verdict, until),
            Ruling::Pass => tier = first.rank.tier + 1,
        }
    }
}
