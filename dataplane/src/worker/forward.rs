//! After a packet is judged: rewritten and sent, answered, or dropped; and the end of a turn.
//! Hot path.

use super::Path;
use super::admit::{Admitted, Turned};
use super::mailbox::{Attached, PortKind};
use super::route::{Asked, Checksums};
use super::tell::Denial;
use crate::connection::fragment::Flow;
use crate::counters::DropReason;
use crate::frame::{Frame, Memory};
use crate::handoff::Errand;
use crate::ids::{PortRef, PortSlot};
use crate::packet::Headers;
use crate::packet::answer::{self, GATEWAY_MAC};
use crate::packet::rewrite;
use crate::port::{CREDIT_MIN, FILLS_PER_TURN, Port, fair_credit};
use crate::publish::Snapshot;

/// Where a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Into a transmit ring of this worker's.
    Here,
    /// To the worker that polls the port.
    Over,
}

impl<P: Port, M: Memory> Path<P, M> {
    /// Rewrites a permitted packet, or a part of one, and sends it on.
    #[inline]
    pub(super) fn forward(&mut self, mut frame: Frame, packet: &Admitted) {
        self.ready(&mut frame, packet);
        self.send_off(frame, packet.route.exit.to, None, packet.route.from);
    }

    /// Makes a packet as its next hop is to see it.
    // Called for what is for a Service too, which is not to cost other packets a call.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn ready(&mut self, frame: &mut Frame, packet: &Admitted) {
        let bytes = self.memory.bytes_mut(frame);
        rewrite::forward(bytes, &packet.headers, GATEWAY_MAC, packet.route.exit.mac);
        match packet.route.checksums {
            Checksums::Finish => rewrite::finish_checksums(bytes, &packet.headers),
            Checksums::FinishIfUnfinished => {
                rewrite::finish_if_unfinished(bytes, &packet.headers);
            }
            Checksums::Leave => {}
        }
        // Padding of the link ends here.
        frame.set_length(packet.headers.end);
    }

    /// Sends a packet that came in at `from` out of a port; `back` as in [`Errand::Send`].
    // Called for what is for a Service too, which is not to cost other packets a call.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn send_off(
        &mut self,
        frame: Frame,
        to: PortRef,
        back: Option<Flow>,
        from: PortRef,
    ) {
        match self.emit(frame, to, back) {
            Ok(Sent::Here) => self.counters.sent.add(1),
            Ok(Sent::Over) => self.counters.handed_out.add(1),
            Err((reason, frame)) => self.drop_from(frame, from, reason),
        }
    }

    /// Drops a packet that was judged, and tells its sender where the network would.
    pub(super) fn refuse(&mut self, frame: Frame, packet: &Admitted, reason: DropReason) {
        self.refused = Some(reason);
        // Of a datagram in pieces, only the first is worth a word (RFC 1122 §3.2.2).
        let is_told = match reason {
            DropReason::TtlExpired
            | DropReason::TooBig
            | DropReason::NoBackend
            | DropReason::BackendGone
            | DropReason::PortsTaken => true,
            DropReason::EgressDenied | DropReason::IngressDenied => self.denial == Denial::Reject,
            _ => false,
        };
        if is_told && !packet.headers.is_rest() {
            self.tell(&frame, packet, reason);
        }
        let is_unopened = matches!(
            reason,
            DropReason::EgressDenied
                | DropReason::IngressDenied
                | DropReason::ConnectionsLimit
                | DropReason::ConnectionsFull
                | DropReason::PortsTaken
        );
        if is_unopened && packet.route.translator() == Some(self.id) {
            self.translations.take_back(&packet.headers.key);
        }
        self.drop_from(frame, packet.route.from, reason);
    }

    /// Hands a packet to the worker that owns its connection.
    pub(super) fn hand_over(&mut self, frame: Frame, packet: &Admitted) {
        let translated = packet.route.asked == Asked::Translated;
        let errand = Errand::Judge { from: packet.route.from, translated };
        let bytes = self.memory.bytes(&frame);
        let pushed = match self.ends.outbound.get_mut(packet.route.owner.index()) {
            Some(Some(end)) => end.push(errand, bytes),
            _ => Err(DropReason::PortGone),
        };
        match pushed {
            Ok(()) => {
                self.counters.handed_out.add(1);
                self.pool.put(frame);
            }
            Err(reason) => self.drop_from(frame, packet.route.from, reason),
        }
    }

    /// Turns a packet into its own answer and sends it back.
    #[cold]
    pub(super) fn answer(
        &mut self,
        mut frame: Frame,
        from: PortRef,
        turned: &Turned,
        headers: &Headers,
    ) {
        // Packets are answered where they came in: their port is here, or is gone.
        let now = self.now;
        if !self.attached(from).is_some_and(|attached| attached.answers.take(now)) {
            return self.drop_from(frame, from, DropReason::AnswerLimited);
        }
        let bytes = self.memory.bytes_mut(&mut frame);
        let length = match turned {
            Turned::Arp(arp) => Some(answer::arp_reply(bytes, arp, GATEWAY_MAC)),
            Turned::Solicitation => answer::neighbour_advertisement(
                self.memory.room_mut(&mut frame),
                headers,
                GATEWAY_MAC,
            ),
            Turned::Echo => answer::echo_reply(bytes, headers, GATEWAY_MAC),
            Turned::Dropped(reason) => return self.drop_from(frame, from, *reason),
            Turned::Fragment => return self.drop_from(frame, from, DropReason::Fragment),
            Turned::Service => return self.drop_from(frame, from, DropReason::NoBackend),
        };
        let Some(length) = length.and_then(|length| u16::try_from(length).ok()) else {
            // An echo that is none is a timestamp request: the switch knows no time of day.
            let reason = match turned {
                Turned::Echo => DropReason::NotForUs,
                _ => DropReason::Malformed,
            };
            return self.drop_from(frame, from, reason);
        };
        frame.set_length(length);
        match self.send_here(frame, from) {
            Ok(()) => self.counters.answered.add(1),
            Err((reason, frame)) => self.drop_from(frame, from, reason),
        }
    }

    /// Sends out of a port, here or with the worker that polls it; `back` as in [`Errand::Send`].
    #[inline]
    pub(super) fn emit(
        &mut self,
        frame: Frame,
        to: PortRef,
        back: Option<Flow>,
    ) -> Result<Sent, (DropReason, Frame)> {
        if to.worker == self.id {
            self.send_here(frame, to).map(|()| Sent::Here)
        } else {
            self.send_over(frame, to, back).map(|()| Sent::Over)
        }
    }

    /// Copies a frame for the worker that polls its port.
    #[inline(never)]
    fn send_over(
        &mut self,
        frame: Frame,
        to: PortRef,
        back: Option<Flow>,
    ) -> Result<(), (DropReason, Frame)> {
        let bytes = self.memory.bytes(&frame);
        let pushed = match self.ends.outbound.get_mut(to.worker.index()) {
            Some(Some(end)) => end.push(Errand::Send { to, back }, bytes),
            _ => Err(DropReason::PortGone),
        };
        match pushed {
            Ok(()) => {
                self.pool.put(frame);
                Ok(())
            }
            Err(reason) => Err((reason, frame)),
        }
    }

    /// Gives a frame to one of this worker's ports.
    #[inline]
    pub(super) fn send_here(
        &mut self,
        frame: Frame,
        to: PortRef,
    ) -> Result<(), (DropReason, Frame)> {
        let Some(Some(attached)) = self.slots.get_mut(to.slot.index()) else {
            return Err((DropReason::PortGone, frame));
        };
        if attached.at.port != to.port {
            return Err((DropReason::PortGone, frame));
        }
        let bytes = u64::from(frame.length());
        match attached.port.send(&mut self.pool, frame) {
            Ok(()) => {
                attached.counters.sent_packets.add(1);
                attached.counters.sent_bytes.add(bytes);
                Ok(())
            }
            Err(frame) => Err((DropReason::SendFull, frame)),
        }
    }

    /// Drops a packet that came in at `from`.
    #[inline]
    pub(super) fn drop_from(&mut self, frame: Frame, from: PortRef, reason: DropReason) {
        if let Some(attached) = self.attached(from) {
            attached.counters.dropped_packets.add(1);
        }
        self.drop_frame(frame, reason);
    }

    /// Drops a packet.
    #[inline]
    pub(super) fn drop_frame(&mut self, frame: Frame, reason: DropReason) {
        self.counters.dropped(reason).add(1);
        self.pool.put(frame);
    }

    /// Copies a packet of another worker into a frame of ours.
    #[inline]
    pub(super) fn copy_in(&mut self, packet: &[u8]) -> Option<Frame> {
        let length = u16::try_from(packet.len()).ok()?;
        let mut frame = self.pool.take()?;
        let Some(room) = self.memory.room_mut(&mut frame).get_mut(..packet.len()) else {
            self.pool.put(frame);
            return None;
        };
        room.copy_from_slice(packet);
        frame.set_length(length);
        Some(frame)
    }

    /// What hangs on a port, here or with another worker.
    #[inline]
    pub(super) fn kind_of(snapshot: Option<&Snapshot>, from: PortRef) -> PortKind {
        let is_host = snapshot.is_some_and(|snapshot| snapshot.endpoints.is_host(from.port));
        if is_host { PortKind::Host } else { PortKind::Pod }
    }

    /// The end of a turn: parcels leave, rings are flushed, emptied and filled, time passes.
    #[inline]
    pub(super) fn tidy_up(&mut self, snapshot: Option<&Snapshot>) {
        for end in self.ends.outbound.iter_mut().flatten() {
            end.flush();
        }
        for slot in &self.active {
            if let Some(Some(attached)) = self.slots.get_mut(slot.index()) {
                attached.port.flush();
                attached.port.reclaim(&mut self.pool);
                for _ in 0..FILLS_PER_TURN {
                    attached.port.fill(&mut self.pool);
                }
            }
        }
        self.connections.expire(self.now);
        let endpoints = snapshot.map(|snapshot| &snapshot.endpoints);
        if let Some(endpoints) = endpoints {
            self.connections.settle(self.now, |seat| endpoints.occupant(seat));
        }
        let occupant = endpoints.map(|endpoints| |seat| endpoints.occupant(seat));
        self.translations.expire(self.now, occupant);
        self.fragments.expire(self.now);
        self.drop_doomed();
    }

    /// Begins to poll a port.
    pub(super) fn add(&mut self, attached: Box<Attached<P>>) {
        let slot = attached.at.slot;
        if let Some(place) = self.slots.get_mut(slot.index()) {
            debug_assert!(place.is_none(), "control uses a slot again before it is home");
            *place = Some(attached);
            self.active.push(slot);
        }
        self.share_frames();
    }

    /// Stops polling a port.
    pub(super) fn remove(&mut self, slot: PortSlot) -> Option<Box<Attached<P>>> {
        let mut attached = self.slots.get_mut(slot.index())?.take()?;
        self.active.retain(|&other| other != slot);
        attached.port.flush();
        self.share_frames();
        Some(attached)
    }

    /// Gives every port its share of the frames, now that there are more or fewer ports.
    fn share_frames(&mut self) {
        let ports = u32::try_from(self.active.len()).unwrap_or(u32::MAX);
        // Control adds no port that leaves less than the least credit for each.
        let credit = fair_credit(self.pool.frames(), ports).unwrap_or(CREDIT_MIN);
        for slot in &self.active {
            if let Some(Some(attached)) = self.slots.get_mut(slot.index()) {
                attached.port.set_credit(credit);
            }
        }
    }

    #[inline]
    pub(super) fn attached(&mut self, at: PortRef) -> Option<&mut Attached<P>> {
        let attached = self.slots.get_mut(at.slot.index())?.as_deref_mut()?;
        (at.worker == self.id && attached.at.port == at.port).then_some(attached)
    }
}
