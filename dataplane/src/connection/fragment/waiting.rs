//! Fragments that wait for the first of their datagram. Hot path.

use super::fixed::Fixed;
use super::list::NONE;
use super::{WAITING_MAX, Waited, places};

/// The fragments of one datagram that wait, in the order they came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    first: u16,
    last: u16,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    pub(super) fn is_empty(self) -> bool {
        self.first == NONE
    }
}

/// A fragment that waits, or room for one.
#[derive(Debug)]
struct Place {
    waited: Option<Waited>,
    next: u16,
}

/// All that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    places: Box<[Place]>,
    free: Fixed<u16>,
}

impl Waiting {
    pub(super) fn new() -> Self {
        let place = || Place { waited: None, next: NONE };
        Self { places: (0..WAITING_MAX).map(|_| place()).collect(), free: places(WAITING_MAX) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        WAITING_MAX.saturating_sub(self.free())
    }

    /// How many more may wait.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Adds one to the end of a chain.
    #[allow(clippy::result_large_err)] // the frame itself comes back
    pub(super) fn push(&mut self, chain: &mut Chain, waited: Waited) -> Result<(), Waited> {
        let Some(at) = self.free.pop_back() else { return Err(waited) };
        match self.places.get_mut(usize::from(chain.last)) {
            Some(last) => last.next = at,
            None => chain.first = at,
        }
        chain.last = at;
        if let Some(place) = self.places.get_mut(usize::from(at)) {
            *place = Place { waited: Some(waited), next: NONE };
        }
        Ok(())
    }

    /// Takes the first of a chain.
    pub(super) fn pop(&mut self, chain: &mut Chain) -> Option<Waited> {
        let at = chain.first;
        let place = self.places.get_mut(usize::from(at))?;
        let waited = place.waited.take();
        chain.first = place.next;
        if chain.is_empty() {
            *chain = Chain::EMPTY;
        }
        self.free.push(at);
        waited
    }
}
