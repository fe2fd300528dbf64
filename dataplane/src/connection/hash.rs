//! Where a connection may be: a keyed hash, the same from both ends. Hot path.
//!
//! Headers are written by attackers. Were the hash known, 16 chosen keys would fill both buckets
//! of a victim's key, and the victim would be denied in an empty table. So the hash is a
//! pseudo-random function under a secret of 128 bits, drawn when the switch starts:
//! **SipHash-1-3** (Aumasson, Bernstein), the variant that Rust and others use for just this.
//!
//! - *Symmetry*: the two ends (address and port) are put in order before they are hashed, so that
//!   a reply finds what its request opened. Combining ends with xor or + would be symmetrical
//!   too, and would give anyone collisions for free, seed or no seed.
//! - *Cost*: an IPv4 key is two words, hence two rounds and three to finish: about 70 simple
//!   operations with no memory access. A batch is hashed before anything is looked up, so the
//!   chains of several packets overlap.
//! - *Rejected*: `CRC32c` and Toeplitz are linear, so collisions of one key are collisions of every
//!   key; multilinear hashing is universal, but linear too: one collision seen gives all others of
//!   its difference. Multiply-and-fold mixes are three times as fast and have no analysis that
//!   one could cite. AES rounds would need `unsafe`.

use crate::packet::{Address, FlowKey};

/// The hash of a connection: the same for both directions, worthless under another seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hash(pub(super) u64);

impl Hash {
    /// Of two addresses in this order. No secret goes into it: it is the same in every process.
    pub(crate) fn of_pair(one: Address, other: Address) -> Self {
        const OPEN: Seed = Seed::new([0x6c6f_636b_6761_7465, 0x7472_616e_736c_6174]);
        finish(absorb_wide(absorb_wide(OPEN.0, one.to_bits()), other.to_bits()))
    }

    /// Which of so many parts it is in, each of which is as likely.
    pub(crate) fn part_of(self, parts: u16) -> u16 {
        // Below `parts`.
        #[allow(clippy::cast_possible_truncation)]
        let part = ((self.0 >> 48).wrapping_mul(u64::from(parts)) >> 16) as u16;
        part
    }
}

/// The secret, spread into the state that every hash begins with.
#[derive(Clone, Copy)]
pub(super) struct Seed([u64; 4]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(secret)")
    }
}

impl Seed {
    /// From 128 secret bits.
    pub(super) const fn new(secret: [u64; 2]) -> Self {
        let [k0, k1] = secret;
        // SipHash's four constants: "somepseudorandomlygeneratedbytes".
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    /// Hashes a key, whichever direction it is seen in.
    // See `Connections::spot`.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn hash(self, key: &FlowKey) -> Hash {
        let number = u64::from(key.number) << 48;
        // Both ends are of one family: the parser lets no IPv4 address into IPv6.
        let state = if key.source.is_v4() {
            let a = u64::from(key.source.to_v4_bits()) << 16 | u64::from(key.source_port);
            let b = u64::from(key.target.to_v4_bits()) << 16 | u64::from(key.target_port);
            absorb(absorb(self.0, a.min(b) | number), a.max(b))
        } else {
            self.absorb_v6(key, number)
        };
        finish(state)
    }

    /// What a key of IPv6 takes in.
    #[inline(never)]
    fn absorb_v6(self, key: &FlowKey, number: u64) -> [u64; 4] {
        let a = (key.source.to_bits(), key.source_port);
        let b = (key.target.to_bits(), key.target_port);
        let (first, second) = if a <= b { (a, b) } else { (b, a) };
        let ports = u64::from(first.1) << 16 | u64::from(second.1);
        let state = absorb_wide(absorb_wide(self.0, first.0), second.0);
        // The top bit keeps the last word apart from any of IPv4.
        absorb(state, ports | number | 1 << 63)
    }
}

/// Takes in 128 bits.
#[inline]
fn absorb_wide(state: [u64; 4], bits: u128) -> [u64; 4] {
    #[allow(clippy::cast_possible_truncation)] // the halves are what is wanted
    absorb(absorb(state, (bits >> 64) as u64), bits as u64)
}

/// Takes in one word: one round.
#[inline]
fn absorb([v0, v1, v2, v3]: [u64; 4], word: u64) -> [u64; 4] {
    let [v0, v1, v2, v3] = round([v0, v1, v2, v3 ^ word]);
    [v0 ^ word, v1, v2, v3]
}

/// Three rounds, then the four words become one.
#[inline]
fn finish([v0, v1, v2, v3]: [u64; 4]) -> Hash {
    let [v0, v1, v2, v3] = round(round(round([v0, v1, v2 ^ 0xff, v3])));
    Hash(v0 ^ v1 ^ v2 ^ v3)
}

/// The `SipRound`.
#[inline]
fn round([mut v0, mut v1, mut v2, mut v3]: [u64; 4]) -> [u64; 4] {
    v0 = v0.wrapping_add(v1);
    v2 = v2.wrapping_add(v3);
    v1 = v1.rotate_left(13) ^ v0;
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.rotate_left(32).wrapping_add(v3);
    v2 = v2.wrapping_add(v1);
    v3 = v3.rotate_left(21) ^ v0;
    v1 = v1.rotate_left(17) ^ v2;
    v2 = v2.rotate_left(32);
    [v0, v1, v2, v3]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher;

    /// The standard library's SipHash-1-3, which ends a message with a word of its length.
    #[test]
    #[allow(deprecated)]
    fn the_rounds_are_those_of_siphash() {
        // SipHasher is 2-4: absorb with one more round for each word, finish with one more.
        let seed = Seed::new([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        let word = 0x0706_0504_0302_0100_u64;
        let twice = |[v0, v1, v2, v3]: [u64; 4], word: u64| {
            let [v0, v1, v2, v3] = round(round([v0, v1, v2, v3 ^ word]));
            [v0 ^ word, v1, v2, v3]
        };
        let [v0, v1, v2, v3] = twice(twice(seed.0, word), 8 << 56);
        let [v0, v1, v2, v3] = round(round(round(round([v0, v1, v2 ^ 0xff, v3]))));
        let mut theirs =
            std::hash::SipHasher::new_with_keys(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        theirs.write(&word.to_le_bytes());
        assert_eq!(v0 ^ v1 ^ v2 ^ v3, theirs.finish());
    }
}
