//! Addresses that are not wholly a Service's: somebody has them, and is spoken to by the same pods.

use std::net::IpAddr;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_dataplane::packet::{Kind, Packet, TcpFlags, parse};
use lockgate_tests::packets::{self, Ends, fragments, joined, segment};
use lockgate_tests::world::{HOST, World};

use super::super::{ack, dropped, syn, syn_ack};
use super::parts::{all, shuffle, upper};
use super::{A, B, C, NODES, ip, key_of, sent, start, to};

/// An address that Service `more` claims by `externalIPs`, once it is there.
const CLAIMED: &str = "203.0.113.9";
/// An address of the load balancer of `more`.
const BALANCED: &str = "203.0.113.7";
const NODE: &str = "192.168.0.1";

/// Service `more`, at these ports, of pod b.
fn more(ports: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: more}}
spec: {{type: LoadBalancer, clusterIP: 10.96.0.20, externalIPs: [{CLAIMED}], ports: [{ports}]}}
status: {{loadBalancer: {{ingress: [{{ip: {BALANCED}}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: more, labels: {{kubernetes.io/service-name: more}}}}
addressType: IPv4
endpoints: [{{addresses: [10.0.0.2], nodeName: here}}]
ports: [{{name: t, port: 8080}}, {{name: u, port: 5353, protocol: UDP}}]
"
    )
}

const BOTH: &str =
    "{name: t, port: 443, nodePort: 30443}, {name: u, port: 53, nodePort: 30053, protocol: UDP}";

/// From somebody beyond the host port to an address.
fn beyond(world: &World, source: &str, target: IpAddr) -> Ends {
    Ends { source_mac: world.mac(HOST), target_mac: GATEWAY_MAC, source: ip(source), target }
}

/// The same to pod a.
fn from(world: &World, source: &str) -> Ends {
    beyond(world, source, to(world, source).source)
}

#[test]
fn what_came_in_by_the_host_port_for_no_port_of_a_service_is_refused() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        world.set_file("more.yaml", &more(BOTH));
        // Of one port both would be one to pod b, and may be translated by two workers.
        for (target, port) in [(CLAIMED, 20_000), (BALANCED, 20_010)] {
            let beyond = beyond(&world, "198.51.100.1", ip(target));
            assert_eq!(sent(&mut world, HOST, &syn(beyond, port, 443)).0, B);
            let frame = syn(beyond, 20_001, 444);
            assert_eq!(dropped(&mut world, HOST, B, &frame), DropReason::NoBackend);
            assert_eq!(world.received(HOST).len(), 1, "its sender is told");
            // Of a pod it goes to whoever has the address.
            let own = to(&world, target);
            let (at, arrived) = sent(&mut world, A, &syn(own, 20_001, 444));
            assert_eq!((at, IpAddr::from(key_of(&arrived).target)), (HOST, own.target));
        }
    }
}

#[test]
fn a_connection_that_has_ended_makes_no_room_beside_a_service_that_claims_its_address() {
    for (workers, is_late) in NODES {
        for is_over in [false, true] {
            let mut world = start(workers, is_late);
            let (there, back) = (to(&world, CLAIMED), from(&world, CLAIMED));
            let opening = |flags, numbers| segment(there, (4001, 443), flags, numbers);
            let answer = TcpFlags::SYN.with(TcpFlags::ACK);
            for (at, frame) in [
                (A, opening(TcpFlags::SYN, (1000, 0))),
                (HOST, segment(back, (443, 4001), answer, (5000, 1001))),
                (A, opening(TcpFlags::ACK, (1001, 5001))),
                (A, opening(TcpFlags::RST, (1001, 0))),
            ] {
                if is_over || frame != opening(TcpFlags::RST, (1001, 0)) {
                    let to = if at == A { HOST } else { A };
                    assert_eq!(sent(&mut world, at, &frame).0, to);
                }
            }
            world.set_file("more.yaml", &more(BOTH));
            if is_over {
                assert_eq!(sent(&mut world, A, &syn(there, 4001, 443)).0, B);
            } else {
                assert_eq!(sent(&mut world, A, &ack(there, 4001, 443)).0, HOST);
            }
        }
    }
}

/// Two ways to one flow: by a Service whose backend has the address, and by the address itself.
#[test]
fn a_connection_that_a_service_led_to_an_address_is_no_connection_to_that_address() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let other = more(BOTH).replace("more", "other").replace("10.96.0.20", "10.96.0.21");
        let other = other.replace(&format!("[{CLAIMED}]"), "[]").replace(BALANCED, "203.0.113.8");
        let other = other.replace("10.0.0.2", CLAIMED).replace("port: 8080", "port: 443");
        world.set_file("other.yaml", &other.replace("304", "305").replace("300", "306"));
        world.set_file("more.yaml", &more(BOTH));
        let led = to(&world, "10.96.0.21");
        let (at, arrived) = sent(&mut world, A, &syn(led, 4001, 443));
        assert_eq!((at, IpAddr::from(key_of(&arrived).target)), (HOST, ip(CLAIMED)));
        let own = to(&world, CLAIMED);
        assert_eq!(sent(&mut world, A, &syn(own, 4001, 443)).0, B, "a Service is asked there");
    }
}

