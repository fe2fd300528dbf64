//! Whose the verdicts of a table are, by name and kind, and what of their tallies was told. Cold.
//!
//! A number stays its owners' until everything is built anew: where another policy takes a
//! policy's place, its verdicts get other numbers (`rows`). What was built before goes on being
//! read until no worker can count there any more, and is then gone; so each count is told once,
//! and by the name that the policy had when it counted.

use std::sync::Arc;

use super::super::super::ruleset::{Direction, View};
use super::super::super::tally::{Counts, Tallies};

/// Something that a policy did, and how often since that was last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The policy, as `namespace/name`.
    pub policy: Arc<str>,
    /// Its kind.
    pub kind: &'static &'static str,
    /// As the policy of which side.
    pub direction: Direction,
    /// Whether a rule of it opened connections; else a rule of it denied packets, or it is among
    /// those that isolate where they were.
    pub opened: bool,
    /// In which view: what is staged would have done it.
    pub view: View,
    /// How often. Never 0.
    pub count: u64,
}

/// A policy, by name and kind.
pub(super) type Owner = (Arc<str>, &'static &'static str);

/// The policies that a verdict is counted for.
#[derive(Debug)]
pub(super) enum Owners {
    Nobody,
    /// Of the rule that allows.
    Rule(Owner),
    /// Of the rule that denies, or all that isolate.
    Denying(Box<[Owner]>),
}

/// What is counted of a verdict.
const COUNTS: [Counts; 4] = [
    (View::Now, Direction::Egress),
    (View::Now, Direction::Ingress),
    (View::Next, Direction::Egress),
    (View::Next, Direction::Ingress),
];

/// The verdicts of a table by their numbers.
#[derive(Debug)]
pub(super) struct Tallied {
    cells: Tallies,
    owners: Vec<Owners>,
    /// What of each was told, as [`COUNTS`].
    told: Vec<[u64; COUNTS.len()]>,
}

impl Tallied {
    pub(super) fn new(workers: u8) -> Self {
        Self { cells: Tallies::new(workers), owners: Vec::new(), told: Vec::new() }
    }

    /// The next number is theirs.
    pub(super) fn push(&mut self, owners: impl FnOnce() -> Owners) {
        if !self.cells.is_off() {
            self.owners.push(owners());
        }
    }

    /// Makes cells for the numbers that have none yet.
    pub(super) fn grow(&mut self) {
        self.cells.grow(self.owners.len());
        self.told.resize(self.owners.len(), [0; COUNTS.len()]);
    }

    pub(super) fn cells(&self) -> Tallies {
        self.cells.clone()
    }

    /// Whether no table is left that counts here.
    pub(super) fn is_alone(&mut self) -> bool {
        self.cells.is_alone()
    }

    /// Tells what was counted since this was last asked.
    pub(super) fn take(&mut self, counted: &mut Vec<Counted>) {
        for (verdict, (owners, told)) in self.owners.iter().zip(&mut self.told).enumerate() {
            let (opened, policies) = match owners {
                Owners::Nobody => continue,
                Owners::Rule(policy) => (true, std::slice::from_ref(policy)),
                Owners::Denying(policies) => (false, &**policies),
            };
            for ((view, direction), told) in COUNTS.into_iter().zip(told) {
                let sum = self.cells.sum((view, direction), verdict);
                let count = sum.wrapping_sub(std::mem::replace(told, sum));
                if count > 0 {
                    let one = |(policy, kind): &Owner| {
                        let (policy, kind) = (Arc::clone(policy), *kind);
                        Counted { policy, kind, direction, opened, view, count }
                    };
                    counted.extend(policies.iter().map(one));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
