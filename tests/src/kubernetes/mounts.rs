//! What a node sees of the machine's files: all of them, but for the directories of a node, which
//! are its own.
//!
//! Kubelet, containerd and CNI plugins have fixed places, and so has what is installed on a node.
//! Two nodes on one machine, or a node beside a kubelet of the machine's own, would meet there. So
//! each node has a mount namespace, in which its own directories lie over the machine's; the
//! machine sees them below the state directory. They are shared mounts, as on a real node: what is
//! mounted in them is seen on both sides, and by pods that ask for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use super::layout::NodePlace;
use crate::lab::LabError;
use crate::lab::namespace::run;

/// The directories that are each node's own.
const OWN: &[&str] = &[
    "/etc/cni",
    "/opt/cni",
    "/run/containerd",
    "/run/lockgate",
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/lockgate",
    "/var/log/containers",
    "/var/log/pods",
];

/// Those of them that a real node has in memory.
const IN_MEMORY: &[&str] = &["/run/lockgate"];

/// Lays a node's directories over the machine's, in a new mount namespace. `$1` is where they are.
/// What is mounted from here on must not reach the machine, whose mounts may be shared.
const LAY: &str = r#"
own=$1; shift
awk '{ print $2 }' /proc/self/mounts | while read -r at; do
  case "$at" in "$own" | "$own"/*) ;; *) mount --make-private "$at" || true ;; esac
done 2>/dev/null
for directory; do mount --bind "$own$directory" "$directory"; done
mount -t bpf bpf /sys/fs/bpf
"#;

/// Where a node's own directory is, as the machine sees it.
#[must_use]
pub fn outside(node: &NodePlace, directory: &str) -> PathBuf {
    // Not `join`: that of an absolute path would be the machine's own.
    PathBuf::from(format!("{}{directory}", node.state.display()))
}

/// Makes a node's mount namespace, where it is not there yet.
///
/// # Errors
/// When a directory can't be made, or a mount is refused.
pub fn make(node: &NodePlace) -> Result<(), LabError> {
    let kept = node.mounts();
    if kept.exists() {
        return Ok(());
    }
    for directory in OWN {
        // On the machine an empty one is made, where there is none: something to lay the own over.
        for path in [outside(node, directory), PathBuf::from(directory)] {
            fs::create_dir_all(&path).map_err(LabError::io(format!("make {}", path.display())))?;
        }
    }
    share(&node.state)?;
    for directory in IN_MEMORY {
        let path = outside(node, directory);
        let (kind, options) = (Some("tmpfs"), Some("mode=0700,size=1g"));
        mount(kind, &path, kind, MsFlags::empty(), options).map_err(|errno| {
            let what = format!("mount memory at {}", path.display());
            LabError::Io { what, source: errno.into() }
        })?;
    }
    File::create(&kept).map_err(LabError::io(format!("make {}", kept.display())))?;
    let mut command = Command::new("unshare");
    command.arg(format!("--mount={}", kept.display())).args(["--propagation", "unchanged"]);
    command.args(["sh", "-ec", LAY, "sh"]).arg(&node.state).args(OWN);
    run(&mut command).map(drop)
}

/// Runs `work` on a thread of its own, in a node's network and with its view of files.
///
/// # Errors
/// When the node has no namespaces.
///
/// # Panics
/// When `work` does.
pub fn enter<T: Send>(node: &NodePlace, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
    let path = node.mounts();
    let what = || format!("enter {}", path.display());
    let handle = File::open(&path).map_err(LabError::io(what()))?;
    node.namespace.enter(|| {
        // A thread shares its root with the others, which must not move.
        unshare(CloneFlags::CLONE_FS)
            .and_then(|()| setns(handle, CloneFlags::CLONE_NEWNS))
            .map_err(|errno| LabError::Io { what: what(), source: errno.into() })?;
        Ok(work())
    })?
}

/// A command that will run in a node's network, with its view of files if it has one of its own.
#[must_use]
pub fn command(node: &NodePlace, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    if node.mounts().exists() {
        command.arg(format!("--mount={}", node.mounts().display()));
    }
    command.arg(format!("--net={}", node.namespace.path().display())).arg(program);
    command
}

/// Takes away every mount at or below a directory.
///
/// # Errors
/// When one stays.
pub fn remove(below: &Path) -> Result<(), LabError> {
    for at in list(below)?.iter().rev() {
        // One that has gone with another is what was wanted; `list` sees what stays.
        let _ = umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    }
    match list(below)?.first() {
        None => Ok(()),
        Some(at) => Err(LabError::Unexpected(format!(
            "{} stays mounted: see who uses it, and run `umount {}`",
            at.display(),
            at.display()
        ))),
    }
}

/// The mounts at or below a directory, in the order in which they were made.
///
/// # Errors
/// When the list can't be read.
pub fn list(below: &Path) -> Result<Vec<PathBuf>, LabError> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(LabError::io("read mounts"))?;
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    Ok(places.map(|place| PathBuf::from(plain(place))).filter(|at| at.starts_with(below)).collect())
}

/// A path as it is: the list writes a space as `\040`.
fn plain(written: &str) -> String {
    let (space, tab, slash) = (r"\040", r"\011", r"\134");
    written.replace(space, " ").replace(tab, "\t").replace(slash, r"\")
}

/// Makes a directory a mount of its own that is shared with whoever copies it.
fn share(directory: &Path) -> Result<(), LabError> {
    let none = None::<&str>;
    let what = format!("mount {} on itself", directory.display());
    mount(Some(directory), directory, none, MsFlags::MS_BIND, none)
        .and_then(|()| mount(none, directory, none, MsFlags::MS_PRIVATE, none))
        .and_then(|()| mount(none, directory, none, MsFlags::MS_SHARED, none))
        .map_err(|errno| LabError::Io { what, source: errno.into() })
}
