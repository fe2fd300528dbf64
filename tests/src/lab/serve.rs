//! Echo servers: one for each container port of the lab's pods, and for ports outside.
//!
//! Threads of the caller's process; their sockets live in the pods' namespaces.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::error::LabError;
use super::namespace::Namespace;
use super::node::Lab;

/// How often a server looks whether it should end.
const LOOK: Duration = Duration::from_millis(200);

/// Servers that run until this is dropped.
#[derive(Debug, Default)]
pub struct Servers {
    ended: Arc<AtomicBool>,
}

impl Servers {
    /// Serves every container port of every pod, and `outside` at every address outside.
    ///
    /// # Errors
    /// When a port can't be bound.
    pub fn start(lab: &Lab, outside: &[(&str, u16)]) -> Result<Self, LabError> {
        let servers = Self::default();
        for pod in lab.pods() {
            let namespace = lab.place(&pod.name)?.namespace;
            for (protocol, port) in &pod.ports {
                // One socket serves both families, and a pod has one address of each.
                servers.add(&namespace, protocol, (Ipv6Addr::UNSPECIFIED, *port).into())?;
            }
        }
        for &address in &lab.shape().outside {
            for &(protocol, port) in outside {
                // Bound to its address: an answer from another one would not be an answer.
                servers.add(lab.outside(), protocol, (address, port).into())?;
            }
        }
        Ok(servers)
    }

    /// Adds one server. A protocol that is neither TCP nor UDP is left out: the lab has no
    /// server for it.
    ///
    /// # Errors
    /// When the port can't be bound.
    pub fn add(
        &self,
        namespace: &Namespace,
        protocol: &str,
        at: SocketAddr,
    ) -> Result<(), LabError> {
        let what = || LabError::io(format!("serve {protocol} {at} in {}", namespace.name()));
        let ended = Arc::clone(&self.ended);
        match protocol {
            "TCP" => {
                let listener = namespace.enter(|| listen(at))?.map_err(what())?;
                thread::spawn(move || accept(&listener, &ended));
            }
            "UDP" => {
                let socket = namespace.enter(|| bind(at))?.map_err(what())?;
                thread::spawn(move || echo_packets(&socket, &ended));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// A TCP listener at an address; both families where the address is `::`.
///
/// # Errors
/// When the address can't be bound.
pub fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    both_families(&socket, at)?;
    socket.bind(&at.into())?;
    socket.listen(128)?;
    // Linux lets `accept` end with this time-out too.
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket.into())
}

fn bind(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    both_families(&socket, at)?;
    socket.bind(&at.into())?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket.into())
}

fn both_families(socket: &Socket, at: SocketAddr) -> io::Result<()> {
    if at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) { socket.set_only_v6(false) } else { Ok(()) }
}

fn accept(listener: &TcpListener, ended: &Arc<AtomicBool>) {
    while !ended.load(Ordering::Relaxed) {
        if let Ok((stream, _)) = listener.accept() {
            let ended = Arc::clone(ended);
            thread::spawn(move || echo_stream(stream, &ended));
        }
    }
}

fn echo_stream(mut stream: TcpStream, ended: &AtomicBool) {
    let mut room = vec![0; 64 * 1024];
    if stream.set_read_timeout(Some(LOOK)).is_err() {
        return;
    }
    while !ended.load(Ordering::Relaxed) {
        match stream.read(&mut room) {
            Ok(0) => return,
            Ok(length) => {
                let Some(bytes) = room.get(..length) else { return };
                if stream.write_all(bytes).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn echo_packets(socket: &UdpSocket, ended: &AtomicBool) {
    let mut room = vec![0; 64 * 1024];
    while !ended.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut room)
            && let Some(bytes) = room.get(..length)
        {
            // A client that is gone takes no answer.
            let _ = socket.send_to(bytes, from);
        }
    }
}
