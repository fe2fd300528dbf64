//! The thread of a worker: pinned, turning, asleep when there is nothing to do.
//!
//! This is the one place of the dataplane that reads the clock and that loops without a bound.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::ClockId;

use super::{Polling, SwitchError, WorkerConfig, jail, system};
use crate::clock::Tick;
use crate::counters::Counters;
use crate::doorbell::Doorbell;
use crate::ids::WorkerId;
use crate::limits::{IDLE_TURNS, PORTS_MAX};
use crate::port::xsk::{WorkerMemory, XskPort};
use crate::worker::Worker;

/// The longest sleep: timers and completions are never later than this.
const SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// Time, counted from the start of the machine: so ticks mean the same to whoever comes after us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    begun: Instant,
    /// How long the machine had been running then.
    before: Duration,
}

impl Clock {
    /// As of now.
    pub(super) fn start() -> io::Result<Self> {
        let now = rustix::time::clock_gettime(ClockId::Monotonic);
        // `Instant` is the same clock, and does not say how far it has come.
        let before = Duration::try_from(now).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Self { begun: Instant::now(), before })
    }

    /// A time that is later for whoever starts later.
    pub(super) fn stamp(&self) -> u64 {
        u64::try_from(self.before.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Now.
    pub(super) fn now(&self) -> Tick {
        self.tick(self.elapsed())
    }

    /// Since it was started.
    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn tick(&self, elapsed: Duration) -> Tick {
        Tick(milliseconds(self.before.saturating_add(elapsed)))
    }
}

/// What the thread turns.
#[derive(Debug)]
pub(super) struct Turns {
    /// The same for all workers.
    pub(super) clock: Clock,
    pub(super) worker: Worker<XskPort, WorkerMemory>,
    pub(super) bell: Arc<Doorbell>,
    pub(super) counters: Arc<Counters>,
    pub(super) polling: Polling,
}

/// A worker's thread, as control holds it.
#[derive(Debug)]
pub(super) struct Thread {
    stop: Arc<AtomicBool>,
    /// Gives back what it turned: sockets and memory are freed by whoever stops it.
    handle: Option<JoinHandle<Option<Turns>>>,
}

/// Refuses cores that this process may not use.
pub(super) fn check_cores(workers: &[WorkerConfig]) -> Result<(), SwitchError> {
    let usable: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    for (index, worker) in (0_u8..).zip(workers) {
        if let Some(core) = worker.core
            && !usable.contains(&core)
        {
            return Err(SwitchError::Core { worker: index, core, usable });
        }
    }
    Ok(())
}

impl Thread {
    /// Starts the thread of worker `id`, pinned to `core` where there is one, and jailed.
    pub(super) fn start(
        id: WorkerId,
        core: Option<usize>,
        turns: Turns,
    ) -> Result<Self, SwitchError> {
        let stop = Arc::new(AtomicBool::new(false));
        let its_stop = Arc::clone(&stop);
        let (told, jailed) = sync_channel(1);
        let handle = std::thread::Builder::new()
            .name(format!("worker-{}", id.0))
            .spawn(move || {
                if let Some(core) = core {
                    // Checked to be usable before; a core taken away since leaves it unpinned.
                    let _pinned =
                        core_affinity::set_for_current(core_affinity::CoreId { id: core });
                }
                let entered = jail::enter();
                let is_in = entered.is_ok();
                // Whoever started this thread waits for it.
                let _heard = told.send(entered);
                is_in.then(|| run(turns, &its_stop))
            })
            .map_err(system("starting a worker's thread"))?;
        let entered = jailed.recv().unwrap_or_else(|_| Err(io::Error::other("it has died")));
        entered.map_err(system("jailing a worker's thread (seccomp)"))?;
        Ok(Self { stop, handle: Some(handle) })
    }

    /// Whether the thread still runs: it never ends by itself.
    pub(super) fn is_alive(&self) -> bool {
        self.handle.as_ref().is_some_and(|handle| !handle.is_finished())
    }

    /// Ends the thread and waits for it; gives what it turned, unless it has ended before.
    pub(super) fn stop(&mut self, bell: &Doorbell) -> Option<Turns> {
        self.stop.store(true, Ordering::Release);
        bell.ring();
        // With `panic = "abort"` a thread that panicked has taken the process with it.
        self.handle.take()?.join().ok().flatten()
    }
}

fn run(mut turns: Turns, stop: &AtomicBool) -> Turns {
    let clock = turns.clock;
    let mut before = clock.elapsed();
    let mut empty = 0_u32;
    // Acquire pairs with the Release in `stop`: what control did before is seen.
    while !stop.load(Ordering::Acquire) {
        let moved = turns.worker.turn(clock.tick(before));
        let after = clock.elapsed();
        account(&turns.counters, moved, before, after);
        before = after;
        empty = if moved > 0 { 0 } else { empty.saturating_add(1) };
        if empty >= IDLE_TURNS && may_sleep(&turns) {
            sleep(&turns);
            before = clock.elapsed();
        }
    }
    turns
}

/// Whether a worker without work sleeps. One without ports does: in a hand-over it shares its core
/// with the worker that serves them yet.
fn may_sleep(turns: &Turns) -> bool {
    turns.polling == Polling::Adaptive || turns.worker.sockets().next().is_none()
}

fn account(counters: &Counters, moved: usize, before: Duration, after: Duration) {
    let spent = u64::try_from(after.saturating_sub(before).as_nanos()).unwrap_or(u64::MAX);
    if moved > 0 {
        counters.busy_nanoseconds.add(spent);
    }
    counters.total_nanoseconds.set(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
}

/// Sleeps until a packet, a ring of the bell, or the end of [`SLEEP`].
///
/// `poll`, not `epoll`: a socket in an epoll set calls it back for every packet received and
/// every packet sent, asleep or not, and that costs more than the list made here when idle.
fn sleep(turns: &Turns) {
    let Some(bell) = turns.bell.event() else { return };
    turns.bell.about_to_sleep();
    if !turns.worker.has_work() {
        let mut polled =
            [(); PORTS_MAX + 1].map(|()| PollFd::from_borrowed_fd(bell, PollFlags::IN));
        let mut count = 1_usize;
        for (place, socket) in polled.iter_mut().skip(1).zip(turns.worker.sockets()) {
            *place = PollFd::from_borrowed_fd(socket, PollFlags::IN);
            count = count.saturating_add(1);
        }
        // EINTR and every other refusal means: turn again.
        let _woken = poll(polled.get_mut(..count).unwrap_or_default(), Some(&SLEEP));
    }
    turns.bell.awake();
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
