//! A timing wheel: what to look at, and when. Hot path.
//!
//! ```text
//!          cursor: next to be looked at          (now)
//!             v                                    v
//!   |  ...  | A |   | B |  ...                   |   | C D |  ...   4096 slots of 256 ms
//!             `------- due --------------------'
//! ```
//!
//! A packet only writes when its connection was last seen; it does not move it on the wheel. When
//! a record's slot comes up, its deadline is worked out, and the record is either forgotten or
//! put into the slot of its deadline: at most once per timeout, however many packets there were.
//! Deadlines beyond the wheel's 17 minutes wait in its farthest slot and are looked at again
//! there. Only a change of state, which may shorten the timeout, moves a record at once.
//!
//! Looking at records and passing empty slots both count as steps, and a turn takes at most
//! `EXPIRE_PER_TURN` of them. However far time jumps, the wheel goes once around and no further:
//! by then each slot has been looked at, in as many turns of the worker as it takes.

use super::slab::{Chain, Ends, NONE, Slab};
use crate::clock::Tick;

/// Slots of the wheel.
const SLOTS: u64 = 4096;
/// Milliseconds of a slot, as a power of two: how late a record may be forgotten.
const SLOT_BITS: u32 = 8;

/// The wheel.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Box<[Ends]>,
    /// The next slot to be looked at, counted from tick 0. Never beyond the present one.
    cursor: u64,
}

/// What one step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A record whose slot has come.
    Record(u32),
    /// An empty slot, now passed.
    Nothing,
    /// Everything that is due has been looked at.
    Done,
}

impl Wheel {
    /// An empty wheel.
    pub(super) fn new() -> Self {
        let slots = (0..SLOTS).map(|_| Ends::EMPTY).collect();
        Self { slots, cursor: 0 }
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val::<[Ends]>(&self.slots)
    }

    /// Whether a deadline has passed for good: the slots are looked at when they are over.
    #[inline]
    pub(super) fn has_passed(deadline: Tick, now: Tick) -> bool {
        slot_of(deadline) < slot_of(now)
    }

    /// Puts a record into the slot of its deadline, or as near as the wheel goes.
    pub(super) fn arm(&mut self, slab: &mut Slab, id: u32, deadline: Tick) {
        let farthest = self.cursor.saturating_add(SLOTS - 1);
        let slot = place_of(slot_of(deadline).clamp(self.cursor, farthest));
        if let (Some(entry), Some(ends)) =
            (slab.entry_mut(id), self.slots.get_mut(usize::from(slot)))
        {
            entry.slot = slot;
            slab.push(Chain::Wheel, ends, id);
        }
    }

    /// Takes a record off the wheel.
    pub(super) fn disarm(&mut self, slab: &mut Slab, id: u32) {
        let slot = slab.entry(id).map_or(0, |entry| entry.slot);
        if let Some(ends) = self.slots.get_mut(usize::from(slot)) {
            slab.unlink(Chain::Wheel, ends, id);
        }
    }

    /// After a jump of time: one turn of the wheel shows everything, however long it was.
    pub(super) fn catch_up(&mut self, now: Tick) {
        self.cursor = self.cursor.max(slot_of(now).saturating_sub(SLOTS));
    }

    /// Every record on the wheel.
    #[cfg(test)]
    pub(super) fn walk(&self, slab: &Slab) -> Vec<u32> {
        self.slots.iter().flat_map(|&ends| slab.walk(Chain::Wheel, ends)).collect()
    }

    /// One step.
    pub(super) fn step(&mut self, now: Tick) -> Due {
        if self.cursor >= slot_of(now) {
            return Due::Done;
        }
        match self.slots.get(usize::from(place_of(self.cursor))) {
            Some(ends) if ends.first != NONE => Due::Record(ends.first),
            _ => {
                self.cursor = self.cursor.saturating_add(1);
                Due::Nothing
            }
        }
    }
}

/// The slot of a tick, counted from tick 0.
#[inline]
const fn slot_of(tick: Tick) -> u64 {
    tick.0 >> SLOT_BITS
}

/// A slot's place on the wheel.
#[inline]
#[allow(clippy::cast_possible_truncation)] // below SLOTS
const fn place_of(slot: u64) -> u16 {
    (slot % SLOTS) as u16
}

const _: () = assert!(SLOTS <= 1 << 16);
