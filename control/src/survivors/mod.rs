//! Connections of a predecessor: from its files to the workers that own them now.
//!
//! ```text
//!   files ── read, and believed only in part (dataplane) ──> waiting
//!     waiting ── both ends are who they were, and have ports ──> a worker, before the snapshot
//!             ── a pod has no port yet ──> waits, for at most a minute
//!             ── an end is another, or gone ──> dropped
//! ```
//!
//! Workers get them before the snapshot in which their pods have ports: not one packet of theirs is
//! judged without. The files of a predecessor are removed when nobody waits any more: a switch that
//! dies before that leaves them to the next.

mod names;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lockgate_dataplane::connection::Survivor;
use lockgate_dataplane::connection::left::Left;
use lockgate_dataplane::endpoint::Endpoints;
use lockgate_dataplane::ids::EndpointId;
use lockgate_dataplane::successor::{self, Known, Misfit};
use tracing::{info, warn};

use crate::dataplane::Dataplane;
pub use names::{Identity, Names};

/// How long connections wait for a port of their pod, from the first snapshot on.
const PATIENCE: Duration = Duration::from_mins(1);

/// What one predecessor left that nobody has taken yet.
#[derive(Debug)]
struct Estate {
    names: Names,
    waiting: Vec<Survivor>,
}

/// How many connections went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    found: usize,
    adopted: u64,
    no_room: u64,
    gone: usize,
    odd: u64,
}

/// Connections of predecessors, and the names under which a successor finds ours.
#[derive(Debug, Default)]
pub struct Survivors {
    /// Where files are; `None`: nothing outlives the process.
    directory: Option<PathBuf>,
    stamp: u64,
    /// The names as they were last written.
    names: Names,
    unwritten: Option<String>,
    estates: Vec<Estate>,
    files: Vec<PathBuf>,
    tally: Tally,
    /// When the first snapshot came since there is something to take.
    since: Option<Instant>,
}

impl Survivors {
    /// Begins to write names for a successor.
    pub fn keep(&mut self, directory: Option<PathBuf>, stamp: u64) {
        (self.directory, self.stamp) = (directory, stamp);
    }

    /// Takes over what predecessors left, to be given away by [`Survivors::adopt`]; whether that is
    /// all that the last one had. One that never published, for it died while it prepared, is none.
    pub fn inherit(&mut self, lefts: Vec<Left>) -> bool {
        let Some(directory) = self.directory.clone() else { return false };
        let mut is_all = None;
        for left in lefts {
            for (path, refusal) in &left.refused {
                let path = path.display();
                warn!(%path, %refusal, "no connection of this file is taken over");
            }
            let names = names::read(&directory, left.stamp);
            if names::path(&directory, left.stamp).exists() {
                is_all.get_or_insert(left.refused.is_empty() && !names.is_empty());
            }
            self.tally.found += left.survivors.len();
            self.tally.odd += left.odd;
            self.files.extend(left.files);
            self.files.push(names::path(&directory, left.stamp));
            self.estates.push(Estate { names, waiting: left.survivors });
        }
        self.since = None;
        is_all.unwrap_or(false)
    }

    /// Whether anything waits for a port.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.files.is_empty()
    }

    /// Notes the pods of the snapshot to come, for a successor.
    pub fn name(&mut self, names: Names) {
        let Some(directory) = self.directory.as_deref().filter(|_| names != self.names) else {
            return;
        };
        let written = names::write(directory, self.stamp, &names);
        self.unwritten = written.err().map(|error| error.to_string());
        self.names = names;
    }

    /// Gives workers what they own under the snapshot to come; what waits, waits on.
    ///
    /// # Errors
    /// Where a worker does not answer.
    pub fn adopt<D: Dataplane>(
        &mut self,
        endpoints: &Endpoints,
        workers: u8,
        now: Instant,
        dataplane: &mut D,
    ) -> Result<(), D::Error> {
        if !self.has_waiting() {
            return Ok(());
        }
        let since = *self.since.get_or_insert(now);
        let mut rows = Vec::new();
        let today = names::by_identity(&self.names);
        for estate in &mut self.estates {
            let Estate { names, waiting } = estate;
            let known = |id: EndpointId| match names.get(&id.0) {
                None => Known::Gone,
                Some(identity) => today.get(identity).map_or(Known::NotYet, |&id| Known::As(id)),
            };
            waiting.retain(|survivor| {
                match successor::place(survivor, endpoints, workers, known) {
                    Ok(row) => {
                        rows.push(row);
                        false
                    }
                    Err(Misfit::NotYet) => true,
                    Err(Misfit::Gone) => {
                        self.tally.gone += 1;
                        false
                    }
                }
            });
        }
        if !rows.is_empty() {
            let adopted = dataplane.adopt(rows)?;
            (self.tally.adopted, self.tally.no_room) = (adopted.adopted, adopted.no_room);
        }
        self.look_for_end(now.duration_since(since) > PATIENCE);
        Ok(())
    }

    /// A second has passed: whoever has waited for too long waits no more.
    pub fn tick(&mut self, now: Instant) {
        if let Some(since) = self.since.filter(|_| self.has_waiting()) {
            self.look_for_end(now.duration_since(since) > PATIENCE);
        }
    }

    /// Forgets what predecessors left, when nobody waits or they have waited for too long.
    fn look_for_end(&mut self, is_late: bool) {
        let waiting: usize = self.estates.iter().map(|estate| estate.waiting.len()).sum();
        if waiting > 0 && !is_late {
            return;
        }
        self.estates.clear();
        for path in self.files.drain(..) {
            remove(&path);
        }
        let Tally { found, adopted, no_room, gone, odd } = self.tally;
        info!(found, adopted, no_room, gone, late = waiting, odd, "connections taken over");
        self.tally = Tally { adopted, no_room, ..Tally::default() };
    }

    /// Why a successor will not find the names of pods.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.unwritten.as_deref()
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "a file of a predecessor is left");
        }
        _ => {}
    }
}
