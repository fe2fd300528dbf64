//! A valid packet of every sort that the switch tells apart.

use std::net::Ipv4Addr;

use lockgate_dataplane::packet::TcpFlags;

use crate::corpus::Scene;
use crate::packets::{self, Ends, Piece};

/// IP's number of ESP: a protocol without ports.
const ESP: u8 = 50;
const PORTS: (u16, u16) = (4000, 53);

/// One of every sort from the scene's sender, in both families, with a name.
#[must_use]
pub fn sorts(scene: &Scene) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (family, ends) in [("IPv4", scene.v4()), ("IPv6", scene.v6())] {
        let packets = of_family(ends, scene.datagram.into());
        all.extend(packets.map(|(name, bytes)| (format!("{name} over {family}"), bytes)));
    }
    let gateway_v6 = [0xfe80, 0, 0, 0, 0, 0, 0, 1].into();
    let asked = packets::neighbour_solicitation(scene.v6(), gateway_v6, Some(scene.sender.mac));
    all.push(("solicitation".to_owned(), asked));
    let gateway = Ipv4Addr::new(169, 254, 1, 1);
    let asked = packets::arp_request(scene.sender.mac, scene.sender.v4, gateway);
    all.push(("ARP".to_owned(), asked));
    let ping = Ends { target: gateway.into(), ..scene.v4() };
    all.push(("gateway's request".to_owned(), packets::echo(ping, false, 7, 1, b"abcdefg")));
    let options = [&[0, 0, 5, 2, 0, 0, 1, 0][..], &udp(scene.v6())[54..]].concat();
    let options = [&[17, 0][..], &options[2..]].concat();
    all.push(("udp behind options".to_owned(), packets::ip(scene.v6(), 0, &options)));
    all
}

fn udp(ends: Ends) -> Vec<u8> {
    packets::udp(ends, PORTS, b"hello")
}

fn of_family(ends: Ends, datagram: u32) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let answered = packets::udp(ends.reversed(), (53, 4000), b"hello!!!");
    let unreachable = if ends.source.is_ipv4() { 3 } else { 1 };
    let piece = |offset, more, bytes: &[u8]| {
        packets::fragment(&udp(ends), datagram, &Piece { offset, more, bytes: bytes.to_vec() })
    };
    let whole = packets::udp(ends, PORTS, b"in pieces");
    let upper = &whole[if ends.source.is_ipv4() { 34 } else { 54 }..];
    [
        ("syn", packets::tcp(ends, (4000, 80), TcpFlags::SYN, b"")),
        ("tcp", packets::tcp(ends, (4000, 80), TcpFlags::ACK, b"hello")),
        ("udp", udp(ends)),
        ("empty udp", packets::udp(ends, PORTS, b"")),
        ("sctp", packets::sctp(ends, PORTS, 0, 1, &[0; 16])),
        ("request", packets::echo(ends, false, 7, 1, b"abcdefg")),
        ("reply", packets::echo(ends, true, 7, 1, b"abcdefg")),
        ("error", packets::icmp_error(ends, unreachable, 0, &answered)),
        ("esp", packets::ip(ends, ESP, b"payload!")),
        ("first", piece(0, true, &upper[..16])),
        ("rest", piece(16, false, &upper[16..])),
    ]
    .into_iter()
}
