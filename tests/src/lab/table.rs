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
/// denies, who isolates there, and the nearest rule with what it wanted.
#[must_use]
pub fn decided_by(answer: &Value) -> String {
    let ways = ["egress", "ingress"];
    match ways.into_iter().find(|way| answer[way]["verdict"] == "deny") {
        Some(way) => denied_by(way, &answer[way]),
        None => ways.map(|way| allowed_by(way, &answer[way])).join(", "),
    }
}

fn allowed_by(way: &str, side: &Value) -> String {
    match side["by"].as_array().map_or(&[][..], Vec::as_slice) {
        [] => format!("{way} {}", text_of(&side["reason"]).replace('_', " ")),
        rules => rules.iter().map(|one| rule(way, one)).collect::<Vec<_>>().join(", "),
    }
}

fn denied_by(way: &str, side: &Value) -> String {
    let isolating = texts(&side["isolated_by"]).join(", ");
    let mut line = format!("no {way} rule; isolated by {isolating}");
    let nearest = &side["nearest"];
    if nearest.is_object() {
        let mut wanted = texts(&nearest["detail"]);
        wanted.dedup();
        // Writing to a String can't fail.
        let _ = write!(line, "; nearest {}: {}", rule(way, nearest), wanted.join("; "));
    }
    line
}

/// `fme/core ingress[1]`.
fn rule(way: &str, value: &Value) -> String {
    format!("{} {way}[{}]", text_of(&value["policy"]), value["rule"])
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map_or(Vec::new(), |items| items.iter().map(text_of).collect())
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
            "egress": {
                "verdict": "deny", "reason": "default_deny", "by": [],
                "isolated_by": ["fme/a", "fme/b"],
                "nearest": {"policy": "fme/b", "rule": 0, "failed": ["port"], "detail": ["7070 wanted, is 1"]},
            },
            "ingress": {"verdict": "allow", "reason": "rule", "by": [{"policy": "fme/c", "rule": 1}]},
        });
        let expected =
            "no egress rule; isolated by fme/a, fme/b; nearest fme/b egress[0]: 7070 wanted, is 1";
        assert_eq!(decided_by(&answer), expected);
    }

    #[test]
    fn an_allowed_row_names_the_rule_or_the_reason_of_each_direction() {
        let answer = serde_json::json!({
            "verdict": "allow",
            "egress": {"verdict": "allow", "reason": "not_isolated", "by": []},
            "ingress": {"verdict": "allow", "reason": "rule", "by": [{"policy": "fme/c", "rule": 1}]},
        });
        assert_eq!(decided_by(&answer), "egress not isolated, fme/c ingress[1]");
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
