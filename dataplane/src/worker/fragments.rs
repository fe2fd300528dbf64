//! Fragments on their way through the worker: kept, judged, let go. Hot path.
//!
//! What is remembered of them, and why, stands in `connection::fragment`. They are turned aside
//! before whole packets are staged, and judged in batches of one, so that whole packets do not pay
//! for them.

use super::Path;
use super::admit::{Admitted, Turned, admit_fragment, route_fragment};
use super::client::to_asker;
use super::route::{Asked, Checksums, Entrance, Route};
use super::stage::Stage;
use crate::clock::Tick;
use crate::connection::Holder;
use crate::connection::fragment::{Flow, Fragments, Ticket, Verdict, WAITING_MAX, Waited};
use crate::counters::DropReason;
use crate::fair::{Fair, Had};
use crate::frame::{Frame, Memory};
use crate::ids::PortRef;
use crate::limits::FRAGMENTS_PER_MS;
use crate::packet::parse::Fragment;
use crate::port::Port;
use crate::publish::Snapshot;
use crate::seat::Seat;
use crate::service::own::is_asking;

/// How many fragments are looked at in a millisecond, in parts for those whose they are: as
/// connections, they count for a pod here. Each costs as much as two or three whole packets.
#[derive(Debug)]
pub(super) struct FragmentRate {
    rate: Fair,
    /// By seat.
    had: Box<[Had]>,
}

impl FragmentRate {
    pub(super) fn new() -> Self {
        let rate = Fair::new(FRAGMENTS_PER_MS);
        Self { rate, had: Seat::all().map(|_| Had::NOTHING).collect() }
    }

    fn take(&mut self, holder: Holder, now: Tick) -> bool {
        let had = self.had.get_mut(holder.seat.index());
        had.is_some_and(|had| self.rate.take(had, holder.opens, now))
    }
}

impl<P: Port, M: Memory> Path<P, M> {
    /// Takes in the fragment that was read last, after what was staged before it: it is judged now,
    /// and what waited for it too; or it waits, or is dropped.
    #[cold]
    pub(super) fn take_fragment(
        &mut self,
        frame: Frame,
        entrance: Entrance,
        snapshot: &Snapshot,
        staged: &mut Stage,
    ) {
        let (bytes, from) = (self.memory.bytes(&frame), entrance.from);
        // Read where it lies: most of a flood is not worth a copy.
        let Some(packet) = staged.unstaged() else {
            return self.drop_from(frame, from, DropReason::NoFrame);
        };
        let admitted = admit_fragment(&snapshot.endpoints, self.id, entrance, bytes, packet);
        let fragment = match admitted {
            Ok(fragment) => fragment,
            Err(turned) => return self.turn_aside(frame, from, &turned, packet),
        };
        // What was staged is not judged before its time for what is looked at no further.
        if !self.fragment_rate.take(packet.route.holder(), self.now) {
            return self.drop_from(frame, from, DropReason::FragmentLimit);
        }
        let packet = staged.take_unstaged();
        self.judge_staged(Some(snapshot), staged);
        if packet.route.owner == self.id {
            self.gather(frame, snapshot, packet, &fragment, staged);
            self.judge_ready(snapshot, staged);
        } else {
            self.pass_on(frame, &packet);
        }
        self.drop_doomed();
    }

    /// Takes in a fragment that this worker owns.
    fn gather(
        &mut self,
        frame: Frame,
        snapshot: &Snapshot,
        packet: Admitted,
        fragment: &Fragment,
        staged: &mut Stage,
    ) {
        let (headers, from) = (&packet.headers, packet.route.from);
        let holder = packet.route.holder();
        let hash = self.connections.hash(&Fragments::key(headers, fragment));
        match self.fragments.take_in(headers, fragment, hash, holder, self.now) {
            Verdict::Judge(ticket, flow) => {
                self.judge_part(frame, snapshot, packet, (ticket, flow), staged);
            }
            Verdict::Wait(ticket) => self.keep(ticket, frame, &packet),
            Verdict::Drop(reason) => self.drop_from(frame, from, reason),
        }
    }

    fn keep(&mut self, ticket: Ticket, frame: Frame, packet: &Admitted) {
        self.pool.hold(&frame);
        let translated = packet.route.asked == Asked::Translated;
        let from = packet.route.from;
        let waited = Waited { frame, from, translated, headers: packet.headers };
        if let Err(Waited { frame, from, .. }) = self.fragments.wait(ticket, waited) {
            self.pool.resume(&frame);
            self.drop_from(frame, from, DropReason::FragmentLimit);
        }
    }

