//! Namespaces as written.
//!
//! What of their labels cannot be read must let nobody in, so then no selector sees the namespace
//! (NP-59). Policies in it do not ask for its labels and count as ever. One of which it is not
//! known whether it is terminating is taken to be: what isolated its pods stays (NP-55).

use serde::{Deserialize, Serialize};

use super::fields::{Broken, Place, Report};
use super::labels;
use super::metadata::{self, FIELDS, Metadata};
use super::problem::quoted;
use crate::selector::Labels;

const UNSEEN: &str = "until then no namespaceSelector matches it";
const TERMINATING: &str = "until then it is taken to be terminating";

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Who it is.
    pub metadata: Metadata,
    /// Its labels as written; `None` where they cannot be read.
    pub labels: Option<Labels>,
    /// It is being deleted, with everything in it.
    pub is_terminating: bool,
}

impl Namespace {
    /// Reads a namespace.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let is_closed =
            report.within(TERMINATING, |report| root.closed(report, "a Namespace", &FIELDS));
        let labels = labels::of_object(root, UNSEEN, report).ok();
        let is_going = report.within(TERMINATING, |report| is_going(root, report));
        let is_doubtful = is_closed.is_err() || !metadata::is_whole(root);
        Self { metadata, labels, is_terminating: is_going.unwrap_or(true) || is_doubtful }
    }
}

/// Whether it says that it is being deleted, in one of two places.
fn is_going(root: &Place<'_>, report: &mut Report<'_>) -> Result<bool, Broken> {
    let deletion = root.field("metadata").and_then(|at| at.field("deletionTimestamp"));
    let is_deleted =
        deletion.map_or(Ok(false), |at| at.text(report, "deletionTimestamp").map(|_| true));
    let Some(status) = root.field("status") else { return is_deleted };
    status.unmistaken(report, "status", &["phase"])?;
    let Some(at) = status.field("phase") else { return is_deleted };
    match at.text(report, "phase")? {
        "Terminating" => Ok(true),
        "Active" | "" => is_deleted,
        other => {
            let message = format!("{} is not a phase of a namespace", quoted(other));
            Err(report.error(&at, &message, "write Active or Terminating"))
        }
    }
}
