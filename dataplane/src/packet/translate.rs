//! Gives a packet other addresses and ports, in place. Hot path.
//!
//! Checksums are patched by what changed (RFC 1624), so that one which was wrong stays wrong: it is
//! the ends' proof that nothing on the way changed the packet. SCTP's covers ports and no addresses,
//! and is computed again where it was right and they change.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::bytes::{read, write};
use super::checksum::crc32c::Crc;
use super::checksum::{Sum, patch_all};
use super::flow::{Address, FlowKey, Protocol};
use super::headers::{Family, Headers, Kind};
use super::parse::quoted_upper;
use super::rewrite::{
    IPV4_CHECKSUM_AT, SCTP_CHECKSUM_AT, TCP_CHECKSUM_AT, UDP_CHECKSUM_AT, finish_sctp,
    pseudo_header, segment_mut,
};
use crate::limits::ETHERNET_BYTES;

/// Before what an error quotes: type, code, checksum, four bytes.
const ICMP_BYTES: usize = 8;
const ICMP_CHECKSUM_AT: usize = 2;

/// Gives a packet, or a part of one, the addresses and ports of `new`. A part that is not the first
/// has no ports. Checksums that a stack left unfinished must be computed before, or after in full.
pub fn flow(bytes: &mut [u8], headers: &Headers, new: &FlowKey) {
    let old = &headers.key;
    set_addresses(bytes, ETHERNET_BYTES, headers.family, old, new);
    let Some(segment) = segment_mut(bytes, headers) else { return };
    let protocol = match headers.kind {
        Kind::Tcp(_) => Protocol::Tcp,
        Kind::Udp => Protocol::Udp,
        Kind::Sctp { .. } => return set_sctp_ports(segment, old, new),
        _ => return,
    };
    set_ports(segment, protocol, headers.family, old, new);
}

/// Gives an ICMP error another source and target, and what it quotes those and the ports of `inner`.
/// `quoted` is the flow that it quotes now. What a router cut off of the quotation stays cut off.
pub fn error(
    bytes: &mut [u8],
    headers: &Headers,
    outer: (Address, Address),
    quoted: &FlowKey,
    inner: &FlowKey,
) {
    let mut changed = *headers;
    (changed.key.source, changed.key.target) = outer;
    let Some(segment) = segment_mut(bytes, headers) else { return };
    let was_right = message_sum(segment, headers).fold() == 0xffff;
    set_addresses(segment, ICMP_BYTES, headers.family, quoted, inner);
    let Some(packet) = segment.get_mut(ICMP_BYTES..) else { return };
    let upper = quoted_upper(headers.family, packet).and_then(|at| packet.get_mut(at..));
    if let Some(upper) = upper {
        set_ports(upper, quoted.protocol, headers.family, quoted, inner);
    }
    if was_right {
        write(segment, ICMP_CHECKSUM_AT, [0; 2]);
        let checksum = message_sum(segment, &changed).checksum();
        write(segment, ICMP_CHECKSUM_AT, checksum.to_be_bytes());
    }
    set_addresses(bytes, ETHERNET_BYTES, headers.family, &headers.key, &changed.key);
}

/// What the checksum of an ICMP message covers.
fn message_sum(segment: &[u8], headers: &Headers) -> Sum {
    match headers.family {
        Family::V4 => Sum::of(segment),
        Family::V6 => pseudo_header(headers, segment.len()).with(Sum::of(segment)),
    }
}

/// Writes the addresses of the IP header at `at`, and patches its checksum where it has one.
fn set_addresses(bytes: &mut [u8], at: usize, family: Family, old: &FlowKey, new: &FlowKey) {
    let place = |offset: usize| at.wrapping_add(offset);
    match family {
        Family::V4 => {
            let checksum_at = place(const { IPV4_CHECKSUM_AT - ETHERNET_BYTES });
            let (source, target) = (new.source.to_v4_bits(), new.target.to_v4_bits());
            if let Some(checksum) = read(bytes, checksum_at).map(u16::from_be_bytes) {
                let patched = patch_all(checksum, addresses(old), addresses(new));
                write(bytes, checksum_at, patched.to_be_bytes());
            }
            write(bytes, place(12), source.to_be_bytes());
            write(bytes, place(16), target.to_be_bytes());
        }
        Family::V6 => {
            write(bytes, place(8), new.source.to_bits().to_be_bytes());
            write(bytes, place(24), new.target.to_bits().to_be_bytes());
        }
    }
}

/// Writes the ports of a segment, or of the beginning of one, and patches its checksum where that is
/// there: of UDP over IPv4 there may be none, and of what an error quotes it may be cut off.
fn set_ports(segment: &mut [u8], protocol: Protocol, family: Family, old: &FlowKey, new: &FlowKey) {
    let checksum_at = match protocol {
        Protocol::Tcp => Some(TCP_CHECKSUM_AT),
        Protocol::Udp => Some(UDP_CHECKSUM_AT),
        Protocol::Sctp => None,
        _ => return,
    };
    let checksum = checksum_at.and_then(|at| Some((at, u16::from_be_bytes(read(segment, at)?))));
    let is_none = protocol == Protocol::Udp && family == Family::V4;
    if let Some((at, checksum)) = checksum.filter(|(_, sum)| *sum != 0 || !is_none) {
        let (was, is) = (addresses(old).with(ports(old)), addresses(new).with(ports(new)));
        // 0 would mean "none" in UDP: its other form stands for it (RFC 768).
        let patched = match patch_all(checksum, was, is) {
            0 if protocol == Protocol::Udp => 0xffff,
            sum => sum,
        };
        write(segment, at, patched.to_be_bytes());
    }
    write_ports(segment, new);
}

fn set_sctp_ports(segment: &mut [u8], old: &FlowKey, new: &FlowKey) {
    if (old.source_port, old.target_port) == (new.source_port, new.target_port) {
        return;
    }
    let stored: Option<[u8; 4]> = read(segment, SCTP_CHECKSUM_AT);
    write(segment, SCTP_CHECKSUM_AT, [0; 4]);
    let was_right = stored == Some(Crc::START.with(segment).finish().to_le_bytes());
    write_ports(segment, new);
    match stored {
        Some(stored) if !was_right => write(segment, SCTP_CHECKSUM_AT, stored),
        _ => finish_sctp(segment),
    }
}

fn write_ports(segment: &mut [u8], new: &FlowKey) {
    write(segment, 0, new.source_port.to_be_bytes());
    write(segment, 2, new.target_port.to_be_bytes());
}

fn ports(key: &FlowKey) -> Sum {
    Sum::default().with_u16(key.source_port).with_u16(key.target_port)
}

fn addresses(key: &FlowKey) -> Sum {
    if key.source.is_v4() {
        Sum::default().with_u32(key.source.to_v4_bits()).with_u32(key.target.to_v4_bits())
    } else {
        let ((a, b), (c, d)) = (key.source.to_halves(), key.target.to_halves());
        Sum::default().with_u64(a).with_u64(b).with_u64(c).with_u64(d)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
