//! Ports in memory, for tests, benches and the simulation.
//!
//! A [`MemoryPort`] has the same four rings as a socket; the other side of them is not the
//! kernel but a [`FarEnd`], which the test holds. As the kernel does, it reaches the frames of
//! the port's worker by itself, so it asks for that worker's [`HeapMemory`]:
//!
//! ```text
//!   worker                                              test
//!   fill    ->  fill ring       ->  FarEnd::inject  <-  a packet comes in
//!   receive <-  receive ring    <-
//!   send    ->  transmit ring   ->  FarEnd::take    ->  a packet went out
//!   reclaim <-  completion ring <-
//! ```
//!
//! No ring is allocated after the port is made. Nothing here is unsafe.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::credit::{Holding, spare};
use super::{Port, RING_FRAMES};
use crate::frame::{Batch, Closed, Frame, FramePool, Memory, MemoryId};
use crate::ids::PortSlot;
use crate::limits::{BATCH_MAX, PACKET_BYTES_MAX};

/// Packet memory on the heap.
#[derive(Debug)]
pub struct HeapMemory {
    bytes: Box<[u8]>,
    id: MemoryId,
}

impl HeapMemory {
    /// Memory of `frames` frames, all zero, and the pool of them.
    #[must_use]
    pub fn new(frames: u32) -> (Self, FramePool) {
        let id = MemoryId::next();
        let length = usize::try_from(frames).map_or(0, |n| n.saturating_mul(PACKET_BYTES_MAX));
        (Self { bytes: vec![0; length].into(), id }, FramePool::new(frames, id))
    }

    fn range(&self, frame: &Frame, length: usize) -> std::ops::Range<usize> {
        let known = frame.memory() == self.id;
        debug_assert!(known, "{frame:?} is of another memory");
        if known { Self::place(frame.index(), length) } else { 0..0 }
    }

    fn place(index: u32, length: usize) -> std::ops::Range<usize> {
        let start = usize::try_from(index).map_or(0, |at| at.saturating_mul(PACKET_BYTES_MAX));
        start..start.saturating_add(length)
    }
}

impl Memory for HeapMemory {
    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        let range = self.range(frame, usize::from(frame.length()));
        self.bytes.get(range).unwrap_or_default()
    }

    fn bytes_mut<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        let range = self.range(frame, usize::from(frame.length()));
        self.bytes.get_mut(range).unwrap_or_default()
    }

    fn room_mut<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        let range = self.range(frame, PACKET_BYTES_MAX);
        self.bytes.get_mut(range).unwrap_or_default()
    }

    fn room_beside<'a>(
        &'a mut self,
        frame: &'a mut Frame,
        other: &'a Frame,
    ) -> (&'a mut [u8], &'a [u8]) {
        let room = self.range(frame, PACKET_BYTES_MAX);
        let packet = self.range(other, usize::from(other.length()));
        match self.bytes.get_disjoint_mut([room, packet]) {
            Ok([room, packet]) => (room, packet),
            Err(_) => (&mut [], &[]),
        }
    }
}

/// An entry of a packet ring.
#[derive(Clone, Copy, Debug)]
struct Descriptor {
    index: u32,
    length: u16,
}

#[derive(Debug)]
struct Rings {
    fill: ArrayQueue<u32>,
    receive: ArrayQueue<Descriptor>,
    transmit: ArrayQueue<Descriptor>,
    completion: ArrayQueue<u32>,
}

/// A port whose packets come from and go to a [`FarEnd`].
#[derive(Debug)]
pub struct MemoryPort {
    slot: PortSlot,
    memory: MemoryId,
    rings: Arc<Rings>,
    queued: [Option<Descriptor>; BATCH_MAX],
    queued_count: usize,
    holding: Holding,
}

/// The other end of a [`MemoryPort`]: what the kernel is to a socket.
#[derive(Debug)]
pub struct FarEnd {
    memory: MemoryId,
    rings: Arc<Rings>,
}

/// Why a packet could not be injected: the kernel would have dropped and counted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The port has given nothing to receive into (`rx_fill_ring_empty_descs`).
    #[error("the port's fill ring is empty")]
    FillEmpty,
    /// The packet is longer than a frame (`rx_dropped`).
    #[error("the packet is longer than a frame")]
    TooLong,
    /// The memory is not that of the port's worker.
    #[error("the memory is not that of the port")]
    OtherMemory,
}

/// A port of `memory` at `slot`, and its far end.
#[must_use]
pub fn port(memory: &HeapMemory, slot: PortSlot) -> (MemoryPort, FarEnd) {
    let entries = usize::try_from(RING_FRAMES).unwrap_or(usize::MAX);
    let rings = Arc::new(Rings {
        fill: ArrayQueue::new(entries),
        receive: ArrayQueue::new(entries),
        transmit: ArrayQueue::new(entries),
        completion: ArrayQueue::new(entries),
    });
    let port = MemoryPort {
        slot,
        memory: memory.id,
        rings: Arc::clone(&rings),
        queued: [None; BATCH_MAX],
        queued_count: 0,
        holding: Holding::new(),
    };
    (port, FarEnd { memory: memory.id, rings })
}

