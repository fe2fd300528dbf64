//! Fragments: which datagram they are of, and so which connection. Hot path.
//!
//! Only the first fragment of a datagram has ports. It is judged like a whole packet, and what it
//! says of itself is remembered under the two addresses, the protocol and the datagram's number.
//! The rest of the datagram then has the same flow, and is judged as more of its connection. A
//! fragment that comes before the first waits for it; nothing is put together here, so no datagram
//! is ever copied, and what passes are the very fragments that came.
//!
//! ```text
//!   first  --judged--> allowed: those that wait are ready, in the order they came
//!                      refused: they are dropped, and so is what comes later, with its reason
//!   other  --first seen--> more of its flow
//!          --not yet-----> waits
//! ```
//!
//! # Invariants
//!
//! - All memory is taken by [`Fragments::new`]. Every operation is bounded by a constant or by the
//!   fragments that one datagram has waiting.
//! - *Overlap*: bytes that came twice, or an end in two places, spoil the datagram: what is left of
//!   it is dropped (RFC 5722, and the same in IPv4). So the receiver never sees one first fragment
//!   while we judged another.
//! - *Fairness*: a port (and apart from it all outside, to the pod of that port) has at most
//!   [`PER_PORT`] datagrams under way and [`WAITING_PER_PORT`] fragments that wait, and where few
//!   places are left [`PART`] of either. Who wants more loses the oldest of its own by which there
//!   is room, never somebody else's. Only when many ports have left none at all, one that has none
//!   takes the place of the oldest. All outside together have at most half of the places, nothing of
//!   the last quarter, and take places from each other alone; where pods have the rest, none.
//! - A datagram is forgotten when it is whole, or [`Fragments::expire`] finds it too old. Receivers
//!   wait longer than we do, but a fragment without its first passes nowhere.
//! - A fragment that need not wait any more is known by a [`Ticket`]: one of a datagram that has gone
//!   meanwhile finds nothing, for no two have one serial number.
//!
//! Rejected: putting datagrams together (64 KiB for each, and another stack's mistakes); letting
//! later fragments pass by protocol and address alone, as some do (a receiver joins them to
//! whatever first fragment it has); dropping what comes before its first (networks do reorder).

mod entry;
mod fixed;
mod list;
mod seen;
mod share;
mod ticket;
mod waiting;

use std::num::NonZeroU32;

use super::bucket::Index;
use super::{Hash, Holder};
use crate::clock::Tick;
use crate::counters::DropReason;
use crate::packet::parse::{Fragment, Headers};
use crate::packet::{FlowKey, Protocol};
use crate::seat::Seat;
use entry::Entry;
use fixed::Fixed;
use list::{List, NONE};
pub use share::{DATAGRAMS_MAX, PART, PER_PORT, WAITING_MAX, WAITING_PER_PORT};
use share::{Room, Share, Side, of_port, share_of, side_of};
pub use ticket::{Flow, Ticket, Verdict, Waited};
use waiting::{Chain, Waiting};

/// Datagrams that one call of [`Fragments::expire`] looks at.
const EXPIRE_MAX: usize = 4;

/// Datagrams under way of one worker.
#[derive(Debug)]
pub struct Fragments {
    timeout_ms: u64,
    index: Index,
    entries: Box<[Entry]>,
    free: Fixed<u16>,
    /// All of pods, and all from outside.
    sides: [Side; 2],
    /// By seat: what its port sends, and behind those what is sent to its port from outside.
    shares: Box<[Share]>,
    waiting: Waiting,
    /// Their first has passed, the one that came first in front.
    ready: Fixed<(Waited, Ticket)>,
    /// They are to be dropped, for these reasons.
    doomed: Fixed<(Waited, DropReason)>,
    /// The newest datagram's.
    serial: NonZeroU32,
}

impl Fragments {
    /// None under way; each datagram has this long to come. All memory is taken here.
    #[must_use]
    pub fn new(timeout_ms: u64) -> Self {
        Self {
            timeout_ms,
            index: Index::new(DATAGRAMS_MAX),
            entries: (0..DATAGRAMS_MAX).map(|_| Entry::BLANK).collect(),
            free: places(DATAGRAMS_MAX),
            sides: [Side::default(); 2],
            shares: vec![Share::default(); usize::from(Seat::COUNT).saturating_mul(2)].into(),
            waiting: Waiting::new(),
            ready: Fixed::new(WAITING_MAX),
            doomed: Fixed::new(WAITING_MAX),
            serial: NonZeroU32::MIN,
        }
    }

