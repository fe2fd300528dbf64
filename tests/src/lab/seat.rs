//! A seat: a wire of the lab on which packets are made by hand, whoever's they are.
//!
//! Its namespace sends whole IP packets with any addresses, and sees every frame that arrives,
//! so one set of seats serves every case: pods take them in turn. Where a packet ended is read
//! from the sink and from the switch's counters; nobody waits for a time to pass.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use nix::sys::socket::{LinkAddr, MsgFlags, sendto};
use socket2::{Domain, Protocol, Socket, Type};

use super::error::LabError;
use super::namespace::Namespace;
use super::node::{GATEWAY_V4, GATEWAY_V6, Lab};
use super::sniffer::sniffing_socket;
use super::switch::FAR_END;

/// The protocol number of sockets that send whole packets (`IPPROTO_RAW`).
const WHOLE_PACKETS: i32 = 255;

/// One end of a wire.
#[derive(Debug)]
pub struct Seat {
    /// The switch's side of the wire.
    pub interface: String,
    v4: Socket,
    v6: Socket,
    sink: Socket,
    /// Its own end.
    link: LinkAddr,
}

impl Seat {
    /// A new wire of this number, its far end in a namespace of its own.
    ///
    /// # Errors
    /// When a step fails.
    pub fn build(lab: &Lab, number: usize) -> Result<Self, LabError> {
        let interface = format!("seat{number}");
        let name = format!("{}-{interface}", lab.shape().prefix);
        let namespace = Namespace::create(&name)?;
        let mtu = lab.shape().mtu;
        lab.node().ip(&[format!(
            "link add {interface} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {name}"
        )])?;
        namespace.sysctl("ipv6/conf/eth0/accept_dad", "0")?;
        namespace.sysctl("ipv6/conf/eth0/accept_ra", "0")?;
        // Without an address of its own a namespace has none to route IPv6 packets with.
        namespace.ip(&["link set eth0 up".to_owned()])?;
        Self::on(&namespace, "eth0", interface)
    }

    /// The far end of the host port: the node's stack and the world behind it.
    ///
    /// # Errors
    /// When a step fails.
    pub fn outside(lab: &Lab) -> Result<Self, LabError> {
        Self::on(lab.outside(), FAR_END, String::new())
    }

    fn on(namespace: &Namespace, far: &str, interface: String) -> Result<Self, LabError> {
        namespace.ip(&[
            format!("route replace default via {GATEWAY_V4} dev {far} onlink"),
            format!("route replace ::/0 via {GATEWAY_V6} dev {far}"),
            // Asked by whom? The senders that packets name are not this namespace's.
            format!("neigh replace {GATEWAY_V4} lladdr {GATEWAY_MAC} dev {far} nud permanent"),
            format!("neigh replace {GATEWAY_V6} lladdr {GATEWAY_MAC} dev {far} nud permanent"),
        ])?;
        Self::at(namespace, far, interface)
    }

    /// An interface of a namespace as it is.
    ///
    /// # Errors
    /// When its sockets can't be made.
    pub fn at(namespace: &Namespace, far: &str, interface: String) -> Result<Self, LabError> {
        let what = || format!("make raw sockets in {}", namespace.name());
        let open = || -> std::io::Result<(Socket, Socket, Socket, LinkAddr)> {
            let (v4, v6) = (raw_socket(Domain::IPV4)?, raw_socket(Domain::IPV6)?);
            let sink = sniffing_socket()?;
            sink.set_nonblocking(true)?;
            Ok((v4, v6, sink, link_of(far)?))
        };
        let (v4, v6, sink, link) = namespace.enter(open)?.map_err(LabError::io(what()))?;
        Ok(Self { interface, v4, v6, sink, link })
    }

    /// The MAC of its end.
    #[must_use]
    pub fn mac(&self) -> Mac {
        Mac(self.link.addr().unwrap_or_default())
    }

    /// Sends a frame as it is, whatever it holds.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn send_frame(&self, frame: &[u8]) -> Result<(), LabError> {
        let sent = sendto(self.sink.as_raw_fd(), frame, &self.link, MsgFlags::empty());
        sent.map(drop).map_err(|errno| LabError::Io {
            what: format!("send a frame of {} bytes from {}", frame.len(), self.interface),
            source: errno.into(),
        })
    }

    /// Sends a frame's IP packet: its MACs are the wire's own and the gateway's.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn send(&self, frame: &[u8], to: IpAddr) -> Result<(), LabError> {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let packet = frame.get(14..).unwrap_or_default();
        let sent = socket.send_to(packet, &SocketAddr::new(to, 0).into());
        sent.map(drop).map_err(LabError::io(format!("send a packet to {to}")))
    }

    /// Takes the frames that have arrived since the last call.
    #[must_use]
    pub fn arrived(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut room = vec![0; 64 * 1024];
        let mut sink = &self.sink;
        loop {
            match sink.read(&mut room) {
                Ok(length) => frames.push(room.get(..length).unwrap_or_default().to_vec()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nothing more is there, or the wire has gone: the caller sees that it is missing.
                Err(_) => return frames,
            }
        }
    }
}

/// A socket that sends whole IP packets of a family, from the namespace that asks.
pub(super) fn raw_socket(domain: Domain) -> std::io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(WHOLE_PACKETS)))?;
    if domain == Domain::IPV4 {
        socket.set_header_included_v4(true)?;
    } else {
        socket.set_header_included_v6(true)?;
    }
    Ok(socket)
}

/// The link-layer address of an interface of the namespace that asks.
fn link_of(interface: &str) -> std::io::Result<LinkAddr> {
    let mut all = nix::ifaddrs::getifaddrs()?.filter(|one| one.interface_name == interface);
    let link = all.find_map(|one| one.address.as_ref()?.as_link_addr().copied());
    link.ok_or_else(|| std::io::Error::from(ErrorKind::NotFound))
}