    /// Judges what waited for the fragment that has passed now. Its way is found anew: while it
    /// waited, pods may have come and gone.
    fn judge_ready(&mut self, snapshot: &Snapshot, staged: &mut Stage) {
        for _ in 0..WAITING_MAX {
            let Some((waited, ticket)) = self.fragments.take_ready() else { return };
            let Waited { frame, from, translated, headers } = waited;
            self.pool.resume(&frame);
            let kind = Self::kind_of(Some(snapshot), from);
            let asked = if translated { Asked::Translated } else { Asked::Plain };
            let mut packet = Admitted { headers, ..Admitted::BLANK };
            let entrance = Entrance { from, kind, asked };
            let way = route_fragment(&snapshot.endpoints, self.id, entrance, &mut packet);
            match (way, self.fragments.flow(ticket)) {
                (Ok(()), Ok(flow)) if packet.route.owner == self.id => {
                    self.judge_part(frame, snapshot, packet, (ticket, flow), staged);
                }
                (Ok(()), Ok(_)) => self.pass_on(frame, &packet),
                (Ok(()), Err(reason)) => self.drop_from(frame, from, reason),
                (Err(turned), _) => self.turn_aside(frame, from, &turned, &packet),
            }
        }
    }

    /// Judges a fragment under the flow of its datagram: a first one for all of it.
    fn judge_part(
        &mut self,
        mut frame: Frame,
        snapshot: &Snapshot,
        mut packet: Admitted,
        (ticket, flow): (Ticket, Flow),
        staged: &mut Stage,
    ) {
        let is_first = !packet.headers.is_rest();
        if !is_first {
            flow.write(&mut packet.headers.key);
            // Which port of the node it is for, only the first of its datagram says.
            let to_node = packet.route.target.node.is_some();
            if to_node && snapshot.endpoints.is_node_port(&packet.headers.key) {
                packet.route.asked = Asked::Service;
            }
        }
        if packet.route.asked == Asked::Service {
            let translated = self.translate_part(&mut frame, snapshot, &mut packet);
            if translated.is_err() || packet.route.owner != self.id {
                match translated {
                    Ok(()) => self.pass_on(frame, &packet),
                    Err(reason) => self.refuse(frame, &packet, reason),
                }
                return self.fragments.judged(ticket, is_first, translated.err());
            }
        }
        let spot = self.connections.spot(&packet.headers.key);
        let from = packet.route.from;
        self.refused = None;
        match staged.put(frame, packet, spot) {
            Ok(()) => self.judge_staged(Some(snapshot), staged),
            // What was staged before it has been judged, so there is always room.
            Err(frame) => self.drop_from(frame, from, DropReason::NoFrame),
        }
        self.fragments.judged(ticket, is_first, self.refused.take());
    }

    /// Gives a part of a datagram for a Service its backend's address, and one of an answer to the
    /// switch its way.
    fn translate_part(
        &mut self,
        frame: &mut Frame,
        snapshot: &Snapshot,
        packet: &mut Admitted,
    ) -> Result<(), DropReason> {
        let from = packet.route.from;
        let kind = Self::kind_of(Some(snapshot), from);
        let entrance = Entrance { from, kind, asked: Asked::Plain };
        if is_asking(packet.headers.key.target) {
            let route = to_asker(&snapshot.endpoints, entrance, &packet.headers)?;
            packet.route = Route { checksums: Checksums::Leave, ..route };
            return Ok(());
        }
        self.translate(frame, entrance, snapshot, packet)
    }

    /// Gives a packet to the worker that owns it, or that translates it: at most once, for if that
    /// is a third one the snapshots of the two differ for a moment, and the sender will try again.
    pub(super) fn pass_on(&mut self, frame: Frame, packet: &Admitted) {
        let from = packet.route.from;
        if from.worker == self.id {
            self.hand_over(frame, packet);
        } else {
            self.drop_from(frame, from, DropReason::PortGone);
        }
    }

    fn turn_aside(&mut self, frame: Frame, from: PortRef, turned: &Turned, packet: &Admitted) {
        match turned {
            Turned::Dropped(reason) => self.drop_from(frame, from, *reason),
            _ => self.answer(frame, from, turned, &packet.headers),
        }
    }

    /// Drops what waited for nothing.
    pub(super) fn drop_doomed(&mut self) {
        for _ in 0..WAITING_MAX {
            let Some((Waited { frame, from, .. }, reason)) = self.fragments.take_doomed() else {
                return;
            };
            self.pool.resume(&frame);
            self.drop_from(frame, from, reason);
        }
    }
}
