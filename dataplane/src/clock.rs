//! Time as the dataplane knows it. Hot path.
//!
//! Hot code never asks for the time: it is told, once per turn, so that tests own the clock
//! (house D9).

/// Milliseconds since the machine started, so that they mean the same to the switch's successor. They
/// last 49 days in 32 bits, hence 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick `ms` milliseconds later.
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this tick; 0 where `earlier` is later.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
