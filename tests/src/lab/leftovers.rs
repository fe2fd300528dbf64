//! What a lab leaves, and how it is taken away: by its prefix alone, whoever left it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::LabError;
use super::namespace::{self, run, wait_for};

/// Where labs keep their files: `/run/lockgate-lab/PREFIX`.
const STATE: &str = "/run/lockgate-lab";

static REMOVING: Mutex<()> = Mutex::new(());

/// How long a process of a lab may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Takes away, by name, whatever a lab of this prefix left: processes in its namespaces, the
/// process that serves its pods, the namespaces with their wires, its bpffs and its files.
///
/// # Errors
/// When something is there and can't be removed.
pub fn remove(prefix: &str) -> Result<(), LabError> {
    // A signal's thread and the end of a lab may both be at it: one after the other.
    let _alone = REMOVING.lock().unwrap_or_else(PoisonError::into_inner);
    let names = namespace::list(prefix);
    let server = server_of(prefix);
    let processes = || -> Vec<i32> {
        let inside = names.iter().flat_map(|name| namespace::processes(name));
        let outside = server.filter(|&id| is_lab(id));
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        inside.chain(outside).filter(|&id| id != own).collect()
    };
    signal_all(&processes(), Signal::SIGTERM);
    if wait_for("the lab's processes", GRACE, || processes().is_empty()).is_err() {
        signal_all(&processes(), Signal::SIGKILL);
        wait_for("killed processes of the lab", GRACE, || processes().is_empty())?;
    }
    for name in &names {
        let deleted = run(Command::new("ip").args(["netns", "delete", name]));
        // One that another process has just removed is what was wanted.
        if namespace::Namespace::named(name).path().exists() {
            deleted?;
        }
    }
    remove_state(&state(prefix))
}

/// The directory of a lab's files.
#[must_use]
pub fn state(prefix: &str) -> PathBuf {
    Path::new(STATE).join(prefix)
}

/// The file that holds the id of the process that serves a lab's pods.
#[must_use]
pub fn server_file(prefix: &str) -> PathBuf {
    state(prefix).join("serve.pid")
}

fn server_of(prefix: &str) -> Option<i32> {
    fs::read_to_string(server_file(prefix)).ok()?.trim().parse().ok()
}

/// Whether a process is this very program: an id in a file may have been given anew since.
fn is_lab(id: i32) -> bool {
    let program = |path: String| fs::read_link(path).ok();
    program(format!("/proc/{id}/exe")).is_some_and(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lockgate-lab"))
    })
}

fn signal_all(ids: &[i32], signal: Signal) {
    for &id in ids {
        // One that has just ended is what was wanted.
        let _ = kill(Pid::from_raw(id), signal);
    }
}

fn remove_state(state: &Path) -> Result<(), LabError> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(LabError::io("read mounts"))?;
    let mounted = |path: &Path| {
        let path = path.display().to_string();
        mounts.lines().filter(|line| line.split(' ').nth(1) == Some(path.as_str())).count()
    };
    for mount in ["bpf", "memory"].map(|name| state.join(name)) {
        for _ in 0..mounted(&mount) {
            run(Command::new("umount").arg(&mount))?;
        }
    }
    match fs::remove_dir_all(state) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LabError::Io { what: format!("remove {}", state.display()), source: error })
        }
        _ => Ok(()),
    }
}
