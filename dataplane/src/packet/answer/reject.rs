//! What tells the sender of a packet that policy denies it: a TCP reset (RFC 9293 §3.10.7.1), or
//! an ICMP error, "administratively prohibited" (RFC 1812 §5.2.7.1, RFC 4443 §3.1). Cold.
//!
//! Nothing that says no is ever said no to: errors, resets and aborts get no answer, so two
//! switches, or a switch and a pod that echoes, have nothing to say to each other for ever.

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::icmpv6::DestUnreachableCode;
use etherparse::{EtherType, Icmpv4Type, Icmpv6Type, IpNumber};

use super::error::{
    concatenate, ethernet_header, ipv4_header, ipv6_header, may_cause_errors, write_error,
};
use super::{GATEWAY_V4, GATEWAY_V6};
use crate::packet::bytes::write;
use crate::packet::checksum::Sum;
use crate::packet::flow::Address;
use crate::packet::headers::{Family, Headers, Kind, TcpFlags, TcpHeader};
use crate::packet::rewrite::pseudo_header;

/// The type of SCTP's ABORT chunk (RFC 9260 §3.2).
const SCTP_ABORT: u8 = 6;
const TCP_BYTES: usize = 20;
/// The data offset of a header without options, in words, where it stands.
const TCP_WORDS: u8 = 5 << 4;
/// Where a TCP header has its checksum.
const TCP_CHECKSUM_AT: usize = 16;

/// Whether the sender of a denied packet may be told at all: not about what ends something
/// itself, nor about later fragments, nor where no ICMP error may be sent (groups, nobodies, what
/// stays on its link), nor when it says to be the gateway.
#[must_use]
pub fn may_reject(headers: &Headers) -> bool {
    let says_no = match headers.kind {
        Kind::Tcp(header) => header.flags.has(TcpFlags::RST),
        Kind::Sctp { first_chunk, .. } => first_chunk == SCTP_ABORT,
        Kind::Rest => true,
        _ => false,
    };
    let is_gateway = [GATEWAY_V4, GATEWAY_V6].contains(&headers.key.source);
    !says_no && !is_gateway && may_cause_errors(headers)
}

/// Writes into `out` what tells the sender of `original` that policy denies it, and gives its
/// length: a reset from the address and port that it wanted where it is TCP, else an error from
/// this speaker.
///
/// `original` may be cut to its first [`QUOTED_BYTES_MAX`](super::QUOTED_BYTES_MAX) bytes: no more
/// of it is quoted. `None` where [`may_reject`] says no, or where `out` is too short.
pub fn reject(
    out: &mut [u8],
    original: &[u8],
    headers: &Headers,
    speaker: Address,
) -> Option<usize> {
    if !may_reject(headers) {
        return None;
    }
    if let Kind::Tcp(header) = &headers.kind {
        return write_reset(out, headers, header);
    }
    let v4 = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FilterProhibited);
    let v6 = Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Prohibited);
    write_error(out, original, headers, speaker, v4, v6)
}

/// The same where nobody serves at a Service's port: "port unreachable" for every protocol, as
/// kube-proxy says.
pub fn unreachable(
    out: &mut [u8],
    original: &[u8],
    headers: &Headers,
    speaker: Address,
) -> Option<usize> {
    if !may_reject(headers) {
        return None;
    }
    let v4 = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port);
    let v6 = Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Port);
    write_error(out, original, headers, speaker, v4, v6)
}

fn write_reset(out: &mut [u8], headers: &Headers, header: &TcpHeader) -> Option<usize> {
    let mut back = *headers;
    (back.key.source, back.key.target) = (headers.key.target, headers.key.source);
    let (source, target) = (back.key.source, back.key.target);
    let ports = [headers.key.target_port, headers.key.source_port];
    let segment = reset(ports, header, &back);
    match headers.family {
        Family::V4 => {
            let ip = ipv4_header(source, target, IpNumber::TCP, segment.len())?.to_bytes();
            let ethernet = ethernet_header(headers, EtherType::IPV4);
            concatenate(out, [&ethernet, &ip, &segment, &[]])
        }
        Family::V6 => {
            let ip = ipv6_header(source, target, IpNumber::TCP, segment.len())?.to_bytes();
            let ethernet = ethernet_header(headers, EtherType::IPV6);
            concatenate(out, [&ethernet, &ip, &segment, &[]])
        }
    }
}

/// The reset that the segment's sender believes: at the number that it says to expect next (RFC
/// 5961 takes no other), or, where it expects none yet, acknowledging what it sent.
///
/// That number is the sender's own. What the switch keeps of a connection may be behind it.
fn reset(ports: [u16; 2], header: &TcpHeader, back: &Headers) -> [u8; TCP_BYTES] {
    let (sequence, acknowledgment, flags) = if header.flags.has(TcpFlags::ACK) {
        (header.acknowledgment, 0, TcpFlags::RST)
    } else {
        (0, header.end(), TcpFlags::RST.with(TcpFlags::ACK))
    };
    let [[p0, p1], [p2, p3]] = ports.map(u16::to_be_bytes);
    let [s0, s1, s2, s3] = sequence.to_be_bytes();
    let [a0, a1, a2, a3] = acknowledgment.to_be_bytes();
    let mut segment =
        [p0, p1, p2, p3, s0, s1, s2, s3, a0, a1, a2, a3, TCP_WORDS, flags.0, 0, 0, 0, 0, 0, 0];
    let sum = pseudo_header(back, segment.len()).with(Sum::of(&segment)).checksum();
    write(&mut segment, TCP_CHECKSUM_AT, sum.to_be_bytes());
    segment
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
