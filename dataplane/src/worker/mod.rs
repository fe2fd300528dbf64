//! A worker: one core, its ports, its connections. Hot path.
//!
//! [`Worker::turn`] is the whole packet path, in order:
//!
//! ```text
//!   commands, snapshot ─> parcels from other workers ─> each port: receive
//!        ─> admit (parse, source, route) ─> hand off | judge (connection, policy) ─> rewrite
//!        ─> send | answer | drop, and tell ─> flush, reclaim, fill, expire
//! ```
//!
//! Invariants, asserted after every turn in debug builds:
//! - every frame of the worker is in exactly one place (`FramePool::census`), and none in hand;
//! - `received + handed_in + originated == sent + answered + handed_out + Σ dropped + held`;
//! - one turn judges under one snapshot.
//!
//! A batch is admitted whole first, so that its connections' buckets are on their way meanwhile.

mod admit;
mod adopt;
mod choose;
mod client;
mod forward;
mod fragments;
mod judge;
mod link;
pub mod mailbox;
mod meet;
mod pick_up;
mod route;
mod stage;
mod tell;
mod translate;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::clock::Tick;
use crate::connection::Connections;
use crate::connection::fragment::{Flow, Fragments};
use crate::connection::translation::Translations;
use crate::counters::{Counters, DropReason};
use crate::event::{Events, Sampler};
use crate::frame::{Batch, Closed, Frame, FramePool, Memory};
use crate::handoff::{Ends, Errand, Inbound, Outbound};
use crate::ids::{PortRef, PortSlot, WorkerId};
use crate::limits::{COMMANDS_PER_TURN, PARCELS_PER_PAIR, PORTS_MAX};
use crate::port::Port;
use crate::publish::{Snapshot, Subscriber};
use crate::service::affinity::Affinities;

use fragments::FragmentRate;
use mailbox::{Attached, Command, Mailbox, Reply};
use pick_up::AfterRestart;
use route::{Asked, Entrance};
use stage::Stage;
pub use tell::Denial;

/// What a policy change does to connections that it no longer allows (NP-57).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Established {
    /// They are judged again on their next packet, and cut.
    #[default]
    Recheck,
    /// They live on until they end by themselves.
    Keep,
}

/// What a worker is made of; see [`Worker::new`].
#[derive(Debug)]
pub struct Parts<P, M> {
    /// Its name.
    pub id: WorkerId,
    /// Packet memory.
    pub memory: M,
    /// The frames of that memory, all of them free.
    pub pool: FramePool,
    /// Rings to and from the other workers.
    pub ends: Ends,
    /// Its connections.
    pub connections: Connections,
    /// What it knows of those to Services.
    pub translations: Translations,
    /// Where snapshots arrive.
    pub subscriber: Subscriber,
    /// Where commands arrive.
    pub mailbox: Arc<Mailbox<P>>,
    /// Its cells.
    pub counters: Arc<Counters>,
    /// Where samples of packets go.
    pub events: Arc<Events>,
    /// What a policy change does to established connections.
    pub established: Established,
    /// What the sender of a denied packet hears.
    pub denial: Denial,
}

/// One core's share of the switch.
#[derive(Debug)]
pub struct Worker<P, M> {
    subscriber: Subscriber,
    mailbox: Arc<Mailbox<P>>,
    /// A reply that found no room: no command is taken before it is gone.
    unsent: Option<Reply<P>>,
    /// A closed slot whose frames are being taken home, and how far that is.
    homing: Option<Closed>,
    batch: Batch,
    staged: Stage,
    path: Path<P, M>,
}

/// What the packet path writes: everything but the snapshot it reads.
#[derive(Debug)]
struct Path<P, M> {
    id: WorkerId,
    memory: M,
    pool: FramePool,
    slots: Vec<Option<Box<Attached<P>>>>,
    active: Vec<PortSlot>,
    ends: Ends,
    connections: Connections,
    translations: Translations,
    affinities: Affinities,
    fragments: Fragments,
    /// Why the packet was refused that was refused last.
    refused: Option<DropReason>,
    counters: Arc<Counters>,
    events: Arc<Events>,
    sampler: Sampler,
    allowances: tell::Allowances,
    fragment_rate: FragmentRate,
    established: Established,
    denial: Denial,
    after_restart: AfterRestart,
    now: Tick,
}

