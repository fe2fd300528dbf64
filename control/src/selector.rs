//! Label selectors: which labels match, and why not. Pure.
//!
//! A selector is a list of requirements that must all hold; `matchLabels` are requirements like
//! the others (`In` with one value). None at all match everything (NP-10, NP-11).

mod labels;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use labels::Labels;

/// Every requirement must hold; none hold always.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

/// What one key must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What its value must be.
    pub operator: Operator,
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operator {
    /// One of these, ascending.
    In(Vec<String>),
    /// None of these, ascending; an absent key matches.
    NotIn(Vec<String>),
    /// Anything.
    Exists,
    /// The key must be absent.
    DoesNotExist,
}

impl LabelSelector {
    /// Of these requirements; their order does not matter and is not kept.
    #[must_use]
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort();
        requirements.dedup();
        Self { requirements }
    }

    /// Whether every requirement holds.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// The requirements, sorted by key.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Why it does not match: each requirement that fails beside what is there.
    #[must_use]
    pub fn misses(&self, labels: &Labels) -> Vec<String> {
        let failing = self.requirements.iter().filter(|one| !one.matches(labels));
        failing
            .map(|one| match labels.get(&one.key) {
                Some(value) => format!("{one} wanted, has {}={value}", one.key),
                None => format!("{one} wanted, has no {}", one.key),
            })
            .collect()
    }
}

impl Requirement {
    /// Whether it holds.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| contains(values, value)),
            Operator::NotIn(values) => value.is_none_or(|value| !contains(values, value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

fn contains(values: &[String], value: &str) -> bool {
    values.binary_search_by(|one| one.as_str().cmp(value)).is_ok()
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.operator {
            Operator::In(values) => match values.as_slice() {
                [value] => write!(f, "{key}={value}"),
                _ => write!(f, "{key} in ({})", values.join(", ")),
            },
            Operator::NotIn(values) => write!(f, "{key} not in ({})", values.join(", ")),
            Operator::Exists => write!(f, "{key} present"),
            Operator::DoesNotExist => write!(f, "{key} absent"),
        }
    }
}

/// Whether this can be a label's key: `[dns-subdomain/]name`.
#[must_use]
pub fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_qualified_name(name),
        None => is_qualified_name(key),
    }
}

/// Whether this can be a label's value: empty, or up to 63 letters, digits, `-`, `_`, `.` that
/// begin and end with a letter or digit.
#[must_use]
pub fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_qualified_name(value)
}

fn is_qualified_name(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Whether this can be an object's name: labels of lower-case letters, digits and `-`, joined
/// by dots, 253 characters in all.
#[must_use]
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_part)
}

/// Whether this can be a namespace's name: one DNS label.
#[must_use]
pub fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_dns_part(name)
}

fn is_dns_part(part: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(is_inner)
        && bytes.last().is_some_and(is_inner)
        && bytes.iter().all(|byte| is_inner(byte) || *byte == b'-')
}

/// Whether this can be a port's name: up to 15 lower-case letters, digits and single `-`, with
/// a letter in it.
#[must_use]
pub fn is_port_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() <= 15
        && is_dns_part(name)
        && !name.contains("--")
        && bytes.iter().any(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().copied().collect()
    }

    fn one(key: &str, operator: Operator) -> LabelSelector {
        LabelSelector::new(vec![Requirement { key: key.into(), operator }])
    }

    #[test]
    fn np_11_each_operator_on_a_key_that_is_right_wrong_empty_and_absent() {
        let values = || vec!["a".to_owned(), "b".to_owned()];
        let cases = [
            (Operator::In(values()), [true, false, false, false]),
            (Operator::NotIn(values()), [false, true, true, true]),
            (Operator::Exists, [true, true, true, false]),
            (Operator::DoesNotExist, [false, false, false, true]),
        ];
        for (operator, wanted) in cases {
            let selector = one("k", operator.clone());
            let worlds =
                [labels(&[("k", "b")]), labels(&[("k", "c")]), labels(&[("k", "")]), labels(&[])];
            let seen = worlds.map(|world| selector.matches(&world));
            assert_eq!(seen, wanted, "{operator:?}");
        }
    }

    #[test]
    fn np_11_requirements_are_all_needed_and_none_match_everything() {
        let both = LabelSelector::new(vec![
            Requirement { key: "b".into(), operator: Operator::Exists },
            Requirement { key: "a".into(), operator: Operator::In(vec!["1".into()]) },
        ]);
        assert!(both.matches(&labels(&[("a", "1"), ("b", "x")])));
        assert!(!both.matches(&labels(&[("a", "1")])));
        assert!(LabelSelector::default().matches(&labels(&[])));
        assert_eq!(
            both.misses(&labels(&[("a", "2")])),
            ["a=1 wanted, has a=2", "b present wanted, has no b"]
        );
    }

    #[test]
    fn keys_values_and_names_are_held_to_kubernetes_rules() {
        for good in ["app", "app.kubernetes.io/name", "A_b.c-1", "x"] {
            assert!(is_label_key(good), "{good}");
        }
        for bad in ["", "/x", "a/", "a b", "-a", "A.io/x", "a/b/c", "é", &"x".repeat(64)] {
            assert!(!is_label_key(bad), "{bad}");
        }
        for (value, wanted) in [("", true), ("a.B_1", true), ("a b", false), ("a-", false)] {
            assert_eq!(is_label_value(value), wanted, "{value}");
        }
        for (name, wanted) in [
            ("http", true),
            ("a-1", true),
            ("1a", true),
            ("80", false),
            ("Http", false),
            ("a--b", false),
            ("-a", false),
            ("sixteen-letters1", false),
            ("", false),
        ] {
            assert_eq!(is_port_name(name), wanted, "{name}");
        }
        let longest = format!("{}/a", ["a"; 127].join("."));
        assert!(is_label_key(&longest) && !is_label_key(&format!("a{longest}")), "253 and 254");
        assert!(is_dns_subdomain("a.b-c") && !is_dns_subdomain("a..b") && !is_dns_label("a.b"));
    }
}
