//! Calico's selector expressions: which labels match, and why not. Pure.
//!
//! ```text
//! expression := "" | or             nothing written matches everything
//! or         := and ( "||" and )*
//! and        := term ( "&&" term )*
//! term       := "!"* ( "(" or ")" | "all()" | "global()" | "has(" label ")" | label comparison )
//! ```
//!
//! `text` makes tokens, `parse` a tree of them, `print` text again, `needs` what an index may use.
//! A label that is absent fulfils `!=` and `not in` and nothing else. Pods also have labels that
//! nobody wrote on them ([`NAMESPACE`] and the like): whoever evaluates supplies them, before the
//! written ones, which could otherwise lie about who a pod is.
//!
//! Selectors of Kubernetes become expressions by `From`, so that every API is matched one way.

mod misses;
mod needs;
mod parse;
mod print;
mod text;

use serde::{Deserialize, Serialize};

use crate::selector::{LabelSelector, Labels, Operator};

pub use needs::Needs;
pub use parse::Malformed;

/// Characters of the longest expression that is read, as Calico's objects may hold.
pub const LENGTH_MAX: usize = 1024;

/// Parentheses in parentheses that are read.
pub const DEPTH_MAX: usize = 64;

/// The namespace that a pod or a set of networks is in; what is in none has no such label.
pub const NAMESPACE: &str = "projectcalico.org/namespace";
/// The name of a namespace or a service account, behind what begins their labels.
pub const NAME: &str = "projectcalico.org/name";
/// The name of a pod's service account.
pub const ACCOUNT: &str = "projectcalico.org/serviceaccount";
/// What runs a pod: always `k8s`.
pub const ORCHESTRATOR: &str = "projectcalico.org/orchestrator";
/// Begins the labels that a pod has from its namespace.
pub const OF_NAMESPACE: &str = "pcns.";
/// Begins the labels that a pod has from its service account.
pub const OF_ACCOUNT: &str = "pcsa.";

/// What labels must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Expression {
    /// Anything.
    All,
    /// What is in no namespace.
    Global,
    /// The key is there.
    Has(String),
    /// The key's value compares so.
    Compare(String, Comparison),
    /// What is inside does not match.
    Not(Box<Expression>),
    /// Each matches.
    And(Vec<Expression>),
    /// One matches.
    Or(Vec<Expression>),
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Comparison {
    /// This.
    Equal(String),
    /// Not this; an absent key matches.
    NotEqual(String),
    /// A text with this in it.
    Contains(String),
    /// A text that begins so.
    StartsWith(String),
    /// A text that ends so.
    EndsWith(String),
    /// One of these, ascending.
    In(Vec<String>),
    /// None of these, ascending; an absent key matches.
    NotIn(Vec<String>),
}

/// What is known of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'l> {
    /// It has this value.
    Value(&'l str),
    /// It is not there.
    Absent,
    /// Nobody can tell: what it was written in cannot be read.
    Unknown,
}

impl<'l> From<Option<&'l str>> for Seen<'l> {
    fn from(value: Option<&'l str>) -> Self {
        value.map_or(Self::Absent, Self::Value)
    }
}

