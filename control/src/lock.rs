//! One switch at a time: a lock file that the kernel lets go when its holder dies.
//!
//! A killed switch holds it until the kernel has closed its sockets, one after the other: some
//! tenths of a second with few ports, seconds with hundreds. Whoever restarts it at once waits for
//! that, but for nobody who lives.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tracing::info;

use crate::paths;

/// How long is waited for a holder that is dying.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long before it is said who is waited for.
const SILENCE: Duration = Duration::from_millis(500);
/// How long for one whose lock file is another: nobody says whether it is dying.
const NODE_PATIENCE: Duration = Duration::from_secs(1);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(10);

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
        "lockgate is already running (process {pid}; lock file {}): stop it first, or start this \
         one in a network namespace of its own, with its own --lock, --socket and --bpffs",
        path.display()
    )]
    Held {
        /// Who, as it wrote itself; `?` where it has not yet.
        pid: String,
        /// The file.
        path: PathBuf,
    },
    /// Another switch is in this network namespace, under another lock file.
    #[error(
        "another lockgate is running in this network namespace, where there can be one: stop it \
         first, or start this one in a network namespace of its own"
    )]
    Namespace,
    /// The name that one switch of a network namespace holds cannot be taken.
    #[error(
        "the name @{name} cannot be taken in this network namespace: {source}; stop whoever \
         `ss -xlp` shows on it, or start this one in a network namespace of its own"
    )]
    Name {
        /// The name, as `ss -xl` shows it.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be made or locked.
    #[error("lock file {}: {source}; {}", path.display(), paths::remedy("lock", path, source))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock and writes our process id into it. Its directory must be there, unless it
    /// is [`DIRECTORY`](crate::paths::DIRECTORY).
    /// Blocks for at most `PATIENCE`, and only for a holder that is dying.
    ///
    /// # Errors
    /// [`LockError::Held`] where another process has it.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let begun = Instant::now();
        let mut is_told = false;
        loop {
            match Self::try_take(path) {
                Err(LockError::Held { pid, .. })
                    if is_dying(&pid) && begun.elapsed() < PATIENCE =>
                {
                    if begun.elapsed() > SILENCE && !std::mem::replace(&mut is_told, true) {
                        info!(pid, "waiting until the kernel has closed a dead switch's sockets");
                    }
                    std::thread::sleep(LOOK);
                }
                taken => return taken,
            }
        }
    }

    /// Whether nobody has the lock. Does not block.
    #[must_use]
    pub fn is_free(path: &Path) -> bool {
        Self::try_take(path).is_ok()
    }

    fn try_take(path: &Path) -> Result<Self, LockError> {
        let wrong = |source: io::Error| LockError::File { path: path.to_owned(), source };
        paths::prepare(path, Path::new(paths::DIRECTORY)).map_err(wrong)?;
        let mut options = OpenOptions::new();
        // Not truncated: until the lock is ours the text in it is its holder's.
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(wrong)?;
        let mut held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => held,
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let pid = holder(&mut file);
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

/// The name that the one switch of a network namespace holds.
pub const NODE: &str = "lockgate-switch";

/// The one switch of a network namespace, as long as this lives.
///
/// Interfaces are of the namespace, and a second switch there would take the first one's own
/// away whatever its other paths are. So is the name of an abstract Unix socket, which the kernel
/// frees with its holder.
#[derive(Debug)]
pub struct NodeLock {
    _held: UnixListener,
}

impl NodeLock {
    /// Takes the name, [`NODE`]. Blocks for at most `NODE_PATIENCE`, for a holder may be dying.
    ///
    /// # Errors
    /// [`LockError::Namespace`] where another process has it.
    pub fn take(name: &str) -> Result<Self, LockError> {
        let wrong = |source| LockError::Name { name: name.to_owned(), source };
        let address = SocketAddr::from_abstract_name(name).map_err(wrong)?;
        let begun = Instant::now();
        loop {
            match UnixListener::bind_addr(&address) {
                Ok(held) => return Ok(Self { _held: held }),
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(wrong(error)),
                Err(_) if begun.elapsed() > NODE_PATIENCE => return Err(LockError::Namespace),
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }
}

/// Both: whoever holds them is the switch.
#[derive(Debug)]
pub struct Locks {
    _file: Lock,
    _node: NodeLock,
}

impl Locks {
    /// Takes the lock file, and the name of the network namespace.
    ///
    /// # Errors
    /// [`LockError`], see [`LockError::is_held`].
    pub fn take(file: &Path) -> Result<Self, LockError> {
        Ok(Self { _file: Lock::take(file)?, _node: NodeLock::take(NODE)? })
    }
}

impl LockError {
    /// Whether another switch is there.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. } | Self::Namespace)
    }
}

/// The process id that the holder wrote; `?` where it has not yet.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _unread = file.read_to_string(&mut text);
    let digits: String = text.trim().chars().filter(char::is_ascii_digit).take(10).collect();
    if digits.is_empty() { "?".to_owned() } else { digits }
}

/// Whether a process has ended or is about to: it has no command line, for the kernel takes a
/// dying process's memory before it closes its files.
fn is_dying(pid: &str) -> bool {
    match std::fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(words) => words.is_empty(),
        Err(error) => pid != "?" && error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_switch_in_a_network_namespace() {
        let name = format!("lockgate-test-{}", std::process::id());
        let first = NodeLock::take(&name).unwrap();
        let error = NodeLock::take(&name).unwrap_err().to_string();
        assert!(error.starts_with("another lockgate is running in this network namespace"));
        assert!(error.contains("stop it first"), "{error}");
        drop(first);
        NodeLock::take(&name).unwrap();
        let long = NodeLock::take(&"x".repeat(200)).unwrap_err().to_string();
        assert!(long.contains("stop whoever `ss -xlp` shows"), "{long}");
    }

    #[test]
    fn a_lock_file_that_cannot_be_one_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let error = Lock::take(directory.path()).unwrap_err().to_string();
        let wanted = "change the setting lock to a file that can be made";
        assert!(error.contains(wanted), "{error}");
    }

    #[test]
    fn the_second_taker_is_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = Lock::take(&path).unwrap();
        let error = Lock::take(&path).unwrap_err().to_string();
        let expected = format!("already running (process {};", std::process::id());
        assert!(error.contains(&expected), "{error}");
        assert!(error.contains("stop it first"), "{error}");
        drop(first);
        Lock::take(&path).unwrap();
    }

    #[test]
    fn a_dying_holder_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = Lock::take(&path).unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        std::fs::write(&path, gone.id().to_string()).unwrap();
        let dying = std::thread::spawn(move || {
            std::thread::sleep(LOOK * 5);
            drop(first);
        });
        let begun = Instant::now();
        Lock::take(&path).unwrap();
        assert!(begun.elapsed() >= LOOK, "it was not free at once");
        dying.join().unwrap();
    }

    #[test]
    fn a_living_holder_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let _first = Lock::take(&path).unwrap();
        let begun = Instant::now();
        assert!(Lock::take(&path).is_err());
        assert!(begun.elapsed() < PATIENCE);
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
    fn a_directory_that_is_not_there_is_not_made_and_names_the_setting() {
        let directory = tempfile::tempdir().unwrap();
        let slip = directory.path().join("slip");
        let error = Lock::take(&slip.join("lock")).unwrap_err().to_string();
        let wanted = format!("run `mkdir -m 0700 {}`, or change the setting lock", slip.display());
        assert!(error.contains(&wanted) && !slip.exists(), "{error}");
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Lock::take(&file.join("lock")).unwrap_err().to_string();
        let wanted = format!("{} is no directory: remove it, or change the", file.display());
        assert!(error.contains(&wanted) && error.contains("setting lock"), "{error}");
    }
}
