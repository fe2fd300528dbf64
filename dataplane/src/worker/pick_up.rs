//! TCP in the middle of its stream of which nothing is known, for a while after a restart. Cold.
//!
//! Nobody can tell which end opened it. So it is picked up only where policy lets either end open it to
//! the port that the other has: then it may pass, whoever did.

use super::Path;
use super::admit::Admitted;
use super::judge::{decide, leaves};
use super::route::Asked;
use crate::clock::Tick;
use crate::connection::{Connections, Opening, Spot, State};
use crate::counters::DropReason;
use crate::ids::Generation;
use crate::publish::Snapshot;

/// What holds for a while after a restart.
#[derive(Debug, Default)]
pub(super) struct AfterRestart {
    /// Until then TCP of which nothing is known is picked up.
    pub(super) picks_up_until: Tick,
    /// The newest snapshot when connections of a predecessor were taken in last: they are of the next.
    pub(super) adopted_before: Generation,
}

impl<P, M> Path<P, M> {
    /// Begins a connection for a packet that begins none by itself, where for now that may be.
    #[cold]
    pub(super) fn pick_up(
        &mut self,
        snapshot: &Snapshot,
        packet: &Admitted,
        spot: Spot,
    ) -> Result<(), DropReason> {
        let (headers, route) = (&packet.headers, &packet.route);
        let is_time = self.now < self.after_restart.picks_up_until;
        // Of what asks a Service nobody knows the backend.
        if !is_time || route.asked != Asked::Plain || !Connections::is_amid(headers) {
            return Err(DropReason::NoConnection);
        }
        let (source, target) = (&route.source, &route.target);
        let there = decide(snapshot, source, target, &headers.key);
        let back = decide(snapshot, target, source, &headers.key.reversed());
        if !there.allows() || !back.allows() {
            return Err(DropReason::NoConnection);
        }
        leaves(packet)?;
        let opening = Opening {
            source: source.endpoint,
            target: target.endpoint,
            epoch: snapshot.epoch,
            holder: route.holder(),
            state: State::SynReceived,
        };
        self.connections.pick_up(spot, opening, headers, self.now)?;
        self.counters.picked_up.add(1);
        Ok(())
    }
}
