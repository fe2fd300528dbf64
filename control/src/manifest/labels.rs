//! Labels and label selectors as written.
//!
//! Both are read closed: an unknown field, operator or an impossible key or value breaks a
//! selector, and an impossible label breaks the labels that it is among.

use super::fields::{Broken, Place, Report, all};
use super::metadata;
use super::problem::quoted;
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
        let message = format!("the match expression has no {name}");
        report.error(&at.missing(name), &message, &format!("add {name}"))
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
            let message = format!("{name} needs values");
            return Err(report.error(&at.missing("values"), &message, "add values"));
        }
        (name @ ("Exists" | "DoesNotExist"), false) => {
            let message = format!("{name} takes no values");
            return Err(report.error(&at.missing("values"), &message, "remove values"));
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

/// Reads an object's labels. Those of which one is broken are not known at all: nobody can tell
/// what it was to be.
pub(crate) fn of_object(
    root: &Place<'_>,
    consequence: &'static str,
    report: &mut Report<'_>,
) -> Result<Labels, Broken> {
    let Some(at) = root.field("metadata").and_then(|metadata| metadata.field("labels")) else {
        // They may stand under the name that is unknown; `Metadata` has told of it.
        return if metadata::is_whole(root) { Ok(Labels::new()) } else { Err(Broken) };
    };
    report.within(consequence, |report| map(&at, report))
}

/// Reads a map of labels.
pub(crate) fn map(at: &Place<'_>, report: &mut Report<'_>) -> Result<Labels, Broken> {
    let fields = at.map(report, "labels")?;
    let pairs = all(fields.iter().map(|(key, node)| {
        let item = Place { node, path: format!("{}[{key}]", at.path) };
        let is_key = check_key(key, &item, report);
        let value = item.text(report, "a label's value")?;
        check_value(value, &item, report)?;
        is_key?;
        Ok((key.clone(), value.to_owned()))
    }))?;
    Ok(pairs.into_iter().collect())
}
