//! Before a packet is judged: is it whole, is it for us, is it from whom it says, where would it
//! go. Hot path.
//!
//! Everything here reads one snapshot and the packet's bytes and changes nothing, so it may run
//! for a whole batch before the first connection is looked up.

use super::client::{Client, at_translator, part_to_asker, to_asker, to_itself, translator};
use super::link::{answerable, answerable_solicitation, arp_from_pod, neighbour_from_pod};
use super::mailbox::PortKind;
use super::route::{Asked, Checksums, Entrance, Exit, Route, Side};
use crate::counters::DropReason;
use crate::endpoint::{Endpoints, Kind as PlaceKind, Local, Place};
use crate::handoff::owner;
use crate::ids::{Mac, PortId, PortRef, PortSlot, WorkerId};
use crate::packet::answer::{GATEWAY_MAC, GATEWAY_V4, GATEWAY_V6};
use crate::packet::parse::{
    Arp, Content, Family, Fragment, Headers, Kind, parse_into, read_fragment,
};
use crate::packet::{Address, FlowKey};
use crate::policy::table::{ClassId, Sets};
use crate::service::Extent;
use crate::service::own::{ASKING_V6, is_asking};

/// A packet that may be judged.
///
/// Large, and therefore made in place and never moved; what was there before does not show.
#[derive(Debug)]
pub(super) struct Admitted {
    /// What was read.
    pub headers: Headers,
    /// What follows from it.
    pub route: Route,
}

impl Admitted {
    /// Room for a packet that is yet to be admitted.
    pub(super) const BLANK: Self = {
        const NOWHERE: PortRef =
            PortRef { port: PortId(u32::MAX), worker: WorkerId(u8::MAX), slot: PortSlot(u16::MAX) };
        const NOBODY: Side =
            Side { endpoint: None, class: ClassId::NOTHING, sets: Sets::NONE, node: None };
        let exit = Exit { to: NOWHERE, mac: Mac([0; 6]), mtu: 0 };
        let route = Route {
            from: NOWHERE,
            checksums: Checksums::Leave,
            source: NOBODY,
            target: NOBODY,
            exit,
            owner: NOWHERE.worker,
            asked: Asked::Plain,
        };
        Self { headers: Headers::BLANK, route }
    };
}

/// What becomes of a packet that is not to be judged.
#[derive(Debug)]
pub(super) enum Turned {
    /// It is dropped.
    Dropped(DropReason),
    /// It asks for the gateway's MAC.
    Arp(Arp),
    /// It asks for the gateway's MAC, in IPv6.
    Solicitation,
    /// It pings the gateway.
    Echo,
    /// It is a part of a datagram: see [`admit_fragment`].
    Fragment,
    /// It is for a Service, and is to be translated.
    Service,
}

impl From<DropReason> for Turned {
    fn from(reason: DropReason) -> Self {
        Self::Dropped(reason)
    }
}

/// Reads a packet that came in at `entrance`, on worker `here`, into `packet`.
#[inline]
pub(super) fn admit(
    endpoints: &Endpoints,
    here: WorkerId,
    entrance: Entrance,
    bytes: &[u8],
    packet: &mut Admitted,
) -> Result<(), Turned> {
    // The way is written where it stays: handed from function to function it costs 90 instructions.
    let Admitted { headers, route } = packet;
    match (entrance.kind, parse_into(bytes, headers)?) {
        (_, Content::Fragment) => Err(Turned::Fragment),
        (PortKind::Pod, Content::Ip) => from_pod(endpoints, here, entrance, headers, route),
        (PortKind::Pod, Content::Arp(arp)) => Err(arp_from_pod(endpoints, entrance.from, arp)),
        (PortKind::Host, Content::Ip) => from_host(endpoints, entrance, headers, route),
        (PortKind::Host, Content::Arp(arp)) => Err(answerable(arp)),
    }
}

