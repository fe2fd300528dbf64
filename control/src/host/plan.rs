//! What the node's stack shall be, from the cluster's objects. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::netfilter::Family;
use crate::attach::{GATEWAY_V4, GATEWAY_V6, InterfaceName, MAIN_TABLE, Route};
use crate::services::{BalancedPort, NodePort, PortByNode, asking_address, node_port_address};

/// Who made our routes, in `rtm_protocol`: 76, the letter L, which nobody in iproute2's
/// `rt_protos` has. `ip route show proto 76` shows them.
pub const PROTOCOL: u8 = 76;

/// A node's part in the pods' network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeNets {
    /// The networks of its pods (`spec.podCIDRs`).
    pub pod_cidrs: Vec<IpNet>,
    /// Its addresses (`status.addresses`), in their order.
    pub addresses: Vec<IpAddr>,
}

/// What the node's stack shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// The far end of the host port, in the agent's own network namespace.
    pub peer: InterfaceName,
    /// The networks of this node's pods.
    pub pod_cidrs: Vec<IpNet>,
    /// The networks of all nodes' pods, this one's too, sorted and aggregated.
    pub cluster_pod_cidrs: Vec<IpNet>,
    /// Addresses of attached pods that are in none of these any more, see [`Self::keep_attached`].
    pub strays: Vec<IpNet>,
    /// Addresses of services that are reached through the switch, by the node too.
    pub service_cidrs: Vec<IpNet>,
    /// The addresses of this node.
    pub node_addresses: Vec<IpAddr>,
    /// The addresses that the switch takes for this node's own and lets in, where there are more.
    pub let_in: Vec<IpAddr>,
    /// The addresses of every node.
    pub all_node_addresses: Vec<IpAddr>,
    /// Whether what pods send out of the cluster gets an address of this node.
    pub masquerade: bool,
    /// The networks of other nodes' pods, each with its node's addresses.
    pub other_nodes: Vec<NodeNets>,
    /// The ports of this node that lead to Services.
    pub node_ports: Vec<NodePort>,
    /// Whether pods here are asked at ports of the node by its loopback too (`hostPort`): the portmap
    /// plugin lets the peer pass that when a pod comes, and a peer that is made anew does not.
    pub is_asked_by_loopback: bool,
    /// The ports at which the node's own stack leads clients to itself.
    pub by_node: Vec<PortByNode>,
    /// The ports of load balancers' addresses, see [`Self::lead_balanced`].
    pub balanced: Vec<BalancedPort>,
}

/// Why a plan would break the node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It would lead everything to the switch.
    #[error(
        "{what} {net} holds every address of its family: the node would reach nothing else; \
         give a longer prefix"
    )]
    Everything {
        /// Which network it is.
        what: &'static str,
        /// The network.
        net: IpNet,
    },
    /// It would lead nodes, or what never leaves a link, to the switch.
    #[error(
        "{what} {net} holds {address}, which is {whose}: the node would no longer reach it; \
         choose networks that do not overlap"
    )]
    Overlap {
        /// Which network it is.
        what: &'static str,
        /// The network.
        net: IpNet,
        /// What is in it.
        address: IpAddr,
        /// What that is.
        whose: &'static str,
    },
}

