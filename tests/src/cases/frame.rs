//! The packets of cases.

use lockgate_dataplane::packet::{FlowKey, Protocol, TcpFlags};

use super::{Send, parse};
use crate::oracle::Family;
use crate::packets::{self, Ends};

/// The first source port of lines that state none; their number is added.
const PORTS_FROM: usize = 20_000;
/// How many of them there are.
const PORTS: usize = 40_000;
const SCTP_INIT: u8 = 1;
/// The three times of a timestamp, which other requests take for their load.
const TIMES: [u8; 12] = [0; 12];

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
        (Protocol::Icmp | Protocol::IcmpV6, "echo-reply") => {
            packets::echo(ends, true, ports.0, 1, b"x")
        }
        (Protocol::Icmp | Protocol::IcmpV6, _) => {
            let (kind, code) = message(send, Family::of(ends.source));
            let [high, low] = ports.0.to_be_bytes();
            packets::icmp(ends, kind, code, [high, low, 0, 1], &TIMES)
        }
        (Protocol::Other, _) => packets::ip(ends, number_of(send), b"a payload"),
    }
}

/// What policy is asked about the packet: the protocol, and the port or what stands for it.
pub(super) fn service(send: &Send, family: Family) -> (Protocol, u16) {
    match (send.protocol, family) {
        (Protocol::Icmp, _) => {
            let (kind, code) = message(send, family);
            let version = if family == Family::V4 { Protocol::Icmp } else { Protocol::IcmpV6 };
            (version, FlowKey::message(kind, code))
        }
        (other, _) => (other, send.target_port),
    }
}

/// The type and code of a packet of ICMP: an echo request where the line says none.
fn message(send: &Send, family: Family) -> (u8, u8) {
    let echo = if family == Family::V4 { 8 } else { 128 };
    parse::message(&send.detail).unwrap_or((echo, 0))
}

/// The number in the IP header of a protocol that is no more than that.
fn number_of(send: &Send) -> u8 {
    u8::try_from(send.target_port).unwrap_or(u8::MAX)
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

#[cfg(test)]
mod tests {
    use lockgate_dataplane::ids::Mac;
    use lockgate_dataplane::packet::{Packet, parse as read};

    use super::*;
    use crate::cases::{Action, parse};

    fn sent(words: &str) -> Send {
        let line = format!("x/a > x/b:80 {words} -> sent");
        match parse::line(&line).unwrap() {
            Some((_, Action::Send(send))) => *send,
            other => panic!("{other:?}"),
        }
    }

    /// What the parser makes of a packet is what policy is asked about.
    #[test]
    fn a_packet_is_what_its_line_says() {
        let ends = |source: &str, target: &str| Ends {
            source_mac: Mac([2; 6]),
            target_mac: Mac([4; 6]),
            source: source.parse().unwrap(),
            target: target.parse().unwrap(),
        };
        let [v4, v6] = [ends("10.0.0.1", "10.0.0.2"), ends("fd00::1", "fd00::2")];
        let of_either = ["tcp", "udp", "sctp", "icmp", "icmp 200/3", "other", "proto-50"];
        let of_one = [
            (v4, "icmp 13/0", Protocol::Icmp),
            (v4, "icmp 17/2", Protocol::Icmp),
            (v4, "proto-58", Protocol::Other),
            (v6, "icmp 128/9", Protocol::IcmpV6),
            (v6, "icmp 140/1", Protocol::IcmpV6),
            (v6, "proto-1", Protocol::Other),
        ];
        let either = of_either.iter().flat_map(|words| [(v4, *words, None), (v6, *words, None)]);
        let one = of_one.into_iter().map(|(ends, words, protocol)| (ends, words, Some(protocol)));
        for (ends, words, protocol) in either.chain(one) {
            let send = sent(words);
            let frame = frame(&send, ends, 7, None);
            let Ok(Packet::Ip(headers)) = read(&frame) else {
                panic!("{words}: {:?}", read(&frame))
            };
            let key = (headers.key.protocol, headers.key.target_port);
            assert_eq!(key, service(&send, Family::of(ends.source)), "{words}");
            assert!(protocol.is_none_or(|protocol| protocol == key.0), "{words}");
            let is_summed = key.0 != Protocol::Other;
            assert!(!is_summed || packets::has_right_checksums(&frame), "{words}");
        }
    }

    #[test]
    fn a_number_of_what_has_a_name_is_no_protocol() {
        let line = |words: &str| parse::line(&format!("x/a > x/b {words} -> sent"));
        for words in ["proto-6", "proto-17", "proto-132", "proto-256", "proto-", "tcp 8/0", "gre"] {
            assert!(line(words).is_err(), "{words}");
        }
        assert!(line("icmp 8").is_err() && line("icmp 256/0").is_err() && line("icmp 8/").is_err());
    }
}
