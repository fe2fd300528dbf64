//! A simulated node: real workers, tables and connections, over ports in memory and a clock that
//! the test owns.
//!
//! Everything between a manifest and a sent frame is the product's own code; only the sockets
//! ([`MemoryPort`]) and the time are not. After every step the worker's laws are asserted by the
//! worker itself (debug assertions are on in tests).

// A simulated node fails its test by panicking: what it is asked for is there, or the test is wrong.
#![allow(clippy::panic, clippy::missing_panics_doc, clippy::unwrap_used)]
#![allow(clippy::missing_fields_in_debug, clippy::cast_possible_truncation)]

mod fate;
mod kept;
mod objects;
mod publish;
mod shape;
mod switch;
mod wiring;

pub use fate::{Drops, Fate};
pub use shape::{Local, Shape};
pub use switch::{Links, Switch, at_once};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lockgate_control::inventory::Inventory;
use lockgate_control::manifest::read_text;
use lockgate_control::resolve::Resolved;
use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::compiler::Counted;
use lockgate_dataplane::connection::{Bounds, Settings, Timeouts};
use lockgate_dataplane::counters::{Counters, DropReason};
use lockgate_dataplane::doorbell::Doorbell;
use lockgate_dataplane::event::{Events, Sample, events};
use lockgate_dataplane::handoff;
use lockgate_dataplane::ids::{Generation, Mac, PortId, PortRef, WorkerId};
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_dataplane::port::memory::{FarEnd, HeapMemory, MemoryPort, Refused};
use lockgate_dataplane::publish::Publisher;
use lockgate_dataplane::worker::mailbox::{Mailbox, PortKind};
use lockgate_dataplane::worker::{Parts, Worker};

use crate::agent::Agent;
use crate::packets::Ends;
use kept::{Keep, tables};

/// Turns after which a world that still moves packets is taken to be in a loop.
const TURNS_MAX: usize = 10_000;

/// The MAC of the host port's far end.
pub const HOST_MAC: Mac = Mac([0x02, 0, 0, 0, 0xff, 0xfe]);

/// The name that stands for the host port's far end, where pods have `namespace/name`.
pub const HOST: &str = "host";

struct Seat {
    worker: Worker<MemoryPort, HeapMemory>,
    mailbox: Arc<Mailbox<MemoryPort>>,
    counters: Arc<Counters>,
    events: Arc<Events>,
    slots: Vec<bool>,
}

/// One end of a wire to the switch.
struct Wire {
    port: PortId,
    mac: Mac,
    /// One queue for a pod; one per worker for the host port.
    ends: Vec<(PortRef, FarEnd)>,
}

/// A simulated node.
pub struct World {
    shape: Shape,
    seats: Vec<Seat>,
    publisher: Publisher,
    agent: Agent,
    files: BTreeMap<String, String>,
    wires: BTreeMap<String, Wire>,
    resolved: Option<Resolved>,
    next_port: u32,
    queues: usize,
    keep: Option<Keep>,
    epoch: u64,
    now: Tick,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("shape", &self.shape).field("now", &self.now).finish()
    }
}

