//! Connections: what was allowed before, and goes on. Hot path.
//!
//! A connection is both directions of a flow, with the direction that opened it. It is why a
//! reply passes though no rule allows it, and why most packets are never judged: they find their
//! connection, and its verdict, under the epoch in force.
//!
//! ```text
//!     key --hash--> 2 buckets of 8 lanes --tag--> record (2 lines) --key--> way, verdict
//!                   `---- bucket.rs ---'          `-- slab.rs --'
//!                                                   |         |
//!                                    wheel (expiry.rs)       share (share.rs)
//! ```
//!
//! # What a batch does
//!
//! 1. find the [`spot`](Connections::spot) of all keys, [`prefetch`](Connections::prefetch) their
//!    buckets;
//! 2. [`prefetch_record`](Connections::prefetch_record) where tags agree, which is it nearly always;
//! 3. [`find_likely`](Connections::find_likely) each. If [`is_over`](Connections::is_over) and the packet
//!    [`opens`](Connections::opens), [`renew`](Connections::renew) and treat it as not found:
//!    a new connection may use an old one's ports, but is judged anew, in its own direction.
//! 4. Found: compare epoch and endpoints, judge again if need be
//!    ([`restamp`](Connections::restamp)); if allowed, [`touch`](Connections::touch).
//!    Not found: judge; if allowed, [`open`](Connections::open). What is denied leaves no trace
//!    (house D8).
//!
//! # Invariants
//!
//! - All memory is taken by [`Connections::new`]; nothing grows, nothing is rebuilt.
//! - Every operation is bounded by a constant: two buckets of eight to find, at most sixteen
//!   more to make room, `EXPIRE_PER_TURN` steps to expire.
//! - A record in use is in the index once, on the wheel once, and in the queue of its share exactly
//!   when its state is evictable; a free record is nowhere. (A test checks this after random operations.)
//! - `opening` is the key of the packet that opened, for ever. A connection is judged again by
//!   that key, never by a reply's.
//! - A connection that has been answered is never evicted for another while policy allows it; only
//!   its timeout, its end, or the worker removes it.
//! - One worker owns the table: no atomics, no locks.
//!
//! # Whom a packet belongs to
//!
//! Addresses, ports and protocol number, either way round, and moreover: an echo *request* goes
//! only with requests of the same side, or the other side could ping under cover of an identifier
//! it was pinged with; other ICMP has no replies. An ICMP error belongs to the connection of the
//! packet it quotes ([`find_quoted`](Connections::find_quoted)), and neither opens nor touches.
//!
//! # Pressure
//!
//! When there is no room, of what is half open, unanswered or over, the oldest of the pod with most
//! of it gives way; each pod has a budget, and `share` says who is asked to go when. When both
//! buckets of a key are full and no entry can move, the same is asked of the sixteen records
//! there. If there is none: `ConnectionsFull`. So a flood of opening packets pushes out its own, and
//! never what is established.
//!
//! # Memory
//!
//! 128 bytes of record and 10 2/3 of index per connection, IPv4 and IPv6 alike, 32 KiB of wheel
//! and some 250 of shares. Rejected: hashbrown (house D5: it stalls for milliseconds under churn); chains and
//! linear probing (cost grows with load, and with what an attacker sends); cuckoo hashing with
//! long displacement chains (unbounded work at the moment of greatest pressure); a separate
//! table for IPv6 (two of everything, to save nothing).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod adopt;
mod bucket;
mod expiry;
pub mod fragment;
mod hash;
pub mod keep;
pub mod left;
mod life;
mod page;
mod pick_up;
mod sctp;
mod settings;
mod settle;
mod share;
mod slab;
mod state;
mod tcp;
pub mod translation;

#[cfg(test)]
mod tests;

pub use adopt::{Adoption, Adoptions, Survivor};
pub use bucket::Spot;
pub use hash::Hash;
pub use page::{Page, Row};
pub use settings::{Bounds, Settings};
pub use share::Holder;
pub use state::{State, Timeouts};

use crate::clock::Tick;
use crate::counters::CONNECTION_STATES_MAX;
use crate::ids::{EndpointId, Epoch, WorkerId};
use crate::packet::{FlowKey, Headers, Kind};
use bucket::Index;
use expiry::Wheel;
use hash::Seed;
use settle::Rounds;
use share::Shares;
use slab::{Entry, Slab};

/// The most connections of one table: more would need other numbers for buckets.
pub const CAPACITY_MAX: usize = 1 << 26;

/// A record, by its place. Valid until the next `open`, `remove` or `expire`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConnectionId(u32);

