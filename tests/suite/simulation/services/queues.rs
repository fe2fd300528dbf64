//! What comes in by the host port for a Service, by one queue and then by another: a socket changes the
//! queue that it sends by while it lives. One worker translates it all the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lockgate_dataplane::connection::translation::translator;
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::ids::WorkerId;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_dataplane::packet::{Kind, Packet, parse};
use lockgate_tests::packets::{self, Ends, fragments, joined};
use lockgate_tests::world::{HOST, World};

use super::super::{ack, syn, syn_ack};
use super::parts::{shuffle, upper};
use super::{B, C, answer_to, ip, key_of, sent, sent_at, start, start_with};

/// Nodes with several queues.
const NODES: [(u8, bool); 4] = [(2, false), (2, true), (3, false), (3, true)];
/// As many clients as make it all but sure that each worker translates for some.
const CLIENTS: u8 = 12;

/// From one of the clients outside to an address.
fn client(world: &World, number: u8, target: &str) -> Ends {
    let target = ip(target);
    let source = match target {
        IpAddr::V4(_) => ip(&format!("198.51.100.{number}")),
        IpAddr::V6(_) => ip(&format!("2001:db8::{number}")),
    };
    Ends { source_mac: world.mac(HOST), target_mac: GATEWAY_MAC, source, target }
}

/// All of them.
fn clients(world: &World, target: &str) -> Vec<Ends> {
    (1..=CLIENTS).map(|number| client(world, number, target)).collect()
}

/// A TCP connection by the host port.
#[derive(Clone, Copy)]
struct Running {
    there: Ends,
    ports: (u16, u16),
    at: &'static str,
    /// Who answers, as the backend sees it, and at which port it serves.
    back: Ends,
    backs: (u16, u16),
}

impl Running {
    fn open(world: &mut World, queue: u8, there: Ends, ports: (u16, u16)) -> Self {
        let (at, arrived) = sent_at(world, (HOST, queue), &syn(there, ports.0, ports.1));
        let key = key_of(&arrived);
        let back = answer_to(world, at, &key);
        let backs = (key.target_port, key.source_port);
        let running = Self { there, ports, at, back, backs };
        running.hears(world, queue, &syn_ack(back, backs.0, backs.1));
        running.asks(world, queue);
        running
    }

    /// A packet of the client, by a queue.
    fn asks(self, world: &mut World, queue: u8) {
        let frame = ack(self.there, self.ports.0, self.ports.1);
        let (at, arrived) = sent_at(world, (HOST, queue), &frame);
        let key = key_of(&arrived);
        assert_eq!((at, key.target_port, key.source_port), (self.at, self.backs.0, self.backs.1));
        assert_eq!(IpAddr::from(key.target), self.back.source, "it has one backend");
    }

    /// One of the backend, by a queue where that is beyond the host port too.
    fn hears(self, world: &mut World, queue: u8, frame: &[u8]) {
        let queue = if self.at == HOST { queue } else { 0 };
        let (at, heard) = sent_at(world, (self.at, queue), frame);
        let key = key_of(&heard);
        assert_eq!((at, IpAddr::from(key.source)), (HOST, self.there.target));
        assert_eq!((key.source_port, key.target_port), (self.ports.1, self.ports.0));
    }

    /// Both ways by each queue.
    fn goes_on(self, world: &mut World, queues: u8) {
        for queue in 0..queues {
            self.hears(world, queue, &ack(self.back, self.backs.0, self.backs.1));
            self.asks(world, queue);
        }
    }
}

/// To pods of each worker, and to elsewhere.
#[test]
fn a_connection_goes_on_when_its_packets_come_by_another_queue() {
    for (workers, is_late) in NODES {
        for target in ["10.96.0.1", "fd96::1", "10.96.0.3", "fd96::3"] {
            let mut world = start(workers, is_late);
            let mut backends = BTreeSet::new();
            for (there, queue) in clients(&world, target).into_iter().zip((0..workers).cycle()) {
                let running = Running::open(&mut world, queue, there, (20_000, 80));
                backends.insert(running.at);
                running.goes_on(&mut world, workers);
            }
            let is_near = target.ends_with('1');
            assert_eq!(backends.len(), if is_near { 2 } else { 1 }, "{backends:?}");
            let all = usize::from(CLIENTS);
            assert_eq!((world.connections(), world.translations()), (all, all));
        }
    }
}

