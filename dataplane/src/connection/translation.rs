//! Translations: what a client wrote to a Service, and what the backend sees instead. Hot path.
//!
//! Kept at the client's port, by the worker that received the packet, which is its only writer. Each
//! is a connection of its own by what the client wrote (the *front*), so time limits, shares of pods,
//! turnover and eviction are those of connections; beside each record stands what the backend sees
//! (the *back*), and an index finds the record by that.
//!
//! ```text
//!     front --hash--> Connections --id--> Record: back, when it was last looked at
//!     back  --hash--> Index -------id-----^
//! ```
//!
//! # Invariants
//!
//! - All memory is taken by [`Translations::new`].
//! - Of a connection that lives, the record is its own: both are written together. What of it is left
//!   when the connection ends stays in the index until its place is used again, at most one lane for
//!   each place, and finds nothing: the connection is not alive.
//! - No two that live have one back, or replies could not be told apart: who opens asks
//!   [`Translations::is_taken`] before.

mod kept;

pub(super) use kept::{LAYOUT, RECORD_BYTES, back, capacity};

use super::bucket::{Index, Spot};
use super::hash::{Hash, Seed};
use super::{ConnectionId, Connections, Holder, Opening, Settings, Way};
use crate::block::Block;
use crate::clock::Tick;
use crate::counters::DropReason;
use crate::ids::{EndpointId, Epoch, WorkerId};
use crate::packet::{Address, FlowKey, Headers};
use crate::seat::Seat;

/// Of so many connections one may be to a Service.
const PART: usize = 4;
/// Translations of the smallest table.
const LEAST: usize = 64;
/// Of sums that tell accidents, and need tell nothing else.
const CHECK: [u64; 2] = [0x6c6f_636b_6761_7465, 0x9e37_79b9_7f4a_7c15];

/// What stands beside a connection.
#[derive(Clone, Copy, Debug)]
struct Record {
    back: FlowKey,
    /// Where the index has it, once it has been there.
    spot: Option<Spot>,
    /// The table of services under which the backend was last looked for.
    version: u64,
    /// A sum over both keys: one that a crash left beside another connection is known by it.
    check: u64,
}

impl Record {
    const BLANK: Self = Self { back: Headers::BLANK.key, spot: None, version: 0, check: 0 };
}

/// One worker's translations.
#[derive(Debug)]
pub struct Translations {
    fronts: Connections,
    backs: Index,
    /// By the place of the connection.
    records: Block<Record>,
}

/// A translation that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Which.
    pub id: ConnectionId,
    /// What the client writes.
    pub front: FlowKey,
    /// What the backend sees.
    pub back: FlowKey,
    /// The table of services under which the backend was last looked for.
    pub version: u64,
}

impl Translations {
    /// An empty table beside connections with these settings. All memory it will ever have is taken
    /// here.
    #[must_use]
    pub fn new(beside: &Settings) -> Self {
        let settings = settings(beside);
        let records = vec![Record::BLANK; settings.capacity];
        Self::of(Connections::new(&settings), Block::private(records.into()))
    }

    fn of(fronts: Connections, records: Block<Record>) -> Self {
        Self { backs: Index::new(fronts.settings().capacity), fronts, records }
    }

    /// The translation of what a client wrote, if it was this client that opened it. What is over and
    /// opened again is none, and neither is what another pod opened that had the address before: it
    /// is forgotten.
    ///
    /// # Errors
    /// `TranslationsFull` where as many were opened anew as may be for now.
    pub fn find(
        &mut self,
        headers: &Headers,
        client: Option<EndpointId>,
        holder: Holder,
        now: Tick,
    ) -> Result<Option<Translation>, DropReason> {
        let spot = self.fronts.spot(&headers.key);
        let Some((id, Way::Opening)) = self.fronts.find(headers, spot) else { return Ok(None) };
        let opens = Connections::opens(&headers.kind).is_some();
        if self.fronts.is_over(id) && opens {
            let renewed = self.fronts.renew(id, holder, now);
            return renewed.map(|()| None).map_err(|_| DropReason::TranslationsFull);
        }
        if self.fronts.record(id).source != client {
            self.fronts.remove(id);
            return Ok(None);
        }
        Ok(self.translation(id))
    }

    /// The translation of a flow that an ICMP error quotes, as a client wrote it.
    #[must_use]
    pub fn find_front(&self, front: &FlowKey) -> Option<Translation> {
        let (id, way) = self.fronts.find_quoted(front, self.fronts.spot(front))?;
        if way == Way::Opening { self.translation(id) } else { None }
    }

    /// The translation of which a backend sees this flow: as the packets that it gets have it.
    #[must_use]
    pub fn find_back(&self, back: &FlowKey) -> Option<Translation> {
        let spot = self.backs.spot(self.fronts.hash(back));
        self.backs.search(spot, |id| {
            let record = self.records.get(id as usize)?;
            if record.back == *back { self.translation(ConnectionId(id)) } else { None }
        })
    }

    /// Whether a backend sees this flow already.
    #[must_use]
    pub fn is_taken(&self, back: &FlowKey) -> bool {
        self.find_back(back).is_some()
    }

