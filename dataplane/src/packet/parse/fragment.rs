//! Fragments: their place in the datagram, and of the first what the datagram is. Hot path.
//!
//! A first fragment must have all headers as far as ports and flags, or what follows could say
//! something else than what was judged (RFC 1858, RFC 7112). What no stack sends in pieces is
//! dropped: ICMP errors, neighbour discovery (RFC 6980), and in IPv6 a fragment that is the whole
//! datagram (RFC 8021: nobody may send those any more).

use super::ipv6::{self, Walked};
use super::{ipv4, read_upper};
use crate::counters::DropReason;
use crate::limits::ETHERNET_BYTES;
use crate::packet::bytes::read as bytes_at;
use crate::packet::flow::Protocol;
use crate::packet::headers::{Family, Fragment, Headers, Kind};

/// Bytes of IPv6's fragment header.
const HEADER_V6_BYTES: usize = 8;

/// IPv6's fragment header.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderV6 {
    pub(super) identification: u32,
    /// In bytes.
    pub(super) offset: u16,
    pub(super) more: bool,
    /// What follows it.
    pub(super) next: Walked,
}

/// Reads on in a frame whose IP header is that of a fragment.
pub(super) fn read(bytes: &[u8], headers: &mut Headers) -> Result<Fragment, DropReason> {
    let packet =
        bytes.get(ETHERNET_BYTES..usize::from(headers.end)).ok_or(DropReason::Truncated)?;
    let mut fragment = match headers.family {
        Family::V4 => place_v4(packet, headers)?,
        Family::V6 => place_v6(packet, headers)?,
    };
    if fragment.is_first() {
        read_upper::<false>(bytes, headers).map_err(tiny)?;
        if headers.kind.is_control() {
            return Err(DropReason::Fragment);
        }
        fragment.udp_end = udp_end(packet, headers, fragment.end)?;
    } else {
        headers.set_upper(Kind::Rest, Protocol::Other, (0, 0));
    }
    Ok(fragment)
}

/// Where a datagram ends by the UDP header of its first fragment; 0 where that has none. Bytes beyond
/// are seen by one reader and not by the next, as in a whole one.
fn udp_end(packet: &[u8], headers: &Headers, end: u16) -> Result<u16, DropReason> {
    if headers.kind != Kind::Udp {
        return Ok(0);
    }
    let at = usize::from(headers.l4_offset).saturating_sub(ETHERNET_BYTES);
    let [_, _, _, _, high, low] = bytes_at::<6>(packet, at).ok_or(DropReason::FragmentTiny)?;
    let here = u16::try_from(packet.len().saturating_sub(at)).unwrap_or(u16::MAX);
    let before = end.saturating_sub(here);
    u16::from_be_bytes([high, low]).checked_add(before).ok_or(DropReason::Malformed)
}

/// A first fragment that ends before its headers do.
fn tiny(reason: DropReason) -> DropReason {
    if reason == DropReason::Truncated { DropReason::FragmentTiny } else { reason }
}

fn place_v4(packet: &[u8], headers: &Headers) -> Result<Fragment, DropReason> {
    let fixed = packet.first_chunk().ok_or(DropReason::Truncated)?;
    let (identification, offset, more) = ipv4::fragment(fixed);
    let before = usize::from(headers.l4_offset).saturating_sub(ETHERNET_BYTES);
    place(packet.len(), before, before, (identification, offset, more))
}

/// Reads the fragment header, and of a first fragment what follows it; notes what the upper layer
/// is and where.
fn place_v6(packet: &[u8], headers: &mut Headers) -> Result<Fragment, DropReason> {
    let at = usize::from(headers.l4_offset).saturating_sub(ETHERNET_BYTES);
    let header = header_v6(packet, Walked { number: ipv6::FRAGMENT, offset: at })
        .ok_or(DropReason::Truncated)?;
    let HeaderV6 { identification, offset, more, next } = header;
    if offset == 0 && !more {
        return Err(DropReason::Fragment);
    }
    // Options before the fragment header count as part of the packet, the fixed header does not.
    let counted = at.saturating_sub(ipv6::HEADER_BYTES);
    let fragment = place(packet.len(), next.offset, counted, (identification, offset, more))?;
    let mut upper = next;
    if fragment.is_first() {
        upper = ipv6::walk(packet, next).map_err(tiny)?;
        if upper.number == ipv6::FRAGMENT {
            return Err(DropReason::ExtensionHeaders);
        }
    }
    headers.key.number = upper.number;
    headers.l4_offset = super::in_frame(upper.offset)?;
    Ok(fragment)
}

/// The fragment header at `at`; `None` where the packet ends before it does.
pub(super) fn header_v6(packet: &[u8], at: Walked) -> Option<HeaderV6> {
    let [number, _, o0, o1, identification @ ..] = bytes_at::<HEADER_V6_BYTES>(packet, at.offset)?;
    let field = u16::from_be_bytes([o0, o1]);
    Some(HeaderV6 {
        identification: u32::from_be_bytes(identification),
        offset: field & !7,
        more: field & 1 != 0,
        next: Walked { number, offset: at.offset.wrapping_add(HEADER_V6_BYTES) },
    })
}

/// The place of a fragment whose data are what `before` leaves of the packet. `counted` bytes
/// beside the data count for the length of the datagram, which has 16 bits.
fn place(
    packet_bytes: usize,
    before: usize,
    counted: usize,
    (identification, offset, more): (u32, u16, bool),
) -> Result<Fragment, DropReason> {
    let bytes = packet_bytes.saturating_sub(before);
    let end = bytes.saturating_add(usize::from(offset));
    let is_too_long = end.saturating_add(counted) > usize::from(u16::MAX);
    if bytes == 0 || is_too_long || (more && bytes & 7 != 0) {
        return Err(DropReason::Fragment);
    }
    let end = u16::try_from(end).map_err(|_| DropReason::Fragment)?;
    Ok(Fragment { identification, offset, end, more, udp_end: 0 })
}
