//! Service accounts as written: who a pod acts as.

use serde::{Deserialize, Serialize};

use super::fields::{Place, Report};
use super::labels;
use super::metadata::Metadata;
use crate::selector::Labels;

const FIELDS: [&str; 6] = [
    "apiVersion",
    "kind",
    "metadata",
    "secrets",
    "imagePullSecrets",
    "automountServiceAccountToken",
];
const UNSEEN: &str = "until then what allows by its labels does not match it, and what denies does";

/// The service account of a pod that names none.
pub const DEFAULT_ACCOUNT: &str = "default";

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    /// Who it is.
    pub metadata: Metadata,
    /// Its labels; `None` where they cannot be read: what denies must take them to match.
    pub labels: Option<Labels>,
}

impl ServiceAccount {
    /// Reads a service account; this cannot fail, only close.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        _ = root.closed(report, "a ServiceAccount", &FIELDS);
        let labels = labels::of_object(root, UNSEEN, report).ok();
        Self { metadata, labels }
    }
}
