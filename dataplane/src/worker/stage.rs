//! Packets between admission and judgement, a batch at a time. Hot path.
//!
//! A batch is admitted as a whole before its first connection is looked up. Each packet is read
//! into a place of its own and judged there: what is known of it is some 200 bytes, and moving
//! those costs more than finding them out.

use super::Path;
use super::admit::{Admitted, Turned, admit};
use super::route::Entrance;
use crate::connection::{ConnectionId, Spot};
use crate::counters::DropReason;
use crate::frame::{Frame, Memory};
use crate::limits::BATCH_MAX;
use crate::packet::FlowKey;
use crate::packet::parse::Kind;
use crate::port::Port;
use crate::publish::Snapshot;

/// The places of one batch.
#[derive(Debug)]
pub(super) struct Stage {
    places: Box<[Place]>,
    /// The first places, which hold a packet each.
    count: usize,
}

/// A packet that waits to be judged, or room for one.
#[derive(Debug)]
struct Place {
    /// Taken when the packet is judged.
    frame: Option<Frame>,
    packet: Admitted,
    spot: Spot,
    /// Which record it is nearly always.
    likely: ConnectionId,
}

impl Place {
    fn of(frame: Option<Frame>, packet: Admitted, spot: Spot) -> Self {
        Self { frame, packet, spot, likely: ConnectionId::default() }
    }
}

impl Default for Stage {
    fn default() -> Self {
        let place = || Place::of(None, Admitted::BLANK, Spot::default());
        Self { places: (0..BATCH_MAX).map(|_| place()).collect(), count: 0 }
    }
}

impl Stage {
    /// Where that was read which was not staged.
    pub(super) fn unstaged(&mut self) -> Option<&mut Admitted> {
        self.places.get_mut(self.count).map(|place| &mut place.packet)
    }

    /// What was read last, of a packet that was not staged.
    pub(super) fn take_unstaged(&mut self) -> Admitted {
        let place = self.places.get_mut(self.count);
        place.map_or(Admitted::BLANK, |place| std::mem::replace(&mut place.packet, Admitted::BLANK))
    }

    /// Stages a packet that was read elsewhere.
    ///
    /// # Errors
    /// There is no room: the frame comes back.
    pub(super) fn put(&mut self, frame: Frame, packet: Admitted, spot: Spot) -> Result<(), Frame> {
        let Some(place) = self.places.get_mut(self.count) else { return Err(frame) };
        *place = Place::of(Some(frame), packet, spot);
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}

/// The flow by which a packet's connection is found.
#[inline]
fn asked_by<'h>(kind: &'h Kind, key: &'h FlowKey) -> &'h FlowKey {
    if let Kind::IcmpError { inner } = kind { inner } else { key }
}

impl<P: Port, M: Memory> Path<P, M> {
    /// Reads one packet; what is not to be judged here ends here.
    #[inline]
    pub(super) fn stage(
        &mut self,
        frame: Frame,
        entrance: Entrance,
        snapshot: Option<&Snapshot>,
        staged: &mut Stage,
    ) {
        let from = entrance.from;
        let Some(snapshot) = snapshot else {
            return self.drop_from(frame, from, DropReason::Unsynced);
        };
        // Judged after each batch, so there is always room.
        let Some(place) = staged.places.get_mut(staged.count) else {
            return self.drop_from(frame, from, DropReason::NoFrame);
        };
        let packet = &mut place.packet;
        match admit(&snapshot.endpoints, self.id, entrance, self.memory.bytes(&frame), packet) {
            Ok(()) if packet.route.owner == self.id => {
                let spot =
                    self.connections.spot(asked_by(&packet.headers.kind, &packet.headers.key));
                self.connections.prefetch(spot);
                place.spot = spot;
                place.frame = Some(frame);
                staged.count = staged.count.wrapping_add(1);
            }
            // A packet crosses at most once: if the owner is a third worker, the snapshots of
            // the two differ for a moment, and the sender will try again.
            Ok(()) if from.worker == self.id => self.hand_over(frame, packet),
            Ok(()) => self.drop_from(frame, from, DropReason::PortGone),
            Err(Turned::Dropped(reason)) => self.drop_from(frame, from, reason),
            Err(Turned::Fragment) => self.take_fragment(frame, entrance, snapshot, staged),
            Err(Turned::Service) => self.stage_for_service(frame, entrance, snapshot, staged),
            Err(turned) => self.answer(frame, from, &turned, &packet.headers),
        }
    }

    /// Stages a packet that this worker owns and that was read before.
    pub(super) fn stage_read(&mut self, frame: Frame, packet: Admitted, staged: &mut Stage) {
        let from = packet.route.from;
        let spot = self.connections.spot(asked_by(&packet.headers.kind, &packet.headers.key));
        self.connections.prefetch(spot);
        if let Err(frame) = staged.put(frame, packet, spot) {
            self.drop_from(frame, from, DropReason::NoFrame);
        }
    }

    /// Judges what was staged, and sends it on.
    #[inline]
    pub(super) fn judge_staged(&mut self, snapshot: Option<&Snapshot>, staged: &mut Stage) {
        let Some(snapshot) = snapshot else { return };
        for place in staged.places.iter_mut().take(staged.count) {
            place.likely = self.connections.prefetch_record(place.spot);
        }
        for Place { frame, packet, spot, likely } in staged.places.iter_mut().take(staged.count) {
            let Some(frame) = frame.take() else { continue };
            match self.judge(snapshot, packet, (*spot, *likely)) {
                Ok(None) => self.forward(frame, packet),
                Ok(Some(worker)) => self.forward_back(frame, packet, worker, snapshot),
                Err(reason) => self.refuse(frame, packet, reason),
            }
        }
        staged.count = 0;
    }
}
