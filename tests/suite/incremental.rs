//! Incremental equals full: after every event of random streams the kept resolver and compiler
//! say what `resolve`, `compile` and `Endpoints::build` say from nothing, and for the same causes.
//!
//! `seeds` tells how to repeat one stream or to run more. A failing stream is made small before it
//! is told.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use lockgate_control::inventory::{Change, Inventory};
use lockgate_control::manifest::{FileObjects, Object, ObjectKey, read_text};
use lockgate_control::resolve::{Resolved, resolve};
use lockgate_control::resolver::Resolver;
use lockgate_dataplane::compiler::{Compiler, Tables};
use lockgate_dataplane::endpoint::{Attachment, Endpoints, HostPort, Kind, Local, Place, Topology};
use lockgate_dataplane::ids::{Mac, PortId, PortRef, PortSlot, WorkerId};
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::compile::compile;
use lockgate_dataplane::policy::ruleset::Cause;
use lockgate_dataplane::policy::{PolicySetId, PolicyTable, Query, VerdictId};
use lockgate_tests::worlds::{Choices, World};
use serde_json::{Value, json};

use crate::seeds::Seeds;

/// Streams run by default, and the events of each.
const STREAMS: u64 = 250;
const EVENTS: usize = 90;

/// What happens.
#[derive(Clone, Debug)]
enum Event {
    Set(Box<Object>),
    Remove(ObjectKey),
    SetFile(&'static str, Vec<Object>),
    RemoveFile(&'static str),
    /// Everything is built anew.
    Rebuild,
    /// Nothing of the rules: somebody moves to another slot.
    Move,
}

const FILES: [&str; 3] = ["a.yaml", "b.yaml", "c.yaml"];

/// Addresses beside those that objects name.
const OUTSIDE: [&str; 9] = [
    "203.0.113.7",
    "192.168.0.1",
    "192.168.0.2",
    "10.0.0.14",
    "2001:db8::9",
    "fd01::1",
    "fd01::2",
    "10.0.0.1",
    "fd00::2",
];

/// What made-up objects name: where verdicts can change.
#[derive(Debug, Default)]
struct Edges {
    addresses: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
}

/// Objects of several made-up worlds: few names, so that one is often another's next version.
struct Pool {
    objects: Vec<Object>,
    edges: Edges,
}

impl Pool {
    fn new(choices: &mut Choices) -> Self {
        let mut objects = Vec::new();
        let mut edges = Edges::default();
        edges.addresses.extend(OUTSIDE.iter().map(|text| text.parse::<IpAddr>().unwrap()));
        edges.ports.extend([0, 65535]);
        for number in 0..8 {
            let mut world =
                if number % 3 == 2 { World::broken(choices) } else { World::sound(choices) };
            for object in &mut world.objects {
                vary(object, choices);
                collect(object, &mut edges);
            }
            objects.extend(read_text("", &world.to_text()).unwrap().objects);
        }
        // Where several are near, one is enough.
        let ports: Vec<u16> = edges.ports.iter().copied().collect();
        edges.ports = ports.into_iter().take(24).chain([65535]).collect();
        let addresses: Vec<IpAddr> = edges.addresses.iter().copied().collect();
        let all = addresses.len();
        edges.addresses = addresses.into_iter().step_by(all.div_ceil(60)).collect();
        edges.addresses.extend(OUTSIDE.iter().map(|text| text.parse::<IpAddr>().unwrap()));
        Self { objects, edges }
    }

    fn event(&self, choices: &mut Choices) -> Event {
        let object = |choices: &mut Choices| choices.pick(&self.objects);
        match choices.below(20) {
            11..=14 => Event::Remove(object(choices).metadata().key.clone()),
            15 => {
                let count = choices.below(6);
                let objects = (0..count).map(|_| object(choices)).collect();
                Event::SetFile(choices.pick(&FILES), objects)
            }
            16 => Event::RemoveFile(choices.pick(&FILES)),
            17 => Event::Move,
            18 if choices.chance(30) => Event::Rebuild,
            _ => Event::Set(Box::new(object(choices))),
        }
    }
}

/// Pods with interfaces, with others' addresses, and born anew under an old name; namespaces that
/// are going.
fn vary(object: &mut Value, choices: &mut Choices) {
    if object["kind"] == "Namespace" && choices.chance(30) {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    if object["kind"] != "Pod" {
        return;
    }
    if choices.chance(60) {
        let interface = format!("lg{}", choices.below(6));
        object["metadata"]["annotations"] = json!({ "lockgate.dev/interface": interface });
    }
    if choices.chance(30) {
        object["metadata"]["uid"] = json!(format!("u{}", choices.below(3)));
    }
    if choices.chance(25) {
        let number = 1 + choices.below(6);
        let ips =
            json!([{ "ip": format!("10.0.0.{number}") }, { "ip": format!("fd00::{number}") }]);
        object["status"]["podIPs"] = ips;
        object["status"]["podIP"] = json!(format!("10.0.0.{number}"));
    }
    if choices.chance(3) {
        object["metadata"]["labels"] = json!("unreadable");
    }
}

fn collect(node: &Value, edges: &mut Edges) {
    match node {
        Value::String(text) => {
            edges.addresses.extend(text.parse::<IpAddr>());
            if let Some(cidr) = lockgate_tests::oracle::Cidr::read(text) {
                edges.addresses.extend(cidr.boundaries());
            }
        }
        Value::Number(number) => {
            let near = number.as_u64().into_iter().flat_map(|n| [n.saturating_sub(1), n, n + 1]);
            edges.ports.extend(near.filter_map(|n| u16::try_from(n).ok()));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, edges)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, edges)),
        _ => {}
    }
}

/// Both ways side by side.
struct Twins {
    inventory: Inventory,
    resolver: Resolver,
    compiler: Compiler,
    tables: Option<Tables>,
    /// Who moved last: counted into the places of ports.
    moves: u16,
}

impl Twins {
    fn new() -> Self {
        Self {
            inventory: Inventory::new(),
            resolver: Resolver::default(),
            compiler: Compiler::default(),
            tables: None,
            moves: 0,
        }
    }

