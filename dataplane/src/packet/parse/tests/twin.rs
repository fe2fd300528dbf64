//! Our parser beside etherparse: what both accept they read alike, and nothing panics.

use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::ip::resum;
use super::*;

/// What etherparse reads in a frame that it accepts.
struct Theirs {
    source: IpAddr,
    target: IpAddr,
    number: u8,
    ports: Option<(u16, u16)>,
    l4: std::ops::Range<usize>,
}

fn theirs(bytes: &[u8]) -> Option<Theirs> {
    let packet = SlicedPacket::from_ethernet(bytes).ok()?;
    let (source, target, payload): (IpAddr, IpAddr, _) = match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into(), ip.payload())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into(), ip.payload())
        }
        NetSlice::Arp(_) => return None,
    };
    let start = payload.payload.as_ptr() as usize - bytes.as_ptr() as usize;
    let ports = match packet.transport {
        Some(TransportSlice::Tcp(tcp)) => Some((tcp.source_port(), tcp.destination_port())),
        Some(TransportSlice::Udp(udp)) => Some((udp.source_port(), udp.destination_port())),
        _ => None,
    };
    let l4 = start..start + payload.payload.len();
    Some(Theirs { source, target, number: payload.ip_number.0, ports, l4 })
}

/// Headers of which nothing may be left in what is read in their place.
fn used() -> Headers {
    let address = Address::from_v6([0xaa; 16]);
    Headers {
        key: FlowKey {
            source: address,
            target: address,
            source_port: 0xaaaa,
            target_port: 0xaaaa,
            number: 0xaa,
            protocol: Protocol::Sctp,
        },
        family: Family::V6,
        source_mac: Mac([0xaa; 6]),
        target_mac: Mac([0xaa; 6]),
        ttl: 0xaa,
        l4_offset: 0xaaaa,
        end: 0xaaaa,
        kind: Kind::Sctp { first_chunk: 0xaa, verification_tag: 0xaaaa_aaaa },
    }
}

/// Compares the two where both accept, and says whether they did. Etherparse is asked only about
/// what our parser accepted: a slice check of its own may panic on the rest.
fn agree(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let (mut place, read) = (used(), parse(bytes));
    let in_place = match parse_into(bytes, &mut place) {
        Ok(Content::Ip) => Ok(Packet::Ip(place)),
        Ok(Content::Fragment) => {
            let fragment = read_fragment(bytes, &mut place);
            fragment.map(|fragment| Packet::Fragment(place, fragment))
        }
        Ok(Content::Arp(arp)) => Ok(Packet::Arp(arp)),
        Err(reason) => Err(reason),
    };
    prop_assert_eq!(in_place, read, "something is left of the packet before");
    let Ok(Packet::Ip(ours)) = read else { return Ok(false) };
    let Some(theirs) = theirs(bytes) else { return Ok(false) };
    prop_assert_eq!(IpAddr::from(ours.key.source), theirs.source);
    prop_assert_eq!(IpAddr::from(ours.key.target), theirs.target);
    prop_assert_eq!(usize::from(ours.end), theirs.l4.end);
    // An authentication header is the end of our road; etherparse reads on.
    if ours.key.number != 51 {
        prop_assert_eq!(ours.key.number, theirs.number);
        prop_assert_eq!(usize::from(ours.l4_offset), theirs.l4.start);
    }
    if matches!(ours.key.protocol, Protocol::Tcp | Protocol::Udp) {
        prop_assert_eq!(Some((ours.key.source_port, ours.key.target_port)), theirs.ports);
    }
    Ok(true)
}

#[test]
fn both_read_every_sample() {
    for (name, bytes) in sample::all() {
        assert!(agree(&bytes).unwrap(), "{name}");
    }
}

/// A few changed bytes, most of them in the headers.
fn edits() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((prop_oneof![4 => 12..64_usize, 1 => 0..200_usize], any::<u8>()), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16_384))]

    #[test]
    fn a_mutated_packet_is_read_alike_by_both_or_dropped(
        edits in edits(),
        length in prop::option::of(0..120_usize),
        padding in 0..20_usize,
    ) {
        for (_, mut bytes) in sample::all() {
            bytes.resize(bytes.len() + padding, 0);
            for &(at, value) in &edits {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(length.unwrap_or(usize::MAX));
            agree(&bytes)?;
            resum(&mut bytes);
            agree(&bytes)?;
        }
    }

    #[test]
    fn any_chain_of_next_headers_is_read_alike_by_both_or_dropped(
        first: u8,
        chain in prop::collection::vec(
            (prop_oneof![Just(60_u8), Just(0), Just(17), Just(6), Just(51), any::<u8>()], 0..3_u8),
            0..6,
        ),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut payload = Vec::new();
        for (number, units) in chain {
            payload.extend([number, units]);
            payload.extend([1, 4 + units * 8]);
            payload.resize(payload.len() + 4 + usize::from(units) * 8, 0);
        }
        payload.extend(tail);
        for first in [first, 0, 60] {
            agree(&sample::ipv6(first, &payload, |_| ()))?;
        }
    }

    #[test]
    fn random_bytes_do_not_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in prop::sample::select(vec![0x45_u8, 0x46, 0x60]),
    ) {
        let _ = parse(&bytes);
        for ether_type in [ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_ARP] {
            if bytes.len() > 14 {
                bytes[12..14].copy_from_slice(&ether_type.to_be_bytes());
                bytes[14] = version;
            }
            agree(&bytes)?;
            resum(&mut bytes);
            agree(&bytes)?;
        }
    }
}