/// Which way a packet goes on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// As the packet that opened it.
    Opening,
    /// The other way.
    Reply,
}

impl Way {
    const fn index(self) -> usize {
        self as usize
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Opening => Self::Reply,
            Self::Reply => Self::Opening,
        }
    }
}

/// What a new connection is stamped with, beside its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The opener, if it is a pod we know.
    pub source: Option<EndpointId>,
    /// Whom it wants, if that is a pod we know.
    pub target: Option<EndpointId>,
    /// The epoch under which it was allowed.
    pub epoch: Epoch,
    /// Whom it counts for.
    pub holder: Holder,
    /// What [`Connections::opens`] says of its first packet.
    pub state: State,
}

/// What the worker asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key of the packet that opened it: by this it is judged again.
    pub opening: FlowKey,
    /// The opener when it was opened.
    pub source: Option<EndpointId>,
    /// The other end when it was opened.
    pub target: Option<EndpointId>,
    /// The epoch under which it was last judged.
    pub epoch: Epoch,
    /// How it was judged then.
    pub allowed: bool,
    /// The worker that translates it at the opener's port, where that asked a Service.
    pub translator: Option<WorkerId>,
}

/// One worker's connections.
#[derive(Debug)]
pub struct Connections {
    settings: Settings,
    seed: Seed,
    timeouts: Timeouts,
    /// The same by state.
    timeouts_ms: [u64; CONNECTION_STATES_MAX],
    index: Index,
    slab: Slab,
    wheel: Wheel,
    shares: Shares,
    rounds: Rounds,
    evicted: u64,
    counts: [u64; CONNECTION_STATES_MAX],
    /// The latest tick we were told.
    now: Tick,
}

impl Connections {
    /// An empty table. All memory it will ever have is taken, and written to, here.
    ///
    /// # Panics
    ///
    /// If the capacity is 0 or above [`CAPACITY_MAX`].
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self::of(settings, Slab::new(settings.records()))
    }

    /// The same with these records, all of them free.
    fn of(settings: &Settings, slab: Slab) -> Self {
        let (records, capacity) = (settings.capacity, settings.records());
        Self {
            settings: *settings,
            seed: Seed::new(settings.seed),
            timeouts: settings.timeouts,
            timeouts_ms: settings.timeouts.by_state(),
            index: Index::new(records),
            slab,
            wheel: Wheel::new(),
            shares: Shares::new(capacity, settings.bounds),
            rounds: Rounds::default(),
            evicted: 0,
            counts: [0; CONNECTION_STATES_MAX],
            now: Tick(0),
        }
    }

    /// Hashes a key: the same for both directions.
    #[must_use]
    pub fn hash(&self, key: &FlowKey) -> Hash {
        self.seed.hash(key)
    }

    /// Where the connection of a key may be: the same for both directions.
    // Called for fragments too, which is not to cost whole packets a call.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    #[must_use]
    pub fn spot(&self, key: &FlowKey) -> Spot {
        self.index.spot(self.seed.hash(key))
    }

    /// First stage of a batch: asks for the buckets.
    #[inline]
    pub fn prefetch(&self, spot: Spot) {
        self.index.prefetch(spot);
    }

    /// Second stage of a batch, when the buckets are there: asks for the record that it is nearly
    /// always, and says which. What is not there is nobody's.
    #[inline]
    #[must_use]
    pub fn prefetch_record(&self, spot: Spot) -> ConnectionId {
        let likely = self.index.search(spot, Some).unwrap_or(slab::NONE);
        self.slab.prefetch(likely);
        ConnectionId(likely)
    }

    /// The connection that a packet belongs to, and which way the packet goes.
    ///
    /// `None` for ICMP errors and link-local messages: they belong to none.
    #[inline]
    #[must_use]
    pub fn find(&self, headers: &Headers, spot: Spot) -> Option<(ConnectionId, Way)> {
        self.index.search(spot, |id| self.is_of(id, headers))
    }

    /// The same, where the second stage has said which record it is nearly always: a record in use
    /// says itself what it is of, whatever became of the index since, and the index need not be
    /// searched again.
    #[inline]
    #[must_use]
    pub fn find_likely(
        &self,
        headers: &Headers,
        spot: Spot,
        likely: ConnectionId,
    ) -> Option<(ConnectionId, Way)> {
        self.is_of(likely.0, headers).or_else(|| self.find(headers, spot))
    }

    #[inline]
    fn is_of(&self, id: u32, headers: &Headers) -> Option<(ConnectionId, Way)> {
        let entry = self.slab.entry(id)?;
        let way = entry.way_of(&headers.key)?;
        belongs(headers, entry.state, way).then_some((ConnectionId(id), way))
    }

    /// The connection of a packet that an ICMP error quotes, and which way that packet went.
    #[must_use]
    pub fn find_quoted(&self, inner: &FlowKey, spot: Spot) -> Option<(ConnectionId, Way)> {
        self.index.search(spot, |id| {
            let way = self.slab.entry(id)?.way_of(inner)?;
            Some((ConnectionId(id), way))
        })
    }

    /// The state of the connection that a packet begins, if it may begin one: a SYN alone, an echo
    /// request, an SCTP INIT, any UDP or portless packet.
    #[inline]
    #[must_use]
    pub fn opens(kind: &Kind) -> Option<State> {
        State::opened_by(kind)
    }

    /// What there is to know for judging. A denied one if the id is stale.
    #[inline]
    #[must_use]
    pub fn record(&self, id: ConnectionId) -> Record {
        let entry = self.slab.entry(id.0).unwrap_or(&Entry::BLANK);
        Record {
            opening: entry.opening(),
            source: entry.source(),
            target: entry.target(),
            epoch: entry.epoch,
            allowed: entry.is_allowed(),
            translator: entry.translator(),
        }
    }

    /// What the connection has come to.
    #[inline]
    #[must_use]
    pub fn state(&self, id: ConnectionId) -> State {
        self.slab.live(id.0).map_or(State::Closed, |entry| entry.state)
    }

    /// Whether an opening packet that finds this connection is the beginning of another one: the
    /// worker then [renews](Self::renew) it and goes on as if nothing had been found.
    #[inline]
    #[must_use]
    pub fn is_over(&self, id: ConnectionId) -> bool {
        self.state(id).is_over()
    }

    /// Takes in a packet of the connection that passes. Not for denied packets: they neither
    /// prolong nor change anything.
    #[inline]
    pub fn touch(&mut self, id: ConnectionId, way: Way, headers: &Headers, now: Tick) {
        let Some(entry) = self.slab.live_mut(id.0) else { return };
        let before = entry.state;
        let (after, is_alive) = step(entry, way, &headers.kind);
        if is_alive {
            entry.seen = now;
        }
        if after != before {
            self.change(id.0, before, after);
        }
    }

    /// How long each state lasts in silence.
    #[must_use]
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// How long a state lasts in silence.
    #[inline]
    fn timeout_ms(&self, state: State) -> u64 {
        self.timeouts_ms.get(state.index()).copied().unwrap_or(0)
    }

    /// Connections by state, in the order of [`State::ALL`].
    #[must_use]
    pub fn counts(&self) -> &[u64; CONNECTION_STATES_MAX] {
        &self.counts
    }
}

