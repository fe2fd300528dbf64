//! Namespaces, the selectors of namespaces, and which match which.

use std::sync::Arc;

use hashbrown::HashMap;

use super::labels::{Home, Labels, Selectors, Things, Wanted, Word, Words, put, take};
use super::pods::Place;
use crate::inventory::Inventory;

/// A namespace's number; used again.
pub(super) type SpaceId = u32;
/// A namespace selector's number; used again.
pub(super) type ScopeId = u32;

/// A namespace that somebody speaks of.
#[derive(Debug, Default)]
pub(super) struct Space {
    name: Arc<str>,
    /// `None` where no selector may see it.
    pub(super) labels: Option<Labels>,
    /// Pods and sets that need it.
    users: u32,
    /// Its pods that selectors may see, ascending.
    pub(super) pods: Vec<Place>,
    /// The sets of its own pods.
    pub(super) own: Selectors,
    /// The selections of its own pods.
    pub(super) selected: Selectors,
    /// The service accounts of its pods.
    accounts: HashMap<Word, Account>,
    /// The namespace selectors that match it, ascending.
    pub(super) scopes: Vec<ScopeId>,
}

/// A service account that a pod acts as.
#[derive(Debug, Default)]
struct Account {
    /// `None` where nobody can tell.
    labels: Option<Labels>,
    /// Pods that act as it.
    users: u32,
}

/// A namespace selector.
#[derive(Debug, Default)]
pub(super) struct Scope {
    wanted: Wanted,
    users: u32,
    /// The namespaces that match, ascending.
    pub(super) spaces: Vec<SpaceId>,
    /// The sets of pods in them.
    pub(super) sets: Selectors,
}

/// All of both.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    all: Vec<Space>,
    by_name: HashMap<Arc<str>, SpaceId>,
    free: Vec<SpaceId>,
    things: Things,
    scopes: Vec<Scope>,
    by_wanted: HashMap<Wanted, ScopeId>,
    free_scopes: Vec<ScopeId>,
    selectors: Selectors,
}

impl Space {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The labels of an account that a pod here acts as; `None` where nobody can tell.
    pub(super) fn account(&self, name: Word) -> Option<&Labels> {
        self.accounts.get(&name)?.labels.as_ref()
    }
}

impl Spaces {
    pub(super) fn space(&self, id: SpaceId) -> &Space {
        &self.all[id as usize]
    }

    pub(super) fn space_mut(&mut self, id: SpaceId) -> &mut Space {
        &mut self.all[id as usize]
    }

    pub(super) fn scope(&self, id: ScopeId) -> &Scope {
        &self.scopes[id as usize]
    }

    pub(super) fn scope_mut(&mut self, id: ScopeId) -> &mut Scope {
        &mut self.scopes[id as usize]
    }

    /// Every namespace that somebody speaks of.
    pub(super) fn ids(&self) -> Vec<SpaceId> {
        self.by_name.values().copied().collect()
    }

    /// The namespace of that name, if anybody speaks of it.
    pub(super) fn known(&self, name: &str) -> Option<SpaceId> {
        self.by_name.get(name).copied()
    }

