//! The kinds that are read here, by what an object calls itself.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::manifest::fields::closest;

/// Versions in which Calico's objects are read: as written, and as stored.
const CALICO: [&str; 2] = ["projectcalico.org/v3", "crd.projectcalico.org/v1"];
const CLUSTER: [&str; 1] = ["policy.networking.k8s.io/v1alpha2"];
const ADMIN: [&str; 1] = ["policy.networking.k8s.io/v1alpha1"];
/// The groups of those.
const GROUPS: [&str; 3] = ["projectcalico.org", "crd.projectcalico.org", CLUSTER_GROUP];
const CLUSTER_GROUP: &str = "policy.networking.k8s.io";

/// A kind that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Known {
    /// A policy.
    Policy(Kind),
    /// A tier.
    Tier,
    /// A set of networks of a namespace.
    NetworkSet,
    /// A set of networks of none.
    GlobalNetworkSet,
    /// A profile.
    Profile,
    /// A host endpoint: somebody that rules mean, and nobody whose traffic is judged.
    HostEndpoint,
}

const OF_CALICO: [(&str, Known); 10] = [
    ("NetworkPolicy", Known::Policy(Kind::CalicoNetworkPolicy)),
    ("GlobalNetworkPolicy", Known::Policy(Kind::GlobalNetworkPolicy)),
    ("StagedNetworkPolicy", Known::Policy(Kind::StagedNetworkPolicy)),
    ("StagedGlobalNetworkPolicy", Known::Policy(Kind::StagedGlobalNetworkPolicy)),
    ("StagedKubernetesNetworkPolicy", Known::Policy(Kind::StagedKubernetesNetworkPolicy)),
    ("Tier", Known::Tier),
    ("NetworkSet", Known::NetworkSet),
    ("GlobalNetworkSet", Known::GlobalNetworkSet),
    ("Profile", Known::Profile),
    ("HostEndpoint", Known::HostEndpoint),
];

const OF_KUBERNETES: [(&str, Known); 3] = [
    ("ClusterNetworkPolicy", Known::Policy(Kind::ClusterNetworkPolicy)),
    ("AdminNetworkPolicy", Known::Policy(Kind::AdminNetworkPolicy)),
    ("BaselineAdminNetworkPolicy", Known::Policy(Kind::BaselineAdminNetworkPolicy)),
];

