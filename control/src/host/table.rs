//! The table `inet lockgate`: whose address packets bear when they leave the node, or for a pod, and
//! who may not pass for the node.
//!
//! ```text
//! nft list table inet lockgate
//! ```
//!
//! Of each family, as packets leave:
//!
//! 1. What the node itself sends to a pod bears a node address, also where it spoke from another
//!    one of its addresses: from 127.0.0.1 to a host port, or as masqueraded by another rule. The
//!    switch knows the node by that (NP-40).
//! 2. What pods send to anywhere but pods and nodes gets an address of the interface it leaves by.
//! 3. So does what the switch asks of backends elsewhere, in the name of who came in by the host port.
//!
//! And where Services have node ports:
//!
//! 4. What comes to one, at any address of the node, is for the switch, at the same port.
//! 5. There it bears a node address as 1. (NP-43), but what comes to a Service that wants to know from
//!    whom (`externalTrafficPolicy: Local`), and what pods of this node send.
//!
//! 6. But where such a Service is served by a pod of the node's own network, it goes there itself, and
//!    so does what comes to a load balancer's address: the backend hears who asks.
//!
//! What the switch asks of the node itself bears a node address there, as kube-proxy has it:
//!
//! 7. The switch's own address, as whom it asks, becomes one when that is taken in.
//!
//! And whatever comes in from a link:
//!
//! 8. It goes to the switch by no address of this node, which would let it in everywhere (NP-40). The
//!    kernel refuses such senders only of IPv4, and only of addresses that are on an interface. What
//!    the node itself sends is never forwarded, so it is not asked; and what goes elsewhere is not the
//!    switch's to stop (a router may bear the link-local address of another link).
//! 9. Nor does it go there by an address of the switch's own, as its sender or as whom it is for: it
//!    would come to a host port as what the node led there, which bears an address of the node by 5.
//!
//! The chains that translate are asked shortly before those of others, for a connection's address is
//! changed once: the first to change it is the only one.

use std::net::IpAddr;

use ipnet::IpNet;

use super::netfilter::{Attribute, Chain, Expressions, Family, Hook, Set, Table};
use super::plan::HostPlan;
use crate::attach::{GATEWAY_V4, InterfaceName};
use crate::services::{asking_address, node_port_address};

/// Its name, in the family `inet`.
pub const NAME: &str = "lockgate";

/// Ten before `srcnat`.
const PRIORITY: i32 = 90;
/// Ten before `dstnat`.
const PRIORITY_IN: i32 = -110;
/// `raw`: before whoever might let them pass.
const PRIORITY_FIRST: i32 = -300;

/// What of a table is there so far.
#[derive(Debug, Default)]
struct Draft {
    sets: Vec<Set>,
    /// Rules of what comes in, of what is for the node, of what goes through, of what the node sends,
    /// and of what leaves.
    into: Vec<Vec<Attribute>>,
    taken: Vec<Vec<Attribute>>,
    through: Vec<Vec<Attribute>>,
    own: Vec<Vec<Attribute>>,
    out: Vec<Vec<Attribute>>,
}

/// The table that a plan needs on a node with these addresses; `None` where it needs none.
pub(super) fn wanted(plan: &HostPlan, here: &[IpAddr]) -> Option<Table> {
    let mut draft = Draft::default();
    for family in Family::BOTH {
        if plan.has(family) {
            draft.add_by_node(plan, family);
            if let Some(source) = plan.source(family, here) {
                draft.add_asking(plan, family, source);
                draft.add_node_ports(plan, family, source);
                draft.add_node(plan, family, source);
            }
            let asking = asking_address(family == Family::V6);
            let rule = Expressions::of(family).leaves_not_by(plan.peer.as_str());
            draft.out.push(rule.source_is(asking).masquerade());
            draft.add_pretenders(plan, family);
        }
        if plan.masquerade {
            draft.add_pods(plan, family);
        }
    }
    let chain = |name, hook, priority, rules| Chain { name, hook, priority, rules };
    let chains = [
        chain("prerouting", Hook::Prerouting, PRIORITY_IN, draft.into),
        chain("input", Hook::Input, PRIORITY, draft.taken),
        chain("forward", Hook::Forward, PRIORITY_FIRST, draft.through),
        chain("output", Hook::Output, PRIORITY_IN, draft.own),
        chain("postrouting", Hook::Postrouting, PRIORITY, draft.out),
    ];
    let chains: Vec<Chain> = chains.into_iter().filter(|chain| !chain.rules.is_empty()).collect();
    (!chains.is_empty()).then_some(Table { name: NAME, sets: draft.sets, chains })
}

impl Draft {
    /// The name of a set of networks, which is there from now on; `None` where it would be empty.
    fn nets(&mut self, name: &str, family: Family, nets: &[IpNet]) -> Option<String> {
        let set = Set::new(format!("{name}{}", family.digit()), family, nets);
        self.set(set)
    }

    fn set(&mut self, set: Set) -> Option<String> {
        let name = set.name.clone();
        if set.is_empty() {
            return None;
        }
        if self.sets.iter().all(|other| other.name != name) {
            self.sets.push(set);
        }
        Some(name)
    }

