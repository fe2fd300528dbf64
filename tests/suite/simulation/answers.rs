//! What the switch itself says: ARP, neighbour discovery, echo; and to whom it is silent.

use std::net::Ipv4Addr;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::limits::ANSWERS_PER_SECOND;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_tests::packets::{self, Ends};
use lockgate_tests::world::{Fate, HOST, World};

use super::{CLIENT, CLUSTER, WEB, dropped, shape, v4, v6};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

fn arp(world: &World, asked: Ipv4Addr) -> Vec<u8> {
    packets::arp_request(world.mac(CLIENT), Ipv4Addr::new(10, 1, 0, 11), asked)
}

#[test]
fn the_gateway_is_found_by_arp_and_nobody_else_is() {
    let mut world = World::of(shape(1), CLUSTER);
    let Fate::Sent(reply) = world.fate(CLIENT, CLIENT, &arp(&world, GATEWAY)) else { panic!() };
    assert_eq!(reply[6..12], GATEWAY_MAC.0);
    assert_eq!(world.total(|c| c.answered.load()), 1);
    let web = arp(&world, Ipv4Addr::new(10, 1, 0, 10));
    assert_eq!(dropped(&mut world, CLIENT, CLIENT, &web), DropReason::NotForUs);
    let probe = packets::arp_request(world.mac(CLIENT), Ipv4Addr::UNSPECIFIED, GATEWAY);
    assert_eq!(dropped(&mut world, CLIENT, CLIENT, &probe), DropReason::NotForUs);
    let stolen = packets::arp_request(world.mac(CLIENT), Ipv4Addr::new(10, 1, 0, 10), GATEWAY);
    assert_eq!(dropped(&mut world, CLIENT, CLIENT, &stolen), DropReason::SpoofedSource);
    let mac = packets::arp_request(Mac([2, 1, 1, 1, 1, 1]), Ipv4Addr::new(10, 1, 0, 11), GATEWAY);
    assert_eq!(dropped(&mut world, CLIENT, CLIENT, &mac), DropReason::SpoofedMac);
}

#[test]
fn the_gateway_is_found_by_neighbour_discovery_and_detection_is_unanswered() {
    let mut world = World::of(shape(1), CLUSTER);
    let mac = world.mac(CLIENT);
    let ends = Ends {
        source_mac: mac,
        target_mac: Mac([0x33, 0x33, 0xff, 0, 0, 1]),
        source: "fd00::11".parse().unwrap(),
        target: "ff02::1:ff00:1".parse().unwrap(),
    };
    let gateway = "fe80::1".parse().unwrap();
    let asked = packets::neighbour_solicitation(ends, gateway, Some(mac));
    assert!(world.fate(CLIENT, CLIENT, &asked).is_sent());
    let local = Ends { source: "fe80::ff:fe00:2".parse().unwrap(), ..ends };
    let asked = packets::neighbour_solicitation(local, gateway, Some(mac));
    assert!(world.fate(CLIENT, CLIENT, &asked).is_sent(), "from its link-local address");
    let lies = packets::neighbour_solicitation(ends, gateway, Some(Mac([2, 1, 1, 1, 1, 1])));
    assert_eq!(dropped(&mut world, CLIENT, CLIENT, &lies), DropReason::SpoofedMac);
    let detection = Ends { source: "::".parse().unwrap(), ..ends };
    let detection = packets::neighbour_solicitation(detection, "fd00::11".parse().unwrap(), None);
    assert_eq!(dropped(&mut world, CLIENT, CLIENT, &detection), DropReason::NotForUs);
}

#[test]
fn the_gateway_answers_echo_to_pods_and_to_the_host() {
    let mut world = World::of(shape(2), CLUSTER);
    for (who, outside) in [(CLIENT, v4()), (CLIENT, v6()), (HOST, v4())] {
        let own = world.ends(who, WEB, outside);
        let target = if outside.is_ipv6() { "fe80::1" } else { "169.254.1.1" };
        let ends = Ends { target: target.parse().unwrap(), ..own };
        let ping = packets::echo(ends, false, 9, 1, b"are you there");
        let Fate::Sent(reply) = world.fate(who, who, &ping) else { panic!("{who} {outside}") };
        assert!(packets::has_right_checksums(&reply));
    }
}

#[test]
fn answers_to_one_port_are_limited_and_the_next_second_is_new() {
    let mut world = World::of(shape(1), CLUSTER);
    let limit = u64::from(ANSWERS_PER_SECOND);
    let mut answers = 0;
    for _ in 0..limit + 10 {
        let request = arp(&world, GATEWAY);
        world.inject(CLIENT, &request).unwrap();
        world.settle();
        answers += world.discard(CLIENT) as u64;
    }
    assert_eq!(answers, limit);
    assert_eq!(world.dropped(DropReason::AnswerLimited), 10);
    world.advance_ms(1000);
    assert!(world.fate(CLIENT, CLIENT, &arp(&world, GATEWAY)).is_sent());
}
