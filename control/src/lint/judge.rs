//! Rules that decide nothing: of each packet that they match something else decides, and the same.
//!
//! Nothing is judged by its text: what a part of a rule matches is followed, packet by packet in
//! whole sets, through what its pods are asked before it and after it. What is found so may be
//! removed, alone or with all that is found, and no verdict is another.

use std::collections::BTreeSet;

use lockgate_dataplane::policy::ruleset::{Action, Direction, Order, Tier};

use super::reading::{At, Piece, Reading, Step};
use super::spans::Packets;

/// Sets of packets that are followed at once; more are taken to be everything.
const PARTS_MAX: usize = 256;

/// Why something decides nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// An earlier tier decides for all pods that the policy selects.
    Unreached,
    /// What is asked before decides: these rules, or the end of a tier.
    Shadowed(Vec<At>),
    /// Other rules allow the net too.
    Redundant(Vec<At>),
    /// Of two policies of one order the first decides by its name, and otherwise than the other.
    Ambiguous(At),
}

/// What pods are asked in one direction.
pub(super) struct Judge<'r> {
    reading: &'r Reading<'r>,
    direction: Direction,
    steps: Vec<Vec<Step>>,
    /// Lists of steps by the policies that are in them.
    of_policy: Vec<Vec<usize>>,
    /// What is found already: nothing else is idle because of it.
    gone: BTreeSet<At>,
}

impl<'r> Judge<'r> {
    pub(super) fn new(reading: &'r Reading<'r>, direction: Direction) -> Self {
        let steps = reading.steps(direction);
        let mut of_policy: Vec<Vec<usize>> = vec![Vec::new(); reading.policies.len()];
        for (place, list) in steps.iter().enumerate() {
            let pieces = list.iter().filter_map(|step| reading.piece(*step));
            for policy in pieces.map(|piece| piece.at.policy).collect::<BTreeSet<_>>() {
                if let Some(lists) = of_policy.get_mut(policy) {
                    lists.push(place);
                }
            }
        }
        Self { reading, direction, steps, of_policy, gone: BTreeSet::new() }
    }

    /// Everything that decides nothing, and where.
    pub(super) fn idle(mut self) -> Vec<(At, Idle)> {
        let mut found = Vec::new();
        for policy in 0..self.reading.policies.len() {
            self.shadowed(policy, &mut found);
        }
        for policy in 0..self.reading.policies.len() {
            let parts = self.reading.policies.get(policy).map_or(&[][..], |one| &one.parts);
            for &at in parts.iter().filter(|at| at.net.is_some()) {
                if let Some(idle) = self.net(at) {
                    self.gone.insert(at);
                    found.push((at, idle));
                }
            }
        }
        found.extend(self.ambiguous());
        found
    }

    fn shadowed(&mut self, policy: usize, found: &mut Vec<(At, Idle)>) {
        let parts = self.reading.policies.get(policy).map_or(&[][..], |one| &one.parts);
        let parts: Vec<At> =
            parts.iter().filter(|at| at.direction == self.direction).copied().collect();
        let Some(&first) = parts.first() else { return };
        if self.is_unreached(policy) {
            self.gone.extend(&parts);
            return found.push((first, Idle::Unreached));
        }
        for rule in parts.chunk_by(|a, b| a.rule == b.rule) {
            let Some(first) = rule.first().map(|at| At { net: None, ..*at }) else { continue };
            let Some(by) = self.before(|at| at.policy == policy && at.rule == first.rule) else {
                continue;
            };
            // Nets that are allowed elsewhere are told one by one.
            let is_told = rule.iter().all(|at| at.net.is_some())
                && self.all_allow(&by)
                && self.all_allow(rule);
            if !is_told {
                self.gone.extend(rule);
                found.push((first, Idle::Shadowed(by)));
            }
        }
    }

    /// Whether no packet of any of its pods comes as far as a policy's tier.
    fn is_unreached(&self, policy: usize) -> bool {
        let Some(asked) = self.reading.policies.get(policy) else { return false };
        let tier = &asked.resolved.tier;
        let lists = self.lists(policy);
        let is_of_tier = |step: &Step| {
            let piece = self.reading.piece(*step);
            let of = piece.and_then(|piece| self.reading.policies.get(piece.at.policy));
            of.is_some_and(|of| of.resolved.tier == *tier)
        };
        let mut lists = lists.map(|list| {
            let until = list.iter().position(is_of_tier).unwrap_or(list.len());
            self.follow(&list[..until], vec![Packets::all()]).0.is_empty()
        });
        asked.has_tier && lists.next().is_some_and(|first| first && lists.all(|one| one))
    }

