//! Incremental equals full: after every event of random streams the kept resolver and compiler
//! say what `resolve`, `compile` and `Endpoints::build` say from nothing, and for the same causes.
//!
//! `seeds` tells how to repeat one stream or to run more. A failing stream is made small before it
//! is told.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use lockgate_control::manifest::{Object, read_text};
use lockgate_tests::twins::{Edges, Event, Twins};
use lockgate_tests::worlds::{Choices, World};
use serde_json::{Value, json};

use crate::seeds::Seeds;

/// Streams run by default, and the events of each.
const STREAMS: u64 = 250;
const EVENTS: usize = 90;

const FILES: [&str; 3] = ["a.yaml", "b.yaml", "c.yaml"];

/// Addresses beside those that objects name.
const OUTSIDE: [&str; 11] = [
    "203.0.113.7",
    "192.168.0.1",
    "192.168.0.2",
    "10.0.0.14",
    "2001:db8::9",
    "fd01::1",
    "fd01::2",
    "10.0.0.1",
    "fd00::2",
    "10.96.0.1",
    "fd96::1",
];

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
            world.objects.extend([service(choices), service(choices)]);
            for object in &mut world.objects {
                vary(object, choices);
                edges.collect(object);
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

/// A Service with addresses of its own or of others, which no world makes up by itself.
fn service(choices: &mut Choices) -> Value {
    let name = choices.pick(&["s", "t"]);
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "type": choices.pick(&["ClusterIP", "LoadBalancer"]),
            "clusterIPs": [choices.pick(&["10.96.0.1", "fd96::1"])],
            "ports": [{ "port": 80 }],
        },
        "status": { "loadBalancer": { "ingress": [{ "ip": choices.pick(&OUTSIDE) }] } },
    })
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
    Ok(twins.rebuilds())
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
    assert!(events >= 20_000 || !seeds.is_usual(), "only {events} events");
    // Building anew is the way out, not the way.
    assert!(rebuilds * 4 < events, "{rebuilds} of {events} events built everything anew");
}
