//! One resource, listed and then watched for as long as it is there, by kube-runtime's watcher.
//!
//! ```text
//!   find --> list, page by page --> watch, from where the list was --.
//!    ^         |                      ^                 |             |
//!    |         `- fails: list anew    `-- ends, fails <-'             |
//!    `------------------------------------ expired (410), gone (404) <-'
//! ```
//!
//! It pauses after each failure, longer each time, until a list was read whole or a watch has
//! lasted: an API server that answers the first page of each list, or that ends each watch, is not
//! asked more often than one that answers nothing. The watcher asks when it is polled, so pausing
//! is not polling it; one that is to begin anew is made anew, for meanwhile the resource may be
//! served in another version, or no longer.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use kube::api::Api;
use kube::runtime::watcher::{Config, Error as WatcherError, Event, watcher};
use kube::{Client, Error, Resource as _};
use tokio::select;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::catalogue::Catalogue;
use super::gate::{ANSWER, Gate, Silence};
use super::patience::Patience;
use super::seen::Seen;
use super::trouble::{self, Trouble};
use super::{Heard, Resource, What};
use crate::manifest::ObjectKey;

/// How many objects one page of a list has.
const PAGE: u32 = 500;
/// How long one watch lasts, in seconds: what a dead connection may hide.
const WATCH_SECONDS: u32 = 90;
/// How long an absent resource is not asked for.
const ABSENT_PAUSE: Duration = Duration::from_secs(5);

/// The watch of one resource.
pub(super) struct Watch {
    pub(super) client: Client,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) resource: Resource,
    pub(super) to: Sender<Heard>,
}

/// What the watcher tells.
type Told = Result<Event<Seen>, WatcherError>;

/// What has been tried.
#[derive(Default)]
struct Tries {
    /// To find and to list: over with a list that is whole.
    list: Patience,
    /// To watch: over with a watch that has lasted, and not with a list, for one that expires at
    /// once would else be followed by list after list.
    watch: Patience,
    /// It was said to be absent.
    is_absent: bool,
}

/// Why what is going on ends.
enum End {
    /// Nobody listens any more.
    Over,
    /// The API server has no such resource.
    Absent,
    /// It cannot be found or listed, for so long.
    Unread(Trouble, Duration),
    /// It cannot be watched from where it was: it has to be found and listed anew.
    Lost(Trouble),
}

impl From<Over> for End {
    fn from(Over: Over) -> Self {
        Self::Over
    }
}

/// Nobody listens any more.
struct Over;

impl Watch {
    /// Until nobody listens any more; anew with each time that the API server's store went back.
    pub(super) async fn run(self, mut restored: watch::Receiver<u64>) {
        let mut tries = Tries::default();
        loop {
            let end = select! {
                Err(end) = self.once(&mut tries) => end,
                Ok(()) = restored.changed() => End::Lost(Trouble::restored(&self.resource)),
            };
            let is_absent = matches!(end, End::Absent);
            let (what, pause) = match end {
                End::Over => return,
                End::Absent => (What::Absent, ABSENT_PAUSE),
                End::Unread(trouble, lasts) => (What::Failed(trouble, lasts), tries.list.pause()),
                End::Lost(trouble) => (What::Failed(trouble, Duration::ZERO), tries.watch.pause()),
            };
            // What failed after it was absent may be there.
            tries.is_absent = is_absent;
            if self.say(what).await.is_err() {
                return;
            }
            sleep(pause).await;
        }
    }

    async fn once(&self, tries: &mut Tries) -> Result<Infallible, End> {
        let version = self.find(tries.is_absent).await?;
        let what = self.resource.as_kube(version);
        debug_assert_eq!(Seen::plural(&what), self.resource.plural);
        let gate = Arc::new(Gate::of(self.resource.kind, version));
        let api: Api<Seen> = Api::all_with(gate.before(&self.client), &what);
        let config = Config::default().page_size(PAGE).timeout(WATCH_SECONDS);
        let mut events = pin!(watcher(api, config));
        self.list(events.as_mut(), version).await?;
        tries.list = Patience::default();
        self.watch(events, &gate, version, &mut tries.watch).await
    }