    /// What decides of all that some parts match before they are asked; `None` where something is
    /// left for them, or they match nothing.
    fn before(&self, is_part: impl Fn(At) -> bool) -> Option<Vec<At>> {
        let mut by = BTreeSet::new();
        let mut has_any = false;
        let policy = self.reading.pieces.iter().find(|piece| self.is(piece, &is_part))?.at.policy;
        for list in self.lists(policy) {
            let own =
                |step: &Step| self.reading.piece(*step).filter(|piece| self.is(piece, &is_part));
            let Some(until) = list.iter().position(|step| own(step).is_some()) else { continue };
            let parts: Vec<&Piece> = list.iter().filter_map(own).collect();
            if parts.iter().any(|part| !part.is_exact) {
                return None;
            }
            // One packet alone is soon followed, and mostly enough.
            let one = parts.first().map(|part| part.packets.sample()).into_iter().collect();
            let all = Packets::joined(parts.iter().map(|part| &part.packets));
            for packets in [one, all] {
                let (left, deciding) = self.follow(&list[..until], packets);
                if !left.is_empty() {
                    return None;
                }
                by.extend(deciding);
            }
            has_any = true;
        }
        has_any.then(|| by.into_iter().collect())
    }

    /// Whether a net of a rule is decided by others as by the rule.
    fn net(&self, at: At) -> Option<Idle> {
        if at.direction != self.direction || self.gone.contains(&at) {
            return None;
        }
        if let Some(by) = self.before(|one| one == at) {
            let is_allowed = self.all_allow(&by) && self.all_allow(&[at]);
            return Some(if is_allowed { Idle::Redundant(by) } else { Idle::Shadowed(by) });
        }
        let mut by = BTreeSet::new();
        let mut has_any = false;
        for list in self.lists(at.policy) {
            let is_own = |step: &Step| self.reading.piece(*step).is_some_and(|one| one.at == at);
            let Some(until) = list.iter().position(is_own) else { continue };
            let parts = list.iter().filter(|step| is_own(step));
            for part in parts.filter_map(|step| self.reading.piece(*step)) {
                if !part.is_exact || part.action != Action::Allow {
                    return None;
                }
                for packets in [part.packets.sample(), part.packets.clone()] {
                    let (left, earlier) = self.follow(&list[..until], vec![packets]);
                    by.extend(earlier.into_iter().filter(|one| self.all_allow(&[*one])));
                    by.extend(self.allowed_after(&list[until..], left, at)?);
                }
            }
            has_any = true;
        }
        has_any.then(|| Idle::Redundant(by.into_iter().collect()))
    }

    /// What is left undecided after some steps, to be asked in the tier of the last, and which rules
    /// have decided.
    fn follow(&self, steps: &[Step], mut left: Vec<Packets>) -> (Vec<Packets>, BTreeSet<At>) {
        let (mut passed, mut by) = (Vec::new(), BTreeSet::new());
        for step in steps {
            if left.is_empty() && passed.is_empty() {
                break;
            }
            for parts in [&mut left, &mut passed].into_iter().filter(|one| one.len() > PARTS_MAX) {
                *parts = vec![Packets::all()];
            }
            let Some(piece) = self.reading.piece(*step) else {
                if *step == Step::End(true) {
                    left.clear();
                }
                left.append(&mut passed);
                continue;
            };
            // What records decides nothing.
            if piece.action == Action::Log {
                continue;
            }
            let is_met = |one: &&Packets| one.meets(&piece.packets);
            if self.gone.contains(&piece.at) || !left.iter().any(|one| is_met(&one)) {
                continue;
            }
            if !piece.is_exact && piece.action != Action::Allow {
                // It may be meant to pass anything.
                passed.extend(left.iter().cloned());
                continue;
            }
            if piece.action == Action::Pass {
                passed.extend(left.iter().filter(is_met).map(|one| one.and(&piece.packets)));
            }
            left = left.into_iter().flat_map(|one| one.less(&piece.packets)).collect();
            by.insert(piece.at);
        }
        (left, by)
    }

