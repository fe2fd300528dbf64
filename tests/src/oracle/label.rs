//! Labels and label selectors, read from the object (NP-11, NP-12).

use serde_json::{Map, Value};

use super::reading::{Broken, field, list, object, only};

/// Whether the selector in `value` matches `labels`; a null or empty one matches everything.
///
/// # Errors
/// When any part of it is not a selector of the API, however the rest would match.
pub fn selects(value: &Value, labels: &Map<String, Value>) -> Result<bool, Broken> {
    object(value, "a selector must be an object")?;
    only(value, &["matchLabels", "matchExpressions"])?;
    let mut all = true;
    if let Some(wanted) = field(value, "matchLabels") {
        for (key, want) in object(wanted, "matchLabels must be an object")? {
            check_key(key)?;
            let want = want.as_str().ok_or(Broken("a label value must be a string"))?;
            check_value(want)?;
            all &= has(labels, key, want);
        }
    }
    if let Some(expressions) = field(value, "matchExpressions") {
        for expression in list(expressions, "matchExpressions must be a list")? {
            all &= expression_holds(expression, labels)?;
        }
    }
    Ok(all)
}

fn expression_holds(expression: &Value, labels: &Map<String, Value>) -> Result<bool, Broken> {
    object(expression, "an expression must be an object")?;
    only(expression, &["key", "operator", "values"])?;
    let key = field(expression, "key").and_then(Value::as_str).ok_or(Broken("no key"))?;
    check_key(key)?;
    let operator =
        field(expression, "operator").and_then(Value::as_str).ok_or(Broken("no operator"))?;
    let mut values = Vec::new();
    if let Some(written) = field(expression, "values") {
        for value in list(written, "values must be a list")? {
            let value = value.as_str().ok_or(Broken("a value must be a string"))?;
            check_value(value)?;
            values.push(value);
        }
    }
    let present = labels.get(key).is_some_and(Value::is_string);
    let among = values.iter().any(|value| has(labels, key, value));
    match operator {
        "In" | "NotIn" if values.is_empty() => Err(Broken("In and NotIn need values")),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            Err(Broken("Exists and DoesNotExist take no values"))
        }
        "In" => Ok(among),
        // NP-11: an object without the key matches.
        "NotIn" => Ok(!among),
        "Exists" => Ok(present),
        "DoesNotExist" => Ok(!present),
        _ => Err(Broken("no such operator")),
    }
}

fn has(labels: &Map<String, Value>, key: &str, value: &str) -> bool {
    labels.get(key).and_then(Value::as_str) == Some(value)
}

/// `[prefix/]name`, as the API server demands it.
pub(super) fn check_key(key: &str) -> Result<(), Broken> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_is_fine = prefix.is_none_or(|prefix| {
        prefix.len() <= 253
            && prefix.split('.').all(|word| {
                let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                !word.is_empty()
                    && word.chars().all(|c| inner(c) || c == '-')
                    && word.starts_with(inner)
                    && word.ends_with(inner)
            })
    });
    if prefix_is_fine && is_name(name) { Ok(()) } else { Err(Broken("not a label key")) }
}

pub(super) fn check_value(value: &str) -> Result<(), Broken> {
    if value.is_empty() || is_name(value) { Ok(()) } else { Err(Broken("not a label value")) }
}

fn is_name(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text.chars().all(|c| outer(c) || "-_.".contains(c))
        && text.starts_with(outer)
        && text.ends_with(outer)
}
