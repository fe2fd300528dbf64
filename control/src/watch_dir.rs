//! Which files of a directory have changed and are quiet again.
//!
//! A file is told of [`QUIET`] after its last close-write, move or delete; while somebody writes
//! on, it waits, for as long as that takes. A file that is only being written is not told of at all
//! until it is closed. A directory that Kubernetes fills from a `ConfigMap` changes
//! by one rename of the link `..data`, which changes every file at once.
//!
//! Changes behind a symlink that leads out of the directory are not seen; SIGHUP reads anew.

mod settling;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use inotify::{Event, EventMask, EventStream, Inotify, WatchMask};

use crate::manifest::is_manifest;
use settling::Settling;
pub use settling::{Changed, QUIET, Settled};

/// How often a directory that has gone is looked for.
const SEARCH: Duration = Duration::from_secs(1);

/// Bytes of events read at once.
const EVENT_BYTES: usize = 16 * 1024;

/// The link that Kubernetes renames to change a whole directory.
const CONFIG_MAP_LINK: &str = "..data";

/// A directory that cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("watch {}: {source}; name a directory that is there; the setting is manifests", directory.display())]
pub struct WatchError {
    directory: PathBuf,
    source: io::Error,
}

/// A directory under watch.
#[derive(Debug)]
pub struct DirWatch {
    directory: PathBuf,
    /// `None` while the directory is gone.
    events: Option<EventStream<Vec<u8>>>,
    /// When the directory is looked for next, while it is gone.
    search_at: tokio::time::Instant,
    settling: Settling,
}

impl DirWatch {
    /// Begins to watch. What is in the directory now is not told of: read it after this.
    ///
    /// # Errors
    /// [`WatchError`] where there is no such directory, or no inotify. Needs a running tokio.
    pub fn open(directory: &Path) -> Result<Self, WatchError> {
        let events = watch(directory)
            .map_err(|source| WatchError { directory: directory.to_owned(), source })?;
        Ok(Self {
            directory: directory.to_owned(),
            events: Some(events),
            search_at: tokio::time::Instant::now(),
            settling: Settling::default(),
        })
    }

    /// Waits until something has changed and is quiet. May be dropped at any await.
    pub async fn settled(&mut self) -> Settled {
        loop {
            if let Some(settled) = self.settling.take(Instant::now()) {
                return settled;
            }
            let Some(events) = &mut self.events else {
                self.search().await;
                continue;
            };
            let wake = self.settling.due().map_or_else(
                || tokio::time::Instant::now() + Duration::from_hours(1),
                tokio::time::Instant::from_std,
            );
            match tokio::time::timeout_at(wake, events.next()).await {
                Err(_quiet) => {}
                Ok(Some(Ok(event))) => self.note_all(event),
                Ok(Some(Err(_)) | None) => self.lose(),
            }
        }
    }

    /// Watches anew whatever the path now leads to.
    pub fn renew(&mut self) {
        self.events = watch(&self.directory).ok();
        self.settling.touch_all(Instant::now());
    }

    /// Looks for the directory when it is time to, or waits until something is quiet. When that is
    /// stands in `self`: whoever waits here may give up and come again, more often than once a
    /// [`SEARCH`].
    async fn search(&mut self) {
        let due = self.settling.due().map(tokio::time::Instant::from_std);
        tokio::time::sleep_until(due.map_or(self.search_at, |due| due.min(self.search_at))).await;
        let now = tokio::time::Instant::now();
        if now < self.search_at {
            return;
        }
        self.search_at = now + SEARCH;
        if let Ok(events) = watch(&self.directory) {
            self.events = Some(events);
            self.settling.touch_all(Instant::now());
        }
    }

    fn lose(&mut self) {
        self.events = None;
        self.search_at = tokio::time::Instant::now();
        self.settling.touch_all(Instant::now());
    }

    /// Notes an event and all that came with it, as of one instant: a rename is one change.
    fn note_all(&mut self, first: Event<OsString>) {
        let now = Instant::now();
        let mut next = Some(first);
        while let Some(event) = next {
            self.note(&event, now);
            let ready = self.events.as_mut().and_then(|events| events.next().now_or_never());
            match ready.flatten() {
                Some(Ok(event)) => next = Some(event),
                Some(Err(_)) => return self.lose(),
                None => return,
            }
        }
    }

    fn note(&mut self, event: &Event<OsString>, now: Instant) {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return self.settling.touch_all(now);
        }
        let gone = EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED;
        if event.mask.intersects(gone | EventMask::UNMOUNT) {
            return self.lose();
        }
        let Some(name) = event.name.as_ref().and_then(|name| name.to_str()) else {
            return;
        };
        if name == CONFIG_MAP_LINK {
            return self.settling.touch_all(now);
        }
        if event.mask.contains(EventMask::ISDIR) || !is_manifest(name) {
            return;
        }
        if event.mask.contains(EventMask::MODIFY) {
            self.settling.extend(name, now);
        } else if !event.mask.contains(EventMask::CREATE) || self.is_complete(name) {
            self.settling.touch(name, now);
        }
    }

    /// Whether a file that has just come into being is whole: a link is, a new file is not.
    fn is_complete(&self, name: &str) -> bool {
        std::fs::symlink_metadata(self.directory.join(name))
            .is_ok_and(|found| found.is_symlink() || found.nlink() > 1)
    }
}

fn watch(directory: &Path) -> io::Result<EventStream<Vec<u8>>> {
    let inotify = Inotify::init()?;
    let mask = WatchMask::CLOSE_WRITE | WatchMask::MOVE | WatchMask::DELETE | WatchMask::CREATE;
    let itself = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR;
    inotify.watches().add(directory, mask | WatchMask::MODIFY | itself)?;
    inotify.into_event_stream(vec![0; EVENT_BYTES])
}
