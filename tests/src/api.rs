//! An API server and what is told of it, in virtual time.
//!
//! What is true changes at once; who watches hears of it late. Each kind has a stream of its own
//! that keeps its order, and nothing keeps an order between kinds: a policy may be known before
//! its namespace or long after its pods. Any stream may break, and then the whole kind is listed
//! as it is now: what came and went in between is never told.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::oracle::key;
use crate::worlds::Choices;

/// Kind, namespace (empty for a Namespace) and name.
pub type Key = (String, String, String);

/// The kinds that are watched.
pub const KINDS: [&str; 3] = ["Namespace", "Pod", "NetworkPolicy"];

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
    /// Sets an object.
    pub fn set(&mut self, object: &Value) {
        let key = key_of(object);
        let Some(kind) = watched(&key) else { return };
        self.truth.insert(key, object.clone());
        self.streams.entry(kind).or_default().push_back(Told::Set(object.clone()));
    }

    /// Removes an object, if it is there.
    pub fn remove(&mut self, key: &Key) {
        let Some(kind) = watched(key) else { return };
        if self.truth.remove(key).is_some() {
            self.streams.entry(kind).or_default().push_back(Told::Gone(key.clone()));
        }
    }

    /// Takes a namespace down: it is terminating, and its policies go before its pods (NP-55).
    pub fn take_down(&mut self, namespace: &str) {
        let key = ("Namespace".to_owned(), String::new(), namespace.to_owned());
        let mut object = self.truth.get(&key).cloned().unwrap_or_else(|| {
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } })
        });
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        self.set(&object);
        let is_policy = |key: &&Key| key.0 == "NetworkPolicy" && key.1 == namespace;
        let policies: Vec<Key> = self.truth.keys().filter(is_policy).cloned().collect();
        for key in &policies {
            self.remove(key);
        }
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

fn watched(key: &Key) -> Option<&'static str> {
    KINDS.into_iter().find(|kind| *kind == key.0)
}
