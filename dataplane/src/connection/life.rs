//! How connections begin, change and end: index, record, wheel and queue kept in step. Hot path.

use std::cmp::Reverse;

use super::bucket::Place;
use super::expiry::{Due, Wheel};
use super::share::{Room, ShareId};
use super::slab::{Chain, Entry};
use super::{ConnectionId, Connections, Holder, Opening, Settings, Spot, State, tcp};
use crate::clock::Tick;
use crate::counters::DropReason;
use crate::ids::{Epoch, WorkerId};
use crate::limits::EXPIRE_PER_TURN;
use crate::packet::{FlowKey, Headers, Kind};

impl Connections {
    /// The key that opened a connection, if it is there.
    #[must_use]
    pub(crate) fn opening(&self, id: ConnectionId) -> Option<FlowKey> {
        self.slab.live(id.0).map(Entry::opening)
    }

    /// Notes who translates a connection.
    pub fn set_translator(&mut self, id: ConnectionId, translator: Option<WorkerId>) {
        if let Some(entry) = self.slab.live_mut(id.0) {
            entry.set_translator(translator);
        }
    }

    /// What it was made by.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Begins a connection that was just allowed. The packet must have found none.
    ///
    /// # Errors
    ///
    /// `ConnectionsLimit` if its holder has as many as a pod may have, `ConnectionsFull` if there is
    /// no room, and in both cases nobody gives way (one may have, where then both buckets of the key
    /// are full).
    pub fn open(
        &mut self,
        key: &FlowKey,
        spot: Spot,
        new: Opening,
        headers: &Headers,
        now: Tick,
    ) -> Result<ConnectionId, DropReason> {
        debug_assert!(self.find(headers, spot).is_none(), "opened twice: {key:?}");
        let share = self.shares.of(new.holder).ok_or(DropReason::ConnectionsFull)?;
        self.make_way(share, new.holder.opens, now)?;
        let place = self.room(spot).ok_or(DropReason::ConnectionsFull)?;
        let mut entry = Entry::new(key, &new, share, now);
        entry.bucket = place.bucket;
        if let Kind::Tcp(header) = &headers.kind {
            entry.track = tcp::open(header);
        }
        let id = self.slab.take(entry).ok_or(DropReason::ConnectionsFull)?;
        self.index.fill(place, spot, id);
        debug_assert!(new.state.is_evictable(), "what has just begun is not answered");
        if let Some(queue) = self.shares.join(share, 1) {
            self.slab.push(Chain::Queue, queue, id);
        }
        self.count(new.state, 1);
        let deadline = now.after_ms(self.timeout_ms(new.state));
        self.wheel.arm(&mut self.slab, id, deadline);
        Ok(ConnectionId(id))
    }

    /// Forgets a connection that is over, for one of `holder` that begins on the same ports.
    ///
    /// # Errors
    ///
    /// `ConnectionsLimit`, and it stays, where as many gave way for its holder as may for
    /// now; `ConnectionsFull` where there are more holders than there can be.
    pub fn renew(&mut self, id: ConnectionId, holder: Holder, now: Tick) -> Result<(), DropReason> {
        let share = self.shares.of(holder).ok_or(DropReason::ConnectionsFull)?;
        if !self.shares.may_turn_over(share, holder.opens, now) {
            return Err(DropReason::ConnectionsLimit);
        }
        self.remove(id);
        Ok(())
    }

    /// Forgets a connection.
    pub fn remove(&mut self, id: ConnectionId) {
        let Some(entry) = self.slab.live(id.0) else { return };
        let (state, share) = (entry.state, entry.share);
        let is_evictable = entry.is_evictable();
        if !self.index.clear_in(entry.bucket, id.0) {
            self.clear_moved(id);
        }
        self.wheel.disarm(&mut self.slab, id.0);
        if is_evictable {
            self.dequeue(id.0, share);
        }
        self.shares.close(share);
        self.count(state, -1);
        self.slab.give(id.0);
    }

    /// Clears the lane of a record that has moved to its other bucket.
    #[cold]
    fn clear_moved(&mut self, id: ConnectionId) {
        let Some(entry) = self.slab.live(id.0) else { return };
        self.index.clear(self.spot(&entry.opening()), id.0);
    }

    /// Forgets connections whose time is up, and says how many. Takes at most `EXPIRE_PER_TURN`
    /// steps, and goes on from there the next time.
    pub fn expire(&mut self, now: Tick) -> usize {
        self.now = now;
        self.wheel.catch_up(now);
        let mut expired = 0_usize;
        for _ in 0..EXPIRE_PER_TURN {
            match self.wheel.step(now) {
                Due::Done => break,
                Due::Nothing => {}
                Due::Record(id) => expired = expired.saturating_add(self.review(id, now).into()),
            }
        }
        expired
    }

