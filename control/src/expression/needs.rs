//! What any match of an expression must fulfil, so that an index finds the candidates.
//!
//! | expression | what it needs |
//! |---|---|
//! | `k == "v"`, `k in {…}` | one of these values |
//! | `has(k)`, `contains`, `starts with`, `ends with` | the key |
//! | `a && b` | what the narrower of both needs |
//! | `all()`, `global()`, `!…`, `||`, `!=`, `not in` | nothing: everything must be looked at |

use super::{Comparison, Expression};

/// A label that whatever matches has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs<'e> {
    /// This key with one of these values; none of them means that nothing matches.
    Values(&'e str, &'e [String]),
    /// This key.
    Key(&'e str),
}

impl Expression {
    /// What any match must have, if something is known.
    #[must_use]
    pub fn needs(&self) -> Option<Needs<'_>> {
        match self {
            Self::Has(key) => Some(Needs::Key(key)),
            Self::Compare(key, comparison) => match comparison {
                Comparison::Equal(value) => Some(Needs::Values(key, std::slice::from_ref(value))),
                Comparison::In(values) => Some(Needs::Values(key, values)),
                Comparison::Contains(_) | Comparison::StartsWith(_) | Comparison::EndsWith(_) => {
                    Some(Needs::Key(key))
                }
                Comparison::NotEqual(_) | Comparison::NotIn(_) => None,
            },
            Self::And(parts) => parts.iter().filter_map(Self::needs).min_by_key(Needs::width),
            Self::All | Self::Global | Self::Not(_) | Self::Or(_) => None,
        }
    }
}

impl Needs<'_> {
    /// How much may fulfil it: few values before many, a key alone last.
    fn width(&self) -> usize {
        match self {
            Self::Values(_, values) => values.len(),
            Self::Key(_) => usize::MAX,
        }
    }
}
