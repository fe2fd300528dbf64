//! The IPv4 header: lengths, options, checksum, and every protocol that is none of ours.

use lockgate_dataplane::counters::DropReason::{Malformed, Truncated, TtlExpired};

use super::build::{IP, edited, inner, syn, udp, udp_to, upper, with_options};
use super::{Entry, Scene};
use crate::packets::{ip, with_ttl};

/// A packet of another protocol: 16 bytes of payload.
fn of(scene: &Scene, number: u8) -> Vec<u8> {
    ip(scene.v4(), number, &[0x45; 16])
}

/// Another pod's IPv4 packet, for the inside of a tunnel.
fn inside(scene: &Scene) -> Vec<u8> {
    inner(scene.v4(), scene.other.v4.into())
}

/// A whole frame for the inside of a tunnel, as another pod would send it.
fn frame_inside(scene: &Scene) -> Vec<u8> {
    [&scene.target.mac.0[..], &scene.other.mac.0, &[8, 0], &inside(scene)].concat()
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry::dropped("ipv4-version", "an IP version that is none", Malformed, |s| {
        [0x05, 0x55, 0xf5].map(|first| edited(udp(s.v4()), &[(IP, first)])).to_vec()
    }),
    Entry::dropped("ipv4-ihl-short", "a header of fewer than five words", Malformed, |s| {
        [0x40, 0x41, 0x44].map(|first| edited(udp(s.v4()), &[(IP, first)])).to_vec()
    }),
    Entry::dropped("ipv4-ihl-long", "a header longer than the packet", Malformed, |s| {
        vec![edited(udp(s.v4()), &[(IP, 0x4f)])]
    }),
    Entry::dropped("ipv4-total-below-header", "a total length below 20", Malformed, |s| {
        [0, 1, 19].map(|low| edited(udp(s.v4()), &[(17, low)])).to_vec()
    }),
    Entry::dropped("ipv4-total-beyond-frame", "a total length beyond the frame", Truncated, |s| {
        vec![edited(udp(s.v4()), &[(17, 37)]), edited(udp(s.v4()), &[(16, 0xff), (17, 0xff)])]
    }),
    Entry::dropped("ipv4-total-cuts-udp", "a total length that hides UDP bytes", Malformed, |s| {
        vec![edited(udp(s.v4()), &[(17, 30)])]
    }),
    Entry::dropped("ipv4-total-cuts-tcp", "a total length amid the TCP header", Truncated, |s| {
        vec![edited(syn(s.v4(), b"load"), &[(17, 36)])]
    }),
    Entry::dropped("ipv4-checksum", "a wrong header checksum", Malformed, |s| {
        let mut frame = udp(s.v4());
        frame[24] ^= 0x55;
        vec![frame]
    }),
    Entry::dropped("ipv4-evil-bit", "the reserved flag (RFC 3514)", Malformed, |s| {
        vec![edited(udp(s.v4()), &[(20, 0x80)])]
    }),
    Entry::dropped(
        "ipv4-ttl",
        "a packet at its end, so that others see it only",
        TtlExpired,
        |s| [0, 1].map(|ttl| with_ttl(udp(s.v4()), ttl)).to_vec(),
    ),
    Entry::dropped("ipv4-source-route", "loose and strict source routes", Malformed, |s| {
        [131, 137].map(|kind| with_options(s.v4(), &[kind, 7, 4, 10, 0, 0, 9, 0])).to_vec()
    }),
    Entry::dropped("ipv4-source-route-hidden", "a source route behind others", Malformed, |s| {
        let hidden = [[1, 1, 1, 1, 131, 3, 4, 0], [7, 4, 4, 0, 137, 3, 4, 0]];
        hidden.map(|options| with_options(s.v4(), &options)).to_vec()
    }),
    Entry::dropped("ipv4-option-lies", "options of length 0, 1 and beyond", Malformed, |s| {
        let lies = [[7, 0, 0, 0], [7, 1, 0, 0], [7, 9, 0, 0], [1, 1, 1, 7]];
        lies.map(|options| with_options(s.v4(), &options)).to_vec()
    }),
    Entry::judged("ipv4-options", "record route, timestamp, router alert, security label", |s| {
        let good =
            [[7, 7, 4, 0, 0, 0, 0, 0], [68, 8, 5, 0, 0, 0, 0, 0], [148, 4, 0, 0, 0, 0, 0, 0]];
        let mut frames = good.map(|options| with_options(s.v4(), &options)).to_vec();
        frames.push(with_options(s.v4(), &[134, 8, 0, 0, 0, 1, 5, 2]));
        frames
    }),
    Entry::judged("ipv4-options-after-end", "a source route behind the end of options", |s| {
        vec![with_options(s.v4(), &[0, 131, 7, 4, 10, 0, 0, 9])]
    }),
    Entry::portless("ipv4-protocol-0", "IP protocol 0 (CVE-2023-1668)", |s| vec![of(s, 0)]),
    Entry::portless("ipv4-protocol-unknown", "protocols that nobody knows", |s| {
        [63, 200, 253, 254, 255].map(|number| of(s, number)).to_vec()
    }),
    Entry::portless("ipv4-as-ipv6-extension", "IPv6's extension headers over IPv4", |s| {
        [43, 44, 58, 59, 60, 135].map(|number| of(s, number)).to_vec()
    }),
    Entry::portless("ipip", "another pod's packet in IPIP and in 6in4", |s| {
        let v6 = inner(s.v6(), s.other.v6.into());
        vec![ip(s.v4(), 4, &inside(s)), ip(s.v4(), 41, &v6)]
    }),
    Entry::portless("gre", "another pod's packet, and frame, in GRE", |s| {
        let packet = [&[0, 0, 8, 0][..], &inside(s)].concat();
        let frame = [&[0, 0, 0x65, 0x58][..], &frame_inside(s)].concat();
        vec![ip(s.v4(), 47, &packet), ip(s.v4(), 47, &frame)]
    }),
    Entry::portless("ipv4-ah", "TCP behind an authentication header: the road ends there", |s| {
        let load = [&[6, 4, 0, 0][..], &[0; 20], upper(&syn(s.v4(), b""))].concat();
        vec![ip(s.v4(), 51, &load)]
    }),
    Entry::portless("ipv4-other-tunnels", "ESP, EtherIP, L2TP, MPLS in IP", |s| {
        [50, 97, 115, 137].map(|number| of(s, number)).to_vec()
    }),
    Entry::portless("ipv4-routers-protocols", "IGP, EIGRP, OSPF, PIM, VRRP to one pod", |s| {
        [9, 88, 89, 103, 112].map(|number| of(s, number)).to_vec()
    }),
    Entry::judged("vxlan", "another pod's frame in VXLAN: UDP as any other", |s| {
        let load = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &frame_inside(s)].concat();
        vec![udp_to(s.v4(), 4789, &load), udp_to(s.v6(), 4789, &load)]
    }),
    Entry::judged("geneve", "another pod's frame in Geneve, options that lie", |s| {
        let load = [&[0x3f, 0x40, 0x65, 0x58, 0, 0, 1, 0][..], &frame_inside(s)].concat();
        vec![udp_to(s.v4(), 6081, &load)]
    }),
    Entry::judged("other-udp-tunnels", "GTP, L2TP, Teredo, WireGuard: UDP as any other", |s| {
        [2152, 1701, 3544, 51820].map(|port| udp_to(s.v4(), port, &inside(s))).to_vec()
    }),
    Entry::judged("bfd", "BFD from a pod: UDP as any other, nobody here speaks it", |s| {
        vec![udp_to(s.v4(), 3784, &[0x20, 0x40, 5, 24, 0, 0, 0, 1])]
    }),
];
