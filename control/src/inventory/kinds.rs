//! What ordered policy asks for: its policies, tiers, sets and profiles, and who is meant by names of
//! services, accounts and nodes.
//!
//! Where something cannot be known (`labels: None`, `is_whole: false`, a lost object) it says so:
//! what allows sees what is readable of it, what denies must take it to be everything.

use lockgate_dataplane::policy::ruleset::{Policy, Stage};

use super::Inventory;
use crate::manifest::{
    EndpointSlice, Node, Object, ObjectKey, ObjectKind, Service, ServiceAccount,
};
use crate::policy::calico::{NetworkSet, Owner, Profile};
use crate::policy::{Kind, Known, OrderedPolicy, StagedAction, Tier};
use crate::selector::{Labels, is_dns_subdomain};

/// The least of the kinds of ordered policy, which are the last of all.
const FIRST_ORDERED: ObjectKind = ObjectKind::Ordered(Known::Policy(Kind::NetworkPolicy));

/// The kinds that answers name.
const POLICIES: [ObjectKind; 10] = [
    ObjectKind::Policy,
    ObjectKind::Ordered(Known::Policy(Kind::CalicoNetworkPolicy)),
    ObjectKind::Ordered(Known::Policy(Kind::GlobalNetworkPolicy)),
    ObjectKind::Ordered(Known::Policy(Kind::StagedNetworkPolicy)),
    ObjectKind::Ordered(Known::Policy(Kind::StagedGlobalNetworkPolicy)),
    ObjectKind::Ordered(Known::Policy(Kind::StagedKubernetesNetworkPolicy)),
    ObjectKind::Ordered(Known::Policy(Kind::ClusterNetworkPolicy)),
    ObjectKind::Ordered(Known::Policy(Kind::AdminNetworkPolicy)),
    ObjectKind::Ordered(Known::Policy(Kind::BaselineAdminNetworkPolicy)),
    ObjectKind::Ordered(Known::Profile),
];

/// Who backs a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backends<'i> {
    /// Its slices, by name.
    pub slices: Vec<&'i EndpointSlice>,
    /// Whether these are all, and all of them: where not, what denies must take the service to be
    /// backed by every address.
    pub is_whole: bool,
}

impl Inventory {
    /// The policies in force of the other APIs than `networking.k8s.io`, staged ones too, by kind,
    /// namespace and name. What tier each names may not exist.
    pub fn ordered_policies(&self) -> impl Iterator<Item = &OrderedPolicy> {
        self.ordered().filter_map(|object| self.as_ordered(object))
    }

