//! Probes: one small exchange each, and what was seen of it.
//!
//! A probe ends in a fact, never in a judgement: *answered* means that bytes went there and came
//! back; *silent* means that nothing came back in time, which is how a denied packet looks.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::error::LabError;
use super::node::Place;

/// How long a probe waits before it calls a place silent. A first packet may need ARP.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// What a probe carries and expects back.
const TOKEN: &[u8] = b"lockgate-lab-probe";

/// What a probe saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The bytes came back.
    Answered,
    /// Someone there said no: a reset, a port unreachable.
    Refused,
    /// Nothing came back in time.
    Silent,
    /// The own stack, or a router, said that there is no way.
    Unreachable,
    /// It began and then broke off.
    Broken,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Answered => "allowed",
            Self::Silent => "denied",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
        })
    }
}

/// Which protocol a probe speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// A TCP connection that echoes.
    Tcp,
    /// A UDP packet that is echoed.
    Udp,
    /// An ICMP or ICMPv6 echo.
    Icmp,
}

impl fmt::Display for Speech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP",
        })
    }
}

/// Probes `to`, from the place's address of the same family.
///
/// # Errors
/// When the namespace can't be entered, or the place has no address of that family.
pub fn probe(
    speech: Speech,
    from: &Place,
    to: SocketAddr,
    patience: Duration,
) -> Result<Seen, LabError> {
    let source = from.address(to.is_ipv6()).ok_or_else(|| {
        LabError::Unexpected(format!("{} has no address to reach {to} from", from.namespace.name()))
    })?;
    let socket = from.namespace.enter(|| open(speech, source, to))?;
    let socket = socket.map_err(LabError::io(format!("open a {speech} socket from {source}")))?;
    Ok(match speech {
        Speech::Tcp => tcp(socket, to, patience),
        Speech::Udp => udp(&socket.into(), to, patience),
        Speech::Icmp => icmp(&socket, to.ip(), patience),
    })
}

/// Connects, and leaves the connection to the caller.
///
/// # Errors
/// When the namespace can't be entered or the connection does not come about in time.
pub fn connect(from: &Place, to: SocketAddr, patience: Duration) -> Result<TcpStream, LabError> {
    let source = from.address(to.is_ipv6()).ok_or_else(|| LabError::Unknown(to.to_string()))?;
    let socket = from.namespace.enter(|| -> io::Result<Socket> {
        let socket = open(Speech::Tcp, source, to)?;
        socket.connect_timeout(&to.into(), patience)?;
        Ok(socket)
    })?;
    socket.map(TcpStream::from).map_err(LabError::io(format!("connect {source} to {to}")))
}

/// Sends the token over a connection and waits for it to come back.
#[must_use]
pub fn echo(stream: &mut TcpStream, patience: Duration) -> Seen {
    let exchange = |stream: &mut TcpStream| -> io::Result<bool> {
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(TOKEN)?;
        let mut back = [0; TOKEN.len()];
        stream.read_exact(&mut back)?;
        Ok(back == TOKEN)
    };
    match exchange(stream) {
        Ok(true) => Seen::Answered,
        Err(error) if is_timeout(&error) => Seen::Silent,
        Ok(false) | Err(_) => Seen::Broken,
    }
}

fn open(speech: Speech, source: IpAddr, to: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(to);
    let socket = match speech {
        Speech::Tcp => Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?,
        Speech::Udp => Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?,
        Speech::Icmp => {
            let protocol = if to.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
            Socket::new(domain, Type::RAW, Some(protocol))?
        }
    };
    socket.bind(&SocketAddr::new(source, 0).into())?;
    Ok(socket)
}

fn tcp(socket: Socket, to: SocketAddr, patience: Duration) -> Seen {
    match socket.connect_timeout(&to.into(), patience) {
        Ok(()) => echo(&mut socket.into(), patience),
        Err(error) => failed(&error),
    }
}

fn udp(socket: &UdpSocket, to: SocketAddr, patience: Duration) -> Seen {
    let exchange = || -> io::Result<bool> {
        socket.connect(to)?;
        socket.set_read_timeout(Some(patience))?;
        socket.send(TOKEN)?;
        let mut back = [0; 64];
        let length = socket.recv(&mut back)?;
        Ok(back.get(..length) == Some(TOKEN))
    };
    match exchange() {
        Ok(true) => Seen::Answered,
        Ok(false) => Seen::Broken,
        Err(error) => failed(&error),
    }
}

/// One echo request on a raw socket, so that no `ping_group_range` is needed.
fn icmp(socket: &Socket, to: IpAddr, patience: Duration) -> Seen {
    let request = echo_request(to.is_ipv6());
    let start = Instant::now();
    let exchange = || -> io::Result<Seen> {
        let mut socket = socket;
        socket.connect(&SocketAddr::new(to, 0).into())?;
        socket.send(&request)?;
        loop {
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(Seen::Silent);
            }
            socket.set_read_timeout(Some(left))?;
            let mut room = [0; 2048];
            let length = socket.read(&mut room)?;
            if answers(room.get(..length).unwrap_or(&[]), to.is_ipv6(), &request) {
                return Ok(Seen::Answered);
            }
        }
    };
    exchange().unwrap_or_else(|error| failed(&error))
}

/// An echo request with the process's own identifier. The kernel fills in ICMPv6's checksum.
fn echo_request(v6: bool) -> Vec<u8> {
    static SEQUENCE: AtomicU16 = AtomicU16::new(1);
    let [.., id_high, id_low] = std::process::id().to_be_bytes();
    let [sequence_high, sequence_low] = SEQUENCE.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let kind = if v6 { 128 } else { 8 };
    let mut bytes = vec![kind, 0, 0, 0, id_high, id_low, sequence_high, sequence_low];
    bytes.extend_from_slice(TOKEN);
    if !v6 {
        let [high, low] = checksum(&bytes).to_be_bytes();
        bytes[2] = high;
        bytes[3] = low;
    }
    bytes
}

/// Whether a packet is the echo reply to `request`. IPv4's raw sockets show the IP header too.
fn answers(packet: &[u8], v6: bool, request: &[u8]) -> bool {
    let (skip, kind) =
        if v6 { (0, 129) } else { (usize::from(packet.first().unwrap_or(&0) & 15) * 4, 0) };
    let message = packet.get(skip..).unwrap_or(&[]);
    message.first() == Some(&kind) && message.get(4..) == request.get(4..)
}

/// The Internet checksum (RFC 1071) of whole messages.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// What a failed exchange means.
fn failed(error: &io::Error) -> Seen {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    match error.kind() {
        _ if is_timeout(error) => Seen::Silent,
        ConnectionRefused | ConnectionReset => Seen::Refused,
        HostUnreachable | NetworkUnreachable => Seen::Unreachable,
        _ => Seen::Broken,
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_request_has_a_checksum_that_sums_to_zero() {
        assert_eq!(checksum(&echo_request(false)), 0);
    }

    #[test]
    fn only_the_reply_with_the_own_identifier_and_sequence_answers() {
        let request = echo_request(true);
        let mut reply = request.clone();
        reply[0] = 129;
        assert!(answers(&reply, true, &request));
        reply[7] ^= 1;
        assert!(!answers(&reply, true, &request));
    }
}
