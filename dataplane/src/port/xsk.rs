//! Ports on `AF_XDP` sockets. Hot path.
//!
//! With `program.rs` the only file that touches the kernel's memory. What makes that sound, and
//! who keeps it; every `SAFETY` below names these:
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

use std::error::Error;
use std::ffi::CString;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;
use std::{io, ptr, slice, thread};

use rustix::net::sockopt;
use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig,
};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue, Umem};

use super::error::{self, PortError};
use super::socket::{SocketHandle, SocketId};
use super::{CREDIT_MAX, CREDIT_MIN, Port, RING_FRAMES};
use crate::frame::{Batch, Closed, Frame, FramePool, Memory, MemoryId};
use crate::ids::PortSlot;
use crate::limits::{BATCH_MAX, ETHERNET_BYTES, FRAME_BYTES, HEADROOM_BYTES, PACKET_BYTES_MAX};

/// The most frames of one worker: 4 GiB of packet memory.
const FRAMES_MAX: u32 = 1 << 20;

/// `XDP_MAX_TX_SKB_BUDGET` (kernel 6.17, `if_xdp.h`): Debian's headers and
/// the libc crate are older.
const MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// What one kick sends where the kernel has no such setting (`TX_BATCH_SIZE`, net/xdp/xsk.c).
const KICK_FRAMES_DEFAULT: u32 = 32;

/// Bytes of packets that one socket may have in the far end's receive path. The default of
/// 208 KiB is used up by 26 packets of 3840 bytes, and ends a kick early.
const SEND_BUFFER_BYTES: usize = 8 << 20;

/// Tries to bind, and the time between two: a queue is free a moment after its socket closed.
const BIND_TRIES: u32 = 50;
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// Flushes without a kick after one that moved nothing, unless there is something new.
const KICK_REST: u8 = 16;

const FRAME_SHIFT: u32 = FRAME_BYTES.trailing_zeros();
const _: () = assert!(FRAME_BYTES.is_power_of_two());

