//! Up to which `metadata.resourceVersion` each resource is in force with every worker, and how long
//! changes take until they are. Pure.
//!
//! ```text
//!   taken in --publish--> on its way --settle--> in force
//!      `--------------rest (nothing differs)---------^
//! ```
//!
//! Much of what is taken in changes nothing that workers judge by: it is in force as soon as nothing
//! is on its way.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use lockgate_dataplane::ids::{Epoch, Generation};

use crate::watch::RESOURCES;

/// How many resources there are.
const COUNT: usize = RESOURCES.len();

/// Changes whose times are kept.
const TIMES_KEPT: usize = 256;

/// A `metadata.resourceVersion` for each resource, in the order of [`RESOURCES`]; 0 is none.
pub type Versions = [u64; COUNT];

/// What is in force.
#[derive(Debug, Default)]
pub struct InForce {
    versions: Versions,
    since: [Option<SystemTime>; COUNT],
    /// What the newest snapshot was made of.
    on_its_way: Option<Versions>,
    epoch: Epoch,
    generation: Generation,
    /// The times that the last changes took, the oldest first.
    times: VecDeque<Duration>,
}

/// How long changes took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// So many of them.
    pub changes: usize,
    /// Half of them took no longer.
    pub median: Duration,
    /// All but one in a hundred took no longer.
    pub p99: Duration,
}

impl InForce {
    /// A snapshot of everything up to these versions is on its way.
    pub fn publish(&mut self, versions: Versions) {
        self.on_its_way = Some(versions);
    }

    /// The snapshot that was on its way is in force.
    pub fn settle(&mut self, epoch: Epoch, generation: Generation) {
        (self.epoch, self.generation) = (epoch, generation);
        if let Some(versions) = self.on_its_way.take() {
            self.replace(&versions);
        }
    }

    /// Nothing is on its way, and nothing waits: everything up to these versions is in force.
    pub fn rest(&mut self, versions: &Versions) {
        self.replace(versions);
    }

    fn replace(&mut self, versions: &Versions) {
        if self.versions == *versions {
            return;
        }
        let now = SystemTime::now();
        let differs = |(old, new): (&u64, &u64)| old != new;
        let differing = self.versions.iter().zip(versions).map(differs);
        for (since, _) in self.since.iter_mut().zip(differing).filter(|(_, differs)| *differs) {
            *since = Some(now);
        }
        self.versions = *versions;
    }

    /// A change took so long from its event until it was in force.
    pub fn took(&mut self, time: Duration) {
        if self.times.len() == TIMES_KEPT {
            self.times.pop_front();
        }
        self.times.push_back(time);
    }

    /// The versions, and since when each is in force.
    pub fn versions(&self) -> impl Iterator<Item = (u64, Option<SystemTime>)> {
        self.versions.iter().copied().zip(self.since.iter().copied())
    }

    /// The epoch and the generation of the snapshot.
    #[must_use]
    pub fn numbers(&self) -> (Epoch, Generation) {
        (self.epoch, self.generation)
    }

    /// How long the last changes took; `None` before there was one.
    #[must_use]
    pub fn times(&self) -> Option<Times> {
        let mut sorted: Vec<Duration> = self.times.iter().copied().collect();
        sorted.sort_unstable();
        let changes = sorted.len();
        // The least that so many of a hundred do not exceed.
        let quantile = |hundredths: usize| {
            let rank = changes.saturating_mul(hundredths).div_ceil(100);
            sorted.get(rank.saturating_sub(1)).copied()
        };
        Some(Times { changes, median: quantile(50)?, p99: quantile(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(pods: u64, policies: u64) -> Versions {
        let mut versions = Versions::default();
        (versions[1], versions[2]) = (pods, policies);
        versions
    }

    fn now(in_force: &InForce) -> Versions {
        let all: Vec<u64> = in_force.versions().map(|(version, _)| version).collect();
        all.try_into().unwrap()
    }

    #[test]
    fn what_was_read_counts_when_the_snapshot_made_of_it_is_in_force() {
        let mut in_force = InForce::default();
        in_force.publish(versions(5, 7));
        assert_eq!(now(&in_force), Versions::default());
        in_force.settle(Epoch(2), Generation(3));
        assert_eq!(now(&in_force), versions(5, 7));
        assert_eq!(in_force.numbers(), (Epoch(2), Generation(3)));
        // A snapshot that has nothing on its way changes no version.
        in_force.settle(Epoch(2), Generation(4));
        assert_eq!(now(&in_force), versions(5, 7));
    }

    #[test]
    fn what_changes_nothing_counts_once_nothing_is_on_its_way_and_only_what_moved_is_newer() {
        let mut in_force = InForce::default();
        in_force.rest(&versions(5, 7));
        let before: Vec<_> = in_force.versions().collect();
        std::thread::sleep(Duration::from_millis(2));
        in_force.rest(&versions(6, 7));
        let after: Vec<_> = in_force.versions().collect();
        assert_eq!(after[1].0, 6);
        assert!(after[1].1 > before[1].1 && after[2] == before[2], "{before:?} {after:?}");
        assert_eq!(after[0], (0, None));
    }

    #[test]
    fn the_last_times_are_told_by_rank() {
        let mut in_force = InForce::default();
        assert_eq!(in_force.times(), None);
        for ms in 1..=300 {
            in_force.took(Duration::from_millis(ms));
        }
        // 45 to 300 are kept.
        let times = in_force.times().unwrap();
        assert_eq!(times.changes, 256);
        assert_eq!(times.median, Duration::from_millis(172));
        assert_eq!(times.p99, Duration::from_millis(298));
    }
}
