//! ICMP: what stays on its link, forged errors, answers that nobody asked for.

use lockgate_dataplane::counters::DropReason::{
    Malformed, NoConnection, NotForUs, SpoofedSource, Truncated,
};
use lockgate_dataplane::ids::Mac;

use super::build::{IP, PADDING, edited, extended, fragment_header, syn, udp, upper};
use super::{Entry, Scene};
use crate::packets::{Ends, echo, icmp, icmp_error, ip, with_ttl};

/// Messages of these types, IPv4.
fn v4(scene: &Scene, kinds: &[u8]) -> Vec<Vec<u8>> {
    kinds.iter().map(|&kind| icmp(scene.v4(), kind, 0, [0, 7, 0, 1], &[0; 40])).collect()
}

/// Messages of these types, IPv6, with the hop limit of neighbours.
fn v6(scene: &Scene, kinds: &[u8]) -> Vec<Vec<u8>> {
    let of = |&kind: &u8| with_ttl(icmp(scene.v6(), kind, 0, [64, 0, 7, 8], &[0; 40]), 255);
    kinds.iter().map(of).collect()
}

/// "Port unreachable" over each family, about a packet that `cause` makes of the way back.
fn errors(scene: &Scene, cause: impl Fn(Ends) -> Vec<u8>) -> Vec<Vec<u8>> {
    [(scene.v4(), 3, 3), (scene.v6(), 1, 4)]
        .map(|(ends, kind, code)| icmp_error(ends, kind, code, &cause(ends.reversed())))
        .to_vec()
}

/// An advertisement of a router: a prefix of its own behind it.
fn advertisement(scene: &Scene, source: &str) -> Vec<u8> {
    let prefix = [&[3, 4, 64, 0xc0][..], &[0xff; 8], &[0; 4], &[0xfd; 16]].concat();
    let ends = Ends { source: source.parse().unwrap(), ..scene.v6() };
    with_ttl(icmp(ends, 134, 0, [64, 0, 7, 8], &[&[0; 8][..], &prefix].concat()), 255)
}

