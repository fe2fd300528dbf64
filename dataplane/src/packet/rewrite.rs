//! Changes what is forwarded, in place. Hot path.
//!
//! Every function takes the frame's bytes and the `Headers` that `parse` read from them, works
//! on `bytes[..headers.end]` only, and does nothing where the two do not fit together.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::bytes::{read, write};
use super::checksum::crc32c::Crc;
use super::checksum::{Sum, patch};
use super::headers::{Family, Headers, Kind};
use crate::ids::Mac;
use crate::limits::ETHERNET_BYTES;

const TTL_AT: usize = ETHERNET_BYTES + 8;
pub(super) const IPV4_CHECKSUM_AT: usize = ETHERNET_BYTES + 10;
const HOP_LIMIT_AT: usize = ETHERNET_BYTES + 7;

/// From the start of the upper layer.
pub(super) const TCP_CHECKSUM_AT: usize = 16;
pub(super) const UDP_CHECKSUM_AT: usize = 6;
pub(super) const SCTP_CHECKSUM_AT: usize = 8;

/// Readies a packet for its next hop: new MACs, one less to live, and the IPv4 header's
/// checksum patched (a header that was valid stays so).
///
/// Only for packets with `headers.ttl > 1`: the caller answers the others. (A TTL of 0 stays 0
/// rather than become 255.)
#[inline]
pub fn forward(bytes: &mut [u8], headers: &Headers, source: Mac, target: Mac) {
    write(bytes, 0, target.0);
    write(bytes, 6, source.0);
    match headers.family {
        Family::V4 => set_ttl(bytes, headers.ttl.saturating_sub(1)),
        Family::V6 => write(bytes, HOP_LIMIT_AT, [headers.ttl.saturating_sub(1)]),
    }
}

/// Sets the TTL of an IPv4 packet, its header checksum patched.
#[inline]
pub(super) fn set_ttl(bytes: &mut [u8], ttl: u8) {
    // TTL, protocol, checksum: the patched word and its sum lie side by side.
    let Some([before, protocol, high, low]) = read(bytes, TTL_AT) else { return };
    let old = u16::from_be_bytes([before, protocol]);
    let new = u16::from_be_bytes([ttl, protocol]);
    let [high, low] = patch(u16::from_be_bytes([high, low]), old, new).to_be_bytes();
    write(bytes, TTL_AT, [ttl, protocol, high, low]);
    const { assert!(IPV4_CHECKSUM_AT == TTL_AT + 2) };
}

/// Computes the checksum of TCP, UDP and SCTP in full. For packets from pods, whose stacks
/// leave it unfinished.
///
/// UDP over IPv4 without a checksum stays without. ICMP and all else is left alone: no stack
/// leaves those unfinished.
#[inline]
pub fn finish_checksums(bytes: &mut [u8], headers: &Headers) {
    let Some(segment) = segment_mut(bytes, headers) else { return };
    match headers.kind {
        Kind::Tcp(_) => finish_tcp(segment, headers),
        Kind::Udp => finish_udp(segment, headers),
        Kind::Sctp { .. } => finish_sctp(segment),
        _ => {}
    }
}

/// Computes the checksum of TCP, UDP and SCTP only where a stack left it unfinished, and leaves
/// every other alone, right or wrong: it is the ends' proof that nothing on the way, this
/// switch included, changed the packet. For packets from the host port.
///
/// Linux leaves the folded sum of the pseudo-header in the field (`CHECKSUM_PARTIAL`), and 0 in
/// SCTP's. A finished checksum looks so by chance once in 65,535 packets; computing it again
/// then changes nothing, unless the packet is broken as well.
#[inline]
pub fn finish_if_unfinished(bytes: &mut [u8], headers: &Headers) {
    let Some(segment) = segment_mut(bytes, headers) else { return };
    let unfinished = pseudo_header(headers, segment.len()).fold().to_be_bytes();
    match headers.kind {
        Kind::Tcp(_) if read(segment, TCP_CHECKSUM_AT) == Some(unfinished) => {
            finish_tcp(segment, headers);
        }
        Kind::Udp if read(segment, UDP_CHECKSUM_AT) == Some(unfinished) => {
            finish_udp(segment, headers);
        }
        Kind::Sctp { .. } if read(segment, SCTP_CHECKSUM_AT) == Some([0; 4]) => {
            finish_sctp(segment);
        }
        _ => {}
    }
}

#[inline]
pub(super) fn segment_mut<'a>(bytes: &'a mut [u8], headers: &Headers) -> Option<&'a mut [u8]> {
    bytes.get_mut(usize::from(headers.l4_offset)..usize::from(headers.end))
}

#[inline]
fn finish_tcp(segment: &mut [u8], headers: &Headers) {
    write(segment, TCP_CHECKSUM_AT, [0; 2]);
    let checksum = pseudo_header(headers, segment.len()).with(Sum::of(segment)).checksum();
    write(segment, TCP_CHECKSUM_AT, checksum.to_be_bytes());
}

#[inline]
fn finish_udp(segment: &mut [u8], headers: &Headers) {
    if headers.family == Family::V4 && read(segment, UDP_CHECKSUM_AT) == Some([0; 2]) {
        return;
    }
    write(segment, UDP_CHECKSUM_AT, [0; 2]);
    // 0 would mean "none": its other form stands for it (RFC 768).
    let checksum = match pseudo_header(headers, segment.len()).with(Sum::of(segment)).checksum() {
        0 => 0xffff,
        sum => sum,
    };
    write(segment, UDP_CHECKSUM_AT, checksum.to_be_bytes());
}

pub(super) fn finish_sctp(segment: &mut [u8]) {
    write(segment, SCTP_CHECKSUM_AT, [0; 4]);
    let crc = Crc::START.with(segment).finish();
    write(segment, SCTP_CHECKSUM_AT, crc.to_le_bytes());
}

/// The sum of what checksums cover of the IP header: addresses, protocol, length.
#[inline]
pub(super) fn pseudo_header(headers: &Headers, segment_bytes: usize) -> Sum {
    let key = &headers.key;
    // A segment is shorter than 64 KiB: its offsets are 16-bit numbers.
    let length = u16::try_from(segment_bytes).unwrap_or(u16::MAX);
    let addresses = match headers.family {
        Family::V4 => {
            Sum::default().with_u32(key.source.to_v4_bits()).with_u32(key.target.to_v4_bits())
        }
        Family::V6 => {
            let (a, b) = key.source.to_halves();
            let (c, d) = key.target.to_halves();
            Sum::default().with_u64(a).with_u64(b).with_u64(c).with_u64(d)
        }
    };
    addresses.with_u16(u16::from(key.number)).with_u16(length)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
