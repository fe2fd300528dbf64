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
//! judged without. The files of a predecessor are removed when nobody waits any more, and of one
//! that gives no sooner than it was told that all is taken: a switch that dies before that leaves
//! them to the next, or to who goes on. One that has published nothing leaves no file, nor does one
//! that did not come to say that it has taken all; and if that was killed, who goes on removes what
//! it left. So the newest files are always those of who served last. Names of pods whose connections
//! are gone, for a start died while it removed both, are removed by the next.
//!
//! Where clients asked Services goes to the compiler, once, before the first tables: what is no
//! Service's there by now has departed (decision 18).

mod names;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lockgate_dataplane::connection::Survivor;
use lockgate_dataplane::connection::left::{self, Left};
use lockgate_dataplane::endpoint::Endpoints;
use lockgate_dataplane::ids::EndpointId;
use lockgate_dataplane::runtime::Adopted;
use lockgate_dataplane::service::FrontKey;
use lockgate_dataplane::successor::{self, Fronts, Known, Misfit};
use tracing::{info, warn};

use crate::dataplane::Dataplane;
pub use names::{Identity, Names};

/// How long connections wait for a port of their pod, from the first snapshot on.
const PATIENCE: Duration = Duration::from_mins(1);

/// What one predecessor left that nobody has taken yet.
#[derive(Debug)]
struct Estate {
    names: Names,
    fronts: Fronts,
    waiting: Vec<Survivor>,
}

/// How many connections went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    found: usize,
    became: Adopted,
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
    /// Those that could not be written, and why.
    unwritten: Option<(Names, String)>,
    /// Something was published, or is about to be: who dies now leaves connections.
    has_published: bool,
    /// A predecessor that gives may have everything back yet, and its files with it.
    is_untold: bool,
    estates: Vec<Estate>,
    /// Where clients asked Services, until the tables have it.
    asked: Vec<FrontKey>,
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
            if left.has_published {
                let is_read = left.is_read && left.refused.is_empty();
                is_all.get_or_insert(is_read && !names.is_empty());
            }
            if left.has_published && !left.is_read {
                let stamp = left.stamp;
                warn!(stamp, "a start of so long ago is forgotten with its connections");
            }
            // The newest comes first, and is to be believed last.
            self.asked.splice(0..0, successor::asked(&left.survivors));
            self.tally.found += left.survivors.len();
            self.tally.odd += left.odd;
            self.files.extend(left.files);
            self.files.push(names::path(&directory, left.stamp));
            let fronts = Fronts::of(&left.survivors);
            self.estates.push(Estate { names, fronts, waiting: left.survivors });
        }
        for path in names::alone(&directory, self.stamp) {
            info!(path = %path.display(), "names of pods without connections: removed");
            remove(&path);
        }
        self.since = None;
        is_all.unwrap_or(false)
    }

    /// Where clients of predecessors asked Services, who spoke last at the end; gives it once.
    pub fn take_asked(&mut self) -> Vec<FrontKey> {
        std::mem::take(&mut self.asked)
    }

    /// Whether anything waits for a port.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.files.is_empty()
    }

    /// Notes the pods of the snapshot to come, for a successor.
    pub fn name(&mut self, names: Names) {
        self.has_published = true;
        let Some(directory) = self.directory.as_deref().filter(|_| names != self.names) else {
            self.unwritten = None;
            return;
        };
        match names::write(directory, self.stamp, &names) {
            Ok(()) => (self.names, self.unwritten) = (names, None),
            Err(error) => self.unwritten = Some((names, error.to_string())),
        }
    }

    /// A predecessor that gives may yet go on: its files stay until [`Survivors::taken`].
    pub fn await_word(&mut self) {
        self.is_untold = true;
    }

    /// This switch goes on, which had given everything: with the locks, so whoever published after it
    /// is dead. Those files are newer than ours, and would be believed before them from now on.
    pub fn go_on(&self) {
        let later = self.directory.as_deref().map(|directory| left::later(directory, self.stamp));
        for path in later.into_iter().flatten() {
            info!(path = %path.display(), "a successor that is dead left it: removed");
            remove(&path);
        }
    }

    /// The predecessor was told that all is taken, or is gone.
    pub fn taken(&mut self, now: Instant) {
        self.is_untold = false;
        self.tick(now);
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
        let known = self.unwritten.as_ref().map_or(&self.names, |(names, _)| names);
        let today = names::by_identity(known);
        for estate in &mut self.estates {
            let Estate { names, fronts, waiting } = estate;
            let known = |id: EndpointId| match names.get(&id.0) {
                None => Known::Gone,
                Some(identity) => today.get(identity).map_or(Known::NotYet, |&id| Known::As(id)),
            };
            waiting.retain(|survivor| {
                match successor::place(survivor, endpoints, workers, fronts, known) {
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
            self.tally.became = dataplane.adopt(rows)?;
        }
        self.look_for_end(now.duration_since(since) > PATIENCE);
        Ok(())
    }

    /// A second has passed: whoever has waited for too long waits no more, and names that could not
    /// be written are tried again.
    pub fn tick(&mut self, now: Instant) {
        if let Some((names, _)) = self.unwritten.take() {
            self.name(names);
        }
        if let Some(since) = self.since.filter(|_| self.has_waiting()) {
            self.look_for_end(now.duration_since(since) > PATIENCE);
        }
    }

    /// Forgets what predecessors left, when nobody waits or they have waited for too long.
    fn look_for_end(&mut self, is_late: bool) {
        let waiting: usize = self.estates.iter().map(|estate| estate.waiting.len()).sum();
        if self.is_untold || waiting > 0 && !is_late {
            return;
        }
        self.estates.clear();
        for path in self.files.drain(..) {
            remove(&path);
        }
        let Tally { found, became, gone, odd } = self.tally;
        let Adopted { adopted, no_room, known, over } = became;
        info!(
            found,
            adopted,
            no_room,
            gone,
            late = waiting,
            odd,
            known,
            over,
            "connections taken over"
        );
        self.tally = Tally { became, ..Tally::default() };
    }

    /// Why a successor will not find the names of pods.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.unwritten.as_ref().map(|(_, error)| error.as_str())
    }
}

impl Drop for Survivors {
    /// Where nothing was published no connection is left either: our files would only be in the way
    /// of those that have some. So they would where the predecessor may go on, whose files are there.
    fn drop(&mut self) {
        let Some(directory) = &self.directory else { return };
        if self.has_published && !self.is_untold {
            return;
        }
        // Without the names the others count for nothing, should this end in between.
        remove(&names::path(directory, self.stamp));
        for path in left::files_of(directory, self.stamp) {
            remove(&path);
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "a file of connections is left");
        }
        _ => {}
    }
}
