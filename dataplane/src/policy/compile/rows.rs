//! The rows of the table: for every policy set its cells and programs.
//!
//! A row's lines are sorted by peer group; the shape of its groups says which combinations of
//! groups occur; and for each of those the lines that apply become one program. An overlap is
//! decided by rank: by the first line that does not pass on, and of what is passed on by the first
//! of a later tier. So no packet ever meets a tier.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;

use super::super::ports::{FEW, Few, Many};
use super::super::ruleset::{Peers, Ports, SetId};
use super::super::table::{Program, Row, Span, VerdictId};
use super::intern::index;
use super::rules::{Causes, Line, Rank, Rules, Ruling};
use super::shapes::Shapes;
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
    let none: Arc<[Few]> = Arc::new([]);
    let mut rows = Vec::with_capacity(rules.policy_sets.len());
    for parts in &rules.policy_sets {
        let mut placed = groups.place(rules, parts, shapes);
        placed.extend(rules.ends(parts, causes).into_iter().map(|end| (None, end)));
        rows.push(groups.row(placed, shapes, &none));
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
        let lines = parts.iter().flat_map(|&part| &rules.parts[part as usize].lines);
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

    fn row(&self, mut placed: Vec<Placed>, shapes: &mut Shapes, none: &Arc<[Few]>) -> Row {
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
        let mut writer = Writer::default();
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
        let Writer { few, many, .. } = writer;
        Row {
            cells: sealed.cells,
            programs: programs.into(),
            few: if few.is_empty() { Arc::clone(none) } else { few.into() },
            many: many.into(),
        }
    }
}

/// Writes the programs of one row. Equal intervals are kept once.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) few: Vec<Few>,
    pub(super) many: Vec<Many>,
    known: HashMap<Vec<(u16, VerdictId)>, Span>,
}

/// What a line says of some ports of one protocol: what `intervals` sweeps over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    first: u16,
    standing: Standing,
}

/// A claim from its first port on, sorted by rank.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    rank: Rank,
    last: u16,
    ruling: Ruling,
}

impl Writer {
    /// To write more programs of a row that there is.
    pub(super) fn resume(row: &Row) -> Self {
        Self { few: row.few.to_vec(), many: row.many.to_vec(), known: HashMap::new() }
    }

    pub(super) fn program(&mut self, lines: &[Line]) -> Program {
        let every = lines.iter().filter(|line| *line.ports == Ports::Any);
        let standing = |line: &Line| Standing { rank: line.rank, last: 0, ruling: line.ruling };
        let (portless, _) = decide(&mut every.map(standing).collect(), 0);
        let [tcp, udp, sctp] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .map(|protocol| self.span(intervals(claims(lines, protocol))));
        Program([tcp, udp, sctp, Span::One(portless)])
    }

    fn span(&mut self, intervals: Vec<(u16, VerdictId)>) -> Span {
        if let [(_, verdict)] = *intervals {
            return Span::One(verdict);
        }
        if let Some(&known) = self.known.get(&intervals) {
            return known;
        }
        let span = if intervals.len() <= FEW {
            self.few.push(Few::new(&intervals));
            Span::Few(index(self.few.len() - 1))
        } else {
            self.many.push(Many::new(&intervals));
            Span::Many(index(self.many.len() - 1))
        };
        self.known.insert(intervals, span);
        span
    }
}

fn claims(lines: &[Line], protocol: Protocol) -> Vec<Claim> {
    let mut claims: Vec<Claim> = Vec::new();
    for line in lines {
        let Line { rank, ruling, .. } = *line;
        let claim = |first, last| Claim { first, standing: Standing { rank, last, ruling } };
        match line.ports {
            Ports::Any => claims.push(claim(0, u16::MAX)),
            Ports::Ranges(ranges) => {
                let own = ranges.iter().filter(|range| range.protocol == protocol);
                claims.extend(own.map(|range| claim(range.first, range.last)));
            }
        }
    }
    claims
}

/// Cuts the ports into intervals by what decides on each. Neighbours differ.
fn intervals(mut claims: Vec<Claim>) -> Vec<(u16, VerdictId)> {
    claims.sort_unstable();
    let mut coming = claims.into_iter().peekable();
    let mut standing = BTreeSet::new();
    let mut intervals: Vec<(u16, VerdictId)> = Vec::new();
    let mut at = 0u16;
    loop {
        while let Some(claim) = coming.next_if(|claim| claim.first <= at) {
            standing.insert(claim.standing);
        }
        let (verdict, mut last) = decide(&mut standing, at);
        if let Some(next) = coming.peek() {
            // It is above `at`, so above 0.
            last = last.min(next.first - 1);
        }
        match intervals.last_mut() {
            Some(before) if before.1 == verdict => before.0 = last,
            _ => intervals.push((last, verdict)),
        }
        match last.checked_add(1) {
            Some(next) => at = next,
            None => return intervals,
        }
    }
}

/// What decides on a port, and up to which it does while nothing else begins: the first claim, or
/// where that passes on the first of a later tier. Claims that have ended are taken away where they
/// are met. What nothing decides is allowed.
fn decide(standing: &mut BTreeSet<Standing>, at: u16) -> (VerdictId, u16) {
    let (mut tier, mut until) = (0, u16::MAX);
    loop {
        let from = Standing {
            rank: Rank { tier, policy: 0, rule: 0 },
            last: 0,
            ruling: Ruling::Verdict(VerdictId::CLOSED),
        };
        let Some(&first) = standing.range(from..).next() else {
            return (VerdictId::NOT_ISOLATED, until);
        };
        if first.last < at {
            standing.remove(&first);
            continue;
        }
        until = until.min(first.last);
        match first.ruling {
            Ruling::Verdict(verdict) => return (verdict, until),
            Ruling::Pass => tier = first.rank.tier + 1,
        }
    }
}
