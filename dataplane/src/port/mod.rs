//! Ports: where packets come in and go out. Hot path.
//!
//! A port is one socket on one queue. [`xsk`] is the real one (`AF_XDP`), [`memory`] the one of
//! tests and of the simulation; both move frames by the same ledger ([`crate::frame`]).
//! [`program`] puts our XDP program on the interface, without which no packet reaches a socket.
//!
//! ```text
//!   worker's thread                            control thread
//!   ---------------                            --------------
//!   XskPort: four rings                        SocketHandle: descriptor, statistics
//!      `------------- both dropped: the socket is closed ----------'
//! ```
//!
//! The control thread makes both halves and closes both (house D12), because that needs calls
//! that a worker may not make; closing gives the [`Closed`](crate::frame::Closed) that brings
//! the frames home.

mod error;
pub mod memory;
pub mod program;
mod socket;
pub mod xsk;

pub use error::{PortError, check_mtu};
pub use socket::{SocketHandle, XdpStatistics};

use crate::frame::{Batch, Frame, FramePool};

/// Entries of each of a port's rings: fill, receive, transmit, completion.
///
/// No ring can overflow: at most [`CREDIT_MAX`] frames are in fill and receive together, as
/// many in transmit and completion. The four take 96 KiB (16 bytes per packet entry, 8 per
/// address), 24 MiB for 250 ports; half as many entries would halve the burst that a port
/// takes while its worker is elsewhere, twice as many would never be filled.
pub const RING_FRAMES: u32 = 2048;

/// The most frames a port's fill ring, or its transmit side, may hold.
pub const CREDIT_MAX: u32 = RING_FRAMES;

/// The fewest that are enough to work: one batch.
pub const CREDIT_MIN: u32 = 64;

const _: () = assert!(RING_FRAMES.is_power_of_two());
const _: () = assert!(CREDIT_MIN as usize >= crate::limits::BATCH_MAX);

/// The credit that each of `ports` ports of a worker may have, so that all of them at their
/// bounds leave an eighth of the frames in the pool:
/// `ports × (fill + transmit) + pool <= frames`, with `fill = transmit = credit`.
///
/// `None` where not even [`CREDIT_MIN`] is left for each.
#[must_use]
pub fn fair_credit(frames: u32, ports: u32) -> Option<u32> {
    let shared = frames.saturating_sub(frames / 8);
    let credit = shared.checked_div(ports.saturating_mul(2)).unwrap_or(CREDIT_MAX);
    (credit >= CREDIT_MIN).then_some(credit.min(CREDIT_MAX))
}

/// Receives and sends packets for one worker.
///
/// A turn calls, in this order: `reclaim`, `fill`, `receive`, `send` for each packet, `flush`.
pub trait Port {
    /// Takes packets from the port into `batch`, as many as it has room for: how many.
    fn receive(&mut self, pool: &mut FramePool, batch: &mut Batch) -> usize;

    /// Gives the port free frames to receive into, up to its credit and at most `BATCH_MAX` in
    /// one call: how many.
    fn fill(&mut self, pool: &mut FramePool) -> usize;

    /// Queues a packet to be sent by the next `flush`.
    ///
    /// # Errors
    ///
    /// Gives the frame back where the port has as many packets under way as its credit, or
    /// where the packet has no Ethernet header.
    fn send(&mut self, pool: &mut FramePool, frame: Frame) -> Result<(), Frame>;

    /// Sends what was queued. What the far end does not take now stays under way and is tried
    /// again by the next flushes.
    fn flush(&mut self);

    /// Takes the frames of sent packets back to the pool: how many.
    fn reclaim(&mut self, pool: &mut FramePool) -> usize;

    /// Sets how many frames the port may hold in its fill ring, and as many under way to be
    /// sent; kept between [`CREDIT_MIN`] and [`CREDIT_MAX`]. A lower credit takes nothing away:
    /// the port gives the excess back as packets come and go.
    fn set_credit(&mut self, frames: u32);

    /// Frames in the fill and the receive ring.
    fn in_fill(&self) -> u32;

    /// Frames queued, in the transmit and in the completion ring.
    fn in_transmit(&self) -> u32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_ample_for_few_ports_and_fair_for_many() {
        assert_eq!(fair_credit(8192, 1), Some(CREDIT_MAX));
        assert_eq!(fair_credit(8192, 3), Some(1194));
        assert_eq!(fair_credit(8192, 56), Some(CREDIT_MIN));
        assert_eq!(fair_credit(8192, 57), None);
        assert_eq!(fair_credit(8192, 0), Some(CREDIT_MAX));
        for (frames, ports) in [(8192, 7), (65_536, 250), (4096, 3)] {
            let credit = fair_credit(frames, ports).expect("enough frames");
            assert!(ports * 2 * credit < frames, "{ports} ports of {frames} frames");
        }
    }
}