    /// The key of a fragment's datagram: hash it with
    /// [`Connections::hash`](super::Connections::hash).
    #[inline]
    #[must_use]
    pub fn key(headers: &Headers, fragment: &Fragment) -> FlowKey {
        let FlowKey { source, target, number, .. } = headers.key;
        // Of IPv6, fragments of one datagram need not agree on what follows their header.
        let number = if source.is_v4() { number } else { 0 };
        let [a, b, c, d] = fragment.identification.to_be_bytes();
        let (source_port, target_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        FlowKey { source, target, source_port, target_port, number, protocol: Protocol::Other }
    }

    /// Takes in a fragment, which counts as a connection of this holder would, and says what is to
    /// be done with it.
    pub fn take_in(
        &mut self,
        headers: &Headers,
        fragment: &Fragment,
        hash: Hash,
        holder: Holder,
        now: Tick,
    ) -> Verdict {
        let key = Self::key(headers, fragment);
        let Some(place) = self.find(&key, hash).or_else(|| self.begin(key, hash, holder, now))
        else {
            return Verdict::Drop(DropReason::FragmentLimit);
        };
        let Some(entry) = self.entries.get_mut(usize::from(place)) else {
            return Verdict::Drop(DropReason::FragmentLimit);
        };
        if let Some(reason) = entry.refused {
            return Verdict::Drop(reason);
        }
        if !entry.seen.note(fragment) {
            self.refuse(place, DropReason::FragmentOverlap);
            return Verdict::Drop(DropReason::FragmentOverlap);
        }
        if fragment.is_first() {
            entry.flow = Some(Flow::of(&headers.key));
        }
        let Some(serial) = entry.serial else { return Verdict::Drop(DropReason::FragmentLimit) };
        let ticket = Ticket { place, serial };
        let Some(flow) = entry.flow else { return Verdict::Wait(ticket) };
        entry.staged = entry.staged.saturating_add(1);
        Verdict::Judge(ticket, flow)
    }

    /// The flow of a datagram, for what has waited of it.
    ///
    /// # Errors
    ///
    /// Why it is dropped all the same.
    pub fn flow(&self, ticket: Ticket) -> Result<Flow, DropReason> {
        match self.entries.get(usize::from(ticket.place)) {
            Some(entry) if entry.serial == Some(ticket.serial) => {
                entry.refused.map_or(entry.flow.ok_or(DropReason::FragmentLimit), Err)
            }
            // It had to go meanwhile.
            _ => Err(DropReason::FragmentLimit),
        }
    }

    /// Keeps a fragment until its first has been judged.
    ///
    /// # Errors
    ///
    /// Gives it back where there is no room: it is dropped, `FragmentLimit`.
    #[allow(clippy::result_large_err)] // the frame itself comes back
    pub fn wait(&mut self, ticket: Ticket, waited: Waited) -> Result<(), Waited> {
        if !self.make_room_to_wait(ticket) {
            return Err(waited);
        }
        let Some(entry) = live(&mut self.entries, ticket) else { return Err(waited) };
        let (port, is_first) = (entry.port, entry.waiting.is_empty());
        self.waiting.push(&mut entry.waiting, waited)?;
        if let Some((share, side)) = of_port(&mut self.shares, &mut self.sides, port) {
            share.waiting = share.waiting.saturating_add(1);
            side.waiting = side.waiting.saturating_add(1);
            if is_first {
                list::push(&mut self.entries, List::Waits, &mut side.that_wait, ticket.place);
            }
        }
        Ok(())
    }

    /// Notes what became of a fragment: of a first, for all of its datagram.
    pub fn judged(&mut self, ticket: Ticket, is_first: bool, refused: Option<DropReason>) {
        let Some(entry) = live(&mut self.entries, ticket) else { return };
        entry.staged = entry.staged.saturating_sub(1);
        match refused {
            Some(reason) if is_first => self.refuse(ticket.place, reason),
            None if is_first => self.release(ticket.place),
            _ => {}
        }
        if live(&mut self.entries, ticket).is_some_and(|entry| entry.is_over()) {
            self.forget(ticket.place);
        }
    }

    /// The next fragment that need not wait any more. All are to be taken when one was judged.
    #[inline]
    pub fn take_ready(&mut self) -> Option<(Waited, Ticket)> {
        self.ready.pop_front()
    }

    /// The next fragment that has waited for nothing, and why.
    #[inline]
    pub fn take_doomed(&mut self) -> Option<(Waited, DropReason)> {
        self.doomed.pop_back()
    }

    /// Gives up datagrams that have not come whole in time, a few at a time.
    #[inline]
    pub fn expire(&mut self, now: Tick) {
        for side in 0..self.sides.len() {
            for _ in 0..EXPIRE_MAX {
                let oldest = self.sides.get(side).map_or(NONE, |side| side.by_age.first);
                match self.entries.get(usize::from(oldest)) {
                    Some(entry) if now.since_ms(entry.since) >= self.timeout_ms => {
                        self.give_up(oldest, DropReason::FragmentTimeout);
                    }
                    _ => break,
                }
            }
        }
    }

    /// Fragments that are kept here, ready or not.
    #[inline]
    #[must_use]
    pub fn held(&self) -> u64 {
        let all = self.waiting.len().saturating_add(self.ready.len());
        u64::try_from(all.saturating_add(self.doomed.len())).unwrap_or(u64::MAX)
    }

    /// Datagrams under way.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        DATAGRAMS_MAX.saturating_sub(self.free.len())
    }

