//! What a cluster leaves, and how it is taken away: by its layout alone, whoever left it.
//!
//! The order matters: what makes anew goes before what it makes. A kubelet would start containers
//! again; shims outlive containerd; a mount keeps a directory, a directory's removal must not
//! reach through a mount.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::layout::{Layout, NODES_MAX, NodePlace};
use super::{cgroups, mounts, sysctls};
use crate::lab::LabError;
use crate::lab::namespace::{self, run, wait_for};

/// How long processes may take to end, and what they held to be free.
const GRACE: Duration = Duration::from_secs(10);

/// Takes away what is left of a cluster whose own programs have ended: containers and their
/// shims, cgroups, whatever else runs in its namespaces, the namespaces, mounts and files.
///
/// # Errors
/// When something is there and can't be removed.
pub fn remove(layout: &Layout) -> Result<(), LabError> {
    for number in 0..NODES_MAX {
        let node = layout.node(number);
        end_all(&format!("what runs in {}", node.name), || in_mounts_of(&node))?;
        cgroups::remove(&node.cgroup)?;
    }
    let names = namespace::list(layout.prefix());
    for name in &names {
        end_all(&format!("processes in {name}"), || namespace::processes(name))?;
    }
    mounts::remove(layout.state())?;
    for name in &names {
        run(Command::new("ip").args(["netns", "delete", name]))?;
    }
    sysctls::restore(layout.state())?;
    remove_directory(layout.state())
}

/// Every process of a cluster: of its namespaces, its nodes' views of files and their cgroups.
#[must_use]
pub fn processes(layout: &Layout) -> Vec<i32> {
    let names = namespace::list(layout.prefix());
    let mut ids: Vec<i32> = names.iter().flat_map(|name| namespace::processes(name)).collect();
    for node in (0..NODES_MAX).map(|number| layout.node(number)) {
        ids.extend(in_mounts_of(&node));
        ids.extend(cgroups::processes_of(&node.cgroup));
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// What is there of a cluster, whether it runs or not: namespaces, cgroups, mounts, files.
///
/// # Errors
/// When the lists of mounts can't be read.
pub fn list(layout: &Layout) -> Result<Vec<String>, LabError> {
    let mut found = namespace::list(layout.prefix());
    for node in (0..NODES_MAX).map(|number| layout.node(number)) {
        found.extend(cgroups::list(&node.cgroup)?.iter().map(|path| path.display().to_string()));
    }
    found.extend(mounts::list(layout.state())?.iter().map(|path| path.display().to_string()));
    if layout.state().exists() {
        found.push(layout.state().display().to_string());
    }
    Ok(found)
}

/// Moves the logs of a cluster beside its state, where they stay until the next one fails.
///
/// # Errors
/// When they can't be moved.
pub fn keep_logs(layout: &Layout) -> Result<PathBuf, LabError> {
    let kept = layout.state().with_added_extension("failed");
    let what = || format!("keep logs in {}", kept.display());
    remove_directory(&kept)?;
    fs::create_dir_all(&kept).map_err(LabError::io(what()))?;
    let nodes = (0..NODES_MAX).map(|number| layout.node(number).state);
    for directory in nodes.chain([layout.state().to_owned()]) {
        for path in fs::read_dir(&directory).into_iter().flatten().flatten().map(|it| it.path()) {
            if path.extension().is_some_and(|end| end == "log") {
                let name = path.strip_prefix(layout.state()).unwrap_or(&path).display().to_string();
                let to = kept.join(name.replace('/', "-"));
                // A copy: the node's own directory may be a mount of its own.
                fs::copy(&path, to).map_err(LabError::io(what()))?;
            }
        }
    }
    Ok(kept)
}

/// The processes that see files as a node does: containerd's shims, and what was run there.
/// Containers have views of their own, and are found by their cgroups.
fn in_mounts_of(node: &NodePlace) -> Vec<i32> {
    use std::os::unix::fs::MetadataExt;
    let Ok(own) = fs::metadata(node.mounts()) else { return Vec::new() };
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    ids.filter(|id: &i32| {
        fs::metadata(format!("/proc/{id}/ns/mnt"))
            .is_ok_and(|its| (its.dev(), its.ino()) == (own.dev(), own.ino()))
    })
    .collect()
}

/// Kills processes until there are none.
pub(super) fn end_all(what: &str, list: impl Fn() -> Vec<i32>) -> Result<(), LabError> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    wait_for(what, GRACE, || {
        let ids: Vec<i32> = list().into_iter().filter(|&id| id != own).collect();
        for &id in &ids {
            // One that has just ended is what was wanted; a child is mourned, others are not ours.
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            let _ = waitpid(Pid::from_raw(id), Some(WaitPidFlag::WNOHANG));
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
