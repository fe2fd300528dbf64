//! Who asks a Service, and the way to the backend that is chosen. Hot path.

use super::admit::{Admitted, Turned, exit_of, host_exit, host_way, outside, pod_side, pod_way};
use super::mailbox::PortKind;
use super::route::{Asked, Checksums, Entrance, Exit, Route};
use crate::connection::translation;
use crate::counters::DropReason;
use crate::endpoint::{Endpoints, Kind as PlaceKind, Local, Place};
use crate::ids::{EndpointId, PortRef, WorkerId};
use crate::packet::answer::GATEWAY_MAC;
use crate::packet::parse::Kind;
use crate::packet::{Address, FlowKey, Headers};
use crate::policy::table::ClassId;
use crate::service::own::{as_itself, asker, is_asking};

/// Who asks a Service.
#[derive(Debug)]
pub(super) enum Client<'e> {
    /// A pod here, and the class of the address that it asks from.
    Pod(&'e Local, ClassId),
    /// Somebody beyond the host port.
    Outside(Place),
}

impl<'e> Client<'e> {
    /// Who sent a packet that was admitted before.
    pub(super) fn of(
        endpoints: &'e Endpoints,
        entrance: Entrance,
        source: Address,
    ) -> Result<Self, DropReason> {
        if entrance.kind == PortKind::Host {
            return Ok(Self::Outside(endpoints.place(source)));
        }
        let sender = endpoints.sender(entrance.from).ok_or(DropReason::Unsynced)?;
        let class = endpoints.class_of_own(sender, source).ok_or(DropReason::SpoofedSource)?;
        Ok(Self::Pod(sender, class))
    }

    /// The pod, where it is one.
    pub(super) fn endpoint(&self) -> Option<EndpointId> {
        match self {
            Self::Pod(local, _) => Some(local.endpoint),
            Self::Outside(_) => None,
        }
    }

    /// A way for what goes no further than back: of what is not translated, or not yet.
    pub(super) fn way_back(&self, Entrance { from, .. }: Entrance) -> Route {
        let source = match self {
            Self::Pod(local, class) => pod_side(local, *class),
            Self::Outside(place) => outside(place.class, place.kind),
        };
        let exit = Exit { to: from, ..Admitted::BLANK.route.exit };
        Route { from, source, exit, owner: from.worker, ..Admitted::BLANK.route }
    }

    /// The way of what a backend is to see: to the backend.
    ///
    /// # Errors
    /// `NoBackend` where the backend is a Service itself; `NoRoute` where there is no host port to a
    /// backend elsewhere.
    pub(super) fn way_to(
        &self,
        endpoints: &Endpoints,
        here: WorkerId,
        entrance: Entrance,
        back: &FlowKey,
    ) -> Result<Route, DropReason> {
        let backend = back.target;
        let entrance = Entrance { asked: Asked::Translated, ..entrance };
        let mut route = Admitted::BLANK.route;
        let way = match self {
            Self::Pod(local, class) => {
                let sender = (*local, *class);
                pod_way(endpoints, here, entrance, sender, backend, &mut route)
            }
            Self::Outside(source) => {
                match host_way(endpoints, entrance, *source, backend, &mut route) {
                    Err(Turned::Dropped(DropReason::NoRoute)) => {
                        let ends = (*source, endpoints.place(backend));
                        // Its own, unless a predecessor of another rule or of other workers asked.
                        let owner = asker(back.source_port, workers(endpoints));
                        return elsewhere(endpoints, owner, entrance, ends);
                    }
                    way => way,
                }
            }
        };
        way.map(|()| route).map_err(|turned| match turned {
            Turned::Service => DropReason::NoBackend,
            Turned::Dropped(reason) => reason,
            _ => DropReason::NotForUs,
        })
    }

    /// Whether it is neither a pod of this node nor the node.
    pub(super) fn is_beyond(&self) -> bool {
        matches!(self, Self::Outside(place) if !matches!(place.kind, PlaceKind::Node(_)))
    }

    /// Whether what it is given leaves by the port that it came in at: it is no pod, and neither is
    /// its backend one of this node.
    pub(super) fn is_apart(&self, endpoints: &Endpoints, backend: Address) -> bool {
        let is_here = || matches!(endpoints.place(backend).kind, PlaceKind::Local(_));
        matches!(self, Self::Outside(_)) && !is_here()
    }
}

/// Between how many workers what comes in by the host port is parted: all have a queue of it.
pub(super) fn workers(endpoints: &Endpoints) -> u16 {
    endpoints.host().map_or(1, |host| u16::try_from(host.slots.len()).unwrap_or(u16::MAX))
}

