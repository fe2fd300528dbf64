use super::*;
use crate::packet::flow::FlowKey;
use crate::packet::headers::{Arp, TcpFlags, TcpHeader};
use crate::packet::sample::{
    self, A4, A6, B4, B6, FAMILIES, MAC_A, MAC_B, back, headers_of, neighbour, neighbour_message,
};

mod fragment;
mod icmp;
mod ip;

/// The reason for which a frame is dropped.
fn dropped(bytes: &[u8]) -> DropReason {
    match parse(bytes) {
        Err(reason) => reason,
        Ok(packet) => panic!("read as {packet:?}"),
    }
}

#[test]
fn a_packet_gives_the_five_values_of_its_flow() {
    for family in FAMILIES {
        let (source, target) = match family {
            Family::V4 => (Address::from_v4(A4), Address::from_v4(B4)),
            Family::V6 => (Address::from_v6(A6), Address::from_v6(B6)),
        };
        let tcp = |header: &mut etherparse::TcpHeader| header.syn = true;
        let sorts = [
            (sample::tcp(family, b"hello", tcp), Protocol::Tcp, 6),
            (sample::udp(family, b"hello"), Protocol::Udp, 17),
            (sample::sctp(family, 7, 0, b"hello"), Protocol::Sctp, 132),
        ];
        for (bytes, protocol, number) in sorts {
            let headers = headers_of(&bytes);
            let (source_port, target_port) = (1000, 2000);
            let key = FlowKey { source, target, source_port, target_port, number, protocol };
            assert_eq!(headers.key, key);
            assert_eq!((headers.source_mac, headers.target_mac), (MAC_A, MAC_B));
            assert_eq!((headers.family, headers.ttl), (family, 64));
            assert_eq!(headers.l4_offset, if family == Family::V4 { 34 } else { 54 });
            assert_eq!(usize::from(headers.end), bytes.len());
        }
    }
}

#[test]
fn a_tcp_header_is_read_in_full() {
    for family in FAMILIES {
        let bytes = sample::tcp(family, b"hello", |header| {
            (header.ack, header.psh) = (true, true);
            header.acknowledgment_number = 0x0a0b_0c0d;
            header.set_options_raw(&[1, 1, 1, 1]).unwrap();
        });
        let expected = TcpHeader {
            flags: TcpFlags::ACK.with(TcpFlags::PSH),
            sequence: 0x0102_0304,
            acknowledgment: 0x0a0b_0c0d,
            window: 0x1122,
            payload_bytes: 5,
        };
        assert_eq!(headers_of(&bytes).kind, Kind::Tcp(expected));
    }
}

#[test]
fn an_sctp_packet_gives_its_tag_and_first_chunk() {
    let bytes = sample::sctp(Family::V4, 0x0102_0304, 11, b"odd");
    let kind = Kind::Sctp { first_chunk: 11, verification_tag: 0x0102_0304 };
    assert_eq!(headers_of(&bytes).kind, kind);
}

#[test]
fn what_a_dhcp_server_tells_its_client_stays_on_its_link() {
    let kind = |source: u16, target: u16| {
        let [ports, rest] = [[source, target], [8, 1]].map(|pair| pair.map(u16::to_be_bytes));
        let datagram = [ports.concat(), rest.concat()].concat();
        FAMILIES.map(|family| headers_of(&sample::ip(family, 17, &datagram)).kind)
    };
    for (source, target) in [(67, 68), (547, 546)] {
        assert_eq!(kind(source, target), [Kind::LinkOnly; 2], "{source} to {target}");
    }
    for (source, target) in
        [(68, 67), (67, 67), (67, 69), (67 + 1024, 68), (67, 68 + 1024), (546, 547)]
    {
        assert_eq!(kind(source, target), [Kind::Udp; 2], "{source} to {target}");
    }
}

#[test]
fn ports_of_nought_are_ports() {
    let bytes = sample::ip(Family::V4, 17, &[0, 0, 0, 0, 0, 8, 0, 0]);
    let key = headers_of(&bytes).key;
    assert_eq!((key.source_port, key.target_port), (0, 0));
}