impl<P: Port, M: Memory> Worker<P, M> {
    /// A worker without ports. All memory that it will ever use is made here.
    #[must_use]
    pub fn new(parts: Parts<P, M>) -> Self {
        let path = Path {
            id: parts.id,
            memory: parts.memory,
            pool: parts.pool,
            slots: (0..PORTS_MAX).map(|_| None).collect(),
            active: Vec::with_capacity(PORTS_MAX),
            allowances: tell::Allowances::new(),
            fragment_rate: FragmentRate::new(),
            ends: parts.ends,
            fragments: Fragments::new(parts.connections.timeouts().fragments_ms),
            refused: None,
            translations: parts.translations,
            affinities: Affinities::new(parts.connections.settings().seed),
            connections: parts.connections,
            counters: parts.counters,
            events: parts.events,
            sampler: Sampler::default(),
            established: parts.established,
            denial: parts.denial,
            after_restart: AfterRestart::default(),
            now: Tick(0),
        };
        Self {
            subscriber: parts.subscriber,
            mailbox: parts.mailbox,
            unsent: None,
            homing: None,
            batch: Batch::new(),
            staged: Stage::default(),
            path,
        }
    }

    /// One bounded round of work; says how many packets it moved.
    ///
    /// Time comes in as an argument so that tests own the clock.
    // Kept apart in the machine code: `scripts/panics` walks from here.
    #[inline(never)]
    pub fn turn(&mut self, now: Tick) -> usize {
        self.path.now = now;
        self.path.sampler.begin_turn();
        self.take_commands();
        self.subscriber.refresh();
        let snapshot = self.subscriber.current();
        let mut moved = 0_usize;
        for peer in 0..self.path.ends.inbound.len() {
            let taken = self.path.take_parcels(peer, snapshot, &mut self.staged);
            moved = moved.saturating_add(taken);
        }
        for at in 0..self.path.active.len() {
            let received = self.path.receive(at, snapshot, &mut self.batch, &mut self.staged);
            moved = moved.saturating_add(received);
        }
        self.path.tidy_up(snapshot);
        self.path.count_turn(moved);
        self.assert_laws();
        moved
    }

    /// Whether work waits that a sleeping worker would be late for.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let Ends { inbound, outbound } = &self.path.ends;
        let parcels = inbound.iter().flatten().any(Inbound::has_parcel)
            || outbound.iter().flatten().any(Outbound::has_open);
        parcels || !self.mailbox.commands.is_empty() || self.subscriber.has_newer()
    }

    /// The sockets of its ports, to sleep on.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>>
    where
        P: AsFd,
    {
        self.path.slots.iter().flatten().map(|attached| attached.port.as_fd())
    }

    /// The packet memory: the far ends of ports in memory write and read there.
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.path.memory
    }

    /// The frames, for tests that check the laws from outside.
    #[must_use]
    pub fn pool(&self) -> &FramePool {
        &self.path.pool
    }

    /// The connections, for tests that check the laws from outside.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.path.connections
    }

    /// The translations, for tests that check the laws from outside.
    #[must_use]
    pub fn translations(&self) -> &Translations {
        &self.path.translations
    }

    fn take_commands(&mut self) {
        if let Some(mut closed) = self.homing.take() {
            self.path.pool.bring_home(&mut closed);
            if !self.path.pool.is_home(&closed) {
                self.homing = Some(closed);
                return;
            }
            self.reply(Reply::Home(closed.slot()));
        }
        for _ in 0..COMMANDS_PER_TURN {
            if let Some(reply) = self.unsent.take() {
                self.reply(reply);
            }
            if self.unsent.is_some() || self.homing.is_some() {
                return;
            }
            let Some(command) = self.mailbox.commands.pop() else { return };
            self.obey(command);
        }
    }

    #[cold]
    fn obey(&mut self, command: Command<P>) {
        match command {
            Command::Add(attached) => self.path.add(attached),
            Command::Remove(slot) => {
                let removed = self.path.remove(slot);
                self.reply(removed.map_or_else(|| Reply::NotThere(slot), Reply::Removed));
            }
            Command::Closed(closed) => self.homing = Some(closed),
            Command::Copy(mut page, cursor, asked) => {
                let next = self.path.connections.page(cursor, &mut page);
                self.reply(Reply::Page(page, next, asked));
            }
            Command::PickUp(until) => self.path.after_restart.picks_up_until = until,
            Command::Adopt(mut page) => {
                self.adopt(&mut page);
                self.reply(Reply::Adopted(page));
            }
        }
    }

    #[inline(never)] // the walk for panics knows by its name that nothing is dropped here
    fn reply(&mut self, reply: Reply<P>) {
        self.unsent = self.mailbox.replies.push(reply).err();
    }

    #[inline]
    fn assert_laws(&self) {
        if cfg!(debug_assertions) {
            let frames = self.path.pool.census();
            debug_assert_eq!(frames.hand, 0, "a frame outlived its turn");
            debug_assert_eq!(frames.total(), self.path.pool.frames(), "a frame was lost");
            let c = &self.path.counters;
            let came = c.received.load() + c.handed_in.load() + c.originated.load();
            let went = c.sent.load() + c.answered.load() + c.handed_out.load();
            debug_assert_eq!(came, went + c.dropped_total() + c.held.load(), "a packet was lost");
        }
    }
}

