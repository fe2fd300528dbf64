//! Services and their slices, in; who serves at which address and port, out. Pure.
//!
//! Who is given to clients is as kube-proxy has it: endpoints that are ready; where none is, those
//! that still serve while they end. `internalTrafficPolicy: Local` leaves those of this node, hints
//! those that are meant for it or its zone, where everyone that is ready has some.
//!
//! [`serve`] reads everything anew and is the slow twin of the resolver's `services`, which keeps
//! what a change needs; both ask [`asked_at`] what one Service is.

mod backends;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::service::{Front, FrontKey, Range, Serving, ServingId};

use crate::inventory::Inventory;
use crate::manifest::{EndpointSlice, ObjectKey, Service};
use backends::Candidates;

/// Where the switch is, as slices speak of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// The name of its node.
    pub node: Option<Arc<str>>,
    /// Its zone.
    pub zone: Option<String>,
}

/// The label of a node that says its zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

impl Here {
    /// What is known of the node of this name.
    #[must_use]
    pub fn of(inventory: &Inventory, node: Option<Arc<str>>) -> Self {
        let labels = node.as_deref().and_then(|name| inventory.node(name)?.labels.as_ref());
        Self { zone: labels.and_then(|labels| labels.get(ZONE_LABEL)).map(str::to_owned), node }
    }
}

/// Why a Service is asked at an address. Where two are, the lesser has it, then the lesser name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// It is of the cluster.
    Cluster,
    /// It is the load balancer's.
    Balanced,
    /// Somebody wrote it down.
    External,
}

/// One address and port at which a Service is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where.
    pub key: FrontKey,
    /// Why.
    pub claim: Claim,
    /// Who serves there.
    pub front: Front,
}

/// Everything at which a Service is asked, each address and port once. `id` names its ports.
pub fn asked_at(
    service: &Service,
    slices: &[&EndpointSlice],
    here: &Here,
    mut id: impl FnMut(Protocol, u16, bool) -> ServingId,
) -> Vec<Asked> {
    let mut asked: BTreeMap<FrontKey, Asked> = BTreeMap::new();
    if !service.fronts.is_whole {
        return Vec::new();
    }
    for port in &service.ports {
        for v6 in [false, true] {
            let addresses: Vec<_> =
                addresses(service).filter(|(_, address)| address.is_ipv6() == v6).collect();
            if addresses.is_empty() {
                continue;
            }
            let candidates = Candidates::of(slices, port, v6);
            let id = id(port.protocol, port.number, v6);
            let affinity_ms = u64::from(service.fronts.affinity_s.unwrap_or(0)) * 1000;
            let all = Arc::new(candidates.serving(id, affinity_ms, here));
            let near: Arc<Serving> = if service.fronts.is_local {
                Arc::new(candidates.serving_near(id, affinity_ms, here))
            } else {
                Arc::clone(&all)
            };
            for (claim, address) in addresses {
                let number = number_of(port.protocol);
                let key = FrontKey { address: address.into(), port: port.number, number };
                let front = match claim {
                    Claim::Cluster => Front { serving: Arc::clone(&near), sources: None },
                    Claim::External => Front { serving: Arc::clone(&all), sources: None },
                    Claim::Balanced => {
                        let sources = service.fronts.sources.as_deref().map(ranges);
                        Front { serving: Arc::clone(&all), sources }
                    }
                };
                asked.entry(key).or_insert(Asked { key, claim, front });
            }
        }
    }
    asked.into_values().collect()
}

/// The addresses of a Service, and why each is.
pub fn addresses(service: &Service) -> impl Iterator<Item = (Claim, IpAddr)> {
    let fronts = &service.fronts;
    let of = |claim, addresses| std::iter::repeat(claim).zip(addresses);
    let cluster = of(Claim::Cluster, &fronts.cluster);
    let balanced = of(Claim::Balanced, &fronts.balanced);
    let all = cluster.chain(balanced).chain(of(Claim::External, &fronts.external));
    all.map(|(claim, address)| (claim, *address))
}

/// Who serves where, of everything there is, and which addresses are Services'.
#[must_use]
pub fn serve(inventory: &Inventory, here: &Here) -> Served {
    let mut slices: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in inventory.slices() {
        let namespace = &*slice.metadata.key.namespace;
        if let Some(service) = slice.service.as_deref() {
            slices.entry((namespace, service)).or_default().push(slice);
        }
    }
    let (mut found, mut addresses_of) = (BTreeMap::new(), Vec::new());
    for service in inventory.services() {
        let key = &service.metadata.key;
        let slices = slices.get(&(&*key.namespace, &*key.name)).map_or(&[][..], Vec::as_slice);
        addresses_of.extend(addresses(service).map(|(_, address)| address));
        let asked = asked_at(service, slices, here, |_, _, _| ServingId(0));
        for Asked { key: at, claim, front } in asked {
            let better = (claim, key.clone());
            match found.get(&at) {
                Some((other, _)) if *other < better => {}
                _ => _ = found.insert(at, (better, front)),
            }
        }
    }
    addresses_of.sort_unstable();
    addresses_of.dedup();
    let fronts = found.into_iter().map(|(at, ((_, by), front))| (at, by, front)).collect();
    Served { fronts, addresses: addresses_of }
}

/// What [`serve`] finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Ascending, with the Service that is asked there.
    pub fronts: Vec<(FrontKey, ObjectKey, Front)>,
    /// Ascending.
    pub addresses: Vec<IpAddr>,
}

/// The number of a protocol that has ports.
#[must_use]
pub const fn number_of(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
        _ => 0,
    }
}

fn ranges(sources: &[IpNet]) -> Arc<[Range]> {
    let range = |net: &IpNet| {
        let (first, last) = (net.network(), net.broadcast());
        Range { first: first.into(), last: last.into() }
    };
    sources.iter().map(range).collect()
}

#[cfg(test)]
mod tests;
