//! Arrays as shared trees: equal arrays are one tree, and arrays that differ a little share the
//! rest.
//!
//! An array maps a number below its span to a value; most are 0 in most places. It is a root of
//! branches of [`FAN`] leaves of [`FAN`] values, each interned, so that equality is equality of
//! numbers and what one array costs beyond another is the path to where they differ. Node 0 of
//! each level is the one of zeros, node 1 the one of ones.
//!
//! This is what keeps compilation from ever looping over sets × classes: [`Trees::overlay`] goes
//! down only where the mask has something, and takes everything else over by number.

use std::ops::Range;

use super::super::table::FAN;
use super::intern::Interner;

type Node = [u32; FAN];

/// An array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Root(pub(super) u32);

impl Root {
    /// Zeros.
    pub(super) const ZEROS: Self = Self(0);
}

/// All arrays of one span.
pub(super) struct Trees {
    leaves: Interner<Node>,
    branches: Interner<Node>,
    roots: Interner<[u32]>,
    width: usize,
}

const BRANCH: usize = FAN * FAN;

impl Trees {
    /// For arrays over `0..span`.
    pub(super) fn new(span: usize) -> Self {
        let mut trees = Self {
            leaves: Interner::new(),
            branches: Interner::new(),
            roots: Interner::new(),
            width: span.div_ceil(BRANCH).max(1),
        };
        for node in [[0; FAN], [1; FAN]] {
            trees.leaves.number(&node);
            trees.branches.number(&node);
        }
        trees.roots.number(&vec![0; trees.width]);
        trees
    }

    /// Branches under a root.
    pub(super) fn branches(&self, root: Root) -> &[u32] {
        self.roots.value(root.0)
    }

    /// Leaves under a branch.
    pub(super) fn leaves(&self, branch: u32) -> &Node {
        self.branches.value(branch)
    }

    /// Values of a leaf.
    pub(super) fn values(&self, leaf: u32) -> &Node {
        self.leaves.value(leaf)
    }

    /// The value at `at`.
    pub(super) fn get(&self, root: Root, at: u32) -> u32 {
        let at = at as usize;
        let branch = self.leaves(self.branches(root)[at / BRANCH]);
        self.values(branch[at / FAN % FAN])[at % FAN]
    }

    /// How many nodes there are in all: what is kept, whether or not anything still uses it.
    pub(super) fn nodes(&self) -> usize {
        self.leaves.len() + self.branches.len() + self.roots.len()
    }

    /// The array that is `value` at `at` and `root` elsewhere.
    pub(super) fn with(&mut self, root: Root, at: u32, value: u32) -> Root {
        let at = at as usize;
        let mut top = self.branches(root).to_vec();
        let mut branch = *self.leaves(top[at / BRANCH]);
        let mut leaf = *self.values(branch[at / FAN % FAN]);
        leaf[at % FAN] = value;
        branch[at / FAN % FAN] = self.leaves.number(&leaf);
        top[at / BRANCH] = self.branches.number(&branch);
        Root(self.roots.number(&top))
    }

    /// The array that is 1 in the ranges and 0 elsewhere. Ranges ascend and do not touch. Costs
    /// their ends and the branches between, not what they cover.
    pub(super) fn ones(&mut self, ranges: &[Range<u32>]) -> Root {
        let mut top = vec![0; self.width];
        // The branch and leaf being written, by place among all of their level.
        let (mut branch, mut branch_at) = ([0; FAN], 0);
        let (mut leaf, mut leaf_at) = ([0; FAN], 0);
        for range in ranges {
            let (mut at, end) = (range.start as usize, range.end as usize);
            while at < end {
                if at / FAN != leaf_at {
                    branch[leaf_at % FAN] = self.leaves.number(&leaf);
                    (leaf, leaf_at) = ([0; FAN], at / FAN);
                }
                if at / BRANCH != branch_at {
                    top[branch_at] = self.branches.number(&branch);
                    (branch, branch_at) = ([0; FAN], at / BRANCH);
                }
                if at.is_multiple_of(BRANCH) && end - at >= BRANCH {
                    // All leaves at once; the last stays the one being written.
                    (branch, leaf) = ([1; FAN], [1; FAN]);
                    leaf_at += FAN - 1;
                    at += BRANCH;
                    continue;
                }
                let stop = end.min((leaf_at + 1) * FAN);
                leaf[at % FAN..=(stop - 1) % FAN].fill(1);
                at = stop;
            }
        }
        branch[leaf_at % FAN] = self.leaves.number(&leaf);
        top[branch_at] = self.branches.number(&branch);
        Root(self.roots.number(&top))
    }

    /// The array that is `pick(base[i])` where `mask[i]` is not 0, and `base[i]` elsewhere.
    pub(super) fn overlay(
        &mut self,
        base: Root,
        mask: Root,
        mut pick: impl FnMut(u32) -> u32,
    ) -> Root {
        let mut top = self.branches(base).to_vec();
        let masks = self.branches(mask).to_vec();
        // Neighbours are often equal: the pair just done need not be done again.
        let mut done = ((0, 0), 0);
        for (base, mask) in top.iter_mut().zip(masks).filter(|(_, mask)| *mask != 0) {
            if done.0 != (*base, mask) {
                done = ((*base, mask), self.overlay_branch(*base, mask, &mut pick));
            }
            *base = done.1;
        }
        Root(self.roots.number(&top))
    }

