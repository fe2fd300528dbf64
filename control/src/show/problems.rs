//! Problems for people: one line each, but of resources that the API server does not tell for one and
//! the same cause one line together. The document has each by itself.

use std::fmt::Write;

use serde_json::Value;

use super::{cell, list};

/// Where the problems of resources stand.
const OF_RESOURCES: &str = "API server";

/// What several resources may have in common.
#[derive(PartialEq, Eq)]
struct Cause {
    severity: String,
    /// What goes wrong, behind the resource's name.
    what: String,
    /// What that does.
    stays: String,
    remedy: String,
}

/// Those resources, and since when the first of them fails.
struct Failing {
    cause: Cause,
    resources: Vec<String>,
    since: String,
}

/// What is to be said of a document's problems of this name.
pub(super) fn problems(document: &Value, name: &str) -> String {
    let mut lines: Vec<Line> = Vec::new();
    for problem in list(document, name) {
        let Some(next) = of_resource(problem) else {
            lines.push(Line::Alone(alone(problem)));
            continue;
        };
        let same = lines.iter_mut().find_map(|line| match line {
            Line::Together(failing) if failing.cause == next.cause => Some(failing),
            _ => None,
        });
        match same {
            Some(failing) => {
                failing.resources.extend(next.resources);
                // Times of this form are in order as texts.
                failing.since = next.since.min(std::mem::take(&mut failing.since));
            }
            None => lines.push(Line::Together(next)),
        }
    }
    let mut text: String = lines.iter().map(Line::text).collect();
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

enum Line {
    Alone(String),
    Together(Failing),
}

impl Line {
    fn text(&self) -> String {
        match self {
            Self::Alone(text) => text.clone(),
            Self::Together(Failing { cause, resources, since }) => {
                let Cause { severity, what, stays, remedy } = cause;
                let who = match resources.as_slice() {
                    [one] => format!("{one}: {one}"),
                    all => format!("{} resources", all.len()),
                };
                format!(
                    "\n{severity}: {OF_RESOURCES}: {who} {what}; since {since}; {stays} ({remedy})"
                )
            }
        }
    }
}

/// A problem by itself.
fn alone(problem: &Value) -> String {
    let part = |name: &str| cell(problem.get(name));
    let place = [part("file"), part("object"), part("field")];
    let place: Vec<_> = place.into_iter().filter(|part| part != "-" && !part.is_empty()).collect();
    let (severity, message) = (part("severity"), part("message"));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "\n{severity}: {}: {message} ({})", place.join(": "), part("remedy"));
    text
}

/// A resource that fails, as `cluster::Standing` tells it: `pods cannot be read: WHY; since TIME;
/// WHAT STAYS`.
fn of_resource(problem: &Value) -> Option<Failing> {
    let part = |name: &str| cell(problem.get(name));
    let (resource, message) = (part("field"), part("message"));
    let told = message.strip_prefix(&resource)?.strip_prefix(' ')?;
    let (what, rest) = told.rsplit_once("; since ")?;
    let (since, stays) = rest.split_once("; ")?;
    let is_of_one = part("object") == OF_RESOURCES && part("file") == "-";
    let (what, stays, since) = (what.to_owned(), stays.to_owned(), since.to_owned());
    let cause = Cause { severity: part("severity"), what, stays, remedy: part("remedy") };
    is_of_one.then(|| Failing { cause, resources: vec![resource], since })
}
