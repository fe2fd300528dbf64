//! Whose connections they are, and how many each pod has: nobody takes the room of others. Hot
//! path.
//!
//! A connection counts for one pod, its *holder*: who opened it, or where that is no pod of this
//! node, whom it was opened to. A holder has a *share*: how many connections it has, and those of
//! them that may be evicted, the first to become so in front.
//!
//! # Who gives way to a new connection
//!
//! | when | who | else |
//! |---|---|---|
//! | its holder has `per_pod` | the holder's own oldest | `ConnectionsLimit` |
//! | no record is free | the oldest of the *heaviest* pod | `ConnectionsFull` |
//! | `evictable_max` may be evicted already | the same | |
//! | at most `reserved` are free, and its holder has its part already | the same | `ConnectionsFull` |
//!
//! *Oldest*: of those that may be evicted, see [`State::is_evictable`](super::State), or that policy
//! has come to deny. *Heaviest*: who has most of those. So who floods evicts itself; and who fills
//! the table with what may not be evicted meets its `per_pod`, or finds at its end a reserve of
//! which each pod may have a part, a [`SHARERS`]th, whatever the others have. There, who has its
//! part already pushes out nobody who has no more: else conversations would take the reserve one
//! handshake of others at a time.
//!
//! # How often
//!
//! To forget a connection for another costs a worker more than any other packet does: to push one
//! out, and as well to begin one anew where an old one on the same ports is over. So all pods
//! together cause that `turnover_per_ms` times in a millisecond, see [`fair`](crate::fair); the rest
//! of what they open is `ConnectionsLimit`. What comes to pods from outside has half as much, apart
//! from what they open themselves and what their node opens to them. A pod that has less than half
//! of what the victim's pod has is no part of a flood, and pushes out freely.
//!
//! Finding the heaviest must cost the same for 1 and 4096 pods. The heaviest so far is
//! remembered, a share that grows beyond it takes its place at once, and each eviction looks at
//! [`GLANCE`] others in turn. So it is exact for that many pods. Among more, it may be one that
//! has been the heaviest, and has lost weight since: until the glances come to a heavier one, within
//! `pods / GLANCE` evictions, that one loses what another should have lost.
//!
//! A share is found by its holder's [`Seat`]. Seats change hands, and pods change seats: see
//! [`settle`](super::settle).

use super::settings::Bounds;
use super::slab::Ends;
use crate::clock::Tick;
use crate::fair::{Fair, Had};
use crate::ids::EndpointId;
use crate::limits::PORTS_MAX;
use crate::seat::Seat;

/// Whom a connection counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The pod.
    pub endpoint: EndpointId,
    /// Where its port is.
    pub seat: Seat,
    /// It opens the connection itself, or its node does; else who is outside.
    pub opens: bool,
}

/// A share, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShareId(pub(super) u16);

/// Shares there are: one for each seat, and some for pods that have left theirs a moment ago.
const SHARES: u16 = Seat::COUNT + 1024;
/// No share.
const NOWHERE: ShareId = ShareId(u16::MAX);
/// Pods between which the reserve is parted, at least.
#[allow(clippy::cast_possible_truncation)] // 2^8
pub(super) const SHARERS: u32 = PORTS_MAX as u32;
/// Other shares that one eviction looks at.
pub(super) const GLANCE: usize = 8;

/// Whether a holder is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// It has its port, for all that is known.
    Here,
    /// It has none, and this was first seen then.
    Away(Tick),
    /// It is gone for good; its connections go too.
    Gone,
}

/// What a new connection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Nothing.
    Free,
    /// One of its own pod goes first.
    AfterOwn,
    /// One of the heaviest pod goes first.
    AfterHeaviest,
}

/// What one pod has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Who has it; `None`: nobody, it is free.
    pub(super) holder: Option<EndpointId>,
    pub(super) stay: Stay,
    /// Where its holder's port is, or was last.
    pub(super) seat: Seat,
    /// What gave way for it.
    turnover: Had,
    /// Its connections.
    pub(super) held: u32,
    /// Those that may be evicted, as many as there are in `queue`.
    pub(super) evictable: u32,
    pub(super) queue: Ends,
}

const FREE: Share = Share {
    holder: None,
    stay: Stay::Here,
    seat: Seat(0),
    turnover: Had::NOTHING,
    held: 0,
    evictable: 0,
    queue: Ends::EMPTY,
};

/// All shares of one table.
#[derive(Debug)]
pub(super) struct Shares {
    bounds: Bounds,
    /// Records before the reserve.
    unreserved: u32,
    /// By seat: the share that is there, and none that is gone for good.
    seats: Box<[ShareId]>,
    pool: Box<[Share]>,
    /// Shares that ever had a holder are below this one.
    reached: u16,
    /// Shares that have a holder, and those of them whose holder is gone.
    holders: u32,
    gone: u16,
    /// Connections of all, and those of them that may be evicted.
    held: u32,
    evictable: u32,
    /// How much may give way.
    turnover: Fair,
    /// The heaviest, as far as seen.
    heaviest: ShareId,
    /// Where the next eviction looks on.
    glance: u16,
}

