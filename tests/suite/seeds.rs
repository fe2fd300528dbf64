//! Which seeds a random test tries.
//!
//! `SEED=n` only that one; `WORLDS=n` so many instead of the usual number; `SECONDS_TOLD=n` as
//! many as there is time for; `FIRST=n` begins there. `scripts/soak` sets the last two.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Seeds, handed out one by one to any number of threads.
#[derive(Debug)]
pub(crate) struct Seeds {
    first: u64,
    count: u64,
    given: AtomicU64,
    end: Option<Instant>,
}

impl Seeds {
    /// So many, unless told otherwise.
    pub(crate) fn usually(count: u64) -> Self {
        if let Some(only) = number("SEED") {
            return Self { first: only, count: 1, given: AtomicU64::new(0), end: None };
        }
        let end = number("SECONDS_TOLD").map(|s| Instant::now() + Duration::from_secs(s));
        let count = if end.is_some() { u64::MAX } else { number("WORLDS").unwrap_or(count) };
        Self { first: number("FIRST").unwrap_or(0), count, given: AtomicU64::new(0), end }
    }

    /// Whether nobody asked for other seeds, or for more or less of them.
    pub(crate) fn are_usual() -> bool {
        ["SEED", "WORLDS", "SECONDS_TOLD"].iter().all(|name| number(name).is_none())
    }

    /// Whether one seed is repeated.
    pub(crate) fn is_one(&self) -> bool {
        self.count == 1
    }

    /// The next one.
    pub(crate) fn next(&self) -> Option<u64> {
        let place = self.given.fetch_add(1, Ordering::Relaxed);
        let is_late = self.end.is_some_and(|end| Instant::now() > end);
        (place < self.count && !is_late).then(|| self.first.wrapping_add(place))
    }

    /// How far it came, to be shown.
    pub(crate) fn told(&self) -> String {
        let given = self.given.load(Ordering::Relaxed).min(self.count);
        format!("{given} seeds from {}", self.first)
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