    fn as_ordered<'i>(&self, object: &'i Object) -> Option<&'i OrderedPolicy> {
        match object {
            Object::Ordered(policy) => Some(policy),
            Object::Profile(profile) if self.is_asked(profile) => Some(&profile.policy),
            _ => None,
        }
    }

    /// Whether a profile can say anything: not where nobody has it, nor where one allows everything
    /// that is asked before it, or instead of it.
    fn is_asked(&self, profile: &Profile) -> bool {
        match &profile.owner {
            Owner::Namespace(_) => !profile.allows_everything(),
            Owner::Account(namespace, _) => self
                .profile(&Profile::name_of(namespace))
                .is_some_and(|before| !before.allows_everything()),
            Owner::Nobody => false,
            Owner::Anybody => true,
        }
    }

    /// The policy of this key.
    #[must_use]
    pub fn ordered_policy(&self, key: &ObjectKey) -> Option<&OrderedPolicy> {
        self.as_ordered(self.in_force(key)?)
    }

    /// The tiers that have an object, by name; the fixed ones are there without.
    pub fn tiers(&self) -> impl Iterator<Item = &Tier> {
        self.of_kind(ObjectKind::Ordered(Known::Tier), "").filter_map(|object| match object {
            Object::Tier(tier) => Some(tier),
            _ => None,
        })
    }

    /// The tier of this name, where it has an object.
    #[must_use]
    pub fn tier(&self, name: &str) -> Option<&Tier> {
        match self.find(ObjectKind::Ordered(Known::Tier), "", name) {
            Some(Object::Tier(tier)) => Some(tier),
            _ => None,
        }
    }

    /// The sets of networks of namespaces, then those of none, then host endpoints.
    pub fn network_sets(&self) -> impl Iterator<Item = &NetworkSet> {
        let kinds = [Known::NetworkSet, Known::GlobalNetworkSet, Known::HostEndpoint];
        let kinds = kinds.map(ObjectKind::Ordered);
        let objects = kinds.into_iter().flat_map(|kind| self.of_kind(kind, ""));
        objects.filter_map(|object| match object {
            Object::NetworkSet(set) => Some(set),
            _ => None,
        })
    }

    /// The set of this key.
    #[must_use]
    pub fn network_set(&self, key: &ObjectKey) -> Option<&NetworkSet> {
        match self.in_force(key) {
            Some(Object::NetworkSet(set)) => Some(set),
            _ => None,
        }
    }

    /// The profile of this name.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        match self.find(ObjectKind::Ordered(Known::Profile), "", name) {
            Some(Object::Profile(profile)) => Some(profile),
            _ => None,
        }
    }

    /// The profiles of the accounts of a namespace.
    pub fn account_profiles<'i>(&'i self, namespace: &'i str) -> impl Iterator<Item = &'i Profile> {
        let kind = ObjectKind::Ordered(Known::Profile);
        self.of_kind(kind, "").filter_map(move |object| match object {
            Object::Profile(profile) => match &profile.owner {
                Owner::Account(of, _) if **of == *namespace => Some(&**profile),
                _ => None,
            },
            _ => None,
        })
    }

    /// The service of this name.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        match self.find(ObjectKind::Service, namespace, name) {
            Some(Object::Service(service)) => Some(&**service),
            _ => None,
        }
    }

    /// The slice of this key: where it has changed, so may have the service that it is of.
    #[must_use]
    pub fn slice(&self, key: &ObjectKey) -> Option<&EndpointSlice> {
        match self.in_force(key) {
            Some(Object::EndpointSlice(slice)) => Some(slice),
            _ => None,
        }
    }

    /// The services that have an object, by namespace and name.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.of_kind(ObjectKind::Service, "").filter_map(|object| match object {
            Object::Service(service) => Some(&**service),
            _ => None,
        })
    }

    /// The slices, by namespace and name.
    pub fn slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.of_kind(ObjectKind::EndpointSlice, "").filter_map(|object| match object {
            Object::EndpointSlice(slice) => Some(slice),
            _ => None,
        })
    }

    /// Who backs a service, as slices say, whether or not it has an object.
    #[must_use]
    pub fn backends<'i>(&'i self, namespace: &'i str, service: &str) -> Backends<'i> {
        let kind = ObjectKind::EndpointSlice;
        let mut found = Backends { slices: Vec::new(), is_whole: self.lost(kind).next().is_none() };
        for object in self.of_namespace(kind, namespace) {
            let Object::EndpointSlice(slice) = object else { continue };
            match slice.service.as_deref() {
                Some(name) if name == service => {
                    found.is_whole &= slice.is_whole;
                    found.slices.push(slice);
                }
                Some(_) => {}
                // One that is not whole may be of this one.
                None => found.is_whole &= slice.is_whole,
            }
        }
        found
    }

    /// The service account of this name.
    #[must_use]
    pub fn account(&self, namespace: &str, name: &str) -> Option<&ServiceAccount> {
        match self.find(ObjectKind::ServiceAccount, namespace, name) {
            Some(Object::ServiceAccount(account)) => Some(account),
            _ => None,
        }
    }

    /// The labels of a service account, whether or not that has an object; `None` where they are
    /// not known.
    #[must_use]
    pub fn account_labels(&self, namespace: &str, name: &str) -> Option<Labels> {
        let kind = ObjectKind::ServiceAccount;
        if let Some(account) = self.account(namespace, name) {
            return account.labels.clone();
        }
        // One whose name or namespace cannot be read may be this one.
        let is_nameless = |object: &Object| !is_dns_subdomain(&object.metadata().key.name);
        let is_known = self.lost(kind).next().is_none()
            && !self.of_namespace(kind, namespace).any(is_nameless);
        is_known.then(Labels::new)
    }

    /// The nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.of_kind(ObjectKind::Node, "").filter_map(|object| match object {
            Object::Node(node) => Some(node),
            _ => None,
        })
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        match self.find(ObjectKind::Node, "", name) {
            Some(Object::Node(node)) => Some(node),
            _ => None,
        }
    }

    /// What a policy is called in answers: its name, and its kind before it where policies of
    /// several kinds are called so.
    #[must_use]
    pub fn called(&self, policy: &Policy) -> String {
        let (namespace, name) = policy.name.split_once('/').unwrap_or(("", &policy.name));
        let is_there = |kind: &ObjectKind| self.find(*kind, namespace, name).is_some();
        let namesakes = POLICIES.iter().filter(|kind| is_there(kind)).count();
        if namesakes > 1 {
            return format!("{} {}", policy.kind, policy.name);
        }
        policy.name.to_string()
    }

    /// When an enforced policy is asked: no more once what is staged under its name is in force.
    #[must_use]
    pub fn stage(&self, key: &ObjectKey) -> Stage {
        let named = key.staged();
        match named.and_then(|key| self.ordered_policy(&key)?.staged) {
            Some(StagedAction::Set | StagedAction::Delete) => Stage::Leaving,
            _ => Stage::InForce,
        }
    }

    /// What ordered policy is made of.
    fn ordered(&self) -> impl Iterator<Item = &Object> {
        let first = ObjectKey::new(FIRST_ORDERED, "", "");
        self.objects.range(first..).filter_map(|(_, versions)| versions.in_force())
    }
}
