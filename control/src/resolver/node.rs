//! The pods of this node, and the node's addresses.
//!
//! As in `inventory::Census`: this node is where the pods with an interface are. Its addresses are
//! those that its pods say, and those of the pods on its network; never one that a pod has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use super::labels::{put, take};
use super::pods::{Known, Place, Pods};
use crate::inventory::Inventory;
use crate::manifest::ObjectKey;
use crate::resolve::PodView;

/// What is known of this node.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The living pods with an interface.
    here: BTreeMap<ObjectKey, Place>,
    /// The pods that have not ended, by the addresses of their nodes.
    on: HashMap<IpAddr, Vec<Place>>,
    /// Addresses that could be the node's, were they no pod's.
    near: BTreeSet<IpAddr>,
    local: Vec<PodView>,
    addresses: Vec<IpAddr>,
    /// Something of this node has changed.
    is_stale: bool,
}

impl Node {
    pub(super) fn local(&self) -> &[PodView] {
        &self.local
    }

    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// A pod is there.
    pub(super) fn note(&mut self, place: Place, known: &Known) {
        if known.lives && known.has_interface {
            self.here.insert(known.key.clone(), place);
        }
        for address in known.host_ips.iter().filter(|_| !known.is_completed) {
            put(self.on.entry(*address).or_default(), place);
        }
        self.concern(known);
    }

    /// A pod is there no more.
    pub(super) fn forget(&mut self, place: Place, known: &Known) {
        if known.lives && known.has_interface {
            self.here.remove(&known.key);
        }
        for address in known.host_ips.iter().filter(|_| !known.is_completed) {
            if let Some(pods) = self.on.get_mut(address) {
                take(pods, place);
                if pods.is_empty() {
                    self.on.remove(address);
                }
            }
        }
        self.concern(known);
    }

    fn concern(&mut self, known: &Known) {
        let mut addresses = known.host_ips.iter().chain(known.addresses.iter());
        self.is_stale |= known.has_interface || addresses.any(|one| self.near.contains(one));
    }

    /// Brings what is told up to date.
    pub(super) fn settle(&mut self, pods: &Pods, inventory: &Inventory) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        let hosts: BTreeSet<IpAddr> = self
            .here
            .values()
            .filter_map(|place| pods.get(*place))
            .flat_map(|pod| &*pod.host_ips)
            .copied()
            .collect();
        self.near.clone_from(&hosts);
        for pod in hosts.iter().filter_map(|host| self.on.get(host)).flatten() {
            let Some(pod) = pods.get(*pod) else { continue };
            self.near.extend(pod.host_ips.iter());
            self.near.extend(pod.addresses.iter().filter(|_| pod.host_network));
        }
        self.addresses = self.near.iter().copied().filter(|one| !pods.has(*one)).collect();
        self.view(inventory);
    }

    fn view(&mut self, inventory: &Inventory) {
        let pod =
            |key: &ObjectKey| inventory.pod(&key.namespace, &key.name).zip(inventory.endpoint(key));
        let here: Vec<_> = self.here.keys().filter_map(pod).collect();
        let mut claims: BTreeMap<&str, u32> = BTreeMap::new();
        for name in here.iter().filter_map(|(pod, _)| pod.interface.as_deref()) {
            *claims.entry(name).or_default() += 1;
        }
        let is_sole = |name: &&str| claims.get(name) == Some(&1);
        let view = |(pod, endpoint): &(&crate::manifest::Pod, _)| PodView {
            namespace: Arc::clone(&pod.metadata.key.namespace),
            name: Arc::clone(&pod.metadata.key.name),
            endpoint: *endpoint,
            addresses: pod.addresses.clone(),
            interface: pod.interface.as_deref().filter(is_sole).map(str::to_owned),
            mac: pod.mac,
            host_ips: pod.host_ips.clone(),
        };
        self.local = here.iter().map(view).collect();
    }
}
