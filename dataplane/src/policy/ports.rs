//! What ports get, a verdict mostly: intervals that cover 0 to 65535 and the ways to find one. Hot path.
//!
//! | intervals | found by | bytes |
//! |---|---|---|
//! | up to 8 | comparing with all of them at once | 48 |
//! | up to 64 | twice: the first finds the eight to compare with | up to 432 |
//! | more | the port's two bytes, from page to page | 2 K, and 1 K for each page that is not of one verdict |
//!
//! Invariant: intervals are given by their last ports, ascending, the final one 65535, so that
//! every port is in exactly one.

use std::sync::Arc;

use super::table::Span;

/// Intervals that fit a [`Few`].
pub(super) const FEW: usize = 8;
/// Intervals that fit a [`Few`] of those.
pub(super) const STEPS: usize = FEW * FEW;

/// Up to eight intervals: found by comparing with all of them at once, without a branch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Few {
    /// The last port of each; unused ones are 65535, which no port is above.
    lasts: [u16; FEW],
    spans: [Span; FEW],
}

/// More intervals: every port's verdict, by the port's upper byte, then by its lower one. Two
/// loads, and no more to reckon than for a [`Few`]; a page of one verdict is shared by all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Many(Arc<[Arc<Page>; PAGES]>);

/// Upper bytes of a port, and lower ones.
const PAGES: usize = 1 << 8;

/// The verdicts of 256 ports.
pub(super) type Page = [Span; PAGES];

impl Few {
    /// From at most [`FEW`] intervals as (last port, verdict).
    pub(super) fn new(intervals: &[(u16, Span)]) -> Self {
        assert!(intervals.len() <= FEW && intervals.last().is_some_and(|i| i.0 == u16::MAX));
        let mut few = Self { lasts: [u16::MAX; FEW], spans: [Span::CLOSED; FEW] };
        for (at, &(last, span)) in intervals.iter().enumerate() {
            few.lasts[at] = last;
            few.spans[at] = span;
        }
        few
    }

    /// From at most [`STEPS`] intervals: some of them each, and at last one that finds whose turn it
    /// is. `place` says where each stands.
    pub(super) fn steps(intervals: &[(u16, Span)], mut place: impl FnMut(Self) -> Span) -> Self {
        let mut chunks: Vec<(u16, Span)> = Vec::with_capacity(FEW);
        for chunk in intervals.chunks(FEW) {
            let mut chunk = chunk.to_vec();
            // No port beyond its end is looked for in it.
            let end = chunk.last_mut().map(|last| std::mem::replace(&mut last.0, u16::MAX));
            chunks.push((end.unwrap_or(u16::MAX), place(Self::new(&chunk))));
        }
        Self::new(&chunks)
    }

    #[inline]
    pub(super) fn find(&self, port: u16) -> Option<Span> {
        let count = |n: usize, last: &u16| n.wrapping_add(usize::from(*last < port));
        let below = self.lasts.iter().fold(0, count);
        self.spans.get(below).copied()
    }
}

impl Many {
    /// From any number of intervals by their last ports.
    pub(super) fn new(intervals: &[(u16, Span)]) -> Self {
        let mut plain: Vec<Arc<Page>> = Vec::new();
        let mut rest = intervals;
        // Cold: building. As often as there are pages, and in them intervals.
        Self(Arc::new(std::array::from_fn(|high| {
            let last = |low: usize| u16::try_from(high * PAGES + low).unwrap_or(u16::MAX);
            match rest {
                [(end, span), ..] if *end >= last(PAGES - 1) => {
                    if *end == last(PAGES - 1) {
                        rest = &rest[1..];
                    }
                    shared(&mut plain, *span)
                }
                _ => Arc::new(std::array::from_fn(|low| {
                    let Some((&(end, span), after)) = rest.split_first() else {
                        return Span::CLOSED;
                    };
                    if end == last(low) {
                        rest = after;
                    }
                    span
                })),
            }
        })))
    }

    #[inline]
    pub(super) fn find(&self, port: u16) -> Option<Span> {
        let [high, low] = port.to_be_bytes();
        self.0.get(usize::from(high))?.get(usize::from(low)).copied()
    }

    /// Its pages, one for each upper byte of a port.
    pub(super) fn pages(&self) -> &[Arc<Page>] {
        &*self.0
    }
}

/// The page of nothing but this.
fn shared(plain: &mut Vec<Arc<Page>>, span: Span) -> Arc<Page> {
    if let Some(known) = plain.iter().find(|page| page[0] == span) {
        return Arc::clone(known);
    }
    let page = Arc::new([span; PAGES]);
    plain.push(Arc::clone(&page));
    page
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::table::VerdictId;
    use super::*;

    fn one(verdict: u32) -> Span {
        Span::one(VerdictId(verdict))
    }

    /// `n` intervals, the first starting at `first`, each `width` ports wide but the last.
    fn ladder(n: u16, first: u16, width: u16) -> Vec<(u16, Span)> {
        let ends = (0..n - 1).map(|i| first + width * i);
        ends.chain([u16::MAX]).zip(0..).map(|(last, v)| (last, one(v))).collect()
    }

    fn by_reading(intervals: &[(u16, Span)], port: u16) -> Option<Span> {
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
    fn intervals_in_two_steps_are_found_at_every_port() {
        for n in [9, 16, 17, 63, 64] {
            for (first, width) in [(0, 1), (79, 1), (255, 256), (1000, 1000)] {
                let intervals = ladder(n, first, width);
                let mut chunks: Vec<Few> = Vec::new();
                let root = Few::steps(&intervals, |few| {
                    chunks.push(few);
                    one(u32::try_from(chunks.len() - 1).unwrap())
                });
                assert_eq!(chunks.len(), usize::from(n).div_ceil(FEW));
                for port in 0..=u16::MAX {
                    let chunk = root.find(port).and_then(Span::verdict).unwrap().0 as usize;
                    let found = chunks[chunk].find(port);
                    assert_eq!(found, by_reading(&intervals, port), "{n} intervals, port {port}");
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
                    65_535 => Some(one(u32::from(port.min(65_534)))),
                    _ => by_reading(&intervals, port),
                };
                assert_eq!(many.find(port), want, "{n} intervals, port {port}");
            }
        }
    }

    #[test]
    fn pages_of_one_verdict_are_shared() {
        let many = Many::new(&ladder(300, 1023, 2));
        let distinct: HashSet<*const Page> = many.pages().iter().map(Arc::as_ptr).collect();
        // What is below, what is above, and 598 ports between.
        assert_eq!(distinct.len(), 2 + 3);
    }
}