/// Reads on in a packet that was turned aside for being a fragment.
#[cold]
pub(super) fn admit_fragment(
    endpoints: &Endpoints,
    here: WorkerId,
    entrance: Entrance,
    bytes: &[u8],
    packet: &mut Admitted,
) -> Result<Fragment, Turned> {
    let fragment = read_fragment(bytes, &mut packet.headers)?;
    route_fragment(endpoints, here, entrance, packet)?;
    Ok(fragment)
}

/// Finds the way of a fragment whose headers are known. One for a Service waits with the worker that
/// translates it until its datagram's ports are known.
#[cold]
pub(super) fn route_fragment(
    endpoints: &Endpoints,
    here: WorkerId,
    entrance: Entrance,
    packet: &mut Admitted,
) -> Result<(), Turned> {
    let Admitted { headers, route } = packet;
    let source = headers.key.source;
    let way = match entrance.kind {
        PortKind::Host if is_asking(headers.key.target) => {
            *route = part_to_asker(endpoints, here, entrance, source);
            Ok(())
        }
        PortKind::Pod => from_pod(endpoints, here, entrance, headers, route),
        PortKind::Host => from_host(endpoints, entrance, headers, route),
    };
    match way {
        Ok(()) => {
            route.checksums = Checksums::Leave;
            // The port says who asks elsewhere, and a part has none: it was handed to who does.
            let is_elsewhere = route.target.endpoint.is_none() && is_asking(source);
            if is_elsewhere && route.asked == Asked::Translated {
                route.exit = host_exit(endpoints, here).ok_or(DropReason::NoRoute)?;
                route.owner = here;
            }
        }
        Err(Turned::Service) if entrance.asked == Asked::Plain => {
            let client = Client::of(endpoints, entrance, source)?;
            let owner = translator(endpoints, entrance, headers);
            let back = client.way_back(at_translator(endpoints, here, entrance));
            // It bears the queue that it came in at: so it is handed over once, however long it waits.
            *route = Route { from: entrance.from, asked: Asked::Service, owner, ..back };
        }
        Err(Turned::Service) => return Err(DropReason::PortGone.into()),
        // The answer would be a part of one.
        Err(Turned::Echo) => return Err(DropReason::Fragment.into()),
        Err(turned) => return Err(turned),
    }
    Ok(())
}

#[inline]
fn from_pod(
    endpoints: &Endpoints,
    here: WorkerId,
    entrance: Entrance,
    headers: &Headers,
    route: &mut Route,
) -> Result<(), Turned> {
    let sender = endpoints.sender(entrance.from).ok_or(DropReason::Unsynced)?;
    if headers.source_mac != sender.mac {
        return Err(DropReason::SpoofedMac.into());
    }
    let class = endpoints
        .class_of_own(sender, headers.key.source)
        .ok_or_else(|| unowned(endpoints, sender, headers))?;
    if headers.kind.is_control() {
        control_from_pod(endpoints, sender, headers)?;
    }
    if let Err(turned) = for_the_gateway(headers).and_then(|()| not_for_the_switch(headers)) {
        *route = to_itself(sender, class, entrance, headers).ok_or(turned)?;
        return Ok(());
    }
    pod_way(endpoints, here, entrance, (sender, class), headers.key.target, route)?;
    if route.target.node.is_some() { node_way(endpoints, headers) } else { Ok(()) }
}

/// What a pod sends to a node port of its own node is for a Service already here: the node's stack
/// would send it back by the host port, with a pod's address.
#[cold]
fn node_way(endpoints: &Endpoints, headers: &Headers) -> Result<(), Turned> {
    let is_node_port = match &headers.kind {
        Kind::IcmpError { inner } => endpoints.is_node_port(&inner.reversed()),
        _ => endpoints.is_node_port(&headers.key),
    };
    if is_node_port { Err(Turned::Service) } else { Ok(()) }
}

