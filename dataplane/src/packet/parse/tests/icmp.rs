//! ICMP of both families: echoes, errors, neighbours.

use super::*;

#[test]
fn a_reply_is_the_reversed_key_of_its_request_which_says_what_it_is() {
    let v4 = [(8, 0), (13, 14)].map(|row| (Family::V4, row));
    let v6 = (Family::V6, (128, 129));
    for (family, (request, reply)) in v4.into_iter().chain([v6]) {
        let protocol = if family == Family::V4 { Protocol::Icmp } else { Protocol::IcmpV6 };
        for code in [0, 5] {
            let message = FlowKey::message(request, code);
            let asked = headers_of(&sample::icmp(family, request, code, &[0; 12]));
            assert_eq!(asked.kind, Kind::Echo { reply: false });
            assert_eq!((asked.key.source_port, asked.key.target_port), (0x0707, message));
            let answered = headers_of(&sample::icmp(family, reply, code, &[0; 12]));
            assert_eq!(answered.kind, Kind::Echo { reply: true });
            assert_eq!((answered.key.source_port, answered.key.target_port), (message, 0x0707));
            assert_eq!([asked.key.protocol, answered.key.protocol], [protocol; 2]);
        }
    }
}

#[test]
fn other_messages_are_told_apart_by_type_and_code() {
    for family in FAMILIES {
        for (kind, code) in [(200, 0), (200, 1), (201, 0)] {
            let headers = headers_of(&sample::icmp(family, kind, code, &[0; 12]));
            assert_eq!(headers.kind, Kind::Portless);
            let ports = (headers.key.source_port, headers.key.target_port);
            assert_eq!(ports, (0, u16::from(kind) * 256 + u16::from(code)));
        }
    }
}

/// What the type of an ICMP message makes of it, by the tables of IANA.
fn expected(family: Family, kind: u8) -> &'static str {
    match (family, kind) {
        (Family::V4, 0 | 8 | 13 | 14) | (Family::V6, 128 | 129) => "echo",
        (Family::V4, 3 | 11 | 12) | (Family::V6, 1..=4) => "error",
        (Family::V4, 4 | 5 | 9 | 10)
        | (Family::V6, 130..=134 | 137 | 141..=143 | 148 | 149 | 151..=153) => "link only",
        // Unknown errors; and neighbours from beyond the link, by their hop limit of 64.
        (Family::V6, 0 | 5..=127 | 135 | 136) => "malformed",
        _ => "portless",
    }
}

#[test]
fn every_icmp_type_has_its_kind() {
    for family in FAMILIES {
        for kind in 0..=255_u8 {
            let quotation = back(&sample::udp(family, b"hello"));
            let seen = match parse(&sample::icmp(family, kind, 0, &quotation)) {
                Err(DropReason::Malformed) => "malformed",
                Ok(Packet::Ip(headers)) => match headers.kind {
                    Kind::Echo { .. } => "echo",
                    Kind::IcmpError { .. } => "error",
                    Kind::LinkOnly => "link only",
                    Kind::Portless => "portless",
                    other => panic!("{kind}: {other:?}"),
                },
                other => panic!("{kind}: {other:?}"),
            };
            assert_eq!(seen, expected(family, kind), "{family:?} {kind}");
        }
    }
}

/// An error from A to B about what B sent to A.
fn error_about(family: Family, quotation: &[u8]) -> Vec<u8> {
    sample::icmp(family, 3, 0, quotation)
}

#[test]
fn an_error_names_the_flow_that_it_quotes() {
    for family in FAMILIES {
        let echo = if family == Family::V4 { 8 } else { 128 };
        let quoted = [
            (sample::tcp(family, b"hello", |header| header.syn = true), 8),
            (sample::udp(family, b"hello"), 8),
            (sample::sctp(family, 7, 0, b"hello"), 8),
            (sample::icmp(family, echo, 0, b"hello"), 8),
            (sample::ip(family, 50, &[1; 20]), 0),
        ];
        for (packet, least) in quoted {
            let there = headers_of(&packet).key;
            let inner = FlowKey { source: there.target, target: there.source, ..there };
            let quotation = back(&packet);
            let needed = usize::from(headers_of(&packet).l4_offset) - 14 + least;
            for length in [needed, quotation.len()] {
                let headers = headers_of(&error_about(family, &quotation[..length]));
                assert_eq!(headers.kind, Kind::IcmpError { inner });
                assert!(headers.key.protocol.has_messages());
                assert_eq!((headers.key.source_port, headers.key.target_port), (0, 0x300));
            }
            for length in 0..needed {
                let bytes = error_about(family, &quotation[..length]);
                assert_eq!(dropped(&bytes), DropReason::Malformed, "{length}");
            }
        }
    }
}

