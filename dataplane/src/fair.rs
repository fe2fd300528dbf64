//! A rate that is parted among those who ask, some milliseconds at a time. Hot path.
//!
//! What costs a worker more than other packets do is bounded so: all together have so much in a
//! window. Who wants little has it; what that leaves is parted equally among those who were refused
//! (max-min fairness, by what was asked a window before). So who asks for more than its part takes
//! it from nobody, and a burst finds room that is no more than its part on the whole.
//!
//! What comes to a pod from outside asks apart from what the pod does itself, and has half as much:
//! one sender outside may be many askers, one for each pod that it sends to.

use crate::clock::Tick;
use crate::limits::FAIR_WINDOW_MS as WINDOW_MS;

/// Of those who asked, and of those who were refused, three of four are reckoned with for another
/// window: else who floods in every other one finds that nobody did.
const REMEMBERED: u32 = 3;

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
    /// So much in a millisecond for all pods together, at most 1023 or without end.
    pub(crate) const fn new(per_ms: u32) -> Self {
        let window = per_ms.saturating_mul(WINDOW_MS);
        Self { own: Rate::new(window), outside: Rate::new(window.div_ceil(2)) }
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

/// What there is in a window, and for how many.
#[derive(Debug)]
struct Rate {
    all: u32,
    window: u32,
    /// Who has asked in this one.
    now: Crowd,
    /// Who is reckoned with of those before.
    before: Crowd,
    /// An equal part for each who asks, at least one.
    equal: u32,
    /// What each may have while there is any left.
    level: u32,
    /// What all have had.
    taken: u32,
    /// What those have had who were never refused.
    sated: u32,
}

/// How many have asked, and how many of them were refused.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    askers: u32,
    hungry: u32,
}

impl Crowd {
    const NOBODY: Self = Self { askers: 0, hungry: 0 };

    /// Those who are reckoned with after a window of `now`.
    fn then(self, now: Self) -> Self {
        let some = |before: u32| before.saturating_mul(REMEMBERED) / 4;
        Self {
            askers: now.askers.max(some(self.askers)),
            hungry: now.hungry.max(some(self.hungry)),
        }
    }
}

/// After so many windows of which nobody asked in any, nobody is reckoned with.
const FORGOTTEN: u32 = 16;

impl Rate {
    const fn new(all: u32) -> Self {
        Self {
            all,
            window: u32::MAX,
            now: Crowd::NOBODY,
            before: Crowd::NOBODY,
            equal: all,
            level: all,
            taken: 0,
            sated: 0,
        }
    }

    #[inline]
    fn take(&mut self, had: &mut Count, now: Tick) -> bool {
        #[allow(clippy::cast_possible_truncation)] // compared with those of a moment ago
        let window = (now.0 / u64::from(WINDOW_MS)) as u32;
        if self.window != window {
            self.begin(window);
        }
        if !had.is_of(window) {
            *had = Count::begin(window);
            self.welcome();
        }
        // The level promises what others leave. Where they do not, each has its equal part, so that
        // no more than twice as much is taken, and only while askers come and go; but each has one.
        let may = if self.taken < self.all {
            had.count() < self.level
        } else {
            had.count() < self.equal && (had.count() == 0 || self.taken / 2 < self.all)
        };
        if may {
            had.add();
            self.taken = self.taken.saturating_add(1);
            self.sated = self.sated.saturating_add(u32::from(!had.is_hungry()));
        } else if !had.is_hungry() {
            had.refuse();
            self.now.hungry = self.now.hungry.wrapping_add(1);
            self.sated = self.sated.saturating_sub(had.count());
        }
        may
    }

    fn begin(&mut self, window: u32) {
        let passed = window.wrapping_sub(self.window);
        let mut before = self.before.then(self.now);
        for _ in 1..passed.min(FORGOTTEN) {
            before = before.then(Crowd::NOBODY);
        }
        if passed >= FORGOTTEN {
            before = Crowd::NOBODY;
        }
        let sated = if passed == 1 { self.sated } else { 0 };
        let left = self.all.saturating_sub(sated);
        let level = left.checked_div(before.hungry.max(1)).unwrap_or(left);
        *self = Self { window, before, level, ..Self::new(self.all) };
        self.part();
    }

    /// One more asks.
    fn welcome(&mut self) {
        self.now.askers = self.now.askers.wrapping_add(1);
        if self.now.askers > self.before.askers {
            self.part();
        }
    }

    fn part(&mut self) {
        let askers = self.now.askers.max(self.before.askers).max(1);
        self.equal = self.all.checked_div(askers).unwrap_or(0).max(1);
        self.level = self.level.max(self.equal);
    }
}

/// What one asker has had, of one [`Rate`]: 19 bits of a window, one of whether it was refused,
/// twelve of how many in it. After half an hour a window may be taken for one that was: then it has
/// had some already.
#[derive(Clone, Copy, Debug)]
struct Count(u32);

const HUNGRY: u32 = 1 << 12;
/// No more are counted: who may have so many may have more.
const COUNT_MAX: u32 = HUNGRY - 1;
const WINDOW: u32 = !(HUNGRY | COUNT_MAX);

impl Count {
    const NOTHING: Self = Self(WINDOW);

    const fn begin(window: u32) -> Self {
        Self(Self::bits(window))
    }