/// Keeps something alive that is never looked at again.
#[derive(Debug)]
struct KeptAlive<T>(#[allow(dead_code)] T); // held for its drop

// SAFETY: no reference to what is inside can be had, so threads that share the wrapper share
// nothing; `T: Send` lets whichever drops it last do so.
unsafe impl<T: Send> Sync for KeptAlive<T> {}

type Queues = (TxQueue, RxQueue, FillQueue, CompQueue);

/// A worker's packet memory: a UMEM, and the anchor that later sockets are bound by.
///
/// A clone is another handle on the same memory: the worker has one to reach packets, the
/// control thread one to bind ports. What may be touched is decided by frames, not by handles
/// (F1). The memory and the anchor's queue are given back when the last handle and the last
/// port are gone.
#[derive(Clone, Debug)]
pub struct WorkerMemory {
    umem: Umem,
    /// By frame number: xsk-rs lets nobody make a descriptor from an address.
    descriptors: Arc<[FrameDesc]>,
    /// The address of the first frame's packet.
    base: usize,
    id: MemoryId,
    _anchor: Arc<KeptAlive<Queues>>,
}

impl WorkerMemory {
    /// Makes packet memory of `frames` frames and its anchor on queue 0 of `anchor_interface`.
    ///
    /// Call it in the network namespace that has the interface. Raises the process's limits
    /// of locked memory and open files as far as it may.
    ///
    /// # Errors
    ///
    /// See [`PortError`]; nothing is left behind.
    pub fn new(anchor_interface: &str, frames: u32) -> Result<(Self, FramePool), PortError> {
        let least = CREDIT_MIN;
        let count = NonZeroU32::new(frames).filter(|n| (least..=FRAMES_MAX).contains(&n.get()));
        let count = count.ok_or(PortError::Frames { frames, least, most: FRAMES_MAX })?;
        silence_libraries();
        error::raise_limits();
        let config =
            umem_config().map_err(|cause| error::memory_error(anchor_interface, frames, cause))?;
        let (umem, mut descriptors) = Umem::new(config, count, false)
            .map_err(|cause| error::memory_error(anchor_interface, frames, cause_of(&cause)))?;
        let base = expose(&umem, &mut descriptors);
        let flags = BindFlags::XDP_COPY | BindFlags::XDP_USE_NEED_WAKEUP;
        let anchor = bind_patiently(&umem, anchor_interface, 0, CREDIT_MIN, flags)?;
        let id = MemoryId::next();
        let memory = Self {
            umem,
            descriptors: descriptors.into(),
            base,
            id,
            _anchor: Arc::new(KeptAlive(anchor)),
        };
        Ok((memory, FramePool::new(frames, id)))
    }

    /// Where a frame's packet begins; `None` for a frame of another memory.
    #[inline]
    fn packet(&self, frame: &Frame) -> Option<*mut u8> {
        let index = usize::try_from(frame.index()).ok()?;
        let known = frame.memory() == self.id && index < self.descriptors.len();
        debug_assert!(known, "{frame:?} is of another memory");
        // `expose` has been here: every frame's address is `base` and a multiple.
        let address = self.base.wrapping_add(index << FRAME_SHIFT);
        known.then(|| ptr::with_exposed_provenance_mut(address))
    }
}

impl Memory for WorkerMemory {
    #[inline]
    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        let Some(packet) = self.packet(frame) else { return &[] };
        // SAFETY: F1, F3; the length is at most `PACKET_BYTES_MAX`, the room after `packet`.
        unsafe { slice::from_raw_parts(packet, usize::from(frame.length())) }
    }

    #[inline]
    fn bytes_mut<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        let Some(packet) = self.packet(frame) else { return &mut [] };
        // SAFETY: F1, F3; the length is at most `PACKET_BYTES_MAX`, the room after `packet`.
        unsafe { slice::from_raw_parts_mut(packet, usize::from(frame.length())) }
    }

    #[inline]
    fn room_mut<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        let Some(packet) = self.packet(frame) else { return &mut [] };
        // SAFETY: F1, F3; a frame has `PACKET_BYTES_MAX` bytes after its headroom.
        unsafe { slice::from_raw_parts_mut(packet, PACKET_BYTES_MAX) }
    }

    #[inline]
    fn room_beside<'a>(
        &'a mut self,
        frame: &'a mut Frame,
        other: &'a Frame,
    ) -> (&'a mut [u8], &'a [u8]) {
        let Some(packet) = self.packet(frame) else { return (&mut [], &[]) };
        // SAFETY: F1, F3, as in `room_mut`; `other` is another frame, for both are exclusive.
        let room = unsafe { slice::from_raw_parts_mut(packet, PACKET_BYTES_MAX) };
        (room, self.bytes(other))
    }
}

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
    in_fill: u32,
    in_transmit: u32,
    credit: u32,
    /// Packets that one kick sends.
    kick_frames: u32,
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
            bind_patiently(&memory.umem, interface, queue, RING_FRAMES, BindFlags::empty())?;
        let refused = |cause| error::bind_error(interface, queue, cause);
        let descriptor = borrow(&receive, receive.fd().as_raw_fd());
        let kick_frames = raise_kick(descriptor);
        // Without CAP_NET_ADMIN it stays what it is: slower, not wrong.
        let _ = sockopt::set_socket_send_buffer_size_force(descriptor, SEND_BUFFER_BYTES);
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
            in_fill: 0,
            in_transmit: 0,
            credit: CREDIT_MIN,
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

    pub(super) fn is_half_of(&self, socket: SocketId) -> bool {
        self.socket == socket
    }

    /// Closes this half; the caller holds the other, which is gone with it.
    pub(super) fn into_closed(self) -> Closed {
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

    /// Kicks until the ring is drained or a kick moves nothing.
    #[inline]
    fn kick(&mut self) {
        let mut pending = self.pending();
        for _ in 0..pending.div_ceil(self.kick_frames.max(1)) {
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
            let (index, length) = locate(descriptor);
            if let Some(frame) = pool.receive(index, length, self.slot) {
                let pushed = batch.push(frame);
                debug_assert!(pushed.is_ok(), "consumed no more than there was room for");
                received = received.wrapping_add(1);
            }
        }
        self.in_fill = self.in_fill.saturating_sub(u32::try_from(received).unwrap_or(u32::MAX));
        received
    }

    #[inline]
    fn fill(&mut self, pool: &mut FramePool) -> usize {
        let missing = self.credit.saturating_sub(self.in_fill).min(CREDIT_MIN);
        if missing == 0 || !pool.is_of(self.memory.id) {
            return 0;
        }
        let wanted = missing.min(self.fill.nb_free(missing));
        let mut count = 0_usize;
        for place in self.scratch.iter_mut().take(usize::try_from(wanted).unwrap_or(0)) {
            let Some(index) = pool.lend(self.slot) else { break };
            let at = usize::try_from(index).unwrap_or(usize::MAX);
            let Some(descriptor) = self.memory.descriptors.get(at) else {
                pool.unlend(index, self.slot);
                break;
            };
            *place = *descriptor;
            count = count.wrapping_add(1);
        }
        let Some(descriptors) = self.scratch.get(..count) else { return 0 };
        // SAFETY: F1 (lent by the ledger, no `Frame` was made of them), F2, F4.
        let produced = unsafe { self.fill.produce(descriptors) };
        debug_assert_eq!(produced, count);
        self.in_fill = self.in_fill.wrapping_add(u32::try_from(produced).unwrap_or(0));
        produced
    }

    #[inline]
    fn send(&mut self, pool: &mut FramePool, frame: Frame) -> Result<(), Frame> {
        if self.queued_count == BATCH_MAX {
            self.produce();
        }
        let length = usize::from(frame.length());
        let at = usize::try_from(frame.index()).unwrap_or(usize::MAX);
        // The kernel refuses an empty packet without ever giving its frame back.
        if self.in_transmit >= self.credit || length < ETHERNET_BYTES {
            return Err(frame);
        }
        let (Some(place), Some(descriptor)) =
            (self.queued.get_mut(self.queued_count), self.memory.descriptors.get(at))
        else {
            return Err(frame);
        };
        pool.send(frame, self.slot)?;
        *place = *descriptor;
        // SAFETY: F1 (the frame was ours until the line above, the ring has it from `produce`).
        let mut segment = unsafe { self.memory.umem.data_mut(place) };
        // The only way to say a length to xsk-rs; it touches no byte of the packet.
        segment.cursor().set_pos(length);
        self.queued_count = self.queued_count.saturating_add(1);
        self.in_transmit = self.in_transmit.saturating_add(1);
        Ok(())
    }

    #[inline]
    fn flush(&mut self) {
        if self.in_transmit == 0 {
            return;
        }
        let produced = self.produce();
        if produced == 0 && self.rest > 0 {
            self.rest = self.rest.saturating_sub(1);
            return;
        }
        self.rest = 0;
        self.kick();
    }

    #[inline]
    fn reclaim(&mut self, pool: &mut FramePool) -> usize {
        let mut reclaimed = 0_usize;
        if self.in_transmit == 0 || !pool.is_of(self.memory.id) {
            return 0;
        }
        for _ in 0..(RING_FRAMES / CREDIT_MIN) {
            // SAFETY: F2.
            let count = unsafe { self.completion.consume(&mut self.scratch) };
            for descriptor in self.scratch.iter().take(count) {
                // Its length comes back as 0 and is of no use.
                let (index, _) = locate(descriptor);
                reclaimed = reclaimed.wrapping_add(usize::from(pool.reclaim(index, self.slot)));
            }
            if count < BATCH_MAX {
                break;
            }
        }
        self.in_transmit =
            self.in_transmit.saturating_sub(u32::try_from(reclaimed).unwrap_or(u32::MAX));
        reclaimed
    }

    fn set_credit(&mut self, frames: u32) {
        self.credit = frames.clamp(CREDIT_MIN, CREDIT_MAX);
    }

    fn in_fill(&self) -> u32 {
        self.in_fill
    }

    fn in_transmit(&self) -> u32 {
        self.in_transmit
    }
}

