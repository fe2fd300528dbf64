//! The records, and the two lists that run through them. Hot path.
//!
//! A record is two cache lines side by side. A packet that finds its connection needs the first:
//! who, under which epoch, since when. The second is for what happens less often (opening,
//! expiring, evicting) and for TCP's numbers. IPv6 addresses fit the first line, so one kind of
//! record serves both families.
//!
//! The slab is one block of plain numbers without pointers, so that it may be a mapped file which a
//! successor reads (`keep`). There a record counts once its flags say that it is in use: they are
//! written last, and cleared before anything else is written.
//!
//! Records are named by their place. A place that is out of bounds is treated like a free record, so
//! nothing here can panic.

pub(super) mod bytes;

use std::fs::File;
use std::io;
use std::sync::atomic::{Ordering, compiler_fence};

use super::share::ShareId;
use super::tcp::Track;
use super::{Opening, State, Way};
use crate::block::Block;
use crate::clock::Tick;
use crate::ids::{EndpointId, Epoch, WorkerId};
use crate::limits::WORKERS_MAX;
use crate::packet::{Address, FlowKey, Protocol};

/// No record.
pub(super) const NONE: u32 = u32::MAX;

/// The record is in use.
const LIVE: u8 = 1;
/// Its packets pass.
const ALLOWED: u8 = 2;
/// Its opener asked a Service.
const TRANSLATED: u8 = 4;
/// From this bit on, the worker that translates it.
const TRANSLATOR_AT: u32 = 4;
/// The number of no endpoint: none is made before 2^32 others.
const NO_ENDPOINT: u32 = u32::MAX;

const _: () = assert!(WORKERS_MAX <= 1 << (u8::BITS - TRANSLATOR_AT));

/// Neighbours in a list.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Link {
    before: u32,
    after: u32,
}

const UNLINKED: Link = Link { before: NONE, after: NONE };

/// The lists that run through the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    /// Of a slot of the timing wheel; or, through `after` alone, of the free records.
    Wheel,
    /// Of one share's that may be evicted, the first to become so in front.
    Queue,
}

/// A list's ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The first record, or `NONE`.
    pub(super) first: u32,
    last: u32,
}

impl Ends {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };
}

/// One connection.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
pub(super) struct Entry {
    source: Address,
    target: Address,
    source_port: u16,
    target_port: u16,
    number: u8,
    protocol: Protocol,
    pub(super) state: State,
    flags: u8,
    pub(super) epoch: Epoch,
    source_endpoint: u32,
    target_endpoint: u32,
    /// When its last packet passed that showed it alive.
    pub(super) seen: Tick,
    // The second line.
    wheel: Link,
    queue: Link,
    /// The bucket where it was put. It may have moved to its other one since.
    pub(super) bucket: u32,
    /// Its slot of the wheel.
    pub(super) slot: u16,
    /// Whose it is.
    pub(super) share: ShareId,
    pub(super) opened: Tick,
    pub(super) track: Track,
}

const _: () = assert!(size_of::<Entry>() == 128);
const _: () = assert!(std::mem::offset_of!(Entry, wheel) == 64);

const NOBODY: Address = Address::from_v6([0; 16]);
impl Entry {
    /// A free record.
    pub(super) const BLANK: Self = Self {
        source: NOBODY,
        target: NOBODY,
        source_port: 0,
        target_port: 0,
        number: 0,
        protocol: Protocol::Other,
        state: State::Closed,
        flags: 0,
        epoch: Epoch(0),
        source_endpoint: NO_ENDPOINT,
        target_endpoint: NO_ENDPOINT,
        seen: Tick(0),
        wheel: UNLINKED,
        queue: UNLINKED,
        bucket: 0,
        slot: 0,
        share: ShareId(u16::MAX),
        opened: Tick(0),
        track: Track::BLANK,
    };

    /// A connection as it begins.
    pub(super) fn new(key: &FlowKey, new: &Opening, share: ShareId, now: Tick) -> Self {
        let number = |endpoint: Option<EndpointId>| endpoint.map_or(NO_ENDPOINT, |id| id.0);
        Self {
            source: key.source,
            target: key.target,
            source_port: key.source_port,
            target_port: key.target_port,
            number: key.number,
            protocol: key.protocol,
            state: new.state,
            flags: LIVE | ALLOWED,
            epoch: new.epoch,
            source_endpoint: number(new.source),
            target_endpoint: number(new.target),
            seen: now,
            share,
            opened: now,
            ..Self::BLANK
        }
    }

