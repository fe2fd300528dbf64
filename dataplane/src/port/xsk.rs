//! Ports on `AF_XDP` sockets. Hot path.
//!
//! With its part `umem` and with `program.rs` the only unsafe code. What makes it sound, and who
//! keeps it; every `SAFETY` names these:
//!
//! - **F1** A [`Frame`] is exclusive: it is neither `Copy` nor `Clone`, rings consume it, and the
//!   ledger refuses a frame that a ring gives without having been given it. So nobody, the
//!   kernel included, touches the bytes of a frame in hand, and slices borrow the frame.
//! - **F2** One UMEM per worker, so any frame of the worker fits any of its rings; a frame bears
//!   the number of its memory and is refused by another.
//! - **F3** Rings outlive everyone who uses them: each xsk-rs queue holds its socket, each socket
//!   its UMEM (xsk-rs 0.11), and a frame's memory lives as long as the [`WorkerMemory`] that
//!   the slice borrows.
//! - **F4** Nothing is produced that `nb_free` does not allow: `produce` is all or nothing.
//! - **F5** The anchor outlives every port: each port holds the memory, which holds the anchor.
//!
//! The UMEM's first socket is the *anchor*, bound to an interface of the worker's own, carrying
//! no packets: every later bind names its descriptor, and inherits its flags (copy mode, need
//! wakeup); later sockets may carry none. So ports come and go in any order (house D2).
//!
//! Sending is by kicks (`sendto`), each up to `XDP_MAX_TX_SKB_BUDGET` packets, 32 where the
//! kernel knows no such setting. xsk-rs swallows ENETDOWN and its like: a port that is down
//! keeps what is under way, no more than its credit, and is kicked less often.

#![allow(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod umem;

pub use umem::WorkerMemory;

use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use rustix::net::sockopt;
use xsk_rs::config::BindFlags;
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, TxQueue};

use super::credit::{Holding, spare};
use super::error::{self, PortError};
use super::socket::{SocketHandle, SocketId};
use super::{CREDIT_MIN, Port, RING_FRAMES, setup};
use crate::frame::{Batch, Closed, Frame, FramePool};
use crate::ids::PortSlot;
use crate::limits::BATCH_MAX;

/// `XDP_MAX_TX_SKB_BUDGET` (kernel 6.17, `if_xdp.h`): Debian's headers and
/// the libc crate are older.
const MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// What one kick sends where the kernel has no such setting (`TX_BATCH_SIZE`, net/xdp/xsk.c).
const KICK_FRAMES_DEFAULT: NonZeroU32 = NonZeroU32::new(32).unwrap();

/// Flushes without a kick after one that moved nothing, unless there is something new.
const KICK_REST: u8 = 16;

/// The port of an `AF_XDP` socket: the half that its worker has.
#[derive(Debug)]
pub struct XskPort {
    slot: PortSlot,
    /// The same as in the control thread's half.
    socket: SocketId,
    fill: FillQueue,
    receive: RxQueue,
    transmit: TxQueue,
    completion: CompQueue,
    /// Descriptors taken from a ring or about to be given to one, one batch at a time.
    scratch: [FrameDesc; BATCH_MAX],
    /// Packets to be produced at the next flush: the first `queued_count`.
    queued: [FrameDesc; BATCH_MAX],
    queued_count: usize,
    holding: Holding,
    /// Packets that one kick sends.
    kick_frames: NonZeroU32,
    /// Flushes to let pass without a kick.
    rest: u8,
    /// Last, so that it outlives the queues (F3, F5).
    memory: WorkerMemory,
}

