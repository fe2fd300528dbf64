//! Neighbour solicitations and advertisements (RFC 4861). Hot path.
//!
//! Checked as §7.1 asks of every receiver, but for the checksum, which who answers checks. An
//! extension header before one is refused: no host needs it, and filters were fooled by it
//! (RFC 6980, RFC 7113).

use super::{ipv6, is_unspecified};
use crate::counters::DropReason;
use crate::ids::Mac;
use crate::limits::{ETHERNET_BYTES, NEIGHBOUR_OPTIONS_MAX};
use crate::packet::flow::Address;
use crate::packet::headers::{Headers, Neighbour, is_group};

/// Type, code, checksum, flags, target.
const MESSAGE_BYTES: usize = 24;

const SOURCE_LINK: u8 = 1;
const TARGET_LINK: u8 = 2;

/// The S flag, in the first of the four bytes after the checksum.
const SOLICITED: u8 = 0x40;

/// `ff02::1:ff00:0`, to whose last 24 bits those of the address asked for are added.
const SOLICITED_NODE: (u64, u64) = (0xff02_0000_0000_0000, 0x0000_0001_ff00_0000);

/// Reads a solicitation.
pub(super) fn solicitation(segment: &[u8], headers: &Headers) -> Result<Neighbour, DropReason> {
    let (message, target) = message(segment, headers)?;
    let source_link = link_address(message, SOURCE_LINK)?;
    // Duplicate address detection: it has no address yet, so it can say no MAC either.
    if is_unspecified(headers.key.source)
        && (source_link.is_some() || !is_solicited_node(headers.key.target))
    {
        return Err(DropReason::Malformed);
    }
    Ok(Neighbour::Solicitation { target, source_link })
}

/// Reads an advertisement.
pub(super) fn advertisement(segment: &[u8], headers: &Headers) -> Result<Neighbour, DropReason> {
    let (message, target) = message(segment, headers)?;
    let is_solicited = segment.get(4).is_some_and(|flags| flags & SOLICITED != 0);
    if is_solicited && is_group(headers.key.target) {
        return Err(DropReason::Malformed);
    }
    let target_link = link_address(message, TARGET_LINK)?;
    Ok(Neighbour::Advertisement { target, target_link })
}

/// What both have: the options and the target.
fn message<'a>(segment: &'a [u8], headers: &Headers) -> Result<(&'a [u8], Address), DropReason> {
    if usize::from(headers.l4_offset) != ETHERNET_BYTES + ipv6::HEADER_BYTES {
        return Err(DropReason::ExtensionHeaders);
    }
    let (fixed, options) =
        segment.split_first_chunk::<MESSAGE_BYTES>().ok_or(DropReason::Truncated)?;
    let target: [u8; 16] = fixed.last_chunk().copied().ok_or(DropReason::Truncated)?;
    let target = Address::from_v6(target);
    // A hop limit of 255 proves that no router passed it on: it is from this link.
    if headers.ttl != 255 || fixed[1] != 0 || is_group(target) {
        return Err(DropReason::Malformed);
    }
    Ok((options, target))
}

/// The MAC in the option `wanted`, where there is one.
fn link_address(options: &[u8], wanted: u8) -> Result<Option<Mac>, DropReason> {
    let mut found = None;
    let mut rest = options;
    for _ in 0..NEIGHBOUR_OPTIONS_MAX {
        let Some(&[kind, units]) = rest.first_chunk() else { break };
        // The length counts units of eight bytes; 0 would stand still.
        let length = usize::from(units).wrapping_mul(8);
        let option = rest.get(..length).ok_or(DropReason::Malformed)?;
        rest = rest.get(length..).ok_or(DropReason::Malformed)?;
        if units == 0 || (kind == wanted && (units != 1 || found.is_some())) {
            return Err(DropReason::Malformed);
        }
        if kind == wanted {
            found = option.last_chunk().copied().map(Mac);
        }
    }
    if rest.is_empty() { Ok(found) } else { Err(DropReason::Malformed) }
}

fn is_solicited_node(address: Address) -> bool {
    let (high, low) = address.to_halves();
    (high, low & !0x00ff_ffff) == SOLICITED_NODE
}
