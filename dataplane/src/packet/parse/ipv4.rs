//! The IPv4 header (RFC 791, RFC 1122 §3.2.1). Hot path.

use super::{after_ethernet, in_frame};
use crate::counters::DropReason;
use crate::packet::checksum::Sum;
use crate::packet::flow::Address;
use crate::packet::headers::{Family, Headers};

pub(super) const HEADER_BYTES: usize = 20;

const OPTION_END: u8 = 0;
const OPTION_NONE: u8 = 1;
const OPTION_LOOSE_ROUTE: u8 = 131;
const OPTION_STRICT_ROUTE: u8 = 137;

/// The bits of flags and offset that make a fragment: "more follow" and the offset.
const FRAGMENT_BITS: u16 = MORE_BIT | OFFSET_BITS;
/// More fragments follow.
const MORE_BIT: u16 = 0x2000;
/// Where the fragment begins, in units of 8 bytes.
const OFFSET_BITS: u16 = 0x1fff;
/// Must be zero.
const RESERVED_BIT: u16 = 0x8000;

/// Reads the IPv4 header of a frame, all of it that `headers` has: whether the packet is whole.
#[inline]
pub(super) fn read(bytes: &[u8], headers: &mut Headers) -> Result<bool, DropReason> {
    let packet = after_ethernet(bytes)?;
    let fixed: &[u8; HEADER_BYTES] = packet.first_chunk().ok_or(DropReason::Truncated)?;
    let header_bytes = header_bytes(fixed[0]).ok_or(DropReason::Malformed)?;
    let total_bytes = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let packet = packet.get(..total_bytes).ok_or(DropReason::Truncated)?;
    let options = packet.get(HEADER_BYTES..header_bytes).ok_or(DropReason::Malformed)?;
    // Nearly every packet has none.
    let rest = if options.is_empty() { Sum::default() } else { sum_of_options(options)? };
    let fragment = u16::from_be_bytes([fixed[6], fixed[7]]);
    if Sum::of(fixed).with(rest).fold() != 0xffff || fragment & RESERVED_BIT != 0 {
        return Err(DropReason::Malformed);
    }
    let (source, target) = addresses(fixed);
    if is_martian(source, target) {
        return Err(DropReason::Martian);
    }
    headers.family = Family::V4;
    headers.key.source = Address::from_v4(source.to_be_bytes());
    headers.key.target = Address::from_v4(target.to_be_bytes());
    headers.key.number = fixed[9];
    headers.ttl = fixed[8];
    headers.l4_offset = in_frame(header_bytes)?;
    headers.end = in_frame(total_bytes)?;
    Ok(fragment & FRAGMENT_BITS == 0)
}

/// Identification, offset in bytes, and whether more follow.
pub(super) fn fragment(fixed: &[u8; HEADER_BYTES]) -> (u32, u16, bool) {
    let field = u16::from_be_bytes([fixed[6], fixed[7]]);
    let identification = u16::from_be_bytes([fixed[4], fixed[5]]);
    (identification.into(), (field & OFFSET_BITS) << 3, field & MORE_BIT != 0)
}

/// The header's length in bytes, where its first byte is that of an IPv4 header.
#[inline]
pub(super) fn header_bytes(first: u8) -> Option<usize> {
    matches!(first, 0x45..=0x4f).then(|| usize::from(first & 0x0f).wrapping_mul(4))
}

/// Source and target, most significant byte first.
#[inline]
pub(super) fn addresses(fixed: &[u8; HEADER_BYTES]) -> (u32, u32) {
    let &[.., s0, s1, s2, s3, t0, t1, t2, t3] = fixed;
    (u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes([t0, t1, t2, t3]))
}

/// Whether such a packet must never be on a wire: "this network", loopback, class E, a group as
/// source, or source and target alike. Groups and broadcast as target are the caller's to judge.
#[inline]
pub(super) fn is_martian(source: u32, target: u32) -> bool {
    let outside = |address: u32| matches!(address >> 24, 0 | 127);
    outside(source)
        || source >> 24 >= 224
        || outside(target)
        || (target >> 28 == 0xf && target != u32::MAX)
        || source == target
}

/// What options add to the checksum, if they are fit to be forwarded.
#[inline(never)]
fn sum_of_options(options: &[u8]) -> Result<Sum, DropReason> {
    are_sane(options).then(|| Sum::of(options)).ok_or(DropReason::Malformed)
}

/// Whether the options are well-formed and leave the route to the routers. At most 40 bytes.
fn are_sane(options: &[u8]) -> bool {
    // Bytes of the option under way that are still to be passed over.
    let mut inside = 0_usize;
    for (at, &kind) in options.iter().enumerate() {
        if inside > 0 {
            inside = inside.wrapping_sub(1);
            continue;
        }
        match kind {
            OPTION_END => return true,
            OPTION_NONE => {}
            OPTION_LOOSE_ROUTE | OPTION_STRICT_ROUTE => return false,
            _ => match options.get(at.wrapping_add(1)) {
                Some(&length) if length >= 2 => inside = usize::from(length).wrapping_sub(1),
                _ => return false,
            },
        }
    }
    inside == 0
}
