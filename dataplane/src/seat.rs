//! Seats: the places for ports, of all workers, as one row of numbers. Hot path.
//!
//! Arrays that say something of each port's pod are indexed by them. A seat is used again, as the
//! slot is that it stands for: what is found there must bear the name of who was meant.

use crate::ids::PortRef;
use crate::limits::{PORTS_MAX, WORKERS_MAX};

/// A place for a port, among those of all workers: [`Seat::COUNT`] of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat(pub u16);

impl Seat {
    /// How many there are.
    #[allow(clippy::cast_possible_truncation)] // asserted below
    pub const COUNT: u16 = (PORTS_MAX * WORKERS_MAX) as u16;

    /// The seat of a port.
    #[inline]
    #[must_use]
    pub fn of(at: PortRef) -> Self {
        #[allow(clippy::cast_possible_truncation)] // far below 2^16
        const PORTS: u16 = PORTS_MAX as u16;
        let first = u16::from(at.worker.0).wrapping_mul(PORTS);
        Self(first.wrapping_add(at.slot.0))
    }

    /// Its place in arrays of [`Seat::COUNT`].
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Every one.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }
}

const _: () = assert!(PORTS_MAX * WORKERS_MAX <= u16::MAX as usize);
