//! What the switch changes and answers: never outside the packet, and valid where it was.
//!
//! Checked by reading the bytes again and by etherparse's sums, on any packet that our parser
//! accepts. Behind each packet lie bytes that are nobody's: they must not change.

use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::answer::{
    GATEWAY_MAC, GATEWAY_V6, QUOTED_BYTES_MAX, arp_reply, echo_reply, gateway,
    neighbour_advertisement, time_exceeded, too_big,
};
use lockgate_dataplane::packet::parse::{Fragment, Kind};
use lockgate_dataplane::packet::rewrite::{finish_checksums, finish_if_unfinished, forward};
use lockgate_dataplane::packet::{Arp, Family, Headers, Neighbour, Packet, parse};

use crate::packets::has_right_upper;

const NEXT: Mac = Mac([2, 9, 9, 9, 9, 9]);
const AFTER: [u8; 64] = [0xee; 64];
/// Room of an answer: more than the longest, an IPv6 error, has.
const ROOM: usize = 2048;

/// Changes a frame in every way that fits it.
pub fn hold(bytes: &[u8]) {
    match parse(bytes) {
        Ok(Packet::Ip(headers)) => {
            forwarded(bytes, &headers, None);
            finished(bytes, &headers);
            echoed(bytes, &headers);
            advertised(bytes, &headers);
            refused(bytes, &headers);
        }
        // Of a fragment, checksums are left alone.
        Ok(Packet::Fragment(headers, fragment)) => {
            forwarded(bytes, &headers, Some(fragment));
            if fragment.is_first() {
                refused(bytes, &headers);
            }
        }
        Ok(Packet::Arp(arp)) => replied(bytes, &arp),
        Err(_) => {}
    }
}

/// The packet with bytes behind it that are not its own.
fn with_room(bytes: &[u8], end: u16) -> Vec<u8> {
    [&bytes[..usize::from(end)], &AFTER].concat()
}

fn is_untouched_behind(after: &[u8], end: u16) {
    assert_eq!(after[usize::from(end)..], AFTER, "written behind the packet");
}

fn forwarded(bytes: &[u8], headers: &Headers, fragment: Option<Fragment>) {
    if headers.ttl <= 1 {
        return;
    }
    let before = with_room(bytes, headers.end);
    let mut after = before.clone();
    forward(&mut after, headers, GATEWAY_MAC, NEXT);
    is_untouched_behind(&after, headers.end);
    let expected =
        Headers { source_mac: GATEWAY_MAC, target_mac: NEXT, ttl: headers.ttl - 1, ..*headers };
    let expected = match fragment {
        None => Packet::Ip(expected),
        Some(fragment) => Packet::Fragment(expected, fragment),
    };
    // A neighbour message lives one hop: the parser drops it afterwards, and nobody forwards one.
    if !matches!(headers.kind, Kind::Neighbour(_)) {
        assert_eq!(parse(&after), Ok(expected));
    }
    let kept: &[usize] = match headers.family {
        Family::V4 => &[22, 24, 25],
        Family::V6 => &[21],
    };
    let differ = (12..after.len()).filter(|&at| after[at] != before[at]);
    let strays: Vec<usize> = differ.filter(|at| !kept.contains(at)).collect();
    assert!(strays.is_empty(), "forwarding changed {strays:?}");
}

/// The bytes of the upper layer's checksum, where the switch finishes it.
fn checksum_of(headers: &Headers) -> Option<std::ops::Range<usize>> {
    let (at, bytes) = match headers.kind {
        Kind::Tcp(_) => (16, 2),
        Kind::Udp => (6, 2),
        Kind::Sctp { .. } => (8, 4),
        _ => return None,
    };
    let at = usize::from(headers.l4_offset) + at;
    Some(at..at + bytes)
}

fn finished(bytes: &[u8], headers: &Headers) {
    let before = with_room(bytes, headers.end);
    let (mut all, mut some) = (before.clone(), before.clone());
    finish_checksums(&mut all, headers);
    finish_if_unfinished(&mut some, headers);
    let field = checksum_of(headers).unwrap_or(0..0);
    let differ = (0..all.len()).filter(|&at| all[at] != before[at]);
    let strays: Vec<usize> = differ.filter(|at| !field.contains(at)).collect();
    assert!(strays.is_empty(), "finishing changed {strays:?}");
    assert!(some == before || some == all, "half finished: {some:02x?}");
    let packet = &all[..usize::from(headers.end)];
    // UDP over IPv4 without a checksum stays without.
    if !field.is_empty() && packet[field] != [0, 0] {
        assert!(has_right_upper(packet).is_none_or(|right| right), "not finished: {packet:02x?}");
        // What is finished is finished.
        let mut again = all.clone();
        finish_checksums(&mut again, headers);
        finish_if_unfinished(&mut again, headers);
        assert_eq!(again, all);
    }
}

