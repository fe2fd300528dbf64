//! The kinds that are used, by what an object calls itself.
//!
//! A kind is known by its group too: a `NetworkPolicy` of Calico is another than one of Kubernetes.
//! A kind or version that is not written as it must be is still that kind, but not *current*.

use serde::{Deserialize, Serialize};

use super::fields::closest;
use crate::policy::Known;

/// The kinds that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    /// A namespace: labels.
    Namespace,
    /// A pod: labels, addresses, ports.
    Pod,
    /// A `NetworkPolicy` of `networking.k8s.io/v1`.
    Policy,
    /// A service: whom it selects.
    Service,
    /// Who backs a service.
    EndpointSlice,
    /// A service account: labels.
    ServiceAccount,
    /// A node: labels, addresses.
    Node,
    /// What ordered policy is made of, in the other APIs.
    Ordered(Known),
}

/// The kinds of Kubernetes itself.
const OF_KUBERNETES: [ObjectKind; 7] = [
    ObjectKind::Namespace,
    ObjectKind::Pod,
    ObjectKind::Policy,
    ObjectKind::Service,
    ObjectKind::EndpointSlice,
    ObjectKind::ServiceAccount,
    ObjectKind::Node,
];

impl ObjectKind {
    /// The kind that an object says it is, and whether as it must be written.
    pub(super) fn of(api_version: &str, kind: &str) -> Option<(Self, bool)> {
        if let Some((known, is_current)) = Known::of(api_version, kind) {
            return Some((Self::Ordered(known), is_current));
        }
        if !is_ours(api_version) {
            return None;
        }
        let is_named = |one: &&Self| one.label().eq_ignore_ascii_case(kind);
        // Without it every namespace that it may be would have no labels.
        let near = || closest(kind, &["Namespace"]).map(|_| Self::Namespace);
        let used = OF_KUBERNETES.iter().find(is_named).copied().or_else(near)?;
        Some((used, used.versions().contains(&api_version) && kind == used.label()))
    }

    /// Its name in manifests.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Pod => "Pod",
            Self::Policy => "NetworkPolicy",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::ServiceAccount => "ServiceAccount",
            Self::Node => "Node",
            Self::Ordered(known) => known.label(),
        }
    }

    /// Its name where it must not be taken for another kind's.
    #[must_use]
    pub fn spoken(self) -> &'static str {
        match self {
            Self::Ordered(Known::Policy(kind)) => kind.spoken(),
            kind => kind.label(),
        }
    }

    /// The versions whose rules are known here, the one to write first.
    #[must_use]
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Self::Namespace | Self::Pod | Self::Service | Self::ServiceAccount | Self::Node => {
                &["v1"]
            }
            Self::Policy => &["networking.k8s.io/v1"],
            Self::EndpointSlice => &["discovery.k8s.io/v1"],
            Self::Ordered(known) => known.versions(),
        }
    }

    /// Whether its objects are in namespaces.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        match self {
            Self::Namespace | Self::Node => false,
            Self::Ordered(known) => known.is_namespaced(),
            _ => true,
        }
    }

    /// Whether a kind is a list, of whatever: its name less that, if it is.
    pub(super) fn listed<'k>(api_version: &str, kind: &'k str) -> Option<&'k str> {
        let (implied, end) = kind.split_at_checked(kind.len().checked_sub(4)?)?;
        if !end.eq_ignore_ascii_case("list") {
            return None;
        }
        let is_one = match implied {
            "" => is_ours(api_version) || Known::is_group(api_version),
            _ => Self::of(api_version, implied).is_some(),
        };
        is_one.then_some(implied)
    }
}

/// Whether an `apiVersion` can have been meant for Kubernetes itself. A group of another domain
/// (`cilium.io/v2`) has kinds of its own that only happen to share a name.
fn is_ours(api_version: &str) -> bool {
    let group = group(api_version);
    !group.contains('.') || group.ends_with("k8s.io") || is_policies(&group)
}

/// The group of an `apiVersion` as if it were well written: no group differs by case alone.
pub(super) fn group(api_version: &str) -> String {
    api_version.split_once('/').map_or("", |(group, _)| group).to_ascii_lowercase()
}

/// Whether a group is that of policies, perhaps misspelt.
pub(super) fn is_policies(group: &str) -> bool {
    closest(group, &["networking.k8s.io"]).is_some()
}
