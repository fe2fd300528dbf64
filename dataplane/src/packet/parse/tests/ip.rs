//! The IP headers of both families, their options and addresses.

use super::*;

/// IPv4's checksum field made right again.
pub(super) fn resum(bytes: &mut [u8]) {
    if bytes.len() < 34 || bytes[12..14] != [8, 0] {
        return;
    }
    let end = (14 + usize::from(bytes[14] & 0x0f) * 4).min(bytes.len());
    bytes[24..26].fill(0);
    let covered = bytes.get(14..end).unwrap_or(&[]);
    let sum = etherparse::checksum::Sum16BitWords::new().add_slice(covered);
    let sum = sum.ones_complement().to_be().to_be_bytes();
    bytes[24..26].copy_from_slice(&sum);
}

fn edited(at: usize, value: u8) -> Vec<u8> {
    let mut bytes = sample::udp(Family::V4, b"hello");
    bytes[14 + at] = value;
    resum(&mut bytes);
    bytes
}

#[test]
fn an_ipv4_header_that_contradicts_itself_is_malformed() {
    let rows = [
        ("version 5", edited(0, 0x55), DropReason::Malformed),
        ("version 6", edited(0, 0x65), DropReason::Malformed),
        ("no header words", edited(0, 0x40), DropReason::Malformed),
        ("four header words", edited(0, 0x44), DropReason::Malformed),
        ("header longer than packet", edited(0, 0x4f), DropReason::Malformed),
        ("total length below header", edited(3, 19), DropReason::Malformed),
        ("total length nought", edited(3, 0), DropReason::Malformed),
        ("total length beyond frame", edited(3, 34), DropReason::Truncated),
        ("total length far beyond frame", edited(2, 0xff), DropReason::Truncated),
        ("reserved flag", edited(6, 0x80), DropReason::Malformed),
        ("a reserved flag of a fragment", edited(6, 0xa0), DropReason::Malformed),
    ];
    for (name, bytes, reason) in rows {
        assert_eq!(dropped(&bytes), reason, "{name}");
    }
    assert_eq!(headers_of(&edited(6, 0x40)).kind, Kind::Udp, "don't fragment");
}

#[test]
fn a_total_length_that_cuts_the_segment_is_no_way_to_hide_it() {
    // The UDP length still says 13.
    assert_eq!(dropped(&edited(3, 32)), DropReason::Malformed);
    assert_eq!(dropped(&edited(3, 27)), DropReason::Truncated);
}

#[test]
fn every_broken_bit_of_an_ipv4_header_is_seen() {
    for name in ["udp over V4", "udp behind IPv4 options"] {
        let (_, bytes) = sample::all().into_iter().find(|(other, _)| other == name).unwrap();
        let header = 14..usize::from(headers_of(&bytes).l4_offset);
        for bit in header.start * 8..header.end * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&broken).is_err(), "{name}: bit {bit}");
        }
    }
}

fn with_options(options: [u8; 8]) -> Vec<u8> {
    let datagram = sample::udp(Family::V4, b"hello");
    sample::ipv4(17, &datagram[34..], |header| header.options = options.into())
}

#[test]
fn an_ipv4_header_has_five_to_fifteen_words() {
    let datagram = sample::udp(Family::V4, b"hello");
    for words in 5..=15_u16 {
        let options = vec![1; usize::from(words - 5) * 4];
        let bytes = sample::ipv4(17, &datagram[34..], |header| {
            header.options = options.as_slice().try_into().unwrap();
        });
        let headers = headers_of(&bytes);
        assert_eq!((headers.kind, headers.l4_offset), (Kind::Udp, 14 + words * 4));
    }
    for first in (0..=255).filter(|first| !(0x45..=0x4f).contains(first)) {
        let mut bytes = datagram.clone();
        bytes[14] = first;
        resum(&mut bytes);
        assert_eq!(dropped(&bytes), DropReason::Malformed, "{first:#x}");
    }
}

#[test]
fn ipv4_options_may_not_route_or_run_over() {
    let good = [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 0, 0],
        // What follows the end is padding, whatever it looks like.
        [0, 131, 7, 4, 137, 1, 1, 7],
        [7, 7, 4, 0, 0, 0, 0, 0],
        [148, 4, 0, 0, 7, 4, 4, 0],
        // A value that looks like a source route is none.
        [68, 8, 131, 137, 131, 137, 131, 137],
    ];
    for options in good {
        let headers = headers_of(&with_options(options));
        assert_eq!((headers.kind, headers.l4_offset), (Kind::Udp, 42), "{options:?}");
    }
    let bad = [
        [131, 7, 4, 10, 0, 0, 9, 0],
        [137, 7, 4, 10, 0, 0, 9, 0],
        [1, 131, 7, 4, 10, 0, 0, 9],
        [7, 4, 4, 0, 137, 3, 4, 0],
        [7, 0, 0, 0, 0, 0, 0, 0],
        [7, 1, 0, 0, 0, 0, 0, 0],
        [7, 9, 4, 0, 0, 0, 0, 0],
        [1, 7, 8, 4, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 1, 7],
    ];
    for options in bad {
        assert_eq!(dropped(&with_options(options)), DropReason::Malformed, "{options:?}");
    }
}

