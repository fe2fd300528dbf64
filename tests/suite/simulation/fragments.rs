//! Datagrams in pieces: judged by their first, in whatever order they come.

use std::net::IpAddr;

use lockgate_dataplane::connection::fragment::{PER_PORT, WAITING_MAX, WAITING_PER_PORT};
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::limits::{FAIR_WINDOW_MS, FRAGMENTS_PER_MS};
use lockgate_tests::packets::{self, Piece, fragment, fragments, joined, pieces, unfinished};
use lockgate_tests::world::{HOST, Shape, World};

use super::{CLIENT, CLOSED, CLUSTER, OTHER, WEB, shape, syn, v4, v6};

/// A datagram that web's policy allows, longer than one frame.
pub(super) fn datagram(world: &World, outside: IpAddr, bytes: usize) -> Vec<u8> {
    let load: Vec<u8> = (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect();
    packets::udp(world.ends(CLIENT, WEB, outside), (5000, 53), &load)
}

/// What arrives at web of what the client sends.
pub(super) fn arrive(world: &mut World, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    for frame in frames {
        world.inject(CLIENT, frame).unwrap();
        world.settle();
    }
    world.received(WEB)
}

/// The upper layer of a frame without options.
pub(super) fn upper(frame: &[u8]) -> &[u8] {
    &frame[if frame[12] == 8 { 34 } else { 54 }..]
}

fn held(world: &World) -> u64 {
    world.total(|counters| counters.held.load())
}

/// Drops since `before`, by reason.
fn dropped_since(world: &World, before: &[u64]) -> Vec<(DropReason, u64)> {
    let after = world.drops();
    let moved = |reason: &DropReason| after[*reason as usize] - before[*reason as usize];
    DropReason::ALL.iter().map(|r| (*r, moved(r))).filter(|(_, n)| *n > 0).collect()
}

#[test]
fn a_datagram_in_pieces_arrives_in_whatever_order_they_come() {
    for (workers, outside) in [(1, v4()), (1, v6()), (2, v4()), (3, v6())] {
        let mut world = World::of(shape(workers), CLUSTER);
        let whole = datagram(&world, outside, 60_000);
        let mut sent = fragments(&whole, 7, 1448);
        assert_eq!(sent.len(), 42);
        for order in 0..4 {
            match order {
                1 => sent.reverse(),
                2 => sent.rotate_left(20),
                3 => sent.sort_by_key(|frame| frame[frame.len() - 1]),
                _ => {}
            }
            let arrived = arrive(&mut world, &sent);
            assert_eq!(joined(&arrived).as_deref(), Some(upper(&whole)), "{outside}, {order}");
            assert_eq!(held(&world), 0);
        }
        assert_eq!(world.drops().iter().sum::<u64>(), 0);
        assert_eq!(world.connections(), 1);
    }
}

#[test]
fn a_whole_batch_in_one_turn_is_judged_in_order() {
    let mut world = World::of(shape(2), CLUSTER);
    let whole = datagram(&world, v4(), 20_000);
    let mut sent = fragments(&whole, 7, 1448);
    sent.swap(0, 5);
    for frame in &sent {
        world.inject(CLIENT, frame).unwrap();
    }
    world.settle();
    assert_eq!(joined(&world.received(WEB)).as_deref(), Some(upper(&whole)));
}

#[test]
fn an_echo_in_pieces_passes_with_its_reply_and_the_gateway_answers_none() {
    for outside in [v4(), v6()] {
        let mut world = World::of(shape(2), CLUSTER);
        let (there, back) =
            (world.ends(CLIENT, OTHER, outside), world.ends(OTHER, CLIENT, outside));
        let ask = packets::echo(there, false, 9, 1, &[7; 4000]);
        for frame in fragments(&ask, 1, 1448) {
            world.inject(CLIENT, &frame).unwrap();
        }
        world.settle();
        assert_eq!(joined(&world.received(OTHER)).as_deref(), Some(upper(&ask)));
        let answer = packets::echo(back, true, 9, 1, &[7; 4000]);
        for frame in fragments(&answer, 1, 1448).iter().rev() {
            world.inject(OTHER, frame).unwrap();
        }
        world.settle();
        assert_eq!(joined(&world.received(CLIENT)).as_deref(), Some(upper(&answer)));
        assert_eq!(world.drops().iter().sum::<u64>(), 0);

        let gateway: IpAddr =
            if outside.is_ipv4() { "169.254.1.1" } else { "fe80::1" }.parse().unwrap();
        let ping =
            packets::echo(packets::Ends { target: gateway, ..there }, false, 9, 1, &[7; 4000]);
        let before = world.drops();
        for frame in fragments(&ping, 2, 1448) {
            world.inject(CLIENT, &frame).unwrap();
        }
        world.settle();
        assert!(world.received(CLIENT).is_empty());
        let reasons = [(DropReason::Fragment, 1), (DropReason::NotForUs, 2)];
        assert_eq!(dropped_since(&world, &before), reasons);
    }
}

#[test]
fn what_policy_denies_of_the_first_is_denied_of_all() {
    for reversed in [false, true] {
        for workers in [1, 2] {
            let mut world = World::of(shape(workers), CLOSED);
            let whole = datagram(&world, v4(), 6000);
            let mut sent = fragments(&whole, 7, 1448);
            if reversed {
                sent.reverse();
            }
            let before = world.drops();
            assert!(arrive(&mut world, &sent).is_empty());
            assert_eq!(dropped_since(&world, &before), [(DropReason::IngressDenied, 5)]);
            assert_eq!((held(&world), world.connections()), (0, 0));
            assert_eq!(world.samples().len(), 1, "one packet was judged");
            // And in one batch.
            for frame in &fragments(&whole, 8, 1448) {
                world.inject(CLIENT, frame).unwrap();
            }
            world.settle();
            assert_eq!(dropped_since(&world, &before), [(DropReason::IngressDenied, 10)]);
        }
    }
}

#[test]
fn a_permission_that_goes_between_two_fragments_is_gone() {
    let mut world = World::of(shape(1), CLUSTER);
    let whole = datagram(&world, v4(), 6000);
    let sent = fragments(&whole, 7, 1448);
    assert_eq!(arrive(&mut world, &sent[..2]).len(), 2);
    world.set_file("cluster.yaml", CLOSED);
    let before = world.drops();
    assert!(arrive(&mut world, &sent[2..]).is_empty());
    assert_eq!(dropped_since(&world, &before), [(DropReason::IngressDenied, 3)]);
}

#[test]
fn what_a_fragment_began_goes_on_to_no_other_pod() {
    // Whoever has the address now may be reached as well, but this datagram was not for it.
    let heir = CLUSTER.replacen("name: web\n", "name: heir\n", 1);
    let mut world = World::of(shape(1), CLUSTER);
    let sent = fragments(&datagram(&world, v4(), 6000), 7, 1448);
    assert_eq!(arrive(&mut world, &sent[..2]).len(), 2);
    world.set_file("cluster.yaml", &heir);
    let before = world.drops();
    for frame in &sent[2..] {
        world.inject(CLIENT, frame).unwrap();
        world.settle();
    }
    assert!(world.received("shop/heir").is_empty());
    assert_eq!(dropped_since(&world, &before), [(DropReason::NoConnection, 3)]);
}

#[test]
fn fragments_without_a_first_pass_nowhere_and_are_given_up_in_time() {
    for outside in [v4(), v6()] {
        let mut world = World::of(shape(2), CLUSTER);
        let sent = fragments(&datagram(&world, outside, 6000), 7, 1448);
        assert!(arrive(&mut world, &sent[1..]).is_empty());
        world.advance_ms(14_000);
        assert_eq!((held(&world), world.drops().iter().sum::<u64>()), (4, 0));
        world.advance_ms(1_500);
        assert_eq!((held(&world), world.dropped(DropReason::FragmentTimeout)), (0, 4));
        // A first that comes later finds nothing that waits, and is one of its own.
        assert_eq!(arrive(&mut world, &sent[..1]).len(), 1);
    }
}

#[test]
fn what_overlaps_spoils_its_datagram() {
    for outside in [v4(), v6()] {
        let base = World::of(shape(1), CLUSTER);
        let whole = datagram(&base, outside, 4000);
        let [first, second, third] = <[Piece; 3]>::try_from(pieces(&whole, 1448)).unwrap();
        let moved = |piece: &Piece, offset| Piece { offset, ..piece.clone() };
        let rows: [(&str, Vec<Piece>); 6] = [
            ("a first twice", vec![first.clone(), first.clone(), second.clone()]),
            ("a middle twice", vec![first.clone(), second.clone(), second.clone(), third.clone()]),
            ("over the ports", vec![first.clone(), moved(&second, 8), third.clone()]),
            ("before the first", vec![moved(&second, 8), first.clone(), third.clone()]),
            (
                "two ends",
                vec![first.clone(), third.clone(), Piece { more: false, ..second.clone() }],
            ),
            ("beyond the end", vec![first.clone(), third.clone(), moved(&second, 8000)]),
        ];
        for (name, sent) in rows {
            let mut world = World::of(shape(1), CLUSTER);
            let frames: Vec<_> = sent.iter().map(|piece| fragment(&whole, 7, piece)).collect();
            let arrived = arrive(&mut world, &frames);
            assert_eq!(joined(&arrived), None, "{name}");
            let dropped = world.dropped(DropReason::FragmentOverlap);
            assert_eq!(arrived.len() as u64 + dropped, frames.len() as u64, "{name}");
            assert!(dropped > 0, "{name}");
            assert_eq!(held(&world), 0, "{name}");
        }
    }
}

#[test]
fn a_first_fragment_without_its_headers_is_dropped() {
    for outside in [v4(), v6()] {
        let mut world = World::of(shape(1), CLUSTER);
        let there = world.ends(CLIENT, WEB, outside);
        let tcp =
            packets::tcp(there, (4000, 80), lockgate_dataplane::packet::TcpFlags::SYN, &[0; 100]);
        for (bytes, reason) in
            [(8, Some(DropReason::FragmentTiny)), (16, Some(DropReason::FragmentTiny)), (24, None)]
        {
            let before = world.drops();
            let sent = fragments(&tcp, bytes, bytes as usize);
            let arrived = arrive(&mut world, &sent[..1]);
            let expected: Vec<_> = reason.into_iter().map(|reason| (reason, 1)).collect();
            assert_eq!(dropped_since(&world, &before), expected, "{bytes}");
            assert_eq!(arrived.len(), usize::from(reason.is_none()));
        }
    }
}

#[test]
fn a_port_that_leaves_datagrams_unfinished_loses_its_own() {
    let mut world = World::of(shape(1), CLUSTER);
    let others = packets::udp(world.ends(OTHER, CLIENT, v4()), (5000, 53), &[1; 4000]);
    let other = fragments(&others, 1, 1448);
    world.inject(OTHER, &other[0]).unwrap();
    world.settle();
    let whole = datagram(&world, v4(), 4000);
    let waiting = |id: u16| fragments(&whole, id.into(), 1448)[1].clone();
    for id in 0..PER_PORT + 10 {
        assert!(arrive(&mut world, &[waiting(id)]).is_empty());
    }
    assert_eq!(held(&world), u64::from(PER_PORT));
    assert_eq!(world.dropped(DropReason::FragmentLimit), 10);
    // The oldest went; the others come whole when their first does.
    for id in [3, 20] {
        let sent = fragments(&whole, id, 1448);
        let arrived = arrive(&mut world, &[sent[0].clone(), sent[2].clone()]);
        assert_eq!(joined(&arrived).is_some(), id == 20, "{id}");
    }
    for frame in &other[1..] {
        world.inject(OTHER, frame).unwrap();
    }
    world.settle();
    assert_eq!(joined(&world.received(CLIENT)).as_deref(), Some(upper(&others)));
}

#[test]
fn no_more_fragments_wait_than_a_port_may_have() {
    let mut world = World::of(shape(1), CLUSTER);
    let whole = datagram(&world, v4(), 60_000);
    for id in 0..8_u32 {
        for frame in fragments(&whole, id, 1448).iter().rev().take(40) {
            world.inject(CLIENT, frame).unwrap();
            world.settle();
            assert!(held(&world) <= u64::from(WAITING_PER_PORT));
        }
    }
    let kept = held(&world);
    assert_eq!(kept + world.dropped(DropReason::FragmentLimit), 8 * 40);
    assert!(kept >= u64::from(WAITING_PER_PORT) - 40, "{kept}");
    // What came last still comes whole.
    let sent = fragments(&whole, 7, 1448);
    let arrived = arrive(&mut world, &sent[..2]);
    assert_eq!(joined(&arrived).as_deref(), Some(upper(&whole)));
}

#[test]
fn fragments_from_outside_to_one_pod_cost_none_to_another() {
    let mut world = World::of(shape(1), CLUSTER);
    let from = |world: &World, who: [u8; 4], to: &str| {
        packets::udp(world.ends(HOST, to, who.into()), (5000, 53), &[7; 6000])
    };
    let sent = fragments(&from(&world, [203, 0, 113, 77], OTHER), 1, 1448);
    world.inject(HOST, &sent[0]).unwrap();
    for id in 0..4 * u32::from(PER_PORT) {
        let other = from(&world, [198, 51, 100, 1], CLIENT);
        world.inject(HOST, &fragments(&other, id, 1448)[1]).unwrap();
        world.settle();
    }
    sent[1..].iter().for_each(|frame| world.inject(HOST, frame).unwrap());
    world.settle();
    assert!(joined(&world.received(OTHER)).is_some());
}

#[test]
fn no_more_fragments_are_looked_at_in_a_window_than_may_be() {
    let mut world = World::of(shape(1), CLUSTER);
    let whole = datagram(&world, v4(), 3000);
    let [first, ..] = &fragments(&whole, 7, 1448)[..] else { panic!() };
    let flood = |world: &mut World| {
        for _ in 0..FRAGMENTS_PER_MS * FAIR_WINDOW_MS {
            world.inject(CLIENT, first).unwrap();
            world.inject(CLIENT, first).unwrap();
            world.settle();
            world.discard(WEB);
        }
    };
    flood(&mut world);
    let beyond = u64::from(FRAGMENTS_PER_MS * FAIR_WINDOW_MS);
    assert_eq!(world.dropped(DropReason::FragmentLimit), beyond);
    // Another has its part, and the next window is new.
    let others = packets::udp(world.ends(OTHER, CLIENT, v4()), (5000, 53), &[1; 4000]);
    for frame in &fragments(&others, 9, 1448) {
        world.inject(OTHER, frame).unwrap();
    }
    world.settle();
    assert!(joined(&world.received(CLIENT)).is_some());
    world.pass_ms(FAIR_WINDOW_MS.into());
    let arrived = arrive(&mut world, &fragments(&whole, 8, 1448));
    assert_eq!(joined(&arrived).as_deref(), Some(upper(&whole)));
}

#[test]
fn the_checksum_of_a_fragment_is_left_alone() {
    // In a fragment, what stands in the checksum's place was finished before it was taken apart.
    let mut world = World::of(shape(1), CLUSTER);
    let whole = unfinished(datagram(&world, v4(), 3000));
    let arrived = arrive(&mut world, &fragments(&whole, 7, 1448));
    assert_eq!(joined(&arrived).as_deref(), Some(upper(&whole)));
}

#[test]
fn nobody_speaks_as_another_in_pieces() {
    let mut world = World::of(shape(1), CLUSTER);
    let as_other = packets::Ends { source_mac: world.mac(CLIENT), ..world.ends(OTHER, WEB, v4()) };
    let whole = packets::udp(as_other, (5000, 53), &[1; 4000]);
    let before = world.drops();
    assert!(arrive(&mut world, &fragments(&whole, 7, 1448)).is_empty());
    assert_eq!(dropped_since(&world, &before), [(DropReason::SpoofedSource, 3)]);
    assert_eq!(held(&world), 0);
}

#[test]
fn a_later_fragment_with_the_flags_of_a_beginning_begins_nothing() {
    // The bytes of a later fragment are never read as headers.
    let mut world = World::of(shape(1), CLUSTER);
    let there = world.ends(CLIENT, WEB, v4());
    let begin = syn(there, 4000, 80);
    let later = Piece { offset: 800, more: true, bytes: upper(&begin)[..16].to_vec() };
    assert!(arrive(&mut world, &[fragment(&begin, 7, &later)]).is_empty());
    assert_eq!((world.connections(), held(&world)), (0, 1));
}

/// `count` more pods like `other`, `shop/x100` and so on.
fn with_more_pods(count: usize) -> String {
    let other = CLUSTER.split("---\n").find(|text| text.contains("name: other")).expect("there");
    let more = (100..).take(count).map(|n| {
        let pod = other.replace("name: other", &format!("name: x{n}"));
        let pod = pod.replace("veth-other", &format!("veth-x{n}"));
        pod.replace("10.1.0.12", &format!("10.1.0.{n}")).replace("fd00::12", &format!("fd00::{n}"))
    });
    more.chain([CLUSTER.to_owned()]).collect::<Vec<_>>().join("---\n")
}

/// As many as may leave so many without taking the last quarter.
#[test]
fn a_datagram_in_any_order_crosses_beside_eleven_pods_that_leave_all_waiting_that_they_may() {
    let mut world = World::of(Shape { frames: 8192, ..shape(1) }, &with_more_pods(11));
    for id in 0..u32::from(WAITING_PER_PORT) {
        for n in 100..111 {
            let from = format!("shop/x{n}");
            let small = packets::udp(world.ends(&from, CLIENT, v4()), (5, 5), &[0; 64]);
            world.inject(&from, &fragments(&small, id, 16)[1]).expect("room");
        }
        world.settle();
        world.pass_ms(4);
    }
    assert_eq!(held(&world), 11 * u64::from(WAITING_PER_PORT));
    for order in 0..3 {
        let mut sent = fragments(&datagram(&world, v4(), 60_000), 1000 + order, 1448);
        match order {
            0 => sent.reverse(),
            1 => sent.rotate_left(6),
            _ => sent.swap(0, 1),
        }
        let arrived = arrive(&mut world, &sent);
        assert!(joined(&arrived).is_some(), "order {order}");
        world.pass_ms(4);
    }
}

#[test]
fn a_flood_of_fragments_from_outside_to_one_pod_costs_other_pods_none_from_outside() {
    let mut world = World::of(shape(1), CLUSTER);
    let from = |world: &World, who: [u8; 4], to: &str| {
        packets::udp(world.ends(HOST, to, who.into()), (5000, 53), &[7; 6000])
    };
    for ms in 0..20_u32 {
        let flood = from(&world, [198, 51, 100, 1], CLIENT);
        for id in 0..FRAGMENTS_PER_MS {
            let one = &fragments(&flood, (ms * FRAGMENTS_PER_MS + id) & 0x7fff, 1448)[1];
            world.inject(HOST, one).expect("room");
            world.settle();
        }
        for frame in fragments(&from(&world, [203, 0, 113, 77], OTHER), 40_000 + ms, 1448) {
            world.inject(HOST, &frame).expect("room");
        }
        world.settle();
        assert!(joined(&world.received(OTHER)).is_some(), "in millisecond {ms}");
        world.pass_ms(1);
    }
}

#[test]
fn pods_that_send_a_few_fragments_leave_others_all_that_they_do_not_use() {
    let mut world = World::of(shape(1), &with_more_pods(12));
    let whole = datagram(&world, v4(), 60_000);
    for ms in 0..20_u32 {
        for n in 100..112 {
            let from = format!("shop/x{n}");
            let small = packets::udp(world.ends(&from, CLIENT, v4()), (5, 5), &[0; 64]);
            world.inject(&from, &fragments(&small, ms, 32)[1]).expect("room");
        }
        world.settle();
        let arrived = arrive(&mut world, &fragments(&whole, ms, 1448));
        assert!(joined(&arrived).is_some(), "in millisecond {ms}");
        world.pass_ms(1);
    }
}

#[test]
fn fragments_from_outside_that_wait_leave_pods_half_of_the_places() {
    let mut world = World::of(Shape { frames: 8192, ..shape(1) }, &with_more_pods(40));
    let lone = |world: &mut World, to: &str, id: u32| {
        let ends = world.ends(HOST, to, [198, 51, 100, 1].into());
        let one = packets::udp(ends, (5, 5), &[0; 64]);
        world.inject(HOST, &fragments(&one, id, 8)[1]).expect("room");
        world.settle();
    };
    for n in 100..140 {
        let to = format!("shop/x{n}");
        for id in 0..60_u32 {
            lone(&mut world, &to, id);
            if id % 30 == 0 {
                world.pass_ms(1);
            }
        }
    }
    assert_eq!(held(&world), WAITING_MAX as u64 / 2, "half of the places, and no more");
    // One more sender outside is not kept out by those who came before it.
    lone(&mut world, CLIENT, 1);
    assert_eq!(held(&world), WAITING_MAX as u64 / 2);
    let mut late = fragments(&datagram(&world, v4(), 6000), 7, 1448);
    late.swap(0, 1);
    assert!(joined(&arrive(&mut world, &late)).is_some(), "one that came before its first");
}

#[test]
fn a_flood_of_fragments_from_outside_to_all_pods_costs_none_that_pods_send() {
    let mut world = World::of(shape(1), &with_more_pods(40));
    let whole = datagram(&world, v4(), 60_000);
    for ms in 0..5_u32 {
        for n in 0..2 * FRAGMENTS_PER_MS {
            let to = format!("shop/x{}", 100 + n % 40);
            let ends = world.ends(HOST, &to, [198, 51, 100, 1].into());
            let one = packets::udp(ends, (5, 5), &[0; 64]);
            world.inject(HOST, &fragments(&one, ms * 2000 + n, 8)[1]).expect("room");
            world.settle();
        }
        let arrived = arrive(&mut world, &fragments(&whole, ms, 1448));
        assert!(joined(&arrived).is_some(), "in millisecond {ms}");
        world.pass_ms(1);
    }
}
