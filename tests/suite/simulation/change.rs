//! Policy changes while connections live (NP-50, NP-51, NP-57).

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::worker::Established;
use lockgate_tests::world::{Shape, World};

use super::{CLIENT, CLOSED, CLUSTER, WEB, ack, dropped, open, shape, syn, v4, v6};

#[test]
fn a_revoked_connection_is_cut_both_ways_and_revives() {
    for (workers, outside) in [(1, v4()), (2, v6())] {
        let mut world = World::of(shape(workers), CLUSTER);
        let (there, back) = open(&mut world, outside, 40_000);
        world.set_file("cluster.yaml", CLOSED);
        let (forth, reply) = (ack(there, 40_000, 80), ack(back, 80, 40_000));
        assert_eq!(dropped(&mut world, CLIENT, WEB, &forth), DropReason::IngressDenied);
        assert_eq!(dropped(&mut world, WEB, CLIENT, &reply), DropReason::IngressDenied);
        assert_eq!(world.connections(), 1, "the record stays, marked denied");
        world.set_file("cluster.yaml", CLUSTER);
        assert!(world.fate(WEB, CLIENT, &reply).is_sent(), "a reply revives it too");
        assert!(world.fate(CLIENT, WEB, &forth).is_sent());
    }
}

#[test]
fn the_reply_alone_notices_a_revocation() {
    let mut world = World::of(shape(2), CLUSTER);
    let (_, back) = open(&mut world, v4(), 40_000);
    world.set_file("cluster.yaml", CLOSED);
    let reply = ack(back, 80, 40_000);
    assert_eq!(dropped(&mut world, WEB, CLIENT, &reply), DropReason::IngressDenied);
}

#[test]
fn an_unrelated_change_cuts_nothing() {
    let mut world = World::of(shape(2), CLUSTER);
    let (there, back) = open(&mut world, v4(), 40_000);
    world.set_file("more.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: new}}");
    assert!(world.fate(CLIENT, WEB, &ack(there, 40_000, 80)).is_sent());
    assert!(world.fate(WEB, CLIENT, &ack(back, 80, 40_000)).is_sent());
}

#[test]
fn kept_connections_outlive_their_permission_and_new_ones_do_not_begin() {
    let kept = Shape { established: Established::Keep, ..shape(2) };
    let mut world = World::of(kept, CLUSTER);
    let (there, back) = open(&mut world, v4(), 40_000);
    world.set_file("cluster.yaml", CLOSED);
    assert!(world.fate(CLIENT, WEB, &ack(there, 40_000, 80)).is_sent());
    assert!(world.fate(WEB, CLIENT, &ack(back, 80, 40_000)).is_sent());
    let second = syn(there, 40_001, 80);
    assert_eq!(dropped(&mut world, CLIENT, WEB, &second), DropReason::IngressDenied);
}

#[test]
fn the_last_policy_gone_everything_passes() {
    let mut world = World::of(shape(1), CLUSTER);
    let there = world.ends(CLIENT, WEB, v4());
    let frame = syn(there, 40_000, 81);
    assert_eq!(dropped(&mut world, CLIENT, WEB, &frame), DropReason::IngressDenied);
    let (objects, _) = CLUSTER.split_once("---\napiVersion: networking").unwrap();
    world.set_file("cluster.yaml", objects);
    assert!(world.fate(CLIENT, WEB, &frame).is_sent());
}

#[test]
fn an_unanswered_connection_is_forgotten_after_its_time() {
    let mut world = World::of(shape(1), CLUSTER);
    let there = world.ends(CLIENT, WEB, v4());
    assert!(world.fate(CLIENT, WEB, &syn(there, 40_000, 80)).is_sent());
    world.advance_ms(29_000);
    assert_eq!(world.connections(), 1);
    world.advance_ms(3_000);
    assert_eq!(world.connections(), 0);
}
