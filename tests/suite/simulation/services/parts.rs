//! Parts of datagrams and errors, through a Service.

use std::net::IpAddr;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::{Kind, Packet, parse};
use lockgate_tests::packets::{self, Ends, fragments, has_right_checksums, joined, with_ttl};
use lockgate_tests::world::{Fate, HOST, World};

use super::super::shape;
use super::{A, B, C, NODES, SERVICES, answer_to, ip, key_of, sent, start, to};

/// Injects frames one by one and gives all that arrives at whom.
pub(super) fn all(
    world: &mut World,
    from: &str,
    frames: &[Vec<u8>],
) -> Vec<(&'static str, Vec<u8>)> {
    for frame in frames {
        world.inject(from, frame).unwrap();
        world.settle();
    }
    let mut arrived = Vec::new();
    for name in [A, B, C, HOST] {
        arrived.extend(world.received(name).into_iter().map(|frame| (name, frame)));
    }
    arrived
}

#[test]
fn a_datagram_in_pieces_arrives_whole_in_any_order_and_so_does_its_answer() {
    for (workers, is_late) in NODES {
        for (service, at) in [("10.96.0.1", "pod"), ("fd96::1", "pod"), ("10.96.0.3", "far")] {
            for order in 0..3 {
                let mut world = start(workers, is_late);
                pieces(&mut world, service, order, at == "far");
            }
        }
    }
}

fn pieces(world: &mut World, service: &str, order: usize, is_far: bool) {
    let payload: Vec<u8> = (0..5000_u16).map(|n| (n % 251) as u8).collect();
    let there = to(world, service);
    let mut parts = fragments(&packets::udp(there, (5000, 53), &payload), 77, 1400);
    shuffle(&mut parts, order);
    let arrived = all(world, A, &parts);
    assert_eq!(arrived.len(), parts.len(), "{service} {order}: {:?}", world.drops());
    let at = arrived[0].0;
    assert!(arrived.iter().all(|(name, _)| *name == at), "one backend");
    assert_eq!(at == HOST, is_far);
    let frames: Vec<_> = arrived.into_iter().map(|(_, frame)| frame).collect();
    let key = key_of(&frames[0]);
    let arrived = Ends { source: key.source.into(), target: key.target.into(), ..there };
    assert_eq!(joined(&frames), Some(upper(arrived, (5000, 5353), &payload)));
    let back = answer_to(world, at, &key);
    let mut parts = fragments(&packets::udp(back, (5353, 5000), &payload), 78, 1400);
    shuffle(&mut parts, order);
    let arrived = all(world, at, &parts);
    assert_eq!(arrived.len(), parts.len(), "back, {service} {order}: {:?}", world.drops());
    let frames: Vec<_> = arrived.into_iter().map(|(_, frame)| frame).collect();
    assert_eq!(joined(&frames), Some(upper(there.reversed(), (53, 5000), &payload)));
    assert_eq!(IpAddr::from(key_of(&frames[0]).source), there.target);
}

/// The upper layer of a datagram.
pub(super) fn upper(ends: Ends, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let at = if ends.source.is_ipv6() { 54 } else { 34 };
    packets::udp(ends, ports, payload).split_off(at)
}

pub(super) fn shuffle(parts: &mut [Vec<u8>], order: usize) {
    match order {
        0 => {}
        1 => parts.reverse(),
        _ => parts.rotate_left(1),
    }
}

/// SCTP's checksum stands in the first part and is of the whole, whose length only the last says.
#[test]
fn sctp_in_pieces_passes_where_its_port_stays_and_is_dropped_where_it_would_change() {
    for (workers, is_late) in NODES {
        for (port, served) in [(9, 99), (7, 7)] {
            let mut world = start(workers, is_late);
            let there = to(&world, "10.96.0.1");
            let init = [0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1];
            let (at, arrived) =
                sent(&mut world, A, &packets::sctp(there, (6000, port), 0, 1, &init));
            let back = answer_to(&world, at, &key_of(&arrived));
            sent(&mut world, at, &packets::sctp(back, (served, 6000), 1, 2, &init));
            let data =
                |ends, ports| fragments(&packets::sctp(ends, ports, 1, 0, &[5; 4000]), 7, 1400);
            let before = world.dropped(DropReason::Fragment);
            for (from, parts) in [(A, data(there, (6000, port))), (at, data(back, (served, 6000)))]
            {
                let before = world.dropped(DropReason::Fragment);
                let arrived = all(&mut world, from, &parts).len();
                let dropped = world.dropped(DropReason::Fragment) - before;
                let all = parts.len();
                let expected = if port == served { (all, 0) } else { (0, all as u64) };
                assert_eq!((arrived, dropped), expected, "from {from}, {workers} {is_late}");
            }
            assert_eq!(world.dropped(DropReason::Fragment) > before, port != served);
        }
    }
}

