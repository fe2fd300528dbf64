//! Services in the simulated node: what a client writes to one arrives at a backend, judged as that,
//! and comes back as from the Service; over several workers, under churn, in pieces.

use std::net::IpAddr;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_dataplane::packet::{FlowKey, Kind, Packet, parse};
use lockgate_tests::packets::{self, Ends, has_right_checksums, unfinished};
use lockgate_tests::world::{Fate, HOST, World};

use super::{ack, dropped, shape, syn, syn_ack};

mod anybodys;
mod departed;
mod elsewhere;
mod errors;
mod lasting;
mod met;
mod parts;
mod queues;

pub(super) use departed::LB;

pub(super) const SERVICES: &str = include_str!("services.yaml");
pub(super) const A: &str = "default/a";
pub(super) const B: &str = "default/b";
pub(super) const C: &str = "default/c";

/// How many workers, and whether the client's port is the last: then who serves owns the connection.
pub(super) const NODES: [(u8, bool); 6] =
    [(1, false), (1, true), (2, false), (2, true), (3, false), (3, true)];

/// A node with the pods and Services of [`SERVICES`].
pub(super) fn start(workers: u8, is_late: bool) -> World {
    if !is_late {
        return World::of(shape(workers), SERVICES);
    }
    let (client, others) = SERVICES.split_once("---\n").unwrap();
    let mut world = World::of(shape(workers), others);
    world.set_file("client.yaml", client);
    assert!(world.port(A) > world.port(B));
    world
}

/// The same, and what another file has, from its start on.
fn start_with(workers: u8, is_late: bool, name: &str, text: &str) -> World {
    let mut world = start(workers, is_late);
    world.set_file(name, text);
    world
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// From pod a to an address, as a writes it.
pub(super) fn to(world: &World, target: &str) -> Ends {
    let target = ip(target);
    let source = world.address(A, target.is_ipv6()).unwrap();
    Ends { source_mac: world.mac(A), target_mac: GATEWAY_MAC, source, target }
}

/// From the owner of a wire to where a frame that it received came from.
pub(super) fn answer_to(world: &World, name: &str, key: &FlowKey) -> Ends {
    Ends {
        source_mac: world.mac(name),
        target_mac: GATEWAY_MAC,
        source: key.target.into(),
        target: key.source.into(),
    }
}

pub(super) fn key_of(frame: &[u8]) -> FlowKey {
    match parse(frame) {
        Ok(Packet::Ip(headers) | Packet::Fragment(headers, _)) => headers.key,
        other => panic!("{other:?}"),
    }
}

/// Injects a frame and gives the pod or host that it arrived at, and how.
pub(super) fn sent(world: &mut World, from: &str, frame: &[u8]) -> (&'static str, Vec<u8>) {
    sent_at(world, (from, 0), frame)
}

/// The same on a queue of the host port.
fn sent_at(world: &mut World, (from, queue): (&str, u8), frame: &[u8]) -> (&'static str, Vec<u8>) {
    let before = world.drops();
    world.inject_at(from, queue, frame).unwrap();
    world.settle();
    let mut arrived = Vec::new();
    for name in [A, B, C, "default/shut", HOST] {
        arrived.extend(world.received(name).into_iter().map(|frame| (name, frame)));
    }
    let told: Vec<_> = DropReason::ALL
        .iter()
        .filter(|reason| world.dropped(**reason) > before[**reason as usize])
        .collect();
    assert_eq!(arrived.len(), 1, "{arrived:?}, dropped {told:?}");
    let (name, frame) = arrived.remove(0);
    assert!(has_right_checksums(&frame), "at {name}");
    (name, frame)
}

#[test]
fn a_connection_to_a_service_reaches_a_backend_and_is_answered_by_the_service() {
    for (workers, is_late) in NODES {
        for service in ["10.96.0.1", "fd96::1"] {
            for port in 40_000..40_020 {
                let mut world = start(workers, is_late);
                round_trip(&mut world, service, port);
            }
        }
    }
}

fn round_trip(world: &mut World, service: &str, port: u16) {
    let there = to(world, service);
    let (backend, arrived) = sent(world, A, &unfinished(syn(there, port, 80)));
    let key = key_of(&arrived);
    assert!([B, C].contains(&backend), "at {backend}");
    assert_eq!(Some(IpAddr::from(key.target)), world.address(backend, there.source.is_ipv6()));
    assert_eq!((IpAddr::from(key.source), key.source_port), (there.source, port));
    assert_eq!(key.target_port, 8080);
    let back = answer_to(world, backend, &key);
    let (client, answered) = sent(world, backend, &unfinished(syn_ack(back, 8080, port)));
    assert_eq!(client, A);
    let key = key_of(&answered);
    assert_eq!((IpAddr::from(key.source), key.source_port), (there.target, 80), "{service}");
    assert_eq!((IpAddr::from(key.target), key.target_port), (there.source, port));
    let (again, _) = sent(world, A, &ack(there, port, 80));
    assert_eq!(again, backend, "a connection has one backend");
}

#[test]
fn connections_are_spread_over_the_backends() {
    let mut world = World::of(shape(1), SERVICES);
    let there = to(&world, "10.96.0.1");
    let at_b = (0..400).filter(|n| sent(&mut world, A, &syn(there, 20_000 + n, 80)).0 == B);
    let at_b = at_b.count();
    assert!((120..280).contains(&at_b), "{at_b} of 400 at b");
}

#[test]
fn udp_and_sctp_are_translated_too() {
    for (workers, is_late) in NODES {
        for service in ["10.96.0.1", "fd96::1"] {
            let mut world = start(workers, is_late);
            let there = to(&world, service);
            let (backend, arrived) =
                sent(&mut world, A, &unfinished(packets::udp(there, (5000, 53), b"who?")));
            assert_eq!(key_of(&arrived).target_port, 5353);
            let back = answer_to(&world, backend, &key_of(&arrived));
            let reply = packets::udp(back, (5353, 5000), b"them");
            let (client, answered) = sent(&mut world, backend, &unfinished(reply));
            assert_eq!((client, key_of(&answered).source_port), (A, 53));
            assert_eq!(IpAddr::from(key_of(&answered).source), there.target);
            let init = packets::sctp(
                there,
                (6000, 9),
                0,
                1,
                &[0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1],
            );
            let (backend, arrived) = sent(&mut world, A, &unfinished(init));
            assert_eq!(key_of(&arrived).target_port, 99);
            let back = answer_to(&world, backend, &key_of(&arrived));
            let init_ack = packets::sctp(
                back,
                (99, 6000),
                1,
                2,
                &[0, 0, 0, 2, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1],
            );
            let (client, answered) = sent(&mut world, backend, &init_ack);
            assert_eq!((client, key_of(&answered).source_port), (A, 9));
        }
    }
}

#[test]
fn policy_judges_client_and_backend() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let there = to(&world, "10.96.0.5");
        let frame = syn(there, 40_000, 80);
        assert_eq!(dropped(&mut world, A, "default/shut", &frame), DropReason::IngressDenied);
        assert_eq!(world.connections(), 0);
    }
}

