//! Documents of the running switch as tables for people.
//!
//! What is written into a table may come from whoever writes manifests: control characters are
//! escaped, as everywhere.

use std::fmt::Write;

use serde_json::Value;

use crate::ask::Show;
use crate::manifest::escape;

mod problems;
#[cfg(test)]
mod tests;

use problems::problems;

/// A column: its head, and the field that it shows.
pub(crate) type Column = (&'static str, &'static str);

const WORKERS: [Column; 8] = [
    ("WORKER", "worker"),
    ("CORE", "core"),
    ("TURNS", "turns"),
    ("BUSY", "busy_ratio"),
    ("RECEIVED", "received_packets"),
    ("SENT", "sent_packets"),
    ("DROPPED", "dropped_packets"),
    ("CONNECTIONS", "connections"),
];

const PORTS: [Column; 11] = [
    ("NAMESPACE", "namespace"),
    ("POD", "pod"),
    ("INTERFACE", "interface"),
    ("KIND", "kind"),
    ("PORT", "port"),
    ("WORKERS", "workers"),
    ("MAC", "mac"),
    ("MTU", "mtu"),
    ("RECEIVED", "received_packets"),
    ("SENT", "sent_packets"),
    ("DROPPED", "dropped_packets"),
];

const CONNECTIONS: [Column; 9] = [
    ("PROTOCOL", "protocol"),
    ("SOURCE", "source"),
    ("PORT", "source_port"),
    ("POD", "source_pod"),
    ("TARGET", "target"),
    ("PORT", "target_port"),
    ("POD", "target_pod"),
    ("STATE", "state"),
    ("VERDICT", "verdict"),
];

const POLICIES: [Column; 7] = [
    ("POLICY", "name"),
    ("TIER", "tier"),
    ("STAGE", "stage"),
    ("ISOLATES", "isolates"),
    ("INGRESS RULES", "ingress_rules"),
    ("EGRESS RULES", "egress_rules"),
    ("PODS", "pods"),
];

const DENIED: [Column; 10] = [
    ("TIME", "time"),
    ("PROTOCOL", "protocol"),
    ("SOURCE", "source"),
    ("POD", "source_pod"),
    ("TARGET", "target"),
    ("PORT", "target_port"),
    ("POD", "target_pod"),
    ("REASON", "reason"),
    ("ISOLATED BY", "isolated_by"),
    ("NEAREST RULE AND WHAT FAILED", "told"),
];

const AUDIT: [Column; 10] = [
    ("TIME", "time"),
    ("PROTOCOL", "protocol"),
    ("SOURCE", "source"),
    ("POD", "source_pod"),
    ("TARGET", "target"),
    ("PORT", "target_port"),
    ("POD", "target_pod"),
    ("OUTCOME", "outcome"),
    ("RECORDED BY", "recorded"),
    ("WERE ALL IN FORCE THAT IS STAGED", "would"),
];

/// A document as text.
#[must_use]
pub fn text(show: Show, document: &Value) -> String {
    match show {
        Show::Status {} => status(document),
        Show::Ports {} => {
            table(&PORTS, list(document, "ports")) + &problems(document, "not_attached")
        }
        Show::Connections { .. } => {
            let mut text = table(&CONNECTIONS, list(document, "connections"));
            if document.get("cut") == Some(&Value::Bool(true)) {
                text.push_str("There may be more: see --limit.\n");
            }
            text
        }
        Show::Ready {} | Show::Metrics {} | Show::Settings {} => {
            document["text"].as_str().map_or_else(|| document.to_string(), escape)
        }
        Show::Policies {} => table(&POLICIES, list(document, "policies")),
        Show::Denied {} => {
            let rows: Vec<Value> = list(document, "denied").iter().map(with_cause).collect();
            table(&DENIED, &rows)
        }
        Show::Audit {} => {
            let rows: Vec<Value> = list(document, "audit").iter().map(with_audit).collect();
            table(&AUDIT, &rows)
        }
    }
}

