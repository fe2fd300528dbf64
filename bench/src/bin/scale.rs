//! What a change costs in a large cluster, from the inventory to the snapshot that is published,
//! and what compiling all of it costs.
//!
//! Time is the thread's time on a core, but where it says otherwise. `scale events`,
//! `scale large` and `scale decide` run one part.

use std::collections::VecDeque;
use std::env;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lockgate_control::inventory::{Change, Effect, Inventory};
use lockgate_control::manifest::Object;
use lockgate_control::resolver::Resolver;
use lockgate_dataplane::compiler::Compiler;
use lockgate_dataplane::endpoint::{Attachment, Topology};
use lockgate_dataplane::ids::{Epoch, Mac, PortId, PortRef, PortSlot, WorkerId};
use lockgate_dataplane::packet::{Address, Protocol};
use lockgate_dataplane::policy::{PolicySetId, Query};
use lockgate_dataplane::publish::{Publisher, Subscriber};
use lockgate_tests::cluster::{Size, large_policy, namespace};
use nix::time::ClockId;

/// Events of each kind.
const EVENTS: u32 = 300;

const MIDDLE: Size = Size { pods: 10_000, policies: 1_000, namespaces: 50, dual: false };
const DUAL: Size = Size { dual: true, ..MIDDLE };
const LARGE: Size = Size { pods: 100_000, policies: 75_000, namespaces: 25_000, dual: false };
/// Few namespaces, so few policy sets: what the memory of tables is measured at.
const WIDE: Size = Size { pods: 100_000, policies: 2_000, namespaces: 200, dual: false };

/// Measures something; gives the table.
type Part = fn() -> Result<String, Box<dyn Error>>;