impl XskPort {
    /// Binds a socket to one queue of an interface of the calling thread's network namespace.
    ///
    /// The port has nothing to receive into before its first [`Port::fill`]. Packets reach it
    /// once its descriptor is in the interface's [`Program`](super::program::Program).
    ///
    /// # Errors
    ///
    /// See [`PortError`]. A queue that is taken is tried again for a second.
    pub fn bind(
        memory: &WorkerMemory,
        interface: &str,
        queue: u32,
        slot: PortSlot,
    ) -> Result<(Self, SocketHandle), PortError> {
        let (transmit, receive, fill, completion) =
            umem::bind_socket(&memory.umem, interface, queue, RING_FRAMES, BindFlags::empty())?;
        let refused = |cause| error::bind_error(interface, queue, cause);
        let descriptor = borrow(&receive, receive.fd().as_raw_fd());
        let kick_frames = raise_kick(descriptor);
        // Without CAP_NET_ADMIN it stays what it is: slower, not wrong.
        let _ = sockopt::set_socket_send_buffer_size_force(descriptor, setup::SEND_BUFFER_BYTES);
        let held = descriptor.try_clone_to_owned().map_err(refused)?;
        let socket = SocketId::next();
        let port = Self {
            slot,
            socket,
            fill,
            receive,
            transmit,
            completion,
            scratch: [FrameDesc::default(); BATCH_MAX],
            queued: [FrameDesc::default(); BATCH_MAX],
            queued_count: 0,
            holding: Holding::new(),
            kick_frames,
            rest: 0,
            memory: memory.clone(),
        };
        Ok((port, SocketHandle::new(held, socket, interface, queue, slot)))
    }

    /// The port's place with its worker.
    #[must_use]
    pub fn slot(&self) -> PortSlot {
        self.slot
    }

    /// Closes this half, where the other, of `socket`, is closed too.
    pub(super) fn into_closed(self, socket: SocketId) -> Closed {
        assert_eq!(self.socket, socket, "two halves of different ports");
        Closed::new(self.slot, self.memory.id)
    }

    /// Gives the queued packets to the transmit ring, all or none: how many.
    #[inline]
    fn produce(&mut self) -> usize {
        let Some(queued) = self.queued.get(..self.queued_count) else { return 0 };
        let wanted = u32::try_from(queued.len()).unwrap_or(u32::MAX);
        if wanted == 0 || self.transmit.nb_free(wanted) < wanted {
            return 0;
        }
        // SAFETY: F1 (their frames were consumed by `send`), F2, F4.
        let produced = unsafe { self.transmit.produce(queued) };
        debug_assert_eq!(produced, queued.len());
        self.queued_count = 0;
        produced
    }

    /// Packets in the transmit ring that the kernel has not taken.
    #[inline]
    fn pending(&mut self) -> u32 {
        RING_FRAMES.saturating_sub(self.transmit.nb_free_exact())
    }

    /// Kicks until the ring is drained, or rests after a kick that moved nothing.
    #[inline]
    fn kick(&mut self) {
        self.rest = 0;
        let mut pending = self.pending();
        for _ in 0..pending.div_ceil(self.kick_frames.get()) {
            // Errors are those of a device that is going; its packets stay under way.
            let _ = self.transmit.wakeup();
            let left = self.pending();
            if left == pending {
                self.rest = KICK_REST;
                return;
            }
            pending = left;
        }
    }
}

impl Port for XskPort {
    #[inline]
    fn receive(&mut self, pool: &mut FramePool, batch: &mut Batch) -> usize {
        let Some(scratch) = self.scratch.get_mut(..batch.room()) else { return 0 };
        if !pool.is_of(self.memory.id) {
            return 0;
        }
        // SAFETY: F2.
        let count = unsafe { self.receive.consume(scratch) };
        let mut received = 0_usize;
        for descriptor in scratch.iter().take(count) {
            let (index, length) = setup::locate(descriptor);
            if let Some(frame) = pool.receive(index, length, self.slot) {
                let pushed = batch.push(frame);
                debug_assert!(pushed.is_ok(), "consumed no more than there was room for");
                received = received.wrapping_add(1);
            }
        }
        self.holding.received(received);
        received
    }

