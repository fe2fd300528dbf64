//! How a sleeping worker is woken. The check is hot; the ring is one syscall, and rare.
//!
//! A worker without work sleeps in poll. Whoever gives it work (a snapshot, a command, a parcel)
//! rings; the syscall is made only when the worker has said that it is about to sleep.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use crate::sync::{AtomicBool, Ordering, fence};

/// One worker's bell.
#[derive(Debug)]
pub struct Doorbell {
    asleep: AtomicBool,
    /// `None` in simulations, where nobody sleeps.
    event: Option<OwnedFd>,
}

impl Doorbell {
    /// A bell with its eventfd.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { asleep: AtomicBool::new(false), event: Some(event) })
    }

    /// A bell that nobody hears, for workers that a test turns by hand.
    #[must_use]
    pub fn silent() -> Self {
        Self { asleep: AtomicBool::new(false), event: None }
    }

    /// Wakes the worker if it sleeps or is about to. Call after the work was made visible.
    #[inline]
    pub fn ring(&self) {
        // The fence pairs with the one in `about_to_sleep`: either we see `asleep`, or the worker,
        // which looks for work after it, sees ours. Without both, a wake-up could be lost.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// The worker says that it will sleep unless it finds work in one more look.
    #[inline]
    pub fn about_to_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The worker is up again; swallows what was rung meanwhile.
    #[inline]
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        if let Some(event) = &self.event {
            // EAGAIN is the usual answer: nobody rang. Nothing to do about any other.
            let _rung = rustix::io::read(event, &mut [0_u8; 8]);
        }
    }

    /// What to poll.
    #[must_use]
    pub fn event(&self) -> Option<BorrowedFd<'_>> {
        self.event.as_ref().map(AsFd::as_fd)
    }

    #[cold]
    fn wake(&self) {
        if let Some(event) = &self.event {
            // Full (2^64 - 1 rings unread) is the only refusal, and then it is rung already.
            let _rung = rustix::io::write(event, &1_u64.to_ne_bytes());
        }
    }
}
