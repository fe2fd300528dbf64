//! Numbers for values, and lists gathered by owner: what the steps of compilation share.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

/// Gives equal values equal numbers, counted from 0 in the order in which they first came.
#[derive(Debug)]
pub(super) struct Interner<V: ?Sized + ToOwned> {
    values: Vec<V::Owned>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<V: ?Sized + ToOwned + Hash + Eq> Interner<V> {
    pub(super) fn new() -> Self {
        let hasher = DefaultHashBuilder::default();
        Self { values: Vec::new(), numbers: HashTable::new(), hasher }
    }

    /// The value's number.
    ///
    /// # Panics
    /// Beyond 2³² values, for which no memory suffices.
    pub(super) fn number(&mut self, value: &V) -> u32 {
        let Self { values, numbers, hasher } = self;
        let known = |&n: &u32| Borrow::<V>::borrow(&values[n as usize]) == value;
        let hash = hasher.hash_one(value);
        if let Some(&number) = numbers.find(hash, known) {
            return number;
        }
        let number = index(values.len());
        values.push(value.to_owned());
        numbers.insert_unique(hash, number, |&n| {
            hasher.hash_one(Borrow::<V>::borrow(&values[n as usize]))
        });
        number
    }

    /// The value's number, if it has one.
    pub(super) fn known(&self, value: &V) -> Option<u32> {
        let is_it = |&n: &u32| Borrow::<V>::borrow(&self.values[n as usize]) == value;
        self.numbers.find(self.hasher.hash_one(value), is_it).copied()
    }

    /// The value of that number.
    pub(super) fn value(&self, number: u32) -> &V {
        self.values[number as usize].borrow()
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn into_values(self) -> Vec<V::Owned> {
        self.values
    }
}

/// For each of a number of owners a list, all in one memory.
pub(super) struct Lists {
    starts: Vec<usize>,
    items: Vec<u32>,
}

impl Lists {
    /// Gathers (owner, item) pairs by owner; items keep their order.
    pub(super) fn gather(owners: usize, pairs: &[(u32, u32)]) -> Self {
        let mut starts = vec![0usize; owners + 1];
        for &(owner, _) in pairs {
            starts[owner as usize + 1] += 1;
        }
        for at in 1..=owners {
            starts[at] += starts[at - 1];
        }
        let mut ends = starts.clone();
        let mut items = vec![0; pairs.len()];
        for &(owner, item) in pairs {
            let end = &mut ends[owner as usize];
            items[*end] = item;
            *end += 1;
        }
        Self { starts, items }
    }

    pub(super) fn of(&self, owner: u32) -> &[u32] {
        let owner = owner as usize;
        &self.items[self.starts[owner]..self.starts[owner + 1]]
    }
}

/// A place as a number of 32 bits.
///
/// # Panics
/// Beyond 2³², for which no memory suffices.
pub(super) fn index(at: usize) -> u32 {
    assert!(u32::try_from(at).is_ok(), "more than 2^32 of anything do not fit the memory");
    #[allow(clippy::cast_possible_truncation)] // asserted
    {
        at as u32
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
