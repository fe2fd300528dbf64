use etherparse::{NetSlice, SlicedPacket, TcpHeader as Written, TransportSlice};
use proptest::prelude::*;

use super::*;
use crate::packet::answer::{GATEWAY_MAC, gateway};
use crate::packet::sample::{self, A4, A6, B4, B6, FAMILIES, MAC_A, headers_of};

/// What the sender of `original` hears.
fn heard(original: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0xee; 2000];
    let headers = headers_of(original);
    let length = reject(&mut out, original, &headers, gateway(headers.key.source))?;
    assert!(may_reject(&headers));
    Some(out[..length].to_vec())
}

/// Source and target by etherparse, lengths and the IPv4 header's checksum proven; both MACs too.
fn ends(packet: &SlicedPacket<'_>, length: usize) -> [Vec<u8>; 2] {
    let link = packet.link.as_ref().unwrap().to_header().unwrap().ethernet2().unwrap();
    assert_eq!((link.source, link.destination), (GATEWAY_MAC.0, MAC_A.0));
    match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(usize::from(header.total_len) + 14, length);
            assert_eq!((header.time_to_live, header.fragment_offset.value()), (64, 0));
            [header.source.to_vec(), header.destination.to_vec()]
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            assert_eq!(usize::from(header.payload_length) + 54, length);
            assert_eq!(header.hop_limit, 64);
            [header.source.to_vec(), header.destination.to_vec()]
        }
        NetSlice::Arp(_) => panic!("ARP"),
    }
}

/// The reset of a segment, sound by etherparse: from B's port to A's.
fn reset_of(original: &[u8]) -> Written {
    let bytes = heard(original).expect("an answer");
    let packet = SlicedPacket::from_ethernet(&bytes).expect("etherparse reads it");
    let [source, target] = ends(&packet, bytes.len());
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("not TCP") };
    let header = tcp.to_header();
    let sum = if let NetSlice::Ipv4(_) = packet.net.as_ref().unwrap() {
        assert_eq!((source, target), (B4.to_vec(), A4.to_vec()));
        header.calc_checksum_ipv4_raw(B4, A4, &[])
    } else {
        assert_eq!((source, target), (B6.to_vec(), A6.to_vec()));
        header.calc_checksum_ipv6_raw(B6, A6, &[])
    };
    assert_eq!(sum, Ok(header.checksum));
    assert!(header.rst && !header.syn && !header.fin && !header.psh && !header.urg);
    assert!(tcp.payload().is_empty() && tcp.options().is_empty());
    let asked = headers_of(original).key;
    assert_eq!(header.source_port, asked.target_port);
    assert_eq!(header.destination_port, asked.source_port);
    header
}

/// A segment from A to B.
fn segment(family: Family, numbers: (u32, u32), flags: TcpFlags, payload: usize) -> Vec<u8> {
    sample::tcp(family, &vec![7; payload], |header| {
        (header.sequence_number, header.acknowledgment_number) = numbers;
        (header.syn, header.ack) = (flags.has(TcpFlags::SYN), flags.has(TcpFlags::ACK));
        (header.fin, header.rst) = (flags.has(TcpFlags::FIN), flags.has(TcpFlags::RST));
        header.psh = flags.has(TcpFlags::PSH);
    })
}

const ACK: TcpFlags = TcpFlags::ACK;

#[test]
fn a_reset_stands_where_its_receiver_expects_it() {
    for family in FAMILIES {
        // Without ACK, what was sent is acknowledged: the SYN, and bytes that came with it.
        for (sequence, payload, acknowledged) in
            [(1000, 0, 1001), (1000, 10, 1011), (u32::MAX, 0, 0), (u32::MAX - 3, 10, 7)]
        {
            let header = reset_of(&segment(family, (sequence, 99), TcpFlags::SYN, payload));
            let numbers = (header.sequence_number, header.acknowledgment_number);
            assert_eq!((numbers, header.ack), ((0, acknowledged), true));
        }
        // With ACK, it is at the number that the sender expects, whatever it sends.
        for flags in [ACK, ACK.with(TcpFlags::SYN), ACK.with(TcpFlags::FIN)] {
            for expected in [0, 1, 5001, u32::MAX] {
                let header = reset_of(&segment(family, (1000, expected), flags, 33));
                let numbers = (header.sequence_number, header.acknowledgment_number);
                assert_eq!((numbers, header.ack), ((expected, 0), false));
            }
        }
    }
}

