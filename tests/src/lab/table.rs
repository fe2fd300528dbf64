//! The demo's table: what was expected of a probe, what was seen, who decided.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;

use serde_json::Value;

use super::error::LabError;
use super::node::Lab;
use super::probe::{self, Seen, Speech};
use super::switch;

/// One question to the lab, with the answer that its author expects.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Where it starts: `NAMESPACE/POD`, or an address outside.
    pub from: &'static str,
    /// Where it goes, likewise.
    pub to: &'static str,
    /// What is spoken.
    pub speech: Speech,
    /// The target port; none for ICMP.
    pub port: u16,
    /// Whether over IPv6.
    pub v6: bool,
    /// What its author expects: [`Seen::Answered`] or [`Seen::Silent`].
    pub expected: Seen,
}

/// A row with what came of it.
#[derive(Clone, Debug)]
pub struct Result {
    /// The question.
    pub row: Row,
    /// What the probe saw.
    pub seen: Seen,
    /// What `lockgate explain` says, in one line.
    pub decided_by: String,
    /// Whether `lockgate explain` gives the expected verdict too.
    pub explained: bool,
}

impl Result {
    /// Whether all is as expected.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        self.seen == self.row.expected && self.explained
    }
}

/// Tries all rows at once, each over its own sockets.
///
/// # Errors
/// When a place is unknown, a probe can't be made, or `lockgate explain` fails.
pub fn try_all(
    lab: &Lab,
    binary: &Path,
    manifests: &Path,
    rows: &[Row],
) -> std::result::Result<Vec<Result>, LabError> {
    thread::scope(|scope| {
        let tries: Vec<_> =
            rows.iter().map(|row| scope.spawn(|| try_one(lab, binary, manifests, row))).collect();
        let joined = tries.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn try_one(
    lab: &Lab,
    binary: &Path,
    manifests: &Path,
    row: &Row,
) -> std::result::Result<Result, LabError> {
    let (from, target) = (lab.place(row.from)?, lab.place(row.to)?.address(row.v6));
    let target = target.ok_or_else(|| LabError::Unknown(row.to.to_owned()))?;
    let seen = probe::probe(row.speech, &from, (target, row.port).into(), probe::PATIENCE)?;
    let answer = explain(binary, manifests, row)?;
    let verdict = if row.expected == Seen::Answered { "allow" } else { "deny" };
    let explained = answer["verdict"] == verdict;
    Ok(Result { row: *row, seen, decided_by: decided_by(&answer), explained })
}

/// Asks `lockgate explain`, offline, about a row.
///
/// # Errors
/// When it can't answer.
pub fn explain(binary: &Path, manifests: &Path, row: &Row) -> std::result::Result<Value, LabError> {
    let (directory, protocol) = (manifests.display().to_string(), row.speech.to_string());
    let (port, family) = (row.port.to_string(), if row.v6 { "6" } else { "4" });
    let mut words = vec!["explain", "--manifests", &directory, "--from", row.from, "--to", row.to];
    words.extend(["--protocol", &protocol, "--family", family]);
    if row.speech != Speech::Icmp {
        words.extend(["--port", &port]);
    }
    switch::ask(binary, &words)
}

/// One line of `explain`'s JSON: the rule of each direction that allowed, or the direction that
/// denies, who isolates there, and the nearest rule.
#[must_use]
pub fn decided_by(answer: &Value) -> String {
    let denied = ["egress", "ingress"].into_iter().find(|way| answer[way]["verdict"] == "deny");
    let Some(way) = denied else {
        let by = ["egress", "ingress"].map(|way| format!("{way} {}", words(&answer[way]["by"])));
        return by.join(", ");
    };
    let mut line = format!("{way} isolated by {}", words(&answer[way]["isolated_by"]));
    if !answer[way]["nearest"].is_null() {
        // Writing to a String can't fail.
        let _ = write!(line, "; nearest {}", words(&answer[way]["nearest"]));
    }
    line
}

/// A JSON value as words: lists with commas, objects by their values.
fn words(value: &Value) -> String {
    match value {
        Value::Null => "nobody".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .values()
            .filter(|value| !value.is_null())
            .map(words)
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    }
}

/// The table's head.
#[must_use]
pub fn head() -> String {
    line("from → to : port", "expected", "seen", "decided by")
}

/// One line of the table.
#[must_use]
pub fn text(result: &Result) -> String {
    let Row { from, to, speech, port, v6, expected } = result.row;
    let family = if v6 { "6" } else { "" };
    let port = if speech == Speech::Icmp { "echo".to_owned() } else { port.to_string() };
    let way = format!("{from} → {to} : {speech}{family} {port}");
    let mark = if result.is_expected() { "" } else { "  <-- NOT AS EXPECTED" };
    line(
        &way,
        &expected.to_string(),
        &result.seen.to_string(),
        &format!("{}{mark}", result.decided_by),
    )
}

fn line(way: &str, expected: &str, seen: &str, decided_by: &str) -> String {
    format!("{way:<44} {expected:<9} {seen:<9} {decided_by}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_the_direction_the_isolating_policies_and_the_nearest_rule() {
        let answer = serde_json::json!({
            "verdict": "deny",
            "egress": {"verdict": "deny", "isolated_by": ["fme/a", "fme/b"], "nearest": {"rule": "fme/b egress[0]", "failed": ["port"]}},
            "ingress": {"verdict": "allow", "by": "fme/c ingress[1]"},
        });
        let line = decided_by(&answer);
        assert!(line.starts_with("egress isolated by fme/a, fme/b; nearest "), "{line}");
        assert!(line.contains("fme/b egress[0]") && line.contains("port"), "{line}");
    }

    #[test]
    fn a_row_is_as_expected_only_if_seen_and_explained_so() {
        let row = Row {
            from: "a/b",
            to: "a/c",
            speech: Speech::Tcp,
            port: 80,
            v6: false,
            expected: Seen::Silent,
        };
        let result = |seen, explained| Result { row, seen, decided_by: String::new(), explained };
        assert!(result(Seen::Silent, true).is_expected());
        assert!(!result(Seen::Silent, false).is_expected());
        assert!(!result(Seen::Refused, true).is_expected(), "a refusal came from the target");
        assert!(text(&result(Seen::Answered, true)).ends_with("NOT AS EXPECTED"));
    }
}