    /// The key that opened it.
    pub(super) fn opening(&self) -> FlowKey {
        FlowKey {
            source: self.source,
            target: self.target,
            source_port: self.source_port,
            target_port: self.target_port,
            number: self.number,
            protocol: self.protocol,
        }
    }

    /// Which way a packet of this key goes here, if it belongs here at all.
    ///
    /// Compares both ways before it branches: which one it is, no processor can foretell.
    #[inline]
    pub(super) fn way_of(&self, key: &FlowKey) -> Option<Way> {
        let ports = |a: u16, b: u16| u64::from(a) << 16 | u64::from(b);
        let apart = |a: Address, b: Address| {
            let ((a_high, a_low), (b_high, b_low)) = (a.to_halves(), b.to_halves());
            (a_high ^ b_high) | (a_low ^ b_low)
        };
        let here = ports(self.source_port, self.target_port);
        let number = u64::from(self.number ^ key.number);
        let opening = apart(self.source, key.source)
            | apart(self.target, key.target)
            | (here ^ ports(key.source_port, key.target_port))
            | number;
        let reply = apart(self.source, key.target)
            | apart(self.target, key.source)
            | (here ^ ports(key.target_port, key.source_port))
            | number;
        if opening.min(reply) | u64::from(!self.is_live()) != 0 {
            return None;
        }
        Some(if opening == 0 { Way::Opening } else { Way::Reply })
    }

    pub(super) const fn is_live(&self) -> bool {
        self.flags & LIVE != 0
    }

    pub(super) const fn is_allowed(&self) -> bool {
        self.flags & ALLOWED != 0
    }

    /// Whether it may be evicted for another: nothing is lost by that, or policy denies it.
    pub(super) const fn is_evictable(&self) -> bool {
        self.state.is_evictable() || !self.is_allowed()
    }

    pub(super) const fn set_allowed(&mut self, allowed: bool) {
        if allowed {
            self.flags |= ALLOWED;
        } else {
            self.flags &= !ALLOWED;
        }
    }

    /// The opener's endpoint.
    pub(super) fn source(&self) -> Option<EndpointId> {
        endpoint(self.source_endpoint)
    }

    /// The other end's endpoint.
    pub(super) fn target(&self) -> Option<EndpointId> {
        endpoint(self.target_endpoint)
    }

    /// Who translates it.
    #[inline]
    pub(super) fn translator(&self) -> Option<WorkerId> {
        (self.flags & TRANSLATED != 0).then_some(WorkerId(self.flags >> TRANSLATOR_AT))
    }

    pub(super) fn set_translator(&mut self, translator: Option<WorkerId>) {
        let kept = self.flags & (LIVE | ALLOWED);
        let noted = translator.map_or(0, |worker| worker.0 << TRANSLATOR_AT | TRANSLATED);
        self.flags = kept | noted;
    }

    fn link(&mut self, chain: Chain) -> &mut Link {
        match chain {
            Chain::Wheel => &mut self.wheel,
            Chain::Queue => &mut self.queue,
        }
    }
}

#[inline]
fn endpoint(number: u32) -> Option<EndpointId> {
    (number != NO_ENDPOINT).then_some(EndpointId(number))
}

/// That many free records, each the next one's neighbour.
fn blank(capacity: u32) -> impl ExactSizeIterator<Item = Entry> {
    (0..capacity).map(move |id| {
        let after = Some(id.wrapping_add(1)).filter(|&next| next != capacity).unwrap_or(NONE);
        Entry { wheel: Link { before: NONE, after }, ..Entry::BLANK }
    })
}

/// All records.
#[derive(Debug)]
pub(super) struct Slab {
    entries: Block<Entry>,
    /// The first free record.
    free: u32,
    /// Records that were ever used are below this one.
    reached: u32,
}

impl Slab {
    /// That many free records.
    pub(super) fn new(capacity: u32) -> Self {
        Self::of(Block::private(blank(capacity).collect()))
    }

    /// The same in a file, from a place on: see [`Block::in_file`].
    pub(super) fn in_file(file: &File, offset: u64, capacity: u32) -> io::Result<Self> {
        Ok(Self::of(Block::in_file(file, offset, blank(capacity))?))
    }

