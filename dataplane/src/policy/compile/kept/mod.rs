//! The same tables as [`compile`](super::compile()), kept between changes: a [`Delta`] in, the
//! next table out, which shares with the one before all that did not change.
//!
//! ```text
//!   model         the rules, and backwards: sets of a pod, parts of a set
//!   numbers       what is anybody's peer has a number, never another's
//!   classes       signature and region -> class; those who went may come back
//!   columns       numbers, groups and shapes as arrays over classes
//!   policy_sets   lists of parts, while a pod has them
//!   drafts        what the rows of one change are made of
//!   rows          cells and programs of every policy set
//!   tallied       whose verdicts are, by name and kind, to be counted
//! ```
//!
//! | change | costs |
//! |---|---|
//! | a pod whose like is there | its signature and its parts looked up |
//! | a pod in a new class | a column: a cell in each shape that names one of its sets |
//! | all pods of a class enter a set | the same: the class is signed anew in its place |
//! | a policy's rules | the rows of the policy sets that hold it |
//! | whom a policy selects | the parts of those pods, and a row for each new policy set |
//! | a block never seen before | a class, and a look at the address of each pod |
//!
//! **The way out** is always to build everything anew from the rules: it needs nothing but the
//! model, so a change may be given up half way. It is taken when blocks tell too much apart that
//! was alike, when numbers for classes run out, when a change touches more than building costs, and
//! when what is kept but unused is as much as what was built ([`Out`]); so it is paid for by as
//! many changes.
//!
//! What is never taken back: a number, a group's array, a value of a shape, a class. They tell
//! apart more than need be, and a table that tells too much apart is right.

mod built;
mod classes;
mod columns;
mod drafts;
mod model;
mod numbers;
mod policy_sets;
mod rows;
mod tallied;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::super::delta::Delta;
use super::super::ruleset::{PodIndex, Ruleset, SetId};
use super::super::shared::Shared;
use super::super::table::{Audit, ClassId, PolicyTable, Sets};
use crate::ids::EndpointId;
use built::Built;
use model::{Changes, Model};
pub use tallied::Counted;
use tallied::Tallied;

/// Why everything was built anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Out {
    /// Blocks that were not there before tell too many others apart that were alike.
    Regions,
    /// Numbers for classes have run out.
    Classes,
    /// The change is larger than building.
    Dear,
    /// As much is kept and unused as is used.
    Unused,
    /// It was asked for.
    Asked,
}

/// An address of a pod and its class.
pub type Host = (IpAddr, ClassId);

/// What was known of a pod and differs now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Its identity; `None` where there is no pod.
    pub endpoint: Option<EndpointId>,
    /// Its addresses.
    pub hosts: Vec<Host>,
    /// What selects it.
    pub sets: Sets,
    /// What is asked beside that.
    pub audit: Audit,
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Pods of which something differs, each with what it was.
    pub pods: Vec<(PodIndex, Resident)>,
    /// Everything was built anew: nothing that was known of classes or sets holds.
    pub rebuilt: Option<Out>,
    /// Some verdict can differ.
    pub verdicts: bool,
    /// CIDRs that tell addresses of no pod apart now: [`Kept::prefixes`] gives these too, or
    /// others with another class. Says nothing where everything was built anew.
    pub cut: Vec<IpNet>,
}

/// The rules and their table, kept.
#[derive(Debug)]
pub struct Kept {
    model: Model,
    built: Built,
    /// By `PolicyId`.
    names: Shared<Arc<str>>,
    /// By `PolicyId`.
    kinds: Vec<&'static &'static str>,
    /// What was kept just after building: twice that is too much.
    size: usize,
    rebuilds: u64,
    /// How many workers count what they judge; none where nobody wants to know.
    workers: u8,
    /// What was built before, while somebody may count there, or has and it was not told.
    retired: Vec<Tallied>,
}

/// Less than this is not worth building anew for.
const SIZE_MIN: usize = 1 << 14;

impl Default for Kept {
    fn default() -> Self {
        Self::counted_by(0)
    }
}

impl Kept {
    /// No rules yet; this many workers count what they judge by them.
    #[must_use]
    pub fn counted_by(workers: u8) -> Self {
        let model = Model::default();
        let (built, size) = Built::new(&model, workers);
        let (names, kinds, retired) = (Shared::default(), Vec::new(), Vec::new());
        Self { model, built, names, kinds, size, rebuilds: 0, workers, retired }
    }

