//! An object of any kind that is used.

use serde::{Deserialize, Serialize};

use super::fields::{Place, Report};
use super::{
    EndpointSlice, Metadata, Namespace, NetworkPolicy, Node, ObjectKind, Pod, Service,
    ServiceAccount,
};
use crate::policy::calico::{NetworkSet, Profile};
use crate::policy::{self, Known, OrderedPolicy, Tier};

/// An object of a kind that is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// A pod.
    Pod(Pod),
    /// A namespace.
    Namespace(Namespace),
    /// A policy of `networking.k8s.io`.
    Policy(NetworkPolicy),
    /// A service.
    Service(Box<Service>),
    /// Who backs a service.
    EndpointSlice(EndpointSlice),
    /// A service account.
    ServiceAccount(ServiceAccount),
    /// A node.
    Node(Node),
    /// A policy of another API.
    Ordered(Box<OrderedPolicy>),
    /// A tier.
    Tier(Tier),
    /// A set of networks, of a namespace or of none, or a host endpoint.
    NetworkSet(NetworkSet),
    /// A profile.
    Profile(Box<Profile>),
}

impl Object {
    /// Reads an object of a kind; this cannot fail, only close. `is_current` is whether it is
    /// written as that kind must be.
    pub(super) fn read(
        at: &Place<'_>,
        kind: ObjectKind,
        metadata: Metadata,
        is_current: bool,
        report: &mut Report<'_>,
    ) -> Self {
        let known = match kind {
            ObjectKind::Pod => return Self::Pod(Pod::read(at, metadata, report)),
            ObjectKind::Namespace => {
                return Self::Namespace(Namespace::read(at, metadata, report));
            }
            ObjectKind::Policy => {
                return Self::Policy(NetworkPolicy::read(at, metadata, is_current, report));
            }
            ObjectKind::Service => {
                return Self::Service(Box::new(Service::read(at, metadata, report)));
            }
            ObjectKind::EndpointSlice => {
                return Self::EndpointSlice(EndpointSlice::read(at, metadata, report));
            }
            ObjectKind::ServiceAccount => {
                return Self::ServiceAccount(ServiceAccount::read(at, metadata, report));
            }
            ObjectKind::Node => return Self::Node(Node::read(at, metadata, report)),
            ObjectKind::Ordered(known) => known,
        };
        match known {
            Known::Policy(kind) => {
                Self::Ordered(Box::new(policy::read(at, kind, metadata, is_current, report)))
            }
            Known::Tier => Self::Tier(Tier::read(at, metadata, report)),
            Known::NetworkSet | Known::GlobalNetworkSet => {
                Self::NetworkSet(NetworkSet::read(at, metadata, report))
            }
            Known::Profile => Self::Profile(Box::new(Profile::read(at, metadata, report))),
            Known::HostEndpoint => Self::NetworkSet(NetworkSet::read_host(at, metadata, report)),
        }
    }

    /// Who it is and where it was written.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Pod(pod) => &pod.metadata,
            Self::Namespace(namespace) => &namespace.metadata,
            Self::Policy(policy) => &policy.metadata,
            Self::Service(service) => &service.metadata,
            Self::EndpointSlice(slice) => &slice.metadata,
            Self::ServiceAccount(account) => &account.metadata,
            Self::Node(node) => &node.metadata,
            Self::Ordered(policy) => &policy.metadata,
            Self::Tier(tier) => &tier.metadata,
            Self::NetworkSet(set) => &set.metadata,
            Self::Profile(profile) => &profile.policy.metadata,
        }
    }

    /// The same, to be moved elsewhere.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Self::Pod(pod) => &mut pod.metadata,
            Self::Namespace(namespace) => &mut namespace.metadata,
            Self::Policy(policy) => &mut policy.metadata,
            Self::Service(service) => &mut service.metadata,
            Self::EndpointSlice(slice) => &mut slice.metadata,
            Self::ServiceAccount(account) => &mut account.metadata,
            Self::Node(node) => &mut node.metadata,
            Self::Ordered(policy) => &mut policy.metadata,
            Self::Tier(tier) => &mut tier.metadata,
            Self::NetworkSet(set) => &mut set.metadata,
            Self::Profile(profile) => &mut profile.policy.metadata,
        }
    }
}
