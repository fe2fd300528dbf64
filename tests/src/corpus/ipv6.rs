//! The IPv6 header and chains of extension headers (RFC 8200, RFC 5095, RFC 7045, RFC 7112).

use lockgate_dataplane::counters::DropReason::{
    ExtensionHeaders, Malformed, Truncated, TtlExpired,
};
use lockgate_dataplane::limits::{EXT_HEADERS_MAX, EXT_OPTIONS_MAX};

use super::Entry;
use super::build::{IP, PADDING, UPPER_V6, edited, extended, inner, syn, udp, udp_behind, upper};
use crate::packets::{icmp, ip, with_ttl};

/// A routing header of two units with one address, from the third byte on.
const fn routing(kind: u8, left: u8) -> [u8; 22] {
    let mut header = [0; 22];
    (header[0], header[1]) = (kind, left);
    header
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry::dropped("ipv6-version", "an IP version that is none", Malformed, |s| {
        [0x00, 0x40, 0x50, 0xf0].map(|first| edited(udp(s.v6()), &[(IP, first)])).to_vec()
    }),
    Entry::dropped(
        "ipv6-length-nought",
        "a payload length of 0: jumbo or nothing",
        Malformed,
        |s| vec![edited(udp(s.v6()), &[(19, 0)])],
    ),
    Entry::dropped("ipv6-length-beyond-frame", "a length beyond the frame", Truncated, |s| {
        vec![edited(udp(s.v6()), &[(19, 17)]), edited(udp(s.v6()), &[(18, 0xff)])]
    }),
    Entry::dropped("ipv6-length-cuts-udp", "a length that hides UDP bytes", Malformed, |s| {
        vec![edited(udp(s.v6()), &[(19, 12)])]
    }),
    Entry::dropped(
        "ipv6-hop-limit",
        "a packet at its end, so others see it only",
        TtlExpired,
        |s| [0, 1].map(|limit| with_ttl(udp(s.v6()), limit)).to_vec(),
    ),
    Entry::dropped("ipv6-jumbo", "a jumbo payload option: another length", ExtensionHeaders, |s| {
        vec![udp_behind(s.v6(), &[(0, &[0xc2, 4, 0, 1, 0, 0])])]
    }),
    Entry::dropped("ipv6-home-address", "a home address: another source", ExtensionHeaders, |s| {
        let option = [&[0xc9, 16][..], &s.other.v6.octets(), &[1, 2, 0, 0]].concat();
        vec![udp_behind(s.v6(), &[(60, &option)])]
    }),
    Entry::dropped(
        "ipv6-routing-0",
        "routing type 0 (RFC 5095), any left",
        ExtensionHeaders,
        |s| [0, 1, 255].map(|left| udp_behind(s.v6(), &[(43, &routing(0, left))])).to_vec(),
    ),
    Entry::dropped("ipv6-routing-2", "routing type 2, mobile IPv6", ExtensionHeaders, |s| {
        vec![udp_behind(s.v6(), &[(43, &routing(2, 1))])]
    }),
    Entry::dropped("ipv6-routing-4", "segment routing (RFC 8754)", ExtensionHeaders, |s| {
        [0, 1].map(|left| udp_behind(s.v6(), &[(43, &routing(4, left))])).to_vec()
    }),
    Entry::dropped("ipv6-routing-other", "other routing types, 3 and 253", ExtensionHeaders, |s| {
        [3, 253].map(|kind| udp_behind(s.v6(), &[(43, &routing(kind, 0))])).to_vec()
    }),
    Entry::dropped("ipv6-routing-behind", "routing behind options", ExtensionHeaders, |s| {
        let routing = routing(0, 0);
        vec![
            udp_behind(s.v6(), &[(0, PADDING), (43, &routing)]),
            udp_behind(s.v6(), &[(60, PADDING), (43, &routing)]),
        ]
    }),
    Entry::dropped(
        "ipv6-hop-by-hop-late",
        "hop-by-hop where it is not first",
        ExtensionHeaders,
        |s| {
            vec![
                udp_behind(s.v6(), &[(60, PADDING), (0, PADDING)]),
                udp_behind(s.v6(), &[(0, PADDING), (0, PADDING)]),
            ]
        },
    ),
    Entry::dropped(
        "ipv6-too-many-headers",
        "one header more than is read",
        ExtensionHeaders,
        |s| {
            let more = vec![(60, PADDING); EXT_HEADERS_MAX + 1];
            vec![udp_behind(s.v6(), &more), udp_behind(s.v6(), &[(60, PADDING); 100])]
        },
    ),
    Entry::dropped("ipv6-too-many-options", "more options than are read", ExtensionHeaders, |s| {
        let many = vec![0; (EXT_OPTIONS_MAX + 1).next_multiple_of(8) + 6];
        // Over several headers they are no fewer.
        vec![udp_behind(s.v6(), &[(60, &many)]), udp_behind(s.v6(), &[(60, &[0; 14][..]); 2])]
    }),
    Entry::dropped("ipv6-option-lies", "an option beyond its header", Malformed, |s| {
        let lies: [&[u8]; 2] = [&[1, 5, 0, 0, 0, 0], &[1, 3, 0, 0, 0, 1]];
        lies.map(|options| udp_behind(s.v6(), &[(60, options)])).to_vec()
    }),
    Entry::dropped("ipv6-header-lies", "an extension header beyond its packet", Truncated, |s| {
        [3, 255]
            .map(|units| edited(udp_behind(s.v6(), &[(60, PADDING)]), &[(UPPER_V6 + 1, units)]))
            .to_vec()
    }),
    Entry::dropped("ipv6-mobility", "mobility, host identity, shim6", ExtensionHeaders, |s| {
        [135, 139, 140].map(|number| udp_behind(s.v6(), &[(number, PADDING)])).to_vec()
    }),
    Entry::judged(
        "ipv6-options",
        "hop-by-hop and destination options: judged by what follows",
        |s| {
            let router_alert: &[u8] = &[5, 2, 0, 0, 1, 0];
            vec![
                udp_behind(s.v6(), &[(0, PADDING)]),
                udp_behind(s.v6(), &[(0, router_alert)]),
                udp_behind(s.v6(), &[(0, PADDING), (60, PADDING), (60, PADDING)]),
                extended(s.v6(), &[(60, PADDING)], 6, upper(&syn(s.v6(), b""))),
            ]
        },
    ),
    Entry::judged("ipv6-most-headers", "as many headers as are read", |s| {
        vec![udp_behind(s.v6(), &[(60, PADDING); EXT_HEADERS_MAX])]
    }),
    Entry::portless("ipv6-ah", "TCP, or an advertisement, behind AH: the road ends there", |s| {
        let ah = |next: u8| [&[next, 4, 0, 0][..], &[0; 20]].concat();
        let advertisement = icmp(s.v6(), 134, 0, [64, 0, 7, 8], &[0; 8]);
        vec![
            ip(s.v6(), 51, &[ah(6), upper(&syn(s.v6(), b"")).to_vec()].concat()),
            ip(s.v6(), 51, &[ah(58), upper(&advertisement).to_vec()].concat()),
        ]
    }),
    Entry::portless("ipv6-esp", "encryption", |s| vec![ip(s.v6(), 50, &[7; 32])]),
    Entry::portless("ipv6-nothing", "no next header, with bytes behind it and without", |s| {
        vec![ip(s.v6(), 59, upper(&udp(s.v6()))), extended(s.v6(), &[(60, PADDING)], 59, &[])]
    }),
    Entry::portless("ipv6-unknown-header", "next headers that nobody knows", |s| {
        let load = [&[17, 0][..], PADDING, upper(&udp(s.v6()))].concat();
        let bare = [143, 200, 253, 254, 255].map(|number| ip(s.v6(), number, &load));
        let behind = extended(s.v6(), &[(60, PADDING)], 200, &load);
        [bare.to_vec(), vec![behind]].concat()
    }),
    Entry::portless("ipv6-tunnels", "another pod's packet in IPv6, IPv4, GRE", |s| {
        let v6 = inner(s.v6(), s.other.v6.into());
        let v4 = inner(s.v4(), s.other.v4.into());
        let gre = [&[0, 0, 0x86, 0xdd][..], &v6].concat();
        vec![ip(s.v6(), 41, &v6), ip(s.v6(), 4, &v4), ip(s.v6(), 47, &gre)]
    }),
    Entry::portless("ipv6-of-the-other-family", "ICMP and IGMP for IPv4 over IPv6", |s| {
        [1, 2].map(|number| ip(s.v6(), number, &[8, 0, 0, 0, 0, 0, 0, 0])).to_vec()
    }),
];