    /// The namespace of that name, for one more user.
    pub(super) fn enter(
        &mut self,
        name: &str,
        inventory: &Inventory,
        words: &mut Words,
    ) -> SpaceId {
        if let Some(&known) = self.by_name.get(name) {
            self.all[known as usize].users += 1;
            return known;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.all.push(Space::default());
            number(self.all.len() - 1)
        });
        let name: Arc<str> = name.into();
        self.by_name.insert(Arc::clone(&name), id);
        let labels = labels_of(&name, inventory, words);
        self.all[id as usize] = Space { name, users: 1, ..Space::default() };
        self.label(id, labels);
        id
    }

    /// One user less.
    pub(super) fn leave(&mut self, id: SpaceId, words: &mut Words) {
        let space = &mut self.all[id as usize];
        space.users = space.users.saturating_sub(1);
        if space.users == 0 {
            let old = self.unlabel(id);
            if let Some(old) = &old {
                words.release_labels(old);
            }
            let space = std::mem::take(&mut self.all[id as usize]);
            self.by_name.remove(&space.name);
            self.free.push(id);
        }
    }

    /// Reads a namespace's labels again. Whether they differ.
    pub(super) fn relabel(
        &mut self,
        id: SpaceId,
        inventory: &Inventory,
        words: &mut Words,
    ) -> bool {
        let name = Arc::clone(&self.all[id as usize].name);
        let new = labels_of(&name, inventory, words);
        let differs = self.all[id as usize].labels != new;
        let old = self.unlabel(id);
        if let Some(old) = &old {
            words.release_labels(old);
        }
        self.label(id, new);
        differs
    }

    /// The account of that name in a namespace, for one more pod.
    pub(super) fn enter_account(
        &mut self,
        id: SpaceId,
        name: &str,
        inventory: &Inventory,
        words: &mut Words,
    ) -> Word {
        let word = words.take(name);
        let space = &mut self.all[id as usize];
        let account = space.accounts.entry(word).or_insert_with(|| {
            let labels = inventory.account_labels(&space.name, name);
            Account { labels: labels.map(|labels| words.take_labels(&labels)), users: 0 }
        });
        account.users += 1;
        word
    }

    /// One pod less.
    pub(super) fn leave_account(&mut self, id: SpaceId, name: Word, words: &mut Words) {
        let accounts = &mut self.all[id as usize].accounts;
        if let Some(account) = accounts.get_mut(&name) {
            account.users = account.users.saturating_sub(1);
            if account.users == 0 {
                account.labels.iter().for_each(|labels| words.release_labels(labels));
                accounts.remove(&name);
            }
        }
        words.release(name);
    }

    /// Reads the labels of all accounts of a namespace again. Those that differ.
    pub(super) fn relabel_accounts(
        &mut self,
        id: SpaceId,
        inventory: &Inventory,
        words: &mut Words,
    ) -> Vec<Word> {
        let space = &mut self.all[id as usize];
        let mut differ = Vec::new();
        for (&word, account) in &mut space.accounts {
            let labels =
                words.text(word).and_then(|name| inventory.account_labels(&space.name, name));
            let new = labels.map(|labels| words.take_labels(&labels));
            if account.labels != new {
                differ.push(word);
            }
            let old = std::mem::replace(&mut account.labels, new);
            if let Some(old) = &old {
                words.release_labels(old);
            }
        }
        differ
    }

    /// The namespaces that are found at a home.
    pub(super) fn at<'s>(&'s self, home: &'s Home) -> impl Iterator<Item = SpaceId> + 's {
        self.things.at(home)
    }

    fn label(&mut self, id: SpaceId, labels: Option<Labels>) {
        let mut scopes: Vec<ScopeId> = Vec::new();
        if let Some(labels) = &labels {
            self.things.insert(id, labels);
            let matches = |scope: &ScopeId| self.scopes[*scope as usize].wanted.matches(labels);
            scopes.extend(self.selectors.wanting(labels).filter(matches));
        }
        scopes.sort_unstable();
        for &scope in &scopes {
            put(&mut self.scopes[scope as usize].spaces, id);
        }
        let space = &mut self.all[id as usize];
        (space.labels, space.scopes) = (labels, scopes);
    }

    fn unlabel(&mut self, id: SpaceId) -> Option<Labels> {
        let space = &mut self.all[id as usize];
        for scope in std::mem::take(&mut space.scopes) {
            take(&mut self.scopes[scope as usize].spaces, id);
        }
        let labels = space.labels.take();
        if let Some(labels) = &labels {
            self.things.remove(id, labels);
        }
        labels
    }

    /// The scope that is wanted, for one more user. The words are its own if it is new.
    pub(super) fn enter_scope(&mut self, wanted: Wanted, words: &mut Words) -> ScopeId {
        if let Some(&known) = self.by_wanted.get(&wanted) {
            words.release_wanted(&wanted);
            self.scopes[known as usize].users += 1;
            return known;
        }
        let candidates = self.things.shortest(&wanted).iter().copied();
        let labels = |space: &SpaceId| self.all[*space as usize].labels.as_ref();
        let matches = |space: &SpaceId| labels(space).is_some_and(|labels| wanted.matches(labels));
        let spaces: Vec<SpaceId> = candidates.filter(matches).collect();
        let id = self.free_scopes.pop().unwrap_or_else(|| {
            self.scopes.push(Scope::default());
            number(self.scopes.len() - 1)
        });
        for &space in &spaces {
            put(&mut self.all[space as usize].scopes, id);
        }
        self.selectors.insert(id, &wanted);
        self.by_wanted.insert(wanted.clone(), id);
        self.scopes[id as usize] = Scope { wanted, users: 1, spaces, sets: Selectors::default() };
        id
    }

    /// One user less.
    pub(super) fn leave_scope(&mut self, id: ScopeId, words: &mut Words) {
        let scope = &mut self.scopes[id as usize];
        scope.users = scope.users.saturating_sub(1);
        if scope.users > 0 {
            return;
        }
        let scope = std::mem::take(scope);
        for space in scope.spaces {
            take(&mut self.all[space as usize].scopes, id);
        }
        self.selectors.remove(id, &scope.wanted);
        self.by_wanted.remove(&scope.wanted);
        words.release_wanted(&scope.wanted);
        self.free_scopes.push(id);
    }
}

fn labels_of(name: &str, inventory: &Inventory, words: &mut Words) -> Option<Labels> {
    inventory.namespace_labels(name).map(|labels| words.take_labels(&labels))
}

/// A place as a number of 32 bits; there are never as many as that.
pub(super) fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
