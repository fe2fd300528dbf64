//! Longest match for IPv6 prefixes: the address space as sorted spans. Hot path.
//!
//! Nested prefixes are flattened when built, so that a lookup is one binary search: for `n`
//! prefixes at most log2(2n + 1) + 1 comparisons, 11 for 1 000. Hashing by length was rejected
//! while clusters have few IPv6 blocks: seven hashes cost more than eleven comparisons.

use std::mem::size_of_val;
use std::sync::Arc;

/// IPv6 prefixes with a value each; addresses in none have 0.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    /// Where each span starts, ascending; the first at 0.
    starts: Arc<[u128]>,
    values: Arc<[u32]>,
}

impl Spans {
    /// Builds from (address bits, length, value), in any order. Of equal prefixes the last
    /// counts.
    pub(super) fn build(prefixes: &[(u128, u8, u32)]) -> Self {
        let mut prefixes = prefixes.to_vec();
        // What lies in a prefix follows it. The sort is stable.
        prefixes.sort_by_key(|&(bits, length, _)| (bits, length));
        let mut spans = Growing { starts: Vec::new(), values: Vec::new() };
        spans.begin(0, 0);
        // Prefixes that contain the place reached, as (last address, value).
        let mut open: Vec<(u128, u32)> = Vec::new();
        for (bits, length, value) in prefixes {
            spans.close(&mut open, Some(bits));
            let last = bits | u128::MAX.checked_shr(u32::from(length)).unwrap_or(0);
            open.push((last, value));
            spans.begin(bits, value);
        }
        spans.close(&mut open, None);
        Self { starts: spans.starts.into(), values: spans.values.into() }
    }

    /// The value of the longest prefix that covers the address; 0 where none does.
    #[inline]
    pub(super) fn find(&self, address: u128) -> u32 {
        let begun = self.starts.partition_point(|start| *start <= address);
        self.values.get(begun.wrapping_sub(1)).copied().unwrap_or(0)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.values)
    }
}

/// Spans while they are built.
struct Growing {
    starts: Vec<u128>,
    values: Vec<u32>,
}

impl Growing {
    /// Ends the innermost open prefixes that end before `next`, or all.
    fn close(&mut self, open: &mut Vec<(u128, u32)>, next: Option<u128>) {
        // Cold: building. Each round takes one away.
        while let Some(&(last, _)) = open.last()
            && next.is_none_or(|next| last < next)
        {
            open.pop();
            let outer = open.last().map_or(0, |outer| outer.1);
            if let Some(after) = last.checked_add(1) {
                self.begin(after, outer);
            }
        }
    }

    fn begin(&mut self, start: u128, value: u32) {
        // A prefix that starts or ends where another does takes its place.
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }
}
