//! How many connections gave way within one millisecond. Hot path.

use crate::clock::Tick;

/// A count that begins anew with each millisecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turnover {
    /// The latest in which any gave way.
    millisecond: u32,
    count: u32,
}

impl Turnover {
    /// None yet.
    pub(super) const NONE: Self = Self { millisecond: 0, count: 0 };

    /// How many did in this one.
    pub(super) fn so_far(self, now: Tick) -> u32 {
        if self.millisecond == millisecond(now) { self.count } else { 0 }
    }

    /// One more has.
    pub(super) fn add(&mut self, now: Tick) {
        let count = self.so_far(now).saturating_add(1);
        *self = Self { millisecond: millisecond(now), count };
    }
}

#[allow(clippy::cast_possible_truncation)] // compared with another of a moment ago
fn millisecond(now: Tick) -> u32 {
    now.0 as u32
}