impl AsFd for XskPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrow(self, self.receive.fd().as_raw_fd())
    }
}

/// A descriptor's frame and length. A packet that does not begin after the headroom, or is
/// longer than a frame, is no packet of our program's: it counts as empty, and the parser
/// drops it.
#[inline]
fn locate(descriptor: &FrameDesc) -> (u32, u16) {
    let index = u32::try_from(descriptor.addr() >> FRAME_SHIFT).unwrap_or(u32::MAX);
    let offset = descriptor.addr() & FRAME_BYTES.wrapping_sub(1);
    let length = descriptor.lengths().data();
    let whole =
        offset == HEADROOM_BYTES && length <= PACKET_BYTES_MAX && !descriptor.has_more_frames();
    let length = if whole { u16::try_from(length).unwrap_or(0) } else { 0 };
    (index, length)
}

/// Makes every frame's address usable by its number alone: the address of the first.
fn expose(umem: &Umem, descriptors: &mut [FrameDesc]) -> usize {
    let mut base = usize::MAX;
    for descriptor in descriptors {
        // SAFETY: F1: no frame has been given out yet, to nobody.
        let mut segment = unsafe { umem.data_mut(descriptor) };
        let room = segment.cursor().buf_len();
        debug_assert_eq!(room, PACKET_BYTES_MAX);
        segment.cursor().set_pos(room);
        // Exposed as wide as the room is: `WorkerMemory::packet` makes pointers from numbers.
        base = base.min(segment.contents_mut().as_mut_ptr().expose_provenance());
        segment.cursor().set_pos(0);
    }
    base
}

