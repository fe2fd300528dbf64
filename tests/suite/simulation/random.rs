//! Random clusters, random packets, random interleavings of workers: what is sent is what the
//! slow judge allows, nothing is lost, and the worker's laws hold after every turn.
//!
//! `SEED=n` repeats one world; `seeds` tells how to have more of them.

use std::net::IpAddr;

use lockgate_dataplane::packet::{FlowKey, Protocol};
use lockgate_dataplane::policy::ruleset::{Party, PodIndex, Question, Service};
use lockgate_tests::packets;
use lockgate_tests::world::{Fate, HOST, Local, Shape, World};
use lockgate_tests::worlds::{Choices, World as Objects};

use super::{friend, v4, v6};
use crate::seeds::Seeds;

/// Worlds tried by default.
const WORLDS: u64 = 60;
/// Packets sent in each.
const PACKETS: u16 = 120;

/// One end of a packet in a random world.
#[derive(Clone, Debug)]
struct End {
    wire: String,
    address: IpAddr,
    pod: Option<PodIndex>,
}

#[test]
fn every_packet_is_sent_exactly_when_the_slow_judge_allows() {
    let seeds = Seeds::usually(WORLDS);
    while let Some(seed) = seeds.next() {
        let mut choices = Choices::from_seed(seed);
        let objects = Objects::sound(&mut choices);
        let workers = 1 + u8::try_from(choices.below(3)).unwrap();
        let shape = Shape { workers, local: Local::Every, ..Shape::default() };
        let mut world = World::of(shape, &objects.to_text());
        exercise(&mut world, &mut choices, seed);
        // Another world's objects over the same node: pods leave and come, rules change.
        let next = Objects::sound(&mut choices);
        world.set_file("cluster.yaml", &next.to_text());
        exercise(&mut world, &mut choices, seed);
    }
    println!("{}", seeds.told());
}

fn exercise(world: &mut World, choices: &mut Choices, seed: u64) {
    let resolved = world.resolved().unwrap().clone();
    let mut ends = vec![];
    for (index, pod) in (0..).zip(&resolved.ruleset.pods) {
        let view = &resolved.pods[index as usize];
        for &address in pod.addresses.iter() {
            let wire = format!("{}/{}", view.namespace, view.name);
            ends.push(End { wire, address, pod: Some(PodIndex(index)) });
        }
    }
    for address in [friend(), v4(), v6()].into_iter().chain(resolved.node_addresses.clone()) {
        ends.push(End { wire: HOST.to_owned(), address, pod: None });
    }
    for n in 0..PACKETS {
        let (from, to) = (choices.pick(&ends), choices.pick(&ends));
        let same = from.address == to.address || from.wire == to.wire;
        if from.address.is_ipv4() != to.address.is_ipv4() || same {
            continue;
        }
        send(world, choices, &from, &to, 10_000 + n, seed);
    }
}

fn send(world: &mut World, choices: &mut Choices, from: &End, to: &End, port: u16, seed: u64) {
    let node = &world.resolved().unwrap().node_addresses;
    let own_node = from.wire == HOST && node.contains(&from.address);
    let party = |end: &End, own_node| Party { address: end.address, pod: end.pod, own_node };
    let protocol = choices.pick(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Icmp]);
    let target_port = choices.pick(&[80, 81, 443, 8080, 53, 1, 65_535]);
    let service = match (protocol, from.address.is_ipv4()) {
        (Protocol::Icmp, true) => Service::to(protocol, FlowKey::message(8, 0)),
        (Protocol::Icmp, false) => Service::to(Protocol::IcmpV6, FlowKey::message(128, 0)),
        _ => Service { protocol, port: target_port, source_port: port },
    };
    let question = Question { source: party(from, own_node), target: party(to, false), service };
    let allowed = world.resolved().unwrap().ruleset.decide(&question).allows();
    let mut ends = world.ends(&from.wire, &to.wire, from.address);
    (ends.source, ends.target) = (from.address, to.address);
    let ports = (port, target_port);
    let frame = match protocol {
        Protocol::Tcp => super::syn(ends, port, target_port),
        Protocol::Udp => packets::udp(ends, ports, b"x"),
        Protocol::Sctp => packets::sctp(ends, ports, 0, 1, &[0; 16]),
        _ => packets::echo(ends, false, port, 1, b"x"),
    };
    let fate = world.fate(&from.wire, &to.wire, &frame);
    let sent = matches!(fate, Fate::Sent(_));
    assert_eq!(sent, allowed, "SEED={seed} {question:?} {fate:?}");
    assert!(!matches!(fate, Fate::Lost | Fate::Refused | Fate::Both(..)), "SEED={seed} {fate:?}");
}