    /// Evicts one where the new one's share asks for it: see `share`. `opens` as in [`Holder`].
    #[inline]
    fn make_way(&mut self, share: ShareId, opens: bool, now: Tick) -> Result<(), DropReason> {
        let (victim, else_reason) = match self.shares.room(share) {
            Room::Free => return Ok(()),
            Room::AfterOwn => (Some(share), DropReason::ConnectionsLimit),
            Room::AfterHeaviest => (self.shares.gives_way(share), DropReason::ConnectionsFull),
        };
        self.push_out(share, opens, victim, else_reason, now)
    }

    /// Evicts the oldest of `victim` for a new one of `share`.
    #[cold]
    fn push_out(
        &mut self,
        share: ShareId,
        opens: bool,
        victim: Option<ShareId>,
        else_reason: DropReason,
        now: Tick,
    ) -> Result<(), DropReason> {
        let victim = victim.ok_or(else_reason)?;
        let oldest = self.shares.oldest(victim).ok_or(else_reason)?;
        // Who has less than half of what the other has is no part of the flood.
        let is_light = self.shares.weight(share) < self.shares.weight(victim) / 2;
        if !is_light && !self.shares.may_turn_over(share, opens, now) {
            return Err(DropReason::ConnectionsLimit);
        }
        self.evict(oldest);
        Ok(())
    }

    /// A free lane.
    #[inline]
    fn room(&mut self, spot: Spot) -> Option<Place> {
        self.index.place(spot).or_else(|| self.room_by_force(spot))
    }

    /// A free lane where both buckets and all detours are full.
    #[cold]
    fn room_by_force(&mut self, spot: Spot) -> Option<Place> {
        let victim = self.victim(spot)?;
        self.evict(victim);
        self.index.place(spot)
    }

    /// Of the records in the two buckets that may be evicted, the one that has been silent for
    /// longest, among those of the heaviest pod there.
    fn victim(&self, spot: Spot) -> Option<u32> {
        let silence = |entry: &Entry| Reverse(entry.seen);
        self.index
            .residents(spot)
            .filter_map(|id| self.slab.live(id).map(|entry| (id, entry)))
            .filter(|(_, entry)| entry.is_evictable())
            .max_by_key(|(_, entry)| (self.shares.weight(entry.share), silence(entry)))
            .map(|(id, _)| id)
    }

    fn evict(&mut self, id: u32) {
        self.remove(ConnectionId(id));
        self.evicted = self.evicted.wrapping_add(1);
    }

    /// Puts a record at the end of its share's queue.
    fn enqueue(&mut self, id: u32) {
        let Some(share) = self.slab.live(id).map(|entry| entry.share) else { return };
        if let Some(queue) = self.shares.join(share, 0) {
            self.slab.push(Chain::Queue, queue, id);
        }
    }

    /// Takes a record out of its share's queue.
    fn dequeue(&mut self, id: u32, share: ShareId) {
        if let Some(queue) = self.shares.leave(share) {
            self.slab.unlink(Chain::Queue, queue, id);
        }
    }

    /// A record has come to another state: its gauge, its place in the queue, its deadline.
    pub(super) fn change(&mut self, id: u32, before: State, after: State) {
        self.count(before, -1);
        self.count(after, 1);
        let timeout = self.timeout_ms(after);
        let Some(entry) = self.slab.entry_mut(id) else { return };
        let was_evictable = entry.is_evictable();
        entry.state = after;
        let (is_evictable, share) = (entry.is_evictable(), entry.share);
        let deadline = entry.seen.after_ms(timeout);
        self.requeue(id, share, was_evictable, is_evictable);
        self.wheel.disarm(&mut self.slab, id);
        self.wheel.arm(&mut self.slab, id, deadline);
    }

    /// Notes the judgement of a newer epoch. A connection that is denied keeps its record while
    /// there is room: a later epoch may allow it again.
    pub fn restamp(&mut self, id: ConnectionId, epoch: Epoch, allowed: bool) {
        let Some(entry) = self.slab.live_mut(id.0) else { return };
        let was_evictable = entry.is_evictable();
        entry.epoch = epoch;
        entry.set_allowed(allowed);
        let (is_evictable, share) = (entry.is_evictable(), entry.share);
        self.requeue(id.0, share, was_evictable, is_evictable);
    }

    /// Puts a record into its share's queue, or takes it out, where that has changed.
    fn requeue(&mut self, id: u32, share: ShareId, was_evictable: bool, is_evictable: bool) {
        match (was_evictable, is_evictable) {
            (false, true) => self.enqueue(id),
            (true, false) => self.dequeue(id, share),
            _ => {}
        }
    }

    /// A record's slot has come up: forgets it (true) or puts it off to its deadline.
    fn review(&mut self, id: u32, now: Tick) -> bool {
        let Some(entry) = self.slab.live(id) else { return false };
        let deadline = entry.seen.after_ms(self.timeout_ms(entry.state));
        if Wheel::has_passed(deadline, now) {
            self.remove(ConnectionId(id));
            return true;
        }
        self.wheel.disarm(&mut self.slab, id);
        self.wheel.arm(&mut self.slab, id, deadline);
        false
    }

    pub(super) fn count(&mut self, state: State, by: i64) {
        if let Some(count) = self.counts.get_mut(state.index()) {
            *count = count.wrapping_add_signed(by);
        }
    }
}
