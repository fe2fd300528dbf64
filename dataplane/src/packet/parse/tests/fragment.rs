//! Fragments of both families: where they belong, and which can belong nowhere.

use super::ip::resum;
use super::*;

/// A part of a datagram: its place, and what it is of.
fn part(family: Family, number: u8, (offset, more): (u16, bool), payload: &[u8]) -> Vec<u8> {
    match family {
        Family::V4 => sample::ipv4(number, payload, |header| {
            header.identification = 0x0102;
            header.fragment_offset = etherparse::IpFragOffset::try_new(offset / 8).unwrap();
            header.more_fragments = more;
            header.header_checksum = header.calc_header_checksum();
        }),
        Family::V6 => {
            let mut all = vec![number, 0];
            all.extend((offset | u16::from(more)).to_be_bytes());
            all.extend([0, 0, 1, 2]);
            sample::ipv6(44, &[&all, payload].concat(), |_| ())
        }
    }
}

fn read(bytes: &[u8]) -> (Headers, Fragment) {
    match parse(bytes) {
        Ok(Packet::Fragment(headers, fragment)) => (headers, fragment),
        other => panic!("read as {other:?}"),
    }
}

/// UDP whose length says more than is there.
const UDP: &[u8] = &[3, 232, 7, 208, 1, 0, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8];

#[test]
fn a_first_fragment_has_the_flow_and_a_later_one_its_place_only() {
    for family in FAMILIES {
        let (headers, fragment) = read(&part(family, 17, (0, true), UDP));
        assert_eq!((headers.kind, headers.key.number), (Kind::Udp, 17));
        assert_eq!((headers.key.source_port, headers.key.target_port), (1000, 2000));
        let identification = 0x0102;
        assert_eq!(
            fragment,
            Fragment { identification, offset: 0, end: 16, more: true, udp_end: 256 }
        );
        let (headers, fragment) = read(&part(family, 17, (4096, false), &[0xff; 21]));
        assert_eq!((headers.kind, headers.key.number), (Kind::Rest, 17));
        assert_eq!((headers.key.source_port, headers.key.target_port), (0, 0));
        assert_eq!(
            fragment,
            Fragment { identification, offset: 4096, end: 4117, more: false, udp_end: 0 }
        );
    }
}

#[test]
fn a_fragment_of_no_datagram_is_dropped() {
    for family in FAMILIES {
        let icmp = if family == Family::V4 { 1 } else { 58 };
        let quoted = &back(&sample::udp(family, b"hello"))[..];
        let error =
            [&[if family == Family::V4 { 3 } else { 1 }, 0, 0, 0, 0, 0, 0, 0], quoted].concat();
        let error = &error[..error.len() / 8 * 8];
        let redirect = if family == Family::V4 { 5 } else { 137 };
        let rows: [(&str, Vec<u8>); 6] = [
            ("odd length", part(family, 17, (8, true), &[0; 15])),
            ("empty", part(family, 17, (8, true), &[])),
            ("empty and last", part(family, 17, (8, false), &[])),
            ("beyond 64 KiB", part(family, 17, (65_528, false), &[0; 16])),
            ("an error", part(family, icmp, (0, true), error)),
            ("a redirect", part(family, icmp, (0, true), &[redirect, 0, 0, 0, 0, 0, 0, 0])),
        ];
        for (name, bytes) in rows {
            assert_eq!(dropped(&bytes), DropReason::Fragment, "{name}, {family:?}");
        }
    }
    assert_eq!(dropped(&part(Family::V6, 17, (0, false), UDP)), DropReason::Fragment, "atomic");
    let solicitation = neighbour_message(135, 0, B6, &[]);
    let solicitation = &solicitation[..24];
    // Neighbour messages stand behind no extension header, this one among them.
    let bytes = part(Family::V6, 58, (0, true), solicitation);
    assert_eq!(dropped(&bytes), DropReason::ExtensionHeaders);
}

