//! What has been begun, on disk: a file for each attachment, beside the agent's socket.
//!
//! It is written before the first thing is done for a pod and removed after the last is undone,
//! so that whoever comes after a crash knows what there may be: a DEL, an ADD again, or a GC,
//! which has nothing else to go by where the IPAM plugin cannot tell. `/run` forgets it with the
//! interfaces when the machine starts anew.
//!
//! The file is also a lock. The IPAM plugin inherits it: one that outlives a killed ADD holds it
//! until it is done, so that a DEL does not give back what is only then taken.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rustix::io::FdFlags;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant, sleep};

use crate::attach::InterfaceName;

use super::failure::{Code, Failure};
use super::protocol::Attachment;

/// How often a lock is tried.
const PAUSE: Duration = Duration::from_millis(10);

/// What the system may refuse, and what to do.
const REMEDY: &str = "make room there, or mount it writable; the directory is the agent's";

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The network's name.
    pub network: String,
    /// Which interface of which container.
    pub attachment: Attachment,
    /// Whether ADD has told the runtime that it is done.
    pub is_complete: bool,
}

/// The directory of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    directory: PathBuf,
}

/// One record, locked as long as this lives.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    file: Flock<File>,
    kept: Option<Kept>,
}

impl Records {
    /// The records that belong to an agent's socket.
    #[must_use]
    pub fn of(socket: &Path) -> Self {
        let mut name = socket.as_os_str().to_owned();
        name.push(".d");
        Self { directory: name.into() }
    }

    /// Locks the record of a switch-side interface, which need not be there yet. `None` where
    /// the agent's directory is not there: nothing has ever been begun.
    ///
    /// # Errors
    /// Where another operation holds it until `until`, or the system refuses.
    pub async fn take(
        &self,
        interface: &InterfaceName,
        until: Instant,
    ) -> Result<Option<Record>, Failure> {
        let path = self.directory.join(interface.as_str());
        let wrong = |error: io::Error| Failure::io("record", &path, &error, REMEDY);
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(wrong(error)),
            _ => {}
        }
        loop {
            if let Some(file) = try_lock(&path).map_err(wrong)? {
                let mut record = Record { path, file, kept: None };
                record.kept = record.read()?;
                return Ok(Some(record));
            }
            if Instant::now() >= until {
                let message = format!("another operation on {interface} is under way");
                let remedy = "wait for its end: `fuser` shows who holds ".to_owned();
                let remedy = remedy + &path.display().to_string();
                return Err(Failure::new(Code::TRY_AGAIN, message, remedy));
            }
            sleep(PAUSE).await;
        }
    }

    /// Everything that has been begun, by the switch-side interface.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn all(&self) -> Result<Vec<(InterfaceName, Kept)>, Failure> {
        let mut all = Vec::new();
        for (path, text) in self.files()? {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.and_then(|name| InterfaceName::new(name).ok());
            all.extend(name.zip(understood(&text)));
        }
        Ok(all)
    }

    /// Removes what was made and never written: whoever made it was killed before anything was
    /// begun, and nobody else may ever come to it. One that is held is left: it is about to be
    /// written.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn remove_unwritten(&self) -> Result<(), Failure> {
        for (path, text) in self.files()? {
            if !text.is_empty() {
                continue;
            }
            let held = try_lock(&path);
            let held = held.map_err(|error| Failure::io("record", &path, &error, REMEDY))?;
            let Some(file) = held else { continue };
            let mut record = Record { path, file, kept: None };
            if record.read()?.is_none() {
                record.remove()?;
            }
        }
        Ok(())
    }

    /// Every file, with what is in it.
    fn files(&self) -> Result<Vec<(PathBuf, Vec<u8>)>, Failure> {
        let wrong = |path: &Path, error: io::Error| Failure::io("record", path, &error, REMEDY);
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| wrong(&self.directory, error))?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| wrong(&self.directory, error))?.path();
            match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                text => files.push((path.clone(), text.map_err(|error| wrong(&path, error))?)),
            }
        }
        Ok(files)
    }
}

/// What a record says. One that was written over a longer one by somebody who was killed before he
/// could cut it off is whole, with the end of the longer one behind it. An empty one was made and
/// not written.
fn understood(text: &[u8]) -> Option<Kept> {
    serde_json::Deserializer::from_slice(text).into_iter().next()?.ok()
}

