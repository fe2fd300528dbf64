//! Ports at which clients from beyond the node are served by the node's own stack: their Service wants
//! to know from whom (`externalTrafficPolicy: Local`), and who serves it here is a pod of the host's
//! network. Pure.
//!
//! The switch could give such a client its backend only in its own name, for the answer to the client's
//! would leave past it. So the node's stack leads them there itself, and the backend sees who asks.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use lockgate_dataplane::service::ServingId;

use super::backends::Candidates;
use super::{Here, let_in, number_of};
use crate::inventory::Inventory;
use crate::manifest::{EndpointSlice, Service};

/// Where clients from beyond the node are led to its own stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortByNode {
    /// Which address they ask; `None` is any of the node's, of the family of [`Self::to`].
    pub address: Option<IpAddr>,
    /// The number of its protocol.
    pub protocol: u8,
    /// Which port they ask.
    pub port: u16,
    /// Who is let in, of this family; `None` is everybody.
    pub sources: Option<Vec<IpNet>>,
    /// Who serves them.
    pub to: SocketAddr,
}

/// Every such port, ascending, each address and port once. `own` are the node's addresses. Where pods
/// with addresses of their own serve beside the node, the switch chooses among all.
#[must_use]
pub fn ports_by_node(inventory: &Inventory, here: &Here, own: &[IpAddr]) -> Vec<PortByNode> {
    let services = inventory.services();
    let wanted = services.filter(|one| one.fronts.is_whole && one.fronts.is_local_beyond);
    let mut slices: BTreeMap<(&str, &str), (&Service, Vec<&EndpointSlice>)> = wanted
        .map(|one| {
            let key = &one.metadata.key;
            ((&*key.namespace, &*key.name), (one, Vec::new()))
        })
        .collect();
    if slices.is_empty() {
        return Vec::new();
    }
    for slice in inventory.slices() {
        let namespace = &*slice.metadata.key.namespace;
        let of = slice.service.as_deref().and_then(|name| slices.get_mut(&(namespace, name)));
        if let Some((_, found)) = of {
            found.push(slice);
        }
    }
    let services = slices.values();
    let mut all: Vec<PortByNode> =
        services.flat_map(|(service, slices)| of_service(service, slices, here, own)).collect();
    all.sort_unstable();
    all.dedup_by_key(|one| (one.address, one.protocol, one.port, one.to.is_ipv6()));
    all
}

fn of_service(
    service: &Service,
    slices: &[&EndpointSlice],
    here: &Here,
    own: &[IpAddr],
) -> Vec<PortByNode> {
    let fronts = &service.fronts;
    let node_ports = fronts.node_ports.iter().copied().chain(std::iter::repeat(None));
    let mut all = Vec::new();
    for (port, node_port) in service.ports.iter().zip(node_ports) {
        for v6 in [false, true] {
            let near = Candidates::of(slices, port, v6).serving_near(ServingId(0), 0, here);
            let by_node = near.chosen.iter().map(|one| (IpAddr::from(one.address), one.port));
            let mut by_node = by_node.peekable();
            let Some(to) = by_node.peek().copied().map(SocketAddr::from) else { continue };
            if !by_node.all(|(address, _)| own.contains(&address)) {
                continue;
            }
            let protocol = number_of(port.protocol);
            let of = |address, port, sources| PortByNode { address, protocol, port, sources, to };
            let is_asked = fronts.cluster.iter().any(|address| address.is_ipv6() == v6);
            all.extend(node_port.filter(|_| is_asked).map(|number| of(None, number, None)));
            let balanced = fronts.balanced.iter().filter(|address| address.is_ipv6() == v6);
            let sources = || fronts.sources.as_deref().and_then(|all| let_in(all, v6));
            all.extend(balanced.map(|address| of(Some(*address), port.number, sources())));
        }
    }
    all
}
