//! Regions that were cut after all others had been numbered in order.
//!
//! A geometry that comes later has prefixes that are no regions yet, each a piece of the region
//! that it lies in; and it may tell regions apart that were alike. Both become *late* regions, with
//! numbers after all others and alike to nobody. What lies in one was in the same geometries as the
//! region that it was a part of, or alike to.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::super::intern::index;
use super::{Geometries, Prefix, Region, Regions};

/// Regions that one geometry may tell apart from those alike: more are dearer than numbering all
/// regions anew.
const PARTED_MAX: usize = 256;

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Late {
    /// The number of the first, once there is one.
    first: Option<Region>,
    /// By number, from the first on.
    prefixes: Vec<Prefix>,
    /// Those that are no region otherwise.
    found: HashMap<Prefix, Region>,
    /// Their lengths: whether of IPv6, and bits.
    lengths: BTreeSet<(bool, u8)>,
    /// Regions numbered in order that are alike no more, and what they are now.
    parted: HashMap<Region, Region>,
}

/// A region that was cut, after the one that stood for it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Parted {
    pub(in super::super) from: Region,
    pub(in super::super) new: Region,
}

impl Late {
    /// What stands for a region, if that is a late one.
    pub(super) fn alike(&self, region: Region) -> Option<Region> {
        let is_late = self.first.is_some_and(|first| region >= first);
        if is_late { Some(region) } else { self.parted.get(&region).copied() }
    }

    /// Those that are no region otherwise.
    pub(super) fn found(&self) -> impl Iterator<Item = (Prefix, Region)> + '_ {
        self.found.iter().map(|(prefix, region)| (*prefix, *region))
    }

    /// The deepest of them at or over a prefix, if it is longer than `than` bits.
    pub(super) fn over(&self, prefix: Prefix, than: Option<u8>) -> Option<Region> {
        let shortest = than.map_or(0, |bits| bits + 1);
        if self.lengths.is_empty() || shortest > prefix.length {
            return None;
        }
        let lengths = self.lengths.range((prefix.v6, shortest)..=(prefix.v6, prefix.length));
        lengths.rev().find_map(|&(_, length)| {
            let wider = Prefix { length, ..prefix };
            self.found.get(&Prefix { bits: prefix.bits & wider.mask(), ..wider }).copied()
        })
    }
}

impl Regions {
    /// The place of a region among the late ones, if it is one.
    pub(in super::super) fn late_place(&self, region: Region) -> Option<usize> {
        (region as usize).checked_sub(self.count())
    }

    /// Whether a region is in a geometry.
    pub(in super::super) fn is_in(&self, region: Region, geometries: &Geometries, of: u32) -> bool {
        // Region 0 is what is in no block.
        region != 0 && {
            let prefix = self.prefix_of(region);
            geometries.interner.value(of).iter().any(|cut| cut.covers(prefix))
        }
    }

    /// The CIDR of a region that is not 0.
    pub(in super::super) fn net(&self, region: Region) -> IpNet {
        self.prefix_of(region).to_net()
    }

    fn prefix_of(&self, region: Region) -> Prefix {
        match self.late_place(region) {
            Some(place) => self.late.prefixes[place],
            None => self.prefix(region),
        }
    }

    /// Cuts along a geometry that was not there before, wider regions before what they cover.
    /// `None` where it tells too many apart that were alike; nothing is cut then.
    pub(in super::super) fn cut_along(
        &mut self,
        geometries: &Geometries,
        geometry: u32,
    ) -> Option<Vec<Parted>> {
        let differing = self.alike_no_more(geometries, geometry);
        if differing.len() > PARTED_MAX {
            return None;
        }
        let cuts = geometries.interner.value(geometry);
        let mut prefixes: Vec<Prefix> =
            cuts.iter().flat_map(|cut| cut.except.iter().chain([&cut.cidr])).copied().collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let mut parted = Vec::new();
        for prefix in prefixes {
            let is_one = self.prefixes.binary_search(&prefix).is_ok();
            if is_one || self.late.found.contains_key(&prefix) {
                continue;
            }
            let from = self.alike(self.over(prefix));
            let new = self.push_late(prefix);
            self.late.found.insert(prefix, new);
            self.late.lengths.insert((prefix.v6, prefix.length));
            parted.push(Parted { from, new });
        }
        for region in differing {
            let from = self.alike(region);
            let new = self.push_late(self.prefix(region));
            self.late.parted.insert(region, new);
            parted.push(Parted { from, new });
        }
        Some(parted)
    }

    /// Regions that are in the geometry while what stands for them is not, or the other way round.
    fn alike_no_more(&self, geometries: &Geometries, geometry: u32) -> Vec<Region> {
        let mut is_in = vec![false; self.count()];
        for range in geometries.ranges(geometry, self) {
            is_in[range.start as usize..range.end as usize].fill(true);
        }
        let differs = |region: &Region| {
            let alike = self.alike(*region) as usize;
            is_in.get(alike).is_some_and(|other| *other != is_in[*region as usize])
        };
        (1..index(self.count())).filter(differs).collect()
    }

    fn push_late(&mut self, prefix: Prefix) -> Region {
        let first = *self.late.first.get_or_insert(index(self.parents.len()));
        self.late.prefixes.push(prefix);
        first + index(self.late.prefixes.len() - 1)
    }
}