impl Shares {
    /// Shares of nobody in so many records, under these bounds.
    pub(super) fn new(capacity: u32, bounds: Bounds) -> Self {
        Self {
            bounds,
            unreserved: capacity.saturating_sub(bounds.reserved),
            seats: vec![NOWHERE; usize::from(Seat::COUNT)].into_boxed_slice(),
            pool: vec![FREE; usize::from(SHARES)].into_boxed_slice(),
            reached: 0,
            holders: 0,
            gone: 0,
            held: 0,
            evictable: 0,
            turnover: Fair::new(bounds.turnover_per_ms),
            heaviest: NOWHERE,
            glance: 0,
        }
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val::<[ShareId]>(&self.seats).saturating_add(size_of_val::<[Share]>(&self.pool))
    }

    /// The share of a holder, made if there is none. `None`: all are taken.
    #[inline]
    pub(super) fn of(&mut self, holder: Holder) -> Option<ShareId> {
        let id = *self.seats.get(holder.seat.index())?;
        match self.get(id) {
            Some(share) if share.holder == Some(holder.endpoint) => Some(id),
            _ => self.seat(holder),
        }
    }

    /// Gives a holder's share its seat: the share it had elsewhere, or a new one.
    // Once for each pod and worker.
    #[cold]
    fn seat(&mut self, holder: Holder) -> Option<ShareId> {
        let endpoint = Some(holder.endpoint);
        let of = |whom| {
            let mut used = (0..self.reached).map(ShareId);
            used.find(|&id| self.get(id).is_some_and(|share| share.holder == whom))
        };
        let id = of(endpoint).or_else(|| of(None)).unwrap_or(ShareId(self.reached));
        let share = self.pool.get_mut(usize::from(id.0))?;
        if share.holder.is_none() {
            *share = Share { holder: endpoint, ..FREE };
            self.holders = self.holders.saturating_add(1);
        }
        self.reached = self.reached.max(id.0.saturating_add(1));
        self.move_to(id, holder.seat);
        Some(id)
    }

    /// Its holder is there, in this seat.
    pub(super) fn move_to(&mut self, id: ShareId, seat: Seat) {
        self.set_stay(id, Stay::Here);
        self.vacate(id);
        if let (Some(share), Some(there)) =
            (self.pool.get_mut(usize::from(id.0)), self.seats.get_mut(seat.index()))
        {
            share.seat = seat;
            *there = id;
        }
    }

    /// Notes whether its holder is there.
    pub(super) fn set_stay(&mut self, id: ShareId, stay: Stay) {
        let Some(share) = self.pool.get_mut(usize::from(id.0)) else { return };
        let before = std::mem::replace(&mut share.stay, stay);
        let (was, is) = (before == Stay::Gone, stay == Stay::Gone);
        self.gone = self.gone.saturating_add(u16::from(is)).saturating_sub(u16::from(was));
        if is {
            self.vacate(id);
        }
    }

    /// Its seat is no longer its own.
    fn vacate(&mut self, id: ShareId) {
        let Some(seat) = self.get(id).map(|share| share.seat) else { return };
        if let Some(there) = self.seats.get_mut(seat.index()).filter(|there| **there == id) {
            *there = NOWHERE;
        }
    }

    /// Whether its holder is gone for good.
    pub(super) fn is_gone(&self, id: ShareId) -> bool {
        self.get(id).is_some_and(|share| share.stay == Stay::Gone)
    }

    /// Whether anyone is gone for good and still has a share.
    #[inline]
    pub(super) fn has_gone(&self) -> bool {
        self.gone > 0
    }

    /// Forgets a holder that has no connection.
    pub(super) fn free(&mut self, id: ShareId) {
        self.set_stay(id, Stay::Here);
        self.vacate(id);
        let Some(share) = self.get_mut(id) else { return };
        debug_assert_eq!(share.held, 0, "a share is freed with connections on it");
        *share = FREE;
        self.holders = self.holders.saturating_sub(1);
    }

    #[inline]
    pub(super) fn get(&self, id: ShareId) -> Option<&Share> {
        self.pool.get(usize::from(id.0))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: ShareId) -> Option<&mut Share> {
        self.pool.get_mut(usize::from(id.0))
    }

    /// Shares that have or had a holder.
    pub(super) fn reached(&self) -> u16 {
        self.reached
    }

