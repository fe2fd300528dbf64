//! `CRC32c`, the checksum of SCTP (RFC 9260 appendix A). Hot path.
//!
//! Eight bytes a step by eight tables that the compiler computes ("slicing by 8", Kounavis and
//! Berry, 2008). SCTP is rare: the processor's own instruction would need `unsafe`.

/// Castagnoli's polynomial, bits reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[n][b]` is the CRC of byte `b` followed by `n` zero bytes.
static TABLES: [[u32; 256]; 8] = tables();

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // runs in the compiler only
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    // Cold: the compiler runs it.
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation)] // below 256
        let mut crc = byte as u32;
        let mut bit = 0;
        // Cold: the compiler runs it.
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    // Cold: the compiler runs it.
    while zeros < 8 {
        let mut byte = 0;
        // Cold: the compiler runs it.
        while byte < 256 {
            let before = tables[zeros - 1][byte];
            tables[zeros][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// A CRC under way.
#[derive(Clone, Copy, Debug)]
pub struct Crc(u32);

impl Crc {
    /// Before the first byte.
    pub const START: Self = Self(u32::MAX);

    /// With `bytes` more.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks::<8>();
        let mut crc = self.0;
        for &[a, b, c, d, e, f, g, h] in blocks {
            let [i, j, k, l] = (crc ^ u32::from_le_bytes([a, b, c, d])).to_le_bytes();
            crc = (entry::<7>(i) ^ entry::<6>(j) ^ entry::<5>(k) ^ entry::<4>(l))
                ^ (entry::<3>(e) ^ entry::<2>(f) ^ entry::<1>(g) ^ entry::<0>(h));
        }
        for &byte in rest {
            let [low, ..] = crc.to_le_bytes();
            crc = (crc >> 8) ^ entry::<0>(low ^ byte);
        }
        Self(crc)
    }

    /// The CRC of all bytes so far. SCTP stores it least significant byte first.
    #[must_use]
    pub const fn finish(self) -> u32 {
        !self.0
    }
}

/// A byte's part in the CRC, with `ZEROS` bytes still to come in its block.
#[inline]
fn entry<const ZEROS: usize>(byte: u8) -> u32 {
    // A byte is below 256 and `ZEROS` below 8 (checked where it is compiled): always in bounds.
    const { assert!(ZEROS < 8) };
    #[allow(clippy::indexing_slicing)]
    TABLES[ZEROS][usize::from(byte)]
}
