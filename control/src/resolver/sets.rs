//! The sets of peers that rules mean: one for each distinct meaning, while a rule has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::{Block, PodIndex, PolicyId, SetId};

use super::labels::{Wanted, Word};
use super::spaces::{ScopeId, SpaceId, number};
use crate::policy::Selection;
use crate::resolve::Doubt;

/// What a set means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Meaning {
    /// Every pod that is denied.
    Denied,
    /// Every pod that selectors see.
    Everyone,
    /// Pods of one namespace.
    Own(SpaceId, Wanted),
    /// Pods of the namespaces of a scope.
    Across(ScopeId, Wanted),
    /// Addresses.
    Blocks(Vec<Block>),
    /// Pods that are selected, by what an ordered policy may ask of.
    Selected(Arc<Selection>, Doubt),
    /// These pods, whatever becomes of them: who means others then means another set.
    Listed(Vec<PodIndex>),
    /// The pods of a set that call this number by this name.
    Named(SetId, Word, Protocol, u16),
}

/// A set.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) meaning: Meaning,
    users: u32,
    /// The names that are asked of its pods.
    pub(super) names: Vec<Name>,
    /// Policies that must be read again when something about its pods differs.
    pub(super) watchers: Vec<(PolicyId, Watch)>,
}

/// What about a set's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// Which they are and what addresses they have.
    Content,
    /// Of which of them nobody can tell whether they are in it.
    Doubts,
}

/// What a named port is in a set.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) word: Word,
    pub(super) protocol: Protocol,
    pub(super) numbers: BTreeMap<u16, SetId>,
    /// Who must hear of a number that is not there yet.
    pub(super) policies: BTreeSet<PolicyId>,
}

/// All sets.
#[derive(Debug, Default)]
pub(super) struct Sets {
    all: Vec<Option<Set>>,
    by_meaning: HashMap<Meaning, SetId>,
    free: Vec<SetId>,
    /// Free from the next change on.
    freed: Vec<SetId>,
    /// Made in this change.
    pub(super) made: Vec<SetId>,
    /// Without a user since.
    pub(super) unused: Vec<SetId>,
}

impl Sets {
    pub(super) fn get(&self, id: SetId) -> Option<&Set> {
        self.all.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: SetId) -> Option<&mut Set> {
        self.all.get_mut(id.0 as usize)?.as_mut()
    }

    /// All that there are.
    pub(super) fn ids(&self) -> impl Iterator<Item = SetId> {
        (0..).map(SetId).zip(&self.all).filter(|one| one.1.is_some()).map(|one| one.0)
    }

    pub(super) fn known(&self, meaning: &Meaning) -> Option<SetId> {
        self.by_meaning.get(meaning).copied()
    }

    /// The set of that meaning, for one more user; whether it is new.
    pub(super) fn enter(&mut self, meaning: Meaning) -> (SetId, bool) {
        if let Some(&known) = self.by_meaning.get(&meaning) {
            if let Some(set) = self.get_mut(known) {
                set.users = set.users.saturating_add(1);
            }
            return (known, false);
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            SetId(number(self.all.len() - 1))
        });
        self.by_meaning.insert(meaning.clone(), id);
        self.all[id.0 as usize] = Some(Set::new(meaning));
        self.made.push(id);
        (id, true)
    }

    /// One user less.
    pub(super) fn leave(&mut self, id: SetId) {
        if let Some(set) = self.get_mut(id) {
            set.users = set.users.saturating_sub(1);
            if set.users == 0 {
                self.unused.push(id);
            }
        }
    }

    /// Takes a set away if it has still no user.
    pub(super) fn drop(&mut self, id: SetId) -> Option<Set> {
        let place = self.all.get_mut(id.0 as usize)?;
        let set = place.take_if(|set| set.users == 0)?;
        self.by_meaning.remove(&set.meaning);
        self.freed.push(id);
        Some(set)
    }

    /// A change is over.
    pub(super) fn settle(&mut self) {
        self.free.append(&mut self.freed);
        self.made.clear();
    }
}

impl Set {
    fn new(meaning: Meaning) -> Self {
        Self { meaning, users: 1, names: Vec::new(), watchers: Vec::new() }
    }

    /// Who must be read again.
    pub(super) fn watching(&self, watch: Watch) -> impl Iterator<Item = PolicyId> {
        self.watchers.iter().filter(move |one| one.1 == watch).map(|one| one.0)
    }

    /// The name's numbers, made if it was not asked before.
    pub(super) fn name(&mut self, word: Word, protocol: Protocol) -> Option<&mut Name> {
        let is_it = |one: &Name| (one.word, one.protocol) == (word, protocol);
        if !self.names.iter().any(is_it) {
            let (numbers, policies) = (BTreeMap::new(), BTreeSet::new());
            self.names.push(Name { word, protocol, numbers, policies });
        }
        self.names.iter_mut().find(|one| is_it(one))
    }
}
