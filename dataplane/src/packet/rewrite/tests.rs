use etherparse::Ipv4HeaderSlice;
use etherparse::checksum::Sum16BitWords;
use proptest::prelude::*;

use super::*;
use crate::packet::sample::{self, A4, A6, B4, B6, FAMILIES, MAC_A, MAC_B, headers_of};

const NEXT: Mac = Mac([2, 9, 9, 9, 9, 9]);
const GATEWAY: Mac = Mac([2, 8, 8, 8, 8, 8]);

fn forwarded(before: &[u8]) -> Vec<u8> {
    let mut bytes = before.to_vec();
    forward(&mut bytes, &headers_of(before), GATEWAY, NEXT);
    bytes
}

fn finished(before: &[u8]) -> Vec<u8> {
    let mut bytes = before.to_vec();
    finish_checksums(&mut bytes, &headers_of(before));
    bytes
}

fn finished_if_unfinished(before: &[u8]) -> Vec<u8> {
    let mut bytes = before.to_vec();
    finish_if_unfinished(&mut bytes, &headers_of(before));
    bytes
}

/// Where the checksum of the upper layer is in the frame, and its length.
fn checksum_at(bytes: &[u8]) -> (usize, usize) {
    let headers = headers_of(bytes);
    let (at, length) = match headers.kind {
        Kind::Tcp(_) => (16, 2),
        Kind::Udp => (6, 2),
        Kind::Sctp { .. } => (8, 4),
        other => panic!("no checksum: {other:?}"),
    };
    (usize::from(headers.l4_offset) + at, length)
}

/// The packet with another checksum.
fn with_checksum(bytes: &[u8], checksum: &[u8]) -> Vec<u8> {
    let (at, length) = checksum_at(bytes);
    let mut bytes = bytes.to_vec();
    bytes[at..at + length].copy_from_slice(checksum);
    bytes
}

/// What Linux leaves in a packet whose checksum the hardware shall finish.
fn unfinished(bytes: &[u8]) -> Vec<u8> {
    let headers = headers_of(bytes);
    if matches!(headers.kind, Kind::Sctp { .. }) {
        return with_checksum(bytes, &[0; 4]);
    }
    let addresses = match headers.family {
        Family::V4 => [A4, B4].concat(),
        Family::V6 => [A6, B6].concat(),
    };
    let length = headers.end - headers.l4_offset;
    let sum = Sum16BitWords::new()
        .add_slice(&addresses)
        .add_2bytes(length.to_be_bytes())
        .add_2bytes([0, headers.key.number]);
    with_checksum(bytes, &(!sum.ones_complement().to_be()).to_be_bytes())
}

/// TCP, UDP and SCTP in both families, with the checksums that etherparse made.
fn summed(payload: &[u8]) -> Vec<Vec<u8>> {
    let of = |family| {
        [
            sample::tcp(family, payload, |header| header.syn = true),
            sample::udp(family, payload),
            sample::sctp(family, 9, 0, payload),
        ]
    };
    FAMILIES.into_iter().flat_map(of).collect()
}

#[test]
fn forwarding_changes_macs_ttl_and_header_checksum_only() {
    for (name, before) in sample::all() {
        let after = forwarded(&before);
        assert_eq!(after[..6], NEXT.0, "{name}");
        assert_eq!(after[6..12], GATEWAY.0, "{name}");
        let mut expected = before.clone();
        expected[..12].copy_from_slice(&after[..12]);
        if headers_of(&before).family == Family::V4 {
            expected[22] -= 1;
            expected[24..26].copy_from_slice(&after[24..26]);
        } else {
            expected[21] -= 1;
        }
        assert_eq!(after, expected, "{name}");
    }
}

/// Every identification there is, hence every header checksum there can be: 0xffff, 0, and both
/// sides of each carry.
#[test]
fn the_patched_header_checksum_is_the_recomputed_one_for_every_header() {
    let mut bytes = sample::ipv4(17, &sample::udp(Family::V4, b"")[34..], |_| ());
    for ttl in [1, 2, 64, 255] {
        for identification in 0..=u16::MAX {
            bytes[22] = ttl;
            bytes[18..20].copy_from_slice(&identification.to_be_bytes());
            let sum = Ipv4HeaderSlice::from_slice(&bytes[14..]).unwrap().to_header();
            bytes[24..26].copy_from_slice(&sum.calc_header_checksum().to_be_bytes());
            let after = forwarded(&bytes);
            let header = Ipv4HeaderSlice::from_slice(&after[14..]).unwrap().to_header();
            assert_eq!(header.time_to_live, ttl - 1);
            assert_eq!(header.header_checksum, header.calc_header_checksum(), "{identification}");
        }
    }
}

#[test]
fn a_header_whose_checksum_is_written_as_ones_stays_valid() {
    let bytes = (0..=u16::MAX)
        .map(|id| sample::ipv4(50, &[0; 8], |header| header.identification = id))
        .find(|bytes| bytes[24..26] == [0, 0]);
    let mut bytes = bytes.unwrap();
    bytes[24..26].copy_from_slice(&[0xff, 0xff]);
    headers_of(&forwarded(&bytes));
}