impl FarEnd {
    /// Gives the port a packet to receive.
    ///
    /// # Errors
    ///
    /// See [`Refused`]; the packet is lost, as with the kernel.
    pub fn inject(&mut self, memory: &mut HeapMemory, packet: &[u8]) -> Result<(), Refused> {
        if memory.id != self.memory {
            return Err(Refused::OtherMemory);
        }
        let length = u16::try_from(packet.len()).map_err(|_| Refused::TooLong)?;
        if packet.len() > PACKET_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let index = self.rings.fill.pop().ok_or(Refused::FillEmpty)?;
        let place = memory.bytes.get_mut(HeapMemory::place(index, packet.len()));
        place.unwrap_or_default().copy_from_slice(packet);
        // As many entries as the fill ring: it cannot be full.
        let _ = self.rings.receive.push(Descriptor { index, length });
        Ok(())
    }

    /// Takes the next sent packet into `room`: its length. `None` where none was sent, or
    /// where the memory is another's.
    pub fn take_into(&mut self, memory: &HeapMemory, room: &mut [u8]) -> Option<usize> {
        if memory.id != self.memory {
            return None;
        }
        let Descriptor { index, length } = self.rings.transmit.pop()?;
        let packet = memory.bytes.get(HeapMemory::place(index, length.into())).unwrap_or_default();
        let length = packet.len().min(room.len());
        room.iter_mut().zip(packet).for_each(|(to, from)| *to = *from);
        // As many entries as the transmit ring: it cannot be full.
        let _ = self.rings.completion.push(index);
        Some(length)
    }

    /// Takes the next sent packet.
    pub fn take(&mut self, memory: &HeapMemory) -> Option<Vec<u8>> {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        let length = self.take_into(memory, &mut packet)?;
        packet.truncate(length);
        Some(packet)
    }

    /// How many sent packets wait to be taken.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.rings.transmit.len()
    }

    /// How many packets the port can receive before it must fill again.
    #[must_use]
    pub fn room(&self) -> usize {
        self.rings.fill.len()
    }
}

impl MemoryPort {
    /// The port's place with its worker.
    #[must_use]
    pub fn slot(&self) -> PortSlot {
        self.slot
    }

    /// Closes the port: both halves are gone, the frames can be brought home.
    ///
    /// # Panics
    ///
    /// Where the two are halves of different ports.
    #[allow(clippy::needless_pass_by_value)] // consumed: nobody injects into a closed port
    pub fn close(self, far: FarEnd) -> Closed {
        assert!(Arc::ptr_eq(&self.rings, &far.rings), "two halves of different ports");
        Closed::new(self.slot, self.memory)
    }

    fn produce(&mut self) {
        for place in self.queued.iter_mut().take(self.queued_count) {
            if let Some(descriptor) = place.take() {
                let produced = self.rings.transmit.push(descriptor);
                debug_assert!(produced.is_ok(), "no more is under way than the ring takes");
            }
        }
        self.queued_count = 0;
    }
}

impl Port for MemoryPort {
    fn receive(&mut self, pool: &mut FramePool, batch: &mut Batch) -> usize {
        let mut received = 0_usize;
        if !pool.is_of(self.memory) {
            return 0;
        }
        for _ in 0..batch.room() {
            let Some(Descriptor { index, length }) = self.rings.receive.pop() else { break };
            if let Some(frame) = pool.receive(index, length, self.slot) {
                let pushed = batch.push(frame);
                debug_assert!(pushed.is_ok(), "taken no more than there was room for");
                received = received.wrapping_add(1);
            }
        }
        self.holding.received(received);
        received
    }

    fn fill(&mut self, pool: &mut FramePool) -> usize {
        let mut filled = 0_usize;
        if !pool.is_of(self.memory) {
            return 0;
        }
        let spare = spare(pool.frames(), pool.available());
        for _ in 0..self.holding.missing(spare) {
            let Some(index) = pool.lend(self.slot) else { break };
            let produced = self.rings.fill.push(index);
            debug_assert!(produced.is_ok(), "the credit is at most the ring");
            filled = filled.wrapping_add(1);
        }
        self.holding.filled(filled);
        filled
    }

    fn send(&mut self, pool: &mut FramePool, frame: Frame) -> Result<(), Frame> {
        if self.queued_count == BATCH_MAX {
            self.produce();
        }
        let length = frame.length();
        if !self.holding.may_send(length) {
            return Err(frame);
        }
        let Some(place) = self.queued.get_mut(self.queued_count) else { return Err(frame) };
        let index = pool.send(frame, self.slot)?;
        *place = Some(Descriptor { index, length });
        self.queued_count = self.queued_count.saturating_add(1);
        self.holding.queued();
        Ok(())
    }

    fn flush(&mut self) {
        self.produce();
    }

    fn reclaim(&mut self, pool: &mut FramePool) -> usize {
        let mut reclaimed = 0_usize;
        if !pool.is_of(self.memory) {
            return 0;
        }
        for _ in 0..RING_FRAMES {
            let Some(index) = self.rings.completion.pop() else { break };
            reclaimed = reclaimed.wrapping_add(usize::from(pool.reclaim(index, self.slot)));
        }
        self.holding.reclaimed(reclaimed);
        reclaimed
    }

    fn set_credit(&mut self, frames: u32) {
        self.holding.set_credit(frames);
    }

    fn in_fill(&self) -> u32 {
        self.holding.fill()
    }

    fn in_transmit(&self) -> u32 {
        self.holding.transmit()
    }
}

#[cfg(test)]
mod tests;
