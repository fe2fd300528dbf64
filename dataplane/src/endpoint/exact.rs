//! Exact match for the IPv6 addresses of pods and nodes. Hot path.
//!
//! Open addressing in a table at most half full, in which no key lies further than [`PROBES`]
//! slots from where its hash points: the build tries other seeds, then more slots, until that
//! holds. So a lookup ends after `PROBES` slots whatever address a sender chooses, and seeds are
//! random, so that nobody can prepare pod addresses that make the build long.

use std::hash::{BuildHasher, RandomState};
use std::mem::size_of_val;
use std::sync::Arc;

use crate::packet::Address;

/// Slots looked at for an address that is not there: 240 bytes, four or five cache lines in
/// sequence. One that is there is found on the first two as a rule.
const PROBES: usize = 10;

/// Seeds tried before the table is doubled.
const SEEDS: usize = 8;

/// Addresses with a value each, not 0.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    slots: Arc<[Slot]>,
    /// Addresses in all.
    count: usize,
    /// Upper bits of the hash that are an index.
    shift: u32,
    seed: [u64; 2],
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    address: Address,
    /// 0 where the slot is empty.
    value: u32,
}

const EMPTY: Slot = Slot { address: Address::from_v6([0; 16]), value: 0 };

impl Exact {
    /// Builds from addresses with values that are not 0. Of equal addresses the last counts.
    pub(super) fn build(entries: &[(Address, u32)]) -> Self {
        let random = RandomState::new();
        let mut bits = (entries.len() * 2).next_power_of_two().trailing_zeros().max(1);
        let mut tried = 0usize;
        // Cold: building. Ever more slots, so a seed that fits is found.
        loop {
            let seed = [random.hash_one(tried), random.hash_one((tried, 1)) | 1];
            if let Some(exact) = Self::place(entries, bits, seed) {
                return exact;
            }
            tried += 1;
            bits += u32::from(tried.is_multiple_of(SEEDS));
        }
    }

    fn place(entries: &[(Address, u32)], bits: u32, seed: [u64; 2]) -> Option<Self> {
        // The last places have their `PROBES` slots too: no wrapping around in the lookup.
        let slots = vec![EMPTY; (1 << bits) + PROBES - 1];
        let mut exact = Self { slots: slots.into(), count: 0, shift: 64 - bits, seed };
        for &(address, value) in entries {
            exact.put(address, value)?;
        }
        Some(exact)
    }

    /// Puts an address where it is looked for; `None` where its window is full.
    fn put(&mut self, address: Address, value: u32) -> Option<()> {
        assert!(value != 0, "0 marks an empty slot");
        let start = self.start(address);
        let mut window = Arc::make_mut(&mut self.slots)[start..start + PROBES].iter_mut();
        let slot = window.find(|slot| slot.value == 0 || slot.address == address)?;
        self.count += usize::from(slot.value == 0);
        *slot = Slot { address, value };
        Some(())
    }

    /// Gives an address a value; 0 takes it out. Copies the slots where others share them.
    pub(super) fn set(&mut self, address: Address, value: u32) {
        if value == 0 {
            return self.remove(address);
        }
        let is_full = self.find(address).is_none() && (self.count + 1) * 2 > self.slots.len();
        if is_full || self.put(address, value).is_none() {
            let old = self.slots.iter().filter(|slot| slot.value != 0);
            let mut entries: Vec<_> = old.map(|slot| (slot.address, slot.value)).collect();
            entries.push((address, value));
            *self = Self::build(&entries);
        }
    }

    fn remove(&mut self, address: Address) {
        let start = self.start(address);
        let is_it = |slot: &Slot| slot.value != 0 && slot.address == address;
        let Some(at) = self.slots[start..start + PROBES].iter().position(is_it) else { return };
        self.count -= 1;
        let mut hole = start + at;
        // Cold: changing. What comes after the hole and is looked for at or before it moves up,
        // or a lookup would stop at the hole; no key lies further than its window.
        for at in hole + 1..self.slots.len() {
            let slot = self.slots[at];
            if slot.value == 0 || at >= hole + PROBES {
                break;
            }
            if self.start(slot.address) <= hole {
                Arc::make_mut(&mut self.slots)[hole] = slot;
                hole = at;
            }
        }
        Arc::make_mut(&mut self.slots)[hole] = EMPTY;
    }

    /// The value of the address.
    #[inline]
    pub(super) fn find(&self, address: Address) -> Option<u32> {
        let start = self.start(address);
        let window = self.slots.get(start..start.wrapping_add(PROBES))?;
        for slot in window {
            if slot.value == 0 {
                return None;
            }
            if slot.address == address {
                return Some(slot.value);
            }
        }
        None
    }

    #[inline]
    fn start(&self, address: Address) -> usize {
        let mixed = address.mix(self.seed);
        // Below 2^bits, which the slots exceed.
        #[allow(clippy::cast_possible_truncation)] // 64-bit machines only
        let start = mixed.wrapping_shr(self.shift) as usize;
        start
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}
