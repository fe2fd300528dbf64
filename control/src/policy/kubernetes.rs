//! `NetworkPolicy` of Kubernetes in the ordered form: allows only, in the tier `default`.
//!
//! They are a union: all have one order, whatever one lets pass no other can take back, and the
//! end of their tier denies (NP-6). A broken rule matches nothing, a lost policy is for every pod.

use std::sync::Arc;

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::Direction;

use super::order::Order;
use super::rule::{Action, IpProtocol, Listed, Ports, Rule, Side, Traffic};
use super::selection::{Selection, Within};
use super::tier::{DEFAULT_TIER, NETWORK_POLICY_ORDER};
use super::{Kind, OrderedPolicy, StagedAction};
use crate::expression::Expression;
use crate::manifest::fields::{Place, Report};
use crate::manifest::tree::{Node, Value};
use crate::manifest::{self, Metadata, NetworkPolicy, Peer, PortPattern, WhichPorts};

/// The ordered form of a policy, enforced or staged.
#[must_use]
pub fn lower(policy: &NetworkPolicy, staged: Option<StagedAction>) -> OrderedPolicy {
    let namespace = &policy.metadata.key.namespace;
    let is_lost = policy.metadata.key.is_lost();
    let within = if is_lost { Within::Anywhere } else { Within::Namespace(namespace.clone()) };
    let rules = |direction| {
        let rules = policy.rules(direction)?;
        let lower_rule = |rule: &Option<manifest::Rule>| match rule {
            Some(rule) => Listed::rule(lower_rule(rule, namespace)),
            None => Listed::Nothing,
        };
        Some(rules.iter().map(lower_rule).collect())
    };
    OrderedPolicy {
        kind: Kind::NetworkPolicy,
        tier: Some(DEFAULT_TIER.into()),
        order: Order::of(NETWORK_POLICY_ORDER),
        subject: Selection::pods(within, Expression::from(&policy.subjects)),
        ingress: rules(Direction::Ingress),
        egress: rules(Direction::Egress),
        staged,
        metadata: policy.metadata.clone(),
    }
}

/// Reads a `StagedKubernetesNetworkPolicy`: a `NetworkPolicy` and what is to become of it.
pub(crate) fn read_staged(
    root: &Place<'_>,
    metadata: Metadata,
    is_current: bool,
    report: &mut Report<'_>,
) -> OrderedPolicy {
    let action = root.field("spec").and_then(|spec| spec.field("stagedAction"));
    let action = StagedAction::read(action, report);
    let plain = without_action(root.node);
    let policy = NetworkPolicy::read(&Place::root(&plain), metadata, is_current, report);
    let kind = Kind::StagedKubernetesNetworkPolicy;
    OrderedPolicy { kind, ..lower(&policy, Some(action)) }
}

/// The object as if it were enforced.
fn without_action(root: &Node) -> Node {
    let mut plain = root.clone();
    if let Value::Map(fields) = &mut plain.value {
        for (_, spec) in fields.iter_mut().filter(|(name, _)| name == "spec") {
            if let Value::Map(fields) = &mut spec.value {
                fields.retain(|(name, _)| name != "stagedAction");
            }
        }
    }
    plain
}

fn lower_rule(rule: &manifest::Rule, namespace: &Arc<str>) -> Rule {
    let peers = rule.peers.iter().map(|peer| lower_peer(peer, namespace)).collect();
    let traffic = rule.ports.iter().map(lower_port).collect();
    Rule {
        name: None,
        action: Action::Allow,
        own: Side::default(),
        // Nothing listed is everything there (NP-9), and nothing here.
        peers: if rule.peers.is_empty() { vec![Side::default()] } else { peers },
        traffic: if rule.ports.is_empty() { vec![Traffic::default()] } else { traffic },
    }
}

fn lower_peer(peer: &Peer, namespace: &Arc<str>) -> Side {
    match peer {
        Peer::Pods { namespaces, pods } => {
            let within = match namespaces {
                Some(selector) => Within::selected(selector),
                None => Within::Namespace(namespace.clone()),
            };
            let labels = pods.as_ref().map_or(Expression::All, Expression::from);
            Side { selection: Some(Selection::pods(within, labels)), ..Side::default() }
        }
        Peer::Block { cidr, except } => {
            Side { nets: Some(vec![*cidr]), not_nets: except.clone(), ..Side::default() }
        }
    }
}

fn lower_port(port: &PortPattern) -> Traffic {
    let target_ports = match &port.which {
        WhichPorts::All => None,
        WhichPorts::Range(first, last) => Some(vec![Ports::Range(*first, *last)]),
        WhichPorts::Named(name) => Some(vec![Ports::Named(name.clone())]),
    };
    Traffic { protocol: Some(number(port.protocol)), target_ports, ..Traffic::default() }
}

/// The number of a protocol that has a name.
#[must_use]
pub fn number(protocol: Protocol) -> IpProtocol {
    match protocol {
        Protocol::Tcp => IpProtocol::TCP,
        Protocol::Udp => IpProtocol::UDP,
        Protocol::Sctp => IpProtocol::SCTP,
        Protocol::Icmp => IpProtocol::ICMP,
        Protocol::IcmpV6 => IpProtocol::ICMPV6,
        // No rule names it; 255 is reserved, so nothing has it.
        Protocol::Other => IpProtocol(255),
    }
}

#[cfg(test)]
mod tests;