    /// What one more connection of a pod asks for.
    #[inline]
    pub(super) fn room(&self, id: ShareId) -> Room {
        let Some(share) = self.get(id) else { return Room::AfterOwn };
        if share.held >= self.bounds.per_pod {
            return Room::AfterOwn;
        }
        let is_wide = self.held < self.unreserved && self.evictable < self.bounds.evictable_max;
        if is_wide { Room::Free } else { self.room_at_the_end(share) }
    }

    /// The same where the table, or its part for what may be evicted, is nearly full.
    #[cold]
    fn room_at_the_end(&self, share: &Share) -> Room {
        let is_full = self.held >= self.unreserved.saturating_add(self.bounds.reserved)
            || self.evictable >= self.bounds.evictable_max;
        if is_full || share.held >= self.part() { Room::AfterHeaviest } else { Room::Free }
    }

    /// Whether one more may give way for a pod now; counts it if so.
    pub(super) fn may_turn_over(&mut self, id: ShareId, opens: bool, now: Tick) -> bool {
        let Some(share) = self.pool.get_mut(usize::from(id.0)) else { return false };
        self.turnover.take(&mut share.turnover, opens, now)
    }

    /// Who gives way to one more of a pod: the heaviest; within the reserve, to who has its part of
    /// that, nobody who has no more.
    pub(super) fn gives_way(&mut self, id: ShareId) -> Option<ShareId> {
        let heaviest = self.heaviest()?;
        let (part, held) = (self.part(), |id| self.get(id).map_or(0, |share| share.held));
        let is_protected = self.held >= self.unreserved && held(heaviest) <= part;
        (heaviest == id || !is_protected || held(id) < part).then_some(heaviest)
    }

    /// Each pod's part of the reserve. It does not shrink while pods come, up to the ports of one
    /// worker: or those who came first would have taken more than is left for the last.
    fn part(&self) -> u32 {
        let sharers = self.holders.max(SHARERS);
        self.bounds.reserved.checked_div(sharers).unwrap_or(0).max(1)
    }

    /// Notes one more that may be evicted, a `new` connection (1) or one that is known (0). Gives the
    /// queue that it joins.
    #[inline]
    pub(super) fn join(&mut self, id: ShareId, new: u32) -> Option<&mut Ends> {
        self.held = self.held.wrapping_add(new);
        self.evictable = self.evictable.wrapping_add(1);
        if id != self.heaviest && self.weight(id) >= self.weight(self.heaviest) {
            self.heaviest = id;
        }
        let share = self.pool.get_mut(usize::from(id.0))?;
        share.held = share.held.wrapping_add(new);
        share.evictable = share.evictable.wrapping_add(1);
        Some(&mut share.queue)
    }

    /// Notes one less that may be evicted. Gives the queue that it leaves.
    #[inline]
    pub(super) fn leave(&mut self, id: ShareId) -> Option<&mut Ends> {
        self.evictable = self.evictable.saturating_sub(1);
        let share = self.pool.get_mut(usize::from(id.0))?;
        share.evictable = share.evictable.saturating_sub(1);
        Some(&mut share.queue)
    }

    /// Notes that a connection is no more; it has left its queue.
    #[inline]
    pub(super) fn close(&mut self, id: ShareId) {
        self.held = self.held.saturating_sub(1);
        if let Some(share) = self.get_mut(id) {
            share.held = share.held.saturating_sub(1);
        }
    }

    /// The connection of a share that has been evictable for longest.
    pub(super) fn oldest(&self, id: ShareId) -> Option<u32> {
        self.get(id).filter(|share| share.evictable > 0).map(|share| share.queue.first)
    }

    /// How many of a share's connections may be evicted.
    #[inline]
    pub(super) fn weight(&self, id: ShareId) -> u32 {
        self.get(id).map_or(0, |share| share.evictable)
    }

    /// The share with most connections that may be evicted; `None` where there are none.
    pub(super) fn heaviest(&mut self) -> Option<ShareId> {
        if self.evictable == 0 {
            return None;
        }
        // Who was the heaviest may have none left: then everyone is looked at.
        let all = usize::from(self.reached);
        let mut most = self.weight(self.heaviest);
        let glances = if most == 0 { all } else { all.min(GLANCE) };
        let mut glance = self.glance;
        for _ in 0..glances {
            let weight = self.weight(ShareId(glance));
            if weight > most {
                (self.heaviest, most) = (ShareId(glance), weight);
            }
            glance = glance.wrapping_add(1);
            if glance >= self.reached {
                glance = 0;
            }
        }
        self.glance = glance;
        Some(self.heaviest)
    }

    /// Every share that has a holder.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = (ShareId, &Share)> {
        let shares = (0..).map(ShareId).zip(&self.pool);
        shares.filter(|(_, share)| share.holder.is_some())
    }

    /// Connections of all, and those that may be evicted.
    #[cfg(test)]
    pub(super) fn totals(&self) -> (u32, u32, u32) {
        (self.holders, self.held, self.evictable)
    }
}