    async fn find(&self, is_absent: bool) -> Result<&'static str, End> {
        if self.resource.is_everywhere() {
            return self.resource.kind.versions().first().copied().ok_or(End::Absent);
        }
        let began = Instant::now();
        let mut found = self.catalogue.find(&self.resource).await;
        if matches!(found, Ok(None)) && !is_absent {
            found = self.catalogue.find_unlisted(&self.resource).await;
        }
        match found {
            Ok(version) => version.ok_or(End::Absent),
            Err(error) => Err(End::Unread(Trouble::of(&self.resource, &error), began.elapsed())),
        }
    }

    /// Lists everything.
    async fn list(
        &self,
        mut events: impl Stream<Item = Told> + Unpin,
        version: &'static str,
    ) -> Result<(), End> {
        loop {
            let asked = Instant::now();
            let unread = |trouble| End::Unread(trouble, asked.elapsed());
            let event = timeout(ANSWER, events.next()).await;
            let event =
                event.map_err(|_| unread(Trouble::hangs(&self.resource, "list", ANSWER)))?;
            match event.ok_or(End::Over)? {
                Ok(Event::InitDone) => return Ok(self.say(What::Whole).await?),
                Ok(event) if let Some(another) = self.another(&event, version) => {
                    return Err(unread(another));
                }
                Ok(event) => self.take(event, version).await?,
                Err(error) => return Err(unread(self.trouble(cause(error).as_ref()))),
            }
        }
    }

    /// Watches until the resource has to be listed anew.
    async fn watch(
        &self,
        mut events: impl Stream<Item = Told> + Unpin,
        gate: &Gate,
        version: &'static str,
        tries: &mut Patience,
    ) -> Result<Infallible, End> {
        let mut has_lasted = false;
        loop {
            let event = select! {
                event = events.next() => event.ok_or(End::Over)?,
                () = gate.lasted(), if !has_lasted => {
                    has_lasted = true;
                    *tries = Patience::default();
                    self.say(What::Steady).await?;
                    continue;
                }
            };
            let error = match event {
                Ok(event) if let Some(another) = self.another(&event, version) => {
                    return Err(End::Lost(another));
                }
                Ok(event) => {
                    self.take(event, version).await?;
                    continue;
                }
                Err(error) => cause(error),
            };
            let trouble = self.trouble(error.as_ref());
            if self.is_lost(error.as_ref()) {
                return Err(End::Lost(trouble));
            }
            has_lasted = false;
            gate.over();
            let hung = matches!(error.as_ref().and_then(Silence::of), Some(Silence::Hangs));
            let lasts = if hung { ANSWER } else { Duration::ZERO };
            self.say(What::Failed(trouble, lasts)).await?;
            sleep(tries.pause()).await;
        }
    }

    async fn take(&self, event: Event<Seen>, version: &'static str) -> Result<(), Over> {
        self.say(match event {
            Event::Init => What::Begun(version),
            Event::InitApply(seen) | Event::Apply(seen) => {
                What::There(Box::new(seen.read(self.resource.kind, version)))
            }
            Event::Delete(seen) => What::Gone(self.key(seen, version)),
            Event::InitDone => What::Whole,
        })
        .await
    }

    /// What is wrong with an object that says of itself that it is of another kind.
    fn another(&self, event: &Event<Seen>, version: &str) -> Option<Trouble> {
        let (Event::InitApply(seen) | Event::Apply(seen) | Event::Delete(seen)) = event else {
            return None;
        };
        let said = seen.another(self.resource.kind.label(), version)?;
        Some(Trouble::another(&self.resource, &said))
    }

    /// Whether it can no longer be told what has changed since the list. Not by what cannot be read:
    /// the watcher would go on after it, and never know what it was.
    fn is_lost(&self, error: Option<&Error>) -> bool {
        let Some(error) = error else { return true };
        // 404 of what every API server has is of something that stands before it.
        let is_gone = trouble::is_not_found(error) && !self.resource.is_everywhere();
        is_gone || trouble::is_expired(error) || matches!(error, Error::SerdeError(_))
    }

    fn trouble(&self, error: Option<&Error>) -> Trouble {
        match error {
            Some(error) => Trouble::of(&self.resource, error),
            None => Trouble::unversioned(&self.resource),
        }
    }

    fn key(&self, seen: Seen, version: &'static str) -> ObjectKey {
        seen.read(self.resource.kind, version).object.metadata().key.clone()
    }

    async fn say(&self, what: What) -> Result<(), Over> {
        self.to.send(Heard::Of(self.resource.kind, what)).await.map_err(|_| Over)
    }
}

/// What went wrong when the watcher fails; nothing where an object, or a list, does not say which
/// version of it this is.
fn cause(error: WatcherError) -> Option<Error> {
    match error {
        WatcherError::NoResourceVersion => None,
        WatcherError::WatchError(status) => Some(Error::Api(status)),
        WatcherError::InitialListFailed(error)
        | WatcherError::WatchStartFailed(error)
        | WatcherError::WatchFailed(error) => Some(error),
    }
}
