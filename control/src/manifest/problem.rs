//! What is wrong with an object, where, and what to do about it.
//!
//! Every text in a `Problem` may hold what somebody wrote into a manifest, so control characters
//! and direction marks are escaped when it is made: no terminal and no log sees them raw
//! (CVE-2025-48056 was exactly that).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Characters of a quoted value that a message shows.
const QUOTED_MAX: usize = 80;

/// How much a problem changes what is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something is not enforced as written: it was read closed.
    Error,
    /// Read as Kubernetes reads it, but probably not what was meant.
    Warning,
    /// Nothing is wrong; something that may surprise.
    Notice,
}

impl Severity {
    /// Its name in text and JSON.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// One thing to be known about an object or a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// The file it is in; `None` for an object that came from the cluster.
    pub file: Option<String>,
    /// The line of the field, from 1, where known.
    pub line: Option<u32>,
    /// How much it changes what is enforced.
    pub severity: Severity,
    /// `NetworkPolicy demo/web`; empty when the whole file is meant.
    pub object: String,
    /// `spec.ingress[0].from[1].ipBlock.cidr`; empty when the whole object is meant.
    pub field: String,
    /// What is wrong, and what that does.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// A problem of a whole file.
    #[must_use]
    pub fn of_file(file: &str, line: Option<u32>, message: &str, remedy: &str) -> Self {
        Self {
            file: Some(escape(file)),
            line,
            severity: Severity::Error,
            object: String::new(),
            field: String::new(),
            message: escape(message),
            remedy: escape(remedy),
        }
    }

    /// A problem of an object, or between objects.
    #[must_use]
    pub fn of_object(
        severity: Severity,
        (file, line): (Option<&str>, Option<u32>),
        object: &str,
        field: &str,
        message: &str,
        remedy: &str,
    ) -> Self {
        Self {
            file: file.filter(|name| !name.is_empty()).map(escape),
            line,
            severity,
            object: escape(object),
            field: escape(field),
            message: escape(message),
            remedy: escape(remedy),
        }
    }
}

impl fmt::Display for Problem {
    /// One line: `error: web.yaml:7: NetworkPolicy demo/web: spec.podSelector: … (remedy)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity.label())?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            _ => {}
        }
        for part in [&self.object, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        write!(f, "{}", self.message)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, " ({})", self.remedy) }
    }
}

impl std::error::Error for Problem {}

/// The text with every character that a terminal might obey written as `\u{…}`.
#[must_use]
pub fn escape(text: &str) -> String {
    if !text.chars().any(is_unprintable) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_unprintable(letter) {
            escaped.extend(letter.escape_unicode());
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// Control characters, and the marks that reorder or hide what stands beside them.
fn is_unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// What somebody wrote, in quotes and not longer than a line bears.
#[must_use]
pub(crate) fn quoted(text: &str) -> String {
    let mut letters = text.chars();
    let head: String = letters.by_ref().take(QUOTED_MAX).collect();
    let more = if letters.next().is_some() { "…" } else { "" };
    format!("\"{head}{more}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_marks_are_escaped() {
        let problem = Problem::of_object(
            Severity::Error,
            (Some("a\u{1b}[2J.yaml"), Some(3)),
            "Pod x/\u{202e}y",
            "metadata.name",
            "bad\nname",
            "rename\u{9b}it",
        );
        let line = problem.to_string();
        assert!(!line.chars().any(is_unprintable), "{line:?}");
        assert!(
            line.contains("a\\u{1b}[2J.yaml:3: Pod x/\\u{202e}y: metadata.name: bad\\u{a}name")
        );
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(quoted(&"x".repeat(81)), format!("\"{}…\"", "x".repeat(80)));
        assert_eq!(quoted("x"), "\"x\"");
    }
}
