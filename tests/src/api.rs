//! An API server and what is told of it, in virtual time.
//!
//! What is true changes at once; who watches hears of it late. Each kind has a stream of its own
//! that keeps its order, and nothing keeps an order between kinds: a policy may be known before
//! its namespace or long after its pods. Any stream may break, and then the whole kind is listed
//! as it is now: what came and went in between is never told.
//!
//! A namespace is taken down as Kubernetes does it: first it is terminating, and nothing new is
//! let into it; then what is in it goes, in any order, its pods by a grace period; then it goes
//! itself, and one of its name may be made anew. That a policy goes because its namespace does
//! (CVE-2024-7598) can be told before the namespace is told to be terminating.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::oracle::key;
use crate::worlds::Choices;

/// Kind, namespace (empty for a Namespace) and name.
pub type Key = (String, String, String);

/// The kinds that are watched.
pub const KINDS: [&str; 3] = ["Namespace", "Pod", "NetworkPolicy"];

/// When everything that goes began to go.
const SINCE: &str = "2026-01-01T00:00:00Z";

/// One message to a watcher.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// An object is there, as given.
    Set(Value),
    /// An object is gone.
    Gone(Key),
    /// All objects of the kind, as they are now.
    All(Vec<Value>),
}

/// What is true, and what has not been told yet.
#[derive(Clone, Debug, Default)]
pub struct ApiServer {
    truth: BTreeMap<Key, Value>,
    streams: BTreeMap<&'static str, VecDeque<Told>>,
}

impl ApiServer {
    /// Sets an object. A terminating namespace stays so, and lets nothing new in.
    pub fn set(&mut self, object: &Value) {
        let key = key_of(object);
        if self.is_going(&key.2) && key.0 == "Namespace" {
            self.put(key, terminating(object));
        } else if !self.is_going(&key.1) || self.truth.contains_key(&key) {
            self.put(key, object.clone());
        }
    }

    /// Removes an object, if it is there: a namespace only begins to go.
    pub fn remove(&mut self, key: &Key) {
        match self.truth.get(key) {
            Some(namespace) if key.0 == "Namespace" => {
                let namespace = terminating(namespace);
                if !self.is_going(&key.2) {
                    self.put(key.clone(), namespace);
                }
            }
            Some(_) => self.take(key),
            None => {}
        }
    }

    /// One step of taking down what goes: a policy, a pod, or the namespace that is empty.
    pub fn take_down(&mut self, choices: &mut Choices) {
        let is_going = |(key, _): &(&Key, &Value)| key.0 == "Namespace" && self.is_going(&key.2);
        let going: Vec<Key> = self.truth.iter().filter(is_going).map(|one| one.0.clone()).collect();
        if going.is_empty() {
            return;
        }
        let namespace = choices.pick(&going);
        let inside = self.truth.keys().filter(|key| key.1 == namespace.2);
        let inside: Vec<Key> = inside.cloned().collect();
        if inside.is_empty() {
            return self.take(&namespace);
        }
        let key = choices.pick(&inside);
        let mut object = self.truth[&key].clone();
        if key.0 == "Pod" && object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!(SINCE);
            self.put(key, object);
        } else {
            self.take(&key);
        }
    }

    fn put(&mut self, key: Key, object: Value) {
        let Some(kind) = watched(&key) else { return };
        self.truth.insert(key, object.clone());
        self.streams.entry(kind).or_default().push_back(Told::Set(object));
    }

    fn take(&mut self, key: &Key) {
        let Some(kind) = watched(key) else { return };
        self.truth.remove(key);
        self.streams.entry(kind).or_default().push_back(Told::Gone(key.clone()));
    }

    fn is_going(&self, namespace: &str) -> bool {
        let key = ("Namespace".to_owned(), String::new(), namespace.to_owned());
        self.truth.get(&key).is_some_and(|one| one["status"]["phase"] == "Terminating")
    }

    /// What is true now.
    #[must_use]
    pub fn truth(&self) -> &BTreeMap<Key, Value> {
        &self.truth
    }

    /// Lists a kind: what was still to be told of it is part of the list.
    pub fn list(&mut self, kind: &'static str) -> Told {
        self.streams.remove(kind);
        let of_kind = self.truth.iter().filter(|(key, _)| key.0 == kind);
        Told::All(of_kind.map(|(_, object)| object.clone()).collect())
    }

    /// The next message about a kind: now and then the same twice, now and then a list.
    pub fn next(&mut self, kind: &'static str, choices: &mut Choices) -> Option<Told> {
        if choices.chance(4) {
            return Some(self.list(kind));
        }
        let stream = self.streams.get_mut(kind)?;
        let again = choices.chance(10);
        if again { stream.front().cloned() } else { stream.pop_front() }
    }

    /// Whether everything has been told.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.streams.values().all(VecDeque::is_empty)
    }
}

/// The key of an object.
#[must_use]
pub fn key_of(object: &Value) -> Key {
    let (kind, namespace, name) = key(object);
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}

/// The namespace, terminating.
fn terminating(namespace: &Value) -> Value {
    let mut namespace = namespace.clone();
    namespace["metadata"]["deletionTimestamp"] = json!(SINCE);
    namespace["status"] = json!({ "phase": "Terminating" });
    namespace
}

fn watched(key: &Key) -> Option<&'static str> {
    KINDS.into_iter().find(|kind| *kind == key.0)
}