impl World {
    /// A node without pods; its host port is there.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self::made(shape, None)
    }

    fn made(shape: Shape, keep: Option<Keep>) -> Self {
        let count = usize::from(shape.workers);
        let (publisher, subscribers) = Publisher::new(count);
        let bells: Vec<_> = (0..count).map(|_| Arc::new(Doorbell::silent())).collect();
        let ends = handoff::connect(&bells);
        let mut seats = Vec::new();
        for ((id, subscriber), ends) in (0..shape.workers).zip(subscribers).zip(ends) {
            let (memory, pool) = HeapMemory::new(shape.frames);
            let mailbox = Arc::new(Mailbox::default());
            let counters = Arc::new(Counters::default());
            let samples = Arc::new(events());
            let settings = Settings {
                capacity: shape.connections,
                bounds: Bounds::of(u32::try_from(shape.connections).unwrap_or(u32::MAX)),
                seed: [1, 2],
                timeouts: Timeouts::default(),
            };
            let (connections, translations) = tables(keep.as_ref(), WorkerId(id), &settings);
            let worker = Worker::new(Parts {
                id: WorkerId(id),
                memory,
                pool,
                ends,
                connections,
                translations,
                subscriber,
                mailbox: Arc::clone(&mailbox),
                counters: Arc::clone(&counters),
                events: Arc::clone(&samples),
                established: shape.established,
                denial: shape.denial,
            });
            seats.push(Seat { worker, mailbox, counters, events: samples, slots: vec![false; 64] });
        }
        let mut world = Self {
            shape,
            seats,
            publisher,
            agent: Agent::counted_by(shape.workers),
            files: BTreeMap::new(),
            wires: BTreeMap::new(),
            resolved: None,
            next_port: 1,
            queues: count,
            keep,
            epoch: 0,
            now: Tick(1_000),
        };
        let all: Vec<usize> = (0..count).collect();
        world.plug(HOST, PortKind::Host, HOST_MAC, &all);
        world
    }

    /// A node with the objects of one file in force.
    #[must_use]
    pub fn of(shape: Shape, yaml: &str) -> Self {
        let mut world = Self::new(shape);
        world.set_file("cluster.yaml", yaml);
        world
    }

    /// Writes a file of the manifest directory and puts the change in force.
    ///
    /// # Panics
    /// When the text is not YAML.
    pub fn set_file(&mut self, name: &str, yaml: &str) {
        let objects = read_text(name, yaml).unwrap_or_else(|problem| panic!("{problem}"));
        let _ = self.agent.inventory.set_file(name, objects);
        self.files.insert(name.to_owned(), yaml.to_owned());
        self.publish();
    }

    /// Deletes a file of the manifest directory and puts the change in force.
    pub fn remove_file(&mut self, name: &str) {
        let _ = self.agent.inventory.remove_file(name);
        self.files.remove(name);
        self.publish();
    }

    /// What the objects in force were resolved to.
    #[must_use]
    pub fn resolved(&self) -> Option<&Resolved> {
        self.resolved.as_ref()
    }

    /// The objects in force.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.agent.inventory
    }

    /// Lets time pass, turning each worker once for every step of the wheel.
    pub fn advance_ms(&mut self, ms: u64) {
        let end = self.now.after_ms(ms);
        while self.now < end {
            self.now = Tick(end.0.min(self.now.0 + 250));
            self.turn();
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.now
    }

    /// Lets time pass without a turn.
    pub fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
    }

    /// The MAC of a pod, or of the host port's far end.
    #[must_use]
    pub fn mac(&self, name: &str) -> Mac {
        self.wire(name).mac
    }

    /// Puts a frame on a pod's wire, or on queue 0 of the host port.
    ///
    /// # Errors
    /// As the kernel: when the port has nothing to receive into, or the frame is too long.
    pub fn inject(&mut self, from: &str, frame: &[u8]) -> Result<(), Refused> {
        self.inject_at(from, 0, frame)
    }

    /// The same on another queue of the host port: that of this worker.
    ///
    /// # Errors
    /// As [`World::inject`].
    pub fn inject_at(&mut self, from: &str, queue: u8, frame: &[u8]) -> Result<(), Refused> {
        let wire = self.wires.get_mut(from).unwrap_or_else(|| panic!("no wire {from}"));
        let queue = wire.ends.get_mut(usize::from(queue));
        let (at, end) = queue.unwrap_or_else(|| panic!("no queue of {from}"));
        let seat = &mut self.seats[at.worker.index()];
        end.inject(seat.worker.memory_mut(), frame)
    }

    /// Turns every worker until nothing moves.
    ///
    /// # Panics
    /// When packets go round for ever.
    pub fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            if self.turn() == 0 {
                return;
            }
        }
        panic!("packets still move after {TURNS_MAX} turns");
    }

    /// Turns every worker once, in order; how many packets moved.
    pub fn turn(&mut self) -> usize {
        let now = self.now;
        self.seats.iter_mut().map(|seat| seat.worker.turn(now)).sum()
    }

    /// Turns one worker once: tests choose the interleaving.
    pub fn turn_one(&mut self, worker: u8) -> usize {
        let now = self.now;
        self.seats[usize::from(worker)].worker.turn(now)
    }

    /// Takes everything that was sent to a pod, or to the host.
    pub fn received(&mut self, name: &str) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let wire = self.wires.get_mut(name).unwrap_or_else(|| panic!("no wire {name}"));
        for (at, end) in &mut wire.ends {
            let memory = self.seats[at.worker.index()].worker.memory_mut();
            while let Some(frame) = end.take(memory) {
                frames.push(frame);
            }
        }
        frames
    }

    /// Sends one frame, lets it settle, and says what became of it.
    pub fn fate(&mut self, from: &str, to: &str, frame: &[u8]) -> Fate {
        self.fate_after(from, to, frame, |_| ())
    }

    /// The same, with something that happens while the packet is on its way.
    pub fn fate_after(
        &mut self,
        from: &str,
        to: &str,
        frame: &[u8],
        meanwhile: impl FnOnce(&mut Self),
    ) -> Fate {
        let before = self.drops();
        if self.inject(from, frame).is_err() {
            return Fate::Refused;
        }
        meanwhile(self);
        self.settle();
        self.fate_since(&before, to)
    }

    /// Drops for one reason, by all workers together.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.seats.iter().map(|seat| seat.counters.dropped(reason).load()).sum()
    }

    /// Drops by reason.
    #[must_use]
    pub fn drops(&self) -> Drops {
        std::array::from_fn(|at| self.dropped(DropReason::ALL[at]))
    }

    /// The sum of one cell over all workers.
    pub fn total(&self, cell: impl Fn(&Counters) -> u64) -> u64 {
        self.seats.iter().map(|seat| cell(&seat.counters)).sum()
    }

    /// Connections of all workers.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seats.iter().map(|seat| seat.worker.connections().len()).sum()
    }

    /// What all workers remember of connections to Services.
    #[must_use]
    pub fn translations(&self) -> usize {
        self.seats.iter().map(|seat| seat.worker.translations().len()).sum()
    }

    /// The samples of packets since the last call.
    pub fn samples(&mut self) -> Vec<Sample> {
        self.seats.iter().flat_map(|s| std::iter::from_fn(|| s.events.pop())).collect()
    }

    /// What workers have counted for policies since the last call.
    pub fn counted(&mut self) -> Vec<Counted> {
        self.agent.take_counted()
    }

    /// Names of all wires: pods and `host`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.wires.keys().cloned().collect()
    }

    /// The port at the switch's end of a wire, if there is such a wire.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<PortId> {
        self.wires.get(name).map(|wire| wire.port)
    }

    /// The newest snapshot; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> Generation {
        self.publisher.newest().map_or(Generation(0), |snapshot| snapshot.generation)
    }

    /// The newest snapshot that every worker uses; 0 before the first.
    #[must_use]
    pub fn in_force(&self) -> Generation {
        self.publisher.in_force()
    }

    /// The first address of a family that a pod has.
    #[must_use]
    pub fn address(&self, pod: &str, v6: bool) -> Option<IpAddr> {
        let resolved = self.resolved.as_ref()?;
        let view = resolved.pods.iter().find(|p| format!("{}/{}", p.namespace, p.name) == pod)?;
        view.addresses.iter().copied().find(|address| address.is_ipv6() == v6)
    }

    /// The ends of a packet between two wires; `host` has the address given.
    ///
    /// # Panics
    /// When a pod has no address of the family.
    #[must_use]
    pub fn ends(&self, from: &str, to: &str, outside: IpAddr) -> Ends {
        let v6 = outside.is_ipv6();
        let address = |name: &str| match name {
            HOST => outside,
            pod => self.address(pod, v6).unwrap_or_else(|| panic!("{pod} has no address")),
        };
        Ends {
            source_mac: self.mac(from),
            target_mac: GATEWAY_MAC,
            source: address(from),
            target: address(to),
        }
    }

    /// The worker that polls a pod's port.
    #[must_use]
    pub fn worker_of(&self, name: &str) -> WorkerId {
        self.wire(name).ends[0].0.worker
    }

    fn wire(&self, name: &str) -> &Wire {
        self.wires.get(name).unwrap_or_else(|| panic!("no wire {name}"))
    }
}
