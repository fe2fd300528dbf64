//! ICMP (RFC 792) and `ICMPv6` (RFC 4443): echoes, errors, and what stays on its link. Hot path.
//!
//! An error is worth what its quotation names: it passes only with the connection that it
//! quotes. So the quotation must be readable as far as the ports, be of the outer family, come
//! from the very host that the error is sent to, and quote no other error.

use super::{fragment, ipv4, ipv6, neighbour, transport};
use crate::counters::DropReason;
use crate::packet::bytes::read;
use crate::packet::flow::{Address, FlowKey, Protocol};
use crate::packet::headers::{Family, Headers, Kind};

pub(super) const ICMP_V4: u8 = 1;
pub(super) const ICMP_V6: u8 = 58;

/// Type, code, checksum and four bytes more in every message of either version that matters.
const HEADER_BYTES: usize = 8;

/// How a message is treated, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Request,
    /// To a request of this type.
    Reply(u8),
    Error,
    Solicitation,
    Advertisement,
    LinkOnly,
    /// An error that is not defined, or no longer.
    Unknown,
    Other,
}

/// How that version treats a message, and its name in a flow.
#[inline]
fn class_of(family: Family, kind: u8) -> (Class, Protocol) {
    match family {
        Family::V4 => (class_v4(kind), Protocol::Icmp),
        Family::V6 => (class_v6(kind), Protocol::IcmpV6),
    }
}

#[inline]
fn class_v4(kind: u8) -> Class {
    match kind {
        8 | 13 => Class::Request,
        0 => Class::Reply(8),
        14 => Class::Reply(13),
        3 | 11 | 12 => Class::Error,
        // Source quench is deprecated: nobody may act on it (RFC 6633). Redirects and router
        // discovery would change a pod's routes.
        4 | 5 | 9 | 10 => Class::LinkOnly,
        _ => Class::Other,
    }
}

#[inline]
fn class_v6(kind: u8) -> Class {
    match kind {
        128 => Class::Request,
        129 => Class::Reply(128),
        1..=4 => Class::Error,
        // Below 128 all are errors, quotations and all, but nobody knows these.
        0 | 5..=127 => Class::Unknown,
        135 => Class::Solicitation,
        136 => Class::Advertisement,
        // MLD, router discovery, redirects, inverse discovery, MLDv2, certification paths,
        // multicast router discovery.
        130..=134 | 137 | 141..=143 | 148 | 149 | 151..=153 => Class::LinkOnly,
        _ => Class::Other,
    }
}

/// Reads a message of the version that goes with the packet's family.
pub(super) fn read_message(segment: &[u8], headers: &mut Headers) -> Result<(), DropReason> {
    let header: [u8; HEADER_BYTES] = read(segment, 0).ok_or(DropReason::Truncated)?;
    let (class, protocol) = class_of(headers.family, header[0]);
    let kind = match class {
        Class::Request => Kind::Echo { reply: false },
        Class::Reply(_) => Kind::Echo { reply: true },
        Class::Error => error(segment, headers)?,
        Class::Solicitation => Kind::Neighbour(neighbour::solicitation(segment, headers)?),
        Class::Advertisement => Kind::Neighbour(neighbour::advertisement(segment, headers)?),
        Class::LinkOnly => Kind::LinkOnly,
        Class::Unknown => return Err(DropReason::Malformed),
        Class::Other => Kind::Portless,
    };
    headers.set_upper(kind, protocol, in_place_of_ports(class, header));
    Ok(())
}

/// What a message has where others have ports: [`FlowKey`] says why.
fn in_place_of_ports(class: Class, header: [u8; HEADER_BYTES]) -> (u16, u16) {
    let [kind, code, _, _, high, low, ..] = header;
    let identifier = u16::from_be_bytes([high, low]);
    match class {
        Class::Request => (identifier, FlowKey::message(kind, code)),
        Class::Reply(to) => (FlowKey::message(to, code), identifier),
        _ => (0, FlowKey::message(kind, code)),
    }
}

fn error(segment: &[u8], headers: &Headers) -> Result<Kind, DropReason> {
    let inner = segment
        .get(HEADER_BYTES..)
        .and_then(|quoted| match headers.family {
            Family::V4 => quoted_v4(quoted),
            Family::V6 => quoted_v6(quoted),
        })
        .filter(|inner| inner.source == headers.key.target)
        .ok_or(DropReason::Malformed)?;
    Ok(Kind::IcmpError { inner })
}

