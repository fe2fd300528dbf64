//! Bytes to headers, or to a reason to drop them. Hot path.
//!
//! The parser of a firewall: what two readers could understand in two ways is dropped, so that
//! what is judged is what the receiver will see. It keeps:
//!
//! - *Bounded*: every loop is over at most [`EXT_HEADERS_MAX`](crate::limits::EXT_HEADERS_MAX)
//!   headers, [`EXT_OPTIONS_MAX`](crate::limits::EXT_OPTIONS_MAX) options or a 40-byte slice,
//!   whatever the sender writes.
//! - *No panic*: bytes are reached through `get` and arrays of known length only.
//! - *Closed*: an unknown `EtherType`, tag, version, extension header or address is a
//!   `DropReason`; an unknown upper protocol is `Portless`, which only rules without ports allow.
//!
//! ```text
//! Ethernet II ─┬─ ARP ───────────────────────────────────────────────► Packet::Arp
//!              ├─ IPv4: length, checksum, options, addresses ─┬──────────┐
//!              └─ IPv6: length, addresses, extension headers ─┤          │
//!                                                          fragment     │
//!                                                              ▼          ▼
//!                           transport (TCP, UDP, SCTP) or icmp (echo, errors, neighbours)
//! ```
//!
//! Upper-layer checksums are not verified: senders behind a veth leave them unfinished, and the
//! ends check them. IPv4's header checksum is, since forwarding would patch a wrong one.
//!
//! Headers are read into place, layer by layer: they are large, and passed up through results they
//! were copied four times, which took longer than reading them. What was in that place before does
//! not show, for every layer that succeeds writes all of its fields (a test asks for it).
//!
//! Written by hand rather than with etherparse, which is its twin in the tests (house D6).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod arp;
mod fragment;
mod icmp;
mod ipv4;
mod ipv6;
mod neighbour;
mod transport;

pub use super::headers::{
    Arp, Family, Fragment, Headers, Kind, Neighbour, Packet, TcpFlags, TcpHeader,
};

pub(super) use icmp::quoted_upper;

use super::bytes;
use super::flow::{Address, Protocol};
use crate::counters::DropReason;
use crate::ids::Mac;
use crate::limits::ETHERNET_BYTES;

pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_ARP: u16 = 0x0806;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// IPv4 or IPv6: its headers are in place.
    Ip,
    /// A part of an IPv4 or IPv6 packet: [`read_fragment`] reads it.
    Fragment,
    /// ARP for IPv4 over Ethernet.
    Arp(Arp),
}

/// Reads one frame.
///
/// # Errors
///
/// See [`parse_into`].
pub fn parse(bytes: &[u8]) -> Result<Packet, DropReason> {
    let mut headers = Headers::BLANK;
    Ok(match parse_into(bytes, &mut headers)? {
        Content::Ip => Packet::Ip(headers),
        Content::Fragment => {
            let fragment = read_fragment(bytes, &mut headers)?;
            Packet::Fragment(headers, fragment)
        }
        Content::Arp(arp) => Packet::Arp(arp),
    })
}

/// Reads one frame, its headers into place. They mean something for [`Content::Ip`] only.
///
/// # Errors
///
/// The reason for which the packet must be dropped: `Truncated`, `NotIp`, `VlanTagged`,
/// `Malformed`, `ExtensionHeaders` or `Martian`.
#[inline]
pub fn parse_into(bytes: &[u8], headers: &mut Headers) -> Result<Content, DropReason> {
    let Some((ethernet, _)) = bytes.split_first_chunk::<ETHERNET_BYTES>() else {
        return Err(DropReason::Truncated);
    };
    let (target_mac, source_mac) = (mac(ethernet, 0), mac(ethernet, 6));
    (headers.source_mac, headers.target_mac) = (source_mac, target_mac);
    let is_whole = match u16::from_be_bytes([ethernet[12], ethernet[13]]) {
        ETHERTYPE_IPV4 => ipv4::read(bytes, headers)?,
        ETHERTYPE_IPV6 => ipv6::read(bytes, headers)?,
        ETHERTYPE_ARP => return arp::read(bytes, source_mac, target_mac).map(Content::Arp),
        // 802.1Q (priority tags too), 802.1ad and the older numbers for stacked tags.
        0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => return Err(DropReason::VlanTagged),
        // 802.3 lengths with LLC, MPLS, PPPoE, LLDP and all that will be invented.
        _ => return Err(DropReason::NotIp),
    };
    if !is_whole {
        return Ok(Content::Fragment);
    }
    read_upper::<true>(bytes, headers)?;
    if is_unspecified(headers.key.source) && !may_be_unspecified(headers) {
        return Err(DropReason::Martian);
    }
    Ok(Content::Ip)
}

