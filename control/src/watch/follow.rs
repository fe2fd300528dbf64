//! One resource, listed and then watched for as long as it is there.
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
//! asked more often than one that answers nothing.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Client, Error, Resource as _};
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::catalogue::Catalogue;
use super::patience::Patience;
use super::seen::Seen;
use super::trouble::{self, Trouble};
use super::{Heard, Resource, What};
use crate::manifest::ObjectKey;

/// How many objects one page of a list has.
const PAGE: u32 = 500;
/// How long one watch lasts, in seconds: what a dead connection may hide.
const WATCH_SECONDS: u32 = 90;
/// How long a watch may be silent: the API server ends it before that.
const SILENT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);
/// How long a watch must last before it is one that works.
pub(super) const LASTED: Duration = Duration::from_secs(5);
/// How long a page of a list, and the beginning of a watch, may take.
pub(super) const ANSWER: Duration = Duration::from_secs(30);
/// How long an absent resource is not asked for.
const ABSENT_PAUSE: Duration = Duration::from_secs(5);

/// The watch of one resource.
pub(super) struct Watch {
    pub(super) client: Client,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) resource: Resource,
    pub(super) to: Sender<Heard>,
}

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

/// Why a watch ends.
enum Ended {
    /// Nobody listens any more.
    Over,
    /// Soon after it began, without a word.
    Early(Duration),
    /// An answer, or none.
    Error(Error),
    /// It did not begin for so long.
    Hangs(Duration),
    /// An object does not say which version of it this is.
    Unversioned,
}

impl From<Over> for End {
    fn from(Over: Over) -> Self {
        Self::Over
    }
}

impl From<Over> for Ended {
    fn from(Over: Over) -> Self {
        Self::Over
    }
}

/// Nobody listens any more.
struct Over;

impl Watch {
    /// Until nobody listens any more.
    pub(super) async fn run(self) {
        let mut tries = Tries::default();
        loop {
            let Err(end) = self.once(&mut tries).await;
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
        let api: Api<Seen> = Api::all_with(self.client.clone(), &what);
        let mut from = self.list(&api, version).await?;
        tries.list = Patience::default();
        loop {
            let Err(ended) = self.watch(&api, version, &mut from, &mut tries.watch).await else {
                continue;
            };
            let (trouble, lasts, is_lost) = self.told(ended)?;
            if is_lost {
                return Err(End::Lost(trouble));
            }
            self.say(What::Failed(trouble, lasts)).await?;
            sleep(tries.watch.pause()).await;
        }
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

    /// Lists everything; the version from which to watch.
    async fn list(&self, api: &Api<Seen>, version: &'static str) -> Result<String, End> {
        self.say(What::Begun(version)).await?;
        let mut which = ListParams::default().limit(PAGE);
        loop {
            let began = Instant::now();
            let trouble = |trouble| End::Unread(trouble, began.elapsed());
            let page = timeout(ANSWER, api.list(&which)).await;
            let page = page.map_err(|_| trouble(Trouble::hangs(&self.resource, "list", ANSWER)))?;
            let page = page.map_err(|error| trouble(Trouble::of(&self.resource, &error)))?;
            for seen in page.items {
                self.there(seen, version).await?;
            }
            let some = |text: &String| !text.is_empty();
            which.continue_token = page.metadata.continue_.filter(some);
            if which.continue_token.is_none() {
                let from = page.metadata.resource_version.filter(some);
                let from = from.ok_or_else(|| trouble(Trouble::unversioned(&self.resource)))?;
                self.say(What::Whole).await?;
                return Ok(from);
            }
        }
    }

    /// One watch; what it brings moves `from`.
    async fn watch(
        &self,
        api: &Api<Seen>,
        version: &'static str,
        from: &mut String,
        tries: &mut Patience,
    ) -> Result<(), Ended> {
        let which =
            WatchParams { timeout: Some(WATCH_SECONDS), bookmarks: true, ..Default::default() };
        let began = Instant::now();
        let stream = timeout(ANSWER, api.watch(&which, from)).await;
        let stream = stream.map_err(|_| Ended::Hangs(ANSWER))?.map_err(Ended::Error)?;
        let mut stream = pin!(stream);
        let steady = Instant::now() + LASTED;
        let mut has_lasted = false;
        loop {
            let until = if has_lasted { Instant::now() + SILENT } else { steady };
            match timeout_at(until, stream.next()).await {
                Err(_) | Ok(None) if has_lasted => return Ok(()),
                Err(_) => {
                    has_lasted = true;
                    *tries = Patience::default();
                    self.say(What::Steady).await?;
                }
                Ok(None) => return Err(Ended::Early(began.elapsed())),
                Ok(Some(event)) => {
                    let at = self.event(event.map_err(Ended::Error)?, version).await?;
                    *from = at.filter(|at| !at.is_empty()).ok_or(Ended::Unversioned)?;
                }
            }
        }
    }

    /// Says what came; the version of what is watched, by then.
    async fn event(
        &self,
        event: WatchEvent<Seen>,
        version: &'static str,
    ) -> Result<Option<String>, Ended> {
        match event {
            WatchEvent::Added(seen) | WatchEvent::Modified(seen) => {
                let at = seen.meta().resource_version.clone();
                self.there(seen, version).await?;
                Ok(at)
            }
            WatchEvent::Deleted(seen) => {
                let at = seen.meta().resource_version.clone();
                self.say(What::Gone(self.key(seen, version))).await?;
                Ok(at)
            }
            WatchEvent::Bookmark(mark) => Ok(Some(mark.metadata.resource_version)),
            WatchEvent::Error(status) => Err(Ended::Error(Error::Api(status))),
        }
    }

    /// What to tell of the end of a watch, how long it has lasted, and whether to list anew.
    fn told(&self, ended: Ended) -> Result<(Trouble, Duration, bool), End> {
        let (resource, at_once) = (&self.resource, Duration::ZERO);
        Ok(match ended {
            Ended::Over => return Err(End::Over),
            Ended::Early(after) => (Trouble::early(resource, after), at_once, false),
            Ended::Hangs(time) => (Trouble::hangs(resource, "watch", time), time, false),
            Ended::Unversioned => (Trouble::unversioned(resource), at_once, true),
            Ended::Error(error) => {
                // 404 of what every API server has is of something that stands before it.
                let is_gone = trouble::is_not_found(&error) && !resource.is_everywhere();
                let is_lost = is_gone || trouble::is_expired(&error);
                (Trouble::of(resource, &error), at_once, is_lost)
            }
        })
    }

    fn key(&self, seen: Seen, version: &'static str) -> ObjectKey {
        seen.read(self.resource.kind, version).object.metadata().key.clone()
    }

    async fn there(&self, seen: Seen, version: &'static str) -> Result<(), Over> {
        self.say(What::There(Box::new(seen.read(self.resource.kind, version)))).await
    }

    async fn say(&self, what: What) -> Result<(), Over> {
        self.to.send(Heard::Of(self.resource.kind, what)).await.map_err(|_| Over)
    }
}
