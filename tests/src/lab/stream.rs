//! A stream of packets at a steady pace, one way: what of it arrives, and the longest time that
//! nothing did.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::error::LabError;
use super::node::Place;

/// The time between two packets.
pub const PACE: Duration = Duration::from_millis(1);

/// How long the receiver waits for what is under way.
const LAST: Duration = Duration::from_millis(100);

/// What became of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Packets sent.
    pub sent: u64,
    /// Packets that arrived.
    pub received: u64,
    /// The longest time between two that arrived one after the other.
    pub longest: Duration,
    /// The longest time between the sending of two such packets, where some between them were
    /// lost: the receiver's own pauses are not in it.
    pub outage: Duration,
}

/// A stream that runs until it is ended.
#[derive(Debug)]
pub struct Stream {
    ended: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<Flow>,
}

impl Stream {
    /// Starts one from a place to a port of another.
    ///
    /// # Errors
    /// When a place cannot be entered, or the port is taken.
    pub fn start(from: &Place, to: &Place, port: u16) -> Result<Self, LabError> {
        let none = || LabError::Unexpected("a place has no IPv4 address".to_owned());
        let source: IpAddr = from.address(false).ok_or_else(none)?;
        let target: SocketAddr = (to.address(false).ok_or_else(none)?, port).into();
        let receiving = to.namespace.enter(|| UdpSocket::bind(target))?;
        let receiving = receiving.map_err(LabError::io(format!("receive at {target}")))?;
        let sending = from.namespace.enter(|| -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind((source, 0))?;
            socket.connect(target)?;
            Ok(socket)
        })?;
        let sending = sending.map_err(LabError::io(format!("send from {source}")))?;
        let ended = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let end = Arc::clone(&ended);
        let sender = thread::spawn(move || send(&sending, begun, &end));
        let end = Arc::clone(&ended);
        let receiver = thread::spawn(move || receive(&receiving, &end));
        Ok(Self { ended, sender, receiver })
    }

    /// Ends it, and says what became of it.
    #[must_use]
    pub fn end(self) -> Flow {
        self.ended.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap_or_default();
        Flow { sent, ..self.receiver.join().unwrap_or_default() }
    }
}

/// Sends until it is ended: number and time.
fn send(socket: &UdpSocket, begun: Instant, ended: &AtomicBool) -> u64 {
    let mut sent = 0_u64;
    while !ended.load(Ordering::Relaxed) {
        let time = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let [number, time] = [sent, time].map(u64::to_be_bytes);
        // A refusal is a packet that does not arrive.
        let _ = socket.send(&[number, time].concat());
        sent += 1;
        thread::sleep(PACE);
    }
    sent
}

fn receive(socket: &UdpSocket, ended: &AtomicBool) -> Flow {
    let mut flow = Flow::default();
    let mut last: Option<(u64, u64, Instant)> = None;
    let mut packet = [0; 64];
    if socket.set_read_timeout(Some(LAST)).is_err() {
        return flow;
    }
    loop {
        let Ok(length) = socket.recv(&mut packet) else {
            if ended.load(Ordering::Relaxed) {
                return flow;
            }
            continue;
        };
        let words = packet.get(..length).map(<[u8]>::as_chunks::<8>);
        let Some(([number, time], [])) = words else { continue };
        let (number, time) = (u64::from_be_bytes(*number), u64::from_be_bytes(*time));
        let now = Instant::now();
        if let Some((before, sent_at, at)) = last {
            flow.longest = flow.longest.max(now - at);
            if number > before + 1 {
                let outage = Duration::from_nanos(time.saturating_sub(sent_at));
                flow.outage = flow.outage.max(outage);
            }
        }
        last = Some((number, time, now));
        flow.received += 1;
    }
}