    fn overlay_branch(&mut self, base: u32, mask: u32, pick: &mut impl FnMut(u32) -> u32) -> u32 {
        let mut branch = *self.leaves(base);
        let masks = *self.leaves(mask);
        let mut done = ((0, 0), 0);
        for (base, mask) in branch.iter_mut().zip(masks).filter(|(_, mask)| *mask != 0) {
            if done.0 != (*base, mask) {
                done = ((*base, mask), self.overlay_leaf(*base, mask, pick));
            }
            *base = done.1;
        }
        self.branches.number(&branch)
    }

    fn overlay_leaf(&mut self, base: u32, mask: u32, pick: &mut impl FnMut(u32) -> u32) -> u32 {
        let mut leaf = *self.values(base);
        for (value, _) in leaf.iter_mut().zip(self.values(mask)).filter(|(_, mask)| **mask != 0) {
            *value = pick(*value);
        }
        self.leaves.number(&leaf)
    }

    /// How many places are not 0.
    pub(super) fn count(&self, root: Root) -> usize {
        let leaf = |&leaf: &u32| match leaf {
            0 => 0,
            1 => FAN,
            _ => self.values(leaf).iter().filter(|&&value| value != 0).count(),
        };
        let branch = |&branch: &u32| match branch {
            0 => 0,
            1 => BRANCH,
            _ => self.leaves(branch).iter().map(leaf).sum(),
        };
        self.branches(root).iter().map(branch).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: u32 = 10_000;

    fn read(trees: &Trees, root: Root) -> Vec<u32> {
        let branches = trees.branches(root).iter();
        let leaves = branches.flat_map(|&branch| *trees.leaves(branch));
        leaves.flat_map(|leaf| *trees.values(leaf)).take(SPAN as usize).collect()
    }

    /// Where ranges begin and end: anywhere, or where leaves and branches do.
    fn end() -> impl Strategy<Value = u32> {
        let (leaf, branch) = (64, 4096);
        prop_oneof![
            0..=SPAN,
            (0..=SPAN / leaf).prop_map(move |at| at * leaf),
            Just(0),
            Just(branch),
            Just(2 * branch),
            Just(branch + leaf),
            Just(branch + leaf + 1)
        ]
    }

    fn ranges() -> impl Strategy<Value = Vec<Range<u32>>> {
        prop::collection::btree_set(end(), 0..8).prop_map(|ends| {
            let ends: Vec<u32> = ends.into_iter().collect();
            ends.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect()
        })
    }

    #[test]
    fn a_leaf_after_a_full_branch_is_its_own_wherever_it_is() {
        for first in [0, 1, 63] {
            let (full, at) = (first * 4096..(first + 1) * 4096, 63 * 4096 * first.max(1));
            let mut trees = Trees::new(1 << 24);
            let root = trees.ones(&[full.clone(), at + 1..at + 2]);
            let ones = [full.start, full.end - 1, at + 1];
            let zeros = [full.end, at - 1, at, at + 2, at + 63];
            assert!(ones.iter().all(|&one| trees.get(root, one) == 1), "{first}");
            assert!(zeros.iter().all(|&zero| trees.get(root, zero) == 0), "{first}");
            assert_eq!(trees.count(root), 4097);
        }
    }

    proptest! {
        #[test]
        fn trees_are_the_arrays_they_stand_for(
            a in ranges(), b in ranges(), c in ranges(), at in 0..SPAN
        ) {
            let mut trees = Trees::new(SPAN as usize);
            let plain = |ranges: &[Range<u32>]| -> Vec<u32> {
                (0..SPAN).map(|i| ranges.iter().any(|r| r.contains(&i)).into()).collect()
            };
            let (ta, tb, tc) = (trees.ones(&a), trees.ones(&b), trees.ones(&c));
            let (pa, pb, pc) = (plain(&a), plain(&b), plain(&c));
            prop_assert_eq!(&read(&trees, ta), &pa);
            prop_assert_eq!(trees.count(ta), pa.iter().filter(|&&v| v != 0).count());

            let sum = trees.overlay(ta, tb, |v| v + 2);
            let sum = trees.overlay(sum, tc, |v| v + 4);
            let plain: Vec<u32> =
                pa.iter().zip(&pb).zip(&pc).map(|((a, b), c)| a + 2 * b + 4 * c).collect();
            prop_assert_eq!(&read(&trees, sum), &plain);

            let mut changed = plain;
            changed[at as usize] = 9;
            let with = trees.with(sum, at, 9);
            prop_assert_eq!(&read(&trees, with), &changed);
            let got = |at: u32| trees.get(with, at) == changed[at as usize];
            prop_assert!(got(at) && (0..SPAN).step_by(13).all(got));
            // Equal arrays are one, however they came about.
            let either = trees.overlay(ta, tb, |_| 1);
            prop_assert_eq!(either, trees.overlay(tb, ta, |_| 1));
        }
    }
}
