//! Inventory in, ruleset out: what a `NetworkPolicy` means. Pure.
//!
//! Selectors become sets of pods, named ports become numbers, per pod (NP-22); each set is made
//! once however many rules mean it. Selectors are answered from an index by label and namespace,
//! never by looking at every pod for every policy.
//!
//! A broken rule is left out and opens nothing; its policy is there and isolates (NP-59).

mod named;
mod ordered;
mod select;
mod sets;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lockgate_dataplane::ids::{EndpointId, Mac};
use lockgate_dataplane::policy::ruleset::{
    self, Action, Direction, Peers, PodIndex, Policy, PortRange, Ports, Ruleset, SetId,
};

use crate::inventory::{Census, DENIED_POLICY, Inventory, Resident};
use crate::manifest::{NetworkPolicy, Peer, PortPattern, Rule, WhichPorts};
use named::Named;
pub(crate) use ordered::{
    Doubt, Everyone, Group, Groups, Ordered, Outside, Pods, Realm, Wearer, Wears, World, renumbered,
};
use select::{Scope, Selection};
pub(crate) use sets::Sets;

/// What the dataplane is given, and what else is known of its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What decides.
    pub ruleset: Ruleset,
    /// The pods, by [`PodIndex`], sorted by namespace and name.
    pub pods: Vec<PodView>,
    /// The addresses of the node of the pods that have an interface, ascending.
    pub node_addresses: Vec<IpAddr>,
}

/// A pod beside its place in the ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its identity.
    pub endpoint: EndpointId,
    /// Its addresses as written. One that an earlier pod has too is not in the ruleset's pod.
    pub addresses: Arc<[IpAddr]>,
    /// The interface at the switch's side: the pod is on this node. No two pods have the same.
    pub interface: Option<String>,
    /// Its Ethernet address, where written.
    pub mac: Option<Mac>,
    /// The addresses of its node.
    pub host_ips: Arc<[IpAddr]>,
}

/// Works out what the inventory means.
#[must_use]
pub fn resolve(inventory: &Inventory) -> Resolved {
    let census = Census::of(inventory);
    let mut resolver = Resolver::new(inventory, &census);
    let mut policies: Vec<Policy> =
        inventory.policies().map(|policy| resolver.policy(policy)).collect();
    let ordered = Ordered::new(inventory, &census.residents);
    let others = inventory.ordered_policies();
    policies.extend(others.filter_map(|one| ordered.policy(one, &mut resolver.sets)));
    let denied: Vec<PodIndex> = (0u32..)
        .zip(&census.residents)
        .filter(|(_, resident)| resident.is_denied)
        .map(|(place, _)| PodIndex(place))
        .collect();
    if !denied.is_empty() {
        let subjects = resolver.sets.of_pods(denied);
        let (ingress, egress) = (Some([].into()), Some([].into()));
        // Its name sorts before every name that an object can have.
        policies.insert(0, Policy::isolating(DENIED_POLICY.into(), subjects, ingress, egress));
    }
    let pods = census
        .residents
        .iter()
        .map(|one| ruleset::Pod { endpoint: one.endpoint, addresses: one.owned.as_slice().into() });
    let ruleset = Ruleset { pods: pods.collect(), sets: resolver.sets.into_list(), policies };
    let local = census.residents.iter().map(|one| one.pod).filter(|pod| pod.interface.is_some());
    let node_addresses = census.node_addresses(local).into_iter().collect();
    Resolved { ruleset, pods: views(&census.residents), node_addresses }
}

fn views(residents: &[Resident<'_>]) -> Vec<PodView> {
    let mut claims: BTreeMap<&str, u32> = BTreeMap::new();
    for name in residents.iter().filter_map(|one| one.pod.interface.as_deref()) {
        *claims.entry(name).or_default() += 1;
    }
    residents
        .iter()
        .map(|one| {
            let (key, pod) = (&one.pod.metadata.key, one.pod);
            let is_sole = |name: &&str| claims.get(name) == Some(&1);
            PodView {
                namespace: Arc::clone(&key.namespace),
                name: Arc::clone(&key.name),
                endpoint: one.endpoint,
                addresses: pod.addresses.clone(),
                interface: pod.interface.as_deref().filter(is_sole).map(str::to_owned),
                mac: pod.mac,
                host_ips: pod.host_ips.clone(),
            }
        })
        .collect()
}

/// What rules are resolved with.
struct Resolver<'i> {
    inventory: &'i Inventory,
    selection: Selection<'i>,
    named: Named<'i>,
    sets: Sets,
}

impl<'i> Resolver<'i> {
    fn new(inventory: &'i Inventory, census: &'i Census<'i>) -> Self {
        Self {
            inventory,
            selection: Selection::new(inventory, census),
            named: Named::new(census),
            sets: Sets::default(),
        }
    }