    fn find(&self, key: &FlowKey, hash: Hash) -> Option<u16> {
        self.index.search(self.index.spot(hash), |id| {
            let place = u16::try_from(id).ok()?;
            let entry = self.entries.get(usize::from(place))?;
            (entry.key == *key).then_some(place)
        })
    }

    /// A new datagram of a port, which may cost it its oldest. `None`: there is no room.
    fn begin(&mut self, key: FlowKey, hash: Hash, holder: Holder, now: Tick) -> Option<u16> {
        let port = share_of(holder)?;
        let (&share, &side) = (self.shares.get(usize::from(port))?, self.sides.get(side_of(port))?);
        let room = Room::of(port, DATAGRAMS_MAX, self.free.len(), side.datagrams);
        if !room.has_for(share.datagrams, PER_PORT) {
            let own = if share.datagrams == 0 { side.by_age } else { share.oldest_first };
            if own.first == NONE {
                return None;
            }
            self.give_up(own.first, DropReason::FragmentLimit);
        }
        let spot = self.index.spot(hash);
        let lane = self.index.place(spot)?;
        let place = self.free.pop_back()?;
        self.index.fill(lane, spot, place.into());
        self.serial = self.serial.checked_add(1).unwrap_or(NonZeroU32::MIN);
        *self.entries.get_mut(usize::from(place))? = Entry::new(key, hash, self.serial, now, port);
        let (share, side) = of_port(&mut self.shares, &mut self.sides, port)?;
        list::push(&mut self.entries, List::Age, &mut side.by_age, place);
        list::push(&mut self.entries, List::Port, &mut share.oldest_first, place);
        share.datagrams = share.datagrams.saturating_add(1);
        side.datagrams = side.datagrams.saturating_add(1);
        Some(place)
    }

    /// Whether one more fragment may wait. Where its port has as many as it may, its oldest datagram
    /// goes of which any waits; where it has none and there is no place, the oldest of its side.
    fn make_room_to_wait(&mut self, ticket: Ticket) -> bool {
        let Some(entry) = live(&mut self.entries, ticket) else { return false };
        let port = entry.port;
        let Some((&mut share, &mut side)) = of_port(&mut self.shares, &mut self.sides, port) else {
            return false;
        };
        let room = Room::of(port, WAITING_MAX, self.waiting.free(), side.waiting);
        if room.has_for(share.waiting, WAITING_PER_PORT) {
            return true;
        }
        let oldest = if share.waiting == 0 {
            (side.that_wait.first != NONE).then_some(side.that_wait.first)
        } else {
            self.oldest_that_waits(share)
        };
        // It may be the fragment's own: then its frame comes back.
        oldest.is_some_and(|oldest| {
            self.give_up(oldest, DropReason::FragmentLimit);
            true
        })
    }