fn to_all_nodes(ends: Ends) -> Ends {
    let target_mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
    Ends { target_mac, target: "ff02::1".parse().unwrap(), ..ends }
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry::dropped("icmp-redirect", "ICMP redirects, IPv4 and IPv6", NotForUs, |s| {
        [v4(s, &[5]), v6(s, &[137])].concat()
    }),
    Entry::dropped("icmp-router-discovery", "IPv4 router advertisements", NotForUs, |s| {
        v4(s, &[9, 10])
    }),
    Entry::dropped("icmp-source-quench", "source quench (RFC 6633)", NotForUs, |s| v4(s, &[4])),
    Entry::dropped("ra", "a router advertisement to one pod, any source", NotForUs, |s| {
        vec![advertisement(s, &s.sender.v6.to_string()), advertisement(s, "fe80::1")]
    }),
    Entry::dropped("rs-from-nobody", "router solicitations and MLD from ::", NotForUs, |s| {
        let nobody = Ends { source: "::".parse().unwrap(), ..to_all_nodes(s.v6()) };
        [133, 131, 143].map(|kind| with_ttl(icmp(nobody, kind, 0, [0; 4], &[0; 20]), 255)).to_vec()
    }),
    Entry::dropped("icmp-timestamp-to-gateway", "asks the gateway for the time", NotForUs, |s| {
        let gateway = Ends { target: "169.254.1.1".parse().unwrap(), ..s.v4() };
        vec![icmp(gateway, 13, 0, [0, 7, 0, 1], &[0; 12])]
    }),
    Entry::dropped("ra-to-all", "a router advertisement to all nodes", NotForUs, |s| {
        vec![with_ttl(icmp(to_all_nodes(s.v6()), 134, 0, [64, 0, 7, 8], &[0; 8]), 255)]
    }),
    Entry::dropped(
        "ra-behind-options",
        "an advertisement behind options (RFC 7113)",
        NotForUs,
        |s| {
            let message = advertisement(s, &s.sender.v6.to_string());
            vec![
                extended(s.v6(), &[(60, PADDING)], 58, upper(&message)),
                extended(s.v6(), &[(0, PADDING), (60, PADDING)], 58, upper(&message)),
            ]
        },
    ),
    Entry::dropped(
        "ra-behind-a-fragment",
        "an advertisement behind an atomic fragment",
        lockgate_dataplane::counters::DropReason::Fragment,
        |s| {
            let message = advertisement(s, &s.sender.v6.to_string());
            vec![extended(s.v6(), &[(44, &fragment_header(0, false))], 58, upper(&message))]
        },
    ),
    Entry::dropped("icmpv6-link-only", "router solicitation, inverse ND, SEND", NotForUs, |s| {
        v6(s, &[133, 141, 142, 148, 149, 151, 152, 153])
    }),
    Entry::dropped("mld", "multicast listener messages, to one pod and a group", NotForUs, |s| {
        let group = Ends { target: "ff02::16".parse().unwrap(), ..s.v6() };
        let group = Ends { target_mac: Mac([0x33, 0x33, 0, 0, 0, 0x16]), ..group };
        let report = icmp(group, 143, 0, [0, 0, 0, 1], &[4; 20]);
        let behind = extended(group, &[(0, &[5, 2, 0, 0, 1, 0])], 58, upper(&report));
        [v6(s, &[130, 131, 132, 143]), vec![report, behind]].concat()
    }),
    Entry::dropped("igmp", "group membership as stacks report it", NotForUs, |s| {
        let target_mac = Mac([1, 0, 0x5e, 0, 0, 0x16]);
        let group = Ends { target: "224.0.0.22".parse().unwrap(), target_mac, ..s.v4() };
        vec![ip(group, 2, &[0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 224, 0, 0, 251])]
    }),
    Entry::portless("igmp-to-one", "the same to one pod: a protocol as any other", |s| {
        vec![ip(s.v4(), 2, &[0x11, 0, 0, 0, 0, 0, 0, 0])]
    }),
    Entry::portless("icmp-other", "masks, information, traceroute, unknown types", |s| {
        v4(s, &[15, 16, 17, 18, 30, 40, 42, 200, 255])
    }),
    Entry::portless("icmpv6-other", "node information, renumbering, unknown types", |s| {
        v6(s, &[138, 139, 140, 155, 200, 255])
    }),
    Entry::dropped("icmpv6-unknown-errors", "errors that are not defined", Malformed, |s| {
        v6(s, &[0, 5, 100, 101, 127])
    }),
    Entry::portless("icmp-requests", "echo and timestamp requests", |s| {
        [v4(s, &[8, 13]), v6(s, &[128])].concat()
    }),
    Entry::dropped("icmp-replies", "replies that nobody asked for", NoConnection, |s| {
        [v4(s, &[0, 14]), v6(s, &[129])].concat()
    }),
    Entry::dropped("icmp-smurf", "an echo request to all", NotForUs, |s| {
        let all = Ends { target: "255.255.255.255".parse().unwrap(), ..s.v4() };
        vec![echo(all, false, 7, 1, b"x"), echo(to_all_nodes(s.v6()), false, 7, 1, b"x")]
    }),
    Entry::dropped("icmp-short", "less than a header", Truncated, |s| {
        vec![ip(s.v4(), 1, &[8, 0, 0, 0]), ip(s.v6(), 58, &[128, 0, 0, 0, 0, 0, 0])]
    }),
    Entry::dropped("error-of-nothing", "an error about what nobody sent", NoConnection, |s| {
        [errors(s, udp), errors(s, |ends| syn(ends, b""))].concat()
    }),
    Entry::dropped(
        "error-too-big",
        "a tiny MTU for a connection that is none",
        NoConnection,
        |s| {
            vec![
                icmp(s.v4(), 3, 4, [0, 0, 0, 68], &syn(s.v4().reversed(), b"")[IP..]),
                icmp(s.v6(), 2, 0, [0, 0, 0, 68], &syn(s.v6().reversed(), b"")[IP..]),
            ]
        },
    ),
    Entry::dropped("error-of-anothers", "quotes what another pod sent to it", Malformed, |s| {
        let (v4, v6) = (s.other.v4.into(), s.other.v6.into());
        errors(s, |ends| udp(Ends { source: if ends.source.is_ipv4() { v4 } else { v6 }, ..ends }))
    }),
    Entry::dropped("error-to-another", "quotes what went to another pod", SpoofedSource, |s| {
        let (v4, v6) = (s.other.v4.into(), s.other.v6.into());
        errors(s, |ends| udp(Ends { target: if ends.source.is_ipv4() { v4 } else { v6 }, ..ends }))
    }),
    Entry::dropped("error-of-an-error", "quotes an error, a redirect", Malformed, |s| {
        let of = |kind: u8, ends: Ends| icmp(ends, kind, 0, [0; 4], &udp(ends.reversed())[IP..]);
        let twice = |ends: Ends| of(if ends.source.is_ipv4() { 3 } else { 1 }, ends);
        let redirects = |ends: Ends| of(if ends.source.is_ipv4() { 5 } else { 137 }, ends);
        [errors(s, twice), errors(s, redirects)].concat()
    }),
    Entry::dropped("error-of-a-martian", "quotes a packet that cannot be", Malformed, |s| {
        errors(s, |ends| {
            let target = if ends.source.is_ipv4() { "127.0.0.1" } else { "::1" };
            udp(Ends { target: target.parse().unwrap(), ..ends })
        })
    }),
    Entry::dropped("error-of-a-piece", "quotes a later fragment", Malformed, |s| {
        errors(s, |ends| super::build::part_at(s, &udp(ends), 0..16, 800, false))
    }),
    Entry::dropped("error-of-little", "quotes less than addresses and ports", Malformed, |s| {
        let mut frames = errors(s, |ends| udp(ends)[..34].to_vec());
        frames.push(icmp_error(s.v4(), 3, 3, &edited(udp(s.v4().reversed()), &[(IP, 0x44)])));
        frames.push(icmp(s.v6(), 1, 4, [0; 4], &udp(s.v4().reversed())[IP..]));
        frames
    }),
];
