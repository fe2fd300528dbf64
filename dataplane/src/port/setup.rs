//! The safe part of [`super::xsk`]: what sockets and memory are set up with, and how their
//! descriptors are read.

use std::error::Error;
use std::time::Duration;
use std::{io, thread};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use xsk_rs::config::{BindFlags, FrameSize, LibxdpFlags, QueueSize, SocketConfig, UmemConfig};
use xsk_rs::umem::frame::FrameDesc;

use super::RING_FRAMES;
use crate::limits::{FRAME_BYTES, HEADROOM_BYTES, PACKET_BYTES_MAX};

/// The most frames of one worker: 4 GiB of packet memory.
pub(super) const FRAMES_MAX: u32 = 1 << 20;

pub(super) const FRAME_SHIFT: u32 = FRAME_BYTES.trailing_zeros();
const _: () = assert!(FRAME_BYTES.is_power_of_two());

/// Open files a switch with many ports needs: a socket and two pins per port, workers, clients.
const OPEN_FILES: u64 = 65_536;

/// Tries to bind, and the time between two: a queue is free a moment after its socket closed. In a
/// hand-over every packet of that moment is lost, so it is looked for often.
const BIND_TRIES: u32 = 1000;
const BIND_PAUSE: Duration = Duration::from_millis(1);

/// Bytes of packets that one socket may have in the far end's receive path. The default of
/// 208 KiB is used up by 26 packets of 3840 bytes, and ends a kick early.
pub(super) const SEND_BUFFER_BYTES: usize = 8 << 20;

/// Frames of [`FRAME_BYTES`], rings of [`RING_FRAMES`].
pub(super) fn umem_config() -> io::Result<UmemConfig> {
    let frame = u32::try_from(FRAME_BYTES).map_err(io::Error::other)?;
    let ring = QueueSize::new(RING_FRAMES).map_err(io::Error::other)?;
    let mut config = UmemConfig::builder();
    config.frame_size(FrameSize::new(frame).map_err(io::Error::other)?);
    config.fill_queue_size(ring).comp_queue_size(ring);
    config.build().map_err(io::Error::other)
}

/// Packet rings of `ring` entries; libxdp loads no program.
pub(super) fn socket_config(ring: u32, flags: BindFlags) -> io::Result<SocketConfig> {
    let size = QueueSize::new(ring).map_err(io::Error::other)?;
    Ok(SocketConfig::builder()
        .rx_queue_size(size)
        .tx_queue_size(size)
        .bind_flags(flags)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .build())
}

/// A descriptor's frame and length. A packet that does not begin after the headroom, or is
/// longer than a frame, is no packet of our program's: it counts as empty, and the parser
/// drops it.
#[inline]
pub(super) fn locate(descriptor: &FrameDesc) -> (u32, u16) {
    let index = u32::try_from(descriptor.addr() >> FRAME_SHIFT).unwrap_or(u32::MAX);
    let offset = descriptor.addr() & FRAME_BYTES.wrapping_sub(1);
    let length = descriptor.lengths().data();
    let whole =
        offset == HEADROOM_BYTES && length <= PACKET_BYTES_MAX && !descriptor.has_more_frames();
    let length = if whole { u16::try_from(length).unwrap_or(0) } else { 0 };
    (index, length)
}

/// Tries again while the queue is busy: its last socket may be only just closed.
pub(super) fn patiently<T>(mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..BIND_TRIES {
        match bind() {
            Err(cause) if cause.raw_os_error() == Some(libc::EBUSY) => {
                #[allow(clippy::disallowed_methods)] // the control thread's: it may wait
                thread::sleep(BIND_PAUSE);
            }
            other => return other,
        }
    }
    bind()
}

/// The kernel's answer inside an error of xsk-rs.
pub(super) fn cause_of(error: &dyn Error) -> io::Error {
    let answer = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let number = answer.and_then(io::Error::raw_os_error);
    number.map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

/// Raises the limits that sockets and packet memory run into, as far as this process may:
/// locked memory, open files. What could not be raised shows when it is missed.
pub(super) fn raise_limits() {
    let unlimited = Rlimit { current: None, maximum: None };
    if setrlimit(Resource::Memlock, unlimited).is_err() {
        raise_to_hard(Resource::Memlock);
    }
    let open = getrlimit(Resource::Nofile);
    let enough = open.maximum.is_none_or(|hard| hard >= OPEN_FILES);
    let more = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
    if enough || setrlimit(Resource::Nofile, more).is_err() {
        raise_to_hard(Resource::Nofile);
    }
}

fn raise_to_hard(resource: Resource) {
    let hard = getrlimit(resource).maximum;
    // It can fail only if the limit was lowered in between: then it stays.
    let _ = setrlimit(resource, Rlimit { current: hard, maximum: hard });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> io::Error {
        io::Error::from_raw_os_error(libc::EBUSY)
    }

    #[test]
    fn a_busy_queue_is_tried_until_it_is_free() {
        let mut tries = 0;
        let bound = patiently(|| {
            tries += 1;
            if tries < 3 { Err(busy()) } else { Ok(tries) }
        });
        assert_eq!(bound.expect("free in the end"), 3);
    }

    #[test]
    fn any_other_refusal_is_final() {
        let mut tries = 0;
        let refused: io::Result<()> = patiently(|| {
            tries += 1;
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        });
        assert_eq!(refused.expect_err("refused").raw_os_error(), Some(libc::EINVAL));
        assert_eq!(tries, 1);
    }
}
