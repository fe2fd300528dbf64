//! Verdicts by port: intervals that cover 0 to 65535 and the two ways to find one. Hot path.
//!
//! Invariant: intervals are given by their last ports, ascending, the final one 65535, so that
//! every port is in exactly one.

use std::mem::{size_of, size_of_val};

use super::table::VerdictId;

/// Intervals that fit a [`Few`].
pub(super) const FEW: usize = 8;

/// Up to eight intervals: found by comparing with all of them at once, without a branch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Few {
    /// The last port of each; unused ones are 65535, which no port is above.
    lasts: [u16; FEW],
    verdicts: [VerdictId; FEW],
}

/// More intervals: a bit for each port at which one begins, counted up to the port asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Many {
    /// By the port's upper byte.
    pages: Box<[Page; 256]>,
    /// Distinct 256-port bitmaps; number 0 is empty and shared by all pages without a beginning.
    bitmaps: Box<[Bitmap]>,
    verdicts: Box<[VerdictId]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Page {
    /// Beginnings on lower pages.
    before: u16,
    bitmap: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Bitmap {
    words: [u64; 4],
    /// Beginnings in lower words of this bitmap: at most 192.
    before: [u8; 4],
}

impl Few {
    /// From at most [`FEW`] intervals as (last port, verdict).
    pub(super) fn new(intervals: &[(u16, VerdictId)]) -> Self {
        assert!(intervals.len() <= FEW && intervals.last().is_some_and(|i| i.0 == u16::MAX));
        let mut few = Self { lasts: [u16::MAX; FEW], verdicts: [VerdictId::CLOSED; FEW] };
        for (at, &(last, verdict)) in intervals.iter().enumerate() {
            few.lasts[at] = last;
            few.verdicts[at] = verdict;
        }
        few
    }

    #[inline]
    pub(super) fn find(&self, port: u16) -> Option<VerdictId> {
        let count = |n: usize, last: &u16| n.wrapping_add(usize::from(*last < port));
        let below = self.lasts.iter().fold(0, count);
        self.verdicts.get(below).copied()
    }
}

impl Many {
    /// From any number of intervals as (last port, verdict).
    pub(super) fn new(intervals: &[(u16, VerdictId)]) -> Self {
        let mut pages = Box::new([Page::default(); 256]);
        let mut bitmaps = vec![Bitmap::default()];
        let mut starts = intervals.iter().filter_map(|i| i.0.checked_add(1)).peekable();
        let mut before = 0u16;
        for (high, page) in (0u16..).zip(pages.iter_mut()) {
            page.before = before;
            let mut bitmap = Bitmap::default();
            // Cold: building. As often as there are intervals.
            while let Some(start) = starts.next_if(|start| start >> 8 == high) {
                bitmap.words[usize::from(start >> 6 & 3)] |= 1 << (start & 63);
                // At most 65535 intervals begin above port 0.
                before += 1;
            }
            if page.before != before {
                bitmap.count();
                // At most 256 pages have one.
                page.bitmap = u16::try_from(bitmaps.len()).unwrap_or(0);
                bitmaps.push(bitmap);
            }
        }
        let verdicts = intervals.iter().map(|i| i.1).collect();
        Self { pages, bitmaps: bitmaps.into(), verdicts }
    }

    #[inline]
    pub(super) fn find(&self, port: u16) -> Option<VerdictId> {
        let page = self.pages.get(usize::from(port >> 8))?;
        let bitmap = self.bitmaps.get(usize::from(page.bitmap))?;
        let word = usize::from(port >> 6 & 3);
        let upto = u64::MAX.wrapping_shr(63 ^ u32::from(port & 63));
        let begun = (bitmap.words.get(word)? & upto).count_ones() as usize;
        let before = usize::from(page.before).wrapping_add(usize::from(*bitmap.before.get(word)?));
        self.verdicts.get(before.wrapping_add(begun)).copied()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.pages)
            + size_of_val(&*self.bitmaps)
            + size_of_val(&*self.verdicts)
    }
}

impl Bitmap {
    fn count(&mut self) {
        let mut before = 0;
        for (word, count) in self.words.iter().zip(&mut self.before) {
            *count = before;
            // The last addition, to at most 256, is not read.
            before = before.wrapping_add(u8::try_from(word.count_ones()).unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` intervals, the first starting at `first`, each `width` ports wide but the last.
    fn ladder(n: u16, first: u16, width: u16) -> Vec<(u16, VerdictId)> {
        let ends = (0..n - 1).map(|i| first + width * i);
        ends.chain([u16::MAX]).zip(0..).map(|(last, v)| (last, VerdictId(v))).collect()
    }

    fn by_reading(intervals: &[(u16, VerdictId)], port: u16) -> Option<VerdictId> {
        intervals.iter().find(|i| port <= i.0).map(|i| i.1)
    }

    #[test]
    fn few_intervals_are_found_at_every_port() {
        for n in 1..=8 {
            for (first, width) in [(0, 1), (79, 1), (255, 256), (65_500, 5), (1000, 9000)] {
                let intervals = ladder(n, first, if n > 7 { width.min(8000) } else { width });
                let few = Few::new(&intervals);
                for port in 0..=u16::MAX {
                    assert_eq!(few.find(port), by_reading(&intervals, port), "port {port}");
                }
            }
        }
    }

    #[test]
    fn many_intervals_are_found_at_every_port() {
        for (n, first, width) in [(1, 0, 1), (9, 79, 1), (300, 63, 2), (65_535, 0, 1)] {
            let intervals = ladder(n, first, width);
            let many = Many::new(&intervals);
            for port in 0..=u16::MAX {
                let want = match n {
                    65_535 => Some(VerdictId(u32::from(port.min(65_534)))),
                    _ => by_reading(&intervals, port),
                };
                assert_eq!(many.find(port), want, "{n} intervals, port {port}");
            }
        }
    }

    #[test]
    fn memory_is_the_pages_the_bitmaps_and_the_verdicts() {
        let many = Many::new(&ladder(9, 79, 1));
        let (pages, verdicts) = (256 * size_of::<Page>(), 9 * size_of::<VerdictId>());
        let bitmaps = many.bitmaps.len() * size_of::<Bitmap>();
        assert_eq!(many.memory_bytes(), size_of::<Many>() + pages + bitmaps + verdicts);
    }
}
