//! The frames of a worker that are free, and the ledger of where all are. Hot path.
//!
//! The ledger has two bytes for every frame and is written at each move, because the kernel's
//! rings cannot be read back: when a port is removed, the frames that its rings held are found
//! here and nowhere else (house D12). It is also what makes `Frame` exclusive *by check*: a ring
//! that gives a frame it was never given is not believed.
//!
//! Free frames are a stack: the one used last is the one in the cache.

use super::{Frame, LENGTH_MAX, MemoryId};
use crate::ids::PortSlot;
use crate::limits::PORTS_MAX;

/// Ledger entries that one [`FramePool::bring_home`] looks at.
pub const BRING_HOME_MAX: usize = 512;

/// Where a frame is: two bits of what, and the port's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u16);

impl Place {
    const POOL: Self = Self(0);
    const HAND: Self = Self(1);
    const HELD: Self = Self(2);
    const FILL: u16 = 1 << 14;
    const TRANSMIT: u16 = 1 << 15;

    const fn fill(slot: PortSlot) -> Self {
        Self(Self::FILL | slot.0)
    }

    const fn transmit(slot: PortSlot) -> Self {
        Self(Self::TRANSMIT | slot.0)
    }
}

const _: () = assert!(PORTS_MAX <= Place::FILL as usize);

/// How many frames are where; the sum is the number of frames, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Free.
    pub pool: u32,
    /// Held as a [`Frame`]: in a batch, in a variable.
    pub hand: u32,
    /// Held as a [`Frame`] beyond its turn: a fragment that waits.
    pub held: u32,
    /// With the kernel, to be received into; what was received and not yet taken counts here.
    pub fill: u32,
    /// With the kernel, to be sent; what was sent and not yet reclaimed counts here.
    pub transmit: u32,
}

impl Census {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u32 {
        let others = [self.hand, self.held, self.fill, self.transmit];
        others.iter().fold(self.pool, |sum, n| sum.wrapping_add(*n))
    }

    fn count(&mut self, place: Place) {
        let cell = match place {
            Place::POOL => &mut self.pool,
            Place::HAND => &mut self.hand,
            Place::HELD => &mut self.held,
            Place(bits) if bits & Place::TRANSMIT != 0 => &mut self.transmit,
            Place(_) => &mut self.fill,
        };
        *cell = cell.wrapping_add(1);
    }
}

/// The proof that a port's socket is closed: the kernel has let go of the slot's frames.
///
/// Made only by closing both halves of a port; taken to [`FramePool::bring_home`].
#[derive(Debug)]
#[must_use = "the frames of the closed port come home with it"]
pub struct Closed {
    slot: PortSlot,
    memory: MemoryId,
    /// The first ledger entry not yet looked at.
    cursor: usize,
}

impl Closed {
    pub(crate) fn new(slot: PortSlot, memory: MemoryId) -> Self {
        Self { slot, memory, cursor: 0 }
    }

    /// The slot whose port is closed. It may be used again once the frames are home.
    #[must_use]
    pub fn slot(&self) -> PortSlot {
        self.slot
    }
}

/// The free frames of one memory, and where the others are.
#[derive(Debug)]
pub struct FramePool {
    /// A stack of frame numbers; the first `available` are in use.
    free: Box<[u32]>,
    available: usize,
    /// By frame number.
    ledger: Box<[Place]>,
    memory: MemoryId,
}

impl FramePool {
    /// All frames of a memory, free.
    pub(crate) fn new(frames: u32, memory: MemoryId) -> Self {
        // Reversed, so that the first frame is taken first.
        let free: Box<[u32]> = (0..frames).rev().collect();
        let available = free.len();
        Self { free, available, ledger: vec![Place::POOL; available].into(), memory }
    }

    /// How many frames the memory has.
    #[must_use]
    pub fn frames(&self) -> u32 {
        u32::try_from(self.ledger.len()).unwrap_or(u32::MAX)
    }

    /// How many are free.
    #[inline]
    #[must_use]
    pub fn available(&self) -> usize {
        self.available
    }

