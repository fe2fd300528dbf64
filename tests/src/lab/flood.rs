//! A flood: one pod sends UDP as fast as it can, within a stated count and time.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::error::LabError;
use super::node::Place;

/// Where a flood ends, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Packets sent.
    pub packets: u64,
    /// Time gone by.
    pub time: Duration,
}

/// A flood that runs; dropping it ends it.
#[derive(Debug)]
pub struct Flood {
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Starts to send packets of 18 payload bytes (64 on the wire, with the frame's checksum).
    ///
    /// # Errors
    /// When the socket can't be made.
    pub fn start(from: &Place, to: SocketAddr, limit: Limit) -> Result<Self, LabError> {
        let source = from.address(to.is_ipv6()).ok_or_else(|| LabError::Unknown(to.to_string()))?;
        let socket = from
            .namespace
            .enter(|| -> std::io::Result<UdpSocket> {
                let socket = UdpSocket::bind((source, 0))?;
                socket.connect(to)?;
                Ok(socket)
            })?
            .map_err(LabError::io(format!("flood from {source} to {to}")))?;
        let (sent, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&sent), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            let start = Instant::now();
            while count.load(Ordering::Relaxed) < limit.packets
                && start.elapsed() < limit.time
                && !end.load(Ordering::Relaxed)
            {
                // A full queue, or a refusal from the other side, is part of a flood.
                let _ = socket.send(&[0; 18]);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Self { sent, ended, thread: Some(thread) })
    }

    /// Packets sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether it still sends.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It can't panic; and if it did, stderr has it.
            let _ = thread.join();
        }
    }
}
