//! What is said about a link: who asks for the gateway's MAC, and who says to have which address. Hot
//! path, though hardly ever asked.

use super::admit::Turned;
use crate::counters::DropReason;
use crate::endpoint::{Endpoints, Local};
use crate::ids::PortRef;
use crate::packet::Address;
use crate::packet::answer::{GATEWAY_V4, GATEWAY_V6};
use crate::packet::parse::{Arp, Headers, Neighbour};

#[cold]
pub(super) fn arp_from_pod(endpoints: &Endpoints, from: PortRef, arp: Arp) -> Turned {
    let Some(sender) = endpoints.sender(from) else {
        return DropReason::Unsynced.into();
    };
    if arp.source_mac != sender.mac || arp.sender_mac != sender.mac {
        return DropReason::SpoofedMac.into();
    }
    let address = Address::from_v4(arp.sender);
    let is_probe = arp.sender == [0; 4]; // RFC 5227: nobody else is on this link to answer it
    if !is_probe && endpoints.class_of_own(sender, address).is_none() {
        return DropReason::SpoofedSource.into();
    }
    if is_probe { DropReason::NotForUs.into() } else { answerable(arp) }
}

/// Only a request for the gateway's own address is answered.
pub(super) fn answerable(arp: Arp) -> Turned {
    let asks = arp.operation == 1 && Address::from_v4(arp.target) == GATEWAY_V4;
    if asks { Turned::Arp(arp) } else { DropReason::NotForUs.into() }
}

#[cold]
pub(super) fn neighbour_from_pod(
    endpoints: &Endpoints,
    sender: &Local,
    neighbour: &Neighbour,
    headers: &Headers,
) -> Turned {
    let source = headers.key.source;
    // The unspecified source is duplicate-address detection: nobody else is on this link.
    if source.to_bits() == 0 {
        return DropReason::NotForUs.into();
    }
    // Who advertises an address says to have it, whoever it speaks as.
    let (told, claimed) = match *neighbour {
        Neighbour::Solicitation { source_link, .. } => (source, source_link),
        Neighbour::Advertisement { target, target_link } => (target, target_link),
    };
    if !may_have(endpoints, sender, source) || !may_have(endpoints, sender, told) {
        return DropReason::SpoofedSource.into();
    }
    if claimed.is_some_and(|mac| mac != sender.mac) {
        return DropReason::SpoofedMac.into();
    }
    answerable_solicitation(neighbour)
}

/// Whether an IPv6 address can be the pod's: its own, or any link-local one but the gateway's, for
/// those are nowhere written down.
fn may_have(endpoints: &Endpoints, sender: &Local, address: Address) -> bool {
    let (high, _) = address.to_halves();
    let link_local = high >> 54 == 0xfe80 >> 6 && address != GATEWAY_V6;
    link_local || endpoints.class_of_own(sender, address).is_some()
}

/// Only a solicitation of the gateway's own address is answered.
pub(super) fn answerable_solicitation(neighbour: &Neighbour) -> Turned {
    match *neighbour {
        Neighbour::Solicitation { target, .. } if target == GATEWAY_V6 => Turned::Solicitation,
        _ => DropReason::NotForUs.into(),
    }
}
