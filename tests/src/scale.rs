//! What a large cluster costs, measured here once: the bench `scale` tells it, the suite holds it
//! to ten times the goals.
//!
//! Times are milliseconds of the calling thread on a core, but where it says otherwise.

// A measurement that cannot be taken is a broken test or bench: it ends with what is missing.
#![allow(clippy::missing_panics_doc, clippy::expect_used)]

use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lockgate_control::inventory::{Change, Effect};
use lockgate_dataplane::endpoint::{Attachment, Topology};
use lockgate_dataplane::ids::{Epoch, Mac, PortId, PortRef, PortSlot, WorkerId};
use lockgate_dataplane::packet::{Address, Protocol};
use lockgate_dataplane::policy::ruleset::Service;
use lockgate_dataplane::policy::{PolicySetId, Query};
use lockgate_dataplane::publish::{Publisher, Snapshot, Subscriber};

use crate::agent::{Agent, cpu_ms};
use crate::cluster::{Size, policy_about};

/// The cluster of most goals.
pub const MIDDLE: Size =
    Size { pods: 10_000, policies: 1_000, namespaces: 50, dual: false, tiered: false };
/// The same, each pod with an address of either family.
pub const DUAL: Size = Size { dual: true, ..MIDDLE };
/// That with half of its policies in tiers.
pub const TIERED: Size = Size { tiered: true, ..DUAL };
/// The largest that there is a goal for.
pub const LARGE: Size = Size { pods: 100_000, policies: 75_000, namespaces: 25_000, ..MIDDLE };
/// That with half of its policies in tiers.
pub const LARGE_TIERED: Size = Size { tiered: true, ..LARGE };
/// Few namespaces, so few policy sets: what the memory of tables is measured at.
pub const WIDE: Size = Size { pods: 100_000, policies: 2_000, namespaces: 200, ..MIDDLE };

/// Pause between two looks of a worker that waits for a snapshot.
const LOOK: Duration = Duration::from_micros(50);

/// A node's agent that publishes: objects in, snapshots out.
#[derive(Debug)]
pub struct Node {
    /// Objects in, tables out.
    pub agent: Agent,
    topology: Topology,
    publisher: Publisher,
    epoch: u64,
}

impl Node {
    /// One that has been told of a cluster and has compiled nothing, and its workers' ends.
    #[must_use]
    pub fn told_of(size: Size, workers: usize) -> (Self, Vec<Subscriber>) {
        let (publisher, subscribers) = Publisher::new(workers);
        let (agent, topology) = (Agent::told_of(size), Topology::default());
        (Self { agent, topology, publisher, epoch: 0 }, subscribers)
    }

    /// One whose snapshot is in force, with the pods of the first node attached.
    #[must_use]
    pub fn running(size: Size, workers: usize) -> (Self, Vec<Subscriber>) {
        let (mut node, mut subscribers) = Self::told_of(size, workers);
        node.publish();
        node.attach();
        node.publish();
        node.settle(&mut subscribers);
        (node, subscribers)
    }

    fn publish(&mut self) {
        let tables = self.agent.apply(&self.topology);
        self.epoch += u64::from(tables.verdicts);
        self.publisher.publish(Epoch(self.epoch), tables.policy, tables.endpoints);
    }

    /// Attaches the pods that are on this node.
    fn attach(&mut self) {
        let attachment = |(slot, endpoint)| {
            let at = PortRef {
                port: PortId(u32::from(slot) + 1),
                worker: WorkerId(0),
                slot: PortSlot(slot),
            };
            Attachment { endpoint, at, mac: Mac::default(), mtu: 1500 }
        };
        let local = self.agent.resolver().local().iter().map(|pod| pod.endpoint);
        self.topology.attachments = (0..).zip(local).map(attachment).collect();
        self.topology.node_addresses = self.agent.resolver().node_addresses().to_vec();
    }

    fn settle(&mut self, workers: &mut [Subscriber]) {
        workers.iter_mut().for_each(Subscriber::refresh);
        self.publisher.retire();
    }

    /// What an event costs, published and the snapshot before it freed.
    pub fn event(&mut self, change: Change, workers: &mut [Subscriber]) -> f64 {
        let begun = cpu_ms();
        let _: Effect = self.agent.inventory.apply(change);
        self.publish();
        self.settle(workers);
        cpu_ms() - begun
    }

    /// What a second costs in which a hundred pods of a middle cluster come and go: the share of a
    /// core, for so many seconds.
    pub fn churn(&mut self, workers: &mut [Subscriber], seconds: u32) -> Vec<f64> {
        let second = |second: u32| {
            let pods = (0..100).map(|one| MIDDLE.pod(second * 100 + one));
            let changes =
                pods.flat_map(|pod| [Change::Remove(pod.metadata().key.clone()), Change::Set(pod)]);
            changes.collect::<Vec<_>>()
        };
        let share =
            |at: u32| second(at).into_iter().map(|one| self.event(one, workers)).sum::<f64>() / 1e3;
        (0..seconds).map(share).collect()
    }

