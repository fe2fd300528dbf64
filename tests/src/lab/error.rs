//! What can go wrong in the lab, each with what to look at.

use std::io;
use std::time::Duration;

/// A step of the lab that failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A command ended with a failure.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The command as it would be typed.
        command: String,
        /// What it wrote on stderr, or how it ended.
        output: String,
    },
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A manifest that the lab can't read.
    #[error("{file}: {problem}")]
    Manifest {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A place that no manifest names.
    #[error("{0} is neither a pod of the manifests nor an address")]
    Unknown(String),
    /// Something that was waited for in vain.
    #[error("waited {patience:?} in vain for {what}")]
    Waited {
        /// What was waited for.
        what: String,
        /// For how long.
        patience: Duration,
    },
    /// Something that was seen and should not have been.
    #[error("{0}")]
    Unexpected(String),
}

impl LabError {
    /// Adapts an I/O error: `map_err(LabError::io("bind 10.0.0.1:80"))`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}
