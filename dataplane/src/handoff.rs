//! Packets between workers, and who owns a connection. Hot path.
//!
//! A connection belongs to one worker, so a packet may have to cross: copied into a parcel, at
//! most once (house D3). What comes in by the host port for a Service may cross once before that, to
//! the worker that translates it. Parcels are made at start and circulate: the sender takes an empty one,
//! fills it with a batch, pushes it; the receiver empties it and gives it back. So whole batches
//! touch the atomics, nothing is allocated, and nobody waits: with no empty parcel the packet is
//! dropped as `HandoffFull`.
//!
//! ```text
//!   worker A: Outbound ── full ──> Inbound: worker B
//!                 ^────── empty ──────┘
//! ```

use crate::connection::fragment::Flow;
use crate::counters::DropReason;
use crate::doorbell::Doorbell;
use crate::ids::{PortRef, WorkerId};
use crate::limits::{BATCH_MAX, PARCEL_BYTES, PARCELS_PER_PAIR};
use crate::sync::{Arc, ArrayQueue};

/// The worker that owns the connection between two pod ports: the lower port's.
///
/// Symmetric, and a function of addresses only, so both directions, all fragments and ICMP
/// errors meet at one worker.
#[inline]
#[must_use]
pub fn owner(one: PortRef, other: PortRef) -> WorkerId {
    if one.port <= other.port { one.worker } else { other.worker }
}

