//! The way of a packet: judged, rewritten, sent; or dropped for one reason.

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_tests::packets::{self, has_right_checksums, unfinished, with_ttl};
use lockgate_tests::world::{Fate, HOST, Shape, World};

use super::{
    CLIENT, CLOSED, CLUSTER, OTHER, WEB, ack, dropped, friend, open, shape, syn, syn_ack, v4, v6,
};

#[test]
fn an_allowed_connection_passes_both_ways_and_is_rewritten() {
    for (workers, outside) in [(1, v4()), (1, v6()), (2, v4()), (3, v6())] {
        let mut world = World::of(shape(workers), CLUSTER);
        let (there, _) = open(&mut world, outside, 40_000);
        let frame =
            packets::tcp(there, (40_000, 80), lockgate_dataplane::packet::TcpFlags::ACK, b"x");
        let Fate::Sent(arrived) = world.fate(CLIENT, WEB, &unfinished(frame)) else {
            panic!("not sent");
        };
        assert_eq!(arrived[..6], world.mac(WEB).0, "the target's MAC");
        assert_eq!(arrived[6..12], GATEWAY_MAC.0, "the gateway's MAC");
        let ttl = if outside.is_ipv6() { arrived[14 + 7] } else { arrived[14 + 8] };
        assert_eq!(ttl, packets::TTL - 1);
        assert!(has_right_checksums(&arrived), "an unfinished checksum was not finished");
        assert_eq!(world.connections(), 1);
    }
}

#[test]
fn what_policy_denies_is_dropped_named_and_leaves_no_state() {
    for workers in [1, 2] {
        let mut world = World::of(shape(workers), CLUSTER);
        let _ = world.samples();
        let to_81 = syn(world.ends(CLIENT, WEB, v4()), 40_000, 81);
        assert_eq!(dropped(&mut world, CLIENT, WEB, &to_81), DropReason::IngressDenied);
        let from_other = syn(world.ends(OTHER, WEB, v6()), 40_000, 80);
        assert_eq!(dropped(&mut world, OTHER, WEB, &from_other), DropReason::IngressDenied);
        let out = syn(world.ends(WEB, CLIENT, v4()), 40_000, 80);
        assert_eq!(dropped(&mut world, WEB, CLIENT, &out), DropReason::EgressDenied);
        assert_eq!(world.connections(), 0);
        let denied = world.samples();
        let reasons: Vec<_> = denied.iter().map(|sample| sample.outcome).collect();
        assert_eq!(reasons.len(), 3, "{denied:?}");
        assert!(denied.iter().all(|sample| sample.source.is_some() && sample.target.is_some()));
    }
}

#[test]
fn a_sample_is_lost_when_it_was_due_and_not_when_its_flow_was_told_about() {
    let mut world = World::of(shape(1), CLUSTER);
    let ends = world.ends(CLIENT, WEB, v4());
    let lost = |world: &World| world.total(|c| c.events_lost.load());
    for _ in 0..10 {
        let again = syn(ends, 40_000, 81);
        assert_eq!(dropped(&mut world, CLIENT, WEB, &again), DropReason::IngressDenied);
    }
    assert_eq!((world.samples().len(), lost(&world)), (1, 0), "one flow, told about once");
    let flows = 300;
    for port in 0..flows {
        let other = syn(ends, 10_000 + port, 81);
        assert_eq!(dropped(&mut world, CLIENT, WEB, &other), DropReason::IngressDenied);
    }
    let told = world.samples().len();
    assert!(told < usize::from(flows), "nobody took the samples");
    assert_eq!(told as u64 + lost(&world), u64::from(flows));
}

#[test]
fn a_reply_without_a_connection_is_dropped() {
    let mut world = World::of(shape(1), CLUSTER);
    let there = world.ends(CLIENT, WEB, v4());
    for frame in [syn_ack(there, 40_000, 80), ack(there, 40_000, 80)] {
        assert_eq!(dropped(&mut world, CLIENT, WEB, &frame), DropReason::NoConnection);
    }
    let reply = packets::echo(world.ends(OTHER, CLIENT, v4()), true, 7, 1, b"ping");
    assert_eq!(dropped(&mut world, OTHER, CLIENT, &reply), DropReason::NoConnection);
}