fn echoed(bytes: &[u8], headers: &Headers) {
    let before = with_room(bytes, headers.end);
    let mut after = before.clone();
    let Some(length) = echo_reply(&mut after, headers, GATEWAY_MAC) else {
        assert_eq!(after, before, "no answer, and yet written");
        return;
    };
    assert_eq!(length, usize::from(headers.end));
    is_untouched_behind(&after, headers.end);
    let expected = Headers {
        key: headers.key.reversed(),
        source_mac: GATEWAY_MAC,
        target_mac: headers.source_mac,
        ttl: 64,
        kind: Kind::Echo { reply: true },
        ..*headers
    };
    assert_eq!(parse(&after), Ok(Packet::Ip(expected)));
    let right = |bytes: &[u8]| has_right_upper(&bytes[..length]);
    assert_eq!(right(&after), right(&before), "a checksum was made right or wrong");
}

fn advertised(bytes: &[u8], headers: &Headers) {
    let end = usize::from(headers.end);
    for room in [0, ROOM] {
        let mut before = bytes[..end].to_vec();
        before.resize(end.max(room), 0xee);
        let mut after = before.clone();
        let Some(length) = neighbour_advertisement(&mut after, headers, GATEWAY_MAC) else {
            assert_eq!(after, before, "no answer, and yet written");
            continue;
        };
        assert_eq!(length, 86);
        assert_eq!(after[length.max(end)..], before[length.max(end)..]);
        let Ok(Packet::Ip(answer)) = parse(&after[..length]) else { panic!("{after:02x?}") };
        let said = Neighbour::Advertisement { target: GATEWAY_V6, target_link: Some(GATEWAY_MAC) };
        assert_eq!(answer.kind, Kind::Neighbour(said));
        assert_eq!((answer.key.source, answer.key.target), (GATEWAY_V6, headers.key.source));
        assert_eq!((answer.source_mac, answer.target_mac), (GATEWAY_MAC, headers.source_mac));
        assert!(has_right_upper(&after[..length]) == Some(true), "{after:02x?}");
    }
}

/// The two errors about a packet: each names it, or there is none.
fn refused(bytes: &[u8], headers: &Headers) {
    let mut rooms = [[0xee; ROOM], [0xee; ROOM]];
    let [first, second] = &mut rooms;
    let lengths = [
        time_exceeded(first, bytes, headers, gateway(headers.key.source)),
        too_big(second, bytes, headers, gateway(headers.key.source), 1280),
    ];
    for (room, length) in rooms.iter().zip(lengths) {
        let Some(length) = length else {
            assert_eq!(room[..], [0xee; ROOM], "no error, and yet written");
            continue;
        };
        assert!(length <= 14 + 1280, "an error of {length} bytes");
        assert_eq!(room[length..], [0xee; ROOM][length..]);
        let error = &room[..length];
        assert!(has_right_upper(error) == Some(true), "{error:02x?}");
        // Of a quotation without the ports nobody can say whose it is.
        let is_named = usize::from(headers.l4_offset) - 14 + 8 <= QUOTED_BYTES_MAX - 14;
        if !is_named {
            continue;
        }
        let Ok(Packet::Ip(read)) = parse(error) else { panic!("{error:02x?} about {headers:?}") };
        let Kind::IcmpError { inner } = read.kind else { panic!("{read:?}") };
        assert_eq!((inner.source, inner.target), (headers.key.source, headers.key.target));
        assert_eq!((inner.number, inner.protocol), (headers.key.number, headers.key.protocol));
        let ports = (headers.key.source_port, headers.key.target_port);
        assert_eq!((inner.source_port, inner.target_port), ports, "of another flow");
        assert_eq!(read.target_mac, headers.source_mac);
    }
    // A little less room than it takes is none.
    if let Some(length) = lengths[0] {
        let short = &mut [0; ROOM][..length - 1];
        assert_eq!(time_exceeded(short, bytes, headers, gateway(headers.key.source)), None);
    }
}

fn replied(bytes: &[u8], arp: &Arp) {
    let mut after = [&bytes[..42], &AFTER].concat();
    assert_eq!(arp_reply(&mut after, arp, GATEWAY_MAC), 42);
    is_untouched_behind(&after, 42);
    let expected = Arp {
        source_mac: GATEWAY_MAC,
        target_mac: arp.source_mac,
        operation: Arp::REPLY,
        sender_mac: GATEWAY_MAC,
        sender: arp.target,
        target: arp.sender,
    };
    assert_eq!(parse(&after[..42]), Ok(Packet::Arp(expected)));
}
