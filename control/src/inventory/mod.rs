//! Objects of all kinds by key: one change in, whether policy may differ out. Pure.
//!
//! An object may be written twice. The later one, by file name and then place, is in force, as
//! if the files had been applied in that order; when it goes, the earlier is back.
//!
//! What isolated must not open by a slip (`files`), nor because its namespace is taken down in an
//! unlucky order (`departed`).

mod census;
mod departed;
mod files;
mod findings;
mod kinds;
mod succession;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockgate_dataplane::ids::EndpointId;

use crate::manifest::{
    Metadata, Namespace, NetworkPolicy, Object, ObjectKey, ObjectKind, Pod, Problem, ReadFile, Uid,
    escape,
};
use crate::selector::Labels;

use files::FileHeld;
use versions::Versions;

pub(crate) use census::{Census, DENIED_POLICY, Resident};
pub(crate) use findings::{ADD_TIER, absent_tier, without_tier};
pub use kinds::Backends;

/// The label that every namespace bears with its own name (NP-12).
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there, as given; an earlier one of the same key and file is replaced.
    Set(Object),
    /// It is gone, wherever it was written.
    Remove(ObjectKey),
}

/// Whether what is enforced may differ now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// It is as before.
    Nothing,
    /// It may differ.
    Changed,
}

impl Effect {
    /// Of two changes together.
    pub fn or(self, other: Self) -> Self {
        if self == Self::Changed { self } else { other }
    }
}

/// A pod's identity, and the UID that it is of.
type Identity = (Option<Uid>, EndpointId);

/// Everything known.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    objects: BTreeMap<ObjectKey, Versions>,
    files: BTreeMap<Arc<str>, FileHeld>,
    /// What is to be said of objects that came from the cluster.
    said: BTreeMap<ObjectKey, Vec<Problem>>,
    /// Policies that went before the pods of their terminating namespace, and still isolate.
    departed: BTreeSet<ObjectKey>,
    /// Namespaces whose name cannot be read: each may be any that has no object.
    nameless: BTreeSet<ObjectKey>,
    /// The identity of each pod that is there.
    endpoints: BTreeMap<ObjectKey, EndpointId>,
    endpoints_given: u32,
    /// Who a pod was, where it may still be the same.
    inherited: BTreeMap<ObjectKey, Identity>,
    /// What has another meaning since this was last taken.
    changed: BTreeSet<ObjectKey>,
}

impl Inventory {
    /// With nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of all these files.
    ///
    /// # Errors
    /// Every file that cannot be read.
    pub fn of_files(files: Vec<ReadFile>) -> Result<Self, Vec<Problem>> {
        let mut inventory = Self::new();
        let mut unreadable = Vec::new();
        for (name, read) in files {
            match read {
                Ok(objects) => _ = inventory.set_file(&name, objects),
                Err(problem) => unreadable.push(problem),
            }
        }
        if unreadable.is_empty() { Ok(inventory) } else { Err(unreadable) }
    }

    /// Takes one change in.
    pub fn apply(&mut self, change: Change) -> Effect {
        match change {
            Change::Set(object) => {
                let key = object.metadata().key.clone();
                if self.is_known(&object) {
                    return Effect::Nothing;
                }
                self.watching(&[key], |inventory| {
                    let metadata = object.metadata();
                    let file = metadata.origin.file.clone();
                    if let Some(versions) = inventory.objects.get_mut(&metadata.key) {
                        versions.forget(&file);
                    }
                    inventory.put(object);
                })
            }
            Change::Remove(key) => self.watching(std::slice::from_ref(&key), |inventory| {
                inventory.objects.remove(&key);
                inventory.said.remove(&key);
            }),
        }
    }