#[test]
fn an_error_that_quotes_what_cannot_be_trusted_is_malformed() {
    let from_v4 = |edit: fn(&mut etherparse::Ipv4Header)| {
        error_about(Family::V4, &back(&sample::ipv4(17, &[0, 1, 0, 2, 0, 8, 0, 0], edit)))
    };
    let from_v6 = |number: u8, payload: &[u8], edit: fn(&mut etherparse::Ipv6Header)| {
        error_about(Family::V6, &back(&sample::ipv6(number, payload, edit)))
    };
    let v4 = back(&sample::udp(Family::V4, b"hello"));
    let v6 = back(&sample::udp(Family::V6, b"hello"));
    let about_v4 = |bytes: &[u8]| error_about(Family::V4, &back(bytes));
    let about_v6 = |bytes: &[u8]| error_about(Family::V6, &back(bytes));
    let fragment = |offset: u8| [&[17, 0, 0, offset | 1, 0, 0, 0, 1][..], &v6[40..]].concat();
    let nested = [&[44, 0, 0, 1, 0, 0, 0, 1][..], &fragment(0)].concat();
    let later: fn(&mut etherparse::Ipv4Header) =
        |header| header.fragment_offset = etherparse::IpFragOffset::try_new(1).unwrap();
    let mapped: fn(&mut etherparse::Ipv6Header) =
        |header| header.source = Address::from_v4(A4).to_bits().to_be_bytes();
    let rows = [
        ("another family", error_about(Family::V4, &v6)),
        ("another family", error_about(Family::V6, &v4)),
        ("an error", about_v4(&error_about(Family::V4, &v4))),
        ("an error", about_v6(&error_about(Family::V6, &v6))),
        ("a redirect", about_v4(&sample::icmp(Family::V4, 5, 0, &v4))),
        ("a router solicitation", about_v6(&sample::icmp(Family::V6, 133, 0, &[]))),
        ("a later fragment", from_v4(later)),
        ("a later fragment", from_v6(44, &fragment(8), |_| ())),
        ("fragments in each other", from_v6(44, &nested, |_| ())),
        ("a loopback target", from_v4(|header| header.source = [127, 0, 0, 1])),
        ("a mapped target", from_v6(50, &[0; 8], mapped)),
        ("version 5", error_about(Family::V6, &[&[0x50], &v6[1..]].concat())),
        ("what its sender sent", error_about(Family::V4, &sample::udp(Family::V4, b"")[14..])),
        ("what its sender sent", error_about(Family::V6, &sample::udp(Family::V6, b"")[14..])),
    ];
    for (name, bytes) in rows {
        assert_eq!(dropped(&bytes), DropReason::Malformed, "{name}");
    }
    let first = from_v4(|header| header.more_fragments = true);
    for first in [first, from_v6(44, &fragment(0), |_| ())] {
        let Kind::IcmpError { inner } = headers_of(&first).kind else { panic!("no error") };
        assert_eq!(inner.protocol, Protocol::Udp, "a first fragment");
    }
}

#[test]
fn a_quotation_behind_options_and_extension_headers_is_read() {
    for (name, bytes) in sample::all() {
        if name.contains("behind") {
            let family = headers_of(&bytes).family;
            let headers = headers_of(&error_about(family, &back(&bytes)));
            let Kind::IcmpError { inner } = headers.kind else { panic!("{name}") };
            assert_eq!((inner.source_port, inner.target_port), (1000, 2000), "{name}");
        }
    }
}

const LINK: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 0xa];
const TARGET_LINK: [u8; 8] = [2, 1, 2, 0, 0, 0, 0, 0xa];
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const NODE: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2];

#[test]
fn neighbour_messages_are_read_with_their_options() {
    let target = Address::from_v6(B6);
    for (options, mac) in [(&LINK[..], Some(MAC_A)), (&[], None), (&TARGET_LINK, None)] {
        let bytes = neighbour(A6, NODE, &neighbour_message(135, 0, B6, options));
        let said = Neighbour::Solicitation { target, source_link: mac };
        assert_eq!(headers_of(&bytes).kind, Kind::Neighbour(said));
    }
    let nonce = [[14, 1, 0, 0, 0, 0, 0, 0], TARGET_LINK].concat();
    for (options, mac) in [(&TARGET_LINK[..], Some(MAC_A)), (&[], None), (&nonce, Some(MAC_A))] {
        let bytes = neighbour(A6, B6, &neighbour_message(136, 0x60, B6, options));
        let said = Neighbour::Advertisement { target, target_link: mac };
        assert_eq!(headers_of(&bytes).kind, Kind::Neighbour(said));
    }
}

