//! Packet memory on a UMEM, and its anchor. Hot path.
//!
//! Part of [`super`], whose invariants F1 to F5 the `SAFETY` comments name.

use std::ffi::CString;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::{fmt, io, ptr, slice};

use xsk_rs::config::{BindFlags, Interface};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue, Umem};

use crate::frame::{Frame, FramePool, Memory, MemoryId};
use crate::limits::PACKET_BYTES_MAX;
use crate::port::error::{self, PortError};
use crate::port::{CREDIT_MIN, setup};

/// The four rings of a socket.
pub(super) type Queues = (TxQueue, RxQueue, FillQueue, CompQueue);

/// The anchor's queues: kept for their drop, and never looked at.
struct Anchor(#[allow(dead_code)] Queues);

// SAFETY: no reference to what is inside can be had, so threads that share it share nothing.
unsafe impl Sync for Anchor {}

/// A worker's packet memory: a UMEM, and the anchor that later sockets are bound by.
///
/// A clone is another handle on the same memory: the worker has one to reach packets, the
/// control thread one to bind ports. What may be touched is decided by frames, not by handles
/// (F1). The memory and the anchor's queue are given back when the last handle and the last
/// port are gone.
#[derive(Clone)]
pub struct WorkerMemory {
    pub(super) umem: Umem,
    /// By frame number: xsk-rs lets nobody make a descriptor from an address.
    pub(super) descriptors: Arc<[FrameDesc]>,
    /// The address of the first frame's packet.
    base: usize,
    pub(super) id: MemoryId,
    _anchor: Arc<Anchor>,
}

impl fmt::Debug for WorkerMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerMemory").field("id", &self.id).finish_non_exhaustive()
    }
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
        let (least, most) = (CREDIT_MIN, setup::FRAMES_MAX);
        let count = NonZeroU32::new(frames).filter(|n| (least..=most).contains(&n.get()));
        let count = count.ok_or(PortError::Frames { frames, least, most })?;
        let refused = |cause| error::memory_error(anchor_interface, frames, cause);
        silence_libraries();
        setup::raise_limits();
        let config = setup::umem_config().map_err(refused)?;
        let made = Umem::new(config, count, false);
        let (umem, mut descriptors) = made.map_err(|cause| refused(setup::cause_of(&cause)))?;
        let base = expose(&umem, &mut descriptors);
        let flags = BindFlags::XDP_COPY | BindFlags::XDP_USE_NEED_WAKEUP;
        let anchor = Anchor(bind_socket(&umem, anchor_interface, 0, CREDIT_MIN, flags)?);
        let (id, descriptors) = (MemoryId::next(), descriptors.into());
        let memory = Self { umem, descriptors, base, id, _anchor: Arc::new(anchor) };
        Ok((memory, FramePool::new(frames, id)))
    }

    /// Where a frame's packet begins and how many of the `wanted` bytes there are: none for a
    /// frame of another memory.
    #[inline]
    fn span(&self, frame: &Frame, wanted: usize) -> (*mut u8, usize) {
        let index = usize::try_from(frame.index()).unwrap_or(usize::MAX);
        let known = frame.memory() == self.id && index < self.descriptors.len();
        debug_assert!(known, "{frame:?} is of another memory");
        if !known {
            return (ptr::dangling_mut(), 0);
        }
        // `expose` has been here: every frame's address is `base` and a multiple.
        let address = self.base.wrapping_add(index << setup::FRAME_SHIFT);
        (ptr::with_exposed_provenance_mut(address), wanted.min(PACKET_BYTES_MAX))
    }
}

impl Memory for WorkerMemory {
    #[inline]
    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        let (packet, length) = self.span(frame, usize::from(frame.length()));
        // SAFETY: F1, F3; the span is within the frame.
        unsafe { slice::from_raw_parts(packet, length) }
    }

    #[inline]
    fn bytes_mut<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        let (packet, length) = self.span(frame, usize::from(frame.length()));
        // SAFETY: F1, F3; the span is within the frame.
        unsafe { slice::from_raw_parts_mut(packet, length) }
    }

    #[inline]
    fn room_mut<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        let (packet, length) = self.span(frame, PACKET_BYTES_MAX);
        // SAFETY: F1, F3; the span is within the frame.
        unsafe { slice::from_raw_parts_mut(packet, length) }
    }

    #[inline]
    fn room_beside<'a>(
        &'a mut self,
        frame: &'a mut Frame,
        other: &'a Frame,
    ) -> (&'a mut [u8], &'a [u8]) {
        let (packet, length) = self.span(frame, PACKET_BYTES_MAX);
        // SAFETY: F1, F3; the span is within the frame, and `other` is another one.
        let room = unsafe { slice::from_raw_parts_mut(packet, length) };
        (room, self.bytes(other))
    }
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

/// Binds a socket of a memory, waiting for a queue whose last socket is only just closed.
pub(super) fn bind_socket(
    umem: &Umem,
    interface: &str,
    queue: u32,
    ring: u32,
    flags: BindFlags,
) -> Result<Queues, PortError> {
    let bound = setup::patiently(|| {
        let config = setup::socket_config(ring, flags)?;
        let device = Interface::new(CString::new(interface)?);
        // SAFETY: libxdp loads no program (`socket_config`), which is all that is asked for.
        let made = unsafe { Socket::new(config, umem, &device, queue) };
        let (transmit, receive, others) = made.map_err(|cause| setup::cause_of(&cause))?;
        // Rings of their own, unless this memory has a socket on this very queue already.
        let (fill, completion) = others.ok_or_else(|| io::Error::from_raw_os_error(libc::EBUSY))?;
        Ok((transmit, receive, fill, completion))
    });
    bound.map_err(|cause| error::bind_error(interface, queue, cause))
}

/// libxdp and libbpf write to stderr by themselves; what they would say is in our errors.
fn silence_libraries() {
    // SAFETY: sets a function pointer; none is a documented value and means silence.
    let _ = unsafe { libxdp_sys::libxdp_set_print(None) };
    // SAFETY: the same.
    let _ = unsafe { libbpf_sys::libbpf_set_print(None) };
}