#[test]
fn what_the_owner_refuses_leaves_no_translation_where_it_is_the_same_worker() {
    let mut world = World::of(shape(1), SERVICES);
    let there = to(&world, "10.96.0.5");
    dropped(&mut world, A, "default/shut", &syn(there, 40_000, 80));
    assert_eq!(world.translations(), 0);
}

#[test]
fn a_backend_on_another_node_is_reached_through_the_host_port_and_answers() {
    for (workers, is_late) in NODES {
        for service in ["10.96.0.3", "fd96::3"] {
            let mut world = start(workers, is_late);
            let there = to(&world, service);
            let (at, arrived) = sent(&mut world, A, &syn(there, 40_000, 80));
            assert_eq!(at, HOST);
            let back = answer_to(&world, HOST, &key_of(&arrived));
            let (client, answered) = sent(&mut world, HOST, &syn_ack(back, 8080, 40_000));
            assert_eq!(client, A);
            assert_eq!(IpAddr::from(key_of(&answered).source), there.target);
            assert_eq!(key_of(&answered).source_port, 80);
        }
    }
}

#[test]
fn nobody_serves_and_the_client_is_told_at_once() {
    for target in ["10.96.0.4", "fd96::4"] {
        let mut world = World::of(shape(2), SERVICES);
        let there = to(&world, target);
        let asked = [
            syn(there, 40_000, 80),
            packets::udp(there, (40_000, 53), b"x"),
            syn(there, 40_000, 4444),
            packets::echo(there, false, 7, 1, b"ping"),
        ];
        for frame in asked {
            let Fate::Both(told, reason) = world.fate(A, A, &frame) else { panic!("not told") };
            assert_eq!(reason, DropReason::NoBackend);
            let Ok(Packet::Ip(headers)) = parse(&told) else { panic!("{told:?}") };
            let at = usize::from(headers.l4_offset);
            let unreachable = if there.source.is_ipv6() { [1, 4] } else { [3, 3] };
            assert_eq!(told[at..at + 2], unreachable, "port unreachable");
            let Kind::IcmpError { inner } = headers.kind else { panic!("{:?}", headers.kind) };
            assert_eq!(IpAddr::from(inner.target), there.target, "what the client wrote");
        }
        assert_eq!(world.connections(), 0);
    }
}

