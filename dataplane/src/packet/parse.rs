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
//!              ├─ IPv4: length, checksum, fragment, options, addresses ─┐
//!              └─ IPv6: length, addresses, extension headers ──────────┤
//!                                                                       ▼
//!                           transport (TCP, UDP, SCTP) or icmp (echo, errors, neighbours)
//! ```
//!
//! Upper-layer checksums are not verified: senders behind a veth leave them unfinished, and the
//! ends check them. IPv4's header checksum is, since forwarding would patch a wrong one.
//!
//! Written by hand rather than with etherparse, which is its twin in the tests (house D6).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod arp;
mod icmp;
mod ipv4;
mod ipv6;
mod neighbour;
mod transport;

pub use super::headers::{Arp, Family, Headers, Kind, Neighbour, Packet, TcpFlags, TcpHeader};

use super::flow::{Address, FlowKey, Protocol};
use crate::counters::DropReason;
use crate::ids::Mac;
use crate::limits::ETHERNET_BYTES;

pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_ARP: u16 = 0x0806;

/// What the IP header says, both families alike.
#[derive(Clone, Copy, Debug)]
struct Ip {
    family: Family,
    source: Address,
    target: Address,
    /// The protocol after all extension headers.
    number: u8,
    ttl: u8,
    /// Where the upper layer begins in the frame.
    l4_offset: u16,
    /// Where the packet ends in the frame.
    end: u16,
    /// Whether extension headers stand before the upper layer.
    is_extended: bool,
}

/// What the upper layer says.
#[derive(Clone, Copy, Debug)]
struct Upper {
    kind: Kind,
    protocol: Protocol,
    source_port: u16,
    target_port: u16,
}

impl Upper {
    /// One without ports.
    fn portless(kind: Kind, protocol: Protocol) -> Self {
        Self { kind, protocol, source_port: 0, target_port: 0 }
    }
}

/// Reads one frame.
///
/// # Errors
///
/// The reason for which the packet must be dropped: `Truncated`, `NotIp`, `VlanTagged`,
/// `Malformed`, `Fragment`, `ExtensionHeaders` or `Martian`.
pub fn parse(bytes: &[u8]) -> Result<Packet, DropReason> {
    let Some(&[t0, t1, t2, t3, t4, t5, s0, s1, s2, s3, s4, s5, high, low]) = bytes.first_chunk()
    else {
        return Err(DropReason::Truncated);
    };
    let target_mac = Mac([t0, t1, t2, t3, t4, t5]);
    let source_mac = Mac([s0, s1, s2, s3, s4, s5]);
    let ip = match u16::from_be_bytes([high, low]) {
        ETHERTYPE_IPV4 => ipv4::read(bytes)?,
        ETHERTYPE_IPV6 => ipv6::read(bytes)?,
        ETHERTYPE_ARP => return arp::read(bytes, source_mac, target_mac).map(Packet::Arp),
        // 802.1Q (priority tags too), 802.1ad and the older numbers for stacked tags.
        0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => return Err(DropReason::VlanTagged),
        // 802.3 lengths with LLC, MPLS, PPPoE, LLDP and all that will be invented.
        _ => return Err(DropReason::NotIp),
    };
    let upper = read_upper(bytes, &ip)?;
    if is_unspecified(ip.source) && !may_be_unspecified(&upper.kind) {
        return Err(DropReason::Martian);
    }
    let key = FlowKey {
        source: ip.source,
        target: ip.target,
        source_port: upper.source_port,
        target_port: upper.target_port,
        number: ip.number,
        protocol: upper.protocol,
    };
    Ok(Packet::Ip(Headers {
        key,
        family: ip.family,
        source_mac,
        target_mac,
        ttl: ip.ttl,
        l4_offset: ip.l4_offset,
        end: ip.end,
        kind: upper.kind,
    }))
}

#[inline]
fn read_upper(bytes: &[u8], ip: &Ip) -> Result<Upper, DropReason> {
    let segment =
        bytes.get(usize::from(ip.l4_offset)..usize::from(ip.end)).ok_or(DropReason::Truncated)?;
    match (ip.number, ip.family) {
        (transport::TCP, _) => transport::tcp(segment),
        (transport::UDP, family) => transport::udp(segment, family),
        (transport::SCTP, _) => transport::sctp(segment),
        (icmp::ICMP_V4, Family::V4) => icmp::read_v4(segment, ip),
        (icmp::ICMP_V6, Family::V6) => icmp::read_v6(segment, ip),
        // ICMP of the other family is no ICMP: nobody will read it so.
        _ => Ok(Upper::portless(Kind::Portless, Protocol::Other)),
    }
}

/// `::`. IPv4's was dropped with its header.
#[inline]
fn is_unspecified(address: Address) -> bool {
    address.to_halves() == (0, 0)
}

/// Who has no address yet asks whether one is free, and for routers and groups. None of it is
/// ever forwarded.
fn may_be_unspecified(kind: &Kind) -> bool {
    matches!(kind, Kind::Neighbour(Neighbour::Solicitation { .. }) | Kind::LinkOnly)
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
