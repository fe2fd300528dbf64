//! Frames: pieces of packet memory, each held by exactly one hand. Hot path.
//!
//! ```text
//!             take                    send
//!    pool ------------>  in hand  -----------> transmit of a port
//!     ^ \  <-----------    ^                         |
//!     |  \      put        | receive                 | reclaim
//!     |   `---> fill of a port                       |
//!     |   fill                                       |
//!     `----------------------------------------------'
//! ```
//!
//! A [`Frame`] in hand is the proof that neither the kernel nor anybody else holds that memory;
//! where the others are stands in the ledger of [`FramePool`]. The law, at any time:
//! `pool + in hand + held + Σ fill + Σ transmit == frames` ([`Census`]); what is *held* stays in hand
//! beyond its turn.
//!
//! A frame bears the number of its memory, so that one worker's frame is refused by another
//! worker's pool, memory and ports.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod batch;
mod pool;

pub use batch::{Batch, Drain};
pub use pool::{BRING_HOME_MAX, Census, Closed, FramePool};

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::limits::PACKET_BYTES_MAX;

/// One frame of packet memory, with the length of the packet in it.
///
/// Neither `Clone` nor `Copy`. Giving it to a port or to the pool consumes it; getting it back
/// makes a new one.
#[derive(Debug)]
#[must_use = "a forgotten frame is lost to the pool for good"]
pub struct Frame {
    index: u32,
    length: u16,
    memory: MemoryId,
}

// A batch of frames is passed around: one must stay as small as a pointer, in an `Option` too.
const _: () = assert!(size_of::<Option<Frame>>() == 8);
#[allow(clippy::cast_possible_truncation)] // shown by the assertion
const LENGTH_MAX: u16 = PACKET_BYTES_MAX as u16;
const _: () = assert!(PACKET_BYTES_MAX <= u16::MAX as usize);

impl Frame {
    /// The packet's length in bytes, Ethernet header included. At most [`PACKET_BYTES_MAX`].
    #[inline]
    #[must_use]
    pub fn length(&self) -> u16 {
        self.length
    }

    /// Says how long the packet is. What does not fit a frame is cut.
    #[inline]
    pub fn set_length(&mut self, bytes: u16) {
        debug_assert!(bytes <= LENGTH_MAX, "a packet of {bytes} bytes does not fit a frame");
        self.length = bytes.min(LENGTH_MAX);
    }

    /// The frame's number in its memory.
    #[inline]
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// The memory it is part of.
    #[inline]
    pub(crate) fn memory(&self) -> MemoryId {
        self.memory
    }
}

/// Packet memory: gives the bytes of the frames that somebody holds.
///
/// A frame of another memory has no bytes here: it gets an empty slice.
pub trait Memory {
    /// The packet: as many bytes as the frame's length.
    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8];

    /// The packet, to be changed in place.
    fn bytes_mut<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8];

    /// All the room a packet may take, [`PACKET_BYTES_MAX`] bytes, whatever the length is now.
    fn room_mut<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8];

    /// The room of one frame and the packet in another, at once: to quote or to copy.
    fn room_beside<'a>(
        &'a mut self,
        frame: &'a mut Frame,
        other: &'a Frame,
    ) -> (&'a mut [u8], &'a [u8]);
}

/// The number of a memory, never two alike in one process (but for every 65,535th).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryId(NonZeroU16);

impl MemoryId {
    /// The next number. Not for the hot path: a memory is made once.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        // Relaxed: only the number matters, it orders nothing.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(NonZeroU16::new(number).unwrap_or(NonZeroU16::MAX))
    }
}
