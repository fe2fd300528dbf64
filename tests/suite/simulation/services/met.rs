//! A pod asks a Service and, from the same source port, one of its backends straight: neither
//! connection ends the other.

use std::net::IpAddr;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::{FlowKey, Kind, Packet, TcpFlags, parse};
use lockgate_tests::packets::{self, Ends};
use lockgate_tests::world::{Fate, World};

use super::super::{ack, syn, syn_ack};
use super::{A, B, NODES, answer_to, key_of, sent, start_with, to};

/// Service only, of pod b alone.
const ONLY: &str = "apiVersion: v1
kind: Service
metadata: {name: only}
spec: {clusterIPs: [10.96.0.30, \"fd96::30\"], ports: [{name: t, port: 80}, {name: u, port: 53, protocol: UDP}, {name: s, port: 9, protocol: SCTP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: only-4, labels: {kubernetes.io/service-name: only}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.2]}]
ports: [{name: t, port: 8080}, {name: u, port: 5353, protocol: UDP}, {name: s, port: 99, protocol: SCTP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: only-6, labels: {kubernetes.io/service-name: only}}
addressType: IPv6
endpoints: [{addresses: [\"fd00::2\"]}]
ports: [{name: t, port: 8080}]
";

/// Source port of everything.
const PORT: u16 = 40_000;
/// An address of the Service, and pod b's of that family.
const BOTH: [(&str, &str); 2] = [("10.96.0.30", "10.0.0.2"), ("fd96::30", "fd00::2")];

fn with_only(workers: u8, is_late: bool) -> World {
    start_with(workers, is_late, "only.yaml", ONLY)
}

/// Opens a TCP connection to pod b; gives what b sees of it.
fn open(world: &mut World, there: Ends, port: u16) -> FlowKey {
    let (at, arrived) = sent(world, A, &syn(there, PORT, port));
    assert_eq!(at, B);
    let key = key_of(&arrived);
    let reply = syn_ack(answer_to(world, B, &key), key.target_port, key.source_port);
    assert_eq!(sent(world, B, &reply).0, A);
    goes_on(world, there, port, &key);
    key
}

/// A packet there, and one back.
fn goes_on(world: &mut World, there: Ends, port: u16, seen: &FlowKey) {
    let (at, arrived) = sent(world, A, &ack(there, PORT, port));
    assert_eq!((at, key_of(&arrived)), (B, *seen));
    let reply = ack(answer_to(world, B, seen), seen.target_port, seen.source_port);
    let (at, arrived) = sent(world, B, &reply);
    let key = key_of(&arrived);
    assert_eq!((at, IpAddr::from(key.source), key.source_port), (A, there.target, port));
    assert_eq!((IpAddr::from(key.target), key.target_port), (there.source, PORT));
}

/// Sends what begins a connection that cannot be, and sees its sender told.
fn is_refused(world: &mut World, frame: &[u8]) -> Kind {
    let Fate::Both(told, reason) = world.fate(A, A, frame) else { panic!("not told") };
    assert_eq!(reason, DropReason::PortsTaken);
    let Ok(Packet::Ip(headers)) = parse(&told) else { panic!("{told:?}") };
    headers.kind
}

fn is_reset(kind: &Kind) -> bool {
    matches!(kind, Kind::Tcp(header) if header.flags.has(TcpFlags::RST))
}

/// Whether the worker that translates owns what runs between the two pods.
fn is_one_worker(world: &World) -> bool {
    let is_first = world.port(A) < world.port(B);
    is_first || world.worker_of(A) == world.worker_of(B)
}

#[test]
fn a_connection_by_a_service_leaves_one_straight_to_its_backend_alone() {
    for (workers, is_late) in NODES {
        for (service, pod) in BOTH {
            let mut world = with_only(workers, is_late);
            let (there, straight) = (to(&world, service), to(&world, pod));
            let seen = open(&mut world, straight, 8080);
            if is_one_worker(&world) {
                let by_service = open(&mut world, there, 80);
                assert_ne!(by_service.source_port, PORT, "two of one name at the backend");
                goes_on(&mut world, there, 80, &by_service);
            } else {
                assert!(is_reset(&is_refused(&mut world, &syn(there, PORT, 80))));
            }
            goes_on(&mut world, straight, 8080, &seen);
        }
    }
}

#[test]
fn a_connection_straight_to_a_backend_leaves_one_by_its_service_alone() {
    for (workers, is_late) in NODES {
        for (service, pod) in BOTH {
            let mut world = with_only(workers, is_late);
            let (there, straight) = (to(&world, service), to(&world, pod));
            let seen = open(&mut world, there, 80);
            for _ in 0..2 {
                assert!(is_reset(&is_refused(&mut world, &syn(straight, PORT, 8080))));
                goes_on(&mut world, there, 80, &seen);
            }
        }
    }
}

#[test]
fn an_association_straight_to_a_backend_leaves_one_by_its_service_alone() {
    let init = [0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1];
    for (workers, is_late) in NODES {
        let mut world = with_only(workers, is_late);
        let (there, straight) = (to(&world, "10.96.0.30"), to(&world, "10.0.0.2"));
        let (_, arrived) = sent(&mut world, A, &packets::sctp(there, (PORT, 9), 0, 1, &init));
        let back = answer_to(&world, B, &key_of(&arrived));
        sent(&mut world, B, &packets::sctp(back, (99, PORT), 1, 2, &init));
        let second = packets::sctp(straight, (PORT, 99), 0, 1, &init);
        let told = is_refused(&mut world, &second);
        assert!(matches!(told, Kind::IcmpError { .. }), "{told:?}");
        let (_, arrived) = sent(&mut world, B, &packets::sctp(back, (99, PORT), 1, 3, &[0; 4]));
        assert_eq!(IpAddr::from(key_of(&arrived).source), there.target);
    }
}

/// Gossip has one port for all it sends: it asks a Service who is there, and then each of them.
#[test]
fn of_datagrams_by_a_service_and_straight_the_last_is_answered() {
    for (workers, is_late) in NODES {
        let mut world = with_only(workers, is_late);
        let (there, straight) = (to(&world, "10.96.0.30"), to(&world, "10.0.0.2"));
        for _ in 0..3 {
            for (ends, port) in [(there, 53), (straight, 5353)] {
                let (at, arrived) = sent(&mut world, A, &packets::udp(ends, (PORT, port), b"?"));
                let key = key_of(&arrived);
                assert_eq!((at, key.target_port), (B, 5353));
                let back = answer_to(&world, B, &key);
                let reply = packets::udp(back, (5353, key.source_port), b"!");
                let (at, arrived) = sent(&mut world, B, &reply);
                let key = key_of(&arrived);
                assert_eq!((at, IpAddr::from(key.source)), (A, ends.target));
                assert_eq!((key.source_port, key.target_port), (port, PORT));
            }
        }
    }
}
