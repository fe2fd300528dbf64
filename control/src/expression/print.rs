//! Expression to text that reads as the same expression, if it is not too long to be read.

use std::fmt;

use super::{Comparison, Expression};

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Has(key) => write!(f, "has({key})"),
            Self::Compare(key, comparison) => write!(f, "{key} {comparison}"),
            Self::Not(inner) => match inner.as_ref() {
                // Two in a row are read as none.
                Self::And(_) | Self::Or(_) | Self::Not(_) => write!(f, "!({inner})"),
                _ => write!(f, "!{inner}"),
            },
            Self::And(parts) => joined(f, parts, " && ", |part| matches!(part, Self::Or(_))),
            Self::Or(parts) => joined(f, parts, " || ", |_| false),
        }
    }
}

/// Parts in a row; lists in lists keep their parentheses, as do those that bind less.
fn joined(
    f: &mut fmt::Formatter<'_>,
    parts: &[Expression],
    between: &str,
    binds_less: impl Fn(&Expression) -> bool,
) -> fmt::Result {
    let is_and = between == " && ";
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        let is_same = match part {
            Expression::And(_) => is_and,
            Expression::Or(_) => !is_and,
            _ => false,
        };
        if is_same || binds_less(part) { write!(f, "({part})")? } else { write!(f, "{part}")? }
    }
    Ok(())
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(value) => write!(f, "== {}", quoted(value)),
            Self::NotEqual(value) => write!(f, "!= {}", quoted(value)),
            Self::Contains(value) => write!(f, "contains {}", quoted(value)),
            Self::StartsWith(value) => write!(f, "starts with {}", quoted(value)),
            Self::EndsWith(value) => write!(f, "ends with {}", quoted(value)),
            Self::In(values) => write!(f, "in {}", set(values)),
            Self::NotIn(values) => write!(f, "not in {}", set(values)),
        }
    }
}

fn set(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    format!("{{{}}}", values.join(", "))
}

/// There are no escapes: a value holds at most one kind of quotes.
fn quoted(value: &str) -> String {
    let quote = if value.contains('"') { '\'' } else { '"' };
    format!("{quote}{value}{quote}")
}
