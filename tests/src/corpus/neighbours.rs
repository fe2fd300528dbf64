//! ARP and neighbour discovery: who says to have which address (RFC 826, 4861, 5227).

use std::net::{Ipv4Addr, Ipv6Addr};

use lockgate_dataplane::counters::DropReason::{
    ExtensionHeaders, Malformed, NotForUs, SpoofedMac, SpoofedSource, Truncated,
};
use lockgate_dataplane::ids::Mac;

use super::build::{PADDING, UPPER_V6, edited, extended, raw, upper};
use super::{Entry, Scene};
use crate::packets::{Ends, arp, neighbour_advertisement, neighbour_solicitation, with_ttl};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ALL: Mac = Mac([0xff; 6]);
const NONE: Mac = Mac([0; 6]);

/// A broadcast ARP question or answer in which the sender says to have an address.
fn says(scene: &Scene, operation: u16, address: Ipv4Addr, asked: Ipv4Addr) -> Vec<u8> {
    let mac = scene.sender.mac;
    arp(mac, ALL, operation, (mac, address), (NONE, asked))
}

/// To the group of all who might have an address.
fn to_group(scene: &Scene, source: &str, asked: Ipv6Addr) -> Ends {
    let [.., a, b, c] = asked.octets();
    let target =
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let target_mac = Mac([0x33, 0x33, 0xff, a, b, c]);
    Ends {
        source_mac: scene.sender.mac,
        target_mac,
        source: source.parse().unwrap(),
        target: target.into(),
    }
}

/// A solicitation from the sender's own address.
fn asks(scene: &Scene, asked: Ipv6Addr, link: Option<Mac>) -> Vec<u8> {
    neighbour_solicitation(to_group(scene, &scene.sender.v6.to_string(), asked), asked, link)
}

