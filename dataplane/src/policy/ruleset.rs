//! What people meant, before it is compiled: ordered policies in tiers, over sets of addresses.
//!
//! One side of a packet is asked of the policies that select it, tier by tier, policy by policy,
//! rule by rule. The first rule that matches allows, denies, or passes on to the next tier. Where
//! none of a tier's matches, the tier's [`End`] says what then; a tier of which no policy selects
//! the side is left out; and what no tier has decided is allowed. Kubernetes' `NetworkPolicy` is
//! the case of one tier that ends in denial and of rules that allow.
//!
//! Selectors are already resolved to pods and named ports to numbers, so nothing here knows
//! Kubernetes. A rule that depends on its own side (a named port on ingress, a Calico own-side
//! selector) says so in `Rule::subjects`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::ids::EndpointId;
use crate::packet::Protocol;

pub use super::tier::{End, Order, Tier};

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
    /// In any order: they say themselves which is asked first, see [`Policy::rank`].
    pub policies: Vec<Policy>,
}

/// A pod: what can be selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its identity in connections and routes.
    pub endpoint: EndpointId,
    /// Its addresses, IPv4, IPv6 or both.
    pub addresses: Arc<[IpAddr]>,
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

/// When a policy is asked: see [`View`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Always.
    #[default]
    InForce,
    /// Once what is staged is in force.
    Staged,
    /// Until then: what is staged takes its place, or takes it away.
    Leaving,
}

impl Stage {
    /// Whether it is asked in this view.
    #[must_use]
    pub const fn stands(self, view: View) -> bool {
        match self {
            Self::InForce => true,
            Self::Staged => matches!(view, View::Next),
            Self::Leaving => !matches!(view, View::Next),
        }
    }
}

/// What one side of a packet can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// What decides.
    Now,
    /// What would decide were all in force that is staged.
    Next,
    /// The first rule that records the packet, before something decides; else what decides.
    Log,
    /// What decides on what a Service brings back to the pod that sent it: tiers that spare it allow
    /// it where they would have decided, see [`Tier::judges_itself`].
    Itself,
}

impl View {
    /// Every view.
    pub const ALL: [Self; 4] = [Self::Now, Self::Next, Self::Log, Self::Itself];
}

/// A policy: whom it selects and what it says of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `namespace/name`, or the name alone of what is in no namespace.
    pub name: Arc<str>,
    /// What kind of object it is: two kinds may have one name. Thin, for every rule has one, too.
    pub kind: &'static &'static str,
    /// When it is asked.
    pub stage: Stage,
    /// With which others it is asked.
    pub tier: Arc<Tier>,
    /// Where it stands among those.
    pub order: Order,
    /// The pods it selects. Blocks are not used here.
    pub subjects: SetId,
    /// `Some` selects for ingress: the rules.
    pub ingress: Option<Arc<[Rule]>>,
    /// `Some` selects for egress: the rules.
    pub egress: Option<Arc<[Rule]>>,
}

impl Policy {
    /// As Kubernetes' `NetworkPolicy`: of the default tier, which isolates, at order 1000 (where
    /// Calico has them).
    #[must_use]
    pub fn isolating(
        name: Arc<str>,
        subjects: SetId,
        ingress: Option<Arc<[Rule]>>,
        egress: Option<Arc<[Rule]>>,
    ) -> Self {
        let (tier, order, stage) = (Tier::default_tier(), Order::of(1000.0), Stage::InForce);
        Self { name, kind: &"NetworkPolicy", stage, tier, order, subjects, ingress, egress }
    }

    /// What policies are sorted by, the first to be asked first: tier, order, name, namespace, kind,
    /// and of equal orders what no object can be called before all. Which place one has says nothing.
    #[must_use]
    pub fn rank(&self) -> (&Tier, Order, bool, &str, &str, &str) {
        let (namespace, name) = self.name.split_once('/').unwrap_or(("", &self.name));
        let is_object = !namespace.starts_with('(');
        (&self.tier, self.order, is_object, name, namespace, *self.kind)
    }
}

/// What is done with packets that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// This side lets them pass.
    Allow,
    /// They are dropped.
    Deny,
    /// The next tier is asked.
    Pass,
    /// They are recorded, and the next rule is asked.
    Log,
}

/// What is done with one kind of traffic: ANY peer AND ANY port.
///
/// One written rule may have become several here (named ports); they share `index` and `action`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule's place in the list it was written in: what causes name, and in which order rules
    /// are asked.
    pub index: u32,
    /// What is done with what it matches.
    pub action: Action,
    /// Narrows the policy's subjects to these; `None` is all of them.
    pub subjects: Option<SetId>,
    /// Who is at the other end.
    pub peers: Peers,
    /// Which traffic.
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

/// The traffic of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Everything, of every protocol (NP-9, NP-25).
    Any,
    /// These; nothing when the list is empty.
    Ranges(Vec<PortRange>),
}

/// Ports of one protocol, both ends included. All ports are `0..=65535`.
///
/// What has no ports has something else for that of the target, as in
/// [`FlowKey`](crate::packet::FlowKey): messages of ICMP are `type * 256 + code`, other protocols
/// are their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The protocol.
    pub protocol: Protocol,
    /// The lowest port of the target.
    pub first: u16,
    /// The highest port of the target; not below `first`.
    pub last: u16,
    /// The lowest and the highest port of the source, of what has ports.
    pub source: (u16, u16),
}

impl PortRange {
    /// Any port of the source.
    pub const ANY_SOURCE: (u16, u16) = (0, u16::MAX);

    /// These of the target, whatever that of the source is.
    #[must_use]
    pub const fn of_target(protocol: Protocol, first: u16, last: u16) -> Self {
        Self { protocol, first, last, source: Self::ANY_SOURCE }
    }
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
    /// No tier has decided, or this side is no pod: allowed.
    NotIsolated,
    /// Allowed by this rule: the first by [`Policy::rank`], then rule index.
    Rule {
        /// The policy.
        policy: PolicyId,
        /// `Rule::index`.
        rule: u32,
    },
    /// Denied by this rule, found in the same way.
    DenyRule {
        /// The policy.
        policy: PolicyId,
        /// `Rule::index`.
        rule: u32,
    },
    /// Denied at the end of a tier: these policies of it select this side, and no rule of theirs
    /// matches. By [`Policy::rank`].
    DefaultDeny {
        /// The isolating policies.
        isolating: Arc<[PolicyId]>,
    },
    /// Recorded by this rule: what comes after it decides. Of [`View::Log`] only.
    Logged {
        /// The policy.
        policy: PolicyId,
        /// `Rule::index`.
        rule: u32,
    },
    /// Allowed: a pod to itself (NP-42).
    Itself,
    /// Allowed: from the pod's own node (NP-40). Ingress only.
    OwnNode,
}

impl Cause {
    /// Whether this cause allows. One that records says nothing of that.
    #[must_use]
    pub fn allows(&self) -> bool {
        !matches!(self, Self::DefaultDeny { .. } | Self::DenyRule { .. } | Self::Logged { .. })
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
    pub service: Service,
}

/// What a packet is, as far as rules tell packets between the same two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// The protocol.
    pub protocol: Protocol,
    /// The target port, or what stands for it: see [`PortRange`].
    pub port: u16,
    /// The source port; of what has none it is not asked for.
    pub source_port: u16,
}

impl Service {
    /// To a port, from a port that no rule is likely to name.
    #[must_use]
    pub const fn to(protocol: Protocol, port: u16) -> Self {
        Self { protocol, port, source_port: u16::MAX }
    }
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
