//! Lists that run through entries, by place. Hot path.

/// No place.
pub(super) const NONE: u16 = u16::MAX;

/// Neighbours in a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    before: u16,
    after: u16,
}

/// In no list.
pub(super) const UNLINKED: Link = Link { before: NONE, after: NONE };

/// A list's ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) first: u16,
    pub(super) last: u16,
}

/// An empty list.
pub(super) const EMPTY: Ends = Ends { first: NONE, last: NONE };

impl Default for Ends {
    fn default() -> Self {
        EMPTY
    }
}

/// Something that lists run through.
pub(super) trait Linked {
    /// The link of one of its lists.
    fn link(&mut self, list: List) -> &mut Link;
}

/// Which list.
#[derive(Clone, Copy, Debug)]
pub(super) enum List {
    /// All, the oldest first.
    Age,
    /// Those of one port, the oldest first.
    Port,
    /// Those of which any fragment waits, in the order in which that began.
    Waits,
}

/// The place after an item's.
pub(super) fn after<T: Linked>(item: &mut T, list: List) -> u16 {
    item.link(list).after
}

/// Adds the item at `place`, which is in no such list, to the end.
pub(super) fn push<T: Linked>(items: &mut [T], list: List, ends: &mut Ends, place: u16) {
    let before = std::mem::replace(&mut ends.last, place);
    if let Some(item) = items.get_mut(usize::from(place)) {
        *item.link(list) = Link { before, after: NONE };
    }
    match items.get_mut(usize::from(before)) {
        Some(item) => item.link(list).after = place,
        None => ends.first = place,
    }
}

/// Takes the item at `place` out of the list, in which it is.
pub(super) fn remove<T: Linked>(items: &mut [T], list: List, ends: &mut Ends, place: u16) {
    let Some(item) = items.get_mut(usize::from(place)) else { return };
    let Link { before, after } = std::mem::replace(item.link(list), UNLINKED);
    match items.get_mut(usize::from(before)) {
        Some(item) => item.link(list).after = after,
        None => ends.first = after,
    }
    match items.get_mut(usize::from(after)) {
        Some(item) => item.link(list).before = before,
        None => ends.last = before,
    }
}
