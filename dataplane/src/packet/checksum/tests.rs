use etherparse::checksum::Sum16BitWords;
use proptest::prelude::*;

use super::crc32c::Crc;
use super::*;
use crate::packet::sample;

/// The sum as RFC 1071 tells it.
fn slow_sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        _ => u32::from(u16::from_be_bytes([pair[0], 0])),
    });
    let folded = words.fold(0_u32, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    u16::try_from(folded).unwrap()
}

#[test]
fn the_crc_of_the_digits_is_the_published_one() {
    assert_eq!(Crc::START.with(b"123456789").finish(), 0xe306_9283);
}

#[test]
fn the_sum_of_nothing_and_of_zeros_is_zero() {
    assert_eq!(Sum::of(&[]).fold(), 0);
    assert_eq!(Sum::of(&[0; 4096]).fold(), 0);
    assert_eq!(Sum::of(&[0; 4096]).checksum(), 0xffff);
}

#[test]
fn the_longest_packet_of_ones_does_not_overflow() {
    let ones = vec![0xff; 65_535];
    assert_eq!(Sum::of(&ones).fold(), slow_sum(&ones));
}

#[test]
fn a_patch_is_right_for_every_checksum_and_step() {
    for old in [0, 1, 0x00ff, 0x0100, 0x4006, 0xfeff, 0xff06, 0xffff] {
        for new in [0, 1, 0x00ff, 0x3f06, 0xfe06, 0xffff] {
            for rest in 1..=u16::MAX {
                let before = Sum::default().with_u16(rest).with_u16(old).checksum();
                let after = Sum::default().with_u16(rest).with_u16(new).checksum();
                assert_eq!(patch(before, old, new), after, "{rest:04x} {old:04x} {new:04x}");
            }
        }
    }
}

proptest! {
    #[test]
    fn the_sum_is_that_of_the_specification_and_of_etherparse(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assert_eq!(Sum::of(&bytes).fold(), slow_sum(&bytes));
        let theirs = Sum16BitWords::new().add_slice(&bytes).ones_complement().to_be();
        prop_assert_eq!(Sum::of(&bytes).checksum(), theirs);
    }

    #[test]
    fn numbers_add_up_like_their_bytes(a: u16, b: u32, c: u64, rest: Vec<u8>) {
        let bytes = [&a.to_be_bytes()[..], &b.to_be_bytes(), &c.to_be_bytes(), &rest].concat();
        let sum = Sum::default().with_u16(a).with_u32(b).with_u64(c).with(Sum::of(&rest));
        prop_assert_eq!(sum.fold(), slow_sum(&bytes));
    }

    #[test]
    fn the_crc_is_that_of_one_bit_at_a_time(bytes: Vec<u8>, cut: prop::sample::Index) {
        let (one, other) = bytes.split_at(cut.index(bytes.len() + 1));
        let crc = Crc::START.with(one).with(other).finish();
        prop_assert_eq!(crc, sample::crc32c(&bytes));
    }
}
