//! The section `restart`: what outlives the process, and what is picked up without.

use std::path::PathBuf;

use super::check::{absolute, number, text};
use super::{CONNECTIONS, GRACE, RawRestart, SettingsError};

/// The longest grace, in seconds: whoever has sent nothing for so long begins anew.
const GRACE_MAX: i64 = 300;

/// What becomes of connections when the switch starts again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPlan {
    /// The directory where they are kept; `None`: they end with the process.
    pub keep: Option<PathBuf>,
    /// For how many seconds TCP of which nothing is known is picked up; 0: never.
    pub grace: u32,
}

impl RestartPlan {
    pub(super) fn new(raw: RawRestart) -> Result<Self, SettingsError> {
        let is_kept = raw.keep.unwrap_or(true);
        if let Some(directory) = raw.directory.as_ref().filter(|_| !is_kept) {
            let reason = "restart.keep is false: leave one of the two out";
            return Err(text("restart.directory", &directory.to_string_lossy(), &reason));
        }
        let directory = absolute("restart.directory", raw.directory, CONNECTIONS)?;
        Ok(Self {
            keep: is_kept.then_some(directory),
            grace: number("restart.grace", raw.grace, GRACE, 0, GRACE_MAX)?,
        })
    }
}
