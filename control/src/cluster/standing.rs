//! How one resource of the API server stands: what of it is held, whether it was read, and what
//! goes wrong.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::manifest::{ObjectKey, ObjectKind, Problem, Severity};
use crate::watch::{RESOURCES, Trouble};

/// What is known of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    #[default]
    Unread,
    /// Everything.
    Read,
    /// The API server does not have it.
    Absent,
}

/// A failure that lasts: until a list is whole, or a watch brings something or has lasted.
#[derive(Clone, Debug)]
struct Failing {
    trouble: Trouble,
    since: SystemTime,
}

/// How a resource stands.
#[derive(Debug, Default)]
pub struct Standing {
    state: State,
    /// In which version it is watched.
    version: &'static str,
    held: BTreeSet<ObjectKey>,
    /// What the list that is under way has shown.
    listed: Option<BTreeSet<ObjectKey>>,
    failing: Option<Failing>,
    /// When something was last heard of it.
    heard: Option<SystemTime>,
    lists: u64,
    events: u64,
    resource_version: String,
    /// The newest of all that were taken in.
    newest: u64,
    /// The same of the list that is under way: it shows objects by name, and what is older than its
    /// newest may still come.
    listed_newest: u64,
}

impl Standing {
    pub(super) fn begin(&mut self, version: &'static str) {
        self.version = version;
        self.lists = self.lists.saturating_add(1);
        self.listed = Some(BTreeSet::new());
        self.listed_newest = 0;
    }

    /// Something was heard. A watch that brings something works; a list may still break.
    pub(super) fn note(&mut self, now: SystemTime) {
        if self.listed.is_none() {
            self.failing = None;
        }
        self.heard = Some(now);
        self.events = self.events.saturating_add(1);
    }

    /// A watch has lasted: it works, and nothing has changed.
    pub(super) fn steady(&mut self, now: SystemTime) {
        self.failing = None;
        self.heard = Some(now);
    }

    /// An object is taken in with this `metadata.resourceVersion`.
    pub(super) fn version_seen(&mut self, version: String) {
        // Those of one resource can be compared (KEP-5504); what is no number tells nothing.
        let number = version.parse().unwrap_or(0);
        let newest = if self.listed.is_some() { &mut self.listed_newest } else { &mut self.newest };
        *newest = number.max(*newest);
        self.resource_version = version;
    }

    /// Notes that an object is there; gives the other form of it, where that was held.
    pub(super) fn hold(&mut self, key: &ObjectKey) -> Option<ObjectKey> {
        if let Some(listed) = &mut self.listed {
            listed.insert(key.clone());
        }
        self.held.insert(key.clone());
        self.forms(key).into_iter().find(|form| form != key)
    }

    /// What an object of the API may be read as: an annotation stages a policy.
    pub(super) fn forms(&self, key: &ObjectKey) -> BTreeSet<ObjectKey> {
        let others = [key.staged(), key.enforced()];
        let others = others.into_iter().flatten().filter(|form| self.held.contains(form));
        others.chain([key.clone()]).collect()
    }

    /// Notes that an object is gone; whether it was held.
    pub(super) fn let_go(&mut self, key: &ObjectKey) -> bool {
        self.held.remove(key)
    }

    /// The list has ended: what it did not show.
    pub(super) fn end(&mut self, now: SystemTime) -> BTreeSet<ObjectKey> {
        let listed = self.listed.take();
        self.note(now);
        self.state = State::Read;
        // The end of a list that never began shows nothing, and takes nothing away.
        let Some(listed) = listed else { return BTreeSet::new() };
        // Not the greater of both: an API server that was restored from a backup counts anew.
        self.newest = self.listed_newest;
        self.held.difference(&listed).cloned().collect()
    }

    /// The API server has no such resource: what was held.
    pub(super) fn vanish(&mut self, now: SystemTime) -> BTreeSet<ObjectKey> {
        self.failing = None;
        self.heard = Some(now);
        self.state = State::Absent;
        self.listed = None;
        self.newest = 0;
        self.held.clone()
    }

    /// Something goes wrong, for so long already when it is told.
    pub(crate) fn fail(&mut self, trouble: Trouble, now: SystemTime, lasts: Duration) {
        let began = now.checked_sub(lasts).unwrap_or(now);
        let since = self.failing.as_ref().map_or(began, |failing| failing.since);
        self.failing = Some(Failing { trouble, since });
    }

    /// Since when it fails, if it does.
    #[must_use]
    pub fn failing_since(&self) -> Option<SystemTime> {
        self.failing.as_ref().map(|failing| failing.since)
    }

    /// What goes wrong, as it is told.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.failing.as_ref().map(|failing| &failing.trouble)
    }

    /// What is known.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it has been read, or is known not to be there.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.state != State::Unread
    }

    /// In which version it is watched; empty before it is.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// How many objects there are.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.held.len()
    }

    /// How often it was listed.
    #[must_use]
    pub fn lists(&self) -> u64 {
        self.lists
    }

    /// How often something was heard of it.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// When something was last heard.
    #[must_use]
    pub fn heard(&self) -> Option<SystemTime> {
        self.heard
    }

    /// `metadata.resourceVersion` of the object that was last heard of.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        &self.resource_version
    }

    /// The newest `metadata.resourceVersion` of which everything up to it was taken in; 0 where
    /// none is.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// What is to be said.
    pub(crate) fn problem(&self, kind: ObjectKind, is_stale: bool) -> Option<Problem> {
        let Failing { trouble, since } = self.failing.as_ref()?;
        let resource = RESOURCES.iter().find(|one| one.kind == kind)?.spoken();
        let stays = match self.state {
            State::Unread if is_stale => "the last good state stays in force before it is read",
            State::Unread => "nothing is enforced before it is read",
            State::Read | State::Absent => "what was last read stays in force",
        };
        let time = humantime::format_rfc3339_seconds(*since);
        let message = format!("{}; since {time}; {stays}", trouble.message);
        let none = (None, None);
        let object = "API server";
        Some(Problem::of_object(
            Severity::Error,
            none,
            object,
            &resource,
            &message,
            &trouble.remedy,
        ))
    }
}