/// Writes where a pod's packet goes.
#[allow(clippy::inline_always)] // for Services too
#[inline(always)]
pub(super) fn pod_way(
    endpoints: &Endpoints,
    here: WorkerId,
    Entrance { from, asked, .. }: Entrance,
    (sender, class): (&Local, ClassId),
    target: Address,
    route: &mut Route,
) -> Result<(), Turned> {
    let place = endpoints.place(target);
    match place.kind {
        PlaceKind::Local(index) => {
            let local = endpoints.local(index);
            route.target = pod_side(local, place.class);
            route.exit = exit_of(local);
            route.owner = owner(from, local.at);
        }
        PlaceKind::Service(extent) if is_asked(extent, asked) => return Err(Turned::Service),
        PlaceKind::Outside | PlaceKind::Node(_) | PlaceKind::Service(_) => {
            route.exit = host_exit(endpoints, here).ok_or(DropReason::NoRoute)?;
            route.target = outside(place.class, place.kind);
            route.owner = from.worker;
        }
    }
    (route.from, route.asked, route.checksums) = (from, asked, Checksums::Finish);
    route.source = pod_side(sender, class);
    Ok(())
}

#[inline]
fn from_host(
    endpoints: &Endpoints,
    entrance: Entrance,
    headers: &Headers,
    route: &mut Route,
) -> Result<(), Turned> {
    if headers.kind.is_control() {
        control_from_host(headers)?;
    }
    for_the_gateway(headers)?;
    let source = endpoints.place(headers.key.source);
    if matches!(source.kind, PlaceKind::Local(_)) {
        return Err(DropReason::SpoofedSource.into());
    }
    match host_way(endpoints, entrance, source, headers.key.target, route) {
        Err(Turned::Dropped(DropReason::NoRoute)) => {
            *route = to_asker(endpoints, entrance, headers)?;
            Ok(())
        }
        way => way,
    }
}

/// Writes where a packet from the host port goes.
#[inline]
pub(super) fn host_way(
    endpoints: &Endpoints,
    Entrance { from, asked, .. }: Entrance,
    source: Place,
    target: Address,
    route: &mut Route,
) -> Result<(), Turned> {
    let place = endpoints.place(target);
    let local = match place.kind {
        PlaceKind::Local(index) => endpoints.local(index),
        PlaceKind::Service(extent) if is_asked(extent, asked) => return Err(Turned::Service),
        PlaceKind::Outside | PlaceKind::Node(_) | PlaceKind::Service(_) => {
            return Err(DropReason::NoRoute.into());
        }
    };
    (route.from, route.asked, route.checksums) = (from, asked, Checksums::FinishIfUnfinished);
    route.source = outside(source.class, source.kind);
    route.target = pod_side(local, place.class);
    (route.exit, route.owner) = (exit_of(local), local.at.worker);
    Ok(())
}

/// Whether what is for such an address may be for a Service. A backend with an address of which only
/// fronts are a Service's is whom that address says.
#[inline]
fn is_asked(extent: Extent, asked: Asked) -> bool {
    extent == Extent::Whole || asked != Asked::Translated
}

/// Turns aside what is addressed to the gateway or to nobody that a switch forwards to.
#[inline]
fn for_the_gateway(headers: &Headers) -> Result<(), Turned> {
    if headers.target_mac != GATEWAY_MAC {
        return Err(DropReason::NotForUs.into());
    }
    let target = headers.key.target;
    // The gateway's IPv6 address is of the link's scope.
    if target == GATEWAY_V4 || is_link_scoped(headers.family, target) {
        return Err(on_the_link(headers));
    }
    Ok(())
}

/// Turns aside what a pod sends to the switch's own addresses of IPv6.
#[inline]
fn not_for_the_switch(headers: &Headers) -> Result<(), Turned> {
    let is_own = headers.key.target.to_halves().0 == const { ASKING_V6.to_halves().0 };
    if is_own { Err(DropReason::NotForUs.into()) } else { Ok(()) }
}