    #[inline]
    fn fill(&mut self, pool: &mut FramePool) -> usize {
        let missing = self.holding.missing(spare(pool.frames(), pool.available()));
        if missing == 0 || !pool.is_of(self.memory.id) {
            return 0;
        }
        let wanted = missing.min(self.fill.nb_free(missing));
        let mut count = 0_usize;
        for place in self.scratch.iter_mut().take(usize::try_from(wanted).unwrap_or(0)) {
            let Some(index) = pool.lend(self.slot) else { break };
            // There is one of each: the pool is of this memory.
            let at = usize::try_from(index).unwrap_or(usize::MAX);
            let Some(descriptor) = self.memory.descriptors.get(at) else { break };
            *place = *descriptor;
            count = count.wrapping_add(1);
        }
        let Some(descriptors) = self.scratch.get(..count) else { return 0 };
        // SAFETY: F1 (lent by the ledger, no `Frame` was made of them), F2, F4.
        let produced = unsafe { self.fill.produce(descriptors) };
        debug_assert_eq!(produced, count, "F4");
        self.holding.filled(produced);
        produced
    }

    #[inline]
    fn send(&mut self, pool: &mut FramePool, frame: Frame) -> Result<(), Frame> {
        if self.queued_count == BATCH_MAX {
            self.produce();
        }
        let length = frame.length();
        let at = usize::try_from(frame.index()).unwrap_or(usize::MAX);
        let place = self.queued.get_mut(self.queued_count);
        let (Some(place), Some(descriptor)) = (place, self.memory.descriptors.get(at)) else {
            return Err(frame);
        };
        if !self.holding.may_send(length) || !pool.is_of(self.memory.id) {
            return Err(frame);
        }
        pool.send(frame, self.slot)?;
        *place = *descriptor;
        // SAFETY: F1 (the frame was ours until the line above, the ring has it from `produce`).
        let mut segment = unsafe { self.memory.umem.data_mut(place) };
        // The only way to say a length to xsk-rs; it touches no byte of the packet.
        segment.cursor().set_pos(usize::from(length));
        self.queued_count = self.queued_count.saturating_add(1);
        self.holding.queued();
        Ok(())
    }

    #[inline]
    fn flush(&mut self) {
        let produced = self.produce();
        if self.holding.transmit() == 0 {
            return;
        }
        if produced == 0 && self.rest > 0 {
            self.rest = self.rest.saturating_sub(1);
            return;
        }
        self.kick();
    }

    #[inline]
    fn reclaim(&mut self, pool: &mut FramePool) -> usize {
        let mut reclaimed = 0_usize;
        if self.holding.transmit() == 0 || !pool.is_of(self.memory.id) {
            return 0;
        }
        for _ in 0..(RING_FRAMES / CREDIT_MIN) {
            // SAFETY: F2.
            let count = unsafe { self.completion.consume(&mut self.scratch) };
            for descriptor in self.scratch.iter().take(count) {
                // Its length comes back as 0 and is of no use.
                let (index, _) = setup::locate(descriptor);
                reclaimed = reclaimed.wrapping_add(usize::from(pool.reclaim(index, self.slot)));
            }
            if count < BATCH_MAX {
                break;
            }
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

impl AsFd for XskPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrow(self, self.receive.fd().as_raw_fd())
    }
}

/// Borrows a socket's descriptor from the queue that holds the socket open.
fn borrow<T>(_owner: &T, descriptor: RawFd) -> BorrowedFd<'_> {
    // SAFETY: F3: the socket is open as long as its owner, which is borrowed with the result.
    unsafe { BorrowedFd::borrow_raw(descriptor) }
}

/// Lets one kick send a whole ring, where the kernel can: how many packets it will send.
fn raise_kick(socket: BorrowedFd<'_>) -> NonZeroU32 {
    const WHOLE: NonZeroU32 = NonZeroU32::new(RING_FRAMES).unwrap();
    const LENGTH: libc::socklen_t = 4;
    let (socket, value) = (socket.as_raw_fd(), ptr::from_ref(&WHOLE).cast());
    // SAFETY: reads the four bytes of a constant; any answer is handled.
    let answer =
        unsafe { libc::setsockopt(socket, libc::SOL_XDP, MAX_TX_SKB_BUDGET, value, LENGTH) };
    if answer == 0 { WHOLE } else { KICK_FRAMES_DEFAULT }
}
