//! Labels and selectors by number, and the two questions asked of them: which things does a
//! selector want, and which selectors want a thing.
//!
//! A word is a number for as long as anything bears it, so that comparing is cheap, and words
//! that come and go with pods (hashes of templates) do not pile up. Both indexes go by the label
//! that must be there, where a selector has one; the answers are more than is wanted, never less,
//! and each is then tested.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::selector::{self, LabelSelector, Operator};

/// A word's number.
pub(super) type Word = u32;

/// The labels of a thing, ascending by key.
pub(super) type Labels = Box<[(Word, Word)]>;

/// Words in use.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// By the word's hash.
    numbers: HashTable<Word>,
    hasher: DefaultHashBuilder,
    /// By number: the word, and how often it is used.
    all: Vec<(Box<str>, u32)>,
    free: Vec<Word>,
}

/// A selector: every one of these must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Wanted(Vec<(Word, Test)>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Test {
    In(Vec<Word>),
    NotIn(Vec<Word>),
    Exists,
    Absent,
}

impl Words {
    /// The word's number, for one more user.
    pub(super) fn take(&mut self, word: &str) -> Word {
        if let Some(number) = self.known(word) {
            if let Some(known) = self.all.get_mut(number as usize) {
                known.1 = known.1.saturating_add(1);
            }
            return number;
        }
        let hash = self.hasher.hash_one(word);
        let Self { numbers, hasher, all, free } = self;
        let number = free.pop().unwrap_or_else(|| {
            all.push(Default::default());
            u32::try_from(all.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        if let Some(place) = all.get_mut(number as usize) {
            *place = (word.into(), 1);
        }
        numbers.insert_unique(hash, number, |one| hasher.hash_one(text(all, *one)));
        number
    }

    /// One user less.
    pub(super) fn release(&mut self, number: Word) {
        let Some(known) = self.all.get_mut(number as usize) else { return };
        known.1 = known.1.saturating_sub(1);
        if known.1 == 0 {
            let hash = self.hasher.hash_one(&*std::mem::take(&mut known.0));
            if let Ok(found) = self.numbers.find_entry(hash, |one| *one == number) {
                found.remove();
            }
            self.free.push(number);
        }
    }

    /// The word's number, if anybody uses it.
    pub(super) fn known(&self, word: &str) -> Option<Word> {
        let is_it = |one: &Word| text(&self.all, *one) == word;
        self.numbers.find(self.hasher.hash_one(word), is_it).copied()
    }

    /// The word of a number.
    pub(super) fn text(&self, number: Word) -> Option<&str> {
        self.all.get(number as usize).map(|known| &*known.0)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn take_labels(&mut self, labels: &selector::Labels) -> Labels {
        let mut taken: Vec<(Word, Word)> =
            labels.iter().map(|(key, value)| (self.take(key), self.take(value))).collect();
        taken.sort_unstable();
        taken.into()
    }

    pub(super) fn release_labels(&mut self, labels: &Labels) {
        for &(key, value) in labels {
            self.release(key);
            self.release(value);
        }
    }

    /// The selector; `None` wants everything.
    pub(super) fn take_wanted(&mut self, selector: Option<&LabelSelector>) -> Wanted {
        let requirements = selector.map_or(&[][..], LabelSelector::requirements);
        let mut words = |values: &[String]| {
            let mut words: Vec<Word> = values.iter().map(|value| self.take(value)).collect();
            words.sort_unstable();
            words
        };
        let tests: Vec<Test> = requirements
            .iter()
            .map(|one| match &one.operator {
                Operator::In(values) => Test::In(words(values)),
                Operator::NotIn(values) => Test::NotIn(words(values)),
                Operator::Exists => Test::Exists,
                Operator::DoesNotExist => Test::Absent,
            })
            .collect();
        Wanted(requirements.iter().map(|one| self.take(&one.key)).zip(tests).collect())
    }

    pub(super) fn release_wanted(&mut self, wanted: &Wanted) {
        for (key, test) in &wanted.0 {
            self.release(*key);
            if let Test::In(values) | Test::NotIn(values) = test {
                for value in values {
                    self.release(*value);
                }
            }
        }
    }
}

fn text(words: &[(Box<str>, u32)], number: Word) -> &str {
    words.get(number as usize).map_or("", |known| &known.0)
}

impl Wanted {
    /// Whether every requirement holds (NP-11).
    pub(super) fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(key, test)| {
            let value = labels.binary_search_by_key(key, |label| label.0);
            let value = value.ok().and_then(|at| labels.get(at)).map(|label| label.1);
            match test {
                Test::In(values) => value.is_some_and(|one| values.binary_search(&one).is_ok()),
                Test::NotIn(values) => value.is_none_or(|one| values.binary_search(&one).is_err()),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
            }
        })
    }

    /// The first label with a value, else the first key, else the rest.
    fn home(&self) -> Home {
        let valued = self.0.iter().find_map(|(key, test)| match test {
            Test::In(values) => Some(values.iter().map(|value| (*key, *value)).collect()),
            _ => None,
        });
        let keyed = self.0.iter().find(|(_, test)| *test == Test::Exists);
        valued.map_or_else(|| keyed.map_or(Home::Rest, |(key, _)| Home::Key(*key)), Home::Labels)
    }
}

/// Things by label.
#[derive(Debug, Default)]
pub(super) struct Things {
    /// Ascending, as are the others.
    pub(super) all: Vec<u32>,
    with_label: HashMap<(Word, Word), Vec<u32>>,
    with_key: HashMap<Word, Vec<u32>>,
}

impl Things {
    pub(super) fn insert(&mut self, thing: u32, labels: &Labels) {
        put(&mut self.all, thing);
        for label in labels {
            put(self.with_label.entry(*label).or_default(), thing);
            put(self.with_key.entry(label.0).or_default(), thing);
        }
    }

    pub(super) fn remove(&mut self, thing: u32, labels: &Labels) {
        take(&mut self.all, thing);
        for label in labels {
            take_from(&mut self.with_label, label, thing);
            take_from(&mut self.with_key, &label.0, thing);
        }
    }

    /// All that are found at a home, in no order.
    pub(super) fn at<'t>(&'t self, home: &'t Home) -> impl Iterator<Item = u32> + 't {
        self.lists(home).flatten().copied()
    }

    /// How many those are.
    pub(super) fn count(&self, home: &Home) -> usize {
        self.lists(home).map(Vec::len).sum()
    }

    fn lists<'t>(&'t self, home: &'t Home) -> impl Iterator<Item = &'t Vec<u32>> + 't {
        let (labels, key, rest) = match home {
            Home::Labels(labels) => (&labels[..], None, None),
            Home::Key(key) => (&[][..], self.with_key.get(key), None),
            Home::Rest => (&[][..], None, Some(&self.all)),
        };
        labels.iter().filter_map(|label| self.with_label.get(label)).chain(key).chain(rest)
    }

    /// The shortest list in which every match must be.
    pub(super) fn shortest(&self, wanted: &Wanted) -> &[u32] {
        let listed = wanted.0.iter().filter_map(|(key, test)| match test {
            Test::In(values) => match values.as_slice() {
                [value] => Some(self.with_label.get(&(*key, *value))),
                _ => Some(self.with_key.get(key)),
            },
            Test::Exists => Some(self.with_key.get(key)),
            Test::NotIn(_) | Test::Absent => None,
        });
        let lists = listed.map(|list| list.map_or(&[][..], Vec::as_slice));
        lists.min_by_key(|list| list.len()).unwrap_or(&self.all)
    }
}

/// Selectors by the label that they need.
#[derive(Debug, Default)]
pub(super) struct Selectors {
    by_label: HashMap<(Word, Word), Vec<u32>>,
    by_key: HashMap<Word, Vec<u32>>,
    rest: Vec<u32>,
}

/// Where a selector is found.
#[derive(Debug)]
pub(super) enum Home {
    /// Under each of these labels: a thing has one value for a key, so it finds it once.
    Labels(Vec<(Word, Word)>),
    /// Under this key, whatever its value.
    Key(Word),
    /// It needs no label.
    Rest,
}

impl Selectors {
    pub(super) fn insert(&mut self, id: u32, wanted: &Wanted) {
        self.insert_at(id, &wanted.home());
    }