impl<P: Port, M: Memory> Path<P, M> {
    /// Takes at most one batch from one port through to its end.
    #[inline]
    fn receive(
        &mut self,
        at: usize,
        snapshot: Option<&Snapshot>,
        batch: &mut Batch,
        staged: &mut Stage,
    ) -> usize {
        let Some(&slot) = self.active.get(at) else { return 0 };
        let Some(Some(attached)) = self.slots.get_mut(slot.index()) else { return 0 };
        let received = attached.port.receive(&mut self.pool, batch);
        if received == 0 {
            return 0;
        }
        let entrance = Entrance { from: attached.at, kind: attached.kind, asked: Asked::Plain };
        // Another core wrote the packets, so each header is a cache miss: all at once, not one by
        // one (measured on veth: a twentieth of the worker's time).
        for frame in batch.iter() {
            crate::prefetch::touch(self.memory.bytes(frame));
        }
        let mut bytes = 0_u64;
        for frame in batch.drain() {
            bytes = bytes.saturating_add(u64::from(frame.length()));
            self.stage(frame, entrance, snapshot, staged);
        }
        if let Some(Some(attached)) = self.slots.get(slot.index()) {
            attached.counters.received_packets.add(received as u64);
            attached.counters.received_bytes.add(bytes);
        }
        self.counters.received.add(received as u64);
        self.counters.batch(received);
        self.judge_staged(snapshot, staged);
        received
    }

    /// Takes what one other worker has handed over, at most one parcel.
    #[inline]
    fn take_parcels(
        &mut self,
        peer: usize,
        snapshot: Option<&Snapshot>,
        staged: &mut Stage,
    ) -> usize {
        const _: () = assert!(PARCELS_PER_PAIR >= 2, "one on its way, one being filled");
        let Some(parcel) = self.ends.inbound.get(peer).and_then(|end| end.as_ref()?.take()) else {
            return 0;
        };
        let taken = parcel.len();
        self.counters.handed_in.add(taken as u64);
        for (errand, packet) in parcel.packets() {
            let Some(frame) = self.copy_in(packet) else {
                self.counters.dropped(DropReason::NoFrame).add(1);
                continue;
            };
            match errand {
                Errand::Judge { from, translated } => {
                    let asked = if translated { Asked::Translated } else { Asked::Plain };
                    let kind = Self::kind_of(snapshot, from);
                    self.stage(frame, Entrance { from, kind, asked }, snapshot, staged);
                }
                Errand::Send { to, back } => self.send_judged(frame, to, back),
            }
        }
        if let Some(Some(end)) = self.ends.inbound.get(peer) {
            end.give_back(parcel);
        }
        self.judge_staged(snapshot, staged);
        taken
    }

    /// Sends what its owner has judged.
    #[inline]
    fn send_judged(&mut self, mut frame: Frame, to: PortRef, back: Option<Flow>) {
        if let Some(flow) = back
            && let Err(reason) = self.put_back_unread(&mut frame, flow)
        {
            return self.drop_frame(frame, reason);
        }
        match self.send_here(frame, to) {
            Ok(()) => self.counters.sent.add(1),
            Err((reason, frame)) => self.drop_frame(frame, reason),
        }
    }

    #[inline]
    fn count_turn(&mut self, moved: usize) {
        self.counters.turns.add(1);
        if moved > 0 {
            self.counters.turns_busy.add(1);
        }
        self.counters.held.set(self.fragments.held());
        self.counters.evicted.set(self.connections.evicted());
        self.counters.translations.set(self.translations.len() as u64);
        for (cell, &count) in self.counters.connections.iter().zip(self.connections.counts()) {
            cell.set(count);
        }
    }
}
