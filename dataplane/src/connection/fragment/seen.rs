//! Which bytes of a datagram have come. Hot path.
//!
//! A datagram has at most 64 KiB and its fragments meet at multiples of eight bytes, so one bit
//! for each eight bytes says all, in a kilobyte, however many fragments there are and in whatever
//! order they come. A list of ranges would be shorter for honest senders and as long as an
//! attacker likes.

use crate::packet::parse::Fragment;

const WORDS: usize = 128;
const UNIT_BITS: u32 = 3;

// A bit for each unit of the longest datagram.
const _: () = assert!(WORDS * u64::BITS as usize == (1 << 16) >> UNIT_BITS);

/// The bytes that have come, by units of eight.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    units: [u64; WORDS],
    /// How many bits are set.
    count: u32,
    /// The first unit beyond all that have come.
    top: u32,
    /// Whether the last fragment has come.
    has_last: bool,
    /// Where the datagram ends, in bytes, as soon as any fragment has said so; 0 until then.
    end: u16,
}

impl Seen {
    pub(super) const NOTHING: Self =
        Self { units: [0; WORDS], count: 0, top: 0, has_last: false, end: 0 };

    /// Notes a fragment; false where it contradicts one that came before: they overlap, or the
    /// datagram would end in two places. Nothing is noted then.
    pub(super) fn note(&mut self, fragment: &Fragment) -> bool {
        let first = u32::from(fragment.offset) >> UNIT_BITS;
        let end = units(fragment.end);
        let says = fragment.datagram_end();
        let is_beyond = self.end != 0 && (fragment.end > self.end || says != 0 && says != self.end);
        let is_last_again = self.has_last && !fragment.more;
        let cuts = says != 0 && self.top > units(says);
        if is_beyond || is_last_again || cuts || self.any(first, end) {
            return false;
        }
        self.end = self.end.max(says);
        for (word, mask) in masks(first, end) {
            if let Some(bits) = self.units.get_mut(word) {
                *bits |= mask;
            }
        }
        self.count = self.count.saturating_add(end.saturating_sub(first));
        self.top = self.top.max(end);
        self.has_last |= !fragment.more;
        true
    }

    /// Whether all of the datagram has come.
    pub(super) fn is_all(&self) -> bool {
        self.has_last && self.count == units(self.end)
    }

    fn any(&self, first: u32, end: u32) -> bool {
        masks(first, end)
            .any(|(word, mask)| self.units.get(word).is_some_and(|bits| bits & mask != 0))
    }
}

/// How many units so many bytes take.
fn units(bytes: u16) -> u32 {
    u32::from(bytes).div_ceil(1 << UNIT_BITS)
}

/// The words that hold the units from `first` to before `end`, and which of their bits.
fn masks(first: u32, end: u32) -> impl Iterator<Item = (usize, u64)> {
    let words = first / u64::BITS..end.div_ceil(u64::BITS);
    words.map(move |word| {
        let start = word.saturating_mul(u64::BITS);
        // At most 64 each: the word's own bits below `first`, and below `end`.
        let below = first.saturating_sub(start);
        let upto = end.saturating_sub(start).min(u64::BITS);
        (word as usize, low(upto) & !low(below))
    })
}

/// The lowest `bits` bits.
fn low(bits: u32) -> u64 {
    u64::MAX.checked_shr(u64::BITS.saturating_sub(bits)).unwrap_or(0)
}
