//! What was a Service's until lately: who asked there goes on, as with kube-proxy, whose tracked
//! connections stay. Cold.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::limits::DEPARTED_MAX;

/// Things that are gone, in the order in which they went. Beyond [`DEPARTED_MAX`] the oldest is
/// forgotten: then what runs there ends.
#[derive(Debug)]
pub(super) struct Departed<T> {
    /// When each went.
    at: BTreeMap<T, u64>,
    by_time: BTreeMap<u64, T>,
    next: u64,
}

impl<T> Default for Departed<T> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), by_time: BTreeMap::new(), next: 0 }
    }
}

impl<T: Copy + Ord> Departed<T> {
    /// Notes that it is gone; gives what is forgotten for it.
    pub(super) fn put(&mut self, gone: T) -> Option<T> {
        self.take(gone);
        self.at.insert(gone, self.next);
        self.by_time.insert(self.next, gone);
        self.next += 1;
        if self.at.len() <= DEPARTED_MAX {
            return None;
        }
        let (_, oldest) = self.by_time.pop_first()?;
        self.at.remove(&oldest);
        Some(oldest)
    }

    /// Notes that it is there again; whether it was gone.
    pub(super) fn take(&mut self, back: T) -> bool {
        let Some(when) = self.at.remove(&back) else { return false };
        self.by_time.remove(&when);
        true
    }

    /// Whether it is gone.
    pub(super) fn has(&self, gone: T) -> bool {
        self.at.contains_key(&gone)
    }

    /// What is gone of a range, ascending.
    pub(super) fn within(&self, range: RangeInclusive<T>) -> impl Iterator<Item = T> + '_ {
        self.at.range(range).map(|(gone, _)| *gone)
    }

    /// What is gone, ascending.
    pub(super) fn all(&self) -> impl Iterator<Item = T> + '_ {
        self.at.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_or_is_told_again_went_when_it_last_went() {
        let mut gone = Departed::default();
        for n in 0..DEPARTED_MAX {
            assert_eq!(gone.put(n), None);
        }
        assert!(gone.take(0) && !gone.take(0));
        assert_eq!((gone.put(0), gone.put(1)), (None, None));
        assert_eq!(gone.put(DEPARTED_MAX), Some(2));
        assert_eq!(gone.put(DEPARTED_MAX + 1), Some(3));
        assert_eq!(gone.within(0..=5).collect::<Vec<_>>(), [0, 1, 4, 5]);
    }
}
