use proptest::prelude::*;

use super::*;
use crate::packet::rewrite::finish_checksums;
use crate::packet::sample::{self, FAMILIES, headers_of};

/// Another flow of the same family and protocol.
fn other(key: &FlowKey) -> FlowKey {
    let (source, target) = if key.source.is_v4() {
        (Address::from_v4([169, 254, 1, 1]), Address::from_v4([10, 96, 255, 254]))
    } else {
        let of = |first, last| {
            Address::from_v6([first, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, last])
        };
        (of(0xfe, 1), of(0xfd, 0xee))
    };
    FlowKey { source, target, source_port: 0xfffe, target_port: 53, ..*key }
}

fn translated(before: &[u8], new: &FlowKey) -> Vec<u8> {
    let mut bytes = before.to_vec();
    flow(&mut bytes, &headers_of(before), new);
    bytes
}

fn packets(payload: &[u8]) -> Vec<Vec<u8>> {
    let of = |family| {
        [
            sample::tcp(family, payload, |header| header.ack = true),
            sample::udp(family, payload),
            sample::sctp(family, 7, 0, payload),
        ]
    };
    FAMILIES.into_iter().flat_map(of).collect()
}

proptest! {
    #[test]
    fn a_packet_has_its_new_flow_and_sums_that_a_full_count_finds_right(
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        for before in packets(&payload) {
            let key = headers_of(&before).key;
            let new = other(&key);
            let after = translated(&before, &new);
            prop_assert_eq!(headers_of(&after).key, new);
            let mut counted = after.clone();
            finish_checksums(&mut counted, &headers_of(&after));
            prop_assert_eq!(&counted, &after, "{:?}", new.protocol);
            prop_assert_eq!(translated(&after, &key), before, "and back");
        }
    }
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    for before in packets(b"payload") {
        let headers = headers_of(&before);
        let at = usize::from(headers.l4_offset)
            + match headers.kind {
                Kind::Tcp(_) => 16,
                Kind::Udp => 6,
                _ => 8,
            };
        let mut broken = before.clone();
        broken[at] ^= 0x15;
        let after = translated(&broken, &other(&headers.key));
        let mut counted = after.clone();
        finish_checksums(&mut counted, &headers_of(&after));
        assert_ne!(counted, after, "{:?}", headers.kind);
    }
}

#[test]
fn udp_without_a_checksum_stays_without() {
    let mut before = sample::udp(Family::V4, b"x");
    let at = usize::from(headers_of(&before).l4_offset) + 6;
    before[at..at + 2].fill(0);
    let after = translated(&before, &other(&headers_of(&before).key));
    assert_eq!(after[at..at + 2], [0; 2]);
}

#[test]
fn of_a_later_fragment_only_addresses_change() {
    for family in FAMILIES {
        let before = sample::udp(family, b"sixteen bytes...");
        let headers = Headers { kind: Kind::Rest, ..headers_of(&before) };
        let mut after = before.clone();
        flow(&mut after, &headers, &other(&headers.key));
        let at = usize::from(headers.l4_offset);
        assert_eq!(after[at..], before[at..]);
        assert_ne!(after[..at], before[..at]);
    }
}

#[test]
fn an_error_and_what_it_quotes_are_translated_whole_or_cut_off() {
    for family in FAMILIES {
        for quoted in packets(b"quoted") {
            let inner = headers_of(&quoted);
            if inner.family != family {
                continue;
            }
            for cut in [quoted.len(), usize::from(inner.l4_offset) + 8] {
                check_error(family, &sample::back(&quoted)[..cut - ETHERNET_BYTES], &inner);
            }
        }
    }
}

/// `quoted` is a packet that goes against the headers `inner`.
fn check_error(family: Family, quoted: &[u8], inner: &Headers) {
    let kind = if family == Family::V4 { 3 } else { 1 };
    let before = sample::icmp(family, kind, 3, quoted);
    let headers = headers_of(&before);
    let mut inner = *inner;
    (inner.key.source, inner.key.target) = (inner.key.target, inner.key.source);
    let Kind::IcmpError { inner: read } = headers.kind else { panic!("{:?}", headers.kind) };
    assert_eq!(read, inner.key);
    let new = other(&inner.key);
    let mut after = before.clone();
    error(&mut after, &headers, (new.target, new.source), &read, &new);
    let found = headers_of(&after);
    assert_eq!((found.key.source, found.key.target), (new.target, new.source));
    assert_eq!(found.kind, Kind::IcmpError { inner: new });
    let segment = &after[usize::from(found.l4_offset)..];
    assert_eq!(message_sum(segment, &found).fold(), 0xffff, "{family:?}");
    let mut back = after.clone();
    error(&mut back, &found, (headers.key.source, headers.key.target), &new, &read);
    if inner.key.protocol != Protocol::Sctp {
        assert_eq!(back, before, "every patch undoes itself");
    }
    let mut broken = before.clone();
    broken[usize::from(headers.l4_offset) + 3] ^= 1;
    error(&mut broken, &headers, (new.target, new.source), &read, &new);
    let segment = &broken[usize::from(found.l4_offset)..];
    assert_ne!(message_sum(segment, &found).fold(), 0xffff, "wrong stays wrong");
}