impl HostPlan {
    /// The plan of a node; `all` may name the node itself too.
    ///
    /// # Errors
    /// [`PlanError`] where a network would lead packets of the node itself astray.
    pub fn new<'a>(
        peer: InterfaceName,
        own: &'a NodeNets,
        all: impl IntoIterator<Item = &'a NodeNets>,
        service_cidrs: &[IpNet],
        masquerade: bool,
    ) -> Result<Self, PlanError> {
        let nodes: Vec<&NodeNets> = std::iter::once(own).chain(all).collect();
        let cidrs: Vec<IpNet> = nodes.iter().flat_map(|node| &node.pod_cidrs).copied().collect();
        let mut addresses: Vec<IpAddr> =
            nodes.iter().flat_map(|node| &node.addresses).copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        let plan = Self {
            peer,
            pod_cidrs: aggregate(&own.pod_cidrs),
            cluster_pod_cidrs: aggregate(&cidrs),
            strays: Vec::new(),
            service_cidrs: aggregate(service_cidrs),
            node_addresses: own.addresses.clone(),
            let_in: Vec::new(),
            all_node_addresses: addresses,
            masquerade,
            other_nodes: nodes
                .iter()
                .skip(1)
                .filter(|node| **node != own)
                .copied()
                .cloned()
                .collect(),
            node_ports: Vec::new(),
            is_asked_by_loopback: false,
            by_node: Vec::new(),
            balanced: Vec::new(),
        };
        plan.check()?;
        Ok(plan)
    }

    /// Whether it leaves the node what it needs. For a plan whose fields were set one by one.
    ///
    /// # Errors
    /// [`PlanError`] where a network would lead packets of the node itself astray.
    pub fn check(&self) -> Result<(), PlanError> {
        let routed = self.routed();
        for (what, net) in routed {
            if net.prefix_len() == 0 {
                return Err(PlanError::Everything { what, net });
            }
            self.leaves(what, net)?;
        }
        Ok(())
    }

    /// Whether a network leaves the node what is not the switch's.
    fn leaves(&self, what: &'static str, net: IpNet) -> Result<(), PlanError> {
        let nodes = self.all_node_addresses.iter().map(|address| (*address, "a node's"));
        let mut kept = nodes.chain([
            (IpAddr::V4(GATEWAY_V4), "the gateway of the pods"),
            (IpAddr::V6(GATEWAY_V6), "the gateway of the pods"),
            (node_port_address(false), "the switch's own"),
            (asking_address(false), "the switch's own"),
            (node_port_address(true), "the switch's own"),
            (asking_address(true), "the switch's own"),
            (IpAddr::from([127, 0, 0, 1]), "the node's loopback"),
        ]);
        match kept.find(|(address, _)| net.contains(address)) {
            Some((address, whose)) => Err(PlanError::Overlap { what, net, address, whose }),
            None => Ok(()),
        }
    }

    /// Takes in where load balancers' addresses are asked, of the families that there are pods of;
    /// gives why some are not led to the switch. One that cannot be holds up no other.
    pub fn lead_balanced(&mut self, ports: Vec<BalancedPort>) -> Vec<PlanError> {
        let (mut led, mut refused) = (ports, Vec::new());
        led.retain(|own| self.has(Family::of(own.address)));
        led.retain(|own| {
            let left = self.leaves("the load balancer's address", IpNet::from(own.address));
            left.map_err(|error| refused.push(error)).is_ok()
        });
        refused.dedup();
        self.balanced = led;
        refused
    }

    /// Every network that is reached through the switch, with what it is.
    fn routed(&self) -> impl Iterator<Item = (&'static str, IpNet)> {
        let pods = self.pod_cidrs.iter().map(|net| ("the pod network", *net));
        let pods =
            pods.chain(self.strays.iter().map(|net| ("the address of an attached pod", *net)));
        pods.chain(self.service_cidrs.iter().map(|net| ("the service network", *net)))
    }

    /// Keeps the way to attached pods whose addresses the node's networks have no more: what the
    /// node and they had begun goes on. An address that is not the switch's to take is left out.
    pub fn keep_attached(&mut self, attached: impl IntoIterator<Item = IpAddr>) {
        let mut strays: Vec<IpNet> = attached.into_iter().map(IpNet::from).collect();
        strays.sort_unstable();
        strays.dedup();
        strays.retain(|one| !self.routed().any(|(_, net)| net.contains(one)));
        strays.retain(|one| self.leaves("the address of an attached pod", *one).is_ok());
        self.strays = strays;
    }

    /// The networks and addresses of this node's pods.
    pub(super) fn own_pods(&self) -> Vec<IpNet> {
        self.pod_cidrs.iter().chain(&self.strays).copied().collect()
    }

    /// Whether pods or services have addresses of a family.
    pub(super) fn has(&self, family: Family) -> bool {
        self.routed().any(|(_, net)| family.has(&net))
    }

    /// The address of a family that the node's own packets to pods bear: of the node's, the first
    /// that is on one of its interfaces. A cloud lists outside addresses that are on none.
    pub(super) fn source(&self, family: Family, here: &[IpAddr]) -> Option<IpAddr> {
        let mut own = self.node_addresses.iter().copied();
        own.find(|address| Family::of(*address) == family && here.contains(address))
    }

    /// The routes of the main table that lead to the switch, where the peer has this number and the node these
    /// addresses.
    ///
    /// The gateway itself is routed too: it sends ICMP errors, and a strict reverse path filter
    /// takes them from where it would answer. IPv6 has it on the link already. And so are the
    /// addresses of the switch's own.
    pub(super) fn routes(&self, peer: u32, here: &[IpAddr]) -> Vec<Route> {
        let mut routes = Vec::new();
        for family in Family::BOTH {
            let source = self.source(family, here);
            let gateway = gateway(family);
            let route = |destination, gateway| Route {
                destination,
                gateway,
                interface: peer,
                source,
                protocol: PROTOCOL,
                table: MAIN_TABLE,
            };
            if family == Family::V4 && self.has(family) {
                routes.push(route(IpNet::from(gateway), None));
            }
            let v6 = family == Family::V6;
            let own = [node_port_address(v6), asking_address(v6)].map(IpNet::from);
            let own = own.into_iter().filter(|_| self.has(family));
            let nets = self.routed().map(|(_, net)| net).filter(|net| family.has(net)).chain(own);
            routes.extend(nets.map(|net| route(net, Some(gateway))));
        }
        routes
    }
}

