//! Objects that come and go, and the one rule about it: a policy that is deleted before the pods
//! of its terminating namespace still isolates them (NP-55).
//!
//! What is left of it is an object like any other, so that the judges need not know: its pods and
//! its directions as they were, and no rules. It goes with the namespace and its last pod, or when the
//! namespace turns out to live.
//!
//! What counts is what was told, in the order in which it was. A deletion told before the namespace
//! is told to be terminating is one like any other: nobody can know why a policy went, and one that
//! was deleted for its own sake must open at once (NP-51). What holds then is that nothing passes
//! that no told state allows. What is told at once counts at once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::reading::{at, types};
use super::{Cluster, doubt, key};

/// Kind, namespace (empty for a Namespace) and name.
type Key = (String, String, String);

/// Marks what is left of a policy.
const REMAINS: &str = "remains";

impl Cluster {
    /// Writes an object, in place of the one of its name.
    pub fn set(&mut self, object: Value) {
        self.change(&BTreeMap::from([(owned(key(&object)), Some(object))]));
    }

    /// Writes and deletes several objects at once.
    pub fn change(&mut self, objects: &BTreeMap<Key, Option<Value>>) {
        let mut gone = Vec::new();
        for (name, object) in objects {
            let is_named = |old: &Value| owned(key(old)) == *name;
            let old = self.objects.iter().position(|old| is_named(old) && is_written(old));
            match (object, old) {
                (Some(object), _) => {
                    self.objects.retain(|old| !is_named(old));
                    self.objects.push(object.clone());
                }
                (None, Some(old)) => gone.push(self.objects.remove(old)),
                (None, None) => {}
            }
        }
        let policies = gone.into_iter().filter(|object| key(object).0 == "NetworkPolicy");
        let left: Vec<Value> =
            policies.filter(|one| self.is_going(key(one).1)).map(|one| remains(&one)).collect();
        self.objects.extend(left);
        self.forget_remains();
    }

    /// Writes the objects of a text, one by one.
    ///
    /// # Errors
    /// When the text is not YAML.
    pub fn set_text(&mut self, text: &str) -> Result<(), String> {
        Self::from_text(text)?.objects.into_iter().for_each(|object| self.set(object));
        Ok(())
    }

    /// The objects that are there: without what is left of deleted policies.
    pub fn written(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(|object| is_written(object))
    }

    /// Whether a namespace is terminating.
    #[must_use]
    pub fn is_going(&self, namespace: &str) -> bool {
        self.namespace(namespace).is_some_and(doubt::may_be_going)
    }

    /// Deletes an object; whether it was there.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) -> bool {
        let is_it = |one: &&Value| key(one) == (kind, namespace, name);
        let was_there = self.written().any(|one| is_it(&one));
        self.change(&BTreeMap::from([(owned((kind, namespace, name)), None)]));
        was_there
    }

    fn forget_remains(&mut self) {
        let needs = |object: &Value| {
            let (_, namespace, _) = key(object);
            let has_pods = || self.pods().any(|pod| key(pod).1 == namespace);
            self.is_going(namespace) || self.namespace(namespace).is_none() && has_pods()
        };
        let is_over = |object: &Value| !is_written(object) && !needs(object);
        let over: Vec<bool> = self.objects.iter().map(is_over).collect();
        let mut over = over.into_iter();
        self.objects.retain(|_| over.next() != Some(true));
    }

    fn namespace(&self, name: &str) -> Option<&Value> {
        self.namespaces().find(|one| key(one).2 == name)
    }
}

fn is_written(object: &Value) -> bool {
    object.get(REMAINS).is_none()
}

fn owned((kind, namespace, name): (&str, &str, &str)) -> Key {
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}

fn remains(policy: &Value) -> Value {
    let (ingress, egress) = types(policy).unwrap_or((true, true));
    let stated = [("Ingress", ingress), ("Egress", egress)].into_iter();
    let stated: Vec<&str> = stated.filter(|(_, is_stated)| *is_stated).map(|one| one.0).collect();
    let mut left = policy.clone();
    left["spec"] = json!({ "policyTypes": stated });
    if let Some(selector) = at(policy, "spec/podSelector") {
        left["spec"]["podSelector"] = selector.clone();
    }
    left[REMAINS] = true.into();
    left
}