/// The flow of a quoted IPv4 packet. Its checksum and length are not looked at: routers on the
/// way change the one and some stacks the other. A first fragment names its ports; others don't.
fn quoted_v4(quoted: &[u8]) -> Option<FlowKey> {
    let fixed = quoted.first_chunk::<{ ipv4::HEADER_BYTES }>()?;
    let header_bytes = ipv4::header_bytes(fixed[0])?;
    let (source, target) = ipv4::addresses(fixed);
    let (_, offset, _) = ipv4::fragment(fixed);
    if offset != 0 || ipv4::is_martian(source, target) {
        return None;
    }
    let source = Address::from_v4(source.to_be_bytes());
    let target = Address::from_v4(target.to_be_bytes());
    quoted_flow(source, target, fixed[9], Family::V4, quoted.get(header_bytes..)?)
}

/// The flow of a quoted IPv6 packet. As in IPv4, a first fragment names its ports.
fn quoted_v6(quoted: &[u8]) -> Option<FlowKey> {
    let fixed = quoted.first_chunk::<{ ipv6::HEADER_BYTES }>()?;
    let (source, target) = ipv6::addresses(fixed);
    if fixed[0] >> 4 != 6 || ipv6::is_martian(source, target) {
        return None;
    }
    let walked = quoted_walk(fixed, quoted)?;
    quoted_flow(source, target, walked.number, Family::V6, quoted.get(walked.offset..)?)
}

fn quoted_walk(fixed: &[u8; ipv6::HEADER_BYTES], quoted: &[u8]) -> Option<ipv6::Walked> {
    let start = ipv6::Walked { number: fixed[6], offset: ipv6::HEADER_BYTES };
    let walked = ipv6::walk(quoted, start).ok()?;
    if walked.number != ipv6::FRAGMENT {
        return Some(walked);
    }
    let header = fragment::header_v6(quoted, walked)?;
    let walked = ipv6::walk(quoted, header.next).ok()?;
    (header.offset == 0 && walked.number != ipv6::FRAGMENT).then_some(walked)
}

/// Where the upper layer begins in what an error quotes.
pub(in crate::packet) fn quoted_upper(family: Family, quoted: &[u8]) -> Option<usize> {
    match family {
        Family::V4 => ipv4::header_bytes(*quoted.first()?),
        Family::V6 => quoted_walk(quoted.first_chunk()?, quoted).map(|walked| walked.offset),
    }
}

/// The flow by the first eight bytes of the quoted upper layer, all that need be there.
fn quoted_flow(
    source: Address,
    target: Address,
    number: u8,
    family: Family,
    segment: &[u8],
) -> Option<FlowKey> {
    let (protocol, source_port, target_port) = match (number, family) {
        (transport::TCP, _) => quoted_ports(Protocol::Tcp, segment)?,
        (transport::UDP, _) => quoted_ports(Protocol::Udp, segment)?,
        (transport::SCTP, _) => quoted_ports(Protocol::Sctp, segment)?,
        (ICMP_V4, Family::V4) | (ICMP_V6, Family::V6) => quoted_icmp(family, segment)?,
        _ => (Protocol::Other, number.into(), number.into()),
    };
    Some(FlowKey { source, target, source_port, target_port, number, protocol })
}

fn quoted_ports(protocol: Protocol, segment: &[u8]) -> Option<(Protocol, u16, u16)> {
    let [s0, s1, t0, t1, ..] = read::<HEADER_BYTES>(segment, 0)?;
    Some((protocol, u16::from_be_bytes([s0, s1]), u16::from_be_bytes([t0, t1])))
}

fn quoted_icmp(family: Family, segment: &[u8]) -> Option<(Protocol, u16, u16)> {
    let header = read::<HEADER_BYTES>(segment, 0)?;
    let (class, protocol) = class_of(family, header[0]);
    match class {
        Class::Request | Class::Reply(_) | Class::Other => {
            let (source, target) = in_place_of_ports(class, header);
            Some((protocol, source, target))
        }
        // Nobody answers an error with an error, and what stays on its link is not ours.
        _ => None,
    }
}
