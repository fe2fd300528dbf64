//! A rate that is parted among those who ask, millisecond by millisecond. Hot path.
//!
//! What costs a worker more than other packets do is bounded so: all together have so much in a
//! millisecond. Who wants little has it; what that leaves is parted equally among those who were
//! refused (max-min fairness, by what was asked a millisecond before). So who asks for more than
//! its part takes it from nobody.
//!
//! What comes to a pod from outside asks apart from what the pod does itself, and has half as much:
//! one sender outside may be many askers, one for each pod that it sends to.

use crate::clock::Tick;

/// What there is for pods, and for who is outside.
#[derive(Debug)]
pub(crate) struct Fair {
    own: Rate,
    outside: Rate,
}

/// What one pod has had of one [`Fair`], and who is outside to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Had {
    own: Count,
    outside: Count,
}

impl Had {
    /// Nothing yet.
    pub(crate) const NOTHING: Self = Self { own: Count::NOTHING, outside: Count::NOTHING };
}

impl Fair {
    /// So much for all pods together, below 1023 or without end.
    pub(crate) const fn new(per_ms: u32) -> Self {
        Self { own: Rate::new(per_ms), outside: Rate::new(per_ms.div_ceil(2)) }
    }

    /// Takes one for a pod that asks itself, or for who is outside to it; false where that has had
    /// its part.
    #[inline]
    pub(crate) fn take(&mut self, had: &mut Had, asks_itself: bool, now: Tick) -> bool {
        if asks_itself {
            self.own.take(&mut had.own, now)
        } else {
            self.outside.take(&mut had.outside, now)
        }
    }
}

/// What there is in a millisecond, and for how many.
#[derive(Debug)]
struct Rate {
    per_ms: u32,
    millisecond: u32,
    /// Who has asked in this one, or did in the one before: the more of both.
    askers: u32,
    /// Who has asked in this one.
    now: u32,
    /// An equal part for each of the askers, at least one.
    equal: u32,
    /// What each may have while there is any left.
    level: u32,
    /// What all have had.
    taken: u32,
    /// What those have had who were never refused.
    sated: u32,
    /// Those who were.
    hungry: u32,
}

impl Rate {
    const fn new(per_ms: u32) -> Self {
        Self {
            per_ms,
            millisecond: u32::MAX,
            askers: 0,
            now: 0,
            equal: per_ms,
            level: per_ms,
            taken: 0,
            sated: 0,
            hungry: 0,
        }
    }

    #[inline]
    fn take(&mut self, had: &mut Count, now: Tick) -> bool {
        #[allow(clippy::cast_possible_truncation)] // compared with those of a moment ago
        let millisecond = now.0 as u32;
        if self.millisecond != millisecond {
            self.begin(millisecond);
        }
        if !had.is_of(millisecond) {
            *had = Count::begin(millisecond);
            self.welcome();
        }
        // The level promises what others leave. Where they do not, each has its equal part, so that
        // no more than twice as much is taken, and only while askers come and go.
        let may = if self.taken < self.per_ms {
            had.count() < self.level
        } else {
            had.count() < self.equal && self.taken < self.per_ms.saturating_mul(2)
        };
        if may {
            had.add();
            self.taken = self.taken.saturating_add(1);
            self.sated = self.sated.saturating_add(u32::from(!had.is_hungry()));
        } else if !had.is_hungry() {
            had.refuse();
            self.hungry = self.hungry.wrapping_add(1);
            self.sated = self.sated.saturating_sub(had.count());
        }
        may
    }

    fn begin(&mut self, millisecond: u32) {
        let is_next = self.millisecond.wrapping_add(1) == millisecond;
        let (before, left, hungry) = if is_next {
            (self.now, self.per_ms.saturating_sub(self.sated), self.hungry)
        } else {
            (0, self.per_ms, 0)
        };
        let level = left.checked_div(hungry.max(1)).unwrap_or(left);
        *self = Self { millisecond, askers: before, level, ..Self::new(self.per_ms) };
        self.part();
    }

    /// One more asks.
    fn welcome(&mut self) {
        self.now = self.now.wrapping_add(1);
        if self.now > self.askers {
            self.askers = self.now;
            self.part();
        }
    }

    fn part(&mut self) {
        self.equal = self.per_ms.checked_div(self.askers.max(1)).unwrap_or(0).max(1);
        self.level = self.level.max(self.equal);
    }
}

