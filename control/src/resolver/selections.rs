//! Selections of ordered policies, found by what the selected must wear, and pods as they see them.

use std::sync::Arc;

use lockgate_dataplane::policy::ruleset::SetId;

use super::Resolver;
use super::labels::{Home, Labels, Selectors, Word, Words};
use super::pods::{Known, Place};
use super::policies::Refers;
use super::sets::Meaning;
use super::spaces::{Space, SpaceId};
use crate::expression::{
    ACCOUNT, NAME, NAMESPACE, Needs, OF_ACCOUNT, OF_NAMESPACE, ORCHESTRATOR, Seen,
};
use crate::inventory::{Inventory, NAMESPACE_NAME_LABEL};
use crate::policy::{Selection, Within};
use crate::resolve::{Doubt, Wears};

/// Selections that are not of one namespace, by where the label stands that they need. Those that
/// need none are among the first.
#[derive(Debug, Default)]
pub(super) struct Selections {
    pods: Selectors,
    namespaces: Selectors,
    accounts: Selectors,
}

/// On what a label stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ground {
    Pod,
    Namespace,
    Account,
}

/// Where a selection is found.
#[derive(Debug)]
struct Address {
    /// `Some`: among the selections of this namespace.
    space: Option<SpaceId>,
    ground: Ground,
    home: Home,
}

/// A pod as it is kept.
struct Worn<'r> {
    words: &'r Words,
    known: &'r Known,
    space: &'r Space,
}

impl Worn<'_> {
    fn among(&self, labels: Option<&Labels>, key: &str) -> Seen<'_> {
        let Some(labels) = labels else { return Seen::Unknown };
        let at = |key: Word| labels.binary_search_by_key(&key, |label| label.0).ok();
        let label = self.words.known(key).and_then(at).and_then(|at| labels.get(at));
        label.and_then(|label| self.words.text(label.1)).into()
    }
}

impl Wears for Worn<'_> {
    fn namespace(&self) -> Option<&str> {
        Some(self.space.name())
    }

    fn account(&self) -> Option<&str> {
        self.words.text(self.known.account)
    }

    fn own(&self, key: &str) -> Seen<'_> {
        self.among(self.known.labels.as_ref(), key)
    }

    fn of_namespace(&self, key: &str) -> Seen<'_> {
        self.among(self.space.labels.as_ref(), key)
    }

    fn of_account(&self, key: &str) -> Seen<'_> {
        self.among(self.space.account(self.known.account), key)
    }
}

/// Where a key stands, and what it is called there; `None` is on nothing that is searched.
fn ground(key: &str) -> Option<(Ground, &str)> {
    if let Some(key) = key.strip_prefix(OF_NAMESPACE) {
        // Every namespace wears its name.
        return Some((Ground::Namespace, if key == NAME { NAMESPACE_NAME_LABEL } else { key }));
    }
    if let Some(key) = key.strip_prefix(OF_ACCOUNT) {
        return (key != NAME).then_some((Ground::Account, key));
    }
    match key {
        NAMESPACE => Some((Ground::Namespace, NAMESPACE_NAME_LABEL)),
        ACCOUNT | ORCHESTRATOR => None,
        _ => Some((Ground::Pod, key)),
    }
}

/// A label that all that is selected must wear.
struct Need<'s> {
    ground: Ground,
    key: &'s str,
    /// One of these; `None` is any.
    values: Option<&'s [String]>,
}

/// What all that is selected must wear, of each of its parts.
fn needs(selection: &Selection) -> impl Iterator<Item = Need<'_>> {
    let within = match &selection.within {
        Within::Namespaces(expression) => expression.needs(),
        Within::Anywhere | Within::Namespace(_) | Within::Global => None,
    };
    let accounts = selection.accounts.as_ref().and_then(|one| one.labels.as_ref()?.needs());
    let is_of_one = matches!(selection.within, Within::Namespace(_));
    let needed = [selection.labels.needs(), within, accounts].into_iter().flatten();
    let standing = needed.filter_map(|needs| {
        let (key, values) = match needs {
            Needs::Values(key, values) => (key, Some(values)),
            Needs::Key(key) => (key, None),
        };
        let (ground, key) = ground(key)?;
        Some(Need { ground, key, values })
    });
    // In one namespace there are its own pods' labels to look for.
    standing.filter(move |one| !is_of_one || one.ground == Ground::Pod)
}

