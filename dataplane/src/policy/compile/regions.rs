//! The address space cut along the CIDRs that rules mention.
//!
//! Every distinct CIDR or exception is a *region*; an address is in the deepest region that
//! covers it, and in region 0 where none does. Regions are kept in the order of their first
//! address, wider first, so that what lies under a CIDR is one range of regions.
//!
//! A *geometry* is the list of blocks of a peer set; sets with equal blocks share it. Regions
//! that are in the same geometries are alike for policy: each is *represented* by the first of
//! them. Geometries in force are tracked as one shared tree while walking down the regions, so
//! that ten thousand policies with `0.0.0.0/0` cost ten thousand steps, not their square.
//!
//! A geometry that comes later cuts only what it must (`late`): regions are numbered in order once.

mod late;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use hashbrown::HashMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::super::ruleset::Block;
use super::intern::{Interner, Lists, index};
use super::trees::{Root, Trees};
use late::Late;
pub(super) use late::Parted;

/// A masked prefix, ordered so that what it covers follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Prefix {
    v6: bool,
    /// Left-aligned in both families.
    bits: u128,
    length: u8,
}

/// A block with its exceptions brought to the fewest: none outside it, none inside another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Cut {
    cidr: Prefix,
    except: Vec<Prefix>,
}

/// Number of a region.
pub(super) type Region = u32;

/// The cut address space.
#[derive(Clone, Debug)]
pub(super) struct Regions {
    /// Of region `i + 1`.
    prefixes: Vec<Prefix>,
    /// By region: the next wider one; the end of those under it; the first one like it.
    parents: Vec<Region>,
    ends: Vec<Region>,
    alike: Vec<Region>,
    late: Late,
}

/// Interned lists of blocks.
#[derive(Debug)]
pub(super) struct Geometries {
    interner: Interner<[Cut]>,
    size: usize,
}

impl Geometries {
    pub(super) fn new() -> Self {
        Self { interner: Interner::new(), size: 0 }
    }

    /// The number of what these blocks cover.
    pub(super) fn number(&mut self, blocks: &[Block]) -> u32 {
        let cuts = cuts(blocks);
        let known = self.interner.len();
        let number = self.interner.number(&cuts);
        if self.interner.len() > known {
            self.size += cuts.iter().map(|cut| 1 + cut.except.len()).sum::<usize>();
        }
        number
    }

    /// How many blocks and exceptions there are in all.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The number of what these blocks cover, if it has one.
    pub(super) fn known(&self, blocks: &[Block]) -> Option<u32> {
        self.interner.known(&cuts(blocks))
    }

    /// The address space cut along all of them.
    pub(super) fn cut(&self) -> Regions {
        let cuts = (0..index(self.interner.len())).flat_map(|g| self.interner.value(g));
        let mut prefixes: Vec<Prefix> =
            cuts.flat_map(|cut| cut.except.iter().chain([&cut.cidr])).copied().collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let mut regions = Regions::new(prefixes);
        regions.find_alike(self);
        regions
    }

    /// The regions that a geometry covers, as ranges, ascending and apart.
    pub(super) fn ranges(&self, geometry: u32, regions: &Regions) -> Vec<Range<Region>> {
        let mut ranges = Vec::new();
        for cut in self.interner.value(geometry) {
            let whole = regions.under(cut.cidr);
            let mut at = whole.start;
            for except in &cut.except {
                let hole = regions.under(*except);
                ranges.push(at..hole.start);
                at = hole.end;
            }
            ranges.push(at..whole.end);
        }
        merge(&mut ranges);
        ranges
    }
}

impl Regions {
    fn new(prefixes: Vec<Prefix>) -> Self {
        let count = prefixes.len() + 1;
        let mut regions = Self {
            prefixes,
            parents: vec![0; count],
            ends: vec![index(count); count],
            alike: vec![0; count],
            late: Late::default(),
        };
        let mut open: Vec<Region> = Vec::new();
        for region in 1..index(count) {
            let prefix = regions.prefix(region);
            while let Some(&over) = open.last()
                && !regions.prefix(over).covers(prefix)
            {
                regions.ends[over as usize] = region;
                open.pop();
            }
            regions.parents[region as usize] = open.last().copied().unwrap_or(0);
            open.push(region);
        }
        regions
    }

    /// How many were numbered in order, region 0 included.
    pub(super) fn count(&self) -> usize {
        self.parents.len()
    }

    /// The region of an address.
    pub(super) fn of(&self, address: IpAddr) -> Region {
        self.over(Prefix::of(IpNet::from(address)))
    }

    /// The region that stands for all that are in the same geometries.
    pub(super) fn alike(&self, region: Region) -> Region {
        self.late.alike(region).unwrap_or_else(|| self.alike[region as usize])
    }

    /// Every region but 0 with its CIDR, wider ones before what they cover.
    pub(super) fn nets(&self) -> impl Iterator<Item = (IpNet, Region)> {
        let numbered = self.prefixes.iter().copied().zip(1..);
        let mut all: Vec<(Prefix, Region)> = numbered.chain(self.late.found()).collect();
        all.sort_unstable();
        all.into_iter().map(|(prefix, region)| (prefix.to_net(), region))
    }