/// Locks a file, which is made where it is missing; `None` where somebody else has it.
fn try_lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let mut options = OpenOptions::new();
    // Not truncated: what is in it is what an earlier operation has begun.
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    // For the IPAM plugin to inherit.
    rustix::io::fcntl_setfd(&file, FdFlags::empty())?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        // Who had it may have removed it meanwhile: then it is no lock any more.
        Ok(held) if held.metadata()?.nlink() == 0 => Ok(None),
        Ok(held) => Ok(Some(held)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

impl Record {
    /// What an earlier operation has begun; `None` where there is nothing.
    #[must_use]
    pub fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    fn read(&mut self) -> Result<Option<Kept>, Failure> {
        let mut text = Vec::new();
        let read = self.file.read_to_end(&mut text);
        read.map_err(|error| Failure::io("record", &self.path, &error, REMEDY))?;
        Ok(understood(&text))
    }

    /// Writes down what is begun, or done.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn write(&mut self, kept: Kept) -> Result<(), Failure> {
        let written = (|| {
            let text = serde_json::to_vec(&kept)?;
            self.file.rewind()?;
            self.file.write_all(&text)?;
            self.file.set_len(text.len() as u64)
        })();
        written.map_err(|error| Failure::io("record", &self.path, &error, REMEDY))?;
        self.kept = Some(kept);
        Ok(())
    }

    /// Forgets it: nothing is left of what was begun.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn remove(self) -> Result<(), Failure> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::io("record", &self.path, &error, REMEDY))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(container: &str) -> Kept {
        let ifname = InterfaceName::new("eth0").unwrap();
        let attachment = Attachment { container: container.into(), ifname };
        Kept { network: "pods".into(), attachment, is_complete: false }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(100)
    }

    #[tokio::test]
    async fn what_was_begun_is_there_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::of(&directory.path().join("cni.sock"));
        let name = InterfaceName::new("lg1").unwrap();
        let mut record = records.take(&name, soon()).await.unwrap().unwrap();
        assert_eq!((record.kept(), records.all().unwrap()), (None, vec![]));
        record.write(Kept { is_complete: true, ..kept("a-longer-name") }).unwrap();
        record.write(kept("c1")).unwrap();
        drop(record);
        assert_eq!(records.all().unwrap(), [(name.clone(), kept("c1"))]);
        let record = records.take(&name, soon()).await.unwrap().unwrap();
        assert_eq!(record.kept(), Some(&kept("c1")));
        record.remove().unwrap();
        assert_eq!(records.all().unwrap(), []);
    }

    #[tokio::test]
    async fn a_record_that_was_not_cut_off_is_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::of(&directory.path().join("cni.sock"));
        let name = InterfaceName::new("lg1").unwrap();
        let mut record = records.take(&name, soon()).await.unwrap().unwrap();
        record.write(kept("c1")).unwrap();
        // As one who is killed between the two: `true` is shorter than `false`.
        let told = Kept { is_complete: true, ..kept("c1") };
        record.file.rewind().unwrap();
        record.file.write_all(&serde_json::to_vec(&told).unwrap()).unwrap();
        drop(record);
        assert_eq!(records.all().unwrap(), [(name.clone(), told.clone())]);
        let record = records.take(&name, soon()).await.unwrap().unwrap();
        assert_eq!(record.kept(), Some(&told));
    }

    #[tokio::test]
    async fn what_was_never_written_is_removed_unless_somebody_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::of(&directory.path().join("cni.sock"));
        let [one, two] = ["lg1", "lg2"].map(|name| InterfaceName::new(name).unwrap());
        let held = records.take(&one, soon()).await.unwrap().unwrap();
        let mut written = records.take(&two, soon()).await.unwrap().unwrap();
        written.write(kept("c2")).unwrap();
        drop(written);
        let left = || fs::read_dir(directory.path().join("cni.sock.d")).unwrap().count();
        records.remove_unwritten().unwrap();
        assert_eq!(left(), 2, "one that is held, or says something, is gone");
        drop(held);
        records.remove_unwritten().unwrap();
        assert_eq!((left(), records.all().unwrap().len()), (1, 1));
    }

    #[tokio::test]
    async fn one_operation_waits_for_another_and_meets_no_removed_lock() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::of(&directory.path().join("cni.sock"));
        let name = InterfaceName::new("lg1").unwrap();
        let first = records.take(&name, soon()).await.unwrap().unwrap();
        let refused = records.take(&name, soon()).await.unwrap_err();
        assert_eq!(refused.code, Code::TRY_AGAIN, "{refused}");
        let (second, ()) = tokio::join!(records.take(&name, soon()), async {
            sleep(PAUSE * 3).await;
            first.remove().unwrap();
        });
        let second = second.unwrap().unwrap();
        assert!(records.take(&name, soon()).await.is_err(), "the second has no lock");
        drop(second);
    }

    #[tokio::test]
    async fn a_lock_is_held_by_a_program_that_outlives_its_starter() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::of(&directory.path().join("cni.sock"));
        let name = InterfaceName::new("lg1").unwrap();
        let record = records.take(&name, soon()).await.unwrap().unwrap();
        let mut child = std::process::Command::new("sleep").arg("0.3").spawn().unwrap();
        // As a kill would: the file is closed, and never unlocked.
        let copy = record.file.try_clone().unwrap();
        std::mem::forget(record);
        drop(copy);
        assert!(records.take(&name, soon()).await.is_err());
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn without_the_agents_directory_nothing_was_begun() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::of(&directory.path().join("not-there/cni.sock"));
        let name = InterfaceName::new("lg1").unwrap();
        assert!(records.take(&name, soon()).await.unwrap().is_none());
        assert_eq!(records.all().unwrap(), []);
        let blocked = directory.path().join("file");
        fs::write(&blocked, "").unwrap();
        let refused = Records::of(&blocked.join("cni.sock")).take(&name, soon()).await;
        assert!(refused.unwrap_err().details.contains("make room"));
    }
}
