//! The cgroups of a node's pods: one below the root of each hierarchy.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::leftovers::end_all;
use crate::lab::LabError;
use crate::lab::namespace::wait_for;

/// How long a cgroup may stay busy after its last process.
const GRACE: Duration = Duration::from_secs(10);

/// Makes the cgroup of this name in every hierarchy.
///
/// # Errors
/// When one can't be made.
pub fn make(name: &str) -> Result<(), LabError> {
    for root in roots()? {
        let path = root.join(name);
        fs::create_dir_all(&path).map_err(LabError::io(format!("make {}", path.display())))?;
    }
    Ok(())
}

/// Kills all that is in the cgroups of this name, and removes them.
///
/// # Errors
/// When one stays.
pub fn remove(name: &str) -> Result<(), LabError> {
    let own: Vec<PathBuf> = list(name)?;
    end_all(&format!("processes in the cgroup {name}"), || {
        own.iter().flat_map(|root| processes(root)).collect()
    })?;
    for root in own {
        wait_for(&format!("{} to be removed", root.display()), GRACE, || {
            remove_tree(&root);
            !root.exists()
        })?;
    }
    Ok(())
}

/// The cgroups of this name that are there.
///
/// # Errors
/// When the hierarchies can't be found.
pub fn list(name: &str) -> Result<Vec<PathBuf>, LabError> {
    Ok(roots()?.into_iter().map(|root| root.join(name)).filter(|path| path.exists()).collect())
}

/// The roots of all hierarchies: where both versions are mounted, runc uses both.
fn roots() -> Result<Vec<PathBuf>, LabError> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(LabError::io("read mounts"))?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let is_root = |field: &Vec<&str>| matches!(field.get(2), Some(&("cgroup" | "cgroup2")));
    Ok(fields.filter(is_root).map(|field| field[1].into()).collect())
}

/// The processes in the cgroups of this name.
#[must_use]
pub fn processes_of(name: &str) -> Vec<i32> {
    list(name).unwrap_or_default().iter().flat_map(|root| processes(root)).collect()
}

fn processes(cgroup: &Path) -> Vec<i32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut ids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    ids.extend(children(cgroup).iter().flat_map(|child| processes(child)));
    ids
}

/// Leaves before branches. What is busy stays, and is tried again.
fn remove_tree(cgroup: &Path) {
    for child in children(cgroup) {
        remove_tree(&child);
    }
    let _ = fs::remove_dir(cgroup);
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
