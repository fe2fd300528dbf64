use lockgate_dataplane::packet::rewrite::{finish_checksums, finish_if_unfinished};
use lockgate_dataplane::packet::{Family, Headers, Kind, Neighbour, Packet, parse};

use super::*;

const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn both_families() -> [Ends; 2] {
    let ends = |source: &str, target: &str| Ends {
        source_mac: A,
        target_mac: B,
        source: source.parse().unwrap(),
        target: target.parse().unwrap(),
    };
    [ends("10.0.0.1", "10.0.0.2"), ends("fd00::1", "fd00::2")]
}

fn headers_of(frame: &[u8]) -> Headers {
    match parse(frame) {
        Ok(Packet::Ip(headers)) => headers,
        other => panic!("not an IP packet: {other:?}"),
    }
}

/// Packets with a checksum of their own, and whether a stack may leave it unfinished.
fn with_checksums() -> Vec<(Vec<u8>, bool)> {
    let of = |ends: Ends| {
        let error = if ends.is_v4() { 3 } else { 1 };
        let cause = udp(ends.reversed(), (2, 1), b"cause");
        [
            (tcp(ends, (1, 2), TcpFlags::SYN, b""), true),
            (tcp(ends, (1, 2), TcpFlags::ACK.with(TcpFlags::PSH), b"odd"), true),
            (udp(ends, (1, 2), b"odd"), true),
            (sctp(ends, (1, 2), 0, 1, &[0; 16]), true),
            (echo(ends, false, 7, 1, b"payload"), false),
            (echo(ends, true, 7, 1, b"payload"), false),
            (icmp_error(ends, error, 0, &cause), false),
        ]
    };
    both_families().into_iter().flat_map(of).collect()
}

#[test]
fn every_builder_makes_what_the_dataplane_reads() {
    for ends in both_families() {
        let read = headers_of(&tcp(ends, (1, 2), TcpFlags::SYN, b"abc"));
        let Kind::Tcp(header) = read.kind else { panic!("{read:?}") };
        assert_eq!((header.flags, header.payload_bytes), (TcpFlags::SYN, 3));
        assert_eq!((read.key.source_port, read.key.target_port), (1, 2));
        assert_eq!((read.source_mac, read.target_mac, read.ttl), (A, B, TTL));
        assert_eq!(IpAddr::from(read.key.source), ends.source);
        assert_eq!(IpAddr::from(read.key.target), ends.target);
        let read = headers_of(&udp(ends.reversed(), (3, 4), b""));
        assert_eq!((read.kind, read.key.source_port), (Kind::Udp, 3));
        assert_eq!((read.source_mac, IpAddr::from(read.key.source)), (B, ends.target));
        let read = headers_of(&sctp(ends, (5, 6), 9, 2, b"odd"));
        assert_eq!(read.kind, Kind::Sctp { first_chunk: 2, verification_tag: 9 });
        let read = headers_of(&echo(ends, true, 7, 1, b""));
        assert_eq!((read.kind, read.key.target_port), (Kind::Echo { reply: true }, 7));
        let cause = udp(ends.reversed(), (8, 9), b"");
        let kind = if ends.is_v4() { 11 } else { 3 };
        let inner = headers_of(&cause).key;
        let read = headers_of(&icmp_error(ends, kind, 0, &cause));
        assert_eq!(read.kind, Kind::IcmpError { inner });
        assert_eq!(headers_of(&ip(ends, 47, &[0; 4])).kind, Kind::Portless);
    }
}

#[test]
fn neighbours_and_arp_are_read_as_built() {
    let [_, ends] = both_families();
    let asked: Ipv6Addr = "fe80::1".parse().unwrap();
    let target = IpAddr::from(asked).into();
    let read = headers_of(&neighbour_solicitation(ends, asked, Some(A)));
    let said = Neighbour::Solicitation { target, source_link: Some(A) };
    assert_eq!(read.kind, Kind::Neighbour(said));
    for is_solicited in [true, false] {
        let read = headers_of(&neighbour_advertisement(ends, asked, is_solicited, None));
        let said = Neighbour::Advertisement { target, target_link: None };
        assert_eq!(read.kind, Kind::Neighbour(said));
    }
    let request = arp_request(A, Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(169, 254, 1, 1));
    let Ok(Packet::Arp(arp)) = parse(&request) else { panic!("not ARP") };
    assert_eq!((arp.operation, arp.sender_mac, arp.target_mac), (1, A, Mac([0xff; 6])));
    assert_eq!((arp.sender, arp.target), ([10, 0, 0, 1], [169, 254, 1, 1]));
    assert!(has_right_checksums(&neighbour_solicitation(ends, asked, Some(A))));
}

#[test]
fn a_checksum_is_right_until_a_byte_changes() {
    for (frame, _) in with_checksums() {
        assert!(has_right_checksums(&frame));
        let headers = headers_of(&frame);
        // IPv6 has no checksum of its own header, and SCTP's covers no addresses.
        let l4 = usize::from(headers.l4_offset);
        for at in if headers.family == Family::V4 { 14 } else { l4 }..frame.len() {
            let mut broken = frame.clone();
            broken[at] ^= 0x10;
            // Etherparse will not read every broken packet; what it reads must be seen as broken.
            if SlicedPacket::from_ethernet(&broken).is_ok_and(|packet| packet.net.is_some()) {
                assert!(!has_right_checksums(&broken), "byte {at}");
            }
        }
    }
}

#[test]
fn the_dataplane_finishes_what_is_unfinished() {
    for (frame, may_be_unfinished) in with_checksums() {
        let mut bytes = unfinished(frame.clone());
        assert_eq!(has_right_checksums(&bytes), !may_be_unfinished);
        let mut again = bytes.clone();
        let headers = headers_of(&bytes);
        finish_checksums(&mut bytes, &headers);
        assert_eq!(bytes, frame);
        finish_if_unfinished(&mut again, &headers);
        assert_eq!(again, frame);
    }
}

#[test]
fn another_ttl_leaves_the_header_right() {
    for ends in both_families() {
        for ttl in [0, 1, 255] {
            let frame = with_ttl(udp(ends, (1, 2), b"abc"), ttl);
            assert_eq!(headers_of(&frame).ttl, ttl);
            assert!(has_right_checksums(&frame));
        }
    }
}