impl Known {
    /// The kind that an object says it is, and whether as it must be written. A kind or a group
    /// that is misspelt is still that kind, but not current: a denial that nobody reads is open.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<(Self, bool)> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group).to_ascii_lowercase();
        let of_group = || {
            OF_CALICO.iter().chain(&OF_KUBERNETES).filter(|(name, one)| {
                // Without a group it is not known whose `NetworkPolicy` it is.
                if group.contains('.') { one.is_of(&group) } else { *name != "NetworkPolicy" }
            })
        };
        let is_named = |one: &&(&str, Self)| one.0.eq_ignore_ascii_case(kind);
        let near = || {
            let names: Vec<&str> = of_group().map(|(name, _)| *name).collect();
            let near = closest(kind, &names).filter(|_| group.contains('.'))?;
            of_group().find(|(name, _)| *name == near)
        };
        let (name, known) = of_group().find(is_named).or_else(near)?;
        let is_current = *name == kind && known.versions().contains(&api_version);
        Some((*known, is_current))
    }

    /// The policy that something is read as whose kind its group does not have, by what stands in
    /// its `spec`: it denies as stated and opens nothing.
    #[must_use]
    pub fn meant(
        api_version: &str,
        kind: &str,
        is_in_namespace: bool,
        says: impl Fn(&str) -> bool,
    ) -> Option<Kind> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let has_rules = says("ingress") || says("egress");
        if closest(group, &GROUPS)? == CLUSTER_GROUP {
            return match (says("tier"), says("priority")) {
                _ if !has_rules && !says("subject") => None,
                (true, _) => Some(Kind::ClusterNetworkPolicy),
                (false, true) => Some(Kind::AdminNetworkPolicy),
                (false, false) => Some(Kind::BaselineAdminNetworkPolicy),
            };
        }
        // What selects and stands in an order denies where it says no more.
        let is_called_so = kind.is_empty() || kind.to_ascii_lowercase().contains("policy");
        let is_placed = is_called_so || says("tier") || says("order");
        let is_one = has_rules || says("types") || is_placed && says("selector");
        let is_staged = kind.to_ascii_lowercase().starts_with("staged");
        is_one.then_some(match (is_in_namespace, is_staged) {
            (true, false) => Kind::CalicoNetworkPolicy,
            (true, true) => Kind::StagedNetworkPolicy,
            (false, false) => Kind::GlobalNetworkPolicy,
            (false, true) => Kind::StagedGlobalNetworkPolicy,
        })
    }

    /// Whether an `apiVersion` is of a group that has such kinds.
    #[must_use]
    pub fn is_group(api_version: &str) -> bool {
        let group = api_version.split('/').next().unwrap_or_default();
        GROUPS.iter().any(|one| one.eq_ignore_ascii_case(group))
    }

    /// Whether a group, perhaps misspelt, is one that has this kind.
    fn is_of(self, group: &str) -> bool {
        let near = closest(group, &GROUPS);
        near.is_some_and(|near| {
            self.versions().iter().any(|one| one.split('/').next() == Some(near))
        })
    }

    /// Its name in manifests.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Policy(kind) => kind.label(),
            Self::Tier => "Tier",
            Self::NetworkSet => "NetworkSet",
            Self::GlobalNetworkSet => "GlobalNetworkSet",
            Self::Profile => "Profile",
            Self::HostEndpoint => "HostEndpoint",
        }
    }

    /// Whether its objects are policies.
    #[must_use]
    pub fn is_policy(self) -> bool {
        matches!(self, Self::Policy(_))
    }

    /// The versions whose rules are known here, the one to write first.
    #[must_use]
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Self::Policy(Kind::ClusterNetworkPolicy) => &CLUSTER,
            Self::Policy(Kind::AdminNetworkPolicy | Kind::BaselineAdminNetworkPolicy) => &ADMIN,
            _ => &CALICO,
        }
    }

    /// Whether its objects are in namespaces.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        match self {
            Self::Policy(kind) => kind.is_namespaced(),
            Self::NetworkSet => true,
            Self::Tier | Self::GlobalNetworkSet | Self::Profile | Self::HostEndpoint => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_group_and_current_by_its_version() {
        for (api_version, kind, wanted) in [
            ("projectcalico.org/v3", "NetworkPolicy", Some((Kind::CalicoNetworkPolicy, true))),
            ("crd.projectcalico.org/v1", "NetworkPolicy", Some((Kind::CalicoNetworkPolicy, true))),
            ("projectcalico.org/v1", "NetworkPolicy", Some((Kind::CalicoNetworkPolicy, false))),
            ("projectcalico.org/v3", "networkpolicy", Some((Kind::CalicoNetworkPolicy, false))),
            ("ProjectCalico.org/v3", "NetworkPolicy", Some((Kind::CalicoNetworkPolicy, false))),
            (
                "policy.networking.k8s.io/v1alpha2",
                "ClusterNetworkPolicy",
                Some((Kind::ClusterNetworkPolicy, true)),
            ),
            (
                "policy.networking.k8s.io/v1beta1",
                "ClusterNetworkPolicy",
                Some((Kind::ClusterNetworkPolicy, false)),
            ),
            (
                "policy.networking.k8s.io/v1alpha2",
                "AdminNetworkPolicy",
                Some((Kind::AdminNetworkPolicy, false)),
            ),
            (
                "policy.networking.k8s.io/v1alpha1",
                "BaselineAdminNetworkPolicy",
                Some((Kind::BaselineAdminNetworkPolicy, true)),
            ),
            ("projectcalico.org/v3", "NetworkPolcy", Some((Kind::CalicoNetworkPolicy, false))),
            ("projectcalico.og/v3", "NetworkPolicy", Some((Kind::CalicoNetworkPolicy, false))),
            ("v3", "GlobalNetworkPolicy", Some((Kind::GlobalNetworkPolicy, false))),
            ("v3", "NetworkPolicy", None),
            ("crd.antrea.io/v1beta1", "ClusterNetworkPolicy", None),
            ("networking.k8s.io/v1", "NetworkPolicy", None),
            ("projectcalico.org/v3", "IPPool", None),
            ("projectcalico.org/v3", "WorkloadEndpoint", None),
            ("example.org/v1", "Tier", None),
        ] {
            let wanted = wanted.map(|(kind, is_current)| (Known::Policy(kind), is_current));
            assert_eq!(Known::of(api_version, kind), wanted, "{api_version} {kind}");
        }
        assert_eq!(Known::of("projectcalico.org/v3", "Tier"), Some((Known::Tier, true)));
        assert!(Known::NetworkSet.is_namespaced() && !Known::Profile.is_namespaced());
    }

    #[test]
    fn what_has_no_kind_is_the_policy_that_it_looks_like() {
        let calico = "projectcalico.org/v3";
        for (api_version, kind, is_in_namespace, fields, wanted) in [
            (calico, "GNPolicy", false, "selector ingress", Some(Kind::GlobalNetworkPolicy)),
            (calico, "Policy", true, "egress", Some(Kind::CalicoNetworkPolicy)),
            ("crd.projectcalico.org/v1", "P", false, "types", Some(Kind::GlobalNetworkPolicy)),
            (calico, "P", false, "tier selector", Some(Kind::GlobalNetworkPolicy)),
            (calico, "StagedPolicy", true, "ingress", Some(Kind::StagedNetworkPolicy)),
            (calico, "stagedGlobal", false, "ingress", Some(Kind::StagedGlobalNetworkPolicy)),
            (calico, "P", false, "order selector", Some(Kind::GlobalNetworkPolicy)),
            (calico, "", true, "selector", Some(Kind::CalicoNetworkPolicy)),
            (calico, "", true, "nets", None),
            (calico, "GlobalNetPolicy", false, "selector", Some(Kind::GlobalNetworkPolicy)),
            (calico, "EgressGatewayPolicy", false, "rules", None),
            (calico, "IPPool", false, "cidr nodeSelector", None),
            (calico, "PacketCapture", true, "selector filters", None),
            ("policy.networking.k8s.io/v1alpha2", "CNP", false, "tier subject", {
                Some(Kind::ClusterNetworkPolicy)
            }),
            ("policy.networking.k8s.io/v1alpha1", "ANP", false, "priority subject ingress", {
                Some(Kind::AdminNetworkPolicy)
            }),
            ("policy.networking.k8s.io/v1alpha1", "BANP", false, "ingress", {
                Some(Kind::BaselineAdminNetworkPolicy)
            }),
            ("policy.networking.k8s.io/v1alpha2", "Other", false, "tier priority", None),
            ("cilium.io/v2", "P", true, "ingress egress", None),
            ("v3", "P", true, "ingress", None),
        ] {
            let says = |name: &str| fields.split(' ').any(|field| field == name);
            let meant = Known::meant(api_version, kind, is_in_namespace, says);
            assert_eq!(meant, wanted, "{api_version} {kind} {fields}");
        }
    }
}
