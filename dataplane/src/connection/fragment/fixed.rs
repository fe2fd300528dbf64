//! A row of a fixed length, which never asks for memory. Hot path.

/// Items in the order they came: added at the end, taken from either.
///
/// It does not turn round like a ring: taken from the front, it has room again once it is empty.
#[derive(Debug)]
pub(super) struct Fixed<T> {
    items: Box<[Option<T>]>,
    front: usize,
    back: usize,
}

impl<T> Fixed<T> {
    /// Room for so many.
    pub(super) fn new(count: usize) -> Self {
        Self { items: (0..count).map(|_| None).collect(), front: 0, back: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.back.saturating_sub(self.front)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.front == self.back
    }

    /// Adds one, where there is room: its owner counts.
    pub(super) fn push(&mut self, item: T) {
        debug_assert!(self.back < self.items.len(), "more than there can be");
        if let Some(place) = self.items.get_mut(self.back) {
            *place = Some(item);
            self.back = self.back.saturating_add(1);
        }
    }

    /// Takes the one that came first.
    pub(super) fn pop_front(&mut self) -> Option<T> {
        let item = self.items.get_mut(self.front).filter(|_| self.front < self.back)?.take();
        self.front = self.front.saturating_add(1);
        if self.is_empty() {
            (self.front, self.back) = (0, 0);
        }
        item
    }

    /// Takes the one that came last.
    pub(super) fn pop_back(&mut self) -> Option<T> {
        let last = self.back.checked_sub(1).filter(|_| self.front < self.back)?;
        self.back = last;
        self.items.get_mut(last)?.take()
    }
}