    /// Takes in an object as the cluster tells it, with what is to be said of it.
    pub fn tell(&mut self, object: Object, problems: Vec<Problem>) -> Effect {
        let key = object.metadata().key.clone();
        let effect = self.apply(Change::Set(object));
        if problems.is_empty() {
            self.said.remove(&key);
        } else {
            self.said.insert(key, problems);
        }
        effect
    }

    /// The pods in force, by namespace and name.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.of_kind(ObjectKind::Pod, "").filter_map(|object| match object {
            Object::Pod(pod) => Some(pod),
            _ => None,
        })
    }

    /// The pod of this name.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        match self.find(ObjectKind::Pod, namespace, name) {
            Some(Object::Pod(pod)) => Some(pod),
            _ => None,
        }
    }

    /// The objects that mean something else, or are there or gone, since this was last called.
    pub fn take_changes(&mut self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.changed)
    }

    /// The policy of this key.
    #[must_use]
    pub fn policy(&self, key: &ObjectKey) -> Option<&NetworkPolicy> {
        match self.in_force(key) {
            Some(Object::Policy(policy)) => Some(policy),
            _ => None,
        }
    }

    /// The policies in force, by namespace and name.
    pub fn policies(&self) -> impl Iterator<Item = &NetworkPolicy> {
        self.of_kind(ObjectKind::Policy, "").filter_map(|object| match object {
            Object::Policy(policy) => Some(policy),
            _ => None,
        })
    }

    /// The policies of one namespace, by name.
    pub fn policies_of<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a NetworkPolicy> {
        self.of_namespace(ObjectKind::Policy, namespace).filter_map(|object| match object {
            Object::Policy(policy) => Some(policy),
            _ => None,
        })
    }

    /// The policies of which nobody can tell in which namespace they are.
    pub(crate) fn lost_policies(&self) -> impl Iterator<Item = &NetworkPolicy> {
        self.lost(ObjectKind::Policy).filter_map(|object| match object {
            Object::Policy(policy) => Some(policy),
            _ => None,
        })
    }

    /// The namespaces that have an object.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.of_kind(ObjectKind::Namespace, "").filter_map(|object| match object {
            Object::Namespace(namespace) => Some(namespace),
            _ => None,
        })
    }

    /// The labels of a namespace, whether or not it has an object; `None` where they are not
    /// known, so that no selector may see it (NP-59). Its name is always the label
    /// `kubernetes.io/metadata.name`, whatever is written (NP-12).
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> Option<Labels> {
        let mut labels = match self.namespace(name) {
            Some(namespace) => namespace.labels.clone()?,
            None if self.nameless.is_empty() => Labels::new(),
            None => return None,
        };
        labels.insert(NAMESPACE_NAME_LABEL, name);
        Some(labels)
    }

    /// Everything to be said: of each object, and of objects that do not fit each other.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let said = self.files.values().flat_map(|held| &held.problems);
        let said = said.chain(self.said.values().flatten());
        let mut problems: Vec<Problem> = said.cloned().collect();
        problems.extend(findings::between_objects(self));
        problems.sort();
        problems.dedup();
        problems
    }

    /// What is to be said of an object by itself, and not of how it fits with others.
    pub(crate) fn problems_of<'a>(
        &'a self,
        metadata: &Metadata,
    ) -> impl Iterator<Item = &'a Problem> + use<'a> {
        // As it stands in a problem.
        let object = escape(&metadata.key.to_string());
        let held = self.files.get(&metadata.origin.file);
        let said = held.into_iter().flat_map(|held| &held.problems);
        let said = said.chain(self.said.get(&metadata.key).into_iter().flatten());
        said.filter(move |problem| problem.object == object)
    }

    /// Objects that are written twice: the version that counts, and each that does not.
    pub(crate) fn rewritten(&self) -> impl Iterator<Item = (&Metadata, &Metadata)> {
        self.versions().flat_map(|versions| {
            let counts = versions.in_force().map(Object::metadata);
            let earlier = versions.earlier().map(Object::metadata);
            earlier.filter_map(move |one| Some((counts?, one)))
        })
    }

    /// Every version of every object.
    fn versions(&self) -> impl Iterator<Item = &Versions> {
        self.objects.values()
    }

    fn of_kind(&self, kind: ObjectKind, namespace: &str) -> impl Iterator<Item = &Object> {
        let first = ObjectKey::new(kind, namespace, "");
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.kind == kind)
            .filter_map(|(_, versions)| versions.in_force())
    }

    /// What is in force of a kind in one namespace, by name.
    fn of_namespace<'a>(
        &'a self,
        kind: ObjectKind,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Object> {
        let is_there = move |object: &&Object| *object.metadata().key.namespace == *namespace;
        self.of_kind(kind, namespace).take_while(is_there)
    }

    /// What is in force of a kind, and nobody can tell in which namespace.
    fn lost(&self, kind: ObjectKind) -> impl Iterator<Item = &Object> {
        self.objects
            .range(ObjectKey::first_lost(kind)..)
            .take_while(move |(key, _)| key.kind == kind && key.is_lost())
            .filter_map(|(_, versions)| versions.in_force())
    }

    fn find(&self, kind: ObjectKind, namespace: &str, name: &str) -> Option<&Object> {
        self.in_force(&ObjectKey::new(kind, namespace, name))
    }

    fn namespace(&self, name: &str) -> Option<&Namespace> {
        match self.find(ObjectKind::Namespace, "", name) {
            Some(Object::Namespace(namespace)) => Some(namespace),
            _ => None,
        }
    }

    /// Everything in force.
    #[cfg(test)]
    pub(crate) fn objects(&self) -> BTreeMap<&ObjectKey, &Object> {
        let in_force = |(key, versions)| Some((key, Versions::in_force(versions)?));
        self.objects.iter().filter_map(in_force).collect()
    }

    /// Whether an object is told again, and is nowhere else: it stays the same piece of memory for
    /// all who have of it.
    fn is_known(&self, object: &Object) -> bool {
        let key = &object.metadata().key;
        let versions = self.objects.get(key).filter(|_| !self.departed.contains(key));
        versions.is_some_and(|one| one.earlier().next().is_none() && one.in_force() == Some(object))
    }

    fn in_force(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key)?.in_force()
    }

    /// Makes a change and compares what was and is in force under these keys.
    fn watching(&mut self, keys: &[ObjectKey], change: impl FnOnce(&mut Self)) -> Effect {
        let before: Vec<_> = keys.iter().map(|key| self.in_force(key).cloned()).collect();
        change(self);
        let released = self.settle_departed(keys, &before);
        for (key, before) in keys.iter().zip(&before) {
            if self.objects.get(key).is_some_and(Versions::is_empty) {
                self.objects.remove(key);
            }
            self.identify(key, before.as_ref());
        }
        let is_same =
            |(key, before): (&ObjectKey, &Option<Object>)| match (before, self.in_force(key)) {
                (Some(before), Some(after)) => is_same_meaning(before, after),
                (None, None) => true,
                _ => false,
            };
        let differing = keys.iter().zip(&before).filter(|both| !is_same(*both));
        let mut changed: Vec<ObjectKey> = differing.map(|(key, _)| key.clone()).collect();
        changed.extend(released);
        let effect = if changed.is_empty() { Effect::Nothing } else { Effect::Changed };
        self.changed.extend(changed);
        effect
    }

    fn put(&mut self, object: Object) {
        let key = object.metadata().key.clone();
        if self.departed.remove(&key) {
            self.objects.remove(&key);
        }
        self.objects.entry(key).or_default().put(object);
    }
}

/// Whether two objects differ in nothing but where they were written.
fn is_same_meaning(one: &Object, other: &Object) -> bool {
    let mut moved = one.clone();
    moved.metadata_mut().origin = other.metadata().origin.clone();
    moved == *other
}

#[cfg(test)]
mod tests;
