//! TCP (RFC 9293), UDP (RFC 768) and SCTP (RFC 9260), as far as a connection needs. Hot path.

use crate::counters::DropReason;
use crate::packet::flow::Protocol;
use crate::packet::headers::{Family, Headers, Kind, SCTP_INIT, TcpFlags, TcpHeader};

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const SCTP: u8 = 132;

const TCP_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
/// The common header and the header of the first chunk.
const SCTP_BYTES: usize = 16;
const SCTP_COMMON_BYTES: usize = 12;
const SCTP_CHUNK_BYTES: usize = 4;
/// The least bytes of an INIT chunk.
const SCTP_INIT_BYTES: usize = 20;

/// Reads a TCP segment, or the beginning of one.
#[inline]
pub(super) fn tcp<const WHOLE: bool>(
    segment: &[u8],
    headers: &mut Headers,
) -> Result<(), DropReason> {
    let header: &[u8; TCP_BYTES] = segment.first_chunk().ok_or(DropReason::Truncated)?;
    let header_bytes = usize::from(header[12] >> 4).wrapping_mul(4);
    let flags = TcpFlags(header[13]);
    if header_bytes < TCP_BYTES || !flags.is_sane() {
        return Err(DropReason::Malformed);
    }
    let short = if WHOLE { DropReason::Malformed } else { DropReason::Truncated };
    let payload_bytes = segment.len().checked_sub(header_bytes).ok_or(short)?;
    let &[_, _, _, _, s0, s1, s2, s3, a0, a1, a2, a3, _, _, w0, w1, ..] = header;
    let tcp = TcpHeader {
        flags,
        sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        acknowledgment: u32::from_be_bytes([a0, a1, a2, a3]),
        window: u16::from_be_bytes([w0, w1]),
        payload_bytes: u16::try_from(payload_bytes).map_err(|_| DropReason::Malformed)?,
    };
    headers.set_upper(Kind::Tcp(tcp), Protocol::Tcp, ports(header));
    Ok(())
}

/// Reads a UDP datagram. Its length must be that of the packet: bytes beyond it are seen by one
/// reader and not by the next. That of a first fragment is more than is there.
#[inline]
pub(super) fn udp<const WHOLE: bool>(
    segment: &[u8],
    headers: &mut Headers,
) -> Result<(), DropReason> {
    let header: &[u8; UDP_BYTES] = segment.first_chunk().ok_or(DropReason::Truncated)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let has_checksum = header[6] != 0 || header[7] != 0;
    // IPv6 has no checksum of its own, so UDP must (RFC 8200 §8.1).
    let fits = if WHOLE { length == segment.len() } else { length > segment.len() };
    if !fits || (headers.family == Family::V6 && !has_checksum) {
        return Err(DropReason::Malformed);
    }
    let ports = ports(header);
    let kind = if is_lease(ports) { Kind::LinkOnly } else { Kind::Udp };
    headers.set_upper(kind, Protocol::Udp, ports);
    Ok(())
}

/// What a DHCP server tells its client: who gives leases stands on the client's link, and no pod
/// is anybody's (RFC 2131 section 4.1, RFC 8415 section 7.2).
#[inline]
fn is_lease((source, target): (u16, u16)) -> bool {
    // Most have a port that is none of a service: one look for them.
    source | target < 1024 && matches!((source, target), (67, 68) | (547, 546))
}

/// Reads an SCTP packet as far as its first chunk. An INIT bears no tag and stands alone, or some would
/// take it for one and some not (RFC 9260 sections 3.3.2, 8.5.1), and so it comes whole.
#[inline]
pub(super) fn sctp<const WHOLE: bool>(
    segment: &[u8],
    headers: &mut Headers,
) -> Result<(), DropReason> {
    let header: &[u8; SCTP_BYTES] = segment.first_chunk().ok_or(DropReason::Truncated)?;
    let chunk_bytes = usize::from(u16::from_be_bytes([header[14], header[15]]));
    let room = segment.len().wrapping_sub(SCTP_COMMON_BYTES);
    if chunk_bytes < SCTP_CHUNK_BYTES || (WHOLE && chunk_bytes > room) {
        return Err(DropReason::Malformed);
    }
    let first_chunk = header[12];
    let verification_tag = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    // Chunks are padded to four bytes. What follows an INIT in pieces nobody sees in time.
    let is_alone = WHOLE && (chunk_bytes.wrapping_add(3) & !3) >= room;
    if first_chunk == SCTP_INIT
        && (verification_tag != 0 || chunk_bytes < SCTP_INIT_BYTES || !is_alone)
    {
        return Err(DropReason::Malformed);
    }
    let kind = Kind::Sctp { first_chunk, verification_tag };
    headers.set_upper(kind, Protocol::Sctp, ports(header));
    Ok(())
}

/// Source and target: they stand first in all three.
#[inline]
fn ports<const N: usize>(header: &[u8; N]) -> (u16, u16) {
    const { assert!(N >= 4) };
    (u16::from_be_bytes([header[0], header[1]]), u16::from_be_bytes([header[2], header[3]]))
}
