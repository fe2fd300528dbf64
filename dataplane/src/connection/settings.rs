//! What a table is made by: its size, its secret, its timeouts, and how much of it one pod may have.

use super::{CAPACITY_MAX, Timeouts};

/// How large a table is, by which secret it hashes, and how long it remembers.
#[derive(Clone, Copy)]
pub struct Settings {
    /// Connections at most; from 1 to [`CAPACITY_MAX`](super::CAPACITY_MAX).
    pub capacity: usize,
    /// How many of which kind.
    pub bounds: Bounds,
    /// 128 random bits, drawn when the switch starts and told to nobody.
    pub seed: [u64; 2],
    /// How long each state lasts in silence.
    pub timeouts: Timeouts,
}

impl Settings {
    /// How many records there are.
    ///
    /// # Panics
    /// If the capacity is 0 or above [`CAPACITY_MAX`](super::CAPACITY_MAX).
    pub(super) fn records(&self) -> u32 {
        let capacity = self.capacity;
        assert!((1..=CAPACITY_MAX).contains(&capacity), "capacity {capacity} is out of bounds");
        u32::try_from(capacity).unwrap_or(u32::MAX)
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whoever knows the seed can build collisions: it is in no log.
        f.debug_struct("Settings")
            .field("capacity", &self.capacity)
            .field("bounds", &self.bounds)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

/// How many connections there may be of which kind; see `share` for what happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections of one pod, of every kind.
    pub per_pod: u32,
    /// Connections that may be evicted, of all pods.
    pub evictable_max: u32,
    /// Records at the end of the table of which each pod may have a part, and no more.
    pub reserved: u32,
    /// Connections that give way in a millisecond, pushed out or begun anew, for all pods that cause
    /// it together; half as many for all who are outside.
    pub turnover_per_ms: u32,
}

impl Bounds {
    /// For a table of this many connections: a pod may have a quarter, half may be evictable, an
    /// eighth is reserved; 64 000 that give way in a second are more than pods need that mean
    /// it.
    #[must_use]
    pub const fn of(capacity: u32) -> Self {
        Self {
            per_pod: capacity.div_ceil(4),
            evictable_max: capacity.div_ceil(2),
            reserved: capacity / 8,
            turnover_per_ms: 64,
        }
    }

    /// None but the table's own.
    pub const NONE: Self =
        Self { per_pod: u32::MAX, evictable_max: u32::MAX, reserved: 0, turnover_per_ms: u32::MAX };
}