/// Who translates a packet for a Service: where a pod asks, the worker of its port; of what came in
/// by the host port, whoever its two addresses name, at whatever queue it came in.
pub(super) fn translator(endpoints: &Endpoints, entrance: Entrance, headers: &Headers) -> WorkerId {
    if entrance.kind == PortKind::Pod {
        return entrance.from.worker;
    }
    // An error runs against what it quotes, and a router may have sent it.
    let FlowKey { source, target, .. } = match &headers.kind {
        Kind::IcmpError { inner } => inner.reversed(),
        _ => headers.key,
    };
    translation::translator(source, target, workers(endpoints))
}

/// Where the worker that translates takes a packet in: what came in by another queue of the host port
/// as if it had come in by its own, so that answers leave there.
pub(super) fn at_translator(endpoints: &Endpoints, here: WorkerId, entrance: Entrance) -> Entrance {
    let host = endpoints.host().filter(|_| entrance.kind == PortKind::Host);
    let own = host.and_then(|host| {
        let slot = *host.slots.get(here.index())?;
        Some(PortRef { port: host.port, worker: here, slot })
    });
    own.map_or(entrance, |from| Entrance { from, ..entrance })
}

/// The way from the host port out of it again.
#[cold]
fn elsewhere(
    endpoints: &Endpoints,
    owner: WorkerId,
    Entrance { from, asked, .. }: Entrance,
    (source, target): (Place, Place),
) -> Result<Route, DropReason> {
    Ok(Route {
        from,
        checksums: Checksums::FinishIfUnfinished,
        source: outside(source.class, source.kind),
        target: outside(target.class, target.kind),
        exit: host_exit(endpoints, owner).ok_or(DropReason::NoRoute)?,
        owner,
        asked,
    })
}

/// The way of an answer from elsewhere to the switch itself: out of the host port again, by the worker
/// that asked, if that connection is there. And of what another worker has translated to be asked by
/// this one.
///
/// # Errors
/// `NoRoute` where it is for nobody here.
#[cold]
pub(super) fn to_asker(
    endpoints: &Endpoints,
    entrance: Entrance,
    headers: &Headers,
) -> Result<Route, DropReason> {
    let FlowKey { source, target, .. } = headers.key;
    let ends = || (endpoints.place(source), endpoints.place(target));
    if entrance.asked == Asked::Translated && is_asking(source) {
        let port = match &headers.kind {
            Kind::IcmpError { inner } => inner.target_port,
            _ => headers.key.source_port,
        };
        return elsewhere(endpoints, asker(port, workers(endpoints)), entrance, ends());
    }
    if entrance.kind != PortKind::Host || !is_asking(target) {
        return Err(DropReason::NoRoute);
    }
    let port = match &headers.kind {
        Kind::IcmpError { inner } => inner.source_port,
        _ => headers.key.target_port,
    };
    let entrance = Entrance { asked: Asked::Own, ..entrance };
    elsewhere(endpoints, asker(port, workers(endpoints)), entrance, ends())
}

/// The way of a part of such an answer, until its datagram's ports are known.
#[cold]
pub(super) fn part_to_asker(
    endpoints: &Endpoints,
    here: WorkerId,
    entrance: Entrance,
    source: Address,
) -> Route {
    let client = Client::Outside(endpoints.place(source));
    Route { asked: Asked::Service, owner: here, ..client.way_back(entrance) }
}

/// The way of a pod's answer to the switch, as which it sees itself where a Service gave it itself as
/// a backend: back to itself, if that connection is there.
#[cold]
pub(super) fn to_itself(
    sender: &Local,
    class: ClassId,
    Entrance { from, .. }: Entrance,
    headers: &Headers,
) -> Option<Route> {
    let may_be = matches!(
        headers.kind,
        Kind::Tcp(_) | Kind::Udp | Kind::Sctp { .. } | Kind::IcmpError { .. }
    );
    // A part of what no Service serves would wait for its first in vain.
    let may_be_part = headers.is_rest() && matches!(headers.key.number, 6 | 17 | 132);
    let is_own = headers.key.target == as_itself(headers.key.source);
    let own = pod_side(sender, class);
    let (exit, owner) = (exit_of(sender), from.worker);
    let (checksums, asked) = (Checksums::Finish, Asked::Own);
    let route = Route { from, checksums, source: own, target: own, exit, owner, asked };
    ((may_be || may_be_part) && is_own && headers.target_mac == GATEWAY_MAC).then_some(route)
}
