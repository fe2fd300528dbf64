//! Services, their slices and pods at ports of their node, in; who serves at which address and port,
//! out. Pure.
//!
//! Who is given to clients is as kube-proxy has it: endpoints that are ready; where none is, those
//! that still serve while they end. `internalTrafficPolicy: Local` leaves those of this node, hints
//! those that are meant for it or its zone, where everyone that is ready has some.
//!
//! [`serve`] reads everything anew and is the slow twin of the resolver's `services`, which keeps
//! what a change needs; both ask [`asked_at`] what one Service is.

mod backends;
mod balanced;
mod by_node;
mod health;
mod hosted;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::service::own::{ASKING_V4, ASKING_V6, NODE_PORTS_V4, NODE_PORTS_V6};
use lockgate_dataplane::service::{Extent, Front, FrontKey, Range, Serving, ServingId};

use crate::inventory::Inventory;
use crate::manifest::{EndpointSlice, ObjectKey, Service};
use backends::Candidates;
pub use balanced::{BalancedPort, balanced_ports};
pub use by_node::{PortByNode, ports_by_node};
pub use health::{Health, healths};
pub use hosted::hosted_at;

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
    /// Nodes lead their own port there.
    Node,
    /// This node leads its own port to a pod.
    Pod,
}

impl Claim {
    /// How much of the address it claims: as with kube-proxy, only an address of the cluster, which
    /// the cluster gives, refuses what is at no port of its Service.
    #[must_use]
    pub const fn extent(self) -> Extent {
        match self {
            Self::Cluster | Self::Node | Self::Pod => Extent::Whole,
            Self::Balanced | Self::External => Extent::Fronts,
        }
    }
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
    let node_ports = service.fronts.node_ports.iter().copied().chain(std::iter::repeat(None));
    for (port, node_port) in service.ports.iter().zip(node_ports) {
        for v6 in [false, true] {
            let addresses: Vec<_> =
                addresses(service).filter(|(_, address)| address.is_ipv6() == v6).collect();
            if addresses.is_empty() {
                continue;
            }
            let id = id(port.protocol, port.number, v6);
            let who = Who::of(service, &Candidates::of(slices, port, v6), id, here);
            for (claim, address) in addresses {
                let number = number_of(port.protocol);
                let at = if claim == Claim::Node { node_port } else { Some(port.number) };
                let Some(at) = at else { continue };
                let key = FrontKey { address: address.into(), port: at, number };
                let front = who.front(service, claim, v6);
                asked.entry(key).or_insert(Asked { key, claim, front });
            }
        }
    }
    asked.into_values().collect()
}

/// Who serves at one port of a Service, by where it is asked.
struct Who {
    all: Arc<Serving>,
    /// Those of this node, where some clients are given no others.
    near: Option<Arc<Serving>>,
}

impl Who {
    fn of(service: &Service, candidates: &Candidates<'_>, id: ServingId, here: &Here) -> Self {
        let fronts = &service.fronts;
        let affinity_ms = u64::from(fronts.affinity_s.unwrap_or(0)) * 1000;
        let near = || Arc::new(candidates.serving_near(id, affinity_ms, here));
        Self {
            all: Arc::new(candidates.serving(id, affinity_ms, here)),
            near: (fronts.is_local || fronts.is_local_beyond).then(near),
        }
    }

    fn front(&self, service: &Service, claim: Claim, v6: bool) -> Front {
        let fronts = &service.fronts;
        let all = || Arc::clone(&self.all);
        let beyond = self.near.clone().filter(|_| fronts.is_local_beyond);
        match claim {
            Claim::Cluster => {
                let near = self.near.clone().filter(|_| fronts.is_local);
                Front { serving: near.unwrap_or_else(all), beyond: None, sources: None }
            }
            Claim::External | Claim::Node | Claim::Pod => {
                Front { serving: all(), beyond, sources: None }
            }
            Claim::Balanced => {
                let sources = fronts.sources.as_deref().and_then(|all| ranges(all, v6));
                Front { serving: all(), beyond, sources }
            }
        }
    }
}

/// The addresses of a Service, and why each is.
pub fn addresses(service: &Service) -> impl Iterator<Item = (Claim, IpAddr)> {
    let fronts = &service.fronts;
    let of = |claim, addresses| std::iter::repeat(claim).zip(addresses);
    let cluster = of(Claim::Cluster, &fronts.cluster);
    let balanced = of(Claim::Balanced, &fronts.balanced);
    let all = cluster.chain(balanced).chain(of(Claim::External, &fronts.external));
    let has_node_ports = fronts.node_ports.iter().any(Option::is_some);
    // Nodes lead their ports to one address of the switch in each family that the Service has.
    let nodes = fronts.cluster.iter().filter(move |_| has_node_ports);
    let nodes = nodes.map(|own| (Claim::Node, node_port_address(own.is_ipv6())));
    all.map(|(claim, address)| (claim, *address)).chain(nodes)
}