    /// Lets events happen together; what differs afterwards.
    fn step(&mut self, events: &[Event], edges: &Edges) -> Option<String> {
        for event in events {
            self.happen(event);
        }
        let changes = self.inventory.take_changes();
        let delta = self.resolver.apply(&self.inventory, &changes);
        let full = resolve(&self.inventory);
        if let Some(what) = self.misplaced(&full) {
            return Some(what);
        }
        let topology = topology(&full, self.moves);
        let mut kept = self.compiler.apply(&delta, &topology);
        if events.iter().any(|event| matches!(event, Event::Rebuild)) {
            let verdicts = kept.verdicts;
            kept = Tables { verdicts, ..self.compiler.rebuild() };
        }
        let compiled = compile(&full.ruleset);
        let endpoints = Endpoints::build(&full.ruleset, &compiled, &topology);
        let fresh = Tables { policy: compiled.table, endpoints, verdicts: true, rebuilt: None };
        let differing = difference(&kept, &fresh, &topology, edges, false);
        if let Some(what) = differing {
            return Some(what);
        }
        if let Some(before) = self.tables.as_ref().filter(|_| !kept.verdicts)
            && let Some(what) = difference(before, &kept, &topology, edges, true)
        {
            return Some(format!("the epoch stays, but {what}"));
        }
        self.tables = Some(kept);
        None
    }

    fn happen(&mut self, event: &Event) {
        let inventory = &mut self.inventory;
        let _effect = match event {
            Event::Set(object) => inventory.apply(Change::Set((**object).clone())),
            Event::Remove(key) => inventory.apply(Change::Remove(key.clone())),
            Event::SetFile(name, objects) => {
                let mut objects = objects.clone();
                for (index, object) in (0..).zip(&mut objects) {
                    let metadata = match object {
                        Object::Pod(pod) => &mut pod.metadata,
                        Object::Namespace(namespace) => &mut namespace.metadata,
                        Object::Policy(policy) => &mut policy.metadata,
                    };
                    metadata.origin.file = (*name).into();
                    metadata.origin.index = index;
                }
                inventory.set_file(name, FileObjects { objects, ..FileObjects::default() })
            }
            Event::RemoveFile(name) => inventory.remove_file(name),
            Event::Move => {
                self.moves = (self.moves + 1) % 5;
                return;
            }
            Event::Rebuild => return,
        };
    }