/// A row of audited packets with its rules in words.
fn with_audit(row: &Value) -> Value {
    let part = |value: &Value, name: &str| cell(value.get(name));
    let rule = |value: &Value, direction: &str| {
        format!("{} {direction}[{}]", part(value, "policy"), part(value, "rule"))
    };
    let recorded = list(row, "recorded_by").iter().map(|one| rule(one, &part(one, "direction")));
    let recorded: Vec<String> = recorded.collect();
    let would = row.get("staged").filter(|staged| staged.is_object()).map(|staged| {
        let direction = part(staged, "direction");
        let by: Vec<String> = list(staged, "by").iter().map(|one| rule(one, &direction)).collect();
        let isolated_by = part(staged, "isolated_by");
        let verdict = part(staged, "verdict");
        match (by.is_empty(), isolated_by.as_str()) {
            (false, _) => format!("{verdict} by {}", by.join(", ")),
            // Nothing isolates that side any more.
            (true, "-") => format!("{verdict}, {direction} is not isolated"),
            (true, isolated_by) => format!("{verdict}, {direction} is isolated by {isolated_by}"),
        }
    });
    let mut row = row.clone();
    if let Value::Object(fields) = &mut row {
        fields.insert("recorded".to_owned(), recorded.join(", ").into());
        fields.insert("would".to_owned(), would.into());
    }
    row
}

/// A row of denied packets with its cause in words: `demo/web ingress[0]: port: 81 wanted, is 80`.
fn with_cause(row: &Value) -> Value {
    let part = |value: &Value, name: &str| cell(value.get(name));
    let rule = |value: &Value| {
        let place = format!("{}[{}]", part(row, "direction"), part(value, "rule"));
        format!("{} {place}", part(value, "policy"))
    };
    let mut told = Vec::new();
    if row.get("allowed_now") == Some(&Value::Bool(true)) {
        told.push("it is allowed now".to_owned());
    }
    if let Some(nearest @ Value::Object(_)) = row.get("nearest") {
        let pairs = list(nearest, "failed").iter().zip(list(nearest, "detail"));
        let failed = pairs.map(|(failed, detail)| {
            format!("{}: {}", cell(Some(failed)).replace('_', " "), cell(Some(detail)))
        });
        told.push(format!("{}: {}", rule(nearest), failed.collect::<Vec<_>>().join("; ")));
    }
    told.extend(list(row, "broken").iter().map(|broken| format!("broken: {}", rule(broken))));
    // What is in a rule is told by the rule.
    let in_rule = |field: &str| field.contains("gress[");
    let elsewhere = list(row, "problems").iter().filter(|one| !in_rule(&part(one, "field")));
    told.extend(elsewhere.map(|one| format!("{}: {}", part(one, "object"), part(one, "message"))));
    let mut row = row.clone();
    if let Value::Object(fields) = &mut row {
        fields.insert("told".to_owned(), told.join("; ").into());
    }
    row
}

fn status(document: &Value) -> String {
    let field = |name: &str| cell(document.get(name));
    let mut text = String::new();
    let ready =
        if document.get("ready") == Some(&Value::Bool(true)) { "ready" } else { "not ready" };
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "lockgate {} is {ready}: process {}, up {} s\n\
         snapshot {} published, {} in force, epoch {}, {} changes applied\n\
         {} pods known, {} attached, {} policies from {}\n\
         metrics on http://{}/metrics\nframes per worker: {}\n",
        field("version"),
        field("pid"),
        field("uptime_seconds"),
        field("generation"),
        field("generation_in_force"),
        field("epoch"),
        field("changes_applied"),
        field("pods"),
        field("pods_attached"),
        field("policies"),
        field("manifests"),
        field("listen"),
        field("frames"),
    );
    text + &table(&WORKERS, list(document, "workers")) + &problems(document, "problems")
}

fn list<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Rows under heads, each column as wide as its widest cell.
pub(crate) fn table(columns: &[Column], rows: &[Value]) -> String {
    let heads = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
    let mut lines: Vec<Vec<String>> = vec![heads];
    lines.extend(
        rows.iter().map(|row| columns.iter().map(|(_, field)| cell(row.get(field))).collect()),
    );
    let width = |at: usize| {
        let cells = lines.iter().filter_map(|line| line.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => escape(text),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(share) if number.is_f64() => format!("{:.0} %", share * 100.0),
            _ => number.to_string(),
        },
        Some(Value::Array(values)) if values.is_empty() => "-".to_owned(),
        Some(Value::Array(values)) => {
            values.iter().map(|value| cell(Some(value))).collect::<Vec<_>>().join(",")
        }
        Some(other) => escape(&other.to_string()),
    }
}
