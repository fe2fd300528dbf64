//! Times as the API server writes them.

use std::time::SystemTime;

/// As `2026-11-30T09:00:00Z`.
pub(super) fn text(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The time that a text names, if it names one.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}
