//! Tables that outlive the process, and what a predecessor left in its own. Cold.
//!
//! Files must be in memory (tmpfs): a worker that writes to a page of another file system may wait for
//! its disk. Where none can be made the switch runs on without: then connections end with the process,
//! and nothing else is different.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::thread::Clock;
use super::{Switch, SwitchError};
use crate::connection::keep::{self, KeepError, Start};
use crate::connection::left::{self, Left};
use crate::connection::translation::Translations;
use crate::connection::{Adoption, Adoptions, Connections, Settings};
use crate::ids::WorkerId;

/// File systems in memory (include/uapi/linux/magic.h): tmpfs, ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Why connections do not outlive the process.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The directory cannot be made or read.
    #[error("{}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is on a disk.
    #[error("{} is not in memory (tmpfs), and workers are not to wait for a disk", .0.display())]
    OnDisk(PathBuf),
    /// A file cannot be made.
    #[error(transparent)]
    File(#[from] KeepError),
}

/// What became of a predecessor's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Those that workers have taken in.
    pub adopted: u64,
    /// Those for which they had no room.
    pub no_room: u64,
    /// Those that they had already.
    pub known: u64,
    /// Those whose time was up.
    pub over: u64,
}

/// Where tables are kept.
#[derive(Debug)]
pub(super) struct Kept {
    directory: Option<PathBuf>,
    start: Start,
    trouble: Option<KeptError>,
}

impl Kept {
    /// Makes the directory, if it is not there.
    pub(super) fn prepare(directory: Option<&Path>, clock: Clock) -> Self {
        let path = directory.map(Path::to_owned);
        let start = Start { boot: 0, stamp: clock.stamp() };
        match directory.map(usable).transpose() {
            Ok(boot) => {
                let start = Start { boot: boot.unwrap_or(0), ..start };
                Self { directory: path, start, trouble: None }
            }
            Err(trouble) => Self { directory: None, start, trouble: Some(trouble) },
        }
    }

    /// A worker's tables: in a file, or where that cannot be made in memory of their own.
    pub(super) fn tables(
        &mut self,
        id: WorkerId,
        settings: &Settings,
    ) -> (Connections, Translations) {
        let made = self.directory.as_ref().map(|path| keep::make(path, self.start, id, settings));
        match made.transpose() {
            Ok(Some(tables)) => return tables,
            Ok(None) => {}
            Err(error) => self.trouble = Some(error.into()),
        }
        (Connections::new(settings), Translations::new(settings))
    }
}

/// Makes the directory if need be, and sees whether it is in memory; gives the machine's `boot_id`.
fn usable(directory: &Path) -> Result<u128, KeptError> {
    let wrong = |source| KeptError::Directory { path: directory.to_owned(), source };
    DirBuilder::new().mode(0o700).recursive(true).create(directory).map_err(wrong)?;
    let kind = rustix::fs::statfs(directory).map_err(|error| wrong(error.into()))?.f_type;
    if !u64::try_from(kind).is_ok_and(|kind| IN_MEMORY.contains(&kind)) {
        return Err(KeptError::OnDisk(directory.to_owned()));
    }
    let path = "/proc/sys/kernel/random/boot_id";
    let id = fs::read_to_string(path).map_err(wrong)?;
    let digits: String = id.trim().chars().filter(|&letter| letter != '-').collect();
    u128::from_str_radix(&digits, 16).map_err(|_| wrong(io::ErrorKind::InvalidData.into()))
}

impl Switch {
    /// Why connections do not outlive the process, where they should.
    #[must_use]
    pub fn kept_trouble(&self) -> Option<&KeptError> {
        self.kept.trouble.as_ref()
    }

    /// Which start of the switch this is: later ones have greater numbers.
    #[must_use]
    pub fn stamp(&self) -> u64 {
        self.kept.start.stamp
    }

    /// What predecessors left, the newest first: to be asked once their workers have stopped.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn left(&self) -> Result<Vec<Left>, KeptError> {
        let Some(path) = &self.kept.directory else { return Ok(Vec::new()) };
        let found = left::read(path, self.kept.start, self.clock.now());
        found.map_err(|source| KeptError::Directory { path: path.clone(), source })
    }

    /// From now on, and for so long, has workers pick up TCP of which nothing is known.
    ///
    /// # Errors
    /// When a worker does not take its mail.
    pub fn pick_up_for(&mut self, ms: u64) -> Result<(), SwitchError> {
        let until = self.clock.now().after_ms(ms);
        for worker in &mut self.workers {
            worker.wait(|desk| desk.has_room().then_some(()))?;
            worker.desk.pick_up(until);
        }
        Ok(())
    }

    /// Gives workers connections of a predecessor, and waits until they have them; says what became
    /// of all that they were ever given.
    ///
    /// # Errors
    /// When a worker does not answer.
    pub fn adopt(&mut self, rows: &[(WorkerId, Adoption)]) -> Result<Adopted, SwitchError> {
        let mut total = Adopted::default();
        for worker in &mut self.workers {
            let own = rows.iter().filter(|(owner, _)| *owner == worker.id);
            let own: Vec<Adoption> = own.map(|(_, row)| *row).collect();
            for page in own.chunks(Adoptions::CAPACITY) {
                worker.wait(|desk| desk.has_room().then_some(()))?;
                // There is room, and nobody else writes to this mailbox.
                let _full = worker.desk.adopt(Box::new(Adoptions::new(page.to_vec())));
            }
            let [adopted, no_room, known, over] = worker.wait(|desk| desk.adopted())?;
            total.adopted = total.adopted.saturating_add(adopted);
            total.no_room = total.no_room.saturating_add(no_room);
            total.known = total.known.saturating_add(known);
            total.over = total.over.saturating_add(over);
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Bounds, Timeouts};

    fn settings() -> Settings {
        let (bounds, timeouts) = (Bounds::NONE, Timeouts::default());
        Settings { capacity: 1024, bounds, seed: [1, 2], timeouts }
    }

    #[test]
    fn what_is_on_no_tmpfs_is_refused_and_workers_run_on_without() {
        // Neither in memory, nor a disk that a test would fill.
        let directory = Path::new("/proc/self");
        let clock = Clock::start().unwrap();
        let mut kept = Kept::prepare(Some(directory), clock);
        assert!(matches!(&kept.trouble, Some(KeptError::OnDisk(path)) if path == directory));
        let (connections, _) = kept.tables(WorkerId(0), &settings());
        assert_eq!(connections.counts().iter().sum::<u64>(), 0);
        assert!(matches!(&kept.trouble, Some(KeptError::OnDisk(_))), "{:?}", kept.trouble);
    }

    #[test]
    fn a_directory_that_was_missing_is_the_switchs_alone() {
        use std::os::unix::fs::PermissionsExt;
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("connections");
        // On a disk or in memory: it is made before that is looked at.
        let _trouble = usable(&directory);
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn where_a_file_cannot_be_made_that_is_the_trouble() {
        let start = Start { boot: 1, stamp: 1 };
        let directory = Some(PathBuf::from("/proc/self"));
        let mut kept = Kept { directory, start, trouble: None };
        let (connections, _) = kept.tables(WorkerId(0), &settings());
        assert_eq!(connections.counts().iter().sum::<u64>(), 0);
        assert!(matches!(&kept.trouble, Some(KeptError::File(_))), "{:?}", kept.trouble);
    }
}