impl Expression {
    /// Whether these labels match.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_by(&|key| labels.get(key))
    }

    /// Whether labels match that are looked up.
    #[must_use]
    pub fn matches_by<'l>(&self, label: &impl Fn(&str) -> Option<&'l str>) -> bool {
        self.judge(&|key| label(key).into()) == Some(true)
    }

    /// Whether labels match of which some may be unknown; `None` where it depends on those. What
    /// allows must ask for `Some(true)`, what denies for anything but `Some(false)`.
    #[must_use]
    pub fn judge<'l>(&self, label: &impl Fn(&str) -> Seen<'l>) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::Global => has(label(NAMESPACE)).map(|has| !has),
            Self::Has(key) => has(label(key)),
            Self::Compare(key, comparison) => comparison.judge(label(key)),
            Self::Not(inner) => inner.judge(label).map(|matches| !matches),
            Self::And(parts) => until(false, parts.iter().map(|part| part.judge(label))),
            Self::Or(parts) => until(true, parts.iter().map(|part| part.judge(label))),
        }
    }

    /// All of these at once. Parts that are `all()` are left out.
    #[must_use]
    pub fn all_of(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut parts: Vec<Self> = parts.into_iter().filter(|part| *part != Self::All).collect();
        match (parts.pop(), parts.is_empty()) {
            (None, _) => Self::All,
            (Some(only), true) => only,
            (Some(last), false) => {
                parts.push(last);
                Self::And(parts)
            }
        }
    }

    /// The same of the labels that a pod has from its namespace; `all()` is every namespace.
    #[must_use]
    pub fn of_namespaces(&self) -> Self {
        match self {
            Self::All => Self::Has(NAMESPACE.to_owned()),
            Self::Not(inner) => Self::Not(Box::new(inner.of_namespaces())),
            Self::And(parts) => Self::And(parts.iter().map(Self::of_namespaces).collect()),
            Self::Or(parts) => Self::Or(parts.iter().map(Self::of_namespaces).collect()),
            leaf => leaf.prefixed(OF_NAMESPACE),
        }
    }

    /// The same of the labels that a pod has from its service account.
    #[must_use]
    pub fn of_accounts(&self) -> Self {
        self.prefixed(OF_ACCOUNT)
    }

    fn prefixed(&self, prefix: &str) -> Self {
        let all = |parts: &[Self]| parts.iter().map(|part| part.prefixed(prefix)).collect();
        match self {
            Self::All => Self::All,
            Self::Global => Self::Global,
            Self::Has(key) => Self::Has(format!("{prefix}{key}")),
            Self::Compare(key, comparison) => {
                Self::Compare(format!("{prefix}{key}"), comparison.clone())
            }
            Self::Not(inner) => Self::Not(Box::new(inner.prefixed(prefix))),
            Self::And(parts) => Self::And(all(parts)),
            Self::Or(parts) => Self::Or(all(parts)),
        }
    }

    /// Whether `global()` is anywhere in it.
    #[must_use]
    pub fn says_global(&self) -> bool {
        match self {
            Self::Global => true,
            Self::Not(inner) => inner.says_global(),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::says_global),
            Self::All | Self::Has(_) | Self::Compare(..) => false,
        }
    }
}

impl Comparison {
    fn judge(&self, seen: Seen<'_>) -> Option<bool> {
        match seen {
            Seen::Value(value) => Some(self.fits(value)),
            Seen::Absent => Some(matches!(self, Self::NotEqual(_) | Self::NotIn(_))),
            Seen::Unknown => None,
        }
    }

    fn fits(&self, value: &str) -> bool {
        let is_one_of =
            |values: &[String]| values.binary_search_by(|one| one.as_str().cmp(value)).is_ok();
        match self {
            Self::Equal(wanted) => value == wanted,
            Self::NotEqual(unwanted) => value != unwanted,
            Self::Contains(part) => value.contains(part.as_str()),
            Self::StartsWith(part) => value.starts_with(part.as_str()),
            Self::EndsWith(part) => value.ends_with(part.as_str()),
            Self::In(values) => is_one_of(values),
            Self::NotIn(values) => !is_one_of(values),
        }
    }
}

fn has(seen: Seen<'_>) -> Option<bool> {
    match seen {
        Seen::Value(_) => Some(true),
        Seen::Absent => Some(false),
        Seen::Unknown => None,
    }
}

/// `decisive` as soon as one part is; unknown if one is unknown; else the other.
fn until(decisive: bool, parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut answer = Some(!decisive);
    for part in parts {
        if part == Some(decisive) {
            return part;
        }
        answer = answer.and(part);
    }
    answer
}

impl From<&LabelSelector> for Expression {
    fn from(selector: &LabelSelector) -> Self {
        Self::all_of(selector.requirements().iter().map(|one| {
            let key = one.key.clone();
            match &one.operator {
                Operator::In(values) => match values.as_slice() {
                    [value] => Self::Compare(key, Comparison::Equal(value.clone())),
                    _ => Self::Compare(key, Comparison::In(values.clone())),
                },
                Operator::NotIn(values) => Self::Compare(key, Comparison::NotIn(values.clone())),
                Operator::Exists => Self::Has(key),
                Operator::DoesNotExist => Self::Not(Box::new(Self::Has(key))),
            }
        }))
    }
}

#[cfg(test)]
mod tests;