#[test]
fn a_first_fragment_has_all_headers() {
    for family in FAMILIES {
        let tcp = sample::tcp(family, &[0; 32], |header| {
            header.syn = true;
            header.set_options_raw(&[1; 12]).unwrap();
        });
        let tcp = &tcp[if family == Family::V4 { 34 } else { 54 }..];
        for (bytes, good) in [(8, false), (16, false), (24, false), (32, true), (40, true)] {
            let bytes = part(family, 6, (0, true), &tcp[..bytes]);
            if good {
                assert!(matches!(read(&bytes).0.kind, Kind::Tcp(_)), "{}", bytes.len());
            } else {
                assert_eq!(dropped(&bytes), DropReason::FragmentTiny, "{}", bytes.len());
            }
        }
        let short = part(family, 132, (0, true), &[0; 8]);
        assert_eq!(dropped(&short), DropReason::FragmentTiny, "SCTP without a chunk");
        // Whole in itself, and more follows: the length lies.
        let lies = [0, 1, 0, 2, 0, 8, 9, 9];
        assert_eq!(dropped(&part(family, 17, (0, true), &lies)), DropReason::Malformed);
    }
}

/// RFC 8200 §4.5 counts what stands before the fragment header; the length field has 16 bits.
#[test]
fn a_datagram_has_64_kib_with_all_that_is_repeated_in_each_part() {
    let made = |family, options: usize, offset: u16, bytes: usize| {
        let bytes = vec![0; bytes];
        if family == Family::V4 {
            return part(family, 17, (offset, false), &bytes);
        }
        let next = |at| if at + 1 == options { 44 } else { 60 };
        let mut all: Vec<u8> =
            (0..options).flat_map(|at| [next(at), 0, 1, 4, 0, 0, 0, 0]).collect();
        all.extend([17, 0]);
        all.extend(offset.to_be_bytes());
        all.extend([0, 0, 1, 2]);
        let number = if options == 0 { 44 } else { 60 };
        sample::ipv6(number, &[all, bytes].concat(), |_| ())
    };
    for (family, options, offset, longest) in [
        (Family::V4, 0, 65_512, 3),
        (Family::V6, 0, 65_528, 7),
        (Family::V6, 1, 65_520, 7),
        (Family::V6, 2, 65_512, 7),
    ] {
        let (_, fragment) = read(&made(family, options, offset, longest));
        assert_eq!(usize::from(fragment.end), usize::from(offset) + longest);
        let more = made(family, options, offset, longest + 1);
        assert_eq!(dropped(&more), DropReason::Fragment, "{options} {offset}");
    }
}

#[test]
fn a_udp_length_that_reaches_beyond_every_datagram_is_malformed() {
    let options = [17, 0, 1, 4, 0, 0, 0, 0];
    for (length, good) in [(65_527_u16, true), (65_528, false), (65_535, false)] {
        let mut whole = [&options[..], UDP].concat();
        whole[8 + 4..8 + 6].copy_from_slice(&length.to_be_bytes());
        let bytes = part(Family::V6, 60, (0, true), &whole);
        if good {
            assert_eq!(read(&bytes).1.udp_end, length + 8);
        } else {
            assert_eq!(dropped(&bytes), DropReason::Malformed, "{length}");
        }
    }
}

#[test]
fn options_behind_the_fragment_header_are_all_in_the_first() {
    let options = [17, 0, 1, 4, 0, 0, 0, 0];
    let whole = [&options[..], UDP].concat();
    let (headers, _) = read(&part(Family::V6, 60, (0, true), &whole));
    assert_eq!((headers.kind, headers.key.number), (Kind::Udp, 17));
    let longer = [17, 2, 1, 4, 0, 0, 0, 0];
    assert_eq!(dropped(&part(Family::V6, 60, (0, true), &longer)), DropReason::FragmentTiny);
    assert_eq!(dropped(&part(Family::V6, 60, (0, true), &options)), DropReason::FragmentTiny);
    let nested = [17, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let bytes = part(Family::V6, 44, (0, true), &nested);
    assert_eq!(dropped(&bytes), DropReason::ExtensionHeaders);
    let bytes = part(Family::V6, 0, (0, true), &whole);
    assert_eq!(dropped(&bytes), DropReason::ExtensionHeaders, "hop-by-hop behind it");
}

#[test]
fn a_fragment_says_what_a_martian_says() {
    let mut bytes = part(Family::V4, 17, (8, false), &[0; 8]);
    bytes[14 + 12] = 127;
    resum(&mut bytes);
    assert_eq!(dropped(&bytes), DropReason::Martian);
    let mut bytes = part(Family::V6, 17, (8, false), &[0; 8]);
    bytes[14 + 8..14 + 24].fill(0);
    assert_eq!(dropped(&bytes), DropReason::Martian);
}
