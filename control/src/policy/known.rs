//! The kinds that are read here, by what an object calls itself.

use super::Kind;

/// Versions in which Calico's objects are read: as written, and as stored.
const CALICO: [&str; 2] = ["projectcalico.org/v3", "crd.projectcalico.org/v1"];
const CLUSTER: [&str; 1] = ["policy.networking.k8s.io/v1alpha2"];
const ADMIN: [&str; 1] = ["policy.networking.k8s.io/v1alpha1"];

/// A kind that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// A host endpoint, which is not enforced.
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
    /// The kind that an object says it is, and whether in a version whose rules are known here. A
    /// kind or a version that is not written as it must be is still that kind, but not current.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<(Self, bool)> {
        let group = api_version.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let kinds: &[(&str, Self)] = match group.as_str() {
            "projectcalico.org" | "crd.projectcalico.org" => &OF_CALICO,
            "policy.networking.k8s.io" => &OF_KUBERNETES,
            _ => return None,
        };
        let (name, known) = kinds.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind))?;
        let is_current = *name == kind && known.versions().contains(&api_version);
        Some((*known, is_current))
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
            ("networking.k8s.io/v1", "NetworkPolicy", None),
            ("projectcalico.org/v3", "IPPool", None),
            ("", "Tier", None),
        ] {
            let wanted = wanted.map(|(kind, is_current)| (Known::Policy(kind), is_current));
            assert_eq!(Known::of(api_version, kind), wanted, "{api_version} {kind}");
        }
        assert_eq!(Known::of("projectcalico.org/v3", "Tier"), Some((Known::Tier, true)));
        assert!(Known::NetworkSet.is_namespaced() && !Known::Profile.is_namespaced());
    }
}
