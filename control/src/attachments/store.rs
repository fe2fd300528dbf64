//! What is attached, on disk: a file for each attachment, in a directory that the next start of the
//! machine finds empty.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::warn;

use crate::cni::names;
use crate::cni::protocol::{Attach, Attachment};
use crate::paths;

/// The setting that names the directory.
const SETTING: &str = "cluster.attachments";

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}; {}; pods are not attached before that", self.what(), self.remedy())]
pub struct StoreError {
    /// The file or directory.
    path: PathBuf,
    /// Why.
    source: io::Error,
}

impl StoreError {
    /// What cannot be used, and why.
    #[must_use]
    pub fn what(&self) -> String {
        format!("what is attached cannot be kept: {}: {}", self.path.display(), self.source)
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        paths::remedy(SETTING, &self.path, &self.source)
    }
}

/// The directory.
#[derive(Clone, Debug)]
pub struct Store(PathBuf);

/// Ends the name of a file that is not whole yet.
const NEW: &str = "new";

impl Store {
    /// In this directory, which is made if it is not there.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let made = DirBuilder::new().mode(0o700).recursive(true).create(directory);
        made.map_err(|source| wrong(directory, source))?;
        Ok(Self(directory.to_owned()))
    }

    /// Everything that is there, what was written last at the end. What is half written never counted;
    /// what cannot be read is told of, and left.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn read(&self) -> Result<Vec<(Attachment, Attach)>, StoreError> {
        let mut all: Vec<(SystemTime, Attachment, Attach)> = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(|source| wrong(&self.0, source))? {
            let path = entry.map_err(|source| wrong(&self.0, source))?.path();
            if path.extension().is_some_and(|end| end == NEW) {
                continue;
            }
            match fs::read(&path).map(|bytes| serde_json::from_slice::<Attach>(&bytes)) {
                Ok(Ok(attach)) => {
                    let (container, ifname) = (attach.container.clone(), attach.ifname.clone());
                    let written = fs::metadata(&path).and_then(|about| about.modified());
                    let written = written.unwrap_or(SystemTime::UNIX_EPOCH);
                    all.push((written, Attachment { container, ifname }, attach));
                }
                Ok(Err(error)) => {
                    warn!(path = %path.display(), %error, "no attachment: left alone");
                }
                Err(error) => warn!(path = %path.display(), %error, "cannot be read: left alone"),
            }
        }
        all.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        Ok(all.into_iter().map(|(_, attachment, attach)| (attachment, attach)).collect())
    }

    /// Writes an attachment, whole or not at all.
    ///
    /// # Errors
    /// Where the disk is full or cannot be written.
    pub fn write(&self, attachment: &Attachment, attach: &Attach) -> Result<(), StoreError> {
        let path = self.path(attachment);
        let new = path.with_extension(NEW);
        let written = || {
            let mut file: File = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&serde_json::to_vec(attach)?)?;
            file.sync_data()?;
            fs::rename(&new, &path)
        };
        written().map_err(|source| {
            let _left = fs::remove_file(&new);
            wrong(&path, source)
        })
    }

    /// Removes an attachment, if it is there.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn remove(&self, attachment: &Attachment) -> Result<(), StoreError> {
        let path = self.path(attachment);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(wrong(&path, error)),
            _ => Ok(()),
        }
    }

    fn path(&self, attachment: &Attachment) -> PathBuf {
        // The name follows from the attachment, whatever letters the runtime's id has.
        let name = names::of(attachment).map_or_else(|_| "lg".to_owned(), |one| one.to_string());
        self.0.join(name)
    }
}

fn wrong(path: &Path, source: io::Error) -> StoreError {
    StoreError { path: path.to_owned(), source }
}