    /// What the resolver tells of this node otherwise.
    fn misplaced(&self, full: &Resolved) -> Option<String> {
        let told: Vec<_> =
            self.resolver.local().iter().filter(|pod| pod.interface.is_some()).collect();
        let wanted: Vec<_> = full.pods.iter().filter(|pod| pod.interface.is_some()).collect();
        if told != wanted {
            return Some(format!("local pods\n  kept {told:?}\n  full {wanted:?}"));
        }
        let (told, wanted) = (self.resolver.node_addresses(), &full.node_addresses);
        (told != wanted).then(|| format!("node addresses\n  kept {told:?}\n  full {wanted:?}"))
    }
}

/// Most pods, in slots that follow from their names and from how often somebody moved.
fn topology(full: &Resolved, moves: u16) -> Topology {
    let slot = |text: &str| {
        text.bytes().fold(0u16, |sum, byte| sum.wrapping_mul(31) ^ u16::from(byte)) % 8191
    };
    let mut taken = HashSet::new();
    let attachments = full.pods.iter().filter_map(|pod| {
        let at = slot(&format!("{}/{}", pod.namespace, pod.name));
        let mine = (at + if at % 3 == 0 { moves } else { 0 }) % 64;
        if at % 7 == 0 || !taken.insert(mine) {
            return None;
        }
        let port = PortId(u32::from(mine) + 1);
        let at = PortRef { port, worker: WorkerId(u8::from(mine % 2 == 0)), slot: PortSlot(mine) };
        Some(Attachment { endpoint: pod.endpoint, at, mac: Mac::default(), mtu: 1500 + moves })
    });
    let attachments = attachments.collect();
    let slots = vec![PortSlot(200), PortSlot(201)];
    let host = HostPort { port: PortId(0), slots, mac: Mac::default(), mtu: 1500 };
    let node_addresses = full.node_addresses.clone();
    Topology { attachments, host: (moves != 2).then_some(host), node_addresses }
}

/// Where two snapshots judge or route otherwise. With `by_verdict`, causes and places may differ:
/// what connections remember is whether they were allowed.
fn difference(
    one: &Tables,
    other: &Tables,
    topology: &Topology,
    edges: &Edges,
    by_verdict: bool,
) -> Option<String> {
    let mut judge = Judge::new(one, other, edges, by_verdict);
    let locals: Vec<_> = topology.attachments.iter().map(|at| at.at).collect();
    let own = other.endpoints.locals().flat_map(Local::addresses).map(IpAddr::from);
    let addresses: BTreeSet<IpAddr> = edges.addresses.iter().copied().chain(own).collect();
    if !by_verdict && one.endpoints.host() != other.endpoints.host() {
        return Some("the host port differs".to_owned());
    }
    for &address in &addresses {
        let [a, b] = [one, other].map(|tables| told(&tables.endpoints, address));
        if a != b && !by_verdict {
            return Some(format!("{address}\n  one   {a:?}\n  other {b:?}"));
        }
    }
    if !by_verdict && one.endpoints.locals().count() != other.endpoints.locals().count() {
        return Some("there are more local pods".to_owned());
    }
    for at in locals {
        let [a, b] = [one, other].map(|tables| {
            tables.endpoints.sender(at).map(|local| {
                let own: BTreeSet<_> = local.addresses().map(IpAddr::from).collect();
                (local.endpoint, local.mac, local.mtu, own)
            })
        });
        if a != b && !by_verdict {
            return Some(format!("the sender at {at:?}\n  one   {a:?}\n  other {b:?}"));
        }
    }
    for local in other.endpoints.locals() {
        let first = IpAddr::from(local.addresses().next()?);
        let [a, b] = [one, other].map(|tables| place(tables, first).sets);
        for &address in &addresses {
            let [p, q] = [one, other].map(|tables| place(tables, address).class);
            for ((own, other_own), direction) in
                [((a.egress, b.egress), "egress"), ((a.ingress, b.ingress), "ingress")]
            {
                if let Some(what) = judge.differs((own, p), (other_own, q)) {
                    return Some(format!("{direction} of {first} with {address}: {what}"));
                }
            }
        }
    }
    None
}

fn place(tables: &Tables, address: IpAddr) -> Place {
    tables.endpoints.place(address.into())
}

/// What an address is, in words that mean the same in any snapshot.
fn told(endpoints: &Endpoints, address: IpAddr) -> String {
    match endpoints.place(address.into()).kind {
        Kind::Local(index) => {
            let local = endpoints.local(index);
            format!("{:?} at {:?}", local.endpoint, local.at)
        }
        other => format!("{other:?}"),
    }
}

type Side = (PolicySetId, lockgate_dataplane::policy::ClassId);

/// Compares what two tables say of pairs of a policy set and a class, once of each.
struct Judge<'a> {
    tables: [&'a PolicyTable; 2],
    services: Vec<(Protocol, u16)>,
    done: HashSet<(Side, Side)>,
    causes: HashMap<(VerdictId, VerdictId), bool>,
    by_verdict: bool,
}

impl<'a> Judge<'a> {
    fn new(one: &'a Tables, other: &'a Tables, edges: &Edges, by_verdict: bool) -> Self {
        let ported = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let mut services: Vec<_> = ported
            .iter()
            .flat_map(|protocol| edges.ports.iter().map(|port| (*protocol, *port)))
            .collect();
        services.extend([(Protocol::Icmp, 0), (Protocol::Other, 0)]);
        let tables = [&one.policy, &other.policy];
        Self { tables, services, done: HashSet::new(), causes: HashMap::new(), by_verdict }
    }