/// What the receiver is asked to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// It came in at `from` and has yet to be judged, by the receiver, who owns it; or to be
    /// translated by it, where it came in by the host port for a Service.
    Judge {
        /// The port it came in at.
        from: PortRef,
        /// Whether it was for a Service, and was translated there.
        translated: bool,
    },
    /// It was judged and rewritten by its owner: send it out of `to`.
    Send {
        /// The port it leaves by.
        to: PortRef,
        /// Its flow, where it goes back to who asked a Service there and has yet to be given the
        /// Service's address: a later fragment does not say.
        back: Option<Flow>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Item {
    errand: Errand,
    start: u32,
    length: u16,
}

/// A batch of copied packets on its way.
#[derive(Debug)]
pub struct Parcel {
    items: Vec<Item>,
    bytes: Box<[u8]>,
    used: usize,
}

impl Parcel {
    fn new() -> Self {
        Self {
            items: Vec::with_capacity(BATCH_MAX),
            bytes: vec![0; PARCEL_BYTES].into_boxed_slice(),
            used: 0,
        }
    }

    /// Copies a packet in; false when it does not fit any more.
    #[inline]
    fn push(&mut self, errand: Errand, packet: &[u8]) -> bool {
        let end = self.used.saturating_add(packet.len());
        let (Some(room), Ok(start), Ok(length)) = (
            self.bytes.get_mut(self.used..end),
            u32::try_from(self.used),
            u16::try_from(packet.len()),
        ) else {
            return false;
        };
        if self.items.len() >= BATCH_MAX {
            return false;
        }
        room.copy_from_slice(packet);
        self.used = end;
        self.items.push(Item { errand, start, length }); // within the capacity made in `new`
        true
    }

    fn clear(&mut self) {
        self.items.clear();
        self.used = 0;
    }

    /// How many packets are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The packets, in the order they were copied in.
    pub fn packets(&self) -> impl Iterator<Item = (Errand, &[u8])> {
        self.items.iter().filter_map(|item| {
            let start = item.start as usize;
            let packet = self.bytes.get(start..start.saturating_add(usize::from(item.length)))?;
            Some((item.errand, packet))
        })
    }
}

#[derive(Debug)]
struct Ring {
    full: ArrayQueue<Box<Parcel>>,
    empty: ArrayQueue<Box<Parcel>>,
}

/// The sender's end of the ring to one other worker.
#[derive(Debug)]
pub struct Outbound {
    ring: Arc<Ring>,
    open: Option<Box<Parcel>>,
    bell: Arc<Doorbell>,
}

/// The receiver's end of the ring from one other worker.
#[derive(Debug)]
pub struct Inbound {
    ring: Arc<Ring>,
}

impl Outbound {
    /// Copies one packet for the other worker; it leaves with `flush`.
    ///
    /// # Errors
    /// `HandoffFull` when the other worker has not given any parcel back.
    #[inline]
    pub fn push(&mut self, errand: Errand, packet: &[u8]) -> Result<(), DropReason> {
        if let Some(parcel) = &mut self.open {
            if parcel.push(errand, packet) {
                return Ok(());
            }
            self.close();
        }
        let mut parcel = self.ring.empty.pop().ok_or(DropReason::HandoffFull)?;
        let fits = parcel.push(errand, packet);
        self.open = Some(parcel);
        if fits { Ok(()) } else { Err(DropReason::HandoffFull) }
    }

    /// Sends off what was pushed, once per turn; but a thin parcel waits to be filled while the
    /// other worker is behind. It would not be read earlier, and sixteen packets that come one by
    /// one would use up a ring that holds a thousand.
    #[inline]
    pub fn flush(&mut self) {
        let is_thin = self.open.as_ref().is_some_and(|parcel| parcel.len() < BATCH_MAX);
        let is_behind = self.ring.empty.len() < PARCELS_PER_PAIR / 2;
        if !(is_thin && is_behind) {
            self.close();
        }
    }

    /// Whether a parcel waits to be filled, so that its sender must not sleep.
    #[must_use]
    pub fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// Sends off what was pushed, however little.
    #[inline]
    pub fn close(&mut self) {
        if let Some(parcel) = self.open.take() {
            // There are as many places as parcels, so there is always one.
            let pushed = self.ring.full.push(parcel);
            debug_assert!(pushed.is_ok(), "more parcels than were made");
            self.bell.ring();
        }
    }
}

impl Inbound {
    /// The next parcel, if one has come.
    #[inline]
    #[must_use]
    pub fn take(&self) -> Option<Box<Parcel>> {
        self.ring.full.pop()
    }

    /// Whether a parcel waits.
    #[must_use]
    pub fn has_parcel(&self) -> bool {
        !self.ring.full.is_empty()
    }

    /// Gives an emptied parcel back to its sender.
    #[inline]
    pub fn give_back(&self, mut parcel: Box<Parcel>) {
        parcel.clear();
        let pushed = self.ring.empty.push(parcel);
        debug_assert!(pushed.is_ok(), "a parcel came back twice");
    }
}

/// One worker's ends: index by the other worker's id; its own place is `None`.
#[derive(Debug, Default)]
pub struct Ends {
    /// Rings to the others.
    pub outbound: Vec<Option<Outbound>>,
    /// Rings from the others.
    pub inbound: Vec<Option<Inbound>>,
}

/// Rings between every ordered pair of workers, whose bells are `bells`.
#[must_use]
pub fn connect(bells: &[Arc<Doorbell>]) -> Vec<Ends> {
    let mut ends: Vec<Ends> = bells.iter().map(|_| Ends::default()).collect();
    for from in 0..bells.len() {
        for (to, bell) in bells.iter().enumerate() {
            let (outbound, inbound) = if from == to {
                (None, None)
            } else {
                let (outbound, inbound) = ring(bell);
                (Some(outbound), Some(inbound))
            };
            if let Some(sender) = ends.get_mut(from) {
                sender.outbound.push(outbound);
            }
            if let Some(receiver) = ends.get_mut(to) {
                receiver.inbound.push(inbound);
            }
        }
    }
    ends
}

fn ring(bell: &Arc<Doorbell>) -> (Outbound, Inbound) {
    let ring = Arc::new(Ring {
        full: ArrayQueue::new(PARCELS_PER_PAIR),
        empty: ArrayQueue::new(PARCELS_PER_PAIR),
    });
    for _ in 0..PARCELS_PER_PAIR {
        let pushed = ring.empty.push(Box::new(Parcel::new()));
        debug_assert!(pushed.is_ok());
    }
    let outbound = Outbound { ring: Arc::clone(&ring), open: None, bell: Arc::clone(bell) };
    (outbound, Inbound { ring })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PortId, PortSlot};

    fn port(id: u32, worker: u8) -> PortRef {
        PortRef { port: PortId(id), worker: WorkerId(worker), slot: PortSlot(0) }
    }

    fn pair() -> (Outbound, Inbound) {
        ring(&Arc::new(Doorbell::silent()))
    }

    #[test]
    fn the_owner_is_the_same_from_both_ends() {
        let (a, b) = (port(3, 0), port(7, 1));
        assert_eq!(owner(a, b), WorkerId(0));
        assert_eq!(owner(b, a), WorkerId(0));
    }

    #[test]
    fn packets_arrive_whole_and_in_order() {
        let (mut to, from) = pair();
        for n in 0..200_u8 {
            to.push(Errand::Send { to: port(u32::from(n), 0), back: None }, &[n; 100]).unwrap();
        }
        to.flush();
        let mut next = 0;
        while let Some(parcel) = from.take() {
            for (errand, packet) in parcel.packets() {
                let to = port(u32::from(next), 0);
                assert_eq!(errand, Errand::Send { to, back: None });
                assert_eq!(packet, [next; 100]);
                next += 1;
            }
            from.give_back(parcel);
        }
        assert_eq!(next, 200);
    }

    #[test]
    fn thin_parcels_do_not_use_up_the_ring_of_a_worker_that_is_behind() {
        let (mut to, from) = pair();
        let errand = Errand::Judge { from: port(1, 0), translated: false };
        let room = (PARCELS_PER_PAIR / 2 - 1) * BATCH_MAX;
        for n in 0..room {
            assert_eq!(to.push(errand, &[1]), Ok(()), "packet {n}, one a turn");
            to.flush();
        }
        assert!(to.has_open(), "the last one waits");
        let mut seen = 0;
        while let Some(parcel) = from.take() {
            seen += parcel.len();
            from.give_back(parcel);
            to.flush();
        }
        assert!(!to.has_open());
        assert_eq!(seen, room);
    }

    #[test]
    fn a_receiver_that_does_not_take_makes_the_ring_full_and_not_longer() {
        let (mut to, from) = pair();
        let room = PARCELS_PER_PAIR * BATCH_MAX;
        let errand = Errand::Judge { from: port(1, 0), translated: false };
        for _ in 0..room {
            to.push(errand, &[1]).unwrap();
        }
        assert_eq!(to.push(errand, &[1]), Err(DropReason::HandoffFull));
        to.flush();
        let parcel = from.take().unwrap();
        assert_eq!(parcel.len(), BATCH_MAX);
        from.give_back(parcel);
        assert_eq!(to.push(errand, &[2]), Ok(()));
    }
}
