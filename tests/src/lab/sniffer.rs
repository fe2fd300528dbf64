//! A raw-socket sniffer: counts the frames of a namespace that match a predicate.
//!
//! It sees what the interface of a pod receives, before any stack has a say: a packet that a
//! switch let leak counts even where no one listens.

use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::error::LabError;
use super::namespace::Namespace;

/// Every protocol, in the byte order that `socket(2)` wants (`ETH_P_ALL`).
const EVERY_PROTOCOL: i32 = 0x0003_u16.to_be() as i32;

/// Receive room of the socket: what a flood brings between two reads must fit.
const ROOM_BYTES: usize = 16 << 20;

/// A running sniffer.
#[derive(Debug)]
pub struct Sniffer {
    seen: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// Starts to count. From the return on, no frame is missed.
    ///
    /// # Errors
    /// When the namespace can't be entered or the socket not made.
    pub fn start(
        namespace: &Namespace,
        matches: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> Result<Self, LabError> {
        let socket = namespace
            .enter(|| -> std::io::Result<Socket> {
                let socket = sniffing_socket()?;
                socket.set_read_timeout(Some(Duration::from_millis(50)))?;
                Ok(socket)
            })?
            .map_err(LabError::io(format!("sniff in {}", namespace.name())))?;
        let (seen, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, end) = (Arc::clone(&seen), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            let mut socket = &socket;
            let mut room = vec![0; 64 * 1024];
            while !end.load(Ordering::Relaxed) {
                if let Ok(length) = socket.read(&mut room)
                    && room.get(..length).is_some_and(&matches)
                {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { seen, ended, thread: Some(thread) })
    }

    /// How many frames matched so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A predicate that panicked has said so on stderr.
            let _ = thread.join();
        }
    }
}

/// A socket that sees every frame of the namespace it is made in, and what is sent there too.
///
/// # Errors
/// When the kernel refuses it.
pub fn sniffing_socket() -> std::io::Result<Socket> {
    let protocol = Protocol::from(EVERY_PROTOCOL);
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
    socket.set_recv_buffer_size(ROOM_BYTES)?;
    Ok(socket)
}

/// Matches IP packets from one address to another, and to a port where one is given.
///
/// IPv6 extension headers are not walked: the lab's own senders make none.
pub fn between(from: IpAddr, to: IpAddr, port: Option<u16>) -> impl Fn(&[u8]) -> bool + Send {
    move |frame| {
        let Some((source, target, transport)) = addresses(frame) else { return false };
        let to_port = transport.get(2..4).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        source == from && target == to && (port.is_none() || port == to_port)
    }
}

/// Source, target, protocol number and target port of a frame that holds IP; port 0 where the
/// protocol has none.
#[must_use]
pub fn flow(frame: &[u8]) -> Option<(IpAddr, IpAddr, u8, u16)> {
    let (source, target, transport) = addresses(frame)?;
    let number = *frame.get(if source.is_ipv4() { 23 } else { 20 })?;
    let has_ports = matches!(number, 6 | 17 | 132);
    let port = transport.get(2..4).filter(|_| has_ports);
    Some((source, target, number, port.map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))))
}

/// Source, target and transport bytes of an Ethernet frame that holds IP.
fn addresses(frame: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let packet = frame.get(14..)?;
    match frame.get(12..14)? {
        [0x08, 0x00] => {
            let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
            let target: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            let header = usize::from(packet.first()? & 15) * 4;
            Some((source.into(), target.into(), packet.get(header..)?))
        }
        [0x86, 0xdd] => {
            let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
            let target: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some((source.into(), target.into(), packet.get(40..)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_matches_by_both_addresses_and_the_target_port() {
        let mut frame = vec![0; 14 + 20 + 8];
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14] = 0x45;
        frame[26..30].copy_from_slice(&[10, 0, 0, 1]);
        frame[30..34].copy_from_slice(&[10, 0, 0, 2]);
        frame[36..38].copy_from_slice(&[0x1f, 0x90]);
        let (from, to) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert!(between(from, to, Some(8080))(&frame));
        assert!(between(from, to, None)(&frame));
        assert!(!between(from, to, Some(8081))(&frame));
        assert!(!between(to, from, None)(&frame));
        assert!(!between(from, to, None)(&frame[..20]));
    }
}
