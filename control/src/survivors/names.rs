//! Which pods a start of the switch had, by the numbers that its connections name them by.
//!
//! Beside the files of connections, in `STAMP.pods`: written anew before a snapshot with other pods is
//! published. A pod is who it was if its name, its UID where it has one, and its interface are the
//! same: the number of an interface is not given again while the machine runs, so that another pod's
//! is another one, whatever name and address it has.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lockgate_dataplane::connection::left;
use lockgate_dataplane::ids::EndpointId;
use serde::{Deserialize, Serialize};

/// Who a pod is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, where its object says one.
    pub uid: Option<String>,
    /// The number of its interface at the switch's side.
    pub ifindex: u32,
}

/// The pods of one start, by their numbers.
pub type Names = BTreeMap<u32, Identity>;

/// Where those of a start are.
pub(super) fn path(directory: &Path, stamp: u64) -> PathBuf {
    left::published(directory, stamp)
}

/// Those of a start; none where that cannot be read, and then no connection of it is taken.
pub(super) fn read(directory: &Path, stamp: u64) -> Names {
    let read = fs::read(path(directory, stamp)).ok();
    read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Those of starts but our own that have left no connections, whole or half written. Whoever runs has
/// its files of connections from before it names a pod until it ends, or no connections to leave.
pub(super) fn alone(directory: &Path, own: u64) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_alone = |path: &PathBuf| {
        let stamp = stamp_of(path);
        stamp.is_some_and(|stamp| stamp != own && left::files_of(directory, stamp).is_empty())
    };
    entries.map(|entry| entry.path()).filter(is_alone).collect()
}

/// Which start the names are of, by the name of their file.
fn stamp_of(path: &Path) -> Option<u64> {
    let stamp = u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok()?;
    let names = self::path(path.parent()?, stamp);
    (path == names || path == unfinished(&names)).then_some(stamp)
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Writes them, all or as they were.
pub(super) fn write(directory: &Path, stamp: u64, names: &Names) -> io::Result<()> {
    let path = path(directory, stamp);
    let new = unfinished(&path);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(names)?)?;
    fs::rename(&new, &path)
}

/// The number of a pod of today, by who it is.
pub(super) fn by_identity(names: &Names) -> BTreeMap<&Identity, EndpointId> {
    names.iter().map(|(&number, identity)| (identity, EndpointId(number))).collect()
}
