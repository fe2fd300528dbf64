//! One switch at a time: a lock file that the kernel lets go when its holder dies.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The lock, held while this lives.
#[derive(Debug)]
pub struct Lock {
    _held: Flock<File>,
}

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it.
    #[error(
        "lockgate is already running (process {pid}; lock file {}): stop it first, or give each \
         its own --lock, --socket, --listen and --bpffs", path.display()
    )]
    Held {
        /// Who, as it wrote itself; `?` where it has not yet.
        pid: String,
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be made or locked.
    #[error("lock file {}: {source}; the setting is lock", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock and writes our process id into it. Its directory is made if need be.
    ///
    /// # Errors
    /// [`LockError::Held`] where another process has it.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let wrong = |source: io::Error| LockError::File { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(wrong)?;
        }
        let mut options = OpenOptions::new();
        // Not truncated: until the lock is ours the text in it is its holder's.
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(wrong)?;
        let mut held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => held,
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let _unread = file.read_to_string(&mut pid);
                let digits = pid.trim().chars().filter(char::is_ascii_digit).take(10).collect();
                let pid = if pid.trim().is_empty() { "?".to_owned() } else { digits };
                return Err(LockError::Held { pid, path: path.to_owned() });
            }
            Err((_, errno)) => return Err(wrong(errno.into())),
        };
        held.set_len(0).map_err(wrong)?;
        held.rewind().map_err(wrong)?;
        writeln!(held, "{}", std::process::id()).map_err(wrong)?;
        Ok(Self { _held: held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_is_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/lock");
        let first = Lock::take(&path).unwrap();
        let error = Lock::take(&path).unwrap_err().to_string();
        let expected = format!("already running (process {};", std::process::id());
        assert!(error.contains(&expected), "{error}");
        drop(first);
        Lock::take(&path).unwrap();
    }

    #[test]
    fn a_longer_text_of_a_dead_holder_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        std::fs::write(&path, "999999999999999\nleft behind\n").unwrap();
        let _held = Lock::take(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_directory_that_cannot_be_made_names_the_setting() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Lock::take(&file.join("lock")).unwrap_err().to_string();
        assert!(error.contains("the setting is lock"), "{error}");
    }
}
