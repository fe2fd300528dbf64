//! Labels and label selectors as written.
//!
//! A selector is read closed: an unknown field, operator or an impossible key or value breaks
//! it. Labels are read open: an object that bears odd labels still exists, and what is written
//! is what it bears.

use super::fields::{Broken, Place, Report, all};
use super::problem::quoted;
use super::tree::Value;
use crate::selector::{LabelSelector, Labels, Operator, Requirement, is_label_key, is_label_value};

const VALUE_RULE: &str = "use up to 63 letters, digits, -, _ and ., with a letter or digit at \
                          both ends";

/// Reads a selector.
pub(crate) fn selector(at: &Place<'_>, report: &mut Report<'_>) -> Result<LabelSelector, Broken> {
    let is_closed = at.closed(report, "a label selector", &["matchLabels", "matchExpressions"]);
    let labels =
        at.field("matchLabels").map_or(Ok(Vec::new()), |place| match_labels(&place, report));
    let expressions = at.field("matchExpressions").map_or(Ok(Vec::new()), |place| {
        let items = place.items(report, "matchExpressions")?;
        all(items.iter().map(|item| expression(item, report)))
    });
    is_closed?;
    let mut requirements = labels?;
    requirements.extend(expressions?);
    Ok(LabelSelector::new(requirements))
}

fn match_labels(at: &Place<'_>, report: &mut Report<'_>) -> Result<Vec<Requirement>, Broken> {
    let fields = at.map(report, "matchLabels")?;
    all(fields.iter().map(|(key, node)| {
        let item = Place { node, path: format!("{}[{key}]", at.path) };
        let is_key = check_key(key, &item, report);
        let value = item.text(report, "a label's value")?;
        check_value(value, &item, report)?;
        is_key?;
        Ok(Requirement { key: key.clone(), operator: Operator::In(vec![value.to_owned()]) })
    }))
}

fn expression(at: &Place<'_>, report: &mut Report<'_>) -> Result<Requirement, Broken> {
    at.closed(report, "a match expression", &["key", "operator", "values"])?;
    let missing = |report: &mut Report<'_>, name: &str| {
        report.error(at, &format!("the match expression has no {name}"), &format!("add {name}"))
    };
    let Some(key_at) = at.field("key") else { return Err(missing(report, "key")) };
    let Some(operator_at) = at.field("operator") else { return Err(missing(report, "operator")) };
    let key = key_at.text(report, "key")?;
    check_key(key, &key_at, report)?;
    let values = at.field("values").map_or(Ok(Vec::new()), |place| values(&place, report))?;
    let operator = match (operator_at.text(report, "operator")?, values.is_empty()) {
        ("In", false) => Operator::In(values),
        ("NotIn", false) => Operator::NotIn(values),
        ("Exists", true) => Operator::Exists,
        ("DoesNotExist", true) => Operator::DoesNotExist,
        (name @ ("In" | "NotIn"), true) => {
            return Err(report.error(at, &format!("{name} needs values"), "add values"));
        }
        (name @ ("Exists" | "DoesNotExist"), false) => {
            return Err(report.error(at, &format!("{name} takes no values"), "remove values"));
        }
        (other, _) => {
            let message = format!("{} is not an operator", quoted(other));
            let remedy = "write In, NotIn, Exists or DoesNotExist";
            return Err(report.error(&operator_at, &message, remedy));
        }
    };
    Ok(Requirement { key: key.to_owned(), operator })
}

fn values(at: &Place<'_>, report: &mut Report<'_>) -> Result<Vec<String>, Broken> {
    let items = at.items(report, "values")?;
    let mut values = all(items.iter().map(|item| {
        let value = item.text(report, "a label's value")?;
        check_value(value, item, report)?;
        Ok(value.to_owned())
    }))?;
    values.sort();
    values.dedup();
    Ok(values)
}

fn check_key(key: &str, at: &Place<'_>, report: &mut Report<'_>) -> Result<(), Broken> {
    if is_label_key(key) {
        return Ok(());
    }
    let message = format!("{} cannot be a label's key", quoted(key));
    Err(report.error(at, &message, "write [prefix/]name, e.g. app.kubernetes.io/name"))
}

fn check_value(value: &str, at: &Place<'_>, report: &mut Report<'_>) -> Result<(), Broken> {
    if is_label_value(value) {
        return Ok(());
    }
    let message = format!("{} cannot be a label's value", quoted(value));
    Err(report.error(at, &message, VALUE_RULE))
}

/// Reads an object's labels as written. `Err` only where nothing can be said of them.
pub(crate) fn labels(at: &Place<'_>, report: &mut Report<'_>) -> Result<Labels, Broken> {
    let fields = at.map(report, "labels")?;
    let pairs = all(fields.iter().map(|(key, node)| {
        let item = Place { node, path: format!("{}[{key}]", at.path) };
        let value = label_value(&item, report)?;
        // Reported, and kept: it is what the object bears.
        let _ = check_key(key, &item, report);
        let _ = check_value(&value, &item, report);
        Ok((key.clone(), value))
    }))?;
    Ok(pairs.into_iter().collect())
}

/// The value as written; numbers and booleans without quotes are reported.
fn label_value(at: &Place<'_>, report: &mut Report<'_>) -> Result<String, Broken> {
    let value = match &at.node.value {
        Value::Text(text) => return Ok(text.clone()),
        Value::Bool(true) => "true".to_owned(),
        Value::Bool(false) => "false".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Number(text) => text.clone(),
        Value::Null => String::new(),
        Value::List(_) | Value::Map(_) => {
            return Err(at.mistyped(report, "a label's value", "text"));
        }
    };
    at.mistyped(report, "a label's value", "text");
    Ok(value)
}
