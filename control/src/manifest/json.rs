//! JSON where YAML is not quite it: a letter written as two halves, and what an error says.
//!
//! Manifests in JSON are read as the YAML that they nearly are, so that one reader counts lines
//! and finds repeated keys. YAML knows no surrogate pairs (`"\ud83d\ude00"`), which is how JSON
//! escapes a letter beyond U+FFFF.

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;

use super::problem::Problem;

/// The bytes of `\ud83d`.
const ESCAPE_BYTES: usize = 6;

/// Whether a file is meant to be JSON.
pub(super) fn is_meant(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// The text with each surrogate pair of a JSON text as the letter that it means. No line moves.
pub(super) fn joined(text: &str) -> Cow<'_, str> {
    let may_hold_pairs = text.contains("\\ud") || text.contains("\\uD");
    if !may_hold_pairs || serde_json::from_str::<Value>(text).is_err() {
        return Cow::Borrowed(text);
    }
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    // In JSON a backslash is always in a string, and always the first half of an escape.
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let (letter, used) = match pair(escape) {
            Some(letter) => (Some(letter), 2 * ESCAPE_BYTES),
            None => (None, 1 + escape.chars().nth(1).map_or(0, char::len_utf8)),
        };
        let (written, after) = escape.split_at(used);
        match letter {
            Some(letter) => whole.push(letter),
            None => whole.push_str(written),
        }
        rest = after;
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

/// The letter that two escapes at the start of this mean together.
fn pair(text: &str) -> Option<char> {
    let unit = |from: usize| {
        let digits = text.get(from..from + ESCAPE_BYTES)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let halves = [unit(0)?, unit(ESCAPE_BYTES)?];
    let mut letters = char::decode_utf16(halves);
    match (letters.next(), letters.next()) {
        (Some(Ok(letter)), None) => Some(letter),
        _ => None,
    }
}

/// The problem of a file that is meant to be JSON, in JSON's words and with its column.
pub(super) fn told(file: &str, text: &str, problem: Problem) -> Problem {
    match serde_json::from_str::<Value>(text) {
        Err(error) if is_meant(file) => {
            let line = u32::try_from(error.line()).ok();
            Problem {
                line,
                ..Problem::of_file(file, None, &format!("is not JSON: {error}"), &problem.remedy)
            }
        }
        _ => problem,
    }
}