#[test]
fn a_client_of_several_queues_sticks_to_its_backend_where_the_service_says_so() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let mut backends = BTreeSet::new();
        for there in clients(&world, "10.96.0.7") {
            let at = |(port, queue)| sent_at(&mut world, (HOST, queue), &syn(there, port, 80)).0;
            let all: BTreeSet<_> = (20_000..20_012).zip((0..workers).cycle()).map(at).collect();
            assert_eq!(all.len(), 1, "one client, one backend: {all:?}");
            backends.extend(all);
        }
        assert_eq!(backends.len(), 2, "not all the same one");
    }
}

#[test]
fn pieces_of_a_datagram_that_come_by_several_queues_arrive_whole() {
    let payload: Vec<u8> = (0..5000_u16).map(|n| (n % 251) as u8).collect();
    for (workers, is_late) in NODES {
        for target in ["10.96.0.1", "fd96::1", "10.96.0.3", "fd96::3"] {
            for (number, order) in (1..=CLIENTS).zip((0..3).cycle()) {
                let mut world = start(workers, is_late);
                let there = client(&world, number, target);
                let mut parts = fragments(&packets::udp(there, (5000, 53), &payload), 77, 1400);
                shuffle(&mut parts, order);
                for (part, queue) in parts.iter().zip((0..workers).cycle()) {
                    world.inject_at(HOST, queue, part).unwrap();
                    world.settle();
                }
                let names = [B, C, HOST];
                let mut all = names.map(|name| world.received(name)).into_iter();
                let arrived = all.find(|frames| !frames.is_empty()).unwrap_or_default();
                assert_eq!(arrived.len(), parts.len(), "{target} {order}: {:?}", world.drops());
                let key = key_of(&arrived[0]);
                let seen = Ends { source: key.source.into(), target: key.target.into(), ..there };
                let wanted = upper(seen, (key.source_port, 5353), &payload);
                assert_eq!(joined(&arrived), Some(wanted));
            }
        }
    }
}

#[test]
fn an_error_about_an_answer_is_understood_at_whatever_queue_it_comes_in() {
    for (workers, is_late) in NODES {
        for target in ["10.96.0.1", "fd96::1", "10.96.0.3", "fd96::3"] {
            let mut world = start(workers, is_late);
            for there in clients(&world, target) {
                let (at, arrived) = sent(&mut world, HOST, &packets::udp(there, (5000, 53), b"x"));
                let key = key_of(&arrived);
                let back = answer_to(&world, at, &key);
                let reply = packets::udp(back, (5353, key.source_port), b"there");
                let (_, answered) = sent(&mut world, at, &reply);
                let is_v6 = there.source.is_ipv6();
                let router = ip(if is_v6 { "2001:db8:1::9" } else { "192.0.2.99" });
                for (source, queue) in [there.source, router]
                    .into_iter()
                    .flat_map(|source| (0..workers).map(move |queue| (source, queue)))
                {
                    let (kind, code) = if is_v6 { (1, 4) } else { (3, 3) };
                    let ends = Ends { source, ..there };
                    let error = packets::icmp_error(ends, kind, code, &answered);
                    let (told, error) = sent_at(&mut world, (HOST, queue), &error);
                    assert_eq!(told, at);
                    let Ok(Packet::Ip(headers)) = parse(&error) else { panic!() };
                    let Kind::IcmpError { inner } = headers.kind else { panic!() };
                    assert_eq!(
                        (IpAddr::from(inner.source), inner.source_port),
                        (back.source, 5353)
                    );
                    assert_eq!(inner.target_port, key.source_port);
                }
            }
        }
    }
}

/// Service lb, as it is asked from beyond: at a node port for this node's alone, at a load balancer's
/// address by one of two clients; and one of SCTP.
const LB: &str = "apiVersion: v1
kind: Service
metadata: {name: lb}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.20
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [198.51.100.0/29]
  ports: [{name: t, port: 80, nodePort: 30080}, {name: s, port: 9, protocol: SCTP}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.7}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: lb, labels: {kubernetes.io/service-name: lb}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.2], nodeName: here}, {addresses: [10.9.0.1], nodeName: there}]
