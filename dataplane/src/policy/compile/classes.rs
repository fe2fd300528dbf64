//! Address classes by partition refinement.
//!
//! What an address is in follows from two things: the pod that has it (a *signature*, the sorted
//! list of the sets that the pod is a member of) and the region it lies in. Addresses that agree
//! in signature and in what their region is alike to are one class.
//!
//! Classes are numbered by region, then by the pod that first needed them. So a geometry is a few
//! ranges of classes, and neighbours in the pod list (a namespace) are neighbours in the cells.
//!
//! A set that has both pods and blocks is counted as two, so its classes may be finer than need
//! be: never wrong, and Kubernetes peers are one or the other.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::super::ruleset::{PodIndex, Ruleset, SetId};
use super::super::table::ClassId;
use super::intern::{Interner, Lists, index};
use super::regions::{Geometries, Region, Regions, merge};

/// Which class every address is in.
#[derive(Clone, Debug)]
pub struct Classes {
    regions: Regions,
    /// By region, for addresses of no pod.
    of_region: Vec<ClassId>,
    /// By pod, then in the order of its addresses.
    hosts: Vec<Host>,
    /// By pod, and one more: where its hosts start.
    starts: Vec<u32>,
    /// Places in `hosts`, ascending by address.
    by_address: Vec<u32>,
    count: u32,
}

/// An address of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub pod: PodIndex,
    /// Its class.
    pub class: ClassId,
}

impl Classes {
    /// How many classes there are; at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// The class of any address, pod's or not. Two binary searches.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> ClassId {
        match self.host(address) {
            Some(host) => host.class,
            None => self.of_region[self.regions.of(address) as usize],
        }
    }

    /// The pod that has the address.
    #[must_use]
    pub fn host(&self, address: IpAddr) -> Option<&Host> {
        let address_at = |at: &u32| self.hosts[*at as usize].address;
        let at = self.by_address.binary_search_by_key(&address, address_at).ok()?;
        Some(&self.hosts[self.by_address[at] as usize])
    }

    /// Every address of every pod, in the order of pods.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The addresses of one pod.
    #[must_use]
    pub fn of_pod(&self, pod: PodIndex) -> &[Host] {
        let pod = pod.0 as usize;
        &self.hosts[self.starts[pod] as usize..self.starts[pod + 1] as usize]
    }

    /// The CIDRs that tell addresses of no pod apart, wider ones before what they cover. The
    /// longest that covers an address has its class; [`ClassId::NOTHING`] where none does.
    pub fn prefixes(&self) -> impl Iterator<Item = (IpNet, ClassId)> + '_ {
        self.regions.nets().map(|(net, region)| (net, self.of_region[region as usize]))
    }
}

/// The sets of one ruleset as ranges of classes.
pub(super) struct Members<'a> {
    ruleset: &'a Ruleset,
    geometries: Geometries,
    /// By region: the first class of it or a later one.
    starts: Vec<u32>,
}

/// A class before it has a number: region first, see the module.
type Key = (Region, u32);

/// Finds the classes that the used sets (ascending) tell apart.
pub(super) fn refine<'a>(ruleset: &'a Ruleset, used: &[SetId]) -> (Classes, Members<'a>) {
    let mut geometries = Geometries::new();
    for set in used.iter().map(|id| ruleset.set(*id)).filter(|set| !set.blocks.is_empty()) {
        geometries.number(&set.blocks);
    }
    let regions = geometries.cut();
    let signatures = signatures(ruleset, used);

    let region_keys = (0..index(regions.count())).map(|region| (regions.alike(region), 0));
    let region_keys: Vec<Key> = region_keys.collect();
    let mut hosts = Vec::with_capacity(ruleset.pods.len());
    let mut host_keys: Vec<Key> = Vec::with_capacity(ruleset.pods.len());
    let mut starts = vec![0];
    for ((pod, signature), number) in ruleset.pods.iter().zip(&signatures).zip(0..) {
        for &address in pod.addresses.iter() {
            hosts.push(Host { address, pod: PodIndex(number), class: ClassId::NOTHING });
            host_keys.push((regions.alike(regions.of(address)), *signature));
        }
        starts.push(index(hosts.len()));
    }

    let mut keys: Vec<Key> = host_keys.iter().chain(&region_keys).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    let class = |key: &Key| ClassId(index(keys.partition_point(|other| other < key)));
    for (host, key) in hosts.iter_mut().zip(&host_keys) {
        host.class = class(key);
    }
    let of_region = region_keys.iter().map(class).collect();
    let regions_count = index(regions.count());
    let first = |region| index(keys.partition_point(|key| key.0 < region));
    let members = Members { ruleset, geometries, starts: (0..=regions_count).map(first).collect() };
    let by_address = by_address(&hosts);
    let count = index(keys.len());
    (Classes { regions, of_region, hosts, starts, by_address, count }, members)
}

/// The signature of each pod as a number; 0 is that of a pod in no set.
fn signatures(ruleset: &Ruleset, used: &[SetId]) -> Vec<u32> {
    let pairs: Vec<(u32, u32)> =
        used.iter().flat_map(|id| ruleset.set(*id).pods.iter().map(|pod| (pod.0, id.0))).collect();
    let sets = Lists::gather(ruleset.pods.len(), &pairs);
    let mut signatures = Interner::<[u32]>::new();
    signatures.number(&[]);
    (0..index(ruleset.pods.len())).map(|pod| signatures.number(sets.of(pod))).collect()
}

fn by_address(hosts: &[Host]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..index(hosts.len())).collect();
    order.sort_unstable_by_key(|at| hosts[*at as usize].address);
    order
}

impl Members<'_> {
    /// The classes of a used set, as ranges, ascending and apart. Costs its members.
    pub(super) fn ranges(&mut self, set: SetId, classes: &Classes) -> Vec<Range<u32>> {
        let set = self.ruleset.set(set);
        let mut ranges = Vec::with_capacity(set.pods.len());
        for host in set.pods.iter().flat_map(|pod| classes.of_pod(*pod)) {
            ranges.push(host.class.0..host.class.0 + 1);
        }
        if !set.blocks.is_empty() {
            let geometry = self.geometries.number(&set.blocks);
            let first = |region: Region| self.starts[region as usize];
            let regions = self.geometries.ranges(geometry, &classes.regions);
            ranges.extend(regions.into_iter().map(|r| first(r.start)..first(r.end)));
        }
        merge(&mut ranges);
        ranges
    }
}
