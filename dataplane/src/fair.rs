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
use crate::limits::{FAIR_WINDOW_MS as WINDOW_MS, FRAGMENTS_PER_MS};

/// For so many windows or twice as many those who asked, and those who were refused, are reckoned
/// with as if they did so still: else those who flood in some windows of these find each time that
/// nobody did. So who floods for one window in that time keeps others to their equal parts in all of
/// them, though it leaves its own; and who floods more rarely, less than eight times in a second, is
/// forgotten: in the first of its windows, four milliseconds, others may have no more than one each.
const REMEMBERED: u32 = 16;

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
    /// Who has asked in this one, and who of them was refused.
    askers: u32,
    hungry: u32,
    /// The most of either that are reckoned with of those before.
    askers_before: Peak,
    hungry_before: Peak,
    /// An equal part for each who asks, at least one.
    equal: u32,
    /// What each may have while there is any left.
    level: u32,
    /// What one that comes after all is gone may have beside those who flood: as if it had been one
    /// of them.
    late: u32,
    /// What all have had.
    taken: u32,
    /// What those have had who were never refused.
    sated: u32,
}

/// The most of some windows: of this row of [`REMEMBERED`], and of the row before.
#[derive(Clone, Copy, Debug)]
struct Peak {
    this: u32,
    last: u32,
}

impl Peak {
    const NOTHING: Self = Self { this: 0, last: 0 };

    /// After a window with so many, and so many rows.
    fn then(self, now: u32, rows: u32) -> Self {
        let this = self.this.max(now);
        match rows {
            0 => Self { this, ..self },
            1 => Self { this: 0, last: this },
            _ => Self::NOTHING,
        }
    }

    fn most(self) -> u32 {
        self.this.max(self.last)
    }
}

impl Rate {
    const fn new(all: u32) -> Self {
        Self {
            all,
            window: u32::MAX,
            askers: 0,
            hungry: 0,
            askers_before: Peak::NOTHING,
            hungry_before: Peak::NOTHING,
            equal: all,
            level: all,
            late: 0,
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
        // The level promises what others leave. Where they do not, each has its part all the same, so
        // that no more than twice as much is taken, and only while askers come and go; but each has
        // one.
        let may = if self.taken < self.all {
            had.count() < self.level
        } else {
            had.count() == 0
                || (had.count() < self.equal.max(self.late) && self.taken / 2 < self.all)
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

    fn begin(&mut self, window: u32) {
        let passed = window.wrapping_sub(self.window);
        let rows = (window / REMEMBERED).wrapping_sub(self.window / REMEMBERED);
        let askers_before = self.askers_before.then(self.askers, rows);
        let hungry_before = self.hungry_before.then(self.hungry, rows);
        let sated = if passed == 1 { self.sated } else { 0 };
        let (left, hungry) = (self.all.saturating_sub(sated), hungry_before.most());
        let level = left.checked_div(hungry.max(1)).unwrap_or(left);
        let late = if hungry > 0 { left.checked_div(hungry.saturating_add(1)) } else { None };
        let late = late.unwrap_or(0);
        *self = Self { window, askers_before, hungry_before, level, late, ..Self::new(self.all) };
        self.part();
    }

    /// One more asks.
    fn welcome(&mut self) {
        self.askers = self.askers.wrapping_add(1);
        if self.askers > self.askers_before.most() {
            self.part();
        }
    }

    fn part(&mut self) {
        let askers = self.askers.max(self.askers_before.most()).max(1);
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

const _: () = assert!(FRAGMENTS_PER_MS * WINDOW_MS <= COUNT_MAX);

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
        assert_eq!(floods(&mut fair, &mut all[2], 40), 256);
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
    fn those_who_come_in_some_windows_leave_others_their_part() {
        for (pods, period) in (2..=16).flat_map(|period| [4, 5, 12, 40].map(|pods| (pods, period)))
        {
            let mut fair = Fair::new(64);
            let mut pulsing = vec![Had::NOTHING; pods];
            let mut other = Had::NOTHING;
            for now in 0..100_u64 {
                let mut sum = 0;
                if now % period == 0 {
                    sum += pulsing.iter_mut().map(|had| floods(&mut fair, had, now)).sum::<u32>();
                }
                // From the first time on that they came.
                let some = wants(5, &mut fair, &mut other, now);
                assert!(some == 5 || now == 0, "{some} beside {pods} in each {period}th, at {now}");
                assert!(sum <= 512 + 40, "{sum} at {now}");
            }
        }
    }

    #[test]
    fn a_burst_beside_one_who_floods_and_many_who_want_little_is_whole() {
        let mut fair = Fair::new(384);
        let (mut greedy, mut burst) = (Had::NOTHING, Had::NOTHING);
        let mut little = vec![Had::NOTHING; 200];
        for now in 0..100 {
            for had in &mut little {
                assert_eq!(wants(1, &mut fair, had, now), 1);
            }
            floods(&mut fair, &mut greedy, now);
            if now % 10 == 9 {
                assert_eq!(wants(42, &mut fair, &mut burst, now), 42, "at {now}");
            }
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
