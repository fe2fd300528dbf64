//! The IPv6 header and its extension headers (RFC 8200). Hot path.
//!
//! Routing headers are dropped: what follows them is not for us to guess. Of the options, those that change what the packet means are refused: the
//! home address (another source, RFC 6275) and the jumbo payload (another length, RFC 2675).

use super::{after_ethernet, in_frame};
use crate::counters::DropReason;
use crate::limits::{EXT_HEADERS_MAX, EXT_OPTIONS_MAX};
use crate::packet::flow::Address;
use crate::packet::headers::{Family, Headers};

pub(super) const HEADER_BYTES: usize = 40;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
pub(super) const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

const OPTION_PAD1: u8 = 0;
const OPTION_JUMBO: u8 = 0xc2;
const OPTION_HOME_ADDRESS: u8 = 0xc9;

/// Reads the IPv6 header of a frame, and its extension headers, all of it that `headers` has:
/// whether the packet is whole. Of a fragment, the upper layer is the fragment header.
// Kept apart: inlined beside IPv4's, the values of both do not fit the registers.
#[inline(never)]
pub(super) fn read(bytes: &[u8], headers: &mut Headers) -> Result<bool, DropReason> {
    let packet = after_ethernet(bytes)?;
    let fixed: &[u8; HEADER_BYTES] = packet.first_chunk().ok_or(DropReason::Truncated)?;
    let payload_bytes = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    // 0 is the sign of a jumbogram: its true length is an option.
    if fixed[0] >> 4 != 6 || payload_bytes == 0 {
        return Err(DropReason::Malformed);
    }
    let total_bytes = payload_bytes.wrapping_add(HEADER_BYTES);
    let packet = packet.get(..total_bytes).ok_or(DropReason::Truncated)?;
    let (source, target) = addresses(fixed);
    if is_martian(source, target) {
        return Err(DropReason::Martian);
    }
    let upper = walk(packet, Walked { number: fixed[6], offset: HEADER_BYTES })?;
    headers.family = Family::V6;
    (headers.key.source, headers.key.target) = (source, target);
    headers.key.number = upper.number;
    headers.ttl = fixed[7];
    headers.l4_offset = in_frame(upper.offset)?;
    headers.end = in_frame(total_bytes)?;
    Ok(upper.number != FRAGMENT)
}

/// Source and target.
#[inline]
pub(super) fn addresses(fixed: &[u8; HEADER_BYTES]) -> (Address, Address) {
    let (_, both) = fixed.split_at(8);
    let (source, target) = both.split_at(16);
    let address = |bytes: &[u8]| Address::from_v6(bytes.first_chunk().copied().unwrap_or([0; 16]));
    (address(source), address(target))
}

/// Whether such a packet must never be on a wire: loopback, unspecified as target, IPv4 in
/// disguise, a group as source, or source and target alike.
///
/// `::` as source passes here: `parse` allows it for what may come without an address.
#[inline]
pub(super) fn is_martian(source: Address, target: Address) -> bool {
    is_outside(target)
        || (is_outside(source) && source.to_halves() != (0, 0))
        || source.to_halves().0 >> 56 == 0xff
        || source == target
}

/// `::/96` (unspecified, loopback, IPv4-compatible) and `::ffff:0:0/96` (IPv4-mapped).
#[inline]
fn is_outside(address: Address) -> bool {
    let (high, low) = address.to_halves();
    high == 0 && matches!(low >> 32, 0 | 0xffff)
}

/// Where the upper layer begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    /// Its protocol.
    pub(super) number: u8,
    /// Its offset from the start of the IPv6 header.
    pub(super) offset: usize,
}

/// Walks on to the upper layer, or to the fragment header if there is one.
#[inline]
pub(super) fn walk(packet: &[u8], from: Walked) -> Result<Walked, DropReason> {
    let mut walked = from;
    let mut options_left = EXT_OPTIONS_MAX;
    for _ in 0..=EXT_HEADERS_MAX {
        match walked.number {
            HOP_BY_HOP if walked.offset == HEADER_BYTES => {}
            DESTINATION_OPTIONS => {}
            HOP_BY_HOP | ROUTING | MOBILITY | HOST_IDENTITY | SHIM6 => {
                return Err(DropReason::ExtensionHeaders);
            }
            _ => return Ok(walked),
        }
        walked = skip(packet, walked, &mut options_left)?;
    }
    Err(DropReason::ExtensionHeaders)
}

/// Passes over one header of options, of which the packet may have so many more.
fn skip(packet: &[u8], at: Walked, options_left: &mut usize) -> Result<Walked, DropReason> {
    let rest = packet.get(at.offset..).ok_or(DropReason::Truncated)?;
    let &[number, units] = rest.first_chunk().ok_or(DropReason::Truncated)?;
    let length = usize::from(units).wrapping_add(1).wrapping_mul(8);
    let options = rest.get(2..length).ok_or(DropReason::Truncated)?;
    *options_left = check_options(options, *options_left)?;
    Ok(Walked { number, offset: at.offset.wrapping_add(length) })
}

/// Says how many more the packet may have.
fn check_options(options: &[u8], most: usize) -> Result<usize, DropReason> {
    let mut rest = options;
    for read in 0..most {
        rest = match *rest {
            [] => return Ok(most.wrapping_sub(read)),
            [OPTION_PAD1, ref after @ ..] => after,
            [OPTION_JUMBO | OPTION_HOME_ADDRESS, ..] => return Err(DropReason::ExtensionHeaders),
            [_, length, ref after @ ..] => {
                after.get(usize::from(length)..).ok_or(DropReason::Malformed)?
            }
            [_] => return Err(DropReason::Malformed),
        };
    }
    if rest.is_empty() { Ok(0) } else { Err(DropReason::ExtensionHeaders) }
}
