//! Which load balancers' Services ask every node whether it has backends of theirs, and what this one
//! says. Pure.
//!
//! As with kube-proxy, an endpoint counts that is ready and of this node, once whatever ports it
//! serves; of a Service of both families, in that of which there are more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Here;
use crate::inventory::Inventory;
use crate::manifest::{ObjectKey, Service};

/// What a node says of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Which Service.
    pub service: ObjectKey,
    /// Its endpoints on this node that are ready.
    pub local: usize,
}

/// What is said of each Service that has a port for it, in the order of their names.
#[must_use]
pub fn healths(inventory: &Inventory, here: &Here) -> Vec<(u16, Health)> {
    let is_asked = |service: &&Service| service.fronts.is_whole;
    let asked = inventory.services().filter(is_asked);
    let asked = asked.filter_map(|one| Some((&one.metadata.key, one.fronts.health_port?)));
    let mut ready: BTreeMap<&ObjectKey, (u16, [BTreeSet<IpAddr>; 2])> =
        asked.map(|(key, port)| (key, (port, Default::default()))).collect();
    if !ready.is_empty() {
        count(inventory, here, &mut ready);
    }
    let health = |(key, (port, ready)): (&ObjectKey, (u16, [BTreeSet<IpAddr>; 2]))| {
        let local = ready.iter().map(BTreeSet::len).max().unwrap_or(0);
        (port, Health { service: key.clone(), local })
    };
    ready.into_iter().map(health).collect()
}

/// Adds who is ready here: of IPv4, and of IPv6.
fn count(
    inventory: &Inventory,
    here: &Here,
    ready: &mut BTreeMap<&ObjectKey, (u16, [BTreeSet<IpAddr>; 2])>,
) {
    let mut of: BTreeMap<(&str, &str), &mut [BTreeSet<IpAddr>; 2]> =
        ready.iter_mut().map(|(key, (_, ready))| ((&*key.namespace, &*key.name), ready)).collect();
    for slice in inventory.slices() {
        let Some(service) = slice.service.as_deref() else { continue };
        let Some(found) = of.get_mut(&(&*slice.metadata.key.namespace, service)) else { continue };
        for one in slice.endpoints.iter().filter(|one| one.is_ready && one.node == here.node) {
            if here.node.is_some() {
                found[usize::from(one.address.is_ipv6())].insert(one.address);
            }
        }
    }
}
