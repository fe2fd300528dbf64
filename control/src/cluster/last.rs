//! The last good state: what is enforced where the API server has not told everything yet, until it
//! has. It is as a predecessor knew it and changes in nothing but which pods are attached: half of
//! what is read anew is not mixed with it (NP-58).

use std::time::SystemTime;

use super::Cluster;
use crate::inventory::{Effect, Inventory};
use crate::last_good::Kept;
use crate::manifest::{Problem, Severity};

/// What is enforced in the meantime.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) cluster: Box<Cluster>,
    written: SystemTime,
}

impl Cluster {
    /// Goes by what was kept until everything is read; `written` is when it was.
    pub fn fall_back(&mut self, mut kept: Box<Self>, written: SystemTime) -> Effect {
        if self.is_whole() {
            return Effect::Nothing;
        }
        for (pod, attached) in self.pods.attached() {
            let _ = kept.attach(pod, attached.clone());
        }
        self.last = Some(Last { cluster: kept, written });
        Effect::Changed
    }

    /// Since when what is enforced may not hold any more, where it is the last good state.
    #[must_use]
    pub fn stale_since(&self) -> Option<SystemTime> {
        self.last.as_ref().map(|last| last.written)
    }

    /// Whether anything is known that may be enforced.
    #[must_use]
    pub fn may_be_enforced(&self) -> bool {
        self.last.is_some() || self.is_whole()
    }

    /// Notes how it stands with the file of what was heard.
    pub fn note_kept(&mut self, kept: Kept) {
        self.kept = kept;
    }

    /// How it stands with that file.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Everything was read: it takes the place of the last good state.
    pub(super) fn take_over(&mut self) -> Effect {
        match self.last.take() {
            Some(mut last) => {
                self.inventory.succeed(&mut last.cluster.inventory);
                Effect::Changed
            }
            None => Effect::Nothing,
        }
    }

    /// What is enforced, or will be.
    pub(super) fn known(&self) -> &Inventory {
        self.last.as_ref().map_or(&self.inventory, |last| &last.cluster.inventory)
    }

    pub(super) fn stale(&self) -> Option<Problem> {
        let since = humantime::format_rfc3339_seconds(self.last.as_ref()?.written);
        let message = format!(
            "what is enforced is the last good state, of {since}; what changed since is not known, \
             and pods that are new get no network"
        );
        let remedy = "see why the API server does not tell everything: it takes this place then";
        let place = (None, None);
        let severity = Severity::Error;
        Some(Problem::of_object(severity, place, "last good state", "", &message, remedy))
    }
}
