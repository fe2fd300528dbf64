//! The switch as control holds it: threads, ports, snapshots, and what comes back. Cold.
//!
//! Everything that needs a syscall, a lock or memory happens here, on the caller's thread:
//! sockets are bound and closed, programs attached and pinned, workers started and stopped
//! (house D4, D12). What passes to a worker passes through its mailbox.

#![allow(clippy::disallowed_methods)] // the one module that reads the clock and may wait

mod desk;
mod giving;
mod jail;
mod kept;
mod ports;
mod thread;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::clock::Tick;
use crate::connection::{self, Page};
use crate::counters::Counters;
use crate::doorbell::Doorbell;
use crate::endpoint::Endpoints;
use crate::event::{Sample, events};
use crate::handoff;
use crate::ids::{Epoch, Generation, WorkerId};
use crate::limits::WORKERS_MAX;
use crate::policy::table::PolicyTable;
use crate::port::xsk::WorkerMemory;
use crate::port::{PortError, SocketHandle, program::ProgramError};
use crate::publish::{Publisher, Snapshot};
use crate::worker::mailbox::Mailbox;
use crate::worker::{Denial, Established, Parts, Worker};

use desk::Desk;
use kept::Kept;
pub use kept::{Adopted, KeptError};
use ports::Ports;
pub use ports::{Detach, HostPortRef, PortView};
use thread::{Clock, Thread};

/// How a worker without work waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Polling {
    /// It sleeps in poll, at most 1 ms, after [`crate::limits::IDLE_TURNS`] empty turns.
    #[default]
    Adaptive,
    /// It never sleeps: a core each, always.
    Busy,
}

/// One worker to be.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The core to pin it to; `None` leaves it to the scheduler.
    pub core: Option<usize>,
    /// The interface of its own that its UMEM is anchored to (house D2): up, in the network
    /// namespace of the calling thread, with nothing attached.
    pub anchor: String,
}

/// A switch to be.
#[derive(Clone, Debug)]
pub struct SwitchConfig {
    /// Its workers, 1 to [`WORKERS_MAX`].
    pub workers: Vec<WorkerConfig>,
    /// Frames of packet memory, of [`crate::limits::FRAME_BYTES`] each, per worker.
    pub frames_per_worker: u32,
    /// The connection table of each worker.
    pub connections: connection::Settings,
    /// The directory, on a BPF file system, under which links and maps are pinned.
    pub bpffs: PathBuf,
    /// How workers without work wait.
    pub polling: Polling,
    /// What a policy change does to established connections.
    pub established: Established,
    /// What the sender of a denied packet hears.
    pub denial: Denial,
    /// The directory of files in which connections outlive the process; `None`: they do not.
    pub keep: Option<PathBuf>,
}

/// Why a switch did not start, or a port could not be added or removed.
#[derive(Debug, Error)]
pub enum SwitchError {
    /// The number of workers is out of bounds.
    #[error("{0} workers: there must be 1 to {WORKERS_MAX} (setting `workers`)")]
    Workers(usize),
    /// A core that does not exist or may not be used.
    #[error(
        "worker {worker} cannot be pinned to core {core}: this process may use cores {usable:?} \
         (setting `cores`)"
    )]
    Core {
        /// The worker.
        worker: u8,
        /// The core asked for.
        core: usize,
        /// The cores there are.
        usable: Vec<usize>,
    },
    /// A socket or its memory.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The XDP program of an interface.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// All slots of all workers are taken.
    #[error(
        "no worker has room for port {interface}: {limit} ports each (setting `workers` adds more)"
    )]
    NoSlot {
        /// The interface.
        interface: String,
        /// Ports per worker.
        limit: usize,
    },
    /// A port that is not there.
    #[error("port {0} is not attached")]
    NoPort(u32),
    /// A worker did not answer in time: it hangs or has died.
    #[error("worker {worker} did not answer within {waited_ms} ms")]
    Silent {
        /// The worker.
        worker: u8,
        /// How long was waited.
        waited_ms: u128,
    },
    /// The operating system refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

/// The longest that control waits for a worker's answer. A turn takes microseconds.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// What control holds of one worker.
#[derive(Debug)]
struct Handle {
    id: WorkerId,
    desk: Desk<SocketHandle>,
    counters: Arc<Counters>,
    events: Arc<crate::event::Events>,
    bell: Arc<Doorbell>,
    memory: WorkerMemory,
    core: Option<usize>,
    thread: Thread,
    /// What the thread turned, while it rests.
    resting: Option<thread::Turns>,
}

/// A running switch.
///
/// Dropping it stops the workers; pinned programs stay and drop (fail closed). Use
/// [`Switch::stop`] to say what becomes of the interfaces.
#[derive(Debug)]
pub struct Switch {
    clock: Clock,
    kept: Kept,
    workers: Vec<Handle>,
    publisher: Publisher,
    ports: Ports,
}

