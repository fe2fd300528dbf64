//! What of this node is a front of Services, and where its host port sits. Hot path.

use super::{Endpoints, HostPort, Kind};
use crate::ids::{PortRef, WorkerId};
use crate::limits::WORKERS_MAX;
use crate::packet::FlowKey;
use crate::seat::Seat;
use crate::service::FrontKey;

impl Endpoints {
    /// The front that a client's packet is for: where it is for this node, that of the node port.
    #[must_use]
    pub fn front_of(&self, key: &FlowKey) -> FrontKey {
        match self.place(key.target).kind {
            Kind::Node(_) => FrontKey::of_node_port(key),
            _ => FrontKey::of(key),
        }
    }

    /// Whether what is sent to this node is for a Service, or was lately.
    #[must_use]
    pub fn is_node_port(&self, key: &FlowKey) -> bool {
        let front = FrontKey::of_node_port(key);
        self.services.find(&front).is_some() || self.services.is_closed(&front)
    }

    /// Whether a worker's queue of the host port is there.
    pub(super) fn is_host_seat(&self, seat: Seat) -> bool {
        let Some(HostPort { port, slots, .. }) = &self.host else { return false };
        let workers = (0..=u8::MAX).map(WorkerId);
        let mut queues = workers.zip(slots.iter().take(WORKERS_MAX));
        queues.any(|(worker, &slot)| Seat::of(PortRef { port: *port, worker, slot }) == seat)
    }
}
