//! The class of every address, kept.
//!
//! As in `compile::classes` a class is what a region and a pod's signature make of an address;
//! here classes come one by one. Numbers are laid out once, by region, with some to spare in each
//! region that has pods; a geometry is a few ranges of them, the spare ones included, so a new
//! class that takes a spare number is already in the blocks that it must be in. Beyond those
//! there are common spare numbers at the end, in no block yet.
//!
//! A class whose last address went stays, and is there again when its like comes back. A late
//! region has no numbers laid out: all its classes have common ones.

use std::net::IpAddr;
use std::ops::Range;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::super::super::ruleset::Block;
use super::super::super::table::{ClassId, FAN};
use super::super::intern::{Interner, index};
use super::super::regions::{Geometries, Parted, Region, Regions, merge};
use super::Out;

/// Number of a signature: the list of the numbers that a pod is in. 0 is the empty one.
pub(super) type Signature = u32;

/// What makes a class.
pub(super) type Key = (Region, Signature);

/// All classes.
#[derive(Debug)]
pub(super) struct Kinds {
    regions: Regions,
    pub(super) geometries: Geometries,
    pub(super) signatures: Interner<[u32]>,
    classes: Vec<Class>,
    by_key: HashMap<Key, u32>,
    /// By region: the first class of it or a later one; and one more, where the common ones begin.
    starts: Vec<u32>,
    /// By region: its next spare number.
    spare: Vec<u32>,
    /// By late region: the class of addresses of no pod in it.
    late: Vec<u32>,
    /// The next common spare number.
    tail: u32,
}

#[derive(Clone, Copy, Debug)]
struct Class {
    key: Key,
    /// Addresses of pods.
    hosts: u32,
}

/// Where a new class got its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum New {
    /// It is in its region's blocks already.
    Spare(u32),
    /// It is in nothing yet.
    Common(u32),
}

impl Kinds {
    /// With only as many regions as these blocks make, and no classes yet.
    pub(super) fn new(geometries: Geometries) -> Self {
        let mut signatures = Interner::<[u32]>::new();
        signatures.number(&[]);
        Self {
            regions: geometries.cut(),
            geometries,
            signatures,
            classes: Vec::new(),
            by_key: HashMap::new(),
            starts: Vec::new(),
            spare: Vec::new(),
            late: Vec::new(),
            tail: 0,
        }
    }

    /// Lays out numbers for these classes, and gives every region without a pod its own.
    /// `keys` are sorted and do not repeat.
    pub(super) fn lay_out(&mut self, keys: &[Key]) {
        let mut next = 0;
        let mut keys = keys.iter().copied().peekable();
        for region in 0..index(self.regions.count()) {
            self.starts.push(next);
            self.spare.push(next + 1);
            if self.regions.alike(region) != region {
                continue;
            }
            let mut count = 0;
            while keys.next_if(|key| key.0 == region).is_some() {
                count += 1;
            }
            let has_pods = count > 0 || region == 0;
            next += 1 + if has_pods { count + count / 4 + 8 } else { 0 };
        }
        self.starts.push(next);
        self.tail = next;
        let branches = (next as usize + next as usize / 4) / (FAN * FAN) + 1;
        let span = branches.next_power_of_two() * FAN * FAN;
        self.classes = vec![Class { key: (0, 0), hosts: 0 }; span];
        for region in 0..index(self.regions.count()) {
            if self.regions.alike(region) == region {
                let base = self.starts[region as usize];
                self.classes[base as usize].key = (region, 0);
                self.by_key.insert((region, 0), base);
            }
        }
    }

    /// Numbers that there can be.
    pub(super) fn span(&self) -> usize {
        self.classes.len()
    }

    /// What the class of an address of a pod with this signature is made of.
    pub(super) fn key(&self, address: IpAddr, signature: Signature) -> Key {
        (self.regions.alike(self.regions.of(address)), signature)
    }

    pub(super) fn find(&self, key: Key) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    /// The class of addresses of no pod in this region.
    pub(super) fn base(&self, region: Region) -> u32 {
        let alike = self.regions.alike(region);
        match self.regions.late_place(alike) {
            Some(place) => self.late[place],
            None => self.starts[alike as usize],
        }
    }

