//! The one ordered, tiered form that the policies of every API are read into. Pure; selectors are
//! not resolved yet.
//!
//! ```text
//! networking.k8s.io/v1 NetworkPolicy ----------------- kubernetes --.
//! projectcalico.org/v3, crd.projectcalico.org/v1 ----- calico -------+--> OrderedPolicy
//! policy.networking.k8s.io/v1alpha2, /v1alpha1 ------- cluster -----'
//! ```
//!
//! Tiers are asked in their order, in a tier the policies that select the pod in theirs, in a
//! policy its rules as listed; the first that matches decides, or passes to the next tier. Who
//! comes to the end of a tier in which a policy selected the pod gets the tier's default.
//!
//! Reading cannot fail, only close (NP-59, CNP-11). An empty list of peers or of kinds of traffic
//! is nobody and nothing here, so leaving a part out can never widen a rule.
//!
//! | what is wrong | what is enforced |
//! |---|---|
//! | a part of a rule that allows | the rule matches nothing |
//! | a part of a rule that denies | the rule denies everything to whom the policy selects |
//! | a part of a rule that passes | the same: what is not passed would meet rules it was spared |
//! | a part of a rule that logs | the rule matches nothing |
//! | a rule's action | the rule denies everything |
//! | a condition that cannot be enforced | allows, logs: nothing; passes: denies everything; denies: what matches the other conditions |
//! | a list of rules, or a field that looks like it | one rule that denies everything; of a `NetworkPolicy` of Kubernetes: no rules |
//! | too many rules | those beyond the limit are broken |
//! | the subject | every pod that it could select: of the namespace, or all; opens nothing |
//! | `types`, or an unknown field of `spec` without `types` | both directions; opens nothing |
//! | an unknown field of `spec` | opens nothing; without `order`, first of its tier |
//! | `order`, `priority` | first of its tier; opens nothing |
//! | `tier` of Calico, or a field that looks like it | before every tier: denies everything as stated |
//! | `tier` of a `ClusterNetworkPolicy` | first of the Admin tier; opens nothing |
//! | `spec` that is no map | denies everything in both directions |
//! | no `spec` | as its API reads it: Calico's denies all ingress, a cluster policy does nothing |
//! | no `spec`, but an unknown field | as a `spec` that is no map |
//! | `apiVersion` | opens nothing |
//! | `metadata.namespace` | every pod of every namespace; opens nothing |
//! | `stagedAction` | as Ignore: a staged policy decides nothing anyway |
//! | a `Tier`'s order | first of all; nothing in it opens |
//! | the name of a `Profile` | asked after all tiers of every pod; opens nothing |
//! | a `Profile`'s rule that passes | it denies everything: nothing is asked after it |
//! | a net of a set, its labels | the set says so: what denies must take it to hold everything |
//!
//! *Opens nothing*: what allows matches nothing, what passes denies everything, what denies stays.

pub mod calico;
pub mod cluster;
mod known;
pub mod kubernetes;
mod order;
mod read;
mod rule;
mod selection;
mod tier;
mod told;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod sweep;

use std::sync::Arc;

use lockgate_dataplane::policy::ruleset::Direction;
use serde::{Deserialize, Serialize};

use crate::manifest::fields::{Place, Report};
use crate::manifest::{Metadata, NetworkPolicy};

pub use known::Known;
pub use order::Order;
pub use rule::{Action, Family, Icmp, IpProtocol, Listed, Ports, Rule, Side, Traffic};
pub use selection::{Accounts, Selection, Service, Within};
pub use tier::{
    DEFAULT_TIER, DefaultAction, FIXED_TIERS, KUBE_ADMIN, KUBE_BASELINE, PROFILES, Tier,
    is_always_there,
};
pub use told::{EVERY, Numbers, Span, Told, tell, without};

/// A policy of any API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedPolicy {
    /// Of which kind.
    pub kind: Kind,
    /// Who it is. The namespace is empty where the kind has none.
    pub metadata: Metadata,
    /// The tier it names, which may not exist; `None` where it cannot be read: it stands before
    /// every tier then, and its rules deny.
    pub tier: Option<Arc<str>>,
    /// Its place in the tier.
    pub order: Order,
    /// The pods it is for.
    pub subject: Selection,
    /// `Some` selects for ingress: the rules as listed.
    pub ingress: Option<Vec<Listed>>,
    /// `Some` selects for egress: the rules as listed.
    pub egress: Option<Vec<Listed>>,
    /// `Some` is not enforced, only told of.
    pub staged: Option<StagedAction>,
}

