//! What the machine must grant before anything is begun: capabilities, BPF file system, limits.
//!
//! Each refusal says what is missing and the command that gives it. Nothing is half done when one
//! comes: these are the first checks of `lockgate run`.

use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::Pid;

use lockgate_dataplane::limits::FRAME_BYTES;

use crate::settings::{Machine, Settings};

/// Files that the agent itself has open: netlink, inotify, sockets, epoll, clients.
const OWN_FILES: u64 = 256;
/// Files of one socket: itself, and its program, link and map.
const FILES_PER_SOCKET: u64 = 4;

/// A capability and its number (linux/capability.h).
type Capability = (&'static str, u32);

const NET_ADMIN: Capability = ("CAP_NET_ADMIN", 12);
const NET_RAW: Capability = ("CAP_NET_RAW", 13);
const IPC_LOCK: Capability = ("CAP_IPC_LOCK", 14);
const SYS_ADMIN: Capability = ("CAP_SYS_ADMIN", 21);
const BPF: Capability = ("CAP_BPF", 39);

/// What is missing.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// Capabilities.
    #[error(
        "missing {}: run `lockgate run` as root, or give the capabilities (in a pod: \
         securityContext.capabilities.add)", .0.join(", ")
    )]
    Capabilities(Vec<&'static str>),
    /// A BPF file system to pin programs in.
    #[error(
        "{} is not on a BPF file system: run `{}mount -t bpf bpf {}`, or change the setting bpffs",
        path.display(), mkdir(mount), mount.display()
    )]
    NoBpffs {
        /// The setting.
        path: PathBuf,
        /// Where it should be mounted.
        mount: PathBuf,
    },
    /// Locked memory.
    #[error(
        "the limit of locked memory is {limit} bytes and packet memory needs {needed}: grant \
         CAP_IPC_LOCK, run `ulimit -l {}`, or lower frames_per_worker", needed.div_ceil(1024)
    )]
    Memlock {
        /// The hard limit, in bytes.
        limit: u64,
        /// What is needed, in bytes.
        needed: u64,
    },
    /// Open files.
    #[error(
        "the limit of open files is {limit} and {needed} may be needed: run `ulimit -n {needed}`, \
         or lower ports_max"
    )]
    Files {
        /// The hard limit.
        limit: u64,
        /// What is needed.
        needed: u64,
    },
    /// The system did not answer.
    #[error("{what}: {source}")]
    System {
        /// What was asked.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

/// What the machine has.
///
/// # Errors
/// Where the system does not tell.
pub fn machine() -> Result<Machine, PreflightError> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).map_err(system("asking for cores"))?;
    let cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true)).collect();
    Ok(Machine { cores })
}

/// Checks everything, raises the limits that may be raised, and makes the pins' directory.
///
/// # Errors
/// The first thing that is missing.
pub fn check(settings: &Settings) -> Result<(), PreflightError> {
    let effective = effective_capabilities()?;
    let missing = missing_capabilities(effective);
    if !missing.is_empty() {
        return Err(PreflightError::Capabilities(missing));
    }
    check_bpffs(&settings.bpffs)?;
    if !has(effective, IPC_LOCK) {
        let workers = u64::from(settings.workers());
        let needed = workers * u64::from(settings.frames_per_worker) * FRAME_BYTES as u64;
        raise(Resource::RLIMIT_MEMLOCK, needed)?
            .map_err(|limit| PreflightError::Memlock { limit, needed })?;
    }
    let sockets = u64::from(settings.budget.sockets()) * u64::from(settings.workers());
    let needed = sockets * FILES_PER_SOCKET + OWN_FILES;
    raise(Resource::RLIMIT_NOFILE, needed)?.map_err(|limit| PreflightError::Files { limit, needed })
}

fn effective_capabilities() -> Result<u64, PreflightError> {
    let what = "reading this thread's capabilities";
    let source = |source| PreflightError::System { what, source };
    let status = std::fs::read_to_string("/proc/thread-self/status").map_err(source)?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .ok_or_else(|| source(io::Error::other("no CapEff")))
}