    /// How much there is that may not be used any more.
    pub(super) fn size(&self) -> usize {
        self.signatures.len() + self.geometries.size() + self.late.len()
    }

    /// Cuts regions along these blocks, if they are new. Gives each class of addresses of no pod
    /// that came so, after the one that it was a part of.
    pub(super) fn cut(&mut self, blocks: &[Block]) -> Result<Vec<(u32, u32)>, Out> {
        if self.geometries.known(blocks).is_some() {
            return Ok(Vec::new());
        }
        let geometry = self.geometries.number(blocks);
        let parted = self.regions.cut_along(&self.geometries, geometry).ok_or(Out::Regions)?;
        let mut classes = Vec::with_capacity(parted.len());
        for Parted { from, new } in parted {
            let class = self.take_common()?;
            self.classes[class as usize].key = (new, 0);
            self.by_key.insert((new, 0), class);
            self.late.push(class);
            classes.push((self.base(from), class));
        }
        Ok(classes)
    }

    /// The CIDR of a class of a late region.
    pub(super) fn net(&self, class: u32) -> IpNet {
        self.regions.net(self.key_of(class).0)
    }

    /// Whether an address is where its class says that it is.
    pub(super) fn is_in_place(&self, address: IpAddr, class: ClassId) -> bool {
        self.regions.alike(self.regions.of(address)) == self.key_of(class.0).0
    }

    /// The class of an address, were it no pod's.
    pub(super) fn outside(&self, address: IpAddr) -> ClassId {
        ClassId(self.base(self.regions.of(address)))
    }

    /// The CIDRs that tell addresses of no pod apart, wider ones before what they cover.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = (IpNet, ClassId)> + '_ {
        self.regions.nets().map(|(net, region)| (net, ClassId(self.base(region))))
    }

    /// Makes a class.
    pub(super) fn make(&mut self, key: Key) -> Result<New, Out> {
        let region = key.0 as usize;
        let new = match self.spare.get_mut(region) {
            Some(spare) if *spare < self.starts[region + 1] => {
                *spare += 1;
                New::Spare(*spare - 1)
            }
            _ => New::Common(self.take_common()?),
        };
        let (New::Spare(class) | New::Common(class)) = new;
        self.classes[class as usize].key = key;
        self.by_key.insert(key, class);
        Ok(new)
    }

    fn take_common(&mut self) -> Result<u32, Out> {
        if self.tail as usize >= self.classes.len() {
            return Err(Out::Classes);
        }
        self.tail += 1;
        Ok(self.tail - 1)
    }

    /// Makes a class be another: all its addresses have that signature now.
    pub(super) fn sign(&mut self, class: u32, key: Key) {
        let old = std::mem::replace(&mut self.classes[class as usize].key, key);
        if self.by_key.get(&old) == Some(&class) {
            self.by_key.remove(&old);
        }
        self.by_key.insert(key, class);
    }

    /// An address of a pod came (true) or went.
    pub(super) fn count(&mut self, class: u32, came: bool) {
        let hosts = &mut self.classes[class as usize].hosts;
        *hosts = if came { *hosts + 1 } else { hosts.saturating_sub(1) };
    }

    pub(super) fn hosts(&self, class: u32) -> u32 {
        self.classes[class as usize].hosts
    }

    pub(super) fn key_of(&self, class: u32) -> Key {
        self.classes[class as usize].key
    }

    /// The classes in a geometry, as ranges, ascending and apart.
    pub(super) fn of_geometry(&self, geometry: u32) -> Vec<Range<u32>> {
        let regions = self.geometries.ranges(geometry, &self.regions);
        let start = |region: Region| self.starts[region as usize];
        let common = self.starts.last().copied().unwrap_or(0)..self.tail;
        let is_in = |class: &u32| {
            let region = self.key_of(*class).0;
            self.regions.is_in(region, &self.geometries, geometry)
        };
        let mut ranges: Vec<Range<u32>> =
            common.filter(is_in).map(|class| class..class + 1).collect();
        ranges.extend(regions.iter().map(|range| start(range.start)..start(range.end)));
        merge(&mut ranges);
        ranges
    }
}
