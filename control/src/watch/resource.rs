//! The resources that are watched.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use kube::api::ApiResource;

use crate::manifest::ObjectKind;
use crate::policy::{Kind, Known};

/// What an API server calls objects of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The kind; its versions are those known here, the first that is served is watched.
    pub kind: ObjectKind,
    /// The word of its paths.
    pub plural: &'static str,
}

const fn of(kind: ObjectKind, plural: &'static str) -> Resource {
    Resource { kind, plural }
}

const fn policy(kind: Kind, plural: &'static str) -> Resource {
    of(ObjectKind::Ordered(Known::Policy(kind)), plural)
}

/// Every resource that is watched, each kind once.
pub const RESOURCES: [Resource; 20] = [
    of(ObjectKind::Namespace, "namespaces"),
    of(ObjectKind::Pod, "pods"),
    of(ObjectKind::Policy, "networkpolicies"),
    of(ObjectKind::Service, "services"),
    of(ObjectKind::EndpointSlice, "endpointslices"),
    of(ObjectKind::ServiceAccount, "serviceaccounts"),
    of(ObjectKind::Node, "nodes"),
    policy(Kind::ClusterNetworkPolicy, "clusternetworkpolicies"),
    policy(Kind::AdminNetworkPolicy, "adminnetworkpolicies"),
    policy(Kind::BaselineAdminNetworkPolicy, "baselineadminnetworkpolicies"),
    policy(Kind::CalicoNetworkPolicy, "networkpolicies"),
    policy(Kind::GlobalNetworkPolicy, "globalnetworkpolicies"),
    policy(Kind::StagedNetworkPolicy, "stagednetworkpolicies"),
    policy(Kind::StagedGlobalNetworkPolicy, "stagedglobalnetworkpolicies"),
    policy(Kind::StagedKubernetesNetworkPolicy, "stagedkubernetesnetworkpolicies"),
    of(ObjectKind::Ordered(Known::Tier), "tiers"),
    of(ObjectKind::Ordered(Known::NetworkSet), "networksets"),
    of(ObjectKind::Ordered(Known::GlobalNetworkSet), "globalnetworksets"),
    of(ObjectKind::Ordered(Known::Profile), "profiles"),
    of(ObjectKind::Ordered(Known::HostEndpoint), "hostendpoints"),
];

impl Resource {
    /// Whether every API server has it: none is ever taken to be absent.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        !matches!(self.kind, ObjectKind::Ordered(_))
    }

    /// `pods`, or `tiers.projectcalico.org`: as roles and error messages name it.
    #[must_use]
    pub fn spoken(&self) -> String {
        let version = self.kind.versions().first().copied().unwrap_or_default();
        match version.split_once('/') {
            Some((group, _)) => format!("{}.{group}", self.plural),
            None => self.plural.to_owned(),
        }
    }

    /// The same in the words of the client library.
    pub(crate) fn as_kube(&self, api_version: &str) -> ApiResource {
        let (_, version) = api_version.split_once('/').unwrap_or(("", api_version));
        ApiResource {
            group: of_group(api_version).to_owned(),
            version: version.to_owned(),
            api_version: api_version.to_owned(),
            kind: self.kind.label().to_owned(),
            plural: self.plural.to_owned(),
        }
    }
}

/// Versions of APIs that are not known here and were met, at most: each is kept for good.
const STRANGE_MAX: usize = 64;
/// How long the name of one may be.
const STRANGE_LENGTH_MAX: usize = 253;

/// A version, for as long as the process lives: one that is known here, or one that an API server
/// serves instead, in which nothing is read as it is meant. None where there are too many of those.
#[must_use]
pub(crate) fn lasting(kind: ObjectKind, version: &str) -> Option<&'static str> {
    static STRANGE: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    if let Some(known) = kind.versions().iter().find(|known| **known == version) {
        return Some(known);
    }
    let mut strange = STRANGE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(met) = strange.get(version) {
        return Some(met);
    }
    if strange.len() >= STRANGE_MAX || version.len() > STRANGE_LENGTH_MAX {
        return None;
    }
    let new: &'static str = Box::leak(version.to_owned().into_boxed_str());
    strange.insert(new);
    Some(new)
}

/// The group of a version; empty of Kubernetes' own first one.
pub(super) fn of_group(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_watched_once_by_the_plural_of_its_name() {
        for (place, resource) in RESOURCES.iter().enumerate() {
            let label = resource.kind.label().to_lowercase();
            let plural = match label.strip_suffix('y') {
                Some(stem) => format!("{stem}ies"),
                None => format!("{label}s"),
            };
            assert_eq!(resource.plural, plural);
            let others = RESOURCES.iter().skip(place + 1);
            assert!(others.clone().all(|other| other.kind != resource.kind), "{resource:?}");
        }
    }

    #[test]
    fn a_resource_is_spoken_of_as_roles_name_it() {
        let spoken: Vec<String> = RESOURCES.iter().map(Resource::spoken).collect();
        for name in ["pods", "networkpolicies.networking.k8s.io", "tiers.projectcalico.org"] {
            assert!(spoken.iter().any(|one| one == name), "{name}: {spoken:?}");
        }
    }
}
