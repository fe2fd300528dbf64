//! From a [`Ruleset`] to a [`PolicyTable`]: what people meant, in two cells a packet.
//!
//! ```text
//!   rules    policies -> parts -> the policy set of every pod and direction
//!   classes  used sets -> signatures, regions -> the class of every address
//!   trees    every used set and peer group as an array over classes, shared where equal
//!   shapes   every row's groups -> cells, shared between rows with equal groups
//!   rows     every policy set -> programs, one for each combination of groups that occurs
//! ```
//!
//! The twin of [`kept`] (house D13), with which production compiles: that keeps between changes
//! what is made and dropped here, the interners, trees and shapes, and makes again only the rows
//! whose parts or groups have changed. Nothing that a table holds is written after it is made.
//!
//! Measured in November 2026 on one core of a busy two-core AMD EPYC (Zen 4, 2.6 GHz TSC), release
//! without LTO, as time on the CPU (the wall clock of a machine at load 14 says little), without
//! the ruleset's own memory, on made-up clusters: per namespace a default deny that allows the
//! namespace, monitoring and DNS, blocks, an ingress spread over all namespaces, app to app:
//!
//! | pods / policies / namespaces | compile | peak memory | table | endpoints |
//! |---|---|---|---|---|
//! | 10 k / 1 k / 50 | 2 to 4 ms | 2 MB | 0.4 MB | 0.7 ms, 0.4 MB |
//! | 100 k / 75 k / 25 k, 125 k policy sets | 0.85 s | 180 MB | 77 MB | 17 ms, 2 MB |
//! | 75 k / 75 k, each with `0.0.0.0/0` except an address of its own | 1.2 s | 113 MB | 40 MB | |
//! | one row with 200 peers, each a random half of 10 k pods | 0.23 s | 65 MB | 18 MB | |
//!
//! No step loops over pods × sets, or over policy sets × classes. Sets are walked by their
//! members, classes by the nodes of trees in which they differ from what is already there.

mod classes;
mod intern;
pub mod kept;
mod regions;
mod rows;
mod rules;
mod shapes;
mod standings;
mod trees;

use std::sync::Arc;

use super::ruleset::{Answer, Cause, Party, PodIndex, Question, Ruleset, View};
use super::table::{Audit, PolicyTable, Query, Sets};
use super::tally::Tallies;
use trees::{Root, Trees};

pub use classes::{Classes, Host};

/// A compiled ruleset.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What packets are judged by.
    pub table: PolicyTable,
    /// By pod: what selects it.
    pub sets: Vec<Sets>,
    /// By pod: what is asked beside that.
    pub audits: Vec<Audit>,
    /// The class of every address.
    pub classes: Classes,
}

/// Compiles. Pure; costs what the rules mention.
#[must_use]
pub fn compile(ruleset: &Ruleset) -> Compiled {
    let mut causes = rules::Causes::new();
    let rules = rules::Rules::gather(ruleset, &mut causes);
    let used = rules.used_sets();
    let (classes, mut members) = classes::refine(ruleset, &used);

    let mut trees = Trees::new(classes.count());
    let mut sets = vec![Root::ZEROS; ruleset.sets.len()];
    for set in used {
        sets[set.0 as usize] = trees.ones(&members.ranges(set, &classes));
    }
    let mut groups = rows::Groups::new(sets);
    let mut shapes = shapes::Shapes::new(trees);
    let rows = rows::rows(&rules, &mut groups, &mut shapes, &mut causes);

    let names = ruleset.policies.iter().map(|policy| Arc::clone(&policy.name)).collect();
    let causes = causes.all.into_iter().collect();
    let mut audited = rules.audits.iter().zip(&rules.sets);
    let is_audited = audited.any(|(audit, sets)| audit.is_any(*sets));
    let tallies = Tallies::default();
    let table = PolicyTable { rows: rows.into(), causes, names, tallies, is_audited };
    Compiled { table, sets: rules.sets, audits: rules.audits, classes }
}

impl Compiled {
    /// Answers a question as the switch does: by the table, after what needs none.
    ///
    /// As for [`Ruleset::decide`], a party's `pod` must be the one that has its `address`.
    #[must_use]
    pub fn decide(&self, question: &Question) -> Answer {
        self.decide_in(View::Now, question)
    }

    /// The same in a view. Where no rule could record a packet, that of what is recorded says that
    /// nobody isolates.
    #[must_use]
    pub fn decide_in(&self, view: View, question: &Question) -> Answer {
        let Question { source, target, service } = *question;
        let is_itself = source.pod.is_some() && source.pod == target.pod;
        if is_itself && view != View::Itself {
            return Answer { egress: Cause::Itself, ingress: Cause::Itself };
        }
        let of = |pod: PodIndex| match view {
            View::Now => self.sets[pod.0 as usize],
            View::Next => self.audits[pod.0 as usize].next,
            View::Log => self.audits[pod.0 as usize].log,
            View::Itself => self.audits[pod.0 as usize].itself,
        };
        let sets = |party: Party| party.pod.map_or(Sets::NONE, of);
        let decision = self.table.decide(&Query {
            egress: sets(source).egress,
            target_class: self.classes.of(target.address),
            ingress: sets(target).ingress,
            source_class: self.classes.of(source.address),
            service,
        });
        let ingress = match target.pod {
            Some(_) if source.own_node => Cause::OwnNode,
            _ => self.table.cause(decision.ingress).clone(),
        };
        Answer { egress: self.table.cause(decision.egress).clone(), ingress }
    }
}

#[cfg(test)]
#[path = "compile/tests.rs"]
mod tests;