    /// Of a port's datagrams the oldest of which any fragment waits: others make no room by going.
    fn oldest_that_waits(&mut self, share: Share) -> Option<u16> {
        let mut place = share.oldest_first.first;
        for _ in 0..PER_PORT {
            let entry = self.entries.get_mut(usize::from(place))?;
            if !entry.waiting.is_empty() {
                return Some(place);
            }
            place = list::after(entry, List::Port);
        }
        None
    }

    /// Spoils a datagram: what waits goes, and so will the rest.
    fn refuse(&mut self, place: u16, reason: DropReason) {
        let Some(entry) = self.entries.get_mut(usize::from(place)) else { return };
        entry.refused = Some(reason);
        let (port, mut chain) = (entry.port, self.take_waiting(place));
        for _ in 0..WAITING_PER_PORT {
            let Some(waited) = self.waiting.pop(&mut chain) else { return };
            self.gave_back(port);
            self.doomed.push((waited, reason));
        }
    }

    /// What waits of a datagram need wait no more.
    fn release(&mut self, place: u16) {
        let Some(entry) = self.entries.get_mut(usize::from(place)) else { return };
        let Some(serial) = entry.serial else { return };
        let (port, mut chain) = (entry.port, self.take_waiting(place));
        let mut released = 0_u16;
        for _ in 0..WAITING_PER_PORT {
            let Some(waited) = self.waiting.pop(&mut chain) else { break };
            self.gave_back(port);
            self.ready.push((waited, Ticket { place, serial }));
            released = released.saturating_add(1);
        }
        if let Some(entry) = self.entries.get_mut(usize::from(place)) {
            entry.staged = entry.staged.saturating_add(released);
        }
    }

    /// All that waits of a datagram.
    fn take_waiting(&mut self, place: u16) -> Chain {
        let Some(entry) = self.entries.get_mut(usize::from(place)) else { return Chain::EMPTY };
        let (port, chain) = (entry.port, std::mem::replace(&mut entry.waiting, Chain::EMPTY));
        if let Some((_, side)) = of_port(&mut self.shares, &mut self.sides, port)
            && !chain.is_empty()
        {
            list::remove(&mut self.entries, List::Waits, &mut side.that_wait, place);
        }
        chain
    }

    fn gave_back(&mut self, port: u16) {
        if let Some((share, side)) = of_port(&mut self.shares, &mut self.sides, port) {
            share.waiting = share.waiting.saturating_sub(1);
            side.waiting = side.waiting.saturating_sub(1);
        }
    }

    /// Forgets a datagram of which not all has come.
    fn give_up(&mut self, place: u16, reason: DropReason) {
        self.refuse(place, reason);
        self.forget(place);
    }

    fn forget(&mut self, place: u16) {
        let Some(entry) = self.entries.get_mut(usize::from(place)) else { return };
        let port = entry.port;
        entry.serial = None;
        self.index.clear(self.index.spot(entry.hash), place.into());
        if let Some((share, side)) = of_port(&mut self.shares, &mut self.sides, port) {
            list::remove(&mut self.entries, List::Age, &mut side.by_age, place);
            list::remove(&mut self.entries, List::Port, &mut share.oldest_first, place);
            share.datagrams = share.datagrams.saturating_sub(1);
            side.datagrams = side.datagrams.saturating_sub(1);
        }
        self.free.push(place);
    }
}

/// The entry of a ticket, while it is the same datagram.
fn live(entries: &mut [Entry], ticket: Ticket) -> Option<&mut Entry> {
    let entry = entries.get_mut(usize::from(ticket.place))?;
    (entry.serial == Some(ticket.serial)).then_some(entry)
}

/// All places, the first on top.
fn places(count: usize) -> Fixed<u16> {
    let mut places = Fixed::new(count);
    (0..NONE).take(count).rev().for_each(|place| places.push(place));
    places
}
