//! Where a world's choices come from: a seed, or a list of numbers that can be shrunk.

use std::vec::IntoIter;

/// A stream of choices. The same seed or numbers make the same world.
#[derive(Debug)]
pub struct Choices {
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    Seed(u64),
    Numbers(IntoIter<u32>),
}

impl Choices {
    /// Endless choices from a seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self { origin: Origin::Seed(seed) }
    }

    /// The choices of these numbers; 0 for ever after them.
    #[must_use]
    pub fn from_numbers(numbers: Vec<u32>) -> Self {
        Self { origin: Origin::Numbers(numbers.into_iter()) }
    }

    /// The choices of these bytes, one each; 0 for ever after them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::from_numbers(bytes.iter().copied().map(u32::from).collect())
    }

    /// A number below `bound`, which must not be 0; 0 is the simplest.
    pub fn below(&mut self, bound: usize) -> usize {
        self.draw() as usize % bound
    }

    /// True in so many of 100 cases; false is the simplest.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }

    /// One of these; the first is the simplest. `of` must not be empty.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn draw(&mut self) -> u32 {
        match &mut self.origin {
            Origin::Numbers(numbers) => numbers.next().unwrap_or(0),
            Origin::Seed(state) => {
                // SplitMix64 (Steele, Lea, Flood 2014): any seed is a good one, 0 too.
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = *state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default()
            }
        }
    }
}