/// Binds, waiting for a queue whose last socket is only just closed.
fn bind_patiently(
    umem: &Umem,
    interface: &str,
    queue: u32,
    ring: u32,
    flags: BindFlags,
) -> Result<Queues, PortError> {
    let mut tries = BIND_TRIES;
    loop {
        tries = tries.saturating_sub(1);
        match bind_once(umem, interface, queue, ring, flags) {
            Err(cause) if cause.raw_os_error() == Some(libc::EBUSY) && tries > 0 => {
                #[allow(clippy::disallowed_methods)] // the control thread's: it may wait
                thread::sleep(BIND_PAUSE);
            }
            other => return other.map_err(|cause| error::bind_error(interface, queue, cause)),
        }
    }
}

fn bind_once(
    umem: &Umem,
    interface: &str,
    queue: u32,
    ring: u32,
    flags: BindFlags,
) -> io::Result<Queues> {
    let size = QueueSize::new(ring).map_err(io::Error::other)?;
    let config = SocketConfig::builder()
        .rx_queue_size(size)
        .tx_queue_size(size)
        .bind_flags(flags)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .build();
    let interface = Interface::new(CString::new(interface)?);
    // SAFETY: libxdp loads no program (`INHIBIT_PROG_LOAD`), which is all that is asked for.
    let made = unsafe { Socket::new(config, umem, &interface, queue) };
    let (transmit, receive, others) = made.map_err(|cause| cause_of(&cause))?;
    // Rings of their own, unless this memory has a socket on this very queue already.
    let (fill, completion) = others.ok_or_else(|| io::Error::from_raw_os_error(libc::EBUSY))?;
    Ok((transmit, receive, fill, completion))
}

fn umem_config() -> io::Result<UmemConfig> {
    let frame = u32::try_from(FRAME_BYTES).map_err(io::Error::other)?;
    let ring = QueueSize::new(RING_FRAMES).map_err(io::Error::other)?;
    let mut config = UmemConfig::builder();
    config.frame_size(FrameSize::new(frame).map_err(io::Error::other)?);
    config.fill_queue_size(ring).comp_queue_size(ring);
    config.build().map_err(io::Error::other)
}

/// The kernel's answer inside an error of xsk-rs.
fn cause_of(error: &dyn Error) -> io::Error {
    let answer = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let number = answer.and_then(io::Error::raw_os_error);
    number.map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

/// Borrows a socket's descriptor from the queue that holds the socket open.
fn borrow<T>(_owner: &T, descriptor: RawFd) -> BorrowedFd<'_> {
    // SAFETY: F3: the socket is open as long as its owner, which is borrowed with the result.
    unsafe { BorrowedFd::borrow_raw(descriptor) }
}

/// Lets one kick send a whole ring: how many packets it will send.
fn raise_kick(socket: BorrowedFd<'_>) -> u32 {
    let budget = RING_FRAMES;
    let length = libc::socklen_t::try_from(size_of_val(&budget)).unwrap_or(0);
    let value = ptr::from_ref(&budget).cast();
    // SAFETY: reads `length` bytes of `budget`, which lives; any outcome is handled.
    let answer = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_XDP, MAX_TX_SKB_BUDGET, value, length)
    };
    if answer == 0 { budget } else { KICK_FRAMES_DEFAULT }
}

/// libxdp and libbpf write to stderr by themselves; what they would say is in our errors.
fn silence_libraries() {
    // SAFETY: sets a function pointer; none is a documented value and means silence.
    let _ = unsafe { libxdp_sys::libxdp_set_print(None) };
    // SAFETY: the same.
    let _ = unsafe { libbpf_sys::libbpf_set_print(None) };
}