ports: [{name: t, port: 8080}, {name: s, port: 99, protocol: SCTP}]
";

#[test]
fn who_may_ask_and_who_answers_is_the_same_at_every_queue() {
    for (workers, is_late) in NODES {
        let mut world = start_with(workers, is_late, "lb.yaml", LB);
        for (target, own, port) in [("169.254.1.2", 20_000, 30_080), ("203.0.113.7", 20_010, 80)] {
            for (there, queue) in clients(&world, target).into_iter().zip((0..workers).cycle()) {
                let (number, frame) = (last(there.source), syn(there, own, port));
                if number < 8 || port == 30_080 {
                    assert_eq!(sent_at(&mut world, (HOST, queue), &frame).0, B, "{target}");
                    continue;
                }
                let before = world.dropped(DropReason::ServiceSource);
                world.inject_at(HOST, queue, &frame).unwrap();
                world.settle();
                assert_eq!(world.dropped(DropReason::ServiceSource), before + 1);
            }
        }
    }
}

fn last(address: IpAddr) -> u8 {
    let IpAddr::V4(address) = address else { panic!("{address}") };
    address.octets()[3]
}

#[test]
fn sctp_goes_on_by_another_queue_too() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let init = [0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1];
        for there in clients(&world, "10.96.0.1") {
            let frame = packets::sctp(there, (6000, 9), 0, 1, &init);
            let (at, arrived) = sent_at(&mut world, (HOST, workers - 1), &frame);
            let back = answer_to(&world, at, &key_of(&arrived));
            let (client, _) = sent(&mut world, at, &packets::sctp(back, (99, 6000), 1, 2, &init));
            assert_eq!(client, HOST);
            let data = packets::sctp(there, (6000, 9), 1, 10, &[0; 4]);
            for queue in 0..workers {
                assert_eq!(sent_at(&mut world, (HOST, queue), &data).0, at);
            }
        }
    }
}

#[test]
fn what_runs_goes_on_by_another_queue_when_its_service_has_gone() {
    for (workers, is_late) in NODES {
        for (target, port) in [("10.96.0.20", 80), ("169.254.1.2", 30_080), ("203.0.113.7", 80)] {
            let mut world = start_with(workers, is_late, "lb.yaml", LB);
            let clients = clients(&world, target).into_iter().take(7);
            let mut open = |there| Running::open(&mut world, 0, there, (20_000, port));
            let running: Vec<_> = clients.map(&mut open).collect();
            world.remove_file("lb.yaml");
            for one in running {
                one.goes_on(&mut world, workers);
            }
        }
    }
}

/// While snapshots differ, a packet may be sent to one that would send it on: it ends there.
#[test]
fn a_packet_is_handed_to_a_translator_once_at_most() {
    let mut ends = [0, 0];
    for number in 1..=CLIENTS {
        let mut world = start(3, false);
        let there = client(&world, number, "10.96.0.1");
        let named = |workers| translator(there.source.into(), there.target.into(), workers);
        let is_misled = named(3) != WorkerId(0) && named(3) != named(2);
        let part = fragments(&packets::udp(there, (5000, 53), &[7; 2000]), 7, 1400).remove(0);
        for frame in [syn(there, 20_000, 80), part] {
            world.publish_only_with(3);
            world.settle();
            let before = world.dropped(DropReason::PortGone);
            world.inject_at(HOST, 0, &frame).unwrap();
            world.turn_one(0);
            world.publish_only_with(2);
            world.settle();
            let gone = world.dropped(DropReason::PortGone) - before;
            let arrived = [B, C].map(|name| world.received(name).len()).into_iter().sum::<usize>();
            assert_eq!((gone, arrived), if is_misled { (1, 0) } else { (0, 1) });
            ends[usize::from(is_misled)] += 1;
        }
    }
    assert!(ends.iter().all(|&ends| ends > 0), "{ends:?}");
}
