//! The table `inet lockgate`: whose address packets bear when they leave the node, or for a pod.
//!
//! ```text
//! nft list table inet lockgate
//! ```
//!
//! Two rules for each family:
//!
//! 1. What the node itself sends to a pod bears a node address, also where it spoke from another
//!    one of its addresses: from 127.0.0.1 to a host port, or as masqueraded by another rule. The
//!    switch knows the node by that (NP-40).
//! 2. What pods send to anywhere but pods and nodes gets an address of the interface it leaves by.
//!
//! The chain is asked shortly before those of others, for a connection's address is changed once:
//! the first to change it is the only one.

use std::net::IpAddr;

use super::netfilter::{Chain, Expressions, Family, NetSet, Table};
use super::plan::HostPlan;

/// Its name, in the family `inet`.
pub const NAME: &str = "lockgate";

/// Ten before `srcnat`.
const PRIORITY: i32 = 90;

/// The table that a plan needs on a node with these addresses; `None` where it needs none.
pub(super) fn wanted(plan: &HostPlan, here: &[IpAddr]) -> Option<Table> {
    let (mut sets, mut rules) = (Vec::new(), Vec::new());
    for family in Family::BOTH {
        let set = |name: &str, nets: &[ipnet::IpNet]| {
            NetSet::new(format!("{name}{}", family.digit()), family, nets)
        };
        let addresses = |all: &[IpAddr]| -> Vec<ipnet::IpNet> {
            all.iter().map(|address| ipnet::IpNet::from(*address)).collect()
        };
        if let Some(source) = plan.source(family, here).filter(|_| plan.has(family)) {
            let node = set("node", &addresses(&plan.node_addresses));
            let rule = Expressions::of(family)
                .leaves_by(plan.peer.as_str())
                .source_is_local()
                .source(family, &node.name, false);
            rules.push(rule.source_becomes(source));
            sets.push(node);
        }
        let pods = set("pods", &plan.pod_cidrs);
        if plan.masquerade && !pods.is_empty() {
            let nets = [&plan.pod_cidrs, &plan.cluster_pod_cidrs].into_iter().flatten().copied();
            let inside: Vec<ipnet::IpNet> =
                nets.chain(addresses(&plan.all_node_addresses)).collect();
            let inside = set("inside", &inside);
            let rule = Expressions::of(family)
                .leaves_not_by(plan.peer.as_str())
                .source(family, &pods.name, true)
                .target(family, &inside.name, false);
            rules.push(rule.masquerade());
            sets.extend([pods, inside]);
        }
    }
    let chain = Chain { name: "postrouting", priority: PRIORITY, rules };
    (!chain.rules.is_empty()).then_some(Table { name: NAME, sets, chain })
}
