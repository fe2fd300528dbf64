//! Who asks a Service, and the way to the backend that is chosen. Hot path.

use super::admit::{Admitted, Turned, exit_of, host_way, outside, pod_side, pod_way};
use super::mailbox::PortKind;
use super::route::{Asked, Checksums, Entrance, Exit, Route};
use crate::counters::DropReason;
use crate::endpoint::{Endpoints, Local, Place};
use crate::ids::{EndpointId, WorkerId};
use crate::packet::answer::{GATEWAY_MAC, GATEWAY_V4, GATEWAY_V6};
use crate::packet::parse::Kind;
use crate::packet::{Address, Headers};
use crate::policy::table::ClassId;

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

    /// The way to a backend.
    ///
    /// # Errors
    /// `ServiceElsewhere` where the answer would not come back by this switch; `NoBackend` where the
    /// backend is a Service itself.
    pub(super) fn way_to(
        &self,
        endpoints: &Endpoints,
        here: WorkerId,
        entrance: Entrance,
        backend: Address,
    ) -> Result<Route, DropReason> {
        let entrance = Entrance { asked: Asked::Translated, ..entrance };
        let way = match self {
            Self::Pod(local, class) => pod_way(endpoints, here, entrance, (local, *class), backend),
            Self::Outside(source) => host_way(endpoints, entrance, *source, backend),
        };
        way.map_err(|turned| match (self, turned) {
            (_, Turned::Service) => DropReason::NoBackend,
            (Self::Outside(_), _) => DropReason::ServiceElsewhere,
            (Self::Pod(..), Turned::Dropped(reason)) => reason,
            (Self::Pod(..), _) => DropReason::NotForUs,
        })
    }
}

/// The way of a pod's answer to the gateway, as which it sees itself where a Service gave it itself as
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
    let is_gateway = [GATEWAY_V4, GATEWAY_V6].contains(&headers.key.target);
    let own = pod_side(sender, class);
    let (exit, owner) = (exit_of(sender), from.worker);
    let (checksums, asked) = (Checksums::Finish, Asked::Gateway);
    let route = Route { from, checksums, source: own, target: own, exit, owner, asked };
    ((may_be || may_be_part) && is_gateway && headers.target_mac == GATEWAY_MAC).then_some(route)
}