    /// A number that follows from what a client wrote, and that nobody outside can foretell.
    #[must_use]
    pub fn lot(&self, front: &FlowKey) -> u64 {
        self.fronts.hash(front).0
    }

    /// Begins a translation of the packet whose headers these are, which found none, between two that
    /// are pods of this node or not.
    ///
    /// # Errors
    /// `NoConnection` where such a packet begins nothing, `TranslationsFull` where there is no room
    /// for its holder.
    pub fn open(
        &mut self,
        headers: &Headers,
        back: &FlowKey,
        [client, backend]: [Option<EndpointId>; 2],
        holder: Holder,
        (version, now): (u64, Tick),
    ) -> Result<(), DropReason> {
        const FULL: DropReason = DropReason::TranslationsFull;
        let state = Connections::opens(&headers.kind).ok_or(DropReason::NoConnection)?;
        let opening = Opening { source: client, target: backend, epoch: Epoch(0), holder, state };
        let spot = self.fronts.spot(&headers.key);
        let opened = self.fronts.open(&headers.key, spot, opening, headers, now);
        let id = opened.map_err(|_| FULL)?;
        self.note(id, back, version).ok_or_else(|| {
            self.fronts.remove(id);
            FULL
        })
    }

    fn note(&mut self, id: ConnectionId, back: &FlowKey, version: u64) -> Option<()> {
        let spot = self.backs.spot(self.fronts.hash(back));
        let record = self.records.get_mut(id.0 as usize)?;
        if let Some(stale) = record.spot.take() {
            self.backs.clear(stale, id.0);
        }
        let lane = self.backs.place(spot)?;
        self.backs.fill(lane, spot, id.0);
        let front = self.fronts.opening(id)?;
        *record = Record { back: *back, spot: Some(spot), version, check: check(&front, back) };
        Some(())
    }

    /// The pod of this node that asks; `None` where somebody beyond the host port does.
    #[must_use]
    pub fn client(&self, id: ConnectionId) -> Option<EndpointId> {
        self.fronts.record(id).source
    }

    /// The pod of this node that was its backend when it began, if it was one.
    #[must_use]
    pub fn backend(&self, id: ConnectionId) -> Option<EndpointId> {
        self.fronts.record(id).target
    }

    /// Notes that the backend was found under this table of services.
    pub fn stamp(&mut self, id: ConnectionId, version: u64) {
        if let Some(record) = self.records.get_mut(id.0 as usize) {
            record.version = version;
        }
    }

    /// Takes in a packet of a translation.
    pub fn touch(&mut self, id: ConnectionId, way: Way, headers: &Headers, now: Tick) {
        self.fronts.touch(id, way, headers, now);
    }

    /// Forgets a translation.
    pub fn remove(&mut self, id: ConnectionId) {
        self.fronts.remove(id);
    }

    /// Forgets what the packet that was refused now has begun, if nothing ever came back (house D8).
    pub fn take_back(&mut self, back: &FlowKey) {
        let Some(found) = self.find_back(back) else { return };
        if self.fronts.state(found.id).is_evictable() {
            self.fronts.remove(found.id);
        }
    }

    /// Forgets translations whose time is up, and those of pods that are gone; some each turn.
    pub fn expire(&mut self, now: Tick, occupant: Option<impl Fn(Seat) -> Option<EndpointId>>) {
        self.fronts.expire(now);
        if let Some(occupant) = occupant {
            self.fronts.settle(now, occupant);
        }
    }

    /// Translations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fronts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory, all told.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let records = size_of_val::<[Record]>(&self.records);
        self.fronts.memory_bytes().saturating_add(self.backs.memory_bytes()).saturating_add(records)
    }

    fn translation(&self, id: ConnectionId) -> Option<Translation> {
        let front = self.fronts.opening(id)?;
        let Record { back, version, .. } = *self.records.get(id.0 as usize)?;
        Some(Translation { id, front, back, version })
    }
}

/// The worker that translates what a client beyond the host port asks a Service, among so many that
/// have a queue of it.
///
/// A function of the two addresses only: a socket changes its queue while it lives, later fragments
/// have no ports, and a client with affinity is one at all its ports. The next process names the
/// same worker.
#[must_use]
pub fn translator(client: Address, service: Address, workers: u16) -> WorkerId {
    let part = Hash::of_pair(client, service).part_of(workers);
    WorkerId(u8::try_from(part).unwrap_or(u8::MAX))
}

/// What a table is made by beside connections that are made by these.
fn settings(beside: &Settings) -> Settings {
    let capacity = (beside.capacity / PART).clamp(LEAST, super::CAPACITY_MAX);
    let bounds = super::Bounds::of(u32::try_from(capacity).unwrap_or(u32::MAX));
    Settings { capacity, bounds, ..*beside }
}

/// A sum over what a client wrote and what its backend sees, which no other two have but by chance.
fn check(front: &FlowKey, back: &FlowKey) -> u64 {
    Seed::new(CHECK).hash(front).0.rotate_left(1) ^ Seed::new(CHECK).hash(back).0
}

#[cfg(test)]
mod tests;