#[test]
fn all_but_tcp_hears_that_it_is_prohibited_and_sees_what_was() {
    for family in FAMILIES {
        let echo = if family == Family::V4 { [8, 0] } else { [128, 129] };
        let told = [
            sample::udp(family, b"hello"),
            sample::sctp(family, 0, 1, &[0; 16]),
            sample::icmp(family, echo[0], 0, &[0; 8]),
            sample::icmp(family, echo[1], 0, &[0; 8]),
            sample::ip(family, 50, &[7; 40]),
        ];
        for original in told {
            let bytes = heard(&original).expect("an answer");
            let packet = SlicedPacket::from_ethernet(&bytes).expect("etherparse reads it");
            let [source, target] = ends(&packet, bytes.len());
            let (kind, covered) = match packet.transport.as_ref().unwrap() {
                TransportSlice::Icmpv4(icmp) => {
                    assert_eq!((&source[..], &target[..]), (&[169, 254, 1, 1][..], &A4[..]));
                    ((icmp.type_u8(), icmp.code_u8()), Sum::default())
                }
                TransportSlice::Icmpv6(icmp) => {
                    assert_eq!((&target[..], source[15]), (&A6[..], 1));
                    let length = u16::try_from(icmp.slice().len()).unwrap();
                    let covered = Sum::of(&[&source[..], &target].concat()).with_u16(length);
                    ((icmp.type_u8(), icmp.code_u8()), covered.with_u16(58))
                }
                other => panic!("not ICMP: {other:?}"),
            };
            assert_eq!(kind, if family == Family::V4 { (3, 13) } else { (1, 1) });
            let at = if family == Family::V4 { 34 } else { 54 };
            assert_eq!(covered.with(Sum::of(&bytes[at..])).fold(), 0xffff, "checksum");
            assert_eq!(bytes[at + 4..at + 8], [0; 4], "no MTU and nothing else");
            assert_eq!(bytes[at + 8..], original[14..]);
        }
    }
}

#[test]
fn nothing_is_said_to_what_says_no_itself_or_to_the_gateway_or_to_many() {
    for family in FAMILIES {
        let mut silent = vec![
            ("a reset", segment(family, (1, 0), TcpFlags::RST, 0)),
            ("a reset", segment(family, (1, 1), TcpFlags::RST.with(ACK), 0)),
            ("an abort", sample::sctp(family, 7, 6, &[])),
        ];
        let mut to_many = segment(family, (1, 0), TcpFlags::SYN, 0);
        to_many[0] |= 1;
        silent.push(("an Ethernet group", to_many));
        let cause = sample::back(&sample::udp(family, b""));
        let error = if family == Family::V4 { [3, 13] } else { [1, 1] };
        silent.push(("an error", sample::icmp(family, error[0], error[1], &cause)));
        for (name, bytes) in silent {
            assert_eq!(heard(&bytes), None, "{name}, {family:?}");
            assert!(!may_reject(&headers_of(&bytes)), "{name}, {family:?}");
        }
        let syn = segment(family, (1, 0), TcpFlags::SYN, 0);
        let own = gateway(headers_of(&syn).key.source);
        let nobody = match family {
            Family::V4 => Address::from_v4([0; 4]),
            Family::V6 => Address::from_v6([0; 16]),
        };
        for source in [own, nobody] {
            let mut headers = headers_of(&syn);
            headers.key.source = source;
            let told = reject(&mut [0; 200], &syn, &headers, gateway(headers.key.source));
            assert_eq!((told, may_reject(&headers)), (None, false), "{source:?}");
        }
        let rest = Headers { kind: Kind::Rest, ..headers_of(&sample::udp(family, b"")) };
        assert!(!may_reject(&rest), "a later fragment");
    }
}

#[test]
fn what_the_switch_says_is_never_answered() {
    for family in FAMILIES {
        for original in [segment(family, (1, 0), TcpFlags::SYN, 0), sample::udp(family, b"hello")] {
            let said = heard(&original).unwrap();
            assert_eq!(heard(&said), None);
        }
    }
}

#[test]
fn a_reset_that_does_not_fit_is_not_sent() {
    for family in FAMILIES {
        let syn = segment(family, (1, 0), TcpFlags::SYN, 0);
        let (headers, whole) = (headers_of(&syn), heard(&syn).unwrap().len());
        assert_eq!(whole, if family == Family::V4 { 54 } else { 74 });
        let fit = |room| reject(&mut vec![0; room], &syn, &headers, gateway(headers.key.source));
        assert_eq!([whole, whole - 1].map(fit), [Some(whole), None]);
    }
}

proptest! {
    /// Whatever a segment says, its reset is read alike by etherparse and by the switch, and is
    /// where RFC 9293 puts it.
    #[test]
    fn every_segment_has_its_reset_or_none(
        is_v4: bool,
        numbers in any::<(u32, u32)>(),
        bits in 0_u8..64,
        payload in 0_usize..60,
    ) {
        let (flags, family) = (TcpFlags(bits), if is_v4 { Family::V4 } else { Family::V6 });
        prop_assume!(flags.is_sane());
        let original = segment(family, numbers, flags, payload);
        if flags.has(TcpFlags::RST) {
            prop_assert_eq!(heard(&original), None);
        } else {
            let header = reset_of(&original);
            let bytes = u32::try_from(payload).unwrap() + u32::from(flags.has(TcpFlags::SYN));
            let expected = if flags.has(ACK) {
                (numbers.1, 0)
            } else {
                (0, numbers.0.wrapping_add(bytes))
            };
            let numbers = (header.sequence_number, header.acknowledgment_number);
            prop_assert_eq!((numbers, header.ack), (expected, !flags.has(ACK)));
        }
    }
}