#[allow(clippy::print_stdout)] // its only output
fn main() -> ExitCode {
    let only = env::args().nth(1);
    let parts: [(&str, Part); 3] = [("events", events), ("large", large), ("decide", decide)];
    for (name, part) in parts {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        match part() {
            Ok(table) => println!("{table}"),
            Err(error) => {
                eprintln!("scale {name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// A node's agent without its edges: objects in, snapshots out.
struct Agent {
    inventory: Inventory,
    resolver: Resolver,
    compiler: Compiler,
    topology: Topology,
    publisher: Publisher,
    epoch: u64,
}

impl Agent {
    fn new(size: Size) -> (Self, Subscriber) {
        let (publisher, mut subscribers) = Publisher::new(1);
        let mut inventory = Inventory::new();
        for object in size.objects() {
            let _: Effect = inventory.apply(Change::Set(object));
        }
        let (resolver, compiler) = (Resolver::default(), Compiler::counted_by(1));
        let topology = Topology::default();
        let agent = Self { inventory, resolver, compiler, topology, publisher, epoch: 0 };
        (agent, subscribers.remove(0))
    }

    fn publish(&mut self) {
        let changes = self.inventory.take_changes();
        let delta = self.resolver.apply(&self.inventory, &changes);
        let tables = self.compiler.apply(&delta, &self.topology);
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
        let local = self.resolver.local().iter().map(|pod| pod.endpoint);
        self.topology.attachments = (0..).zip(local).map(attachment).collect();
        self.topology.node_addresses = self.resolver.node_addresses().to_vec();
    }

    /// What an event costs, published and the snapshot before it freed.
    fn event(&mut self, change: Change, worker: &mut Subscriber) -> f64 {
        let begun = cpu_ms();
        let _: Effect = self.inventory.apply(change);
        self.publish();
        worker.refresh();
        self.publisher.retire();
        cpu_ms() - begun
    }

    fn bytes(&self) -> usize {
        let newest = self.publisher.newest();
        newest.map_or(0, |one| one.policy.memory_bytes() + one.endpoints.memory_bytes())
    }
}

/// Events in the middle cluster, in the dual one, and in the large one.
fn events() -> Result<String, Box<dyn Error>> {
    let mut rows = vec![
        "| cluster | event | ms, median | 90 % | most | built anew |\n|---|---|---|---|---|---|"
            .to_owned(),
    ];
    for (name, size) in
        [("10k/1k/50", MIDDLE), ("the same, dual stack", DUAL), ("100k/75k/25k", LARGE)]
    {
        let (mut agent, mut worker) = Agent::new(size);
        agent.publish();
        agent.attach();
        agent.publish();
        worker.refresh();
        for (event, changes) in kinds(size) {
            let before = agent.compiler.rebuilds();
            let mut times: Vec<f64> =
                changes.into_iter().map(|change| agent.event(change, &mut worker)).collect();
            let rebuilt = agent.compiler.rebuilds() - before;
            rows.push(format!("| {name} | {event} | {} | {rebuilt} |", spread(&mut times)));
        }
        if size.pods == MIDDLE.pods && !size.dual {
            rows.push(format!(
                "| {name} | churn, share of a core | {} | |",
                churn(&mut agent, &mut worker)
            ));
            rows.push(format!(
                "| {name} | event to the worker, wall clock | {} | |",
                reached(agent, worker)?
            ));
        }
    }
    Ok(rows.join("\n"))
}

/// Changes by kind.
fn kinds(size: Size) -> Vec<(&'static str, Vec<Change>)> {
    let new = |number: u32| size.pods + number;
    let set = |object: Object| Change::Set(object);
    let moved = |number: u32| size.pod_of(number * 7, &format!("a{}", number % 3));
    let policies = |rules: u32, count: u32| {
        (0..count)
            .map(|one| set(large_policy(rules, u16::try_from(one % 50).unwrap_or(0))))
            .collect()
    };
    let spaces = (0..EVENTS / 10).map(|one| namespace(10 + one % 20)).map(|object| match object {
        Object::Namespace(mut namespace) => {
            namespace.labels.insert("team".to_owned(), "t3".to_owned());
            set(Object::Namespace(namespace))
        }
        other => set(other),
    });
    vec![
        ("a pod like others comes", (0..EVENTS).map(|one| set(size.pod(new(one)))).collect()),
        (
            "it goes",
            (0..EVENTS)
                .map(|one| Change::Remove(size.pod(new(one)).metadata().key.clone()))
                .collect(),
        ),
        ("a pod is relabelled", (0..EVENTS).map(|one| set(moved(one))).collect()),
        (
            "a pod unlike any other comes",
            (0..EVENTS)
                .map(|one| set(size.pod_of(new(one + EVENTS), &format!("a{}", 1000 + one))))
                .collect(),
        ),
        ("a policy with 10 rules changes", policies(10, EVENTS)),
        ("a policy with 1000 rules changes", policies(1000, 30)),
        ("a namespace is relabelled", spaces.collect()),
    ]
}

/// What a second costs in which a hundred pods come and go, of those there are.
fn churn(agent: &mut Agent, worker: &mut Subscriber) -> String {
    let second = |second: u32| {
        let pods = (0..100).map(|one| MIDDLE.pod(second * 100 + one));
        let changes =
            pods.flat_map(|pod| [Change::Remove(pod.metadata().key.clone()), Change::Set(pod)]);
        changes.collect::<Vec<_>>()
    };
    let mut shares: Vec<f64> = (0..50)
        .map(|at| second(at).into_iter().map(|one| agent.event(one, worker)).sum::<f64>() / 1e3)
        .collect();
    spread(&mut shares)
}

/// From an event to a worker that looks all the time.
fn reached(mut agent: Agent, mut worker: Subscriber) -> Result<String, Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let looking = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            worker.refresh();
            thread::sleep(Duration::from_micros(50));
        }
    });
    let mut times = Vec::new();
    for number in 0..EVENTS {
        let begun = Instant::now();
        let _: Effect = agent.inventory.apply(Change::Set(MIDDLE.pod(MIDDLE.pods + number)));
        agent.publish();
        let published = agent.publisher.newest().map(|one| one.generation);
        while published > Some(agent.publisher.in_force()) {
            std::hint::spin_loop();
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        thread::sleep(Duration::from_millis(1));
    }
    stop.store(true, Ordering::Relaxed);
    looking.join().map_err(|_| "the worker panicked")?;
    Ok(spread(&mut times))
}

/// Everything at once, and what it leaves.
fn large() -> Result<String, Box<dyn Error>> {
    let mut rows = vec![
        "| cluster | resolve, ms | compile, ms | peak, MB | tables, MB | policy sets |\n|---|---|---|---|---|---|"
            .to_owned(),
    ];
    for (name, size) in [("10k/1k/50", MIDDLE), ("100k/2k/200", WIDE), ("100k/75k/25k", LARGE)] {
        let (mut agent, _worker) = Agent::new(size);
        let before = resident_mb("VmRSS:")?;
        fs::write("/proc/self/clear_refs", "5")?;
        let begun = cpu_ms();
        let changes = agent.inventory.take_changes();
        let delta = agent.resolver.apply(&agent.inventory, &changes);
        let resolved = cpu_ms();
        let tables = agent.compiler.apply(&delta, &agent.topology);
        let compiled = cpu_ms();
        let peak = resident_mb("VmHWM:")? - before;
        let sets = tables.policy.policy_sets();
        agent.publisher.publish(Epoch(1), tables.policy, tables.endpoints);
        rows.push(format!(
            "| {name} | {:.0} | {:.0} | {peak:.0} | {:.1} | {sets} |",
            resolved - begun,
            compiled - resolved,
            megabytes(agent.bytes()),
        ));
    }
    Ok(rows.join("\n"))
}

/// What a question costs whose row has few rules or many.
fn decide() -> Result<String, Box<dyn Error>> {
    let mut rows =
        vec!["| rules of the row | ns, median | 90 % | most |\n|---|---|---|---|".to_owned()];
    for rules in [1, 10_000] {
        let (mut agent, _worker) =
            Agent::new(Size { pods: 1000, policies: 50, namespaces: 50, dual: false });
        let _: Effect = agent.inventory.apply(Change::Set(large_policy(rules, 0)));
        agent.publish();
        agent.attach();
        agent.publish();
        let snapshot = agent.publisher.newest().ok_or("nothing is published")?;
        let pods = agent.resolver.local().iter().map(|pod| Address::from(pod.addresses[0]));
        let places: VecDeque<_> = pods.map(|address| snapshot.endpoints.place(address)).collect();
        let ingress =
            places.iter().map(|place| place.sets.ingress).find(|set| *set != PolicySetId::NONE);
        let ingress = ingress.ok_or("no pod is isolated")?;
        let queries: Vec<Query> = places
            .iter()
            .zip((1000..1064).cycle())
            .map(|(place, port)| Query {
                egress: PolicySetId::NONE,
                target_class: place.class,
                ingress,
                source_class: place.class,
                protocol: Protocol::Tcp,
                port,
            })
            .collect();
        let asked = f64::from(u32::try_from(queries.len() * 100)?);
        let mut times: Vec<f64> = (0..200)
            .map(|_| {
                let begun = Instant::now();
                for _ in 0..100 {
                    for query in &queries {
                        black_box(snapshot.policy.decide(black_box(query)));
                    }
                }
                begun.elapsed().as_secs_f64() * 1e9 / asked
            })
            .collect();
        rows.push(format!("| {rules} | {} |", spread(&mut times)));
    }
    Ok(rows.join("\n"))
}

fn spread(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    format!("{:.3} | {:.3} | {:.3}", at(50), at(90), at(100))
}

/// Milliseconds that this thread has been on a core.
fn cpu_ms() -> f64 {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from);
    time.unwrap_or_default().as_secs_f64() * 1e3
}

fn resident_mb(line: &str) -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let found = status.lines().find_map(|one| one.strip_prefix(line)).ok_or("no such line")?;
    let kb: f64 = found.trim().trim_end_matches(" kB").parse()?;
    Ok(kb / 1024.0)
}

#[allow(clippy::cast_precision_loss)] // to a tenth
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