    /// From each event to the last of the workers, which look all the time: milliseconds by the
    /// clock.
    pub fn reached(&mut self, workers: Vec<Subscriber>, changes: Vec<Change>) -> Vec<f64> {
        let stop = AtomicBool::new(false);
        let look = |mut worker: Subscriber| {
            while !stop.load(Ordering::Relaxed) {
                worker.refresh();
                thread::sleep(LOOK);
            }
        };
        thread::scope(|scope| {
            for worker in workers {
                scope.spawn(move || look(worker));
            }
            let times = changes.into_iter().map(|change| self.reach(change)).collect();
            stop.store(true, Ordering::Relaxed);
            times
        })
    }

    fn reach(&mut self, change: Change) -> f64 {
        let begun = Instant::now();
        let _: Effect = self.agent.inventory.apply(change);
        self.publish();
        let published = self.publisher.newest().map(|one| one.generation);
        while published > Some(self.publisher.in_force()) {
            thread::yield_now();
        }
        let took = begun.elapsed().as_secs_f64() * 1e3;
        thread::sleep(Duration::from_millis(1));
        took
    }
}

/// What compiling everything at once costs, and what it leaves.
#[derive(Clone, Copy, Debug)]
pub struct Everything {
    /// From objects to the change of a ruleset.
    pub resolve_ms: f64,
    /// From there to tables.
    pub compile_ms: f64,
    /// What the process grew by at most, in megabytes. Measure this and the next in a process of
    /// its own: memory that was freed before is taken first.
    pub grown_mb: f64,
    /// All that was resident then, the objects included.
    pub peak_mb: f64,
    /// The tables, in megabytes.
    pub tables_mb: f64,
    /// Distinct policy sets in them.
    pub policy_sets: usize,
}

impl Everything {
    /// Compiles a cluster from nothing.
    #[must_use]
    pub fn of(size: Size) -> Self {
        let mut agent = Agent::told_of(size);
        let before = resident_mb("VmRSS:");
        fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
        let begun = cpu_ms();
        let delta = agent.resolve();
        let resolved = cpu_ms();
        let tables = agent.compile(delta, &Topology::default());
        let (compiled, peak_mb) = (cpu_ms(), resident_mb("VmHWM:"));
        Self {
            resolve_ms: resolved - begun,
            compile_ms: compiled - resolved,
            grown_mb: peak_mb - before,
            peak_mb,
            tables_mb: megabytes(tables.policy.memory_bytes() + tables.endpoints.memory_bytes()),
            policy_sets: tables.policy.policy_sets(),
        }
    }
}

/// What a question costs to a row of so many rules, each with a port of its own, about the pods
/// of so many applications: nanoseconds by the clock, of 200 tries.
#[must_use]
pub fn decide_ns(rules: u32, applications: u32) -> Vec<f64> {
    let size = Size { pods: 1000, policies: 50, namespaces: 50, dual: false, tiered: false };
    let applications = applications.min(size.applications());
    let (mut node, mut workers) = Node::running(size, 1);
    node.event(Change::Set(policy_about(applications, rules, 0)), &mut workers);
    let snapshot = node.publisher.newest().expect("published");
    let queries = queries(&node, snapshot);
    let ask = || {
        let begun = Instant::now();
        for _ in 0..100 {
            for query in &queries {
                black_box(snapshot.policy.decide(black_box(query)));
            }
        }
        let asked = f64::from(u32::try_from(queries.len() * 100).expect("a thousand pods"));
        begun.elapsed().as_secs_f64() * 1e9 / asked
    };
    (0..200).map(|_| ask()).collect()
}

/// A question for each pod of the node, to the row of the one that is isolated.
fn queries(node: &Node, snapshot: &Snapshot) -> Vec<Query> {
    let pods = node.agent.resolver().local().iter();
    let places: Vec<_> =
        pods.map(|pod| snapshot.endpoints.place(Address::from(pod.addresses[0]))).collect();
    let mut sets = places.iter().map(|place| place.sets.ingress);
    let ingress = sets.find(|set| *set != PolicySetId::NONE).expect("a pod is isolated");
    let query = |(place, port): (&lockgate_dataplane::endpoint::Place, u16)| Query {
        egress: PolicySetId::NONE,
        target_class: place.class,
        ingress,
        source_class: place.class,
        service: Service::to(Protocol::Tcp, port),
    };
    places.iter().zip((1000..1064).cycle()).map(query).collect()
}

/// The time that so many per cent did not exceed; sorts them.
pub fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() - 1) * percent / 100]
}

fn resident_mb(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let found = status.lines().find_map(|one| one.strip_prefix(line)).expect("Linux tells it");
    let kb: f64 = found.trim().trim_end_matches(" kB").parse().expect("a number");
    kb / 1024.0
}

#[allow(clippy::cast_precision_loss)] // to a tenth
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
