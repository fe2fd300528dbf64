//! A TCP connection that is seen from its middle on. Cold: for a while after a restart.
//!
//! It is as if its handshake were not finished, until both sides have acknowledged something: it may be
//! evicted, and does not last. So nobody fills the table with segments of connections that are not.

use super::{ConnectionId, Connections, Opening, Spot, State, tcp};
use crate::clock::Tick;
use crate::counters::DropReason;
use crate::packet::{Headers, Kind};

impl Connections {
    /// Begins a connection with a segment that begins none, and was allowed either way. It must have
    /// found none.
    ///
    /// # Errors
    /// `NoConnection` where it is no such segment; else as [`Connections::open`].
    #[cold]
    pub fn pick_up(
        &mut self,
        spot: Spot,
        new: Opening,
        headers: &Headers,
        now: Tick,
    ) -> Result<ConnectionId, DropReason> {
        let Kind::Tcp(header) = &headers.kind else { return Err(DropReason::NoConnection) };
        if !Self::is_amid(headers) {
            return Err(DropReason::NoConnection);
        }
        let new = Opening { state: State::SynReceived, ..new };
        let id = self.open(&headers.key, spot, new, headers, now)?;
        if let Some(entry) = self.slab.live_mut(id.0) {
            entry.track = tcp::amid(header);
        }
        Ok(id)
    }

    /// Whether a packet may be of a connection that began unseen.
    #[must_use]
    pub fn is_amid(headers: &Headers) -> bool {
        matches!(&headers.kind, Kind::Tcp(header) if tcp::is_amid(header))
    }
}