/// Whether a packet with the right key goes with a connection in this state: see "whom a packet
/// belongs to".
#[inline]
fn belongs(headers: &Headers, state: State, way: Way) -> bool {
    match headers.kind {
        // A later fragment has the flow of its first, which was judged by what it is.
        Kind::Tcp(_) | Kind::Udp | Kind::Sctp { .. } | Kind::Rest => true,
        Kind::Echo { reply } => {
            matches!(state, State::IcmpUnreplied | State::IcmpReplied)
                && reply == (way == Way::Reply)
        }
        Kind::Portless => {
            matches!(state, State::OtherUnreplied | State::OtherReplied)
                && (!headers.key.protocol.has_messages() || way == Way::Opening)
        }
        Kind::IcmpError { .. } | Kind::Neighbour(_) | Kind::LinkOnly => false,
    }
}

/// What a packet makes of its connection: the state, and whether it shows the connection alive.
#[inline]
fn step(entry: &mut Entry, way: Way, kind: &Kind) -> (State, bool) {
    match (entry.state, way, kind) {
        // It says nothing of itself.
        (state, _, Kind::Rest) => (state, !state.is_over()),
        (state, _, Kind::Tcp(header)) => {
            let step = tcp::step(state, &mut entry.track, way, header);
            (step.state, step.is_alive)
        }
        (state, _, &Kind::Sctp { first_chunk, verification_tag }) => {
            let mut tags = entry.track.tags();
            let after = sctp::step(state, &mut tags, way, first_chunk, verification_tag);
            entry.track.set_tags(tags);
            (after, !state.is_over())
        }
        (State::UdpUnreplied, Way::Reply, _) => (State::UdpStream, true),
        (State::IcmpUnreplied, Way::Reply, _) => (State::IcmpReplied, true),
        (State::OtherUnreplied, Way::Reply, _) => (State::OtherReplied, true),
        (state, ..) => (state, true),
    }
}
