//! How far a rule is from allowing: which of its parts fail.
//!
//! A rule is as near as its nearest peer and its nearest port, the first written among equals.
//! A rule allows exactly when nothing fails, so this is the judge as well as the advice.

use std::net::IpAddr;

use lockgate_dataplane::packet::Protocol;
use serde::Serialize;

use super::RuleName;
use crate::manifest::{Peer, Pod, PortPattern, Rule, WhichPorts};
use crate::policy::kubernetes::number;
use crate::selector::{LabelSelector, Labels};

/// A part of a rule that can fail, in the order that failures are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The policy's tier, which is not there, or not known.
    Tier,
    /// What a rule of Calico says of its own side.
    Own,
    /// The namespace of the other pod.
    Namespace,
    /// The labels of the other pod.
    PodLabels,
    /// The service account of the other pod.
    Account,
    /// The block of addresses.
    Cidr,
    /// An exception of the block.
    Except,
    /// The service that it backs.
    Service,
    /// The node that it is.
    Node,
    /// The version of IP.
    Family,
    /// The protocol.
    Protocol,
    /// The message of ICMP.
    Message,
    /// The target port.
    Port,
    /// The source port.
    SourcePort,
    /// It cannot be known whether the rule matches.
    Unknown,
}

impl Part {
    /// Its name in text.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Tier => "tier",
            Self::Own => "own side",
            Self::Namespace => "namespace",
            Self::PodLabels => "pod labels",
            Self::Account => "service account",
            Self::Cidr => "CIDR",
            Self::Except => "except",
            Self::Service => "service",
            Self::Node => "node",
            Self::Family => "family",
            Self::Protocol => "protocol",
            Self::Message => "ICMP message",
            Self::Port => "port",
            Self::SourcePort => "source port",
            Self::Unknown => "unknown",
        }
    }
}

/// The rule that came nearest to allowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nearest {
    /// Its policy: `namespace/name`.
    pub policy: String,
    /// Its place in the policy's list for the direction, from 0.
    pub rule: u32,
    /// What failed, in the order of [`Part`].
    pub failed: Vec<Part>,
    /// What each of them wanted and what was there, in the same order.
    pub detail: Vec<String>,
}

/// A part that fails, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Miss {
    part: Part,
    detail: String,
}

impl Miss {
    pub(super) fn new(part: Part, detail: String) -> Self {
        Self { part, detail }
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.part == Part::Unknown
    }

    /// The same as a miss of another part.
    pub(super) fn of(self, part: Part) -> Self {
        Self { part, ..self }
    }
}

/// What a rule is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meeting<'q> {
    /// The policy's namespace.
    pub(super) namespace: &'q str,
    /// The other end, if selectors can see it.
    pub(super) other_pod: Option<&'q Pod>,
    /// The labels of its namespace, where they are known.
    pub(super) other_namespace: Option<&'q Labels>,
    /// The other end's address.
    pub(super) address: IpAddr,
    /// The other end's name.
    pub(super) shown: &'q str,
    /// The receiving pod, whose named ports count.
    pub(super) target: Option<&'q Pod>,
    pub(super) protocol: Protocol,
    /// The target port, 0 for protocols without.
    pub(super) port: u16,
}

/// The nearest of several rules: the fewest failures, then the policy's name, then its place.
pub(super) fn nearest(misses: Vec<(RuleName, Vec<Miss>)>) -> Option<Nearest> {
    let order = |one: &(RuleName, Vec<Miss>)| (one.1.len(), one.0.clone());
    let (name, best) = misses.into_iter().min_by_key(order)?;
    let (failed, detail) = best.into_iter().map(|miss| (miss.part, miss.detail)).unzip();
    Some(Nearest { policy: name.policy, rule: name.rule, failed, detail })
}

/// What keeps a rule from allowing; nothing when it allows.
pub(super) fn misses(rule: &Rule, meeting: &Meeting<'_>) -> Vec<Miss> {
    let of_peer = rule.peers.iter().map(|peer| peer_misses(peer, meeting));
    let of_port = rule.ports.iter().map(|port| port_misses(port, meeting));
    // `min_by_key` keeps the first of equals; none listed is everything (NP-9).
    let mut missed = of_peer.min_by_key(Vec::len).unwrap_or_default();
    missed.extend(of_port.min_by_key(Vec::len).unwrap_or_default());
    missed
}

