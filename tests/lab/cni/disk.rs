//! A disk that can be full, or read-only: a small one in memory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockgate_tests::lab::LabError;
use lockgate_tests::lab::namespace::run;

/// What takes the room that is left.
const FILLER: &str = ".filler";

/// A disk at a directory, until it is dropped.
pub(super) struct Disk(PathBuf);

impl Disk {
    /// Mounts one of this size.
    pub(super) fn mount(path: PathBuf, size: &str) -> Result<Self, LabError> {
        fs::create_dir_all(&path).map_err(LabError::io("make a directory"))?;
        let size = format!("size={size},mode=0700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "lgcni"]).arg(&path))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it `ro` or `rw`.
    pub(super) fn set(&self, how: &str) -> Result<(), LabError> {
        run(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0)).map(drop)
    }

    /// Takes all the room that is left.
    pub(super) fn fill(&self) -> Result<(), LabError> {
        match fs::write(self.0.join(FILLER), vec![0; 1 << 20]) {
            Err(error) if error.kind() == ErrorKind::StorageFull => Ok(()),
            Err(error) => Err(LabError::io("fill a disk")(error)),
            Ok(()) => Err(LabError::Unexpected("the disk is not full".to_owned())),
        }
    }

    /// Gives it back.
    pub(super) fn empty(&self) -> Result<(), LabError> {
        fs::remove_file(self.0.join(FILLER)).map_err(LabError::io("empty a disk"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _kept = run(Command::new("umount").arg(&self.0));
    }
}