    /// Takes a change in.
    pub fn apply(&mut self, delta: Delta) -> Update {
        let verdicts = self.concerns(&delta);
        let mut changes = self.model.apply(delta);
        self.name(&changes);
        let result = if changes.pods.len() * 2 > self.model.ruleset.pods.len() + 64 {
            Err(Out::Dear)
        } else {
            self.built.update(&self.model, &mut changes)
        };
        self.model.settle();
        let grown = self.built.size() > self.size * 2 + SIZE_MIN;
        match result {
            Ok(before) if !grown => {
                let pods = self.built.differing(before);
                Update { pods, rebuilt: None, verdicts, cut: changes.cut }
            }
            Ok(_) => Update { verdicts, ..self.build(Out::Unused) },
            Err(out) => Update { verdicts, ..self.build(out) },
        }
    }

    /// Builds everything anew from the rules.
    pub fn build(&mut self, why: Out) -> Update {
        let (built, size) = Built::new(&self.model, self.workers);
        let before = std::mem::replace(&mut self.built, built);
        self.retired.push(before.rows.tallied);
        self.size = size;
        self.rebuilds += 1;
        Update { rebuilt: Some(why), ..Update::default() }
    }

    /// How often everything was built anew.
    #[must_use]
    pub fn rebuilds(&self) -> u64 {
        self.rebuilds
    }

    /// The rules as they are.
    #[must_use]
    pub fn ruleset(&self) -> &Ruleset {
        &self.model.ruleset
    }

    /// What judges by the rules as they are.
    #[must_use]
    pub fn table(&self) -> PolicyTable {
        PolicyTable {
            rows: Arc::clone(&self.built.rows.all),
            causes: self.built.rows.causes.clone(),
            names: self.names.clone(),
            tallies: self.built.rows.tallied.cells(),
            is_audited: self.built.audited > 0,
        }
    }

    /// What was counted since this was last asked, each count once.
    pub fn take_counted(&mut self) -> Vec<Counted> {
        let mut counted = self.take_settled();
        for tallied in self.retired.iter_mut().chain([&mut self.built.rows.tallied]) {
            tallied.take(&mut counted);
        }
        counted
    }

    /// The same, but only of what was built before and no table counts in any more: it goes.
    pub fn take_settled(&mut self) -> Vec<Counted> {
        let mut counted = Vec::new();
        self.retired.retain_mut(|tallied| {
            let is_settled = tallied.is_alone();
            if is_settled {
                tallied.take(&mut counted);
            }
            !is_settled
        });
        counted
    }

    /// What is known of a pod.
    #[must_use]
    pub fn resident(&self, pod: PodIndex) -> &Resident {
        self.built.residents.get(pod.0 as usize).unwrap_or(&self.built.nobody)
    }

    /// Every place for a pod, those of nobody too.
    pub fn pods(&self) -> impl Iterator<Item = (PodIndex, &Resident)> {
        (0..).map(PodIndex).zip(&self.built.residents)
    }

    /// The class of an address, were it no pod's.
    #[must_use]
    pub fn outside(&self, address: IpAddr) -> ClassId {
        self.built.kinds.outside(address)
    }

    /// The CIDRs that tell addresses of no pod apart, wider ones before what they cover. The
    /// longest that covers an address has its class; [`ClassId::NOTHING`] where none does.
    pub fn prefixes(&self) -> impl Iterator<Item = (IpNet, ClassId)> + '_ {
        self.built.kinds.prefixes()
    }

    /// Whether some verdict can differ after a change: it moves no pod that nobody mentions, and
    /// touches no policy that selects nobody.
    fn concerns(&self, delta: &Delta) -> bool {
        let selects = |id: SetId| {
            self.ruleset().sets.get(id.0 as usize).is_some_and(|set| !set.pods.is_empty())
        };
        let makes = |id: SetId| {
            delta.sets.iter().any(|(one, set)| {
                *one == id && set.as_ref().is_some_and(|set| !set.pods.is_empty())
            })
        };
        !delta.pods.is_empty()
            || !delta.members.is_empty()
            || delta.policies.iter().any(|(id, new)| {
                let old = self.ruleset().policies.get(id.0 as usize);
                old.is_some_and(|old| {
                    (old.ingress.is_some() || old.egress.is_some()) && selects(old.subjects)
                }) || new.as_ref().is_some_and(|new| selects(new.subjects) || makes(new.subjects))
            })
    }

    fn name(&mut self, changes: &Changes) {
        let nameless: Arc<str> = "".into();
        let ids = changes.policies.iter().chain(&changes.gone);
        for id in ids {
            let at = id.0 as usize;
            let policy = &self.model.ruleset.policies[at];
            let (name, kind) = (Arc::clone(&policy.name), policy.kind);
            if self.kinds.len() <= at {
                self.kinds.resize(at + 1, &"");
            }
            let is_another = |known: &Arc<str>| *known != name || self.kinds[at] != kind;
            if at < self.names.len() && !self.names[at].is_empty() && is_another(&self.names[at]) {
                self.built.rows.hand_over(*id);
            }
            self.kinds[at] = kind;
            self.names.set(at, name, &nameless);
        }
    }
}

#[cfg(test)]
mod tests;