fn between_v4(source: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    sample::ipv4(50, &[0; 8], |header| (header.source, header.destination) = (source, target))
}

#[test]
fn ipv4_addresses_that_belong_on_no_wire_are_martians() {
    let either = [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [127, 255, 255, 255],
        [240, 0, 0, 1],
        [255, 255, 255, 254],
    ];
    for address in either {
        assert_eq!(dropped(&between_v4(address, B4)), DropReason::Martian, "{address:?}");
        assert_eq!(dropped(&between_v4(A4, address)), DropReason::Martian, "{address:?}");
    }
    for source in [[224, 0, 0, 1], [239, 255, 255, 255], [255; 4], B4] {
        assert_eq!(dropped(&between_v4(source, B4)), DropReason::Martian, "{source:?}");
    }
    for edge in [[1, 0, 0, 0], [126, 255, 255, 255], [128, 0, 0, 0], [223, 255, 255, 255]] {
        assert!(!headers_of(&between_v4(edge, B4)).is_multicast(), "{edge:?}");
        assert!(!headers_of(&between_v4(A4, edge)).is_multicast(), "{edge:?}");
    }
    for group in [[224, 0, 0, 0], [239, 255, 255, 255], [255; 4]] {
        assert!(headers_of(&between_v4(A4, group)).is_multicast(), "{group:?}");
    }
}

fn between_v6(source: &str, target: &str) -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    sample::ipv6(50, &[0; 8], |header| {
        (header.source, header.destination) = (octets(source), octets(target));
    })
}

#[test]
fn ipv6_addresses_that_belong_on_no_wire_are_martians() {
    let never = ["::", "::1", "::2", "::10.0.0.1", "::ffff:10.0.0.1", "::ffff:0.0.0.0"];
    for address in never {
        assert_eq!(dropped(&between_v6(address, "fd00::1")), DropReason::Martian, "{address}");
        assert_eq!(dropped(&between_v6("fd00::1", address)), DropReason::Martian, "{address}");
    }
    for source in ["ff02::1", "ff00::", "ffff::1", "fd00::2"] {
        assert_eq!(dropped(&between_v6(source, "fd00::2")), DropReason::Martian, "{source}");
    }
    for edge in ["::1:0:0", "::fffe:0:0", "::1:0:0:0", "64:ff9b::1", "feff::1", "fe80::1"] {
        assert!(!headers_of(&between_v6(edge, "fd00::2")).is_multicast(), "{edge}");
        assert!(!headers_of(&between_v6("fd00::2", edge)).is_multicast(), "{edge}");
    }
    assert!(headers_of(&between_v6("fd00::1", "ff02::1")).is_multicast());
}

#[test]
fn an_ethernet_group_makes_a_packet_multicast() {
    let mut bytes = sample::udp(Family::V4, b"");
    assert!(!headers_of(&bytes).is_multicast());
    bytes[0] |= 1;
    assert!(headers_of(&bytes).is_multicast());
}

#[test]
fn an_ipv6_header_that_contradicts_itself_is_dropped() {
    let edited = |at: usize, value: u8| {
        let mut bytes = sample::udp(Family::V6, b"hello");
        bytes[14 + at] = value;
        bytes
    };
    assert_eq!(dropped(&edited(0, 0x40)), DropReason::Malformed);
    assert_eq!(dropped(&edited(0, 0x50)), DropReason::Malformed);
    assert_eq!(dropped(&edited(5, 0)), DropReason::Malformed, "the sign of a jumbogram");
    assert_eq!(dropped(&edited(5, 14)), DropReason::Truncated);
    assert_eq!(dropped(&edited(4, 0xff)), DropReason::Truncated);
    assert_eq!(dropped(&edited(5, 12)), DropReason::Malformed, "UDP says 13");
    assert_eq!(headers_of(&edited(1, 0x53)).kind, Kind::Udp, "a flow label");
}

#[test]
fn a_packet_whose_end_is_beyond_64_kib_of_frame_is_malformed() {
    let v4 = sample::ipv4(50, &vec![0; 65_515], |_| ());
    assert_eq!(dropped(&v4), DropReason::Malformed);
    let v6 = sample::ipv6(50, &vec![0; 65_500], |_| ());
    assert_eq!(dropped(&v6), DropReason::Malformed);
    let longest = sample::ipv6(50, &vec![0; 65_481], |_| ());
    assert_eq!(headers_of(&longest).end, u16::MAX);
}

/// An extension header: its number, and its bytes from the third on.
type Extension<'a> = (u8, &'a [u8]);

