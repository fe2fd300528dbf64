//! Snapshots on their way down: control publishes, workers take. Hot for the subscriber.
//!
//! ```text
//!   control: Publisher ──(mailbox of one place per worker, latest wins)──> Subscriber: worker
//!                 ^──────────── seen: the generation the worker has begun to use ───┘
//! ```
//!
//! A worker never frees a snapshot: the publisher keeps every one until all workers have begun
//! to use a newer, so the last reference is always the publisher's. That is all the reclamation
//! there is; it needs no epochs per thread and no unsafe code. Rejected: `arc-swap`, whose
//! readers may be the ones to free, and RCU by hand.

use std::collections::VecDeque;

use crate::endpoint::Endpoints;
use crate::ids::{Epoch, Generation};
use crate::policy::table::PolicyTable;
use crate::sync::{Arc, ArrayQueue, AtomicU64, Ordering};

/// Everything that judges a packet, immutable. A batch is judged under exactly one.
#[derive(Debug)]
pub struct Snapshot {
    /// The number of this publication.
    pub generation: Generation,
    /// The number of the rules in it: moves only when some verdict can have changed.
    pub epoch: Epoch,
    /// Who may send what to whom.
    pub policy: PolicyTable,
    /// Who is where.
    pub endpoints: Endpoints,
}

/// What a publisher and one subscriber share.
#[derive(Debug)]
struct Lane {
    mailbox: ArrayQueue<Arc<Snapshot>>,
    seen: AtomicU64,
}

/// Control's end: publishes to all workers and keeps what they still read.
#[derive(Debug)]
pub struct Publisher {
    lanes: Vec<Arc<Lane>>,
    kept: VecDeque<Arc<Snapshot>>,
    last: Generation,
}

/// A worker's end.
#[derive(Debug)]
pub struct Subscriber {
    lane: Arc<Lane>,
    current: Option<Arc<Snapshot>>,
}

impl Publisher {
    /// A publisher and its subscribers, one for each of `workers`.
    #[must_use]
    pub fn new(workers: usize) -> (Self, Vec<Subscriber>) {
        let lane = || Arc::new(Lane { mailbox: ArrayQueue::new(1), seen: AtomicU64::new(0) });
        let lanes: Vec<_> = (0..workers).map(|_| lane()).collect();
        let subscribers =
            lanes.iter().map(|lane| Subscriber { lane: Arc::clone(lane), current: None }).collect();
        (Self { lanes, kept: VecDeque::new(), last: Generation(0) }, subscribers)
    }

    /// Publishes to every worker; a snapshot that a worker has not taken yet is superseded.
    pub fn publish(
        &mut self,
        epoch: Epoch,
        policy: PolicyTable,
        endpoints: Endpoints,
    ) -> Generation {
        self.last = Generation(self.last.0 + 1);
        let snapshot = Arc::new(Snapshot { generation: self.last, epoch, policy, endpoints });
        for lane in &self.lanes {
            // What is displaced was never seen; `kept` still holds it, so nothing is freed here.
            let _superseded = lane.mailbox.force_push(Arc::clone(&snapshot));
        }
        self.kept.push_back(snapshot);
        self.retire();
        self.last
    }

    /// The newest generation that every worker has begun to use; 0 before the first.
    #[must_use]
    pub fn in_force(&self) -> Generation {
        // Acquire pairs with the Release in `refresh`: the worker's drop of its old snapshot
        // happens before ours in `retire`, so ours is the one that frees.
        let seen = self.lanes.iter().map(|lane| lane.seen.load(Ordering::Acquire)).min();
        Generation(seen.unwrap_or(0))
    }

    /// The newest snapshot published, to explain what workers did under it.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Snapshot>> {
        self.kept.back()
    }

    /// Snapshots not yet freed: 1 when all workers are up to date.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Frees what no worker can still read. Called by `publish`; may be called at any time.
    pub fn retire(&mut self) {
        let in_force = self.in_force();
        while self.kept.len() > 1
            && self.kept.front().is_some_and(|oldest| oldest.generation < in_force)
        {
            self.kept.pop_front();
        }
    }
}

impl Subscriber {
    /// Takes the newest snapshot, if there is one that this worker does not have yet.
    #[inline]
    pub fn refresh(&mut self) {
        if let Some(newer) = self.lane.mailbox.pop() {
            let generation = newer.generation;
            // Not the last reference: the publisher keeps it until `seen` has moved.
            self.current = Some(newer);
            // Release pairs with the Acquire in `in_force`; see there.
            self.lane.seen.store(generation.0, Ordering::Release);
        }
    }

    /// Whether a snapshot waits that this worker does not have yet.
    #[inline]
    #[must_use]
    pub fn has_newer(&self) -> bool {
        !self.lane.mailbox.is_empty()
    }

    /// The snapshot in force for this worker; `None` before the first.
    #[inline]
    #[must_use]
    pub fn current(&self) -> Option<&Snapshot> {
        self.current.as_deref()
    }
}
