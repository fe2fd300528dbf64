//! What a cluster leaves, and how it is taken away: by its layout alone, whoever left it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::layout::Layout;
use crate::lab::LabError;
use crate::lab::namespace::{self, run, wait_for};

/// How long processes may take to end, and what they held to be free.
const GRACE: Duration = Duration::from_secs(10);

/// Takes away the namespaces of a cluster with whatever still runs in them, and its files.
///
/// # Errors
/// When something is there and can't be removed.
pub fn remove(layout: &Layout) -> Result<(), LabError> {
    for name in namespace::list(layout.prefix()) {
        end_all(&format!("processes in {name}"), || namespace::processes(&name))?;
        run(Command::new("ip").args(["netns", "delete", &name]))?;
    }
    remove_directory(layout.state())
}

/// Kills processes until there are none.
pub(super) fn end_all(what: &str, list: impl Fn() -> Vec<i32>) -> Result<(), LabError> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    wait_for(what, GRACE, || {
        let ids: Vec<i32> = list().into_iter().filter(|&id| id != own).collect();
        for &id in &ids {
            // One that has just ended is what was wanted.
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
        ids.is_empty()
    })
}

fn remove_directory(path: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(LabError::Io { what: format!("remove {}", path.display()), source: error })
        }
        _ => Ok(()),
    }
}
