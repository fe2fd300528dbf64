//! ICMP errors (RFC 792, RFC 1122 §3.2.2, RFC 4443). Cold.
//!
//! Written beside the packet that caused them, which they quote: to its source, from the address
//! that the caller speaks by, the gateway's or one that is heard further. Headers are made by
//! etherparse (house D6); its only loops are checksums over at most 1280 bytes.

use etherparse::icmpv4::{DestUnreachableHeader, TimeExceededCode as TimeExceededV4};
use etherparse::icmpv6::TimeExceededCode as TimeExceededV6;
use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpDscp,
    IpNumber, Ipv4Header, Ipv6Header,
};

use super::{GATEWAY_MAC, GATEWAY_V4, GATEWAY_V6, TTL};
use crate::limits::ETHERNET_BYTES;
use crate::packet::flow::Address;
use crate::packet::headers::{Family, Headers, is_group};

/// The longest error over IPv4, IP header included: what every host must take (RFC 1122).
const V4_BYTES_MAX: usize = 576;
/// The longest error over IPv6, IP header included: the least MTU (RFC 4443 §2.4 (c)).
const V6_BYTES_MAX: usize = 1280;
const ICMP_BYTES: usize = 8;

/// How much of a packet, Ethernet header included, an error can quote at most.
pub const QUOTED_BYTES_MAX: usize = ETHERNET_BYTES + V6_BYTES_MAX - Ipv6Header::LEN - ICMP_BYTES;

/// Writes "time exceeded in transit" about `original` into `out`, and gives its length.
///
/// `original` may be cut to its first [`QUOTED_BYTES_MAX`] bytes: no more of it is quoted.
///
/// `None` where no error may be sent: about an ICMP error or what stays on its link, to or from
/// a group, from nobody (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)), as the gateway or the speaker; or where
/// `out` is too short.
pub fn time_exceeded(
    out: &mut [u8],
    original: &[u8],
    headers: &Headers,
    speaker: Address,
) -> Option<usize> {
    let v4 = Icmpv4Type::TimeExceeded(TimeExceededV4::TtlExceededInTransit);
    let v6 = Icmpv6Type::TimeExceeded(TimeExceededV6::HopLimitExceeded);
    write_error(out, original, headers, speaker, v4, v6)
}

/// Writes "too big, the next hop takes `mtu` bytes" about `original` into `out`, and gives its
/// length: ICMP 3/4 (RFC 1191), whether the packet forbade fragments or not, since the switch
/// makes none; `ICMPv6` 2.
///
/// `None` as for [`time_exceeded`]; groups are no exception here.
pub fn too_big(
    out: &mut [u8],
    original: &[u8],
    headers: &Headers,
    speaker: Address,
    mtu: u16,
) -> Option<usize> {
    let v4 = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
    let v6 = Icmpv6Type::PacketTooBig { mtu: u32::from(mtu) };
    write_error(out, original, headers, speaker, Icmpv4Type::DestinationUnreachable(v4), v6)
}

pub(super) fn write_error(
    out: &mut [u8],
    original: &[u8],
    headers: &Headers,
    speaker: Address,
    v4: Icmpv4Type,
    v6: Icmpv6Type,
) -> Option<usize> {
    let asker = headers.key.source;
    // From and to one address it would be a martian.
    if !may_cause_errors(headers) || asker == speaker {
        return None;
    }
    let end = usize::from(headers.end).min(original.len());
    let packet = original.get(ETHERNET_BYTES..end)?;
    match headers.family {
        Family::V4 => {
            let quote = quoted(packet, V4_BYTES_MAX - Ipv4Header::MIN_LEN - ICMP_BYTES);
            let icmp = Icmpv4Header::with_checksum(v4, quote).to_bytes();
            let bytes = icmp.len().saturating_add(quote.len());
            let mut ip = ipv4_header(speaker, asker, IpNumber::ICMP, bytes)?;
            // Errors travel with precedence "internetwork control" (RFC 1812 §4.3.2.5).
            ip.dscp = IpDscp::CS6;
            ip.header_checksum = ip.calc_header_checksum();
            let ip = ip.to_bytes();
            let ethernet = ethernet_header(headers, EtherType::IPV4);
            concatenate(out, [&ethernet, &ip, &icmp, quote])
        }
        Family::V6 => {
            let quote = quoted(packet, V6_BYTES_MAX - Ipv6Header::LEN - ICMP_BYTES);
            let (source, target) = (octets(speaker), octets(asker));
            let icmp = Icmpv6Header::with_checksum(v6, source, target, quote).ok()?.to_bytes();
            let bytes = icmp.len().saturating_add(quote.len());
            let ip = ipv6_header(speaker, asker, IpNumber::IPV6_ICMP, bytes)?.to_bytes();
            let ethernet = ethernet_header(headers, EtherType::IPV6);
            concatenate(out, [&ethernet, &ip, &icmp, quote])
        }
    }
}

/// Whether the packet may be answered with an error at all.
pub(super) fn may_cause_errors(headers: &Headers) -> bool {
    let source = headers.key.source;
    let is_from_one = headers.source_mac.0[0] & 1 == 0
        && !is_group(source)
        && source.to_bits() != 0
        && source != Address::from_v4([0; 4])
        // Nobody else is the gateway.
        && source != GATEWAY_V4
        && source != GATEWAY_V6;
    is_from_one && !headers.is_multicast() && !headers.kind.is_control()
}

fn quoted(packet: &[u8], bytes_max: usize) -> &[u8] {
    packet.get(..bytes_max).unwrap_or(packet)
}

pub(super) fn ethernet_header(headers: &Headers, ether_type: EtherType) -> [u8; 14] {
    Ethernet2Header { source: GATEWAY_MAC.0, destination: headers.source_mac.0, ether_type }
        .to_bytes()
}

pub(super) fn ipv4_header(
    source: Address,
    target: Address,
    number: IpNumber,
    payload_bytes: usize,
) -> Option<Ipv4Header> {
    let payload_bytes = u16::try_from(payload_bytes).ok()?;
    let [source, target] = [source, target].map(|one| one.to_v4_bits().to_be_bytes());
    let mut header = Ipv4Header::new(payload_bytes, TTL, number, source, target).ok()?;
    header.header_checksum = header.calc_header_checksum();
    Some(header)
}

pub(super) fn ipv6_header(
    source: Address,
    target: Address,
    number: IpNumber,
    payload_bytes: usize,
) -> Option<Ipv6Header> {
    Some(Ipv6Header {
        payload_length: u16::try_from(payload_bytes).ok()?,
        next_header: number,
        hop_limit: TTL,
        source: octets(source),
        destination: octets(target),
        ..Ipv6Header::default()
    })
}

fn octets(address: Address) -> [u8; 16] {
    address.to_bits().to_be_bytes()
}

/// Writes the parts one after the other; `None` where they do not all fit.
pub(super) fn concatenate(out: &mut [u8], parts: [&[u8]; 4]) -> Option<usize> {
    let mut length = 0_usize;
    for part in parts {
        let end = length.checked_add(part.len())?;
        out.get_mut(length..end)?.copy_from_slice(part);
        length = end;
    }
    Some(length)
}