    fn policy(&mut self, policy: &'i NetworkPolicy) -> Policy {
        let key = &policy.metadata.key;
        // Of a lost one nobody can tell whom it was to isolate.
        let scope = if key.is_lost() { Scope::All } else { Scope::Own(&key.namespace) };
        let subjects = self.selection.set(scope, Some(&policy.subjects), &mut self.sets);
        let mut side = |direction| {
            let listed = policy.rules(direction)?;
            Some(self.rules(listed, &key.namespace, subjects, direction).into())
        };
        let (ingress, egress) = (side(Direction::Ingress), side(Direction::Egress));
        let name: Arc<str> = format!("{}/{}", key.namespace, key.name).into();
        let stage = self.inventory.stage(key);
        Policy { stage, ..Policy::isolating(name, subjects, ingress, egress) }
    }

    fn rules(
        &mut self,
        listed: &'i [Option<Rule>],
        namespace: &'i str,
        subjects: SetId,
        direction: Direction,
    ) -> Vec<ruleset::Rule> {
        let mut resolved = Vec::new();
        for (index, rule) in (0u32..).zip(listed) {
            // A broken rule opens nothing.
            let Some(rule) = rule else { continue };
            let peers = self.peers(rule, namespace);
            if rule.ports.is_empty() {
                let ports = Ports::Any;
                resolved.push(ruleset::Rule {
                    index,
                    action: Action::Allow,
                    subjects: None,
                    peers,
                    ports,
                });
                continue;
            }
            let ranges: Vec<PortRange> = rule.ports.iter().filter_map(range).collect();
            for pattern in &rule.ports {
                let WhichPorts::Named(name) = &pattern.which else { continue };
                let found = match direction {
                    Direction::Ingress => self.own_ports(name, pattern, subjects, &peers),
                    Direction::Egress => self.peer_ports(name, pattern, rule, &peers),
                };
                resolved.extend(found.into_iter().map(|(port, subjects, peers)| {
                    let range = PortRange::of_target(pattern.protocol, port, port);
                    let ports = Ports::Ranges(vec![range]);
                    ruleset::Rule { index, action: Action::Allow, subjects, peers, ports }
                }));
            }
            if !ranges.is_empty() {
                let ports = Ports::Ranges(ranges);
                resolved.push(ruleset::Rule {
                    index,
                    action: Action::Allow,
                    subjects: None,
                    peers,
                    ports,
                });
            }
        }
        resolved
    }

    fn peers(&mut self, rule: &'i Rule, namespace: &'i str) -> Peers {
        if rule.peers.is_empty() {
            return Peers::Any;
        }
        let mut ids: Vec<SetId> = rule
            .peers
            .iter()
            .map(|peer| match peer {
                Peer::Pods { namespaces, pods } => {
                    let scope = namespaces.as_ref().map_or(Scope::Own(namespace), Scope::Matching);
                    self.selection.set(scope, pods.as_ref(), &mut self.sets)
                }
                Peer::Block { cidr, except } => self.sets.of_block(*cidr, except.clone()),
            })
            .collect();
        ids.sort();
        ids.dedup();
        Peers::Sets(ids)
    }

    /// A named port at ingress: a number for each group of subjects that agree on it.
    fn own_ports(
        &mut self,
        name: &'i str,
        pattern: &PortPattern,
        subjects: SetId,
        peers: &Peers,
    ) -> Vec<(u16, Option<SetId>, Peers)> {
        self.named
            .of_set(subjects, name, pattern.protocol, &mut self.sets)
            .iter()
            .map(|(port, pods)| (*port, Some(*pods), peers.clone()))
            .collect()
    }

    /// A named port at egress: a number for each group of peer pods that agree on it. Addresses
    /// of no pod have no names.
    fn peer_ports(
        &mut self,
        name: &'i str,
        pattern: &PortPattern,
        rule: &'i Rule,
        peers: &Peers,
    ) -> Vec<(u16, Option<SetId>, Peers)> {
        let protocol = pattern.protocol;
        let mut by_port: BTreeMap<u16, Vec<SetId>> = BTreeMap::new();
        let mut add = |groups: &[(u16, SetId)]| {
            for (port, set) in groups {
                by_port.entry(*port).or_default().push(*set);
            }
        };
        match peers {
            Peers::Any => add(self.named.of_everyone(name, protocol, &mut self.sets)),
            Peers::Sets(ids) => {
                for id in ids {
                    add(self.named.of_set(*id, name, protocol, &mut self.sets));
                }
            }
        }
        for peer in &rule.peers {
            if let Peer::Block { .. } = peer {
                add(self.named.of_block(peer, name, protocol, &mut self.sets));
            }
        }
        by_port.into_iter().map(|(port, sets)| (port, None, Peers::Sets(sets))).collect()
    }
}

/// The numbers of a pattern that has them.
pub(crate) fn range(pattern: &PortPattern) -> Option<PortRange> {
    let (first, last) = match pattern.which {
        WhichPorts::All => (0, u16::MAX),
        WhichPorts::Range(first, last) => (first, last),
        WhichPorts::Named(_) => return None,
    };
    Some(PortRange::of_target(pattern.protocol, first, last))
}

#[cfg(test)]
mod tests;
