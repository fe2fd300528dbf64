//! The cgroups of a node's pods: one below the root of each hierarchy of version 1, or the one of
//! version 2.

use std::fs;
use std::path::{Path, PathBuf};

use super::leftovers::end_all;
use crate::lab::LabError;
use crate::lab::namespace::wait_for;
use std::time::Duration;

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

/// The roots of all hierarchies in use: those of version 1, else that of version 2.
fn roots() -> Result<Vec<PathBuf>, LabError> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(LabError::io("read mounts"))?;
    let of = |kind: &str| -> Vec<PathBuf> {
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        fields.filter(|field| field.get(2) == Some(&kind)).map(|field| field[1].into()).collect()
    };
    let (first, second) = (of("cgroup"), of("cgroup2"));
    Ok(if first.is_empty() { second } else { first })
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