/// The addresses of a Service, ascending, and how much of each is its own.
#[must_use]
pub fn extents(service: &Service) -> Vec<(IpAddr, Extent)> {
    once(addresses(service).map(|(claim, address)| (address, claim.extent())).collect())
}

/// Each address once: the lesser extent counts.
fn once(mut all: Vec<(IpAddr, Extent)>) -> Vec<(IpAddr, Extent)> {
    all.sort_unstable();
    all.dedup_by_key(|one| one.0);
    all
}

/// Where the node's stack leads what comes to its node ports.
#[must_use]
pub fn node_port_address(v6: bool) -> IpAddr {
    (if v6 { NODE_PORTS_V6 } else { NODE_PORTS_V4 }).into()
}

/// As whom the switch asks backends elsewhere.
#[must_use]
pub fn asking_address(v6: bool) -> IpAddr {
    (if v6 { ASKING_V6 } else { ASKING_V4 }).into()
}

/// A port at which every address of a node leads to a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodePort {
    /// The number of its protocol.
    pub protocol: u8,
    /// Its own number.
    pub number: u16,
    /// Of IPv6, else of IPv4.
    pub v6: bool,
    /// Whether clients from beyond the node keep their address (`externalTrafficPolicy: Local`).
    pub keeps_source: bool,
}

/// The node ports of all Services, ascending.
pub fn node_ports<'s>(services: impl Iterator<Item = &'s Service>) -> Vec<NodePort> {
    let mut all = Vec::new();
    for service in services.filter(|service| service.fronts.is_whole) {
        let fronts = &service.fronts;
        for (port, number) in service.ports.iter().zip(&fronts.node_ports) {
            let Some(number) = *number else { continue };
            let (protocol, keeps_source) = (number_of(port.protocol), fronts.is_local_beyond);
            let of = |own: &IpAddr| NodePort { protocol, number, v6: own.is_ipv6(), keeps_source };
            all.extend(fronts.cluster.iter().map(of));
        }
    }
    all.sort_unstable();
    all.dedup_by_key(|one| (one.protocol, one.number, one.v6));
    all.sort_unstable();
    all
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
    let mut add = |key: &ObjectKey, asked: Vec<Asked>| {
        for Asked { key: at, claim, front } in asked {
            let better = (claim, key.clone());
            match found.get(&at) {
                Some((other, _)) if *other < better => {}
                _ => _ = found.insert(at, (better, front)),
            }
        }
    };
    for service in inventory.services() {
        let key = &service.metadata.key;
        let slices = slices.get(&(&*key.namespace, &*key.name)).map_or(&[][..], Vec::as_slice);
        addresses_of.extend(extents(service));
        add(key, asked_at(service, slices, here, |_, _, _| ServingId(0)));
    }
    for pod in inventory.pods() {
        add(&pod.metadata.key, hosted_at(pod, |_, _, _| ServingId(0)));
    }
    let fronts = found.into_iter().map(|(at, ((_, by), front))| (at, by, front)).collect();
    Served { fronts, addresses: once(addresses_of) }
}

/// What [`serve`] finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Ascending, with the Service that is asked there.
    pub fronts: Vec<(FrontKey, ObjectKey, Front)>,
    /// Ascending.
    pub addresses: Vec<(IpAddr, Extent)>,
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

/// Who may ask in a family; `None` is everybody, as in a family of which nothing is said where
/// something is of the other, and where one range is all of it.
fn let_in(sources: &[IpNet], v6: bool) -> Option<Vec<IpNet>> {
    let own = || sources.iter().filter(|net| net.addr().is_ipv6() == v6);
    let is_open = own().next().is_none() || own().any(|net| net.prefix_len() == 0);
    (sources.is_empty() || !is_open).then(|| own().copied().collect())
}

/// The same, as the switch asks it.
fn ranges(sources: &[IpNet], v6: bool) -> Option<Arc<[Range]>> {
    let range = |net: IpNet| Range { first: net.network().into(), last: net.broadcast().into() };
    Some(let_in(sources, v6)?.into_iter().map(range).collect())
}

#[cfg(test)]
mod tests;