/// Reads on in a frame that [`parse_into`] found to hold a fragment: the rest of its headers into
/// place, and its place in the datagram.
///
/// # Errors
///
/// As [`parse_into`], and `Fragment` or `FragmentTiny`.
// Kept apart: nearly every packet is whole.
#[cold]
pub fn read_fragment(bytes: &[u8], headers: &mut Headers) -> Result<Fragment, DropReason> {
    let fragment = fragment::read(bytes, headers)?;
    // Nobody without an address has so much to say.
    if is_unspecified(headers.key.source) {
        return Err(DropReason::Martian);
    }
    Ok(fragment)
}

/// The MAC at one of the two offsets of an Ethernet header.
#[inline]
fn mac(ethernet: &[u8; ETHERNET_BYTES], offset: usize) -> Mac {
    Mac(bytes::read(ethernet, offset).unwrap_or_default())
}

/// Reads the upper layer: of a packet that is `WHOLE`, or of a first fragment, which must have
/// the headers, and of which more follows.
#[inline]
fn read_upper<const WHOLE: bool>(bytes: &[u8], headers: &mut Headers) -> Result<(), DropReason> {
    let segment = bytes
        .get(usize::from(headers.l4_offset)..usize::from(headers.end))
        .ok_or(DropReason::Truncated)?;
    match (headers.key.number, headers.family) {
        (transport::TCP, _) => transport::tcp::<WHOLE>(segment, headers),
        (transport::UDP, _) => transport::udp::<WHOLE>(segment, headers),
        (transport::SCTP, _) => transport::sctp::<WHOLE>(segment, headers),
        (icmp::ICMP_V4, Family::V4) | (icmp::ICMP_V6, Family::V6) => {
            icmp::read_message(segment, headers)
        }
        // ICMP of the other family is no ICMP: nobody will read it so.
        _ => {
            let number = headers.key.number.into();
            headers.set_upper(Kind::Portless, Protocol::Other, (number, number));
            Ok(())
        }
    }
}

/// `::`. IPv4's was dropped with its header.
#[inline]
fn is_unspecified(address: Address) -> bool {
    address.to_halves() == (0, 0)
}

/// Who has no address yet asks whether one is free, and for routers and groups. None of it is
/// ever forwarded.
fn may_be_unspecified(headers: &Headers) -> bool {
    match headers.kind {
        Kind::Neighbour(Neighbour::Solicitation { .. }) => true,
        Kind::LinkOnly => headers.key.protocol == Protocol::IcmpV6,
        _ => false,
    }
}

/// The bytes after the Ethernet header.
#[inline]
fn after_ethernet(bytes: &[u8]) -> Result<&[u8], DropReason> {
    bytes.get(ETHERNET_BYTES..).ok_or(DropReason::Truncated)
}

/// The offset in the frame of what lies `offset` bytes after the Ethernet header.
#[inline]
fn in_frame(offset: usize) -> Result<u16, DropReason> {
    // No frame of ours is 64 KiB long; one that says so contradicts itself.
    u16::try_from(offset.wrapping_add(ETHERNET_BYTES)).map_err(|_| DropReason::Malformed)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