#[test]
fn pieces_for_nobody_are_told_once_and_dropped() {
    let mut world = World::of(shape(1), SERVICES);
    let there = to(&world, "10.96.0.4");
    let parts = fragments(&packets::udp(there, (5000, 53), &[7; 4000]), 9, 1400);
    let arrived = all(&mut world, A, &parts);
    assert_eq!(arrived.len(), 1, "one word about a datagram");
    assert_eq!(world.dropped(DropReason::NoBackend), parts.len() as u64);
}

#[test]
fn an_error_about_a_clients_packet_is_about_what_it_wrote() {
    for (workers, is_late) in NODES {
        for service in ["10.96.0.1", "fd96::1"] {
            let mut world = start(workers, is_late);
            let there = to(&world, service);
            let (at, arrived) = sent(&mut world, A, &packets::udp(there, (5000, 53), b"hello"));
            let back = answer_to(&world, at, &key_of(&arrived));
            let kind = if there.source.is_ipv6() { (1, 4) } else { (3, 3) };
            let error = packets::icmp_error(back, kind.0, kind.1, &arrived);
            let (client, told) = sent(&mut world, at, &error);
            assert_eq!(client, A);
            let Ok(Packet::Ip(headers)) = parse(&told) else { panic!() };
            assert_eq!(IpAddr::from(headers.key.source), there.target, "as from the Service");
            let Kind::IcmpError { inner } = headers.kind else { panic!() };
            assert_eq!((IpAddr::from(inner.target), inner.target_port), (there.target, 53));
            assert_eq!((IpAddr::from(inner.source), inner.source_port), (there.source, 5000));
        }
    }
}

#[test]
fn a_router_on_the_way_speaks_for_itself_about_what_the_client_wrote() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let there = to(&world, "10.96.0.3");
        let (at, arrived) = sent(&mut world, A, &packets::udp(there, (5000, 53), b"hello"));
        assert_eq!(at, HOST);
        let router =
            Ends { source: ip("192.0.2.99"), ..answer_to(&world, HOST, &key_of(&arrived)) };
        let error = packets::icmp_error(router, 3, 4, &arrived);
        let (client, told) = sent(&mut world, HOST, &error);
        assert_eq!(client, A);
        let Ok(Packet::Ip(headers)) = parse(&told) else { panic!() };
        assert_eq!(IpAddr::from(headers.key.source), ip("192.0.2.99"));
        let Kind::IcmpError { inner } = headers.kind else { panic!() };
        assert_eq!((IpAddr::from(inner.target), inner.target_port), (there.target, 53));
    }
}

#[test]
fn a_clients_error_about_an_answer_reaches_the_backend_as_about_what_that_sent() {
    for (workers, is_late) in NODES {
        for service in ["10.96.0.1", "fd96::1", "10.96.0.2", "fd96::2"] {
            let mut world = start(workers, is_late);
            let there = to(&world, service);
            let (at, arrived) = sent(&mut world, A, &packets::udp(there, (5000, 53), b"hello"));
            let back = answer_to(&world, at, &key_of(&arrived));
            let reply = packets::udp(back, (5353, 5000), b"there");
            let (client, answered) = sent(&mut world, at, &reply);
            assert_eq!(client, A);
            let kind = if there.source.is_ipv6() { (1, 4) } else { (3, 3) };
            let error = packets::icmp_error(there, kind.0, kind.1, &answered);
            let (told, error) = sent(&mut world, A, &error);
            assert_eq!(told, at);
            let Ok(Packet::Ip(headers)) = parse(&error) else { panic!() };
            assert_eq!(IpAddr::from(headers.key.source), back.target, "{service}");
            let Kind::IcmpError { inner } = headers.kind else { panic!() };
            assert_eq!((IpAddr::from(inner.source), inner.source_port), (back.source, 5353));
            assert_eq!((IpAddr::from(inner.target), inner.target_port), (back.target, 5000));
        }
    }
}

#[test]
fn what_the_switch_says_of_a_clients_packet_is_about_what_it_wrote() {
    for (workers, is_late) in NODES {
        for service in ["10.96.0.1", "fd96::1"] {
            let mut world = start(workers, is_late);
            let there = to(&world, service);
            let dying = with_ttl(packets::udp(there, (5000, 53), b"hello"), 1);
            let Fate::Both(told, reason) = world.fate(A, A, &dying) else { panic!("not told") };
            assert_eq!(reason, DropReason::TtlExpired);
            let Ok(Packet::Ip(headers)) = parse(&told) else { panic!() };
            assert!(has_right_checksums(&told));
            let Kind::IcmpError { inner } = headers.kind else { panic!() };
            assert_eq!((IpAddr::from(inner.target), inner.target_port), (there.target, 53));
        }
    }
}
