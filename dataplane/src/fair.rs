//! A rate that is parted among those who ask, millisecond by millisecond. Hot path.
//!
//! What costs a worker more than other packets do is bounded so: all together have so much in a
//! millisecond, each an equal part of it, and never less than a little of its own. Who asks for
//! more than its part takes it from nobody.

use crate::clock::Tick;

/// What there is in a millisecond, and for how many.
#[derive(Debug)]
pub(crate) struct Fair {
    per_ms: u32,
    own: u32,
    millisecond: u32,
    /// Who has asked in this one, and who did in the one before.
    askers: u32,
    before: u32,
}

/// What one asker has had, of one [`Fair`]: 22 bits of a millisecond, and ten of how many in it.
/// After seventy minutes a millisecond may be taken for one that was: then it has had some already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Had(u32);

const COUNT_BITS: u32 = 10;
/// No more are counted: who may have so many may have more.
const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

impl Had {
    /// Nothing yet.
    pub(crate) const NOTHING: Self = Self(!COUNT_MAX);

    const fn begin(millisecond: u32) -> Self {
        Self(millisecond << COUNT_BITS)
    }

    const fn is_of(self, millisecond: u32) -> bool {
        self.0 & !COUNT_MAX == millisecond << COUNT_BITS
    }

    const fn count(self) -> u32 {
        self.0 & COUNT_MAX
    }

    /// One more.
    const fn add(&mut self) {
        if self.count() < COUNT_MAX {
            self.0 = self.0.wrapping_add(1);
        }
    }
}

impl Fair {
    /// So much for all, and `own` for each whatever that comes to: both below 1023, or without end.
    pub(crate) const fn new(per_ms: u32, own: u32) -> Self {
        Self { per_ms, own, millisecond: u32::MAX, askers: 0, before: 0 }
    }

    /// Takes one for an asker; false where it has had its part.
    #[inline]
    pub(crate) fn take(&mut self, had: &mut Had, now: Tick) -> bool {
        #[allow(clippy::cast_possible_truncation)] // compared with those of a moment ago
        let millisecond = now.0 as u32;
        if self.millisecond != millisecond {
            let is_next = self.millisecond.wrapping_add(1) == millisecond;
            self.before = if is_next { self.askers } else { 0 };
            (self.millisecond, self.askers) = (millisecond, 0);
        }
        if !had.is_of(millisecond) {
            *had = Had::begin(millisecond);
            self.askers = self.askers.wrapping_add(1);
        }
        let part = self.per_ms.checked_div(self.askers.max(self.before)).unwrap_or(0);
        let may = had.count() < part.max(self.own);
        if may {
            had.add();
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many one has.
    fn taken(fair: &mut Fair, had: &mut Had, now: u64) -> u32 {
        (0..1000).map(|_| u32::from(fair.take(had, Tick(now)))).sum()
    }

    #[test]
    fn one_alone_has_all_and_each_of_several_an_equal_part() {
        let mut fair = Fair::new(64, 8);
        let mut all = [Had::NOTHING; 4];
        assert_eq!(taken(&mut fair, &mut all[0], 7), 64);
        assert_eq!(taken(&mut fair, &mut all[0], 8), 64, "the next millisecond is new");
        // Who comes second finds that the first had more; from then on each has its part.
        assert_eq!(taken(&mut fair, &mut all[1], 8), 32);
        for now in 9..12 {
            assert_eq!(taken(&mut fair, &mut all[0], now), 32);
            assert_eq!(taken(&mut fair, &mut all[1], now), 32);
        }
        // Nobody asked for a while.
        assert_eq!(taken(&mut fair, &mut all[2], 20), 64);
    }

    #[test]
    fn many_have_a_little_of_their_own() {
        let mut fair = Fair::new(64, 8);
        let mut all = [Had::NOTHING; 100];
        for now in [1, 2] {
            for had in &mut all {
                taken(&mut fair, had, now);
            }
        }
        for had in &mut all {
            assert_eq!(taken(&mut fair, had, 3), 8);
        }
    }
}
