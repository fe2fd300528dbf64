//! Checksums: the Internet's ones' complement sum here, SCTP's CRC in `crc32c`. Hot path.
//!
//! Words are added as they lie in memory, four bytes at a time: the sum of a packet is the same
//! in either byte order but for a swap at the end (RFC 1071 §2), and 2¹⁶ ≡ 1 modulo 2¹⁶ − 1, so
//! wider words give the same sum. The loop has no branch and is vectorised by the compiler.

pub mod crc32c;

/// A ones' complement sum under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of `bytes`, an odd last byte padded with zero. At most 2³² × 4 bytes.
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = 0_u64;
        for word in words {
            sum = sum.wrapping_add(u64::from(u32::from_ne_bytes(*word)));
        }
        let last = match *rest {
            [a] => [a, 0, 0, 0],
            [a, b] => [a, b, 0, 0],
            [a, b, c] => [a, b, c, 0],
            _ => [0; 4],
        };
        Self(sum.wrapping_add(u64::from(u32::from_ne_bytes(last))))
    }

    /// With one 16-bit number more.
    #[inline]
    #[must_use]
    pub const fn with_u16(self, number: u16) -> Self {
        Self(self.0.wrapping_add(number.to_be() as u64))
    }

    /// With one 32-bit number more.
    #[inline]
    #[must_use]
    pub const fn with_u32(self, number: u32) -> Self {
        Self(self.0.wrapping_add(number.to_be() as u64))
    }

    /// With one 64-bit number more.
    #[inline]
    #[must_use]
    pub const fn with_u64(self, number: u64) -> Self {
        let words = number.to_be();
        Self(self.0.wrapping_add(words & 0xffff_ffff).wrapping_add(words >> 32))
    }

    /// Both sums in one. What `other` was made of must begin at an even offset.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// The sum in 16 bits: 0 only where every byte was 0.
    #[inline]
    #[must_use]
    pub const fn fold(self) -> u16 {
        // Half upon half: what is carried out at the top comes in at the bottom, and then nothing
        // is carried again.
        #[allow(clippy::cast_possible_truncation)] // the halves are what is wanted
        let (sum, carry) = (self.0 as u32).overflowing_add((self.0 >> 32) as u32);
        let sum = sum.wrapping_add(carry as u32);
        #[allow(clippy::cast_possible_truncation)]
        let (sum, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
        u16::from_be(sum.wrapping_add(carry as u16))
    }

    /// What the checksum field must hold: the complement.
    #[inline]
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// The checksum after one covered 16-bit word changed from `old` to `new` (RFC 1624, equation
/// 3, which unlike equation 4 never makes 0xffff of a sum that is zero).
///
/// A checksum that was wrong stays wrong.
#[inline]
#[must_use]
pub const fn patch(checksum: u16, old: u16, new: u16) -> u16 {
    !Sum(0).with_u16(!checksum).with_u16(!old).with_u16(new).fold()
}

/// The same where several covered words changed, whose sums these are.
#[inline]
#[must_use]
pub const fn patch_all(checksum: u16, old: Sum, new: Sum) -> u16 {
    patch(checksum, old.fold(), new.fold())
}

#[cfg(test)]
mod tests;
