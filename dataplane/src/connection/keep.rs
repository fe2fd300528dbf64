//! Tables in a file, for whoever comes after us: a worker's connections and translations. Cold: made
//! once, before the worker is.
//!
//! ```text
//!   | header | records of connections | records of translations | what stands beside those |
//!     64 KiB, as each part begins at a multiple of it
//! ```
//!
//! The index is not there: it is under a secret, and is made anew. The header is written last: a file
//! without one is of nobody.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::slab::{Slab, bytes};
use super::translation::{self, Translations};
use super::{Connections, Settings};
use crate::block::PAGE_BYTES;
use crate::ids::WorkerId;

/// What a file begins with.
pub(super) const MAGIC: [u8; 8] = *b"lockgate";
/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 64;
/// A number that is another one wherever something is written otherwise.
pub(super) const LAYOUT: u64 = bytes::LAYOUT ^ translation::LAYOUT.rotate_left(32);
/// How names of files end.
pub(super) const END: &str = "connections";

/// One start of the switch on one start of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The kernel's `boot_id`: ticks count from that.
    pub boot: u128,
    /// A number that grows from start to start.
    pub stamp: u64,
}

/// Why a file cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct KeepError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Empty tables in a new file of this directory.
///
/// # Errors
/// Where it cannot be made, or there is no room for it: then nothing is left of it.
pub fn make(
    directory: &Path,
    start: Start,
    worker: WorkerId,
    settings: &Settings,
) -> Result<(Connections, Translations), KeepError> {
    let path = directory.join(format!("{:016x}-{}.{END}", start.stamp, worker.0));
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
    // One that was there is not ours to remove.
    let file = opened.map_err(|source| KeepError { path: path.clone(), source })?;
    fill(&file, start, worker, settings).map_err(|source| {
        let _left = fs::remove_file(&path);
        KeepError { path, source }
    })
}

fn fill(
    file: &File,
    start: Start,
    worker: WorkerId,
    settings: &Settings,
) -> io::Result<(Connections, Translations)> {
    let counts = [settings.records(), translation::capacity(settings)];
    let [connections, fronts, records, _] = places(counts);
    let slab = Slab::in_file(file, connections, settings.records())?;
    let connections = Connections::of(settings, slab);
    let translations = Translations::in_file(settings, file, [fronts, records])?;
    write_header(file, start, worker, counts)?;
    Ok((connections, translations))
}

/// Where the parts of a file begin, and where the last one ends.
pub(super) fn places([connections, translations]: [u32; 2]) -> [u64; 4] {
    let after = |at: u64, count: u32, bytes: usize| {
        let bytes = u64::from(count).saturating_mul(bytes as u64);
        at.saturating_add(bytes).next_multiple_of(PAGE_BYTES)
    };
    let fronts = after(PAGE_BYTES, connections, bytes::ENTRY_BYTES);
    let records = after(fronts, translations, bytes::ENTRY_BYTES);
    [PAGE_BYTES, fronts, records, after(records, translations, translation::RECORD_BYTES)]
}

fn write_header(
    file: &File,
    start: Start,
    worker: WorkerId,
    [connections, translations]: [u32; 2],
) -> io::Result<()> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend(MAGIC);
    header.extend(LAYOUT.to_ne_bytes());
    header.extend(start.boot.to_ne_bytes());
    header.extend(start.stamp.to_ne_bytes());
    header.extend(u32::from(worker.0).to_ne_bytes());
    header.extend(connections.to_ne_bytes());
    header.extend(translations.to_ne_bytes());
    header.resize(HEADER_BYTES, 0);
    file.write_all_at(&header, 0)
}