/// What one asker has had, of one [`Rate`]: 21 bits of a millisecond, one of whether it was refused,
/// ten of how many in it. After half an hour a millisecond may be taken for one that was: then it
/// has had some already.
#[derive(Clone, Copy, Debug)]
struct Count(u32);

const HUNGRY: u32 = 1 << 10;
/// No more are counted: who may have so many may have more.
const COUNT_MAX: u32 = HUNGRY - 1;
const MILLISECOND: u32 = !(HUNGRY | COUNT_MAX);

impl Count {
    const NOTHING: Self = Self(MILLISECOND);

    const fn begin(millisecond: u32) -> Self {
        Self(Self::bits(millisecond))
    }

    const fn bits(millisecond: u32) -> u32 {
        millisecond << MILLISECOND.trailing_zeros()
    }

    const fn is_of(self, millisecond: u32) -> bool {
        self.0 & MILLISECOND == Self::bits(millisecond)
    }

    const fn count(self) -> u32 {
        self.0 & COUNT_MAX
    }

    const fn is_hungry(self) -> bool {
        self.0 & HUNGRY != 0
    }

    const fn refuse(&mut self) {
        self.0 |= HUNGRY;
    }

    const fn add(&mut self) {
        if self.count() < COUNT_MAX {
            self.0 = self.0.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many wants one has.
    fn wants(some: u32, fair: &mut Fair, had: &mut Had, now: u64) -> u32 {
        (0..some).map(|_| u32::from(fair.take(had, true, Tick(now)))).sum()
    }

    fn floods(fair: &mut Fair, had: &mut Had, now: u64) -> u32 {
        wants(1000, fair, had, now)
    }

    #[test]
    fn one_alone_has_all_and_each_of_several_an_equal_part() {
        let mut fair = Fair::new(64);
        let mut all = [Had::NOTHING; 4];
        assert_eq!(floods(&mut fair, &mut all[0], 7), 64);
        assert_eq!(floods(&mut fair, &mut all[0], 8), 64, "the next millisecond is new");
        // Who comes second finds that the first had more; from then on each has its part.
        assert_eq!(floods(&mut fair, &mut all[1], 8), 32);
        for now in 9..12 {
            assert_eq!(floods(&mut fair, &mut all[0], now), 32);
            assert_eq!(floods(&mut fair, &mut all[1], now), 32);
        }
        // Nobody asked for a while.
        assert_eq!(floods(&mut fair, &mut all[2], 20), 64);
    }

    #[test]
    fn who_wants_little_has_it_and_leaves_the_rest_to_others() {
        let mut fair = Fair::new(64);
        let mut little = [Had::NOTHING; 12];
        let [mut one, mut two] = [Had::NOTHING; 2];
        for now in 0..10 {
            for had in &mut little {
                assert_eq!(wants(1, &mut fair, had, now), 1);
            }
            // Alone it has what they leave; beside another, half of it.
            let most = if now < 5 { 52 } else { 26 };
            let some = floods(&mut fair, &mut one, now);
            if now >= 5 {
                floods(&mut fair, &mut two, now);
            }
            assert!(some == most || now == 5, "{some} at {now}");
        }
    }

    #[test]
    fn a_burst_finds_what_steady_askers_leave() {
        let mut fair = Fair::new(512);
        let mut steady = [Had::NOTHING; 12];
        let mut burst = Had::NOTHING;
        for now in 0..100 {
            for had in &mut steady {
                wants(1, &mut fair, had, now);
            }
            if now % 10 == 9 {
                assert_eq!(wants(42, &mut fair, &mut burst, now), 42, "at {now}");
            }
        }
    }

    #[test]
    fn never_is_more_than_twice_as_much_taken() {
        let mut fair = Fair::new(64);
        let mut all = [Had::NOTHING; 300];
        for now in 0..50_u64 {
            // A few and many in turns, so that each time the level is wrong.
            let some = if now % 2 == 0 { 3 } else { 300 };
            let sum: u32 = all[..some].iter_mut().map(|had| floods(&mut fair, had, now)).sum();
            assert!(sum <= 128, "{sum} at {now}");
        }
    }

    #[test]
    fn who_is_outside_takes_nothing_from_pods() {
        let mut fair = Fair::new(64);
        let mut all = [Had::NOTHING; 100];
        for now in 0..10 {
            let sum: usize =
                all.iter_mut().map(|had| usize::from(fair.take(had, false, Tick(now)))).sum();
            assert!(sum <= 64, "half as much, and twice that at most: {sum}");
            assert_eq!(floods(&mut fair, &mut all[7], now), 64);
        }
    }
}
