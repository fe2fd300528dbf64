//! What the plugin answers when it does not do what it was asked: a document with a code.
//!
//! Codes below 100 are the specification's own; ours begin there.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::protocol::Refusal;
use super::version::Version;

/// What kind of failure it is, as the specification numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Code(pub u32);

impl Code {
    /// The configuration is of a version that the plugin does not speak.
    pub const INCOMPATIBLE_VERSION: Self = Self(1);
    /// The configuration has a field that the plugin does not know.
    pub const UNSUPPORTED_FIELD: Self = Self(2);
    /// The container is not known, or is not there.
    pub const UNKNOWN_CONTAINER: Self = Self(3);
    /// A `CNI_` variable is missing or wrong.
    pub const ENVIRONMENT: Self = Self(4);
    /// A file, a socket, an interface or a process.
    pub const IO: Self = Self(5);
    /// Something is not the JSON that it should be.
    pub const DECODING: Self = Self(6);
    /// A field of the configuration is missing or wrong.
    pub const INVALID_CONFIG: Self = Self(7);
    /// It may well be done later.
    pub const TRY_AGAIN: Self = Self(11);
    /// No pod can be attached.
    pub const NOT_AVAILABLE: Self = Self(50);
    /// No pod can be attached, and those that are may be cut off.
    pub const LIMITED: Self = Self(51);
    /// What CHECK finds differs from what ADD made.
    pub const DIFFERENT: Self = Self(100);
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", told(.details))]
pub struct Failure {
    /// Its kind.
    pub code: Code,
    /// One sentence, which names the object and the field.
    pub message: String,
    /// What to do about it.
    pub details: String,
}

impl Failure {
    /// A failure and its remedy.
    pub fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: remedy.into() }
    }

    /// A path that the system refuses.
    #[must_use]
    pub fn io(what: &str, path: &Path, error: &std::io::Error, remedy: &str) -> Self {
        Self::new(Code::IO, format!("{what} {}: {error}", path.display()), remedy)
    }

    /// The document for the runtime.
    #[must_use]
    pub fn document(&self, version: Version) -> Value {
        json!({
            "cniVersion": version.text(),
            "code": self.code.0,
            "msg": self.message,
            "details": self.details,
        })
    }

    /// Adds what went wrong besides, while what had been done was undone.
    #[must_use]
    pub fn and(mut self, undoing: Option<Self>) -> Self {
        if let Some(other) = undoing {
            let mut told = vec![std::mem::take(&mut self.details)];
            told.retain(|text| !text.is_empty());
            told.push(format!("undoing it failed, too: {other}"));
            self.details = told.join("; ");
        }
        self
    }
}

/// The remedy as it stands behind the message.
fn told(details: &str) -> String {
    if details.is_empty() { String::new() } else { format!("; {details}") }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(Code(refusal.code), refusal.message, refusal.details)
    }
}
