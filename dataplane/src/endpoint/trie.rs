//! Longest match for IPv4: a trie of 16, 8 and 8 bits. Hot path.
//!
//! ```text
//!   top[upper 16 bits] --> value
//!                      '-> page[next 8 bits] --> value
//!                                            '-> page[last 8 bits] --> value
//! ```
//!
//! At most three steps for any address. 256 KiB, and 1 KiB for each /16 and each /24 that is cut
//! further: about 1 MiB for 100 k pods in 400 node blocks, against 32 MiB of DIR-24-8.
//! Pages are behind `Arc`s, so that a trie which differs in one pod can share all but one or two
//! of them (house D13); the top is copied.

use std::mem::{size_of, size_of_val};
use std::sync::Arc;

/// One step: a value, or the number of a page with [`PAGE`] set.
type Step = u32;

const PAGE: u32 = 1 << 31;

/// The highest value that can be stored.
pub(super) const VALUE_MAX: u32 = PAGE - 1;

/// IPv4 prefixes with a value each; addresses in none have 0.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    top: Arc<[Step]>,
    pages: Arc<[Arc<[Step; 256]>]>,
}

impl Trie {
    /// Builds from (address bits, length, value), in any order. Of equal prefixes the last
    /// counts.
    pub(super) fn build(prefixes: &[(u32, u8, u32)]) -> Self {
        let mut prefixes = prefixes.to_vec();
        // Shorter ones first: what is longer then writes over them. The sort is stable.
        prefixes.sort_by_key(|prefix| prefix.1);
        let mut top = vec![0; 1 << 16];
        let mut pages = Vec::new();
        for (bits, length, value) in prefixes {
            assert!(value <= VALUE_MAX, "a trie holds values below 2^31");
            let high = (bits >> 16) as usize;
            if length <= 16 {
                top[high..high + (1 << (16 - length))].fill(value);
                continue;
            }
            let page = open(&mut top[high], &mut pages);
            let middle = (bits >> 8 & 0xff) as usize;
            if length <= 24 {
                pages[page][middle..middle + (1 << (24 - length))].fill(value);
                continue;
            }
            let mut step = pages[page][middle];
            let last = open(&mut step, &mut pages);
            pages[page][middle] = step;
            let low = (bits & 0xff) as usize;
            pages[last][low..low + (1 << (32 - length))].fill(value);
        }
        Self { top: top.into(), pages: pages.into_iter().map(Arc::new).collect() }
    }

    /// Gives one address a value. Copies the pages on its way that others share.
    pub(super) fn set(&mut self, address: u32, value: u32) {
        assert!(value <= VALUE_MAX, "a trie holds values below 2^31");
        let [high, middle, low] =
            [address >> 16, address >> 8 & 0xff, address & 0xff].map(|part| part as usize);
        let mut step = self.top[high];
        if step & PAGE == 0 {
            if step == value {
                return;
            }
            step = self.add(step);
            Arc::make_mut(&mut self.top)[high] = step;
        }
        let page = (step & !PAGE) as usize;
        let mut step = self.pages[page][middle];
        if step & PAGE == 0 {
            if step == value {
                return;
            }
            step = self.add(step);
            Arc::make_mut(&mut Arc::make_mut(&mut self.pages)[page])[middle] = step;
        }
        let page = (step & !PAGE) as usize;
        if self.pages[page][low] != value {
            Arc::make_mut(&mut Arc::make_mut(&mut self.pages)[page])[low] = value;
        }
    }

    /// Adds a page full of one value; gives the step to it.
    fn add(&mut self, value: Step) -> Step {
        let new = [Arc::new([value; 256])];
        self.pages = self.pages.iter().cloned().chain(new).collect();
        // There are fewer than 2^25 /24 and /16 together.
        PAGE | u32::try_from(self.pages.len() - 1).unwrap_or(0)
    }

    /// The value of the longest prefix that covers the address; 0 where none does.
    #[inline]
    pub(super) fn find(&self, address: u32) -> u32 {
        let step = self.top.get((address >> 16) as usize).copied().unwrap_or(0);
        let step = self.next(step, address >> 8);
        self.next(step, address)
    }

    #[inline]
    fn next(&self, step: Step, bits: u32) -> Step {
        if step & PAGE == 0 {
            return step;
        }
        let page = self.pages.get((step & !PAGE) as usize);
        page.and_then(|page| page.get((bits & 0xff) as usize)).copied().unwrap_or(0)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        const PAGE_BYTES: usize = size_of::<[Step; 256]>() + 3 * size_of::<usize>();
        size_of_val(&*self.top) + self.pages.len() * PAGE_BYTES
    }
}

/// The page under a step; makes one full of the step's value where there is none yet.
fn open(step: &mut Step, pages: &mut Vec<[Step; 256]>) -> usize {
    if *step & PAGE == 0 {
        pages.push([*step; 256]);
        // There are fewer than 2^25 /24 and /16 together.
        *step = PAGE | u32::try_from(pages.len() - 1).unwrap_or(0);
    }
    (*step & !PAGE) as usize
}
