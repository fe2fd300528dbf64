//! Packets that the switch itself sends. Cold: every caller limits them per port.
//!
//! Answers are written over their questions (`arp_reply`, `neighbour_advertisement`,
//! `echo_reply`); the ICMP errors, which quote, are in `error`, and what the sender of a denied
//! packet hears in `reject`. All come from the gateway's address and MAC, which are the same for
//! every pod and no interface's (house D7), and go to the MAC that asked; but a TCP reset is from
//! the address that was wanted, for its receiver takes it from no other, and an error from whom its
//! caller says, for beyond the host port nobody hears the gateway's address of IPv6.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod error;
mod reject;

pub use error::{QUOTED_BYTES_MAX, time_exceeded, too_big};
pub use reject::{may_reject, reject, unreachable};

use super::bytes::{read, write};
use super::checksum::{Sum, patch};
use super::flow::Address;
use super::headers::{Arp, Family, Headers, Kind, Neighbour};
use super::rewrite::{pseudo_header, set_ttl};
use crate::ids::Mac;
use crate::limits::ETHERNET_BYTES;

/// The pods' IPv4 gateway, 169.254.1.1.
pub const GATEWAY_V4: Address = Address::from_v4([169, 254, 1, 1]);

/// The pods' IPv6 gateway, `fe80::1`.
pub const GATEWAY_V6: Address =
    Address::from_v6([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// The gateway's MAC: locally administered, "LG".
pub const GATEWAY_MAC: Mac = Mac([0x02, 0x4c, 0x47, 0x00, 0x00, 0x01]);

/// The gateway's address in the family of whoever asks.
#[must_use]
pub const fn gateway(asker: Address) -> Address {
    if asker.is_v4() { GATEWAY_V4 } else { GATEWAY_V6 }
}

/// The TTL and hop limit of what the switch sends.
const TTL: u8 = 64;

const ARP_BYTES: usize = 28;

/// Turns an ARP request into its reply: "`arp.target` is at `gateway`". Gives its length, always
/// 42 bytes; `bytes` is the frame that `arp` was read from.
pub fn arp_reply(bytes: &mut [u8], arp: &Arp, gateway: Mac) -> usize {
    set_macs(bytes, gateway, arp.source_mac);
    let [o0, o1] = Arp::REPLY.to_be_bytes();
    write(bytes, ETHERNET_BYTES + 6, [o0, o1]);
    write(bytes, ETHERNET_BYTES + 8, gateway.0);
    write(bytes, ETHERNET_BYTES + 14, arp.target);
    write(bytes, ETHERNET_BYTES + 18, arp.sender_mac.0);
    write(bytes, ETHERNET_BYTES + 24, arp.sender);
    ETHERNET_BYTES + ARP_BYTES
}

/// Ethernet, IPv6, neighbour message, link-layer address option.
const ADVERTISEMENT_BYTES: usize = ETHERNET_BYTES + 40 + 24 + 8;

/// Turns a solicitation for [`GATEWAY_V6`] into the advertisement that answers it (router,
/// solicited, override, with the MAC), and gives its length, always 86 bytes.
///
/// The answer may be longer than the question: `bytes` must have room for it, beyond the
/// packet's end. `None`, and `bytes` as they were, where there is no such room, for any other
/// packet, for duplicate address detection (the gateway's address is not for pods, but nobody
/// tells them so), for whoever asks as the gateway (the answer would go from and to one address),
/// and where the question's checksum is wrong.
pub fn neighbour_advertisement(bytes: &mut [u8], headers: &Headers, gateway: Mac) -> Option<usize> {
    const ROUTER_SOLICITED_OVERRIDE: u8 = 0xe0;
    const TARGET_LINK: u8 = 2;
    let asker = headers.key.source;
    let is_ours = matches!(headers.kind,
        Kind::Neighbour(Neighbour::Solicitation { target, .. }) if target == GATEWAY_V6);
    let question = bytes.get(usize::from(headers.l4_offset)..usize::from(headers.end))?;
    let sum = pseudo_header(headers, question.len()).with(Sum::of(question)).fold();
    let is_one = asker.to_bits() != 0 && asker != GATEWAY_V6;
    if !is_ours || !is_one || sum != 0xffff || bytes.len() < ADVERTISEMENT_BYTES {
        return None;
    }
    set_macs(bytes, gateway, headers.source_mac);
    let gateway_address = GATEWAY_V6.to_bits().to_be_bytes();
    write(bytes, ETHERNET_BYTES, [0x60, 0, 0, 0, 0, 32, headers.key.number, 255]);
    write(bytes, ETHERNET_BYTES + 8, gateway_address);
    write(bytes, ETHERNET_BYTES + 24, asker.to_bits().to_be_bytes());
    write(bytes, ETHERNET_BYTES + 40, [136, 0, 0, 0, ROUTER_SOLICITED_OVERRIDE, 0, 0, 0]);
    write(bytes, ETHERNET_BYTES + 48, gateway_address);
    let [m0, m1, m2, m3, m4, m5] = gateway.0;
    write(bytes, ETHERNET_BYTES + 64, [TARGET_LINK, 1, m0, m1, m2, m3, m4, m5]);
    let message = bytes.get(ETHERNET_BYTES + 40..ADVERTISEMENT_BYTES)?;
    let mut answer = *headers;
    (answer.key.source, answer.key.target) = (GATEWAY_V6, asker);
    let checksum = pseudo_header(&answer, message.len()).with(Sum::of(message)).checksum();
    write(bytes, ETHERNET_BYTES + 42, checksum.to_be_bytes());
    Some(ADVERTISEMENT_BYTES)
}

/// Turns an echo request into its reply, from the address it was sent to, and gives its length.
///
/// `None`, and `bytes` as they were, for every other packet: replies, timestamps (the switch
/// knows no time of day), and what was sent to a group. A checksum that was wrong stays wrong,
/// so that a broken question gets no valid answer.
pub fn echo_reply(bytes: &mut [u8], headers: &Headers, gateway: Mac) -> Option<usize> {
    let at = usize::from(headers.l4_offset);
    let [kind, code, high, low] = read(bytes, at)?;
    let reply_kind = match (headers.kind, headers.family, kind) {
        (Kind::Echo { reply: false }, Family::V4, 8) => 0,
        (Kind::Echo { reply: false }, Family::V6, 128) => 129,
        _ => return None,
    };
    if headers.is_multicast() {
        return None;
    }
    set_macs(bytes, gateway, headers.source_mac);
    let (source, target) = (headers.key.target, headers.key.source);
    // Swapped addresses leave every sum as it was.
    match headers.family {
        Family::V4 => {
            write(bytes, ETHERNET_BYTES + 12, source.to_v4_bits().to_be_bytes());
            write(bytes, ETHERNET_BYTES + 16, target.to_v4_bits().to_be_bytes());
            set_ttl(bytes, TTL);
        }
        Family::V6 => {
            write(bytes, ETHERNET_BYTES + 7, [TTL]);
            write(bytes, ETHERNET_BYTES + 8, source.to_bits().to_be_bytes());
            write(bytes, ETHERNET_BYTES + 24, target.to_bits().to_be_bytes());
        }
    }
    let old = u16::from_be_bytes([kind, code]);
    let new = u16::from_be_bytes([reply_kind, code]);
    let [high, low] = patch(u16::from_be_bytes([high, low]), old, new).to_be_bytes();
    write(bytes, at, [reply_kind, code, high, low]);
    Some(usize::from(headers.end))
}

fn set_macs(bytes: &mut [u8], source: Mac, target: Mac) {
    write(bytes, 0, target.0);
    write(bytes, 6, source.0);
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
