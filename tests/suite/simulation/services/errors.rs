//! Errors about what Services' clients beyond the host port sent, and about what they heard: each
//! bears an address that the node's stack takes from the switch, and passes on.

use std::net::IpAddr;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::{Kind, Packet, parse};
use lockgate_tests::packets::{self, Ends, has_right_checksums, with_ttl};
use lockgate_tests::world::{HOST, Shape, World};

use super::super::{dropped, shape, syn, syn_ack};
use super::elsewhere::outside;
use super::{A, NODES, SERVICES, answer_to, ip, key_of, sent, start, to};

/// Who may say of a packet what became of it: the node's own stack by its address and by another
/// one, a router, the gateway, the switch as the node's ports, the backend.
const SENDERS: [&[&str]; 2] = [
    &["192.168.0.1", "172.17.0.1", "192.0.2.99", "169.254.1.1", "169.254.1.2", "10.9.0.1"],
    &["fd31::1", "fe80::1:2", "2001:db8:99::9", "fe80::1", "fd4c:6f63:6b67::2", "fd09::1"],
];

/// Type and code of errors: too big, too late, nobody there.
const ERRORS: [&[(u8, u8)]; 2] = [&[(3, 4), (11, 0), (3, 1)], &[(2, 0), (3, 0), (1, 3)]];

/// The one frame that leaves by the host port for one that comes in there.
fn told(world: &mut World, queue: u8, frame: &[u8]) -> Vec<u8> {
    world.inject_at(HOST, queue, frame).unwrap();
    world.settle();
    let mut arrived = world.received(HOST);
    assert_eq!(arrived.len(), 1, "{:?}", world.drops());
    assert!(has_right_checksums(&arrived[0]));
    arrived.remove(0)
}

/// From whom an error is, to whom, and what it quotes: from whom and to whom with their ports.
type Said = ((IpAddr, IpAddr), (IpAddr, u16), (IpAddr, u16));

fn said(frame: &[u8]) -> Said {
    let Ok(Packet::Ip(headers)) = parse(frame) else { panic!("no packet") };
    let Kind::IcmpError { inner } = headers.kind else { panic!("{:?}", headers.kind) };
    let outer = (headers.key.source.into(), headers.key.target.into());
    let (source, target) = (inner.source.into(), inner.target.into());
    (outer, (source, inner.source_port), (target, inner.target_port))
}

fn clients(world: &World, service: &str) -> [Ends; 2] {
    let beyond = outside(world, service);
    let node = if beyond.source.is_ipv6() { "fd31::1" } else { "192.168.0.1" };
    [beyond, Ends { source: ip(node), ..beyond }]
}

#[test]
fn an_error_about_what_was_asked_elsewhere_is_the_services_whoever_sent_it() {
    for ((workers, is_late), service) in
        NODES.into_iter().flat_map(|node| ["10.96.0.3", "fd96::3"].map(|service| (node, service)))
    {
        let mut world = start(workers, is_late);
        for (client, port) in clients(&world, service).into_iter().zip([5000, 6000]) {
            let asked = told(&mut world, 0, &packets::udp(client, (port, 53), b"hello"));
            let v6 = usize::from(client.source.is_ipv6());
            for (number, sender) in SENDERS[v6].iter().enumerate() {
                let back = answer_to(&world, HOST, &key_of(&asked));
                let back = Ends { source: ip(sender), ..back };
                let (kind, code) = ERRORS[v6][number % 3];
                let queue = u8::try_from(number).unwrap() % workers;
                let error = packets::icmp_error(back, kind, code, &asked);
                let wanted =
                    ((client.target, client.source), (client.source, port), (client.target, 53));
                assert_eq!(said(&told(&mut world, queue, &error)), wanted, "from {sender}");
            }
        }
    }
}

#[test]
fn an_error_about_an_answer_from_elsewhere_is_the_switchs_whoever_sent_it() {
    for ((workers, is_late), service) in
        NODES.into_iter().flat_map(|node| ["10.96.0.3", "fd96::3"].map(|service| (node, service)))
    {
        let mut world = start(workers, is_late);
        let client = outside(&world, service);
        let asked = key_of(&told(&mut world, 0, &packets::udp(client, (5000, 53), b"hello")));
        let reply = packets::udp(answer_to(&world, HOST, &asked), (5353, asked.source_port), b"me");
        let heard = told(&mut world, 0, &reply);
        let v6 = usize::from(client.source.is_ipv6());
        let own = IpAddr::from(asked.source);
        assert_eq!(own, ip(["169.254.1.3", "fd4c:6f63:6b67::3"][v6]));
        let senders = SENDERS[v6].iter().map(|text| ip(text)).chain([client.source]);
        for (number, sender) in senders.enumerate() {
            let (kind, code) = ERRORS[v6][number % 3];
            let error = packets::icmp_error(Ends { source: sender, ..client }, kind, code, &heard);
            let queue = u8::try_from(number).unwrap() % workers;
            let backend = IpAddr::from(asked.target);
            let wanted = ((own, backend), (backend, 5353), (own, asked.source_port));
            assert_eq!(said(&told(&mut world, queue, &error)), wanted, "from {sender}");
        }
    }
}

