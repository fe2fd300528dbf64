//! The packets of cases.

use lockgate_dataplane::packet::{FlowKey, Protocol, TcpFlags};

use super::Send;
use crate::oracle::Family;
use crate::packets::{self, Ends};

/// The first source port of lines that state none; their number is added.
const PORTS_FROM: usize = 20_000;
/// How many of them there are.
const PORTS: usize = 40_000;
const SCTP_INIT: u8 = 1;
const GRE: u8 = 47;

/// The frame of a case's packet. `number` tells its connection from those of other lines where no
/// source port is stated; `last` is the last packet that went the other way, for an ICMP error.
#[must_use]
pub fn frame(send: &Send, ends: Ends, number: usize, last: Option<&[u8]>) -> Vec<u8> {
    let own = u16::try_from(PORTS_FROM + number % PORTS).unwrap_or(u16::MAX);
    let ports = (send.source_port.unwrap_or(own), send.target_port);
    match (send.protocol, send.detail.as_str()) {
        (Protocol::Tcp, flags) => packets::tcp(ends, ports, tcp_flags(flags), b""),
        (Protocol::Udp, _) => packets::udp(ends, ports, b"x"),
        (Protocol::Sctp, "") => packets::sctp(ends, ports, 0, SCTP_INIT, &[0; 16]),
        (Protocol::Sctp, _) => packets::sctp(ends, ports, 1, 0, b"data"),
        (Protocol::Icmp | Protocol::IcmpV6, "error") => {
            let (kind, code) = if ends.source.is_ipv4() { (3, 3) } else { (1, 4) };
            packets::icmp_error(ends, kind, code, last.unwrap_or_default())
        }
        (Protocol::Icmp | Protocol::IcmpV6, detail) => {
            packets::echo(ends, detail == "echo-reply", ports.0, 1, b"x")
        }
        (Protocol::Other, _) => packets::ip(ends, GRE, b"payload"),
    }
}

/// What policy is asked about the packet: the protocol, and the port or what stands for it.
pub(super) fn service(send: &Send, family: Family) -> (Protocol, u16) {
    match (send.protocol, family) {
        (Protocol::Icmp, Family::V4) => (Protocol::Icmp, FlowKey::message(8, 0)),
        (Protocol::Icmp, Family::V6) => (Protocol::IcmpV6, FlowKey::message(128, 0)),
        (Protocol::Other, _) => (Protocol::Other, GRE.into()),
        (other, _) => (other, send.target_port),
    }
}

fn tcp_flags(words: &str) -> TcpFlags {
    let words = if words.is_empty() { "syn" } else { words };
    let flags = words.split(',').map(|word| match word {
        "syn" => TcpFlags::SYN,
        "ack" => TcpFlags::ACK,
        "fin" => TcpFlags::FIN,
        _ => TcpFlags::RST,
    });
    flags.reduce(TcpFlags::with).unwrap_or(TcpFlags::SYN)
}
