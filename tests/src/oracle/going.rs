//! Objects that come and go, and the one rule about it: a policy that is deleted before the pods
//! of its terminating namespace still isolates them (NP-55).
//!
//! What is left of it is an object like any other, so that the judges need not know: its pods and
//! its directions as they were, and no rules. It goes with the last pod of the namespace, or when
//! the namespace turns out to live.

use serde_json::{Value, json};

use super::reading::{at, types};
use super::{Cluster, doubt, key};

/// Marks what is left of a policy.
const REMAINS: &str = "remains";

impl Cluster {
    /// Writes an object, in place of the one of its name.
    pub fn set(&mut self, object: Value) {
        self.objects.retain(|old| key(old) != key(&object));
        self.objects.push(object);
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
        self.objects.iter().filter(|object| object.get(REMAINS).is_none())
    }

    /// Deletes an object; whether it was there.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) -> bool {
        let Some(place) = self.objects.iter().position(|one| key(one) == (kind, namespace, name))
        else {
            return false;
        };
        let object = self.objects.remove(place);
        let is_left = object.get(REMAINS).is_some();
        if kind == "NetworkPolicy" && (is_left || self.is_going(namespace)) {
            self.objects.push(remains(&object));
        }
        self.forget_remains();
        true
    }

    fn forget_remains(&mut self) {
        let needs = |object: &Value| {
            let (_, namespace, _) = key(object);
            let has_pods = self.pods().any(|pod| key(pod).1 == namespace);
            has_pods && (self.is_going(namespace) || self.namespace(namespace).is_none())
        };
        let is_over = |object: &Value| object.get(REMAINS).is_some() && !needs(object);
        let over: Vec<bool> = self.objects.iter().map(is_over).collect();
        let mut over = over.into_iter();
        self.objects.retain(|_| over.next() != Some(true));
    }

    fn namespace(&self, name: &str) -> Option<&Value> {
        self.namespaces().find(|one| key(one).2 == name)
    }

    fn is_going(&self, namespace: &str) -> bool {
        self.namespace(namespace).is_some_and(doubt::may_be_going)
    }
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