/// The narrowest need.
fn narrowest(selection: &Selection) -> Option<Need<'_>> {
    needs(selection).min_by_key(|one| (one.values.map_or(usize::MAX, <[String]>::len), one.ground))
}

/// Where a need is found, by the numbers of words.
fn home(need: &Need<'_>, mut word: impl FnMut(&str) -> Option<Word>) -> Option<Home> {
    let key = word(need.key)?;
    Some(match need.values {
        None => Home::Key(key),
        Some(values) => {
            Home::Labels(values.iter().filter_map(|value| Some((key, word(value)?))).collect())
        }
    })
}

/// Where a selection is found: by its narrowest need.
fn place(selection: &Selection, word: impl FnMut(&str) -> Option<Word>) -> (Ground, Home) {
    let found = narrowest(selection).and_then(|need| Some((need.ground, home(&need, word)?)));
    found.unwrap_or((Ground::Pod, Home::Rest))
}

impl Selections {
    fn of(&mut self, ground: Ground) -> &mut Selectors {
        match ground {
            Ground::Pod => &mut self.pods,
            Ground::Namespace => &mut self.namespaces,
            Ground::Account => &mut self.accounts,
        }
    }
}

impl Resolver {
    /// The set of the pods that are selected.
    pub(super) fn selected(
        &mut self,
        inventory: &Inventory,
        selection: &Arc<Selection>,
        doubt: Doubt,
        refers: &mut Refers,
    ) -> SetId {
        let (id, is_new) = self.refer(Meaning::Selected(Arc::clone(selection), doubt), refers);
        if is_new {
            let space = match &selection.within {
                Within::Namespace(name) => {
                    Some(self.spaces.enter(name, inventory, &mut self.words))
                }
                _ => None,
            };
            let (ground, home) = place(selection, |word| Some(self.words.take(word)));
            self.selectors(space, ground).insert_at(id.0, &home);
        }
        id
    }

    /// Gives back what a selection used.
    pub(super) fn forget_selection(&mut self, id: SetId, selection: &Selection) {
        let Address { space, ground, home } = self.address(selection);
        self.selectors(space, ground).remove_at(id.0, &home);
        match &home {
            Home::Labels(labels) => {
                // The key is held once, whatever its values.
                let key = narrowest(selection).and_then(|one| self.words.known(one.key));
                for word in key.into_iter().chain(labels.iter().map(|label| label.1)) {
                    self.words.release(word);
                }
            }
            Home::Key(key) => self.words.release(*key),
            Home::Rest => {}
        }
        if let Some(space) = space {
            self.spaces.leave(space, &mut self.words);
        }
    }

    fn selectors(&mut self, space: Option<SpaceId>, ground: Ground) -> &mut Selectors {
        match space {
            Some(space) => &mut self.spaces.space_mut(space).selected,
            None => self.selections.of(ground),
        }
    }

    /// Where a selection that is not new is found, or would be.
    fn address(&self, selection: &Selection) -> Address {
        let space = match &selection.within {
            Within::Namespace(name) => self.spaces.known(name),
            _ => None,
        };
        let (ground, home) = place(selection, |word| self.words.known(word));
        Address { space, ground, home }
    }

    /// Whether a pod is selected; `None` where nobody can tell.
    fn is_selected(&self, known: &Known, selection: &Selection) -> Option<bool> {
        let space = self.spaces.space(known.space);
        Worn { words: &self.words, known, space }.is_selected(selection)
    }

