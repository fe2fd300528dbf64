//! The names of `dataplane/src/sync.rs`, for the model checker.

use std::collections::VecDeque;
use std::sync::Mutex;

use loom::sync::atomic::AtomicUsize;

pub use loom::sync::Arc;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// Pushes that one queue may see in a model.
const PUSHES_MAX: usize = 12;

/// A bounded queue of one producer and one consumer that promises no more than crossbeam's does.
///
/// An entry's push happens before the pop that takes it, and that is all: nothing else is learned
/// from a queue, not from a pop that finds it empty, and a look at whether it is empty may be an
/// old one. The entries are under a lock that the checker does not see, so that the lock orders
/// nothing; nobody ever waits for it, for threads change at the checker's atomics only, of which
/// none is touched under it.
#[derive(Debug)]
pub(crate) struct ArrayQueue<T> {
    entries: Mutex<Entries<T>>,
    capacity: usize,
    /// Pushes begun. Each push and pop passes here right before it takes the lock, so that the
    /// checker knows that their order matters, and tries both.
    pushes: AtomicUsize,
    /// By push: released by it, acquired by the pop of its entry.
    passed: [AtomicBool; PUSHES_MAX],
}

#[derive(Debug)]
struct Entries<T> {
    /// Each with the number of its push.
    waiting: VecDeque<(usize, T)>,
    pushed: usize,
    taken: usize,
}

impl<T> ArrayQueue<T> {
    /// An empty queue.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: Mutex::new(Entries { waiting: VecDeque::new(), pushed: 0, taken: 0 }),
            capacity,
            pushes: AtomicUsize::new(0),
            passed: std::array::from_fn(|_| AtomicBool::new(false)),
        }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// Gives the value back where there is no room.
    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        self.begin_push();
        let refused = self.with(|entries| {
            if entries.waiting.len() < self.capacity {
                entries.push(value);
                return None;
            }
            Some(value)
        });
        let Some(value) = refused else { return Ok(()) };
        self.pushes.fetch_sub(1, Ordering::Relaxed);
        Err(value)
    }

    /// Adds an entry, in the place of the oldest where there is no room.
    pub(crate) fn force_push(&self, value: T) -> Option<T> {
        self.begin_push();
        self.with(|entries| {
            let full = entries.waiting.len() >= self.capacity;
            let displaced = if full { entries.pop() } else { None };
            entries.push(value);
            displaced.map(|(_, value)| value)
        })
    }

    /// Takes the oldest entry.
    pub(crate) fn pop(&self) -> Option<T> {
        self.pushes.fetch_add(0, Ordering::Relaxed);
        let (number, value) = self.with(Entries::pop)?;
        // Reads the newest, as every read that also writes.
        let passed = self.passed[number].fetch_or(false, Ordering::Acquire);
        assert!(passed, "an entry was taken before it was there");
        Some(value)
    }

    /// Whether nothing waits, or nothing did a while ago.
    pub(crate) fn is_empty(&self) -> bool {
        let pushes = self.pushes.load(Ordering::Relaxed);
        self.with(|entries| pushes <= entries.taken)
    }

    /// How many wait, or did a while ago.
    pub(crate) fn len(&self) -> usize {
        let pushes = self.pushes.load(Ordering::Relaxed);
        self.with(|entries| pushes.saturating_sub(entries.taken))
    }

    /// Releases the entry that is about to be pushed: its number is known, for the producer is one.
    fn begin_push(&self) {
        let number = self.with(|entries| entries.pushed);
        self.passed[number].store(true, Ordering::Release);
        self.pushes.fetch_add(1, Ordering::Relaxed);
    }

    fn with<R>(&self, work: impl FnOnce(&mut Entries<T>) -> R) -> R {
        match self.entries.try_lock() {
            Ok(mut entries) => work(&mut entries),
            Err(_) => unreachable!("threads change at atomics only"),
        }
    }
}

impl<T> Entries<T> {
    fn push(&mut self, value: T) {
        self.waiting.push_back((self.pushed, value));
        self.pushed += 1;
    }

    fn pop(&mut self) -> Option<(usize, T)> {
        let entry = self.waiting.pop_front();
        self.taken += usize::from(entry.is_some());
        entry
    }
}
