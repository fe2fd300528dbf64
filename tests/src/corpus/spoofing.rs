//! Who sends: the MAC or the address of somebody else, the node's, the gateway's, the target's.

use lockgate_dataplane::counters::DropReason::{Martian, NotForUs, SpoofedMac, SpoofedSource};
use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;

use super::build::{part, syn, udp, udp_to};
use super::{Entry, Scene};
use crate::packets::Ends;

/// A packet to the target that says to be from `source`.
fn as_if(scene: &Scene, source: &str) -> Vec<u8> {
    let source: std::net::IpAddr = source.parse().unwrap();
    let ends = if source.is_ipv4() { scene.v4() } else { scene.v6() };
    udp(Ends { source, ..ends })
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry::dropped("mac-of-another", "the source MAC of another pod", SpoofedMac, |s| {
        [s.v4(), s.v6()].map(|e| udp(Ends { source_mac: s.other.mac, ..e })).to_vec()
    }),
    Entry::dropped("mac-of-the-gateway", "the gateway's MAC as source", SpoofedMac, |s| {
        vec![udp(Ends { source_mac: GATEWAY_MAC, ..s.v4() })]
    }),
    Entry::dropped("mac-of-a-group", "a multicast MAC as source", SpoofedMac, |s| {
        vec![udp(Ends { source_mac: Mac([1, 0, 0x5e, 0, 0, 1]), ..s.v4() })]
    }),
    Entry::dropped("mac-of-another-and-its-address", "another pod in full", SpoofedMac, |s| {
        let (v4, v6) = (s.other.v4.into(), s.other.v6.into());
        [(v4, s.v4()), (v6, s.v6())]
            .map(|(source, e)| udp(Ends { source_mac: s.other.mac, source, ..e }))
            .to_vec()
    }),
    Entry::dropped("ipv4-of-another", "the IPv4 address of another pod", SpoofedSource, |s| {
        let ends = Ends { source: s.other.v4.into(), ..s.v4() };
        vec![udp(ends), syn(ends, b"")]
    }),
    Entry::dropped("ipv6-of-another", "the IPv6 address of another pod", SpoofedSource, |s| {
        let ends = Ends { source: s.other.v6.into(), ..s.v6() };
        vec![udp(ends), syn(ends, b"")]
    }),
    Entry::dropped("address-of-the-node", "an address of its own node", SpoofedSource, |s| {
        vec![udp(Ends { source: s.node.into(), ..s.v4() })]
    }),
    Entry::dropped("address-from-outside", "an address of nobody here", SpoofedSource, |s| {
        vec![as_if(s, "198.51.100.99"), as_if(s, "2001:db8::99")]
    }),
    Entry::dropped("address-of-the-gateway", "the gateway's IPv4 address", SpoofedSource, |s| {
        vec![as_if(s, "169.254.1.1")]
    }),
    Entry::dropped("link-local-source", "link-local sources beyond the link", NotForUs, |s| {
        vec![as_if(s, "fe80::1"), as_if(s, "fe80::99")]
    }),
    Entry::dropped("another-in-pieces", "another pod's address in fragments", SpoofedSource, |s| {
        let v4 = Ends { source: s.other.v4.into(), ..s.v4() };
        let v6 = Ends { source: s.other.v6.into(), ..s.v6() };
        let whole = [v4, v6].map(|ends| udp_to(ends, 53, &[7; 72]));
        whole.iter().flat_map(|f| [part(s, f, 0..40, true), part(s, f, 40..80, false)]).collect()
    }),
    Entry::dropped("land", "source and target are the target's (LAND)", Martian, |s| {
        let v4 = Ends { source: s.target.v4.into(), ..s.v4() };
        let v6 = Ends { source: s.target.v6.into(), ..s.v6() };
        vec![syn(v4, b""), syn(v6, b"")]
    }),
    Entry::dropped("own-to-own", "source and target are the sender's own", Martian, |s| {
        vec![
            udp(Ends { target: s.sender.v4.into(), ..s.v4() }),
            udp(Ends { target: s.sender.v6.into(), ..s.v6() }),
        ]
    }),
];