fn peer_misses(peer: &Peer, meeting: &Meeting<'_>) -> Vec<Miss> {
    match peer {
        Peer::Pods { namespaces, pods } => {
            let namespace = namespace_miss(namespaces.as_ref(), meeting);
            let labels = pods.as_ref().and_then(|selector| labels_miss(selector, meeting));
            namespace.into_iter().chain(labels).collect()
        }
        Peer::Block { cidr, except } => {
            let address = meeting.address;
            if !cidr.contains(&address) {
                let detail = format!("{address} is not in {cidr}");
                return vec![Miss { part: Part::Cidr, detail }];
            }
            let hit = except.iter().find(|part| part.contains(&address));
            let told = |part| format!("{address} is in {part}, which is left out of {cidr}");
            hit.map(|part| Miss { part: Part::Except, detail: told(part) }).into_iter().collect()
        }
    }
}

fn namespace_miss(selector: Option<&LabelSelector>, meeting: &Meeting<'_>) -> Option<Miss> {
    let miss = |detail| Some(Miss { part: Part::Namespace, detail });
    let Some(pod) = meeting.other_pod else {
        return miss(format!("a pod wanted, {} is none that selectors see", meeting.shown));
    };
    let namespace = &*pod.metadata.key.namespace;
    match (selector, meeting.other_namespace) {
        (None, _) if namespace == meeting.namespace => None,
        (None, _) => miss(format!("{} wanted, is {namespace}", meeting.namespace)),
        (Some(_), None) => miss(format!("the labels of namespace {namespace} are not known")),
        (Some(selector), Some(labels)) if selector.matches(labels) => None,
        (Some(selector), Some(labels)) => {
            miss(format!("{} ({namespace})", selector.misses(labels).join("; ")))
        }
    }
}

fn labels_miss(selector: &LabelSelector, meeting: &Meeting<'_>) -> Option<Miss> {
    let miss = |detail| Some(Miss { part: Part::PodLabels, detail });
    match meeting.other_pod.and_then(|pod| pod.labels.as_ref()) {
        None => miss(format!("a pod wanted, {} is none that selectors see", meeting.shown)),
        Some(labels) if selector.matches(labels) => None,
        Some(labels) => miss(selector.misses(labels).join("; ")),
    }
}

fn port_misses(pattern: &PortPattern, meeting: &Meeting<'_>) -> Vec<Miss> {
    let mut missed = Vec::new();
    if pattern.protocol != meeting.protocol {
        let (wanted, asked) = (number(pattern.protocol), number(meeting.protocol));
        missed.push(Miss { part: Part::Protocol, detail: format!("{wanted} wanted, is {asked}") });
    }
    // A protocol without ports fails by the protocol alone.
    if meeting.protocol.has_ports() {
        missed.extend(which_miss(pattern, meeting));
    }
    missed
}

fn which_miss(pattern: &PortPattern, meeting: &Meeting<'_>) -> Option<Miss> {
    let port = meeting.port;
    let detail = match &pattern.which {
        WhichPorts::All => return None,
        WhichPorts::Range(first, last) if (*first..=*last).contains(&port) => return None,
        WhichPorts::Range(first, last) if first == last => format!("{first} wanted, is {port}"),
        WhichPorts::Range(first, last) => format!("{first}-{last} wanted, is {port}"),
        WhichPorts::Named(name) => {
            let known = |protocol| meeting.target.and_then(|pod| pod.port(name, protocol));
            // Where the protocol fails already, only what would still fail beside it counts.
            if known(pattern.protocol) == Some(port)
                || known(meeting.protocol) == Some(port) && pattern.protocol != meeting.protocol
            {
                return None;
            }
            if let Some(known) = known(pattern.protocol) {
                format!("{name} ({known}) wanted, is {port}")
            } else {
                let protocol = number(pattern.protocol);
                format!("{name} wanted, the target has no {protocol} port of that name")
            }
        }
    };
    Some(Miss { part: Part::Port, detail })
}
