//! Connections of a predecessor, taken in. Cold: a page of them, at the start of a switch.
//!
//! A [`Survivor`] is a record as it was left, with the names that its ends had then. Whoever knows who
//! they are now makes an [`Adoption`] of it, for the worker that owns it now. It keeps its state, its
//! numbers in the stream and its age, and has an epoch that no rules have: its next packet is judged
//! anew, by the key that opened it.

use super::share::Room;
use super::slab::{Chain, Entry};
use super::{ConnectionId, Connections, Holder, Record, Way};
use crate::clock::Tick;
use crate::ids::{EndpointId, Epoch, WorkerId};
use crate::packet::FlowKey;

/// The epoch of no rules.
const NEVER: Epoch = Epoch(u64::MAX);

/// A connection, or a translation, as a predecessor left it.
#[derive(Clone, Copy, Debug)]
pub struct Survivor {
    pub(super) entry: Entry,
    pub(super) back: Option<FlowKey>,
    pub(super) worker: WorkerId,
}

impl Survivor {
    /// The key that opened it; of a translation, what its client writes.
    #[must_use]
    pub fn opening(&self) -> FlowKey {
        self.entry.opening()
    }

    /// Of a translation, what the backend sees.
    #[must_use]
    pub fn back(&self) -> Option<FlowKey> {
        self.back
    }

    /// Its ends, the opener first, as the predecessor named them.
    #[must_use]
    pub fn ends(&self) -> [Option<EndpointId>; 2] {
        [self.entry.source(), self.entry.target()]
    }

    /// When a packet of it was last seen.
    #[must_use]
    pub fn seen(&self) -> Tick {
        self.entry.seen
    }

    /// The worker that had it.
    #[must_use]
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The worker that translated it, where its opener asked a Service.
    #[must_use]
    pub fn translator(&self) -> Option<WorkerId> {
        self.entry.translator()
    }

    /// The same between ends of today.
    #[must_use]
    pub fn adopted(
        &self,
        ends: [Option<EndpointId>; 2],
        holder: Holder,
        translator: Option<WorkerId>,
    ) -> Adoption {
        let Self { mut entry, back, .. } = *self;
        entry.rename(ends);
        entry.set_translator(translator);
        entry.epoch = NEVER;
        Adoption { entry, back, holder }
    }
}

/// A connection, or a translation, for the worker that owns it now.
#[derive(Clone, Copy, Debug)]
pub struct Adoption {
    entry: Entry,
    back: Option<FlowKey>,
    holder: Holder,
}

impl Adoption {
    /// Of a translation, what the backend sees.
    pub(crate) fn back(&self) -> Option<FlowKey> {
        self.back
    }
}

/// Why one was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is one of the same key between the same ends already.
    Known,
    /// Its time is up.
    Over,
    /// There is no room for its holder: nobody gives way to it.
    NoRoom,
}

/// A page of adoptions on its way to a worker, and back with what became of them.
#[derive(Clone, Debug, Default)]
pub struct Adoptions {
    rows: Vec<Adoption>,
    /// Those that were taken in.
    pub adopted: u64,
    /// Those for which there was no room.
    pub no_room: u64,
    /// Those that were there already.
    pub known: u64,
    /// Those whose time was up.
    pub over: u64,
}

impl Adoptions {
    /// Rows of a page at most: a worker takes in a page in one turn.
    pub const CAPACITY: usize = 256;

    /// A page of these, of which there are at most [`Self::CAPACITY`].
    #[must_use]
    pub fn new(rows: Vec<Adoption>) -> Self {
        debug_assert!(rows.len() <= Self::CAPACITY, "too many rows for a page");
        Self { rows, ..Self::default() }
    }

    /// Whether nothing became of it yet.
    #[must_use]
    pub fn rows(&self) -> &[Adoption] {
        &self.rows
    }

    /// Notes what became of one.
    pub(crate) fn note(&mut self, became: Result<(), Refused>) {
        match became {
            Ok(()) => self.adopted = self.adopted.saturating_add(1),
            Err(Refused::NoRoom) => self.no_room = self.no_room.saturating_add(1),
            Err(Refused::Known) => self.known = self.known.saturating_add(1),
            Err(Refused::Over) => self.over = self.over.saturating_add(1),
        }
    }

    /// What became of them: taken in, no room, there already, over.
    pub(crate) fn became(&self) -> [u64; 4] {
        [self.adopted, self.no_room, self.known, self.over]
    }
}

impl Record {
    /// Whether it is a predecessor's, and no rules of ours have judged it yet.
    #[must_use]
    pub fn is_unjudged(&self) -> bool {
        self.epoch == NEVER
    }
}

impl Connections {
    /// Takes in a connection of a predecessor. Nobody gives way to it but one of the same key between
    /// other ends, as when a packet was picked up before its pod had a port here: under the snapshot
    /// to come it would be removed anyway, and the true one would be gone.
    pub(crate) fn adopt(
        &mut self,
        adoption: &Adoption,
        now: Tick,
    ) -> Result<ConnectionId, Refused> {
        let Adoption { mut entry, holder, .. } = *adoption;
        let key = entry.opening();
        let spot = self.spot(&key);
        entry.seen = entry.seen.min(now);
        let deadline = entry.seen.after_ms(self.timeout_ms(entry.state));
        if deadline <= now {
            return Err(Refused::Over);
        }
        if let Some((id, way)) = self.find_quoted(&key, spot) {
            let Record { source, target, .. } = self.record(id);
            let ends = if way == Way::Opening { [source, target] } else { [target, source] };
            if ends == [entry.source(), entry.target()] {
                return Err(Refused::Known);
            }
            self.remove(id);
        }
        let share = self.shares.of(holder).ok_or(Refused::NoRoom)?;
        if self.shares.room(share) != Room::Free {
            return Err(Refused::NoRoom);
        }
        let place = self.index.place(spot).ok_or(Refused::NoRoom)?;
        (entry.share, entry.bucket) = (share, place.bucket);
        let id = self.slab.take(entry).ok_or(Refused::NoRoom)?;
        self.index.fill(place, spot, id);
        if let Some(queue) = self.shares.join(share, 1)
            && entry.is_evictable()
        {
            self.slab.push(Chain::Queue, queue, id);
        } else {
            // It counts, and is in no queue.
            let _queue = self.shares.leave(share);
        }
        self.count(entry.state, 1);
        self.wheel.catch_up(now);
        self.wheel.arm(&mut self.slab, id, deadline);
        Ok(ConnectionId(id))
    }
}