/// What becomes of a packet to the gateway's MAC that is to leave its link nowhere.
#[cold]
fn on_the_link(headers: &Headers) -> Turned {
    let is_gateway = [GATEWAY_V4, GATEWAY_V6].contains(&headers.key.target);
    match headers.kind {
        Kind::Echo { reply: false } if is_gateway => Turned::Echo,
        _ => DropReason::NotForUs.into(),
    }
}

/// Multicast, broadcast, and IPv6 link-local targets stay on their link, which ends here.
/// IPv4 link-local is forwarded: clouds keep their metadata service there.
#[inline]
fn is_link_scoped(family: Family, target: Address) -> bool {
    let (high, _) = target.to_halves();
    match family {
        Family::V4 => target.to_v4_bits() >> 28 >= 0xe,
        Family::V6 => high >> 56 == 0xff || high >> 54 == 0xfe80 >> 6,
    }
}

/// What becomes of an address that is not the pod's own. Neighbour discovery says more of it;
/// `::` and link-local senders speak to their link and gateway only, so theirs is no spoofing but
/// nothing that we forward.
#[cold]
fn unowned(endpoints: &Endpoints, sender: &Local, headers: &Headers) -> Turned {
    let source = headers.key.source;
    match headers.kind {
        Kind::Neighbour(neighbour) => neighbour_from_pod(endpoints, sender, &neighbour, headers),
        _ if headers.family == Family::V4 => DropReason::SpoofedSource.into(),
        Kind::LinkOnly if source.to_bits() == 0 => DropReason::NotForUs.into(),
        _ if source.to_halves().0 >> 54 != 0xfe80 >> 6 => DropReason::SpoofedSource.into(),
        _ if headers.key.target == GATEWAY_V6 && headers.target_mac == GATEWAY_MAC => {
            on_the_link(headers)
        }
        _ => DropReason::NotForUs.into(),
    }
}

/// What an owner of its address may say of links and ways. An ICMP error must quote a packet that
/// the pod got from whom it answers: pods are no routers, and a forged quotation could speak about
/// others' connections.
#[cold]
fn control_from_pod(
    endpoints: &Endpoints,
    sender: &Local,
    headers: &Headers,
) -> Result<(), Turned> {
    let FlowKey { source, target, .. } = headers.key;
    match headers.kind {
        Kind::Neighbour(neighbour) => {
            Err(neighbour_from_pod(endpoints, sender, &neighbour, headers))
        }
        Kind::IcmpError { inner } if (inner.target, inner.source) == (source, target) => Ok(()),
        Kind::IcmpError { .. } => Err(DropReason::SpoofedSource.into()),
        _ => Err(DropReason::NotForUs.into()),
    }
}

/// What the node may say of links and ways: routers between here and elsewhere send errors.
#[cold]
fn control_from_host(headers: &Headers) -> Result<(), Turned> {
    match headers.kind {
        Kind::Neighbour(neighbour) => Err(answerable_solicitation(&neighbour)),
        Kind::IcmpError { .. } => Ok(()),
        _ => Err(DropReason::NotForUs.into()),
    }
}

#[inline]
pub(super) fn pod_side(local: &Local, class: ClassId) -> Side {
    Side { endpoint: Some(local.endpoint), class, sets: local.sets, node: None }
}

#[inline]
pub(super) fn outside(class: ClassId, kind: PlaceKind) -> Side {
    let node = if let PlaceKind::Node(own_node) = kind { Some(own_node) } else { None };
    Side { endpoint: None, class, sets: Sets::NONE, node }
}

#[inline]
pub(super) fn exit_of(local: &Local) -> Exit {
    Exit { to: local.at, mac: local.mac, mtu: local.mtu }
}

/// Every worker has a queue of the host port, so it sends there itself.
#[inline]
pub(super) fn host_exit(endpoints: &Endpoints, here: WorkerId) -> Option<Exit> {
    let host = endpoints.host()?;
    let slot = *host.slots.get(here.index())?;
    let to = PortRef { port: host.port, worker: here, slot };
    Some(Exit { to, mac: host.mac, mtu: host.mtu })
}