    fn differs(&mut self, one: Side, other: Side) -> Option<String> {
        if !self.done.insert((one, other)) {
            return None;
        }
        for &(protocol, port) in &self.services {
            let ask = |table: &PolicyTable, (egress, target_class): Side| {
                let (ingress, source_class) = (PolicySetId::NONE, target_class);
                table
                    .decide(&Query { egress, target_class, ingress, source_class, protocol, port })
                    .egress
            };
            let [a, b] = [ask(self.tables[0], one), ask(self.tables[1], other)];
            let same = if self.by_verdict {
                a.is_allow() == b.is_allow()
            } else {
                *self.causes.entry((a, b)).or_insert_with(|| {
                    a.is_allow() == b.is_allow()
                        && cause(self.tables[0], a) == cause(self.tables[1], b)
                })
            };
            if !same {
                let [a, b] = [cause(self.tables[0], a), cause(self.tables[1], b)];
                return Some(format!("{protocol:?} {port}\n  one   {a}\n  other {b}"));
            }
        }
        None
    }
}

/// A cause by names.
fn cause(table: &PolicyTable, verdict: VerdictId) -> String {
    match table.cause(verdict) {
        Cause::Rule { policy, rule } => format!("{}[{rule}]", table.policy_name(*policy)),
        Cause::DefaultDeny { isolating } => {
            let names: Vec<_> =
                isolating.iter().map(|id| table.policy_name(*id).to_string()).collect();
            format!("isolated by {}", names.join(" "))
        }
        other => format!("{other:?}"),
    }
}

/// The events of a stream, in steps of one to three.
fn stream(seed: u64) -> (Vec<Vec<Event>>, Edges) {
    let mut choices = Choices::from_seed(seed);
    let pool = Pool::new(&mut choices);
    let mut steps: Vec<Vec<Event>> = Vec::new();
    for _ in 0..EVENTS {
        let event = pool.event(&mut choices);
        match steps.last_mut() {
            Some(last) if last.len() < 3 && choices.chance(20) => last.push(event),
            _ => steps.push(vec![event]),
        }
    }
    (steps, pool.edges)
}

fn run(steps: &[Vec<Event>], edges: &Edges) -> Result<u64, (usize, String)> {
    let mut twins = Twins::new();
    for (at, events) in steps.iter().enumerate() {
        twins.step(events, edges).map_or(Ok(()), |what| Err((at, what)))?;
    }
    Ok(twins.compiler.rebuilds())
}

/// Leaves out what is not needed for a failure.
fn shrunk(mut steps: Vec<Vec<Event>>, edges: &Edges) -> Vec<Vec<Event>> {
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            if run(&fewer, edges).is_err() {
                steps = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    steps
}

fn check(seed: u64) -> Result<(usize, u64), String> {
    let (mut steps, edges) = stream(seed);
    match run(&steps, &edges) {
        Ok(rebuilds) => Ok((steps.iter().map(Vec::len).sum(), rebuilds)),
        Err((at, _)) => {
            steps.truncate(at + 1);
            let small = shrunk(steps, &edges);
            let what = run(&small, &edges).err().map_or_else(String::new, |(_, what)| what);
            let small: Vec<String> = small.iter().map(|events| format!("{events:?}")).collect();
            Err(format!("SEED={seed}: {what}\n{}", small.join("\n")))
        }
    }
}

#[test]
fn incremental_equals_full_after_every_event() {
    let seeds = Seeds::usually(STREAMS);
    let (events, rebuilds) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        while let Some(seed) = seeds.next() {
            match check(seed) {
                Ok((count, built)) => {
                    events.fetch_add(count as u64, Ordering::Relaxed);
                    rebuilds.fetch_add(built, Ordering::Relaxed);
                }
                Err(failure) => return Some(failure),
            }
        }
        None
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|one| one.join().unwrap()).collect()
    });
    let (events, rebuilds) = (events.into_inner(), rebuilds.into_inner());
    println!("{events} events in {}, {rebuilds} times built anew", seeds.told());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(events >= 20_000 || seeds.is_one(), "only {events} events");
    // Building anew is the way out, not the way.
    assert!(rebuilds * 4 < events, "{rebuilds} of {events} events built everything anew");
}