#[test]
fn ethernet_padding_is_no_part_of_the_packet() {
    for (name, bytes) in sample::all() {
        let mut padded = bytes.clone();
        padded.extend([0xee; 40]);
        assert_eq!(parse(&padded), parse(&bytes), "{name}");
        assert_eq!(usize::from(headers_of(&padded).end), bytes.len(), "{name}");
    }
}

#[test]
fn no_packet_can_be_read_from_a_part_of_it() {
    for (name, bytes) in sample::all() {
        for length in 0..bytes.len() {
            assert_eq!(dropped(&bytes[..length]), DropReason::Truncated, "{name} {length}");
        }
    }
}

#[test]
fn only_untagged_ip_and_arp_are_read() {
    for ether_type in 0..=u16::MAX {
        let mut bytes = sample::udp(Family::V4, &[0; 20]);
        bytes[12..14].copy_from_slice(&ether_type.to_be_bytes());
        let expected = match ether_type {
            0x0800 => continue,
            0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => DropReason::VlanTagged,
            // IPv4 is neither IPv6 nor ARP.
            0x86dd | 0x0806 => DropReason::Malformed,
            _ => DropReason::NotIp,
        };
        assert_eq!(dropped(&bytes), expected, "{ether_type:04x}");
    }
}

fn arp() -> Vec<u8> {
    let fixed = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0xa, 10, 0, 0, 1];
    let asked = [1, 2, 3, 4, 5, 6, 10, 0, 0, 2];
    sample::frame(etherparse::EtherType::ARP, &[&fixed[..], &asked].concat())
}

#[test]
fn arp_is_read_as_written() {
    let expected = Arp {
        source_mac: MAC_A,
        target_mac: MAC_B,
        operation: 1,
        sender_mac: MAC_A,
        sender: A4,
        target: B4,
    };
    assert_eq!(parse(&arp()), Ok(Packet::Arp(expected)));
    let mut padded = arp();
    padded.resize(60, 0);
    assert_eq!(parse(&padded), Ok(Packet::Arp(expected)));
}

#[test]
fn arp_for_other_hardware_or_protocols_is_malformed() {
    for at in 14..20 {
        let mut bytes = arp();
        bytes[at] ^= 1;
        assert_eq!(dropped(&bytes), DropReason::Malformed, "byte {at}");
    }
    for length in 14..42 {
        assert_eq!(dropped(&arp()[..length]), DropReason::Truncated);
    }
}

#[test]
fn tcp_flags_that_no_stack_sends_together_are_malformed() {
    // As Linux' connection tracking has it, without PSH, ECE and CWR.
    let (fin, syn, rst, ack, urg) = (1, 2, 4, 16, 32);
    let sane = [
        syn,
        syn | urg,
        syn | ack,
        rst,
        rst | ack,
        fin | ack,
        ack,
        ack | urg,
        fin | ack | urg,
        // And with URG where it means nothing.
        syn | ack | urg,
        rst | urg,
        rst | ack | urg,
    ];
    for flags in 0..=255_u8 {
        let mut bytes = sample::tcp(Family::V4, b"", |_| ());
        let mut broken = sample::tcp(Family::V6, b"", |_| ());
        bytes[34 + 13] = flags;
        broken[54 + 13] = flags;
        for bytes in [bytes, broken] {
            if sane.contains(&(flags & (fin | syn | rst | ack | urg))) {
                assert_eq!(headers_of(&bytes).key.protocol, Protocol::Tcp, "{flags:02x}");
            } else {
                assert_eq!(dropped(&bytes), DropReason::Malformed, "{flags:02x}");
            }
        }
    }
}

