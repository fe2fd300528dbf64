//! A planned hand-over: an agent that is begun with `--take-over` takes the ports of one that runs.
//!
//! ```text
//!   old: serves ──────────────────────────> gives: ports, locks, listeners      ends
//!              ^ greeting    | ready            ^ give    | given               ^ taken
//!   new:       | (prepares)  v                  |         v binds, publishes,   |
//!        begins ── objects read, tables compiled, memory made ── listens ───────'
//! ```
//!
//! The two speak over a Unix socket of the old one, beside its lock file, a line at a time. What
//! arbitrates between them is not what they say but the locks ([`crate::lock`]): whoever holds them
//! is the switch. The old one that has given waits for `taken` with its workers at rest. If the new
//! one dies before, the kernel frees the locks, and the old one takes everything back.
//!
//! What is counted begins anew with the new agent, as after a restart.

mod predecessor;
mod successor;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::attach::AnchorSet;
use crate::settings::SourcePlan;

pub use predecessor::Predecessor;
pub use successor::{HandoverSocket, Heard, Successor, successors};

/// The first line, and the version of all lines. A later version bears another number.
const GREETING: &str = "lockgate hand-over 1";
/// The answer where another successor is being served.
const BUSY: &str = "busy";
/// The answer, before the letter of the old agent's anchors, and in a cluster the name of its node.
const READY: &str = "ready ";
const GIVE: &str = "give";
const GIVEN: &str = "given";
const TAKEN: &str = "taken";

/// How long the other one may take for a line that needs no work.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a successor may prepare: until an API server that is down has come back.
const PREPARE: Duration = Duration::from_mins(30);
/// How long the giving may take: workers and the kernel need some tens of milliseconds.
const GIVING: Duration = Duration::from_secs(10);
/// How long the taking may take, before the old agent asks the locks.
const TAKING: Duration = Duration::from_secs(10);

/// Where an agent with this lock file is asked for a hand-over: one of a cluster elsewhere than one of
/// a directory, so that neither takes what it knows no pods of from the other.
#[must_use]
pub fn path(lock: &Path, source: &SourcePlan) -> PathBuf {
    let mut path = lock.as_os_str().to_owned();
    path.push(match source {
        SourcePlan::Cluster(_) => ".handover",
        SourcePlan::Directory(_) => ".handover-of-directory",
    });
    path.into()
}

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The old agent cannot be asked.
    #[error(
        "lockgate is already running, and cannot be asked for a hand-over on {}: {source}; one of a \
         cluster and one of a directory take nothing over from each other: stop it first, or start \
         this one without --take-over where none runs", path.display()
    )]
    Unasked {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another one asked first.
    #[error("another agent is about to take over already: wait for its end, and start again")]
    Busy,
    /// It is of another node.
    #[error(
        "the agent that runs is of node {theirs}, and this one of {ours}: of another node's nothing is \
         taken over; see the setting node, or stop that one first"
    )]
    Node {
        /// Its node.
        theirs: String,
        /// That of this one.
        ours: String,
    },
    /// It said something else than what was expected.
    #[error(
        "the agent that runs speaks of a hand-over in other words ({0:?}): it is of another \
         version; stop it first"
    )]
    Strange(String),
    /// It is gone, or does not answer any more.
    #[error("the agent that runs has ended the hand-over: {0}; see its log, and start again")]
    Broken(#[source] io::Error),
}

/// The answer of an agent of a cluster's node, or of a directory, with these anchors.
fn ready(anchors: AnchorSet, node: Option<&str>) -> String {
    let of_node = node.map(|name| format!(" {name}")).unwrap_or_default();
    format!("{READY}{}{of_node}", anchors.letter())
}

/// The anchors that such an answer names, to an agent of this node. One without a node is as an agent
/// says it that is older than the name there: that is upgraded as ever.
fn anchors(line: &str, node: Option<&str>) -> Result<AnchorSet, HandoverError> {
    let strange = || HandoverError::Strange(line.to_owned());
    let mut words = line.strip_prefix(READY).ok_or_else(strange)?.splitn(2, ' ');
    let anchors = words.next().and_then(AnchorSet::of_letter).ok_or_else(strange)?;
    match (words.next(), node) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            let [theirs, ours] = [theirs, ours].map(str::to_owned);
            Err(HandoverError::Node { theirs, ours })
        }
        (Some(_), None) => Err(strange()),
        _ => Ok(anchors),
    }
}
