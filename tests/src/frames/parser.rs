//! Our parser beside etherparse, and beside itself: what both accept they read alike, nothing
//! panics, nothing is read outside the frame, and no part of a packet is read as a packet.

use std::net::IpAddr;
use std::ops::Range;

use etherparse::{Ipv6ExtensionSlice, NetSlice, SlicedPacket, TransportSlice};
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::parse::{Content, Fragment, Kind, parse_into, read_fragment};
use lockgate_dataplane::packet::{Address, Family, FlowKey, Headers, Packet, Protocol, parse};

/// Lengths at which a frame is cut, at most.
const CUTS_MAX: usize = 160;
/// IP's number of the authentication header.
const AUTHENTICATION: u8 = 51;

/// What etherparse reads in a frame that it accepts.
struct Theirs {
    source: IpAddr,
    target: IpAddr,
    number: u8,
    ports: Option<(u16, u16)>,
    l4: Range<usize>,
    place: Option<Place>,
}

/// A fragment's identification, offset in bytes, and whether more follow.
type Place = (u32, u16, bool);

fn theirs(bytes: &[u8]) -> Option<Theirs> {
    let packet = SlicedPacket::from_ethernet(bytes).ok()?;
    let (source, target, payload, place): (IpAddr, IpAddr, _, _) = match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let (offset, more) = (header.fragments_offset().value() * 8, header.more_fragments());
            let place = (u32::from(header.identification()), offset, more);
            let (source, target) = (header.source_addr().into(), header.destination_addr().into());
            (source, target, ip.payload(), Some(place))
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let place = ip.extensions().clone().into_iter().find_map(|extension| match extension {
                Ipv6ExtensionSlice::Fragment(fragment) => {
                    let (offset, more) = (fragment.fragment_offset(), fragment.more_fragments());
                    Some((fragment.identification(), offset.value() * 8, more))
                }
                _ => None,
            });
            (header.source_addr().into(), header.destination_addr().into(), ip.payload(), place)
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
    Some(Theirs { source, target, number: payload.ip_number.0, ports, l4, place })
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

/// What our parser reads; that it reads the same into used headers.
///
/// # Errors
/// Why the frame is dropped.
pub fn read(bytes: &[u8]) -> Result<Packet, DropReason> {
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
    assert_eq!(in_place, read, "something is left of the packet before");
    read
}

/// Compares the two where both accept, and says whether they did. Etherparse is asked only about
/// what our parser accepted: a slice check of its own may panic on the rest.
#[must_use]
pub fn agree(bytes: &[u8]) -> bool {
    let (ours, fragment) = match read(bytes) {
        Ok(Packet::Ip(headers)) => (headers, None),
        Ok(Packet::Fragment(headers, fragment)) => (headers, Some(fragment)),
        Ok(Packet::Arp(_)) | Err(_) => return false,
    };
    let Some(theirs) = theirs(bytes) else { return false };
    assert_eq!(IpAddr::from(ours.key.source), theirs.source);
    assert_eq!(IpAddr::from(ours.key.target), theirs.target);
    assert_eq!(usize::from(ours.end), theirs.l4.end);
    if let Some(fragment) = fragment {
        return same_place(&ours, &fragment, &theirs);
    }
    // An authentication header is the end of our road; etherparse reads on.
    if ours.key.number != AUTHENTICATION {
        assert_eq!(ours.key.number, theirs.number);
        assert_eq!(usize::from(ours.l4_offset), theirs.l4.start);
    }
    if matches!(ours.key.protocol, Protocol::Tcp | Protocol::Udp) {
        assert_eq!(Some((ours.key.source_port, ours.key.target_port)), theirs.ports);
    }
    true
}

/// The place of a fragment in its datagram.
fn same_place(ours: &Headers, fragment: &Fragment, theirs: &Theirs) -> bool {
    let Fragment { identification, offset, end, more, .. } = *fragment;
    assert_eq!(Some((identification, offset, more)), theirs.place);
    // Of a first one in IPv6 we read on, as far as the upper layer; of another etherparse does.
    if !fragment.is_first() && ours.key.number == theirs.number {
        assert_eq!(usize::from(end - offset), theirs.l4.len());
        assert_eq!(usize::from(ours.l4_offset), theirs.l4.start);
    }
    true
}

/// What is read stays inside the frame, and what follows the packet changes nothing.
pub fn stays_inside(bytes: &[u8]) {
    let headers = match parse(bytes) {
        Ok(Packet::Ip(headers)) => headers,
        Ok(Packet::Fragment(headers, fragment)) => {
            assert!(fragment.offset < fragment.end, "an empty fragment: {fragment:?}");
            headers
        }
        Ok(Packet::Arp(_)) | Err(_) => return,
    };
    let (l4, end) = (usize::from(headers.l4_offset), usize::from(headers.end));
    assert!(14 < l4 && l4 <= end && end <= bytes.len(), "{headers:?} of {}", bytes.len());
    assert_eq!(parse(&bytes[..end]), parse(bytes), "padding is read");
    if let Kind::Tcp(tcp) = headers.kind {
        assert!(usize::from(tcp.payload_bytes) + 20 <= end - l4, "{headers:?}");
    }
}

/// Whoever has a part of a packet has no packet: nothing shorter than the whole is read.
pub fn no_part_is_read(bytes: &[u8]) {
    let end = match parse(bytes) {
        Ok(Packet::Ip(headers) | Packet::Fragment(headers, _)) => usize::from(headers.end),
        Ok(Packet::Arp(_)) => 42,
        Err(_) => return,
    };
    // All lengths of a short packet; of a long one those of its headers, and some of the rest.
    let step = end.div_ceil(CUTS_MAX).max(1);
    let cuts = (0..end.min(CUTS_MAX)).chain((CUTS_MAX..end).step_by(step)).chain([end - 1]);
    for length in cuts {
        let read = parse(&bytes[..length]);
        assert!(read.is_err(), "{length} of {end} bytes are read as {read:?}");
    }
}
