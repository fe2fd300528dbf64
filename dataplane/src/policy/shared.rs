//! A list that snapshots share: a copy costs one pointer, a change one page. Cold.

use std::mem::size_of;
use std::ops::Index;
use std::sync::Arc;

/// Values of one page: a change copies that many.
const PAGE: usize = 256;

/// A list of pages behind pointers.
#[derive(Clone, Debug)]
pub(super) struct Shared<T>(Arc<Vec<Arc<Vec<T>>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Shared<T> {
    pub(super) fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * PAGE + last.len())
    }

    pub(super) fn push(&mut self, value: T) {
        let pages = Arc::make_mut(&mut self.0);
        match pages.last_mut() {
            Some(last) if last.len() < PAGE => Arc::make_mut(last).push(value),
            _ => pages.push(Arc::new(vec![value])),
        }
    }

    /// Puts a value in its place, which may be beyond the end; those between are `filler`.
    pub(super) fn set(&mut self, at: usize, value: T, filler: &T) {
        while self.len() <= at {
            self.push(filler.clone());
        }
        let page = Arc::make_mut(&mut self.0).get_mut(at / PAGE);
        if let Some(place) = page.and_then(|page| Arc::make_mut(page).get_mut(at % PAGE)) {
            *place = value;
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.0.iter().map(|page| page.capacity() * size_of::<T>()).sum()
    }
}

impl<T> Index<usize> for Shared<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.0[at / PAGE][at % PAGE]
    }
}

impl<T: Clone> FromIterator<T> for Shared<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut pages: Vec<Arc<Vec<T>>> = Vec::new();
        let mut page = Vec::with_capacity(PAGE);
        for value in values {
            page.push(value);
            if page.len() == PAGE {
                pages.push(Arc::new(std::mem::replace(&mut page, Vec::with_capacity(PAGE))));
            }
        }
        if !page.is_empty() {
            pages.push(Arc::new(page));
        }
        Self(Arc::new(pages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_it_was_and_shares_the_other_pages() {
        let mut list: Shared<usize> = (0..1000).collect();
        let copy = list.clone();
        list.set(300, 7, &0);
        list.set(1002, 9, &5);
        assert_eq!((list.len(), copy.len()), (1003, 1000));
        assert_eq!((list[300], copy[300]), (7, 300));
        assert_eq!([1000, 1001, 1002].map(|at| list[at]), [5, 5, 9]);
        assert!(Arc::ptr_eq(&list.0[0], &copy.0[0]) && !Arc::ptr_eq(&list.0[1], &copy.0[1]));
    }

    #[test]
    fn what_is_pushed_fills_one_page_after_the_other() {
        let mut list = Shared::default();
        for at in 0..3 * PAGE {
            assert_eq!(list.len(), at);
            list.push(at);
        }
        assert!((0..3 * PAGE).all(|at| list[at] == at));
        assert!(list.0.iter().all(|page| page.len() == PAGE));
    }
}
