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

/// Writes them, all or as they were.
pub(super) fn write(directory: &Path, stamp: u64, names: &Names) -> io::Result<()> {
    let path = path(directory, stamp);
    let new = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(names)?)?;
    fs::rename(&new, &path)
}

/// The number of a pod of today, by who it is.
pub(super) fn by_identity(names: &Names) -> BTreeMap<&Identity, EndpointId> {
    names.iter().map(|(&number, identity)| (identity, EndpointId(number))).collect()
}