/// An advertisement to one pod, by the gateway.
fn tells(scene: &Scene, source: Ipv6Addr, about: Ipv6Addr, link: Option<Mac>) -> Vec<u8> {
    let ends = Ends { source: source.into(), ..scene.v6() };
    neighbour_advertisement(ends, about, false, link)
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry::dropped(
        "arp-address-of-another",
        "asks as another, node, gateway",
        SpoofedSource,
        |s| [s.other.v4, s.node, GATEWAY].map(|address| says(s, 1, address, GATEWAY)).to_vec(),
    ),
    Entry::dropped("arp-reply-for-another", "answers for others unasked", SpoofedSource, |s| {
        [s.other.v4, s.target.v4, GATEWAY].map(|address| says(s, 2, address, s.target.v4)).to_vec()
    }),
    Entry::dropped("arp-gratuitous-for-another", "announces another's", SpoofedSource, |s| {
        [1, 2].map(|operation| says(s, operation, s.other.v4, s.other.v4)).to_vec()
    }),
    Entry::dropped("arp-mac-of-another", "its own address at another's MAC", SpoofedMac, |s| {
        let (own, other) = (s.sender.mac, s.other.mac);
        vec![
            arp(own, ALL, 2, (other, s.sender.v4), (NONE, s.target.v4)),
            arp(other, ALL, 2, (own, s.sender.v4), (NONE, s.target.v4)),
            arp(other, ALL, 1, (other, s.other.v4), (NONE, GATEWAY)),
            arp(own, ALL, 2, (ALL, s.sender.v4), (NONE, s.target.v4)),
        ]
    }),
    Entry::dropped("arp-gratuitous", "announces itself: nobody else is there", NotForUs, |s| {
        [1, 2].map(|operation| says(s, operation, s.sender.v4, s.sender.v4)).to_vec()
    }),
    Entry::dropped("arp-reply-alone", "an answer that nobody asked for", NotForUs, |s| {
        let own = (s.sender.mac, s.sender.v4);
        vec![arp(s.sender.mac, s.target.mac, 2, own, (s.target.mac, s.target.v4))]
    }),
    Entry::dropped("arp-for-another", "asks for other pods, and for the free", NotForUs, |s| {
        let probe = says(s, 1, Ipv4Addr::UNSPECIFIED, s.other.v4);
        vec![says(s, 1, s.sender.v4, s.target.v4), says(s, 1, s.sender.v4, s.node), probe]
    }),
    Entry::dropped("arp-operations", "reverse, inverse and unknown operations", NotForUs, |s| {
        [0, 3, 4, 8, 9, 25, 65_535].map(|op| says(s, op, s.sender.v4, GATEWAY)).to_vec()
    }),
    Entry::dropped("arp-other-hardware", "ARP of other hardware and lengths", Malformed, |s| {
        let request = says(s, 1, s.sender.v4, GATEWAY);
        [(15, 6), (16, 0x86), (18, 8), (19, 16)]
            .map(|edit| edited(request.clone(), &[edit]))
            .to_vec()
    }),
    Entry::dropped("arp-short", "less than an ARP packet", Truncated, |s| {
        let request = says(s, 1, s.sender.v4, GATEWAY);
        vec![request[..41].to_vec(), raw(s.v4(), 0x0806, &request[14..30])]
    }),
    Entry::dropped(
        "ns-link-of-another",
        "asks with another's MAC in its option",
        SpoofedMac,
        |s| {
            let other = Some(s.other.mac);
            vec![asks(s, GATEWAY_V6, other), asks(s, s.target.v6, other)]
        },
    ),
    Entry::dropped(
        "ns-address-of-another",
        "asks as another, as the gateway",
        SpoofedSource,
        |s| {
            let sources = [s.other.v6.to_string(), GATEWAY_V6.to_string()];
            let as_if = |source: String| {
                let ends = to_group(s, &source, GATEWAY_V6);
                neighbour_solicitation(ends, GATEWAY_V6, Some(s.sender.mac))
            };
            sources.map(as_if).to_vec()
        },
    ),
    Entry::dropped(
        "ns-for-another",
        "asks for another pod, and whether one is free",
        NotForUs,
        |s| {
            let detection = to_group(s, "::", s.other.v6);
            let detection = neighbour_solicitation(detection, s.other.v6, None);
            vec![asks(s, s.target.v6, Some(s.sender.mac)), detection]
        },
    ),
    Entry::dropped("ns-from-nobody", "no address, but a MAC", Malformed, |s| {
        let ends = to_group(s, "::", s.other.v6);
        vec![neighbour_solicitation(ends, s.other.v6, Some(s.sender.mac))]
    }),
    Entry::dropped("ns-checksum", "asks the gateway, with a wrong checksum", Malformed, |s| {
        let asked = asks(s, GATEWAY_V6, Some(s.sender.mac));
        let [high, low] = [UPPER_V6 + 2, UPPER_V6 + 3].map(|at| (at, !asked[at]));
        vec![edited(asked.clone(), &[high]), edited(asked, &[low])]
    }),
    Entry::dropped("nd-from-afar", "ND that has passed a router", Malformed, |s| {
        let link = Some(s.sender.mac);
        let told = tells(s, s.sender.v6, s.sender.v6, link);
        vec![with_ttl(asks(s, GATEWAY_V6, link), 254), with_ttl(told, 64)]
    }),
    Entry::dropped("nd-option-lies", "options of no length, and twice a MAC", Malformed, |s| {
        let link = Some(s.sender.mac);
        let asked = asks(s, GATEWAY_V6, link);
        let mut twice = [&asked[..], &asked[UPPER_V6 + 24..]].concat();
        twice[19] += 8;
        vec![
            edited(asked.clone(), &[(UPPER_V6 + 25, 0)]),
            edited(asked, &[(UPPER_V6 + 25, 9)]),
            twice,
        ]
    }),
    Entry::dropped(
        "na-for-another",
        "says to have others' addresses (CVE-2023-5366)",
        SpoofedSource,
        |s| {
            let (own, link) = (s.sender.v6, Some(s.sender.mac));
            vec![
                tells(s, own, s.other.v6, link),
                tells(s, own, s.target.v6, None),
                tells(s, own, GATEWAY_V6, link),
                tells(s, GATEWAY_V6, GATEWAY_V6, link),
            ]
        },
    ),
    Entry::dropped("na-as-another", "tells as another pod", SpoofedSource, |s| {
        vec![tells(s, s.other.v6, s.other.v6, Some(s.sender.mac))]
    }),
    Entry::dropped("na-link-of-another", "its own address at another's MAC", SpoofedMac, |s| {
        vec![tells(s, s.sender.v6, s.sender.v6, Some(s.other.mac))]
    }),
    Entry::dropped("na-alone", "its own address, unasked", NotForUs, |s| {
        let local = "fe80::99".parse().unwrap();
        let link = Some(s.sender.mac);
        vec![tells(s, s.sender.v6, s.sender.v6, link), tells(s, local, local, link)]
    }),
    Entry::dropped("na-solicited-to-all", "an answer to everybody", Malformed, |s| {
        let all = Mac([0x33, 0x33, 0, 0, 0, 1]);
        let ends = Ends { target: "ff02::1".parse().unwrap(), target_mac: all, ..s.v6() };
        vec![neighbour_advertisement(ends, s.sender.v6, true, Some(s.sender.mac))]
    }),
    Entry::dropped("nd-behind-options", "ND behind options (RFC 6980)", ExtensionHeaders, |s| {
        let link = Some(s.sender.mac);
        let told = tells(s, s.sender.v6, s.sender.v6, link);
        vec![
            extended(s.v6(), &[(60, PADDING)], 58, upper(&told)),
            extended(s.v6(), &[(0, PADDING)], 58, upper(&asks(s, GATEWAY_V6, link))),
        ]
    }),
];