#[test]
fn a_ttl_of_nought_does_not_become_255() {
    for family in FAMILIES {
        let mut bytes = sample::udp(family, b"");
        let mut headers = headers_of(&bytes);
        headers.ttl = 0;
        forward(&mut bytes, &headers, GATEWAY, NEXT);
        assert_eq!(bytes[if family == Family::V4 { 22 } else { 21 }], 0);
    }
}

#[test]
fn what_is_after_the_packet_is_neither_summed_nor_touched() {
    for mut bytes in summed(b"odd") {
        let right = bytes.clone();
        bytes.extend([0xee; 13]);
        let (at, length) = checksum_at(&bytes);
        bytes[at..at + length].fill(0x55);
        let after = finished(&bytes);
        assert_eq!(after[..right.len()], right);
        assert_eq!(after[right.len()..], [0xee; 13]);
        assert_eq!(finished_if_unfinished(&unfinished(&bytes))[..right.len()], right);
    }
}

#[test]
fn udp_without_a_checksum_stays_without_over_ipv4() {
    let bytes = with_checksum(&sample::udp(Family::V4, b"payload"), &[0; 2]);
    assert_eq!(finished(&bytes), bytes);
    assert_eq!(finished_if_unfinished(&bytes), bytes);
}

#[test]
fn a_udp_checksum_that_comes_to_zero_is_written_as_ones() {
    for family in FAMILIES {
        let right = (0..=u16::MAX)
            .map(|word| sample::udp(family, &word.to_be_bytes()))
            .find(|bytes| with_checksum(bytes, &[0xff; 2]) == *bytes)
            .expect("one of all payloads sums to zero");
        assert_eq!(finished(&with_checksum(&right, &[1, 2])), right);
    }
}

#[test]
fn a_tcp_checksum_that_comes_to_zero_stays_zero() {
    let right = (0..=u16::MAX)
        .map(|word| sample::tcp(Family::V4, &word.to_be_bytes(), |header| header.ack = true))
        .find(|bytes| with_checksum(bytes, &[0; 2]) == *bytes)
        .expect("one of all payloads sums to zero");
    assert_eq!(finished(&with_checksum(&right, &[1, 2])), right);
}

#[test]
fn what_has_no_unfinished_checksum_is_left_alone() {
    for (name, mut bytes) in sample::all() {
        if !matches!(headers_of(&bytes).kind, Kind::Tcp(_) | Kind::Udp | Kind::Sctp { .. }) {
            // Wrong on purpose: it must stay so.
            *bytes.last_mut().unwrap() ^= 0xff;
            assert_eq!(finished(&bytes), bytes, "{name}");
            assert_eq!(finished_if_unfinished(&bytes), bytes, "{name}");
        }
    }
}

#[test]
fn a_checksum_behind_options_and_extension_headers_is_finished_too() {
    for (name, bytes) in sample::all() {
        if name.contains("behind") {
            assert_eq!(finished(&with_checksum(&bytes, &[1, 2])), bytes, "{name}");
            assert_eq!(finished_if_unfinished(&unfinished(&bytes)), bytes, "{name}");
        }
    }
}

proptest! {
    #[test]
    fn any_checksum_is_finished_as_etherparse_would(
        payload in prop::collection::vec(any::<u8>(), 0..200),
        junk in 1..=u16::MAX,
    ) {
        for right in summed(&payload) {
            let (_, length) = checksum_at(&right);
            let junk = junk.to_be_bytes().repeat(length / 2);
            prop_assert_eq!(finished(&with_checksum(&right, &junk)), right);
        }
    }

    #[test]
    fn only_the_unfinished_are_finished(
        payload in prop::collection::vec(any::<u8>(), 1..200),
        flip in 1_u8..,
    ) {
        for right in summed(&payload) {
            prop_assert_eq!(&finished_if_unfinished(&right), &right);
            prop_assert_eq!(&finished_if_unfinished(&unfinished(&right)), &right);
            // Broken on the way: who receives it must see that it was.
            let mut corrupt = right;
            *corrupt.last_mut().unwrap() ^= flip;
            prop_assume!(corrupt != unfinished(&corrupt));
            prop_assert_eq!(&finished_if_unfinished(&corrupt), &corrupt);
        }
    }

    /// Headers of another packet: nothing is promised but that the switch lives.
    #[test]
    fn headers_of_another_packet_do_not_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        l4_offset: u16,
        end: u16,
    ) {
        for (_, packet) in sample::all() {
            let mut headers = headers_of(&packet);
            let mut short = bytes.clone();
            finish_checksums(&mut short, &headers);
            finish_if_unfinished(&mut short, &headers);
            forward(&mut short, &headers, MAC_A, MAC_B);
            (headers.l4_offset, headers.end) = (l4_offset, end);
            finish_checksums(&mut short, &headers);
            finish_if_unfinished(&mut short, &headers);
            (headers.l4_offset, headers.end) = (l4_offset % 128, end % 128);
            finish_checksums(&mut short, &headers);
            finish_if_unfinished(&mut short, &headers);
        }
    }
}
