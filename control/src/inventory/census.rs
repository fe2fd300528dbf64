//! Who lives where: the pods that policy can judge, and which address is whose.
//!
//! A pod that has ended has no address (NP-53), a pod on its node's network has only its node's
//! (NP-41); neither is here. An address that two pods claim belongs to neither for certain, and
//! whose labels, network, phase or namespace cannot be read is nobody for certain: such pods are
//! *denied*, no selector sees them and nothing reaches or leaves them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use lockgate_dataplane::ids::EndpointId;

use super::{Inventory, findings};
use crate::manifest::{Pod, Problem};

/// What isolates denied pods, in causes. No object of a cluster can have this name.
pub(crate) const DENIED_POLICY: &str = "(lockgate)/unusable-pods";

/// A pod that lives: not ended, not on its node's network, with an address.
#[derive(Clone, Debug)]
pub(crate) struct Resident<'i> {
    pub(crate) pod: &'i Pod,
    pub(crate) endpoint: EndpointId,
    /// Its addresses less those that an earlier pod claims too.
    pub(crate) owned: Vec<IpAddr>,
    /// Nothing reaches or leaves it: it shares an address, or it cannot be known.
    pub(crate) is_denied: bool,
}

impl Resident<'_> {
    pub(crate) fn namespace(&self) -> &str {
        &self.pod.metadata.key.namespace
    }

    /// `namespace/name`.
    pub(crate) fn name(&self) -> String {
        let key = &self.pod.metadata.key;
        format!("{}/{}", key.namespace, key.name)
    }
}

/// Every pod that lives, by namespace and name.
#[derive(Clone, Debug)]
pub(crate) struct Census<'i> {
    pub(crate) residents: Vec<Resident<'i>>,
    /// Places in `residents`.
    owners: HashMap<IpAddr, usize>,
    /// Addresses that several pods claim, with their places.
    pub(crate) shared: BTreeMap<IpAddr, Vec<usize>>,
    inventory: &'i Inventory,
}

impl<'i> Census<'i> {
    pub(crate) fn of(inventory: &'i Inventory) -> Self {
        let living = |pod: &&Pod| lives(pod);
        let mut residents: Vec<Resident<'i>> = inventory
            .pods()
            .filter(living)
            .filter_map(|pod| {
                let endpoint = inventory.endpoint(&pod.metadata.key)?;
                let is_denied = pod.labels.is_none();
                Some(Resident { pod, endpoint, owned: Vec::new(), is_denied })
            })
            .collect();
        let mut owners = HashMap::new();
        let mut shared: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
        for (place, resident) in residents.iter_mut().enumerate() {
            for address in resident.pod.addresses.iter() {
                match owners.get(address) {
                    None => {
                        owners.insert(*address, place);
                        resident.owned.push(*address);
                    }
                    Some(first) => {
                        shared.entry(*address).or_insert_with(|| vec![*first]).push(place);
                    }
                }
            }
        }
        for place in shared.values().flatten() {
            if let Some(resident) = residents.get_mut(*place) {
                resident.is_denied = true;
            }
        }
        Self { residents, owners, shared, inventory }
    }

    /// The pod that has this address, the first of several.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<&Resident<'i>> {
        self.residents.get(*self.owners.get(&address)?)
    }

    /// What is wrong with a pod's addresses beside those of others.
    pub(crate) fn problems_of(&self, resident: &Resident<'_>) -> Vec<Problem> {
        findings::of_sharer(self, resident)
    }

    /// The place of a pod in `residents`.
    pub(crate) fn place(&self, namespace: &str, name: &str) -> Option<usize> {
        let wanted = (namespace, name);
        let key = |one: &Resident<'i>| {
            let key = &one.pod.metadata.key;
            (&*key.namespace, &*key.name).cmp(&wanted)
        };
        self.residents.binary_search_by(key).ok()
    }

    /// The addresses of the node that these pods are on: `status.hostIPs` of every pod that shares
    /// one with them, and those of the pods on that node's network. An address that a pod has is no
    /// node's (NP-40 would open it).
    pub(crate) fn node_addresses<'p>(
        &self,
        pods: impl Iterator<Item = &'p Pod>,
    ) -> BTreeSet<IpAddr> {
        let hosts: BTreeSet<IpAddr> = pods.flat_map(|pod| &*pod.host_ips).copied().collect();
        let mut all = hosts.clone();
        for pod in self.inventory.pods().filter(|pod| !pod.is_completed) {
            if pod.host_ips.iter().any(|address| hosts.contains(address)) {
                all.extend(pod.host_ips.iter());
                all.extend(pod.addresses.iter().filter(|_| pod.host_network));
            }
        }
        all.retain(|address| !self.owners.contains_key(address));
        all
    }
}

/// Whether a pod has an address of its own.
fn lives(pod: &Pod) -> bool {
    !pod.is_completed && !pod.host_network && !pod.addresses.is_empty()
}