/// A pod takes an error from anybody, and what is for a pod leaves by no stack of the node.
#[test]
fn who_is_on_the_way_between_a_pod_and_others_speaks_for_itself() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let far = to(&world, "10.96.0.3");
        let asked = sent(&mut world, A, &packets::udp(far, (5000, 53), b"hello")).1;
        let router = Ends { source: ip("192.0.2.99"), ..answer_to(&world, HOST, &key_of(&asked)) };
        let (at, error) = sent(&mut world, HOST, &packets::icmp_error(router, 3, 4, &asked));
        let wanted = ((router.source, far.source), (far.source, 5000), (far.target, 53));
        assert_eq!((at, said(&error)), (A, wanted));
        // And about what a pod here answers who asks it from beyond.
        let web = outside(&world, "10.96.0.1");
        let (at, arrived) = sent(&mut world, HOST, &syn(web, 20_000, 80));
        let back = answer_to(&world, at, &key_of(&arrived));
        let heard = sent(&mut world, at, &syn_ack(back, 8080, 20_000)).1;
        let router = Ends { source: ip("192.0.2.99"), ..web };
        let (pod, error) = sent(&mut world, HOST, &packets::icmp_error(router, 3, 4, &heard));
        let wanted = ((router.source, back.source), (back.source, 8080), (web.source, 20_000));
        assert_eq!((pod, said(&error)), (at, wanted));
    }
}

/// A pod is no router: an error of its own is about what it got itself, or is dropped.
#[test]
fn no_pod_tells_a_client_of_another_backend_anything() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let far = outside(&world, "10.96.0.3");
        let asked = told(&mut world, 0, &packets::udp(far, (5000, 53), b"hello"));
        // What it quotes was sent by whom it is for, or it is no error.
        for (target, wanted) in [
            ("169.254.1.3", DropReason::SpoofedSource),
            ("10.96.0.3", DropReason::Malformed),
            ("198.51.100.1", DropReason::Malformed),
        ] {
            let error = packets::icmp_error(to(&world, target), 3, 4, &asked);
            assert_eq!(dropped(&mut world, A, HOST, &error), wanted, "to {target}");
        }
    }
}

#[test]
fn that_nobody_serves_is_told_those_beyond_by_the_service_and_pods_by_the_gateway() {
    for (workers, is_late) in NODES {
        for (service, gateway) in [("10.96.0.4", "169.254.1.1"), ("fd96::4", "fe80::1")] {
            let mut world = start(workers, is_late);
            for (client, queue) in clients(&world, service).into_iter().zip([0, workers - 1]) {
                let heard = told(&mut world, queue, &packets::udp(client, (5000, 53), b"hello"));
                let outer = (client.target, client.source);
                assert_eq!(said(&heard), (outer, (client.source, 5000), (client.target, 53)));
            }
            let pod = to(&world, service);
            let heard = sent(&mut world, A, &packets::udp(pod, (5000, 53), b"hello")).1;
            let outer = (ip(gateway), pod.source);
            assert_eq!(said(&heard), (outer, (pod.source, 5000), (pod.target, 53)));
        }
    }
}

/// What is too long or too late for the backend's way: told about what the client wrote.
#[test]
fn what_cannot_leave_is_told_those_beyond_by_the_service() {
    for ((workers, _), services) in NODES.into_iter().flat_map(|node| {
        [["10.96.0.1", "fd96::1"], ["10.96.0.3", "fd96::3"]].map(|all| (node, all))
    }) {
        for service in services {
            let mut world = World::of(Shape { mtu: 1400, ..shape(workers) }, SERVICES);
            for client in clients(&world, service) {
                for queue in 0..workers {
                    let late = with_ttl(packets::udp(client, (5000, 53), b"hello"), 1);
                    let long = packets::udp(client, (5000, 53), &[0; 1400]);
                    for frame in [late, long] {
                        let heard = told(&mut world, queue, &frame);
                        let outer = (client.target, client.source);
                        let inner = ((client.source, 5000), (client.target, 53));
                        assert_eq!(said(&heard), (outer, inner.0, inner.1), "{service}");
                    }
                }
            }
        }
    }
}

/// An answer from elsewhere that dies at the switch: its backend hears it from an address that is of
/// no link's scope.
#[test]
fn an_answer_from_elsewhere_that_dies_here_is_told_by_an_address_that_stacks_forward() {
    for (workers, is_late) in NODES {
        for (service, own) in [("10.96.0.3", "169.254.1.1"), ("fd96::3", "fd4c:6f63:6b67::3")] {
            let mut world = start(workers, is_late);
            let client = outside(&world, service);
            let asked = key_of(&told(&mut world, 0, &packets::udp(client, (5000, 53), b"hello")));
            let back = answer_to(&world, HOST, &asked);
            let reply = packets::udp(back, (5353, asked.source_port), b"me");
            let heard = told(&mut world, workers - 1, &with_ttl(reply, 1));
            let outer = (ip(own), back.source);
            let inner = ((back.source, 5353), (back.target, asked.source_port));
            assert_eq!(said(&heard), (outer, inner.0, inner.1));
        }
    }
}

/// A backend here that nobody hears at: the pod says so, and the client hears its Service.
#[test]
fn what_a_backend_says_no_to_is_told_by_the_service() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let web = outside(&world, "10.96.0.1");
        let (at, arrived) = sent(&mut world, HOST, &packets::udp(web, (5000, 53), b"hello"));
        let back = answer_to(&world, at, &key_of(&arrived));
        let (host, error) = sent(&mut world, at, &packets::icmp_error(back, 3, 3, &arrived));
        let wanted = ((web.target, web.source), (web.source, 5000), (web.target, 53));
        assert_eq!((host, said(&error)), (HOST, wanted));
    }
}