#[test]
fn a_tcp_header_must_be_five_words_and_within_the_packet() {
    // Eight bytes of payload: seven words fit, eight do not.
    for words in 0..16_u8 {
        let mut bytes = sample::tcp(Family::V4, &[0; 8], |header| header.ack = true);
        bytes[34 + 12] = words << 4;
        match words {
            5..=7 => {
                let Kind::Tcp(tcp) = headers_of(&bytes).kind else { panic!("not TCP") };
                assert_eq!(tcp.payload_bytes, 28 - 4 * u16::from(words));
            }
            _ => assert_eq!(dropped(&bytes), DropReason::Malformed, "{words}"),
        }
    }
}

#[test]
fn a_udp_length_other_than_the_packets_is_malformed() {
    for family in FAMILIES {
        for length in (0..=40).filter(|&length| length != 13) {
            let mut bytes = sample::udp(family, b"hello");
            let at = usize::from(headers_of(&bytes).l4_offset) + 5;
            bytes[at] = length;
            assert_eq!(dropped(&bytes), DropReason::Malformed, "{length}");
        }
    }
}

#[test]
fn udp_without_a_checksum_is_for_ipv4_only() {
    let datagram = [0, 1, 0, 2, 0, 8, 0, 0];
    assert_eq!(headers_of(&sample::ip(Family::V4, 17, &datagram)).kind, Kind::Udp);
    assert_eq!(dropped(&sample::ip(Family::V6, 17, &datagram)), DropReason::Malformed);
}

#[test]
fn an_sctp_chunk_must_be_within_the_packet() {
    for length in 0..=255_u8 {
        let mut bytes = sample::sctp(Family::V4, 7, 0, b"data");
        bytes[34 + 15] = length;
        if (4..=8).contains(&length) {
            assert!(matches!(headers_of(&bytes).kind, Kind::Sctp { .. }));
        } else {
            assert_eq!(dropped(&bytes), DropReason::Malformed, "{length}");
        }
    }
}

/// RFC 9260 §3.2: a chunk's length leaves out the padding, and an INIT is alone in its packet (§6.10).
#[test]
fn an_init_may_be_padded_and_nothing_more() {
    for family in FAMILIES {
        for length in 16..24 {
            let value = vec![0; length];
            let padding = length.next_multiple_of(4) - length;
            for behind in 0..8 {
                let mut bytes = sample::sctp(family, 0, 1, &value);
                let segment = bytes.split_off(if family == Family::V4 { 34 } else { 54 });
                let padded = [&segment[..], &vec![0; behind]].concat();
                let bytes = sample::ip(family, 132, &padded);
                let wanted = if behind > padding { Err(DropReason::Malformed) } else { Ok(1) };
                let read = parse(&bytes).map(|packet| match packet {
                    Packet::Ip(Headers { kind: Kind::Sctp { first_chunk, .. }, .. }) => first_chunk,
                    other => panic!("{other:?}"),
                });
                assert_eq!(read, wanted, "{length} and {behind}");
            }
        }
    }
}

#[test]
fn a_header_that_its_packet_has_no_room_for_is_truncated() {
    for family in FAMILIES {
        let icmp = if family == Family::V4 { 1 } else { 58 };
        for (number, least) in [(6, 20), (17, 8), (132, 16), (icmp, 8)] {
            for length in 1..least {
                let bytes = sample::ip(family, number, &vec![0x50; length]);
                assert_eq!(dropped(&bytes), DropReason::Truncated, "{number} {length}");
            }
        }
    }
}

#[test]
fn every_other_protocol_is_portless() {
    for family in FAMILIES {
        for number in 0..=255_u8 {
            let is_read = match family {
                Family::V4 => matches!(number, 1 | 6 | 17 | 132),
                Family::V6 => {
                    matches!(number, 0 | 6 | 17 | 43 | 44 | 58 | 60 | 132 | 135 | 139 | 140)
                }
            };
            if is_read {
                continue;
            }
            let headers = headers_of(&sample::ip(family, number, &[8, 0, 1, 2, 3, 4, 5, 6]));
            assert_eq!((headers.kind, headers.key.number), (Kind::Portless, number));
            assert_eq!(headers.key.protocol, Protocol::Other);
            let number = u16::from(number);
            assert_eq!((headers.key.source_port, headers.key.target_port), (number, number));
        }
    }
}