/// A UDP datagram behind extension headers.
fn extended(headers: &[Extension<'_>]) -> Vec<u8> {
    let datagram = sample::udp(Family::V6, b"hello");
    let numbers: Vec<u8> = headers.iter().map(|header| header.0).chain([17]).collect();
    let mut payload = Vec::new();
    for ((_, options), next) in headers.iter().zip(&numbers[1..]) {
        assert_eq!(options.len() % 8, 6);
        payload.extend([*next, u8::try_from(options.len() / 8).unwrap()]);
        payload.extend(*options);
    }
    payload.extend(&datagram[54..]);
    sample::ipv6(numbers[0], &payload, |_| ())
}

const PADDING: &[u8] = &[1, 4, 0, 0, 0, 0];

#[test]
fn what_follows_harmless_extension_headers_is_read() {
    let rows: [(&str, Vec<Extension<'_>>); 5] = [
        ("hop-by-hop", vec![(0, PADDING)]),
        ("destination options", vec![(60, PADDING)]),
        ("both", vec![(0, PADDING), (60, PADDING)]),
        ("router alert", vec![(0, &[5, 2, 0, 0, 1, 0])]),
        ("two units", vec![(60, &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]),
    ];
    for (name, headers) in rows {
        let bytes = extended(&headers);
        let read = headers_of(&bytes);
        let offset = bytes.len() - 13;
        assert_eq!((read.kind, usize::from(read.l4_offset)), (Kind::Udp, offset), "{name}");
        assert_eq!((read.key.number, read.key.target_port), (17, 2000), "{name}");
    }
}

#[test]
fn strange_extension_headers_are_dropped() {
    use DropReason::{ExtensionHeaders, Fragment, Malformed, Truncated};
    let rows: [(&str, Vec<Extension<'_>>, DropReason); 15] = [
        ("hop-by-hop second", vec![(60, PADDING), (0, PADDING)], ExtensionHeaders),
        ("hop-by-hop twice", vec![(0, PADDING), (0, PADDING)], ExtensionHeaders),
        ("routing type 0", vec![(43, &[0, 0, 0, 0, 0, 0])], ExtensionHeaders),
        ("routing type 2", vec![(43, &[2, 1, 0, 0, 0, 0])], ExtensionHeaders),
        ("segment routing", vec![(43, &[4, 0, 0, 0, 0, 0])], ExtensionHeaders),
        ("mobility", vec![(135, PADDING)], ExtensionHeaders),
        ("host identity", vec![(139, PADDING)], ExtensionHeaders),
        ("shim6", vec![(140, PADDING)], ExtensionHeaders),
        ("atomic fragment", vec![(44, &[0, 0, 0, 0, 0, 1])], Fragment),
        ("fragment behind options", vec![(60, PADDING), (44, &[0; 6])], Fragment),
        ("jumbo option", vec![(0, &[0xc2, 4, 0, 1, 0, 0])], ExtensionHeaders),
        ("home address", vec![(60, &[0, 0, 0, 0, 0xc9, 0])], ExtensionHeaders),
        ("option beyond its header", vec![(60, &[1, 5, 0, 0, 0, 0])], Malformed),
        ("option without a length", vec![(60, &[1, 3, 0, 0, 0, 1])], Malformed),
        ("options without end", vec![(60, &[0; 22])], ExtensionHeaders),
    ];
    for (name, headers, reason) in rows {
        assert_eq!(dropped(&extended(&headers)), reason, "{name}");
    }
    assert_eq!(headers_of(&extended(&[(60, &[0; 6])])).kind, Kind::Udp, "six options");
    // Eight in all headers: two of one each, and six.
    let most = [(60, PADDING), (60, &[0; 6]), (60, PADDING)];
    assert_eq!(headers_of(&extended(&most)).kind, Kind::Udp);
    let more: &[u8] = &[1, 0, 1, 2, 0, 0];
    assert_eq!(dropped(&extended(&[(60, PADDING), (60, &[0; 6]), (60, more)])), ExtensionHeaders);
    let mut beyond = extended(&[(60, PADDING)]);
    beyond[14 + 41] = 3;
    assert_eq!(dropped(&beyond), Truncated, "header longer than the packet");
}

#[test]
fn the_walk_over_extension_headers_ends() {
    for count in 0..=20_usize {
        let bytes = extended(&vec![(60, PADDING); count]);
        if count <= crate::limits::EXT_HEADERS_MAX {
            assert_eq!(headers_of(&bytes).kind, Kind::Udp, "{count}");
        } else {
            assert_eq!(dropped(&bytes), DropReason::ExtensionHeaders, "{count}");
        }
    }
}

#[test]
fn encryption_authentication_and_no_next_header_are_portless() {
    for number in [50, 51, 59] {
        let payload = [&[number, 0][..], PADDING, &[0; 16]].concat();
        let headers = headers_of(&sample::ipv6(60, &payload, |_| ()));
        assert_eq!((headers.kind, headers.key.number), (Kind::Portless, number));
        assert_eq!(headers.key.protocol, Protocol::Other);
    }
    let nothing = [&[59, 0][..], PADDING].concat();
    let headers = headers_of(&sample::ipv6(60, &nothing, |_| ()));
    assert_eq!(headers.l4_offset, headers.end, "nothing follows, and nothing need");
}
