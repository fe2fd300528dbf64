//! Whether the API server answers, and since when it does not.

use std::time::SystemTime;

use crate::manifest::{Problem, Severity};
use crate::watch::Trouble;

/// The API server as this node sees it.
#[derive(Debug, Default)]
pub struct Server {
    answered: Option<SystemTime>,
    silent: Option<(Trouble, SystemTime)>,
}

impl Server {
    pub(super) fn feel(&mut self, pulse: Result<(), Trouble>, now: SystemTime) {
        match pulse {
            Ok(()) => {
                self.answered = Some(now);
                self.silent = None;
            }
            Err(trouble) => {
                let since = self.silent.take().map_or(now, |(_, since)| since);
                self.silent = Some((trouble, since));
            }
        }
    }

    /// When it last answered.
    #[must_use]
    pub fn answered(&self) -> Option<SystemTime> {
        self.answered
    }

    /// Since when it does not.
    #[must_use]
    pub fn silent_since(&self) -> Option<SystemTime> {
        self.silent.as_ref().map(|(_, since)| *since)
    }

    pub(super) fn problem(&self, is_whole: bool) -> Option<Problem> {
        let (trouble, since) = self.silent.as_ref()?;
        let time = humantime::format_rfc3339_seconds(*since);
        let stays =
            if is_whole { "what was last read stays in force" } else { "nothing is enforced yet" };
        let message = format!("{}; since {time}; {stays}", trouble.message);
        let (place, remedy) = ((None, None), &trouble.remedy);
        Some(Problem::of_object(Severity::Error, place, "API server", "", &message, remedy))
    }
}
