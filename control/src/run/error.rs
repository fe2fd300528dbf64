//! Why the switch did not start, or stopped badly.

use std::error::Error;

use crate::attach::AttachError;
use crate::attachments::StoreError;
use crate::handover::HandoverError;
use crate::http::HttpError;
use crate::lock::LockError;
use crate::manifest::Problem;
use crate::preflight::PreflightError;
use crate::socket::SocketError;
use crate::watch::ClientError;
use crate::watch_dir::WatchError;

/// Why the switch did not start, or stopped badly.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E: Error + 'static> {
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Another one runs, and gives nothing over.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// What a predecessor gave was not taken.
    #[error("a worker does not use the snapshot of what was taken over; see its log, and restart")]
    NotInForce,
    /// Manifests that cannot be read.
    #[error("the manifests cannot be read, so nothing is started:{}", lines(.0))]
    Manifests(Vec<Problem>),
    /// The directory cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The API server cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The machine lacks something.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// The Unix socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// What is kept of attached pods.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address for metrics.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An interface that the switch itself needs.
    #[error("{}", with_remedy(.0))]
    Attach(#[from] AttachError),
    /// The switch.
    #[error("the switch did not start: {0}")]
    Switch(#[source] E),
    /// The switch, at the end.
    #[error("the switch did not stop cleanly: {0}")]
    Stop(#[source] E),
    /// An interface at the end of a switch that gives all of them back.
    #[error("an interface was not given back: {}", with_remedy(.0))]
    Release(#[source] AttachError),
    /// Signals or the metric's buckets: broken invariants of the process.
    #[error("{0}")]
    Process(String),
}

fn with_remedy(error: &AttachError) -> String {
    format!("{error}: {}", error.remedy())
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |text, problem| format!("{text}\n  {problem}"))
}
