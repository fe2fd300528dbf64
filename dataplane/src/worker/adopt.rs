//! Connections of a predecessor, taken in by the worker that owns them now. Cold: a page in a turn,
//! at the start of a switch.
//!
//! They are taken in before the snapshot in which their pods have ports. Until that is here, an end
//! that has no port yet is nobody, so they seem to be of others, and a packet of the other end would
//! remove what was just taken in. A translation is safe from that: it is its client's, who sends
//! nothing without a port.

use super::{Path, Worker};
use crate::connection::{Adoptions, ConnectionId};
use crate::ids::Generation;
use crate::publish::Snapshot;

impl<P, M> Worker<P, M> {
    /// Takes in a page of connections and translations, for the next snapshot that is published.
    #[cold]
    pub(super) fn adopt(&mut self, page: &mut Adoptions) {
        self.subscriber.refresh();
        let newest = self.subscriber.current().map(|snapshot| snapshot.generation);
        self.path.after_restart.adopted_before = newest.unwrap_or(Generation(0));
        self.path.adopt(page);
    }
}

impl<P, M> Path<P, M> {
    #[cold]
    fn adopt(&mut self, page: &mut Adoptions) {
        for at in 0..Adoptions::CAPACITY {
            let Some(row) = page.rows().get(at).copied() else { break };
            let became = match row.back() {
                Some(back) => self.translations.adopt(&row, &back, self.now),
                None => self.connections.adopt(&row, self.now).map(drop),
            };
            page.note(became);
        }
    }

    /// Whether a connection is of the snapshot to come, not of this one.
    #[cold]
    pub(super) fn is_early(&self, snapshot: &Snapshot, id: ConnectionId) -> bool {
        let is_of_next = snapshot.generation <= self.after_restart.adopted_before;
        is_of_next && self.connections.record(id).is_unjudged()
    }
}
