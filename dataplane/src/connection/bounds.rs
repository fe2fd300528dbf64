//! How much of the table one pod may have, and how much may be of no use to anyone.

/// How many connections there may be of which kind; see `share` for what happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections of one pod, of every kind.
    pub per_pod: u32,
    /// Connections that may be evicted, of all pods.
    pub evictable_max: u32,
    /// Records at the end of the table that all pods have an equal part of.
    pub reserved: u32,
    /// Connections that new ones of one pod may push out in a millisecond.
    pub evictions_per_ms: u32,
}

impl Bounds {
    /// For a table of this many connections: a pod may have a quarter, half may be evictable, an
    /// eighth is reserved; 64 000 evictions a second are more than a pod that means it needs.
    #[must_use]
    pub const fn of(capacity: u32) -> Self {
        Self {
            per_pod: capacity.div_ceil(4),
            evictable_max: capacity.div_ceil(2),
            reserved: capacity / 8,
            evictions_per_ms: 64,
        }
    }

    /// None but the table's own.
    pub const NONE: Self = Self {
        per_pod: u32::MAX,
        evictable_max: u32::MAX,
        reserved: 0,
        evictions_per_ms: u32::MAX,
    };
}
