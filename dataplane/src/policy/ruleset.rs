//! What people meant, before it is compiled: policies over sets of addresses.
//!
//! Selectors are already resolved to pods and named ports to numbers, so nothing here knows
//! Kubernetes. A rule that depends on its own side (a named port on ingress, a Calico own-side
//! selector) says so in `Rule::subjects`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::ids::EndpointId;
use crate::packet::Protocol;

/// A pod's place in [`Ruleset::pods`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodIndex(pub u32);

/// A set's place in [`Ruleset::sets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(pub u32);

/// A policy's place in [`Ruleset::policies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(pub u32);

/// Everything that decides.
///
/// Places stay what they are while a ruleset is changed (`delta`), so some may be empty: a pod
/// without addresses, a set without members, a policy that isolates nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Pods with an address that are alive, on this node or another. No address occurs twice.
    pub pods: Vec<Pod>,
    /// The sets that policies and rules refer to.
    pub sets: Vec<PeerSet>,
    /// In any order. Where several rules allow, the cause is the first by [`Policy::order`].
    pub policies: Vec<Policy>,
}

/// A pod: what can be selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its identity in connections and routes.
    pub endpoint: EndpointId,
    /// Its addresses, IPv4, IPv6 or both.
    pub addresses: Vec<IpAddr>,
}

/// Addresses that a rule means: pods by membership, and blocks of addresses.
///
/// An empty set means nobody. A block matches every address in it, a pod's too (NP-32).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerSet {
    /// Members, ascending, without repeats. A member matches with all its addresses.
    pub pods: Vec<PodIndex>,
    /// Blocks; an address matches when it is in any.
    pub blocks: Vec<Block>,
}

/// A CIDR less its exceptions (NP-30).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// Masked to its length.
    pub cidr: IpNet,
    /// Parts of `cidr` that this block leaves out.
    pub except: Vec<IpNet>,
}

/// A policy: whom it selects and what it allows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// The pods it selects. Blocks are not used here.
    pub subjects: SetId,
    /// `Some` isolates for ingress; the rules are what is allowed.
    pub ingress: Option<Arc<[Rule]>>,
    /// `Some` isolates for egress; the rules are what is allowed.
    pub egress: Option<Arc<[Rule]>>,
}

impl Policy {
    /// What policies are sorted by: namespace, then name. Which place one has says nothing.
    #[must_use]
    pub fn order(&self) -> (&str, &str) {
        self.name.split_once('/').unwrap_or((&self.name, ""))
    }
}

/// One allowed kind of traffic: ANY peer AND ANY port.
///
/// One written rule may have become several here (named ports); they share `index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule's place in the list it was written in: what causes name.
    pub index: u32,
    /// Narrows the policy's subjects to these; `None` is all of them.
    pub subjects: Option<SetId>,
    /// Who is at the other end.
    pub peers: Peers,
    /// Which ports of the target.
    pub ports: Ports,
}

/// The other end of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Everyone, outside the cluster too.
    Any,
    /// The members of any of these; of none when the list is empty.
    Sets(Vec<SetId>),
}

/// The protocols and target ports of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Every port of every protocol, the portless ones too (NP-9, NP-25).
    Any,
    /// These; nothing when the list is empty.
    Ranges(Vec<PortRange>),
}

/// Ports of one protocol, both ends included. All ports are `0..=65535`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The lowest port.
    pub first: u16,
    /// The highest port; not below `first`.
    pub last: u16,
}

/// Which side's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Of the source: what it may send.
    Egress,
    /// Of the target: what it may receive.
    Ingress,
}

/// Why one direction was decided as it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No policy isolates this side, or this side is no pod: allowed.
    NotIsolated,
    /// Allowed by this rule: the first by [`Policy::order`], then rule index.
    Rule {
        /// The policy.
        policy: PolicyId,
        /// `Rule::index`.
        rule: u32,
    },
    /// Denied: these policies isolate and no rule of theirs matches. By [`Policy::order`].
    DefaultDeny {
        /// The isolating policies.
        isolating: Arc<[PolicyId]>,
    },
    /// Allowed: a pod to itself (NP-42).
    Itself,
    /// Allowed: from the pod's own node (NP-40). Ingress only.
    OwnNode,
}

impl Cause {
    /// Whether this cause allows.
    #[must_use]
    pub fn allows(&self) -> bool {
        !matches!(self, Self::DefaultDeny { .. })
    }
}

/// One end of a question to the ruleset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// The address the packet bears.
    pub address: IpAddr,
    /// The pod that has it, if one has.
    pub pod: Option<PodIndex>,
    /// The address is the target's own node's (NP-40); meaningful for a source only.
    pub own_node: bool,
}

/// A question: may this be sent?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who sends.
    pub source: Party,
    /// Who receives.
    pub target: Party,
    /// What.
    pub protocol: Protocol,
    /// The target port; ignored for protocols without ports.
    pub port: u16,
}

/// The answer, with a cause for each side. Allowed only where both allow (NP-7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The source's side.
    pub egress: Cause,
    /// The target's side.
    pub ingress: Cause,
}

impl Answer {
    /// Whether both sides allow.
    #[must_use]
    pub fn allows(&self) -> bool {
        self.egress.allows() && self.ingress.allows()
    }
}
