//! Who sent it: MACs, addresses, the host port, addresses that change hands.

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::ids::Mac;
use lockgate_tests::packets::{self, Ends};
use lockgate_tests::world::{HOST, Shape, World};

use super::{CLIENT, CLUSTER, OTHER, WEB, ack, dropped, open, shape, syn, v4, v6};

#[test]
fn a_pod_speaks_with_its_own_mac_and_addresses_only() {
    for outside in [v4(), v6()] {
        let mut world = World::of(shape(2), CLUSTER);
        let own = world.ends(CLIENT, WEB, outside);
        let mac = Ends { source_mac: Mac([2, 9, 9, 9, 9, 9]), ..own };
        assert_eq!(dropped(&mut world, CLIENT, WEB, &syn(mac, 1, 80)), DropReason::SpoofedMac);
        let source = world.ends(OTHER, WEB, outside).source;
        let stolen = Ends { source, ..own };
        let frame = syn(stolen, 1, 80);
        assert_eq!(dropped(&mut world, CLIENT, WEB, &frame), DropReason::SpoofedSource);
    }
}

#[test]
fn a_pod_does_not_speak_as_the_node() {
    let mut world = World::of(shape(1), CLUSTER);
    let own = world.ends(CLIENT, WEB, v4());
    let node = Ends { source: "10.9.0.1".parse().unwrap(), ..own };
    let frame = syn(node, 1, 9999);
    assert_eq!(dropped(&mut world, CLIENT, WEB, &frame), DropReason::SpoofedSource);
}

#[test]
fn the_host_port_does_not_speak_as_a_local_pod() {
    let mut world = World::of(shape(2), CLUSTER);
    let client = world.ends(CLIENT, WEB, v4());
    let forged = Ends { source_mac: world.mac(HOST), ..client };
    let frame = syn(forged, 1, 80);
    assert_eq!(dropped(&mut world, HOST, WEB, &frame), DropReason::SpoofedSource);
}

#[test]
fn what_is_said_about_links_comes_from_the_host_port_to_no_pod() {
    for (workers, outside) in [(1, v4()), (2, v6())] {
        let mut world = World::of(shape(workers), CLUSTER);
        let ends = world.ends(HOST, WEB, outside);
        // Redirects, advertisements of routers, and what a DHCP server tells its client.
        let (kinds, lease) =
            if outside.is_ipv4() { ([5, 9], (67, 68)) } else { ([137, 134], (547, 546)) };
        let mut frames = vec![packets::udp(ends, lease, &[2; 240])];
        frames
            .extend(kinds.map(|kind| {
                packets::with_ttl(packets::icmp(ends, kind, 0, [0; 4], &[0; 40]), 255)
            }));
        for frame in frames {
            assert_eq!(dropped(&mut world, HOST, WEB, &frame), DropReason::NotForUs);
        }
    }
}

#[test]
fn what_is_not_for_the_gateway_is_not_forwarded() {
    let mut world = World::of(shape(1), CLUSTER);
    let own = world.ends(CLIENT, WEB, v4());
    let mac = Ends { target_mac: world.mac(WEB), ..own };
    assert_eq!(dropped(&mut world, CLIENT, WEB, &syn(mac, 1, 80)), DropReason::NotForUs);
    let multicast = Ends { target: "224.0.0.251".parse().unwrap(), ..own };
    let frame = packets::udp(multicast, (5353, 5353), b"x");
    assert_eq!(dropped(&mut world, CLIENT, WEB, &frame), DropReason::NotForUs);
}

/// NP-54: who gets an address inherits nothing of who had it.
#[test]
fn a_new_pod_with_an_old_address_inherits_no_connection() {
    let mut world = World::of(shape(2), CLUSTER);
    let (_, back) = open(&mut world, v4(), 40_000);
    let heir =
        CLUSTER.replace("name: client\n", "name: heir\n").replace("app: client", "app: heir");
    world.set_file("cluster.yaml", &heir);
    let there = world.ends("shop/heir", WEB, v4());
    assert_eq!(there.source, back.target, "the address is the same");
    let frame = ack(there, 40_000, 80);
    assert_eq!(dropped(&mut world, "shop/heir", WEB, &frame), DropReason::NoConnection);
    assert_eq!(world.connections(), 0, "the old record is gone");
}

/// The same at the other end: whoever has the address of a target gets none of its packets, and
/// answers none.
#[test]
fn a_new_pod_with_an_old_targets_address_inherits_no_connection() {
    let heir = CLUSTER.replacen("name: web\n", "name: heir\n", 1);
    for (from, to) in [(CLIENT, "shop/heir"), ("shop/heir", CLIENT)] {
        let mut world = World::of(shape(2), CLUSTER);
        let (there, _) = open(&mut world, v4(), 40_000);
        world.set_file("cluster.yaml", &heir);
        let ends = world.ends(from, to, v4());
        assert!([ends.source, ends.target].contains(&there.target), "the address is the same");
        let ports = if from == CLIENT { (40_000, 80) } else { (80, 40_000) };
        let frame = ack(ends, ports.0, ports.1);
        assert_eq!(dropped(&mut world, from, to, &frame), DropReason::NoConnection);
        assert_eq!(world.connections(), 0, "the old record is gone");
    }
}

#[test]
fn a_removed_pod_takes_nothing_with_it_and_leaves_its_frames() {
    let mut world = World::of(shape(1), CLUSTER);
    open(&mut world, v4(), 40_000);
    let first = "shop/client";
    let without: Vec<&str> =
        CLUSTER.split("---\n").filter(|doc| !doc.contains("name: client\n")).collect();
    world.set_file("cluster.yaml", &without.join("---\n"));
    assert!(!world.names().contains(&first.to_owned()));
    world.set_file("cluster.yaml", CLUSTER);
    open(&mut world, v6(), 41_000);
}

#[test]
fn before_the_first_snapshot_nothing_passes() {
    let mut world = World::new(Shape::default());
    let ends = Ends {
        source_mac: world.mac(HOST),
        target_mac: lockgate_dataplane::packet::answer::GATEWAY_MAC,
        source: v4(),
        target: "10.1.0.10".parse().unwrap(),
    };
    assert_eq!(dropped(&mut world, HOST, HOST, &syn(ends, 1, 80)), DropReason::Unsynced);
}
