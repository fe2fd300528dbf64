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

mod credit;
mod error;
pub mod memory;
pub mod pin;
pub mod program;
mod setup;
mod socket;
pub mod xsk;

pub use credit::{CREDIT_MAX, CREDIT_MIN, FILLS_PER_TURN, QUIET_MAX, fair_credit};
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
const _: () = assert!(RING_FRAMES.is_power_of_two());

/// Receives and sends packets for one worker.
///
/// A turn calls, in this order: `reclaim`, `fill`, `receive`, `send` for each packet, `flush`.
pub trait Port {
    /// Takes packets from the port into `batch`, as many as it has room for: how many.
    fn receive(&mut self, pool: &mut FramePool, batch: &mut Batch) -> usize;

    /// Gives the port free frames to receive into, at most `BATCH_MAX` in one call: its least share
    /// always, up to its credit as far as it is busy and the pool can spare them. How many.
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
