//! Who is meant by labels: pods, and for Calico sets of networks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expression::Expression;
use crate::selector::LabelSelector;

/// Pods, and perhaps sets of networks, by where they are and what they wear. Pods in the host's
/// network are never meant (NP-41).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Selection {
    /// Where they are.
    pub within: Within,
    /// Their labels match.
    pub labels: Expression,
    /// Their service account matches. A set of networks has none: no name, and no labels of one.
    pub accounts: Option<Accounts>,
    /// Whether the addresses of a `NetworkSet` or `GlobalNetworkSet` are meant too, by its labels.
    pub takes_sets: bool,
}

/// Where the selected are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Within {
    /// Anywhere, global sets included.
    Anywhere,
    /// In this namespace.
    Namespace(Arc<str>),
    /// Where this matches: it is about `pcns.` and `projectcalico.org/namespace`, which a global
    /// set has none of.
    Namespaces(Expression),
    /// In no namespace: global sets.
    Global,
}

/// Service accounts: both must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Accounts {
    /// It is called one of these; none listed is any.
    pub names: Vec<String>,
    /// Its labels match: about `pcsa.` labels.
    pub labels: Option<Expression>,
}

/// A service by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Service {
    /// In which namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Selection {
    /// Pods there with these labels.
    #[must_use]
    pub fn pods(within: Within, labels: Expression) -> Self {
        Self { within, labels, accounts: None, takes_sets: false }
    }

    /// Every pod there.
    #[must_use]
    pub fn every_pod(within: Within) -> Self {
        Self::pods(within, Expression::All)
    }
}

impl Within {
    /// The namespaces with such labels.
    #[must_use]
    pub fn selected(namespaces: &LabelSelector) -> Self {
        Self::Namespaces(Expression::from(namespaces).of_namespaces())
    }
}