    /// The rules that allow all of this later, before anything else decides.
    fn allowed_after(
        &self,
        steps: &[Step],
        mut left: Vec<Packets>,
        own: At,
    ) -> Option<BTreeSet<At>> {
        let (mut passed, mut by) = (Vec::new(), BTreeSet::new());
        for step in steps {
            if left.len().max(passed.len()) > PARTS_MAX {
                return None;
            }
            let Some(piece) = self.reading.piece(*step) else {
                if *step == Step::End(true) && !left.is_empty() {
                    return None;
                }
                left.append(&mut passed);
                continue;
            };
            let is_other = piece.at != own && piece.action != Action::Log;
            if !is_other || !left.iter().any(|one| one.meets(&piece.packets)) {
                continue;
            }
            let is_gone = self.gone.contains(&piece.at);
            match piece.action {
                Action::Allow if is_gone => continue,
                Action::Allow => {
                    by.insert(piece.at);
                }
                Action::Pass if piece.is_exact && !is_gone => {
                    let met = left.iter().filter(|one| one.meets(&piece.packets));
                    passed.extend(met.map(|one| one.and(&piece.packets)));
                }
                // Whether or not it is taken away with what makes it idle.
                _ => return None,
            }
            left = left.into_iter().flat_map(|one| one.less(&piece.packets)).collect();
        }
        // Each list ends with the end of a tier.
        left.is_empty().then_some(by)
    }

    /// Policies of one order in one tier of which the name decides.
    fn ambiguous(&self) -> Vec<(At, Idle)> {
        let mut found = Vec::new();
        let mut told = BTreeSet::new();
        for list in &self.steps {
            let mut begin = 0;
            for run in list.chunk_by(|a, b| self.place(*a) == self.place(*b)) {
                let pieces: Vec<&Piece> =
                    run.iter().filter_map(|step| self.reading.piece(*step)).collect();
                let decides = |one: &&Piece| one.action != Action::Log;
                let first = pieces.iter().find(|one| decides(one));
                let is_mixed = first.is_some_and(|first| {
                    pieces.iter().any(|one| decides(one) && one.action != first.action)
                });
                for (place, later) in pieces.iter().enumerate().filter(|_| is_mixed) {
                    for (ahead, first) in pieces[..place].iter().enumerate() {
                        let pair = (first.at.policy, later.at.policy);
                        let is_one = pair.0 != pair.1
                            && first.action != later.action
                            && decides(first)
                            && decides(later)
                            && first.is_exact
                            && later.is_exact
                            && first.packets.meets(&later.packets)
                            && !told.contains(&pair)
                            && self.is_open(
                                &list[..begin + ahead],
                                &run[ahead..place],
                                later,
                                first,
                            );
                        if is_one {
                            told.insert(pair);
                            found.push((later.at, Idle::Ambiguous(first.at)));
                        }
                    }
                }
                begin += run.len();
            }
        }
        found
    }

    /// Whether what two pieces match comes to the first, and would come to the later if the policy
    /// of that were asked before.
    fn is_open(&self, before: &[Step], between: &[Step], later: &Piece, first: &Piece) -> bool {
        let left = self.follow(before, vec![first.packets.and(&later.packets)]).0;
        let is_own = |step: &&Step| {
            self.reading.piece(**step).is_some_and(|one| one.at.policy == later.at.policy)
        };
        let own: Vec<Step> = between.iter().filter(is_own).copied().collect();
        !self.follow(&own, left).0.is_empty()
    }

    /// The tier and order of a step's policy.
    fn place(&self, step: Step) -> Option<(&Tier, Order)> {
        let piece = self.reading.piece(step)?;
        let resolved = &self.reading.policies.get(piece.at.policy)?.resolved;
        Some((&resolved.tier, resolved.order))
    }

    fn lists(&self, policy: usize) -> impl Iterator<Item = &Vec<Step>> {
        let lists = self.of_policy.get(policy).into_iter().flatten();
        lists.filter_map(|place| self.steps.get(*place))
    }

    fn is(&self, piece: &Piece, is_part: impl Fn(At) -> bool) -> bool {
        piece.at.direction == self.direction && is_part(piece.at)
    }

    /// Whether these all allow, and there are any.
    fn all_allow(&self, parts: &[At]) -> bool {
        let allows = |at: &At| {
            let mut pieces = self.reading.pieces.iter().filter(|piece| piece.at == *at);
            pieces.all(|piece| piece.action == Action::Allow)
        };
        !parts.is_empty() && parts.iter().all(allows)
    }
}