#[test]
fn udp_and_echo_open_connections_that_replies_pass_by() {
    for outside in [v4(), v6()] {
        let mut world = World::of(shape(2), CLUSTER);
        let (there, back) = (world.ends(CLIENT, WEB, outside), world.ends(WEB, CLIENT, outside));
        assert!(world.fate(CLIENT, WEB, &packets::udp(there, (5000, 53), b"who")).is_sent());
        assert!(world.fate(WEB, CLIENT, &packets::udp(back, (53, 5000), b"me")).is_sent());
        let (there, back) =
            (world.ends(CLIENT, OTHER, outside), world.ends(OTHER, CLIENT, outside));
        assert!(world.fate(CLIENT, OTHER, &packets::echo(there, false, 7, 1, b"ping")).is_sent());
        assert!(world.fate(OTHER, CLIENT, &packets::echo(back, true, 7, 1, b"ping")).is_sent());
        // Rules with ports do not let ICMP through (NP-25).
        let to_web = packets::echo(world.ends(CLIENT, WEB, outside), false, 8, 1, b"ping");
        assert_eq!(dropped(&mut world, CLIENT, WEB, &to_web), DropReason::IngressDenied);
    }
}

#[test]
fn outside_addresses_are_judged_by_their_block() {
    let mut world = World::of(shape(2), CLUSTER);
    let from_friend = world.ends(HOST, WEB, friend());
    assert!(world.fate(HOST, WEB, &syn(from_friend, 1, 80)).is_sent());
    let back = world.ends(WEB, HOST, friend());
    let Fate::Sent(reply) = world.fate(WEB, HOST, &syn_ack(back, 80, 1)) else { panic!() };
    assert_eq!(reply[..6], lockgate_tests::world::HOST_MAC.0);
    let excepted = world.ends(HOST, WEB, "192.0.2.200".parse().unwrap());
    assert_eq!(dropped(&mut world, HOST, WEB, &syn(excepted, 1, 80)), DropReason::IngressDenied);
    let remote = world.ends(HOST, WEB, "10.2.0.11".parse().unwrap());
    assert!(world.fate(HOST, WEB, &syn(remote, 2, 80)).is_sent(), "a pod of another node");
}

#[test]
fn the_own_node_may_speak_to_its_pods_and_not_be_spoken_for() {
    let mut world = World::of(shape(1), CLUSTER);
    let node = "10.9.0.1".parse().unwrap();
    assert!(world.fate(HOST, WEB, &syn(world.ends(HOST, WEB, node), 1, 9999)).is_sent());
    let back = syn_ack(world.ends(WEB, HOST, node), 9999, 1);
    assert!(world.fate(WEB, HOST, &back).is_sent(), "the reply");
    let out = syn(world.ends(WEB, HOST, node), 40_000, 22);
    assert_eq!(dropped(&mut world, WEB, HOST, &out), DropReason::EgressDenied, "not exempt");
    let other_node = world.ends(HOST, WEB, "10.9.0.2".parse().unwrap());
    let frame = syn(other_node, 1, 80);
    assert_eq!(dropped(&mut world, HOST, WEB, &frame), DropReason::IngressDenied, "not this node");
}

#[test]
fn a_packet_at_its_end_is_answered_with_time_exceeded() {
    for (workers, outside) in [(1, v4()), (2, v6())] {
        let mut world = World::of(shape(workers), CLUSTER);
        for ttl in [0, 1] {
            let frame = with_ttl(syn(world.ends(CLIENT, WEB, outside), 40_000, 80), ttl);
            world.inject(CLIENT, &frame).unwrap();
            world.settle();
            assert!(world.received(WEB).is_empty());
            let answers = world.received(CLIENT);
            assert_eq!(answers.len(), 1, "one time-exceeded for TTL {ttl}");
            assert!(has_right_checksums(&answers[0]));
        }
        assert_eq!(world.dropped(DropReason::TtlExpired), 2);
        assert_eq!(world.total(|c| c.originated.load()), 2);
        assert_eq!(world.connections(), 0, "what did not leave opened nothing");
    }
}