    pub(super) fn remove(&mut self, id: u32, wanted: &Wanted) {
        self.remove_at(id, &wanted.home());
    }

    pub(super) fn insert_at(&mut self, id: u32, home: &Home) {
        match home {
            Home::Labels(labels) => {
                for label in labels {
                    put(self.by_label.entry(*label).or_default(), id);
                }
            }
            Home::Key(key) => put(self.by_key.entry(*key).or_default(), id),
            Home::Rest => put(&mut self.rest, id),
        }
    }

    pub(super) fn remove_at(&mut self, id: u32, home: &Home) {
        match home {
            Home::Labels(labels) => {
                for label in labels {
                    take_from(&mut self.by_label, label, id);
                }
            }
            Home::Key(key) => take_from(&mut self.by_key, key, id),
            Home::Rest => take(&mut self.rest, id),
        }
    }

    /// Those that may want a thing with these labels.
    pub(super) fn wanting<'s>(&'s self, labels: &'s Labels) -> impl Iterator<Item = u32> + 's {
        let listed = labels.iter().flat_map(|label| {
            let both = [self.by_label.get(label), self.by_key.get(&label.0)];
            both.into_iter().flatten().flatten()
        });
        self.rest.iter().chain(listed).copied()
    }
}

/// Puts a number into an ascending list, once.
pub(super) fn put(list: &mut Vec<u32>, one: u32) {
    if let Err(at) = list.binary_search(&one) {
        list.insert(at, one);
    }
}

/// Takes a number out of an ascending list.
pub(super) fn take(list: &mut Vec<u32>, one: u32) {
    if let Ok(at) = list.binary_search(&one) {
        list.remove(at);
    }
}

fn take_from<K: std::hash::Hash + Eq>(lists: &mut HashMap<K, Vec<u32>>, key: &K, one: u32) {
    if let Some(list) = lists.get_mut(key) {
        take(list, one);
        if list.is_empty() {
            lists.remove(key);
        }
    }
}