#[test]
fn what_runs_at_an_address_outlives_the_services_port() {
    for (workers, is_late) in NODES {
        for target in [CLAIMED, BALANCED] {
            let mut world = start(workers, is_late);
            world.set_file("more.yaml", &more(BOTH));
            let there = to(&world, target);
            let (at, arrived) = sent(&mut world, A, &syn(there, 4001, 443));
            assert_eq!(at, B);
            let back = super::answer_to(&world, B, &key_of(&arrived));
            sent(&mut world, B, &syn_ack(back, 8080, 4001));
            world.set_file("more.yaml", &more(&BOTH.replace("port: 443", "port: 444")));
            assert_eq!(sent(&mut world, A, &ack(there, 4001, 443)).0, B, "it runs on");
            // What begins is for who has the address.
            assert_eq!(sent(&mut world, A, &syn(there, 4002, 443)).0, HOST);
        }
    }
}

#[test]
fn an_error_about_what_somebody_sent_goes_to_him_and_one_about_a_services_answer_to_its_pod() {
    for (workers, is_late) in NODES {
        for (target, port) in [(CLAIMED, 53), (NODE, 30_053)] {
            let mut world = start(workers, is_late);
            world.set_file("more.yaml", &more(BOTH));
            // Who has the address asks from a port of the Service's number.
            let question = packets::udp(from(&world, target), (port, 8053), b"who?");
            let (at, asked) = sent(&mut world, HOST, &question);
            assert_eq!(at, A);
            let there = to(&world, target);
            let error = packets::icmp_error(there, 3, 3, &asked);
            let (at, told) = sent(&mut world, A, &error);
            let Ok(Packet::Ip(headers)) = parse(&told) else { panic!("{told:?}") };
            let Kind::IcmpError { inner } = headers.kind else { panic!() };
            assert_eq!((at, IpAddr::from(headers.key.target)), (HOST, there.target));
            assert_eq!((IpAddr::from(inner.source), inner.source_port), (there.target, port));
            // The Service answers at that port too.
            let (at, arrived) = sent(&mut world, A, &packets::udp(there, (5000, port), b"x"));
            assert_eq!(at, B);
            let back = super::answer_to(&world, B, &key_of(&arrived));
            let reply = packets::udp(back, (5353, 5000), b"there");
            let (client, answered) = sent(&mut world, B, &reply);
            assert_eq!((client, IpAddr::from(key_of(&answered).source)), (A, there.target));
            let error = packets::icmp_error(there, 3, 3, &answered);
            let (at, told) = sent(&mut world, A, &error);
            let Ok(Packet::Ip(headers)) = parse(&told) else { panic!("{told:?}") };
            assert_eq!((at, IpAddr::from(headers.key.target)), (B, back.source));
        }
    }
}

/// The ports of a part that is not the first are those of the first: a node port by its number, and
/// an answer all the same.
#[test]
fn an_answer_in_pieces_to_the_nodes_own_port_goes_to_the_node_though_a_service_has_its_number() {
    let payload: Vec<u8> = (0..4000_u16).map(|n| (n % 251) as u8).collect();
    for (workers, is_late) in NODES {
        for order in 0..3 {
            let mut world = start(workers, is_late);
            world.set_file("more.yaml", &more(BOTH));
            let question = packets::udp(from(&world, NODE), (30_053, 8053), b"who?");
            assert_eq!(sent(&mut world, HOST, &question).0, A);
            let node = to(&world, NODE);
            let mut parts = fragments(&packets::udp(node, (8053, 30_053), &payload), 9, 1400);
            shuffle(&mut parts, order);
            let arrived = all(&mut world, A, &parts);
            assert_eq!(arrived.len(), parts.len(), "{order}: {:?}", world.drops());
            assert!(arrived.iter().all(|(name, _)| *name == HOST));
            let frames: Vec<_> = arrived.into_iter().map(|(_, frame)| frame).collect();
            assert_eq!(joined(&frames), Some(upper(node, (8053, 30_053), &payload)));
            // Nobody asked for this one, so it asks the Service.
            let parts = fragments(&packets::udp(node, (8054, 30_053), &payload), 10, 1400);
            let arrived = all(&mut world, A, &parts);
            assert!(arrived.iter().all(|(name, _)| [B, C].contains(name)), "{arrived:?}");
            assert_eq!(arrived.len(), parts.len());
        }
    }
}