    /// Whether something that a pod wears cannot be read.
    pub(super) fn is_doubtful(&self, known: &Known) -> bool {
        let space = self.spaces.space(known.space);
        space.labels.is_none() || space.account(known.account).is_none()
    }

    /// Whether of some pod nobody can tell whether it is selected.
    pub(super) fn is_doubted(&self, selection: &Selection) -> bool {
        let known = self.doubtful.iter().filter_map(|place| self.pods.get(*place));
        known.into_iter().any(|known| self.is_selected(known, selection).is_none())
    }

    /// The pods that are selected, ascending.
    pub(super) fn select_selected(&self, selection: &Selection, doubt: Doubt) -> Vec<Place> {
        let is_meant = |place: &Place| {
            let known = self.pods.get(*place);
            known.is_some_and(|known| doubt.settles(self.is_selected(known, selection)))
        };
        let mut found: Vec<Place> =
            self.candidates(selection).into_iter().filter(is_meant).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// All that may be selected, and others: by the need that the fewest fulfil.
    fn candidates(&self, selection: &Selection) -> Vec<Place> {
        let space = match &selection.within {
            Within::Global => return Vec::new(),
            Within::Namespace(name) => match self.spaces.known(name) {
                Some(space) => Some(self.spaces.space(space)),
                None => return Vec::new(),
            },
            Within::Anywhere | Within::Namespaces(_) => None,
        };
        let all = space.map_or(&self.seen.all, |space| &space.pods);
        let known = |word: &str| self.words.known(word);
        let (mut fewest, mut few) = (all.len(), None);
        for need in needs(selection).filter(|need| need.ground != Ground::Account) {
            // A word that nobody bears: nobody has the label, but for who may have any.
            let home = home(&need, known).unwrap_or(Home::Labels(Vec::new()));
            let count = match need.ground {
                Ground::Namespace => self.in_spaces(&home).map(|space| space.pods.len()).sum(),
                _ => self.seen.count(&home),
            };
            if count < fewest {
                (fewest, few) = (count, Some((need.ground, home)));
            }
        }
        match few {
            None => all.clone(),
            Some((Ground::Namespace, home)) => {
                let pods = self.in_spaces(&home).flat_map(|space| &space.pods);
                pods.chain(&self.doubtful).copied().collect()
            }
            Some((_, home)) => self.seen.at(&home).collect(),
        }
    }

    fn in_spaces<'r>(&'r self, home: &'r Home) -> impl Iterator<Item = &'r Space> {
        self.spaces.at(home).map(|space| self.spaces.space(space))
    }

    /// The sets of what selects a pod that selectors see: those that it is in, and those of which
    /// nobody can tell.
    pub(super) fn selecting(&self, known: &Known, labels: &Labels) -> (Vec<SetId>, Vec<SetId>) {
        let space = self.spaces.space(known.space);
        let (mut sets, mut doubts) = (Vec::new(), Vec::new());
        let mut ask = |id: SetId| {
            let Some(Meaning::Selected(selection, doubt)) =
                self.sets.get(id).map(|set| &set.meaning)
            else {
                return;
            };
            let is_selected = self.is_selected(known, selection);
            if doubt.settles(is_selected) {
                sets.push(id);
                doubts.extend(is_selected.is_none().then_some(id));
            }
        };
        if self.is_doubtful(known) {
            // It may wear any label.
            self.sets.ids().for_each(ask);
        } else {
            let (all, none) = (&self.selections, Labels::default());
            let of_namespace = space.labels.as_ref().unwrap_or(&none);
            let of_account = space.account(known.account).unwrap_or(&none);
            let own = space.selected.wanting(labels).chain(all.pods.wanting(labels));
            let others = all.namespaces.wanting(of_namespace);
            let others = others.chain(all.accounts.wanting(of_account));
            own.chain(others).map(SetId).for_each(&mut ask);
        }
        doubts.sort_unstable();
        (sets, doubts)
    }
}
