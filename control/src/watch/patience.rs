//! How long is waited before what failed is tried again: longer each time, never alike.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
/// Short enough that an API server that is back is heard soon, long enough that a thousand nodes
/// with a score of watches do not keep it down.
const LONGEST: Duration = Duration::from_secs(30);

/// Pauses that double, each less up to a half of it by chance.
#[derive(Debug)]
pub(super) struct Patience {
    next: Duration,
    chance: RandomState,
}

impl Default for Patience {
    fn default() -> Self {
        Self { next: FIRST, chance: RandomState::new() }
    }
}

impl Patience {
    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let most = self.next;
        self.next = most.saturating_mul(2).min(LONGEST);
        let share = self.chance.hash_one(most.as_nanos()) % 1000;
        most / 2 + (most / 2).mul_f64(f64::from(u16::try_from(share).unwrap_or(0)) / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut patience = Patience::default();
        let pauses: Vec<Duration> = (0..20).map(|_| patience.pause()).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses[19] >= LONGEST / 2);
    }
}