    /// Takes a free frame in hand, with a packet of length 0.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        let index = self.pop(Place::HAND)?;
        Some(Frame { index, length: 0, memory: self.memory })
    }

    /// Whether this pool's frames are those of `memory`: asked once per batch, so that no
    /// port moves another worker's frames.
    #[inline]
    pub(crate) fn is_of(&self, memory: MemoryId) -> bool {
        debug_assert_eq!(self.memory, memory, "the pool of another worker");
        self.memory == memory
    }

    /// Takes a frame back.
    #[inline]
    #[allow(clippy::needless_pass_by_value)] // consumed: whoever gave it has it no more
    pub fn put(&mut self, frame: Frame) {
        let moved =
            frame.memory == self.memory && self.move_frame(frame.index, Place::HAND, Place::POOL);
        debug_assert!(moved, "{frame:?} was not in a hand of this pool");
        if moved {
            self.push(frame.index);
        }
    }

    /// Notes that a frame in hand is kept beyond this turn.
    pub(crate) fn hold(&mut self, frame: &Frame) {
        let moved =
            frame.memory == self.memory && self.move_frame(frame.index, Place::HAND, Place::HELD);
        debug_assert!(moved, "{frame:?} was not in a hand of this pool");
    }

    /// Notes that a frame that was kept is in hand again.
    pub(crate) fn resume(&mut self, frame: &Frame) {
        let moved =
            frame.memory == self.memory && self.move_frame(frame.index, Place::HELD, Place::HAND);
        debug_assert!(moved, "{frame:?} was not held");
    }

    /// From the pool to a port's fill ring: the frame's number.
    #[inline]
    pub(crate) fn lend(&mut self, slot: PortSlot) -> Option<u32> {
        self.pop(Place::fill(slot))
    }

    /// From a port's receive ring to a hand. `None` for a frame that this port did not have.
    #[inline]
    pub(crate) fn receive(&mut self, index: u32, length: u16, slot: PortSlot) -> Option<Frame> {
        let moved = self.move_frame(index, Place::fill(slot), Place::HAND);
        debug_assert!(moved, "frame {index} was not in the fill ring of {slot:?}");
        moved.then_some(Frame { index, length: length.min(LENGTH_MAX), memory: self.memory })
    }

    /// From a hand to a port's transmit ring: the frame's number.
    #[inline]
    pub(crate) fn send(&mut self, frame: Frame, slot: PortSlot) -> Result<u32, Frame> {
        let moved = frame.memory == self.memory
            && self.move_frame(frame.index, Place::HAND, Place::transmit(slot));
        debug_assert!(moved, "{frame:?} was not in a hand of this pool");
        if moved { Ok(frame.index) } else { Err(frame) }
    }

    /// From a port's completion ring to the pool.
    #[inline]
    pub(crate) fn reclaim(&mut self, index: u32, slot: PortSlot) -> bool {
        self.come_home(index, Place::transmit(slot))
    }

    /// Frees the frames that a closed port still had: how many, of the next [`BRING_HOME_MAX`]
    /// ledger entries. Call it until [`FramePool::is_home`]; the slot must not be used before.
    pub fn bring_home(&mut self, closed: &mut Closed) -> usize {
        if closed.memory != self.memory {
            debug_assert!(false, "{closed:?} is a port of another worker");
            return 0;
        }
        let before = self.available;
        let end = closed.cursor.saturating_add(BRING_HOME_MAX).min(self.ledger.len());
        for index in closed.cursor..end {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let place = self.place(index);
            if place == Some(Place::fill(closed.slot))
                || place == Some(Place::transmit(closed.slot))
            {
                self.set_place(index, Place::POOL);
                self.push(index);
            }
        }
        closed.cursor = end;
        self.available.saturating_sub(before)
    }

    /// Whether all frames of a closed port are home.
    #[must_use]
    pub fn is_home(&self, closed: &Closed) -> bool {
        closed.cursor >= self.ledger.len()
    }

    /// Counts the frames by place, reading the whole ledger: for laws and tests.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        self.ledger.iter().for_each(|&place| census.count(place));
        debug_assert_eq!(usize::try_from(census.pool), Ok(self.available));
        census
    }

    /// The same for one port: only `fill` and `transmit` are counted.
    #[must_use]
    pub fn census_of(&self, slot: PortSlot) -> Census {
        let mut census = Census::default();
        let own = [Place::fill(slot), Place::transmit(slot)];
        self.ledger.iter().filter(|place| own.contains(place)).for_each(|&at| census.count(at));
        census
    }

    #[inline]
    fn place(&self, index: u32) -> Option<Place> {
        self.ledger.get(usize::try_from(index).ok()?).copied()
    }

    #[inline]
    fn set_place(&mut self, index: u32, place: Place) {
        if let Some(entry) = usize::try_from(index).ok().and_then(|at| self.ledger.get_mut(at)) {
            *entry = place;
        }
    }

    #[inline]
    fn move_frame(&mut self, index: u32, from: Place, to: Place) -> bool {
        let Some(entry) = usize::try_from(index).ok().and_then(|at| self.ledger.get_mut(at)) else {
            return false;
        };
        let moves = *entry == from;
        if moves {
            *entry = to;
        }
        moves
    }

    #[inline]
    fn come_home(&mut self, index: u32, from: Place) -> bool {
        let moved = self.move_frame(index, from, Place::POOL);
        debug_assert!(moved, "frame {index} was not in {from:?}");
        if moved {
            self.push(index);
        }
        moved
    }

    #[inline]
    fn pop(&mut self, to: Place) -> Option<u32> {
        let last = self.available.checked_sub(1)?;
        let index = *self.free.get(last)?;
        self.available = last;
        let moved = self.move_frame(index, Place::POOL, to);
        debug_assert!(moved, "frame {index} was free and somewhere else");
        moved.then_some(index)
    }

    #[inline]
    fn push(&mut self, index: u32) {
        // A frame is pushed only when its ledger entry has just become `POOL`, so there are
        // never more than the stack has room for.
        if let Some(top) = self.free.get_mut(self.available) {
            *top = index;
            self.available = self.available.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests;
