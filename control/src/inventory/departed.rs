//! Policies that are gone before the pods they isolate (NP-55).
//!
//! When a namespace is deleted, its policies may go before its pods (CVE-2024-7598). A policy
//! that goes while its namespace is terminating leaves its isolation behind: it selects and denies
//! as it did and opens nothing, until the namespace is gone with its last pod, or lives again. A
//! staged one isolates nobody, and one of no namespace goes with none. Pods of a terminating namespace may be heard of late, so it waits for them. It takes the deletion of the
//! namespace to be known by then, or in the same change.

use super::Inventory;
use crate::manifest::{Object, ObjectKey, ObjectKind, Origin};

/// Where what is left of a policy is written; no manifest is called so.
const NOWHERE: &str = "(deleted)";

impl Inventory {
    /// Releases what was kept long enough, and keeps the isolation of policies that have just
    /// gone: `before` is what was in force under `keys`. Gives what was released.
    pub(super) fn settle_departed(
        &mut self,
        keys: &[ObjectKey],
        before: &[Option<Object>],
    ) -> Vec<ObjectKey> {
        let is_over = |key: &&ObjectKey| !self.is_leaving(&key.namespace);
        let released: Vec<_> = self.departed.iter().filter(is_over).cloned().collect();
        for key in &released {
            self.departed.remove(key);
            self.objects.remove(key);
        }
        for (key, before) in keys.iter().zip(before) {
            let Some(left) = before.as_ref().and_then(shut) else { continue };
            let is_going = self.is_terminating(&key.namespace) || self.departed.contains(key);
            if is_going && self.in_force(key).is_none() && self.is_leaving(&key.namespace) {
                self.depart(key, left);
            }
        }
        released
    }

    /// Takes on what is left of policies of another inventory, for as long as their namespace is
    /// leaving here too.
    pub(super) fn inherit_departed(&mut self, before: &Self) {
        for key in &before.departed {
            let is_over = self.in_force(key).is_some() || !self.is_leaving(&key.namespace);
            if let Some(left) = before.in_force(key).filter(|_| !is_over) {
                self.depart(key, left.clone());
            }
        }
    }

    /// What is left of departed policies.
    pub(super) fn departed(&self) -> impl Iterator<Item = &ObjectKey> {
        self.departed.iter()
    }

    fn depart(&mut self, key: &ObjectKey, mut left: Object) {
        left.metadata_mut().origin = Origin { file: NOWHERE.into(), index: 0, line: 0 };
        self.objects.entry(key.clone()).or_default().put(left);
        self.departed.insert(key.clone());
    }

    fn has_pods(&self, namespace: &str) -> bool {
        let first = self.of_kind(ObjectKind::Pod, namespace).next();
        first.is_some_and(|pod| *pod.metadata().key.namespace == *namespace)
    }

    /// Whether the namespace is on its way out: terminating, or gone before its pods.
    fn is_leaving(&self, name: &str) -> bool {
        self.namespace(name).map_or_else(|| self.has_pods(name), |one| one.is_terminating)
    }

    fn is_terminating(&self, name: &str) -> bool {
        self.namespace(name).is_some_and(|namespace| namespace.is_terminating)
    }
}

/// What isolates of a policy; `None` of anything else.
fn shut(object: &Object) -> Option<Object> {
    match object {
        Object::Policy(policy) => {
            let mut left = policy.clone();
            for rules in [&mut left.ingress, &mut left.egress].into_iter().flatten() {
                rules.clear();
            }
            Some(Object::Policy(left))
        }
        Object::Ordered(policy) if policy.staged.is_none() => {
            let mut left = policy.clone();
            left.shut();
            Some(Object::Ordered(left))
        }
        _ => None,
    }
}