    fn add_node(&mut self, plan: &HostPlan, family: Family, source: IpAddr) {
        let Some(node) = self.nets("node", family, &alone(&plan.node_addresses)) else { return };
        let rule = Expressions::of(family)
            .leaves_by(plan.peer.as_str())
            .source_is_local()
            .source(family, &node, false);
        self.out.push(rule.source_becomes(source));
    }

    /// What the switch asks of this node. What asks it by a pod's address is that pod's.
    fn add_asking(&mut self, plan: &HostPlan, family: Family, source: IpAddr) {
        let asking = asking_address(family == Family::V6);
        let rule = Expressions::of(family).came_by(plan.peer.as_str());
        self.taken.push(rule.source_is(asking).source_becomes(source));
    }

    /// Who comes in from beyond, for who serves in the node's own network.
    fn add_by_node(&mut self, plan: &HostPlan, family: Family) {
        let own = plan.by_node.iter().filter(|port| Family::of(port.to.ip()) == family);
        for (port, number) in own.zip(0..) {
            let rule = Expressions::of(family);
            let mut rule = match port.address {
                Some(address) => rule.target_is(address),
                None => rule.target_is_local(),
            };
            if let Some(sources) = &port.sources {
                // Else the switch refuses them.
                let name = format!("clients{number}of");
                let Some(sources) = self.nets(&name, family, sources) else { continue };
                rule = rule.source(family, &sources, true);
            }
            let rule = rule.port_is(port.protocol, port.port);
            self.into.push(rule.target_becomes_both(port.to));
        }
    }

    /// Who came in from a link with an address of this node, be it on no interface: a cloud lists
    /// outside addresses that are on none, and the switch takes them for the node's all the same.
    fn add_pretenders(&mut self, plan: &HostPlan, family: Family) {
        let towards_switch = || leaving(family, &plan.peer);
        self.through.push(towards_switch().source_is_local().stops());
        let v6 = family == Family::V6;
        let front = node_port_address(v6);
        self.through.push(towards_switch().target_is(front).target_is_as_written().stops());
        let of_switch = [GATEWAY_V4.into(), front, asking_address(v6)];
        let known = plan.node_addresses.iter().chain(&plan.let_in).chain(&of_switch);
        let known: Vec<IpAddr> = known.copied().collect();
        if let Some(known) = self.nets("own", family, &alone(&known)) {
            self.through.push(towards_switch().source(family, &known, true).stops());
        }
    }

    fn add_pods(&mut self, plan: &HostPlan, family: Family) {
        let Some(pods) = self.nets("pods", family, &plan.own_pods()) else { return };
        let nets = plan.own_pods().into_iter().chain(plan.cluster_pod_cidrs.iter().copied());
        let inside: Vec<IpNet> = nets.chain(alone(&plan.all_node_addresses)).collect();
        let Some(inside) = self.nets("inside", family, &inside) else { return };
        let rule = Expressions::of(family)
            .leaves_not_by(plan.peer.as_str())
            .source(family, &pods, true)
            .target(family, &inside, false);
        self.out.push(rule.masquerade());
    }

    fn add_node_ports(&mut self, plan: &HostPlan, family: Family, source: IpAddr) {
        let v6 = family == Family::V6;
        let own = || plan.node_ports.iter().filter(|port| port.v6 == v6);
        let named = |name: &str| format!("{name}{}", family.digit());
        let port = |port: &crate::services::NodePort| (port.protocol, port.number);
        let all = Set::of_ports(named("ports"), own().map(port));
        let kept = own().filter(|port| port.keeps_source).map(port);
        let kept = Set::of_ports(named("kept"), kept);
        let Some(all) = self.set(all) else { return };
        let front = node_port_address(v6);
        let to_node = || Expressions::of(family).target_is_local().port(&all, true);
        self.into.push(to_node().target_becomes(front));
        // What the node says to its loopback stays there, as with kube-proxy.
        let loopback = if v6 { "::1/128" } else { "127.0.0.0/8" };
        let loopback: Vec<IpNet> = loopback.parse().into_iter().collect();
        if let Some(loopback) = self.nets("loopback", family, &loopback) {
            self.own.push(to_node().target(family, &loopback, false).target_becomes(front));
        }
        let mut rule = leaving(family, &plan.peer).target_is(front);
        // A pod of this node would pass for the node, and by every policy. The switch itself takes what
        // pods send to node ports, so this is what they sent to an address that it does not know.
        if let Some(pods) = self.nets("pods", family, &plan.own_pods()) {
            rule = rule.source(family, &pods, false);
        }
        if let Some(kept) = self.set(kept) {
            rule = rule.port(&kept, false);
        }
        self.out.push(rule.source_becomes(source));
    }
}

fn leaving(family: Family, peer: &InterfaceName) -> Expressions {
    Expressions::of(family).leaves_by(peer.as_str())
}

/// Each address as a network of one.
fn alone(addresses: &[IpAddr]) -> Vec<IpNet> {
    addresses.iter().map(|address| IpNet::from(*address)).collect()
}
