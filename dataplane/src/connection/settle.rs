//! Pods that are gone, and what they leave in the table. Hot path: once a turn, a share and some
//! records.
//!
//! A pod that is gone cannot end its connections, and an established one lasts for a day. So
//! shares are visited in turn, one a turn. Whoever has no port in its seat, where it last opened
//! something, gets a minute to have one again, here or in another seat: an interface may be refused
//! and mended. Then it is gone, and a sweep over all records, some each turn, forgets its
//! connections.
//!
//! ```text
//!     Here ---no port---> Away ---a minute, and no other seat---> Gone ---no connection---> free
//!       ^-----------------'  \-----no connection-----------------------------------------^
//! ```
//!
//! What others have opened to it counts for them, and goes with the next packet or its timeout.

use super::share::{ShareId, Stay};
use super::{ConnectionId, Connections};
use crate::clock::Tick;
use crate::ids::EndpointId;
use crate::limits::SWEEP_PER_TURN;
use crate::seat::Seat;

/// Milliseconds without a port before a pod is taken to be gone.
const GRACE_MS: u64 = 60_000;

/// Where visit and sweep have come to.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The next share to be visited.
    visit: u16,
    /// The next record to be looked at.
    sweep: u32,
}

impl Connections {
    /// Takes note of pods that are gone, and forgets some of their connections. `occupant` says
    /// which pod's port is in a seat, by the snapshot in force.
    pub fn settle(&mut self, now: Tick, occupant: impl Fn(Seat) -> Option<EndpointId>) {
        let visited = ShareId(self.rounds.visit);
        let next = visited.0.saturating_add(1);
        self.rounds.visit = if next < self.shares.reached() { next } else { 0 };
        self.visit(visited, now, occupant);
        if self.shares.has_gone() {
            self.sweep_gone();
        }
    }

    #[inline]
    fn visit(&mut self, id: ShareId, now: Tick, occupant: impl Fn(Seat) -> Option<EndpointId>) {
        let Some(share) = self.shares.get(id) else { return };
        let Some(endpoint) = share.holder else { return };
        let is_here = occupant(share.seat) == Some(endpoint);
        if is_here && share.stay == Stay::Here {
            return;
        }
        let stay = match share.stay {
            _ if is_here => Stay::Here,
            _ if share.held == 0 => return self.shares.free(id),
            Stay::Here => Stay::Away(now),
            Stay::Away(since) if now.since_ms(since) < GRACE_MS => return,
            Stay::Away(_) => match Seat::all().find(|&seat| occupant(seat) == Some(endpoint)) {
                Some(seat) => return self.shares.move_to(id, seat),
                None => Stay::Gone,
            },
            Stay::Gone => return,
        };
        self.shares.set_stay(id, stay);
    }

    /// Goes on over the records, round and round while anyone is gone and has any.
    #[cold]
    fn sweep_gone(&mut self) {
        for _ in 0..SWEEP_PER_TURN {
            let id = self.rounds.sweep;
            let Some(entry) = self.slab.from(id).first() else {
                self.rounds.sweep = 0;
                return;
            };
            self.rounds.sweep = id.saturating_add(1);
            if entry.is_live() && self.shares.is_gone(entry.share) {
                self.remove(ConnectionId(id));
            }
        }
    }
}