#[test]
fn where_only_this_node_may_be_asked_and_has_nobody_it_is_dropped_in_silence() {
    let mut world = World::of(shape(1), SERVICES);
    let there = to(&world, "10.96.0.6");
    let frame = syn(there, 40_000, 80);
    assert_eq!(dropped(&mut world, A, A, &frame), DropReason::NoLocalBackend);
}

#[test]
fn a_pod_that_is_its_own_backend_hears_itself() {
    for (workers, is_late) in NODES {
        for service in ["10.96.0.2", "fd96::2"] {
            let mut world = start(workers, is_late);
            let there = to(&world, service);
            let (at, arrived) = sent(&mut world, A, &unfinished(syn(there, 40_000, 80)));
            let key = key_of(&arrived);
            assert_eq!((at, key.target_port), (A, 8080));
            let own = if there.source.is_ipv6() { "fd4c:6f63:6b67::3" } else { "169.254.1.1" };
            assert_eq!(IpAddr::from(key.source), ip(own));
            let back = answer_to(&world, A, &key);
            let reply = syn_ack(back, 8080, key.source_port);
            let (at, answered) = sent(&mut world, A, &unfinished(reply));
            let key = key_of(&answered);
            assert_eq!((at, IpAddr::from(key.source), key.source_port), (A, there.target, 80));
            assert_eq!((IpAddr::from(key.target), key.target_port), (there.source, 40_000));
        }
    }
}

#[test]
fn the_gateway_hears_nothing_that_is_no_answer_of_a_pod_to_itself() {
    let mut world = World::of(shape(1), SERVICES);
    for own in ["169.254.1.1", "fd4c:6f63:6b67::3"] {
        let there = to(&world, own);
        for frame in [syn(there, 1000, 80), packets::udp(there, (1000, 53), b"x")] {
            assert_eq!(dropped(&mut world, A, A, &frame), DropReason::NotForUs);
        }
        assert_eq!(dropped(&mut world, A, A, &ack(there, 1000, 80)), DropReason::NoConnection);
    }
    assert_eq!(world.connections(), 0);
}

#[test]
fn a_client_sticks_to_its_backend_where_the_service_says_so() {
    let mut world = World::of(shape(1), SERVICES);
    let there = to(&world, "10.96.0.7");
    let first = sent(&mut world, A, &syn(there, 20_000, 80)).0;
    for port in 20_001..20_050 {
        assert_eq!(sent(&mut world, A, &syn(there, port, 80)).0, first);
    }
    world.advance_ms(10_800_000 + 1_000);
    let later: Vec<_> = (0..40)
        .map(|n| {
            world.advance_ms(10_801_000);
            sent(&mut world, A, &syn(there, 30_000 + n, 80)).0
        })
        .collect();
    assert!(later.contains(&B) && later.contains(&C), "after its time any will do");
}

#[test]
fn one_client_port_to_two_services_of_one_backend_stays_two_connections() {
    let mut world = World::of(shape(1), SERVICES);
    let (one, other) = (to(&world, "10.96.0.1"), to(&world, "10.96.0.8"));
    let mut seen = std::collections::BTreeSet::new();
    for port in 20_000..20_100 {
        for there in [one, other, to(&world, "10.96.0.7")] {
            let (at, arrived) = sent(&mut world, A, &syn(there, port, 80));
            let key = key_of(&arrived);
            assert!(seen.insert((at, key.source_port)), "two flows of one name at {at}");
            let back = answer_to(&world, at, &key);
            let reply = syn_ack(back, 8080, key.source_port);
            let (client, answered) = sent(&mut world, at, &reply);
            let key = key_of(&answered);
            assert_eq!(
                (client, IpAddr::from(key.source), key.target_port),
                (A, there.target, port)
            );
        }
    }
}

/// What another worker denies stays for a while, and counts for who sent it.
#[test]
fn a_flood_of_denied_packets_fills_no_more_than_the_senders_share() {
    let mut world = start(2, true);
    let there = to(&world, "10.96.0.5");
    assert_ne!(world.worker_of(A), world.worker_of("default/shut"), "who denies is elsewhere");
    for port in 1_000..9_000 {
        world.inject(A, &syn(there, port, 80)).unwrap();
        world.settle();
    }
    assert!((1..=512).contains(&world.translations()), "{}", world.translations());
    assert_eq!(world.connections(), 0);
    // What of it was never answered goes by itself.
    world.advance_ms(40_000);
    assert_eq!(world.translations(), 0);
    let web = to(&world, "10.96.0.1");
    let (at, _) = sent(&mut world, A, &syn(web, 999, 80));
    assert!([B, C].contains(&at));
}