impl Switch {
    /// Makes packet memory and starts the workers, without ports and without a snapshot: until
    /// the first is published, every packet is dropped as `Unsynced`.
    ///
    /// # Errors
    /// When a setting is out of bounds, a core does not exist, or the kernel refuses memory or
    /// sockets; nothing is left behind.
    pub fn start(config: &SwitchConfig) -> Result<Self, SwitchError> {
        let count = config.workers.len();
        if !(1..=WORKERS_MAX).contains(&count) {
            return Err(SwitchError::Workers(count));
        }
        thread::check_cores(&config.workers)?;
        let (publisher, subscribers) = Publisher::new(count);
        let mut bells = Vec::with_capacity(count);
        for _ in 0..count {
            bells.push(Arc::new(Doorbell::new().map_err(system("eventfd"))?));
        }
        let ends = handoff::connect(&bells);
        let seats = config.workers.iter().zip(subscribers).zip(ends.into_iter().zip(bells));
        let clock = Clock::start().map_err(system("clock_gettime"))?;
        // Dropped where a later worker does not start: that stops the earlier ones.
        let mut switch = Self {
            clock,
            kept: Kept::prepare(config.keep.as_deref(), clock),
            workers: Vec::with_capacity(count),
            publisher,
            ports: Ports::new(config.bpffs.clone()),
        };
        for (index, ((worker, subscriber), (ends, bell))) in (0_u8..).zip(seats) {
            let (memory, pool) = WorkerMemory::new(&worker.anchor, config.frames_per_worker)?;
            let mailbox = Arc::new(Mailbox::default());
            let counters = Arc::new(Counters::default());
            let events = Arc::new(events());
            let id = WorkerId(index);
            let (connections, translations) = switch.kept.tables(id, &config.connections);
            let parts = Parts {
                id,
                memory: memory.clone(),
                pool,
                ends,
                connections,
                translations,
                subscriber,
                mailbox: Arc::clone(&mailbox),
                counters: Arc::clone(&counters),
                events: Arc::clone(&events),
                established: config.established,
                denial: config.denial,
            };
            let turns = thread::Turns {
                clock,
                worker: Worker::new(parts),
                bell: Arc::clone(&bell),
                counters: Arc::clone(&counters),
                polling: config.polling,
            };
            let (core, resting) = (worker.core, None);
            let thread = Thread::start(id, core, turns)?;
            let desk = Desk::new(mailbox);
            let handle = Handle { id, desk, counters, events, bell, memory, core, thread, resting };
            switch.workers.push(handle);
        }
        Ok(switch)
    }

    /// Now, as the workers count time.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.clock.now()
    }

    /// Publishes a snapshot to all workers and wakes them.
    pub fn publish(
        &mut self,
        epoch: Epoch,
        policy: PolicyTable,
        endpoints: Endpoints,
    ) -> Generation {
        let generation = self.publisher.publish(epoch, policy, endpoints);
        for worker in &self.workers {
            worker.bell.ring();
        }
        generation
    }

    /// The newest generation that every worker judges by; also frees what nobody reads, and takes
    /// in what workers have answered late.
    pub fn in_force(&mut self) -> Generation {
        for worker in &mut self.workers {
            worker.settle();
        }
        self.publisher.retire();
        self.publisher.in_force()
    }

    /// The newest snapshot published.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Snapshot>> {
        self.publisher.newest()
    }

    /// The cells of each worker, by its id.
    #[must_use]
    pub fn counters(&self) -> Vec<Arc<Counters>> {
        self.workers.iter().map(|worker| Arc::clone(&worker.counters)).collect()
    }

    /// Takes the samples of packets that have come since the last call.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.workers.iter().flat_map(|w| std::iter::from_fn(|| w.events.pop())).collect()
    }

    /// Copies up to `limit` connections, worker by worker.
    ///
    /// # Errors
    /// When a worker does not answer.
    pub fn connections(&mut self, limit: usize) -> Result<Vec<connection::Row>, SwitchError> {
        let mut rows = Vec::new();
        for worker in &mut self.workers {
            let mut cursor = Some(0);
            let mut page = Box::new(Page::default());
            while let Some(at) = cursor
                && rows.len() < limit
            {
                worker.wait(|desk| desk.has_room().then_some(()))?;
                worker.desk.ask_page(page, at);
                (page, cursor) = worker.wait(Desk::take_page)?;
                rows.extend(page.rows().iter().take(limit.saturating_sub(rows.len())).copied());
            }
        }
        Ok(rows)
    }

    /// Stops the workers, closes the sockets and leaves or gives back the interfaces.
    ///
    /// With [`Detach::Leave`] the pinned programs stay and drop every packet; with
    /// [`Detach::Detach`] they are taken off: set the interfaces down first, or their packets
    /// reach the node's stack.
    ///
    /// # Errors
    /// When a program cannot be taken off; the others are all the same.
    pub fn stop(mut self, detach: Detach) -> Result<(), SwitchError> {
        self.halt();
        self.ports.close_all(detach)
    }

    fn halt(&mut self) {
        for worker in &mut self.workers {
            // What it turned goes with it: sockets and memory are freed here.
            drop(worker.thread.stop(&worker.bell));
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.halt();
    }
}

impl Handle {
    /// Takes in what the worker has answered, tells it what it is yet to be told, and wakes it.
    fn settle(&mut self) {
        self.desk.settle();
        self.bell.ring();
    }

    /// Waits until the desk has what is looked for.
    fn wait<T>(
        &mut self,
        mut look: impl FnMut(&mut Desk<SocketHandle>) -> Option<T>,
    ) -> Result<T, SwitchError> {
        let begun = Instant::now();
        loop {
            self.settle();
            if let Some(found) = look(&mut self.desk) {
                return Ok(found);
            }
            let waited = begun.elapsed();
            if waited > ANSWER_WAIT {
                let waited_ms = waited.as_millis();
                return Err(SwitchError::Silent { worker: self.id.0, waited_ms });
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> SwitchError {
    move |source| SwitchError::System { what, source }
}