fn has(effective: u64, (_, number): Capability) -> bool {
    effective >> number & 1 == 1
}

/// What a run needs and does not have. Loading programs takes either of two.
fn missing_capabilities(effective: u64) -> Vec<&'static str> {
    let mut missing = Vec::new();
    for needed in [NET_ADMIN, NET_RAW] {
        if !has(effective, needed) {
            missing.push(needed.0);
        }
    }
    if !has(effective, BPF) && !has(effective, SYS_ADMIN) {
        missing.push("CAP_BPF (or CAP_SYS_ADMIN)");
    }
    missing
}

/// Checks that the nearest directory there is lies on a BPF file system, and makes the rest.
/// What to run before a mount on a directory that is not there.
fn mkdir(mount: &Path) -> String {
    if mount.is_dir() { String::new() } else { format!("mkdir -p {} && ", mount.display()) }
}

fn check_bpffs(path: &Path) -> Result<(), PreflightError> {
    let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let found = statfs(there).map_err(system("looking at the BPF file system"))?;
    if found.filesystem_type() != BPF_FS_MAGIC {
        let mount = path.parent().unwrap_or(path).to_owned();
        return Err(PreflightError::NoBpffs { path: path.to_owned(), mount });
    }
    std::fs::create_dir_all(path).map_err(|source| PreflightError::System {
        what: "making the directory for pinned programs (setting bpffs)",
        source,
    })
}

/// Raises a limit as far as is needed. The inner error is the limit where that is too low.
fn raise(resource: Resource, needed: rlim_t) -> Result<Result<(), u64>, PreflightError> {
    let (soft, hard) = getrlimit(resource).map_err(system("asking for a limit"))?;
    if soft >= needed {
        return Ok(Ok(()));
    }
    // Above the hard limit only a privileged process gets; others are told no.
    let raised = setrlimit(resource, needed, hard.max(needed));
    Ok(raised.map_err(|_refused| hard))
}

fn system(what: &'static str) -> impl Fn(nix::errno::Errno) -> PreflightError {
    move |errno| PreflightError::System { what, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_capability_is_named_and_either_of_two_loads_programs() {
        let all = [NET_ADMIN, NET_RAW, IPC_LOCK, BPF].iter().fold(0, |set, c| set | 1 << c.1);
        assert_eq!(missing_capabilities(all), [""; 0]);
        assert_eq!(missing_capabilities(all & !(1 << NET_ADMIN.1)), ["CAP_NET_ADMIN"]);
        assert_eq!(missing_capabilities(all & !(1 << NET_RAW.1)), ["CAP_NET_RAW"]);
        let without = all & !(1 << BPF.1);
        assert_eq!(missing_capabilities(without), ["CAP_BPF (or CAP_SYS_ADMIN)"]);
        assert_eq!(missing_capabilities(without | 1 << SYS_ADMIN.1), [""; 0]);
        let error = PreflightError::Capabilities(missing_capabilities(0)).to_string();
        assert!(error.starts_with(
            "missing CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF (or CAP_SYS_ADMIN): run `lockgate run` \
             as root"
        ));
    }

    #[test]
    fn a_directory_on_another_file_system_is_refused_with_the_mount_command() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lockgate");
        let error = check_bpffs(&path).unwrap_err().to_string();
        let command = format!("run `mount -t bpf bpf {}`", directory.path().display());
        assert!(error.contains(&command), "{error}");
        assert!(!path.exists());
        let error = check_bpffs(&path.join("missing/below")).unwrap_err().to_string();
        let mount = path.join("missing").display().to_string();
        let command = format!("run `mkdir -p {mount} && mount -t bpf bpf {mount}`");
        assert!(error.contains(&command), "{error}");
    }

    #[test]
    fn the_machine_has_a_core() {
        assert!(!machine().unwrap().cores.is_empty());
    }
}
