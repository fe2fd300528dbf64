//! Two connections of one name at one backend: one by a Service, one straight to its pod or by
//! another Service, from the same source port. Cold.
//!
//! Who chooses a backend sees to it that a new one by a Service has a name of its own, as conntrack
//! does, where this worker owns what it would meet. What comes by no Service has only the name that
//! it has, and what another worker owns is not seen in time: of those the owner refuses the later.

use super::Path;
use super::admit::Admitted;
use super::judge::leaves;
use crate::connection::{ConnectionId, Connections, Way};
use crate::counters::DropReason;
use crate::packet::FlowKey;
use crate::packet::parse::Kind;

impl<P, M> Path<P, M> {
    /// Whether a connection that runs has this name at a backend already: one that this worker
    /// translates, or that it owns and nobody translates.
    pub(super) fn is_taken(&self, back: &FlowKey) -> bool {
        let is_anothers = |(id, way)| {
            let translator = self.connections.record(id).translator;
            !self.connections.is_over(id) && (way == Way::Reply || translator.is_none())
        };
        let owned = || self.connections.find_quoted(back, self.connections.spot(back));
        self.translations.is_taken(back) || owned().is_some_and(is_anothers)
    }

    /// Takes in a packet of a connection that did not come the way the one before it did: by a
    /// Service, or by none.
    ///
    /// Datagrams share the name, and who spoke last is answered: protocols that have one port for
    /// everything ask a Service first and its pods after that, and could do so no more.
    ///
    /// # Errors
    /// `PortsTaken` where it is to begin another: the one that runs is not to be ended by it.
    #[cold]
    pub(super) fn meet(&mut self, packet: &Admitted, id: ConnectionId) -> Result<(), DropReason> {
        let kind = &packet.headers.kind;
        let has_state = matches!(kind, Kind::Tcp(_) | Kind::Sctp { .. });
        if has_state && Connections::opens(kind).is_some() {
            return Err(DropReason::PortsTaken);
        }
        leaves(packet)?;
        self.connections.set_translator(id, packet.route.translator());
        Ok(())
    }
}