/// The kinds of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Of `networking.k8s.io/v1`.
    NetworkPolicy,
    /// `NetworkPolicy` of Calico.
    CalicoNetworkPolicy,
    /// Of Calico.
    GlobalNetworkPolicy,
    /// Of Calico.
    StagedNetworkPolicy,
    /// Of Calico.
    StagedGlobalNetworkPolicy,
    /// Of Calico.
    StagedKubernetesNetworkPolicy,
    /// Of `policy.networking.k8s.io/v1alpha2`.
    ClusterNetworkPolicy,
    /// Of `policy.networking.k8s.io/v1alpha1`.
    AdminNetworkPolicy,
    /// Of `policy.networking.k8s.io/v1alpha1`.
    BaselineAdminNetworkPolicy,
    /// Of Calico: what is asked after all tiers.
    Profile,
}

/// What a staged policy would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StagedAction {
    /// Be as it is written.
    Set,
    /// Remove the enforced one of its name.
    Delete,
    /// Nothing: it is still being written.
    Learn,
    /// Nothing.
    Ignore,
}

impl Kind {
    /// Its name in manifests.
    #[must_use]
    pub fn label(self) -> &'static str {
        if self == Self::CalicoNetworkPolicy { "NetworkPolicy" } else { self.spoken() }
    }

    /// Its name where it must not be taken for another kind's.
    #[must_use]
    pub fn spoken(self) -> &'static &'static str {
        match self {
            Self::NetworkPolicy => &"NetworkPolicy",
            Self::CalicoNetworkPolicy => &"NetworkPolicy.projectcalico.org",
            Self::GlobalNetworkPolicy => &"GlobalNetworkPolicy",
            Self::StagedNetworkPolicy => &"StagedNetworkPolicy",
            Self::StagedGlobalNetworkPolicy => &"StagedGlobalNetworkPolicy",
            Self::StagedKubernetesNetworkPolicy => &"StagedKubernetesNetworkPolicy",
            Self::ClusterNetworkPolicy => &"ClusterNetworkPolicy",
            Self::AdminNetworkPolicy => &"AdminNetworkPolicy",
            Self::BaselineAdminNetworkPolicy => &"BaselineAdminNetworkPolicy",
            Self::Profile => &"Profile",
        }
    }

    /// Whether its objects are in namespaces.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        matches!(
            self,
            Self::NetworkPolicy
                | Self::CalicoNetworkPolicy
                | Self::StagedNetworkPolicy
                | Self::StagedKubernetesNetworkPolicy
        )
    }

    /// The place among equals of order: a `ClusterNetworkPolicy` is before an
    /// `AdminNetworkPolicy`.
    fn family(self) -> u8 {
        u8::from(self == Self::AdminNetworkPolicy)
    }
}

/// What policies of one tier are sorted by, ascending.
pub type Rank<'p> = (Order, u8, &'p str, &'p str, &'p str);

/// Reads a policy of another API than `networking.k8s.io`; this cannot fail, only close.
/// `is_current` is whether it is written as its kind must be.
pub(crate) fn read(
    root: &Place<'_>,
    kind: Kind,
    metadata: Metadata,
    is_current: bool,
    report: &mut Report<'_>,
) -> OrderedPolicy {
    match kind {
        Kind::NetworkPolicy => {
            kubernetes::lower(&NetworkPolicy::read(root, metadata, is_current, report), None)
        }
        Kind::StagedKubernetesNetworkPolicy => {
            kubernetes::read_staged(root, metadata, is_current, report)
        }
        Kind::ClusterNetworkPolicy
        | Kind::AdminNetworkPolicy
        | Kind::BaselineAdminNetworkPolicy => {
            cluster::read(root, kind, metadata, is_current, report)
        }
        _ => calico::read(root, kind, metadata, is_current, report),
    }
}

impl OrderedPolicy {
    /// Its place in its tier: order, then name, then namespace, then kind, as the ruleset has it.
    #[must_use]
    pub fn rank(&self) -> Rank<'_> {
        let key = &self.metadata.key;
        (self.order, self.kind.family(), &key.name, &key.namespace, self.kind.spoken())
    }

    /// Opens nothing any more: for one whose tier is not there, or cannot be read.
    pub fn shut(&mut self) {
        for rules in [&mut self.ingress, &mut self.egress].into_iter().flatten() {
            *rules = std::mem::take(rules).into_iter().map(Listed::shut).collect();
        }
    }

    /// What it says of a direction; `None` where it does not select for it.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> Option<&[Listed]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}