#[test]
fn a_packet_above_the_mtu_is_answered_with_too_big() {
    for outside in [v4(), v6()] {
        let mut world = World::of(Shape { mtu: 1400, ..shape(2) }, CLUSTER);
        let (there, _) = open(&mut world, outside, 40_000);
        let flags = lockgate_dataplane::packet::TcpFlags::ACK;
        let header = if outside.is_ipv6() { 60 } else { 40 };
        let fits = packets::tcp(there, (40_000, 80), flags, &vec![1; 1400 - header]);
        assert!(world.fate(CLIENT, WEB, &fits).is_sent());
        let long = packets::tcp(there, (40_000, 80), flags, &vec![1; 1401 - header]);
        world.inject(CLIENT, &long).unwrap();
        world.settle();
        assert!(world.received(WEB).is_empty());
        assert_eq!(world.received(CLIENT).len(), 1, "one too-big");
        assert_eq!(world.dropped(DropReason::TooBig), 1);
    }
}

#[test]
fn icmp_errors_pass_for_what_passed_and_for_nothing_else() {
    for (workers, outside) in [(1, v4()), (2, v6())] {
        let mut world = World::of(shape(workers), CLUSTER);
        let unreachable = if outside.is_ipv6() { (1, 4) } else { (3, 3) };
        let there = world.ends(CLIENT, WEB, outside);
        let back = world.ends(WEB, CLIENT, outside);
        let asked = packets::udp(there, (5000, 53), b"who");
        let error = packets::icmp_error(back, unreachable.0, unreachable.1, &asked);
        assert_eq!(dropped(&mut world, WEB, CLIENT, &error), DropReason::NoConnection);
        assert!(world.fate(CLIENT, WEB, &asked).is_sent());
        assert!(world.fate(WEB, CLIENT, &error).is_sent());
        // Forged: it quotes a packet that another pod would have sent.
        let foreign = packets::udp(world.ends(OTHER, WEB, outside), (5000, 53), b"who");
        let forged = packets::icmp_error(back, unreachable.0, unreachable.1, &foreign);
        let reason = dropped(&mut world, WEB, CLIENT, &forged);
        assert!(matches!(reason, DropReason::SpoofedSource | DropReason::Malformed), "{reason:?}");
    }
}

/// NP-57: a connection that is cut takes its errors with it, and they are back when it is.
#[test]
fn icmp_errors_of_a_connection_that_was_cut_are_cut_too() {
    for (workers, outside) in [(1, v4()), (2, v6())] {
        let mut world = World::of(shape(workers), CLUSTER);
        let unreachable = if outside.is_ipv6() { (1, 4) } else { (3, 3) };
        let (there, back) = (world.ends(CLIENT, WEB, outside), world.ends(WEB, CLIENT, outside));
        let asked = packets::udp(there, (5000, 53), b"who");
        let error = packets::icmp_error(back, unreachable.0, unreachable.1, &asked);
        assert!(world.fate(CLIENT, WEB, &asked).is_sent());
        world.set_file("cluster.yaml", CLOSED);
        assert_eq!(dropped(&mut world, WEB, CLIENT, &error), DropReason::IngressDenied);
        world.set_file("cluster.yaml", CLUSTER);
        assert!(world.fate(WEB, CLIENT, &error).is_sent());
    }
}

#[test]
fn a_pod_reaches_itself() {
    let mut world = World::of(shape(1), CLUSTER);
    let itself = world.ends(WEB, WEB, v4());
    // The same source and target address never comes from a sane stack: the parser refuses it.
    assert_eq!(dropped(&mut world, WEB, WEB, &syn(itself, 1, 81)), DropReason::Martian);
}

#[test]
fn a_worker_that_does_not_turn_costs_its_own_packets_only() {
    let mut world = World::of(Shape { frames: 8192, ..shape(2) }, CLUSTER);
    let (near, far) = (world.worker_of(OTHER), world.worker_of(CLIENT));
    assert_ne!(near, far, "the two are on different workers");
    let mut sent = 0;
    for port in 0..4000_u16 {
        let frame = packets::udp(world.ends(OTHER, CLIENT, v4()), (port, 53), b"x");
        while world.inject(OTHER, &frame).is_err() {
            world.turn_one(near.0);
        }
        sent += 1;
    }
    world.turn_one(near.0);
    assert!(world.dropped(DropReason::HandoffFull) > 0, "the ring has an end");
    world.settle();
    let arrived = world.received(CLIENT).len() as u64;
    let lost: u64 = world.drops().iter().sum();
    assert_eq!(arrived + lost, sent, "every packet ended somewhere");
}
