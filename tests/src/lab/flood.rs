//! A flood: one pod sends UDP as fast as it can, or opens connections that it never wants, within
//! a stated count and time.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::TcpFlags;
use socket2::Domain;

use super::error::LabError;
use super::node::Place;
use super::seat::raw_socket;
use crate::packets::{self, Ends};

/// SYNs between two pauses of a millisecond, at a trickle: some 14 000 a second.
const SYNS_AT_ONCE: u64 = 16;

/// How fast SYNs are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Slowly, so that the flood takes the machine's cores from nobody.
    Trickle,
    /// As fast as a core can.
    Full,
}

/// A flood of SYNs.
#[derive(Clone, Copy, Debug)]
pub struct Syns {
    /// From how many ports, in turn; from 1 to 64,000. Those from one are of one connection.
    pub ports: u64,
    /// How fast.
    pub pace: Pace,
}

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
        Ok(Self::run(limit, move |_| {
            // A full queue, or a refusal from the other side, is part of a flood.
            let _ = socket.send(&[0; 18]);
        }))
    }

    /// Starts to send SYNs from a pod's own address.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub fn of_syns(
        from: &Place,
        to: SocketAddr,
        syns: Syns,
        limit: Limit,
    ) -> Result<Self, LabError> {
        let source = from.address(to.is_ipv6()).ok_or_else(|| LabError::Unknown(to.to_string()))?;
        let socket = from.namespace.enter(|| raw_socket(Domain::for_address(to)))?;
        let socket = socket.map_err(LabError::io(format!("flood from {source} to {to}")))?;
        let mac = Mac::default();
        let ends = Ends { source_mac: mac, target_mac: mac, source, target: to.ip() };
        let port = to.port();
        let to = SocketAddr::new(to.ip(), 0).into();
        Ok(Self::run(limit, move |number| {
            let from = u16::try_from(1024 + number % syns.ports).unwrap_or(1024);
            let frame = packets::tcp(ends, (from, port), TcpFlags::SYN, &[]);
            let _ = socket.send_to(frame.get(14..).unwrap_or_default(), &to);
            if syns.pace == Pace::Trickle && number % SYNS_AT_ONCE == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }))
    }

    fn run(limit: Limit, mut packet: impl FnMut(u64) + Send + 'static) -> Self {
        let (sent, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&sent), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            let start = Instant::now();
            while count.load(Ordering::Relaxed) < limit.packets
                && start.elapsed() < limit.time
                && !end.load(Ordering::Relaxed)
            {
                packet(count.fetch_add(1, Ordering::Relaxed));
            }
        });
        Self { sent, ended, thread: Some(thread) }
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