    const fn bits(window: u32) -> u32 {
        window << WINDOW.trailing_zeros()
    }

    const fn is_of(self, window: u32) -> bool {
        self.0 & WINDOW == Self::bits(window)
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

    /// How many of so many wants one has, in a window.
    fn wants(some: u32, fair: &mut Fair, had: &mut Had, window: u64) -> u32 {
        let now = Tick(window * u64::from(WINDOW_MS));
        (0..some).map(|_| u32::from(fair.take(had, true, now))).sum()
    }

    fn floods(fair: &mut Fair, had: &mut Had, window: u64) -> u32 {
        wants(5000, fair, had, window)
    }

    #[test]
    fn one_alone_has_all_and_each_of_several_an_equal_part() {
        let mut fair = Fair::new(64);
        let mut all = [Had::NOTHING; 4];
        assert_eq!(floods(&mut fair, &mut all[0], 7), 256);
        assert_eq!(floods(&mut fair, &mut all[0], 8), 256, "the next window is new");
        // Who comes second finds that the first had more; from then on each has its part.
        assert_eq!(floods(&mut fair, &mut all[1], 8), 128);
        for now in 9..12 {
            assert_eq!(floods(&mut fair, &mut all[0], now), 128);
            assert_eq!(floods(&mut fair, &mut all[1], now), 128);
        }
        // Nobody asked for a while.
        assert_eq!(floods(&mut fair, &mut all[2], 30), 256);
    }

    #[test]
    fn a_window_is_as_long_as_it_says() {
        let mut fair = Fair::new(1);
        let mut had = Had::NOTHING;
        let mut takes = |now| fair.take(&mut had, true, Tick(now));
        assert_eq!(
            [0, 0, 1, 2, 3, 3, 4, 7].map(&mut takes),
            [true, true, true, true, false, false, true, true]
        );
    }

    #[test]
    fn who_wants_little_has_it_and_leaves_the_rest_to_others() {
        let mut fair = Fair::new(64);
        let mut little = [Had::NOTHING; 12];
        let [mut one, mut two] = [Had::NOTHING; 2];
        for now in 0..10 {
            for had in &mut little {
                assert_eq!(wants(3, &mut fair, had, now), 3);
            }
            // Alone it has what they leave; beside another, half of it.
            let most = if now < 5 { 220 } else { 110 };
            let some = floods(&mut fair, &mut one, now);
            if now >= 5 {
                floods(&mut fair, &mut two, now);
            }
            assert!(some == most || now == 5, "{some} at {now}");
        }
    }

    #[test]
    fn a_burst_finds_its_part_beside_many_who_flood() {
        let mut fair = Fair::new(512);
        let mut greedy = [Had::NOTHING; 40];
        let mut burst = Had::NOTHING;
        for now in 0..100 {
            for had in &mut greedy {
                floods(&mut fair, had, now);
            }
            if now % 10 == 9 {
                assert_eq!(wants(42, &mut fair, &mut burst, now), 42, "at {now}");
            }
        }
    }

    #[test]
    fn a_burst_finds_what_steady_askers_leave() {
        let mut fair = Fair::new(512);
        let mut steady = [Had::NOTHING; 60];
        let mut burst = Had::NOTHING;
        for now in 0..100 {
            for had in &mut steady {
                wants(4, &mut fair, had, now);
            }
            if now % 10 == 9 {
                assert_eq!(wants(300, &mut fair, &mut burst, now), 300, "at {now}");
            }
        }
    }

    #[test]
    fn those_who_come_in_every_other_window_leave_others_their_part() {
        let mut fair = Fair::new(64);
        let mut pulsing = [Had::NOTHING; 40];
        let mut other = Had::NOTHING;
        for now in 0..50_u64 {
            let mut sum = 0;
            if now % 2 == 0 {
                sum += pulsing.iter_mut().map(|had| floods(&mut fair, had, now)).sum::<u32>();
            }
            // From the first time on that they came.
            assert!(wants(4, &mut fair, &mut other, now) == 4 || now == 0, "at {now}");
            assert!(sum <= 512 + 40, "{sum} at {now}");
        }
    }

    #[test]
    fn never_is_more_than_twice_as_much_taken_but_one_by_each() {
        let mut fair = Fair::new(64);
        let mut all = [Had::NOTHING; 600];
        for now in 0..50_u64 {
            // A few and many in turns, so that each time the level is wrong.
            let some = if now % 2 == 0 { 3 } else { 600 };
            let had: Vec<u32> =
                all[..some].iter_mut().map(|had| floods(&mut fair, had, now)).collect();
            assert!(had.iter().all(|&had| had > 0), "at {now}");
            assert!(had.iter().map(|had| had - 1).sum::<u32>() <= 512, "at {now}");
        }
    }

    #[test]
    fn who_is_outside_takes_nothing_from_pods() {
        let mut fair = Fair::new(64);
        let mut all = [Had::NOTHING; 100];
        for now in 0..10 {
            let sum: u32 = all
                .iter_mut()
                .map(|had| {
                    (0..5).map(|_| u32::from(fair.take(had, false, Tick(4 * now)))).sum::<u32>()
                })
                .sum();
            assert!(sum <= 256 + 100, "half as much, twice that at most, and one each: {sum}");
            assert_eq!(floods(&mut fair, &mut all[7], now), 256);
        }
    }
}
