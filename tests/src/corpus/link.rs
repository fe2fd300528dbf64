//! The link layer: what is neither IPv4, IPv6 nor ARP, and IP in another coat.

use lockgate_dataplane::counters::DropReason::{Malformed, NotForUs, NotIp, Truncated, VlanTagged};
use lockgate_dataplane::ids::Mac;

use super::Entry;
use super::build::{IP, inner, raw, tagged, udp, udp_to};
use crate::packets::Ends;

pub(super) const ENTRIES: &[Entry] = &[
    Entry::dropped("ethernet-alone", "an Ethernet header and nothing behind it", Truncated, |s| {
        vec![raw(s.v4(), 0x0800, &[])]
    })
    .unsent("the kernel sends no frame without a payload"),
    Entry::dropped("ethertype-unknown", "an EtherType that nobody knows", NotIp, |s| {
        vec![raw(s.v4(), 0x88b5, &udp(s.v4())[IP..])]
    }),
    Entry::dropped("llc-snap", "IPv4 in 802.3 with LLC and SNAP", NotIp, |s| {
        let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &udp(s.v4())[IP..]].concat();
        vec![raw(s.v4(), u16::try_from(snap.len()).unwrap(), &snap)]
    }),
    Entry::dropped("llc-stp", "a bridge's spanning tree message", NotIp, |s| {
        let ends = Ends { target_mac: Mac([1, 0x80, 0xc2, 0, 0, 0]), ..s.v4() };
        vec![raw(ends, 38, &[&[0x42, 0x42, 3][..], &[0; 35]].concat())]
    }),
    Entry::dropped("vlan-tag", "a tag of VLAN 5 in the frame", VlanTagged, |s| {
        vec![tagged(&udp(s.v4()), &[0x81, 0, 0, 5])]
    }),
    Entry::dropped("vlan-priority", "a priority tag: VLAN 0", VlanTagged, |s| {
        vec![tagged(&udp(s.v6()), &[0x81, 0, 0xe0, 0])]
    }),
    Entry::dropped("vlan-double", "two 802.1Q tags: VLAN hopping", VlanTagged, |s| {
        vec![tagged(&udp(s.v4()), &[0x81, 0, 0, 1, 0x81, 0, 0, 5])]
    }),
    Entry::dropped("vlan-qinq", "an 802.1ad tag and an 802.1Q tag", VlanTagged, |s| {
        vec![tagged(&udp(s.v4()), &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 5])]
    }),
    Entry::dropped("vlan-qinq-old", "the older numbers of stacked tags", VlanTagged, |s| {
        let tags = [0x91, 0x92, 0x93].map(|number| [number, 0, 0, 5]);
        tags.iter().map(|tag| tagged(&udp(s.v4()), tag)).collect()
    }),
    Entry::dropped("mpls", "IPv4 under one MPLS label", NotIp, |s| {
        vec![raw(s.v4(), 0x8847, &[&[0, 1, 1, 64][..], &udp(s.v4())[IP..]].concat())]
    }),
    Entry::dropped("mpls-bottomless", "MPLS labels without a bottom", NotIp, |s| {
        vec![raw(s.v4(), 0x8847, &[0, 1, 0, 64].repeat(300)), raw(s.v4(), 0x8848, &[0; 64])]
    }),
    Entry::dropped("pppoe", "IPv4 in a PPPoE session, and its discovery", NotIp, |s| {
        let session = [&[0x11, 0, 0, 1, 0, 46, 0, 0x21][..], &udp(s.v4())[IP..]].concat();
        vec![raw(s.v4(), 0x8864, &session), raw(s.v4(), 0x8863, &[0x11, 9, 0, 0, 0, 0])]
    }),
    Entry::dropped("lldp", "LLDP with an organisation's TLV that lies", NotIp, |s| {
        let ends = Ends { target_mac: Mac([1, 0x80, 0xc2, 0, 0, 0xe]), ..s.v4() };
        let tlvs = [2, 7, 4, 2, 0, 0, 0, 0, 1, 0xfe, 3, 0, 0x80, 0xc2, 0xff, 0xff, 0, 0];
        vec![raw(ends, 0x88cc, &tlvs)]
    }),
    Entry::dropped("other-ethertypes", "EAPOL, MACsec, RARP, NSH, TRILL, pause", NotIp, |s| {
        let all = [0x888e, 0x88e5, 0x8035, 0x894f, 0x22f3, 0x8808];
        all.iter().map(|&number| raw(s.v4(), number, &inner(s.v4(), s.other.v4.into()))).collect()
    }),
    Entry::dropped("ipv6-as-ipv4", "an IPv6 packet under IPv4's EtherType", Malformed, |s| {
        vec![raw(s.v4(), 0x0800, &udp(s.v6())[IP..])]
    }),
    Entry::dropped("ipv4-as-ipv6", "an IPv4 packet under IPv6's EtherType", Malformed, |s| {
        vec![raw(s.v4(), 0x86dd, &udp_to(s.v4(), 53, &[7; 40])[IP..])]
    }),
    Entry::dropped("to-ethernet-broadcast", "to one address, by broadcast", NotForUs, |s| {
        vec![udp(Ends { target_mac: Mac([0xff; 6]), ..s.v4() })]
    }),
    Entry::dropped("to-ethernet-group", "to one address, by multicast", NotForUs, |s| {
        vec![udp(Ends { target_mac: Mac([0x33, 0x33, 0, 0, 0, 1]), ..s.v6() })]
    }),
    Entry::dropped("to-a-pods-mac", "past the gateway, to the target's own MAC", NotForUs, |s| {
        vec![udp(Ends { target_mac: s.target.mac, ..s.v4() })]
    }),
    Entry::judged("padding", "bytes behind the end of the packet: they go no further", |s| {
        [s.v4(), s.v6()].map(|ends| [udp(ends), vec![0xee; 40]].concat()).to_vec()
    }),
];
