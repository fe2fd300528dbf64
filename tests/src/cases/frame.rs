//! The packets of cases.

#![allow(clippy::panic)] // a case that asks for what cannot be built is wrong

use std::net::IpAddr;

use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::{Protocol, TcpFlags};

use super::Send;
use crate::oracle::Question;
use crate::packets::{self, Ends};

/// The protocol number that stands for protocols without ports: GRE.
const OTHER: u8 = 47;

/// The identifier of echo requests: one for all, so that replies find theirs.
const ECHO: u16 = 7;

/// The frame of a case's packet; its MACs are for whoever sends it to set. `number` tells its
/// connection from those of other lines where no source port is stated.
///
/// # Panics
/// When a case asks for a packet that nobody knows to build.
#[must_use]
pub fn frame(
    send: &Send,
    question: &Question,
    (source, target): (IpAddr, IpAddr),
    number: usize,
) -> Vec<u8> {
    let ends = Ends { source_mac: Mac([2; 6]), target_mac: Mac([2; 6]), source, target };
    let own = u16::try_from(20_000 + number % 40_000).unwrap_or(u16::MAX);
    let ports = (send.source_port.unwrap_or(own), question.port);
    let detail = send.detail.as_str();
    match (question.protocol, detail) {
        (Protocol::Tcp, flags) => packets::tcp(ends, ports, tcp_flags(flags), &[]),
        (Protocol::Udp, "") => packets::udp(ends, ports, b"case"),
        (Protocol::Sctp, "" | "init") => {
            packets::sctp(ends, ports, 0, 1, &[0, 0, 0, 9, 0, 1, 0, 0])
        }
        (Protocol::Icmp, "" | "echo") => packets::echo(ends, false, ECHO, 1, b"case"),
        (Protocol::Icmp, "echo-reply") => packets::echo(ends, true, ECHO, 1, b"case"),
        (Protocol::Other, "") => packets::ip(ends, OTHER, b"case"),
        (protocol, detail) => panic!("no packet is {protocol:?} {detail}"),
    }
}

fn tcp_flags(text: &str) -> TcpFlags {
    let known = [
        ("syn", TcpFlags::SYN),
        ("ack", TcpFlags::ACK),
        ("fin", TcpFlags::FIN),
        ("rst", TcpFlags::RST),
    ];
    let named = |word: &str| {
        let flag = known.iter().find(|(name, _)| *name == word);
        flag.map_or_else(|| panic!("no TCP flag {word}"), |(_, flag)| *flag)
    };
    match text {
        "" => TcpFlags::SYN,
        words => {
            let mut flags = words.split(',').map(named);
            let first = flags.next().unwrap_or(TcpFlags::SYN);
            flags.fold(first, TcpFlags::with)
        }
    }
}