    fn prefix(&self, region: Region) -> Prefix {
        self.prefixes[region as usize - 1]
    }

    /// The deepest region at or over a prefix.
    fn over(&self, prefix: Prefix) -> Region {
        let mut region = index(self.prefixes.partition_point(|other| *other <= prefix));
        while region != 0 && !self.prefix(region).covers(prefix) {
            region = self.parents[region as usize];
        }
        let length = (region != 0).then(|| self.prefix(region).length);
        self.late.over(prefix, length).unwrap_or(region)
    }

    /// The regions numbered in order that are at and under a prefix.
    fn under(&self, prefix: Prefix) -> Range<Region> {
        let last = Prefix { bits: prefix.bits | !prefix.mask(), length: 128, ..prefix };
        let first = self.prefixes.partition_point(|other| *other < prefix);
        let end = self.prefixes.partition_point(|other| *other <= last);
        index(first) + 1..index(end) + 1
    }

    /// Walks down the regions with the geometries in force at each.
    fn find_alike(&mut self, geometries: &Geometries) {
        let count = geometries.interner.len();
        // What changes at a region, against the one over it: geometry * 2, + 1 where it ends.
        let mut changes = Vec::new();
        for geometry in 0..index(count) {
            for cut in geometries.interner.value(geometry) {
                changes.push((self.under(cut.cidr).start, geometry * 2));
                let holes = cut.except.iter().map(|hole| self.under(*hole).start);
                changes.extend(holes.map(|hole| (hole, geometry * 2 + 1)));
            }
        }
        let changes = Lists::gather(self.alike.len(), &changes);
        let mut trees = Trees::new(count);
        let mut firsts: HashMap<Root, Region> = [(Root::ZEROS, 0)].into();
        let mut roots = vec![Root::ZEROS; self.alike.len()];
        // Blocks of each geometry that cover the region being visited: they may overlap.
        let mut depth = vec![0i64; count];
        let mut open: Vec<Region> = Vec::new();
        for region in 1..index(self.alike.len()) {
            while let Some(&over) = open.last()
                && self.ends[over as usize] <= region
            {
                changes.of(over).iter().for_each(|c| depth[(c / 2) as usize] -= sign(*c));
                open.pop();
            }
            let mut root = roots[self.parents[region as usize] as usize];
            changes.of(region).iter().for_each(|c| depth[(c / 2) as usize] += sign(*c));
            for &change in changes.of(region) {
                let geometry = change / 2;
                root = trees.with(root, geometry, u32::from(depth[geometry as usize] > 0));
            }
            open.push(region);
            roots[region as usize] = root;
            self.alike[region as usize] = *firsts.entry(root).or_insert(region);
        }
    }
}

fn cuts(blocks: &[Block]) -> Vec<Cut> {
    let mut cuts: Vec<Cut> = blocks.iter().filter_map(Cut::new).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

fn sign(change: u32) -> i64 {
    if change.is_multiple_of(2) { 1 } else { -1 }
}

/// Sorts ranges and joins those that touch; drops empty ones.
pub(super) fn merge(ranges: &mut Vec<Range<u32>>) {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let touch = next.start <= last.end;
        last.end = if touch { last.end.max(next.end) } else { last.end };
        touch
    });
}

impl Cut {
    fn covers(&self, prefix: Prefix) -> bool {
        self.cidr.covers(prefix) && !self.except.iter().any(|hole| hole.covers(prefix))
    }

    /// `None` where the exceptions leave nothing.
    fn new(block: &Block) -> Option<Self> {
        let cidr = Prefix::of(block.cidr);
        let mut except: Vec<Prefix> = block.except.iter().map(|net| Prefix::of(*net)).collect();
        if except.iter().any(|hole| hole.covers(cidr)) {
            return None;
        }
        except.retain(|hole| cidr.covers(*hole));
        except.sort_unstable();
        // Wider ones come first, so what repeats or lies inside another follows it.
        except.dedup_by(|next, last| last.covers(*next));
        Some(Self { cidr, except })
    }
}

impl Prefix {
    fn of(net: IpNet) -> Self {
        match net.trunc() {
            IpNet::V4(v4) => Self {
                v6: false,
                bits: u128::from(v4.addr().to_bits()) << 96,
                length: v4.prefix_len(),
            },
            IpNet::V6(v6) => Self { v6: true, bits: v6.addr().to_bits(), length: v6.prefix_len() },
        }
    }

    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0)
    }

    fn covers(self, other: Self) -> bool {
        let differing = (self.bits ^ other.bits) & self.mask();
        self.v6 == other.v6 && self.length <= other.length && differing == 0
    }

    fn to_net(self) -> IpNet {
        if self.v6 {
            let address = Ipv6Addr::from_bits(self.bits);
            IpNet::V6(Ipv6Net::new_assert(address, self.length))
        } else {
            #[allow(clippy::cast_possible_truncation)] // the upper 32 of 128 bits fit
            let address = Ipv4Addr::from_bits((self.bits >> 96) as u32);
            IpNet::V4(Ipv4Net::new_assert(address, self.length))
        }
    }
}
