//! The control side of a port: its descriptor and its statistics.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::sockopt;

use super::xsk::XskPort;
use crate::frame::Closed;
use crate::ids::PortSlot;

/// The half of a port that the control thread keeps.
///
/// It holds the socket open: the socket is closed when both halves are gone.
#[derive(Debug)]
pub struct SocketHandle {
    descriptor: OwnedFd,
    /// The same as in the other half.
    socket: SocketId,
    interface: String,
    queue: u32,
    slot: PortSlot,
}

/// A socket's number, never two alike in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketId(u64);

impl SocketId {
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Relaxed: only the number matters, it orders nothing.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl SocketHandle {
    pub(super) fn new(
        descriptor: OwnedFd,
        socket: SocketId,
        interface: &str,
        queue: u32,
        slot: PortSlot,
    ) -> Self {
        Self { descriptor, socket, interface: interface.to_owned(), queue, slot }
    }

    /// The interface the socket is bound to.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The queue the socket is bound to.
    #[must_use]
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// The place of the port with its worker.
    #[must_use]
    pub fn slot(&self) -> PortSlot {
        self.slot
    }

    /// What the kernel counted for this socket.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn statistics(&self) -> io::Result<XdpStatistics> {
        let counted = sockopt::xdp_statistics(&self.descriptor)?;
        Ok(XdpStatistics {
            rx_dropped: counted.rx_dropped,
            rx_invalid_descs: counted.rx_invalid_descs,
            tx_invalid_descs: counted.tx_invalid_descs,
            // Kernels before 5.9 have the first three only.
            rx_ring_full: counted.rx_ring_full.unwrap_or(0),
            rx_fill_ring_empty_descs: counted.rx_fill_ring_empty_descs.unwrap_or(0),
            tx_ring_empty_descs: counted.tx_ring_empty_descs.unwrap_or(0),
        })
    }

    /// Closes the socket: with the half that the worker gave back, nobody holds it any more.
    /// The interface must still have its program, or packets pass.
    ///
    /// # Panics
    ///
    /// Where the two are halves of different ports: one socket would stay open, and its frames
    /// would be used twice.
    pub fn close(self, port: XskPort) -> Closed {
        // The other half first: xsk-rs takes it apart under a lock of the whole memory, and the
        // kernel waits for its readers when the last descriptor goes. That wait must be nobody else's.
        let closed = port.into_closed(self.socket);
        drop(self.descriptor);
        closed
    }
}

impl AsFd for SocketHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The kernel's counters of one socket (`struct xdp_statistics`), under the kernel's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpStatistics {
    /// Received and dropped: longer than a frame, or no memory.
    pub rx_dropped: u64,
    /// Entries of the fill ring that name no frame.
    pub rx_invalid_descs: u64,
    /// Entries of the transmit ring that name no frame, or no packet.
    pub tx_invalid_descs: u64,
    /// Received and dropped: the receive ring was full.
    pub rx_ring_full: u64,
    /// Received and dropped: the fill ring was empty.
    pub rx_fill_ring_empty_descs: u64,
    /// Times the kernel looked into an empty transmit ring.
    pub tx_ring_empty_descs: u64,
}

impl XdpStatistics {
    /// Every field with its name, for metrics.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, u64); 6] {
        [
            ("rx_dropped", self.rx_dropped),
            ("rx_invalid_descs", self.rx_invalid_descs),
            ("tx_invalid_descs", self.tx_invalid_descs),
            ("rx_ring_full", self.rx_ring_full),
            ("rx_fill_ring_empty_descs", self.rx_fill_ring_empty_descs),
            ("tx_ring_empty_descs", self.tx_ring_empty_descs),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_of_the_kernel_has_its_own_name() {
        let statistics = XdpStatistics {
            rx_dropped: 1,
            rx_invalid_descs: 2,
            tx_invalid_descs: 3,
            rx_ring_full: 4,
            rx_fill_ring_empty_descs: 5,
            tx_ring_empty_descs: 6,
        };
        let fields = statistics.fields();
        assert_eq!(fields.map(|(_, value)| value), [1, 2, 3, 4, 5, 6]);
        let shown = format!("{statistics:?}");
        for (name, value) in fields {
            assert!(shown.contains(&format!("{name}: {value}")), "{name}");
        }
    }
}