    fn of(entries: Block<Entry>) -> Self {
        let free = if entries.is_empty() { NONE } else { 0 };
        Self { entries, free, reached: 0 }
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val::<[Entry]>(&self.entries)
    }

    /// The record, whether in use or free.
    #[inline]
    pub(super) fn entry(&self, id: u32) -> Option<&Entry> {
        self.entries.get(id as usize)
    }

    /// The record, whether in use or free.
    #[inline]
    pub(super) fn entry_mut(&mut self, id: u32) -> Option<&mut Entry> {
        self.entries.get_mut(id as usize)
    }

    /// The record, if in use.
    #[inline]
    pub(super) fn live(&self, id: u32) -> Option<&Entry> {
        self.entry(id).filter(|entry| entry.is_live())
    }

    /// The record, if in use.
    #[inline]
    pub(super) fn live_mut(&mut self, id: u32) -> Option<&mut Entry> {
        self.entry_mut(id).filter(|entry| entry.is_live())
    }

    /// Records from this one up to the last that was ever used.
    pub(super) fn from(&self, id: u32) -> &[Entry] {
        self.entries.get(id as usize..self.reached as usize).unwrap_or(&[])
    }

    /// Asks for both lines of a record.
    #[inline]
    pub(super) fn prefetch(&self, id: u32) {
        if let Some(entry) = self.entry(id) {
            crate::prefetch::read(entry);
            crate::prefetch::read(&entry.wheel);
        }
    }

    /// Fills a free record.
    pub(super) fn take(&mut self, entry: Entry) -> Option<u32> {
        let id = self.free;
        let there = self.entry_mut(id)?;
        let after = there.wheel.after;
        *there = Entry { flags: 0, ..entry };
        // Were the flags there first, and the process killed before the rest is, whoever reads the
        // file would find a connection that there never was. What has been executed is in the file,
        // whatever becomes of the process, so that only the compiler must be told.
        compiler_fence(Ordering::Release);
        there.flags = entry.flags;
        self.free = after;
        self.reached = self.reached.max(id.saturating_add(1));
        Some(id)
    }

    /// Frees a record that is in no list. What else was in it stays, and nobody reads it: a free
    /// record is not live, not allowed and has no way.
    pub(super) fn give(&mut self, id: u32) {
        let after = self.free;
        if let Some(entry) = self.entry_mut(id) {
            entry.flags = 0;
            compiler_fence(Ordering::Release);
            entry.wheel = Link { before: NONE, after };
            self.free = id;
        }
    }

    /// Puts a record at the end of a list.
    pub(super) fn push(&mut self, chain: Chain, ends: &mut Ends, id: u32) {
        let before = ends.last;
        if let Some(entry) = self.entry_mut(id) {
            *entry.link(chain) = Link { before, after: NONE };
        }
        match self.entry_mut(before) {
            Some(entry) => entry.link(chain).after = id,
            None => ends.first = id,
        }
        ends.last = id;
    }

    /// Takes a record out of the list it is in.
    pub(super) fn unlink(&mut self, chain: Chain, ends: &mut Ends, id: u32) {
        let Some(entry) = self.entry_mut(id) else { return };
        let Link { before, after } = std::mem::replace(entry.link(chain), UNLINKED);
        match self.entry_mut(before) {
            Some(entry) => entry.link(chain).after = after,
            None => ends.first = after,
        }
        match self.entry_mut(after) {
            Some(entry) => entry.link(chain).before = before,
            None => ends.last = before,
        }
    }

    /// A list from its first record on, both directions checked.
    #[cfg(test)]
    pub(super) fn walk(&self, chain: Chain, ends: Ends) -> Vec<u32> {
        let (mut walked, mut before, mut id) = (Vec::new(), NONE, ends.first);
        // Cold: tests only.
        while let Some(mut entry) = self.entry(id).copied() {
            assert_eq!(entry.link(chain).before, before, "{chain:?} points back");
            assert!(walked.len() < self.entries.len(), "{chain:?} is a ring");
            walked.push(id);
            (before, id) = (id, entry.link(chain).after);
        }
        assert_eq!(ends.last, before, "the last of {chain:?}");
        walked
    }
}