impl HostPlan {
    /// The routes to the pods of other nodes that are on a link of this one, and the nodes that are
    /// not: how their pods are reached is the affair of whoever joins the links.
    ///
    /// `main` are the routes there are. One that somebody else made, a cloud's, is left as it is.
    pub(super) fn routes_to_nodes(&self, main: &[Route]) -> (Vec<Route>, Vec<IpAddr>) {
        let (mut routes, mut far) = (Vec::new(), Vec::new());
        for node in &self.other_nodes {
            for net in node.pod_cidrs.iter().map(IpNet::trunc) {
                let is_like = |address: &&IpAddr| address.is_ipv4() == net.addr().is_ipv4();
                let Some(gateway) = node.addresses.iter().find(is_like) else { continue };
                let is_others =
                    |route: &Route| route.destination == net && route.protocol != PROTOCOL;
                if main.iter().any(is_others) {
                    continue;
                }
                let links = main.iter().filter(|route| {
                    let is_link = route.gateway.is_none() && route.protocol != PROTOCOL;
                    is_link && route.destination.contains(gateway)
                });
                let Some(link) = links.max_by_key(|route| route.destination.prefix_len()) else {
                    far.push(*gateway);
                    continue;
                };
                routes.push(Route {
                    destination: net,
                    gateway: Some(*gateway),
                    interface: link.interface,
                    source: None,
                    protocol: PROTOCOL,
                    table: MAIN_TABLE,
                });
            }
        }
        (routes, far)
    }
}

/// What the node sends to the switch goes by this address.
pub(super) fn gateway(family: Family) -> IpAddr {
    match family {
        Family::V4 => GATEWAY_V4.into(),
        Family::V6 => GATEWAY_V6.into(),
    }
}

/// Sorted, without host bits, and joined where they make up a larger one.
fn aggregate(nets: &[IpNet]) -> Vec<IpNet> {
    IpNet::aggregate(&nets.to_vec())
}