#[test]
fn who_has_no_address_may_ask_for_one_and_nothing_else() {
    let detection = neighbour([0; 16], NODE, &neighbour_message(135, 0, B6, &[]));
    let said = Neighbour::Solicitation { target: Address::from_v6(B6), source_link: None };
    assert_eq!(headers_of(&detection).kind, Kind::Neighbour(said));
    for kind in [133, 143] {
        let bytes = neighbour([0; 16], ALL_NODES, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(headers_of(&bytes).kind, Kind::LinkOnly);
    }
    let advertised = neighbour_message(136, 0, B6, &[]);
    let asked_with_mac = neighbour_message(135, 0, B6, &LINK);
    let asked = neighbour_message(135, 0, B6, &[]);
    let rows = [
        ("advertisement", ALL_NODES, advertised, DropReason::Martian),
        ("echo", B6, vec![128, 0, 0, 0, 0, 0, 0, 0], DropReason::Martian),
        ("solicitation with a MAC", NODE, asked_with_mac, DropReason::Malformed),
        ("solicitation to one", B6, asked, DropReason::Malformed),
    ];
    for (name, target, message, reason) in rows {
        assert_eq!(dropped(&neighbour([0; 16], target, &message)), reason, "{name}");
    }
}

#[test]
fn neighbour_messages_that_rfc_4861_forbids_are_malformed() {
    let asked = neighbour_message(135, 0, B6, &LINK);
    let edited = |at: usize, value: u8| {
        let mut message = asked.clone();
        message[at] = value;
        neighbour(A6, NODE, &message)
    };
    let with = |options: &[u8]| neighbour(A6, NODE, &neighbour_message(135, 0, B6, options));
    let mut routed = neighbour(A6, NODE, &asked);
    routed[14 + 7] = 254;
    let many = [14, 1, 0, 0, 0, 0, 0, 0].repeat(17);
    let rows = [
        ("came through a router", routed),
        ("a code", edited(1, 1)),
        ("a group asked for", edited(8, 0xff)),
        ("an option of length nought", edited(25, 0)),
        ("an option beyond the message", edited(25, 2)),
        ("a long link-layer option", with(&[&[1, 2][..], &[0; 14]].concat())),
        ("two link-layer options", with(&[LINK, LINK].concat())),
        ("half an option", with(&[14, 1, 0, 0])),
        ("one byte of option", with(&[14])),
        ("too many options", with(&many)),
        ("solicited by all", neighbour(A6, ALL_NODES, &neighbour_message(136, 0x40, B6, &[]))),
    ];
    for (name, bytes) in rows {
        assert_eq!(dropped(&bytes), DropReason::Malformed, "{name}");
    }
    assert!(matches!(headers_of(&with(&many[..128])).kind, Kind::Neighbour(_)), "sixteen");
    let unsolicited = neighbour(A6, ALL_NODES, &neighbour_message(136, 0x20, B6, &[]));
    assert!(matches!(headers_of(&unsolicited).kind, Kind::Neighbour(_)));
    assert_eq!(dropped(&neighbour(A6, NODE, &asked[..23])), DropReason::Truncated);
}

#[test]
fn a_neighbour_message_behind_an_extension_header_is_dropped() {
    for kind in [135, 136] {
        let message = neighbour(A6, B6, &neighbour_message(kind, 0, B6, &[]));
        let extended = [&[58, 0, 1, 4, 0, 0, 0, 0], &message[54..]].concat();
        let bytes = sample::ipv6(60, &extended, |header| header.hop_limit = 255);
        assert_eq!(dropped(&bytes), DropReason::ExtensionHeaders);
    }
}

#[test]
fn mld_behind_a_router_alert_stays_on_its_link() {
    let report = [[58, 0, 5, 2, 0, 0, 1, 0], [143, 0, 0, 0, 0, 0, 0, 0]].concat();
    let bytes = sample::ipv6(0, &report, |header| header.hop_limit = 1);
    assert_eq!(headers_of(&bytes).kind, Kind::LinkOnly);
}
