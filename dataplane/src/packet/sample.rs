//! Packets for this module's tests, built and summed by etherparse, not by the code under test.

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Type, Icmpv6Type, IpNumber, Ipv4Header, Ipv6Header,
    PacketBuilder, TcpHeader, UdpHeader,
};

use super::headers::{Family, Headers, Packet};
use super::parse::parse;
use crate::ids::Mac;

pub(super) const MAC_A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
pub(super) const MAC_B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
pub(super) const A4: [u8; 4] = [10, 0, 0, 1];
pub(super) const B4: [u8; 4] = [10, 0, 0, 2];
pub(super) const A6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(super) const B6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A frame from A to B.
pub(super) fn frame(ether_type: EtherType, payload: &[u8]) -> Vec<u8> {
    let header = Ethernet2Header { source: MAC_A.0, destination: MAC_B.0, ether_type };
    [&header.to_bytes(), payload].concat()
}

/// An IPv4 packet from A to B, its header edited before it is summed.
pub(super) fn ipv4(number: u8, payload: &[u8], edit: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut header = Ipv4Header::new(length, 64, IpNumber(number), A4, B4).unwrap();
    edit(&mut header);
    if header.total_len == length + 20 {
        header.set_payload_len(payload.len()).unwrap();
    }
    header.header_checksum = header.calc_header_checksum();
    frame(EtherType::IPV4, &[&header.to_bytes(), payload].concat())
}

/// An IPv6 packet from A to B, its header edited.
pub(super) fn ipv6(number: u8, payload: &[u8], edit: impl FnOnce(&mut Ipv6Header)) -> Vec<u8> {
    let mut header = Ipv6Header {
        payload_length: u16::try_from(payload.len()).unwrap(),
        next_header: IpNumber(number),
        hop_limit: 64,
        source: A6,
        destination: B6,
        ..Ipv6Header::default()
    };
    edit(&mut header);
    frame(EtherType::IPV6, &[&header.to_bytes(), payload].concat())
}

/// An IP packet from A to B.
pub(super) fn ip(family: Family, number: u8, payload: &[u8]) -> Vec<u8> {
    match family {
        Family::V4 => ipv4(number, payload, |_| ()),
        Family::V6 => ipv6(number, payload, |_| ()),
    }
}

/// A TCP segment from A's port 1000 to B's port 2000, edited before it is summed.
pub(super) fn tcp(family: Family, payload: &[u8], edit: impl FnOnce(&mut TcpHeader)) -> Vec<u8> {
    let mut header = TcpHeader::new(1000, 2000, 0x0102_0304, 0x1122);
    edit(&mut header);
    header.checksum = match family {
        Family::V4 => header.calc_checksum_ipv4_raw(A4, B4, payload).unwrap(),
        Family::V6 => header.calc_checksum_ipv6_raw(A6, B6, payload).unwrap(),
    };
    ip(family, 6, &[&header.to_bytes(), payload].concat())
}

/// A UDP datagram from A's port 1000 to B's port 2000.
pub(super) fn udp(family: Family, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let mut header = UdpHeader { source_port: 1000, destination_port: 2000, length, checksum: 0 };
    header.checksum = match family {
        Family::V4 => header.calc_checksum_ipv4_raw(A4, B4, payload).unwrap(),
        Family::V6 => header.calc_checksum_ipv6_raw(A6, B6, payload).unwrap(),
    };
    ip(family, 17, &[&header.to_bytes(), payload].concat())
}

/// An SCTP packet from A's port 1000 to B's port 2000 with one chunk.
pub(super) fn sctp(family: Family, tag: u32, chunk: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut packet = vec![3, 232, 7, 208];
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend([chunk, 0]);
    packet.extend(length.to_be_bytes());
    packet.extend(value);
    let crc = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&crc);
    ip(family, 132, &packet)
}

/// An ICMP message with identifier 0x0707 where it has one, and its checksum.
pub(super) fn icmp(family: Family, kind: u8, code: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let link = PacketBuilder::ethernet2(MAC_A.0, MAC_B.0);
    match family {
        Family::V4 => link
            .ipv4(A4, B4, 64)
            .icmpv4(Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: [7, 7, 0, 1] })
            .write(&mut bytes, payload),
        Family::V6 => link
            .ipv6(A6, B6, 64)
            .icmpv6(Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: [7, 7, 0, 1] })
            .write(&mut bytes, payload),
    }
    .unwrap();
    bytes
}

/// An `ICMPv6` message between given addresses, with hop limit 255 and its checksum.
pub(super) fn neighbour(source: [u8; 16], target: [u8; 16], message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let length = u32::try_from(message.len()).unwrap();
    let sum = Sum16BitWords::new()
        .add_slice(&source)
        .add_slice(&target)
        .add_slice(&length.to_be_bytes())
        .add_slice(&[0, 0, 0, 58])
        .add_slice(&message)
        .ones_complement()
        .to_be();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv6(58, &message, |header| {
        (header.source, header.destination, header.hop_limit) = (source, target, 255);
    })
}

/// A neighbour solicitation (135) or advertisement (136), without its checksum.
pub(super) fn neighbour_message(kind: u8, flags: u8, asked: [u8; 16], options: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &asked, options].concat()
}

/// `CRC32c`, a bit at a time.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

/// One valid packet of every sort, both families, with a name.
pub(super) fn all() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for family in FAMILIES {
        let [request, reply, error] = match family {
            Family::V4 => [8, 0, 3],
            Family::V6 => [128, 129, 1],
        };
        let inner = back(&udp(family, &[1; 8]));
        let packets = [
            ("tcp", tcp(family, b"hello", |header| header.ack = true)),
            ("udp", udp(family, b"hello")),
            ("empty udp", udp(family, b"")),
            ("sctp", sctp(family, 7, 0, b"data")),
            ("request", icmp(family, request, 0, b"abcdefg")),
            ("reply", icmp(family, reply, 0, b"abcdefg")),
            ("error", icmp(family, error, 0, &inner)),
            ("esp", ip(family, 50, b"payload!")),
        ];
        all.extend(packets.map(|(name, bytes)| (format!("{name} over {family:?}"), bytes)));
    }
    let asked = neighbour_message(135, 0, B6, &[1, 1, 2, 0, 0, 0, 0, 0xa]);
    all.push(("solicitation".into(), neighbour(A6, B6, &asked)));
    let options = ipv4(17, &udp(Family::V4, b"hello")[34..], |header| {
        header.options = [1, 7, 3, 4].into();
    });
    all.push(("udp behind IPv4 options".into(), options));
    let extended = [&[17, 0, 1, 4, 0, 0, 0, 0], &udp(Family::V6, b"hello")[54..]].concat();
    all.push(("udp behind extension header".into(), ipv6(60, &extended, |_| ())));
    all
}

/// The IP packet in a frame between A and B, as sent the other way: what an error from A to B
/// may quote.
pub(super) fn back(bytes: &[u8]) -> Vec<u8> {
    let mut packet = bytes[14..].to_vec();
    let (at, size) = if packet[0] >> 4 == 4 { (12, 4) } else { (8, 16) };
    let (source, rest) = packet[at..].split_at_mut(size);
    source.swap_with_slice(&mut rest[..size]);
    packet
}

/// The headers of what must be a valid IP packet.
pub(super) fn headers_of(bytes: &[u8]) -> Headers {
    match parse(bytes) {
        Ok(Packet::Ip(headers)) => headers,
        other => panic!("not an IP packet: {other:?}"),
    }
}
