//! What a predecessor left in its files. Cold.
//!
//! Nothing in a file is believed. One of another layout, of another start of the machine, or that is
//! shorter than it says is refused as a whole; a record that no worker can have written is left out,
//! and counted.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::CAPACITY_MAX;
use super::adopt::Survivor;
use super::keep::{END, HEADER_BYTES, LAYOUT, MAGIC, Start, places};
use super::slab::Entry;
use super::slab::bytes::{ENTRY_BYTES, Odd, field};
use super::translation::{RECORD_BYTES, back};
use crate::clock::Tick;
use crate::ids::WorkerId;

/// Records read at once.
const CHUNK: usize = 512;
/// Predecessors that have published of which anything is taken. Whoever dies before it has taken in
/// what it found leaves that to the next; of a long row of such, the oldest are forgotten.
pub const STARTS_MAX: usize = 4;

/// Why nothing of a file is taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It has no header: its maker died before it was whole, or it is of somebody else.
    #[error("it is no table of connections, or was never whole")]
    NotOurs,
    /// Another version of the switch wrote it.
    #[error("another version of the switch wrote it, with records of another layout")]
    Layout,
    /// The machine has been started since.
    #[error("it is of before the machine was started")]
    Boot,
    /// Its header says what cannot be.
    #[error("it is shorter than its header says")]
    Short,
}

/// What one start of the switch left.
#[derive(Debug, Default)]
pub struct Left {
    /// Which start it was.
    pub stamp: u64,
    /// Whether it ever published: before that nothing is sent, and no connection made.
    pub has_published: bool,
    /// Whether its files were read.
    pub is_read: bool,
    /// Its connections and translations.
    pub survivors: Vec<Survivor>,
    /// Records that no worker can have written.
    pub odd: u64,
    /// Its files, to be removed when all is done.
    pub files: Vec<PathBuf>,
    /// Files of which nothing is taken.
    pub refused: Vec<(PathBuf, Refusal)>,
}

/// What all starts but our own left in a directory, the newest first.
///
/// # Errors
/// Where the directory cannot be read.
pub fn read(directory: &Path, own: Start, now: Tick) -> io::Result<Vec<Left>> {
    let mut starts: Vec<Left> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(stamp) = stamp_of(&path).filter(|&stamp| stamp != own.stamp) else { continue };
        let at = starts.iter().position(|left| left.stamp == stamp).unwrap_or(starts.len());
        if at == starts.len() {
            let has_published = published(directory, stamp).exists();
            starts.push(Left { stamp, has_published, ..Left::default() });
        }
        if let Some(left) = starts.get_mut(at) {
            left.files.push(path);
        }
    }
    starts.sort_by_key(|left| std::cmp::Reverse(left.stamp));
    for left in &mut starts {
        left.files.sort();
    }
    // Whoever has published nothing counts for nothing: a row of such that died would hide those that
    // have connections.
    for left in starts.iter_mut().filter(|left| left.has_published).take(STARTS_MAX) {
        left.take(own.boot, now);
        left.is_read = true;
    }
    Ok(starts)
}

/// The file that control makes before a start publishes for the first time, with the pods that its
/// connections are named by.
#[must_use]
pub fn published(directory: &Path, stamp: u64) -> PathBuf {
    directory.join(format!("{stamp:016x}.pods"))
}

/// The files of connections of a start; those that cannot be listed are left out.
#[must_use]
pub fn files_of(directory: &Path, stamp: u64) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| stamp_of(path) == Some(stamp)).collect()
}

/// What starts later than this one left that have published, of each first what says so: without that
/// the rest counts for nothing. What cannot be listed is left out.
#[must_use]
pub fn later(directory: &Path, stamp: u64) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let stamps = entries.filter_map(|entry| stamp_of(&entry.path()));
    let later: BTreeSet<u64> = stamps.filter(|&other| other > stamp).collect();
    let said = later.into_iter().map(|other| (other, published(directory, other)));
    let said = said.filter(|(_, names)| names.exists());
    said.flat_map(|(other, names)| std::iter::once(names).chain(files_of(directory, other)))
        .collect()
}

/// Which start a file is of, by its name.
fn stamp_of(path: &Path) -> Option<u64> {
    if path.extension() != Some(OsStr::new(END)) {
        return None;
    }
    let (stamp, worker) = path.file_stem()?.to_str()?.split_once('-')?;
    let _worker: u8 = worker.parse().ok()?;
    u64::from_str_radix(stamp, 16).ok()
}

impl Left {
    fn take(&mut self, boot: u128, now: Tick) {
        for path in self.files.clone() {
            let opened = File::open(&path).map_err(Refusal::Io);
            if let Err(refusal) = opened.and_then(|file| self.take_file(&file, boot, now)) {
                self.refused.push((path, refusal));
            }
        }
    }

    /// Takes what one file has.
    fn take_file(&mut self, file: &File, boot: u128, now: Tick) -> Result<(), Refusal> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0).map_err(|_| Refusal::NotOurs)?;
        let (worker, counts) = read_header(&header, boot)?;
        let [connections, fronts, records, _] = places(counts);
        let [count, translated] = counts;
        let mut chunk = Chunk::new(ENTRY_BYTES);
        for first in (0..count).step_by(CHUNK) {
            for bytes in chunk.read(file, connections, first, count)? {
                self.note(Entry::read(bytes, now), |entry| {
                    Ok(Survivor { entry, back: None, worker })
                });
            }
        }
        let mut beside = Chunk::new(RECORD_BYTES);
        for first in (0..translated).step_by(CHUNK) {
            let others = beside.read(file, records, first, translated)?;
            let all = chunk.read(file, fronts, first, translated)?;
            for (bytes, other) in all.zip(others) {
                self.note(Entry::read(bytes, now), |entry| {
                    let back = Some(back(&entry.opening(), other)?);
                    Ok(Survivor { entry, back, worker })
                });
            }
        }
        Ok(())
    }

    fn note(
        &mut self,
        read: Result<Option<Entry>, Odd>,
        survivor: impl FnOnce(Entry) -> Result<Survivor, Odd>,
    ) {
        match read.and_then(|entry| entry.map(survivor).transpose()) {
            Ok(survivor) => self.survivors.extend(survivor),
            Err(Odd) => self.odd = self.odd.saturating_add(1),
        }
    }
}

/// Whose records they are and how many, if the file is one of ours.
fn read_header(header: &[u8; HEADER_BYTES], boot: u128) -> Result<(WorkerId, [u32; 2]), Refusal> {
    let part = |at| field::<4>(header, at).map(u32::from_ne_bytes).map_err(|_| Refusal::NotOurs);
    let magic = field::<8>(header, 0).map_err(|_| Refusal::NotOurs)?;
    let layout = field::<8>(header, 8).map_err(|_| Refusal::NotOurs)?;
    let theirs = field::<16>(header, 16).map_err(|_| Refusal::NotOurs)?;
    if magic != MAGIC {
        return Err(Refusal::NotOurs);
    }
    if u64::from_ne_bytes(layout) != LAYOUT {
        return Err(Refusal::Layout);
    }
    if u128::from_ne_bytes(theirs) != boot {
        return Err(Refusal::Boot);
    }
    let counts = [part(44)?, part(48)?];
    let can_be = counts.iter().all(|&count| count as usize <= CAPACITY_MAX);
    let worker = u8::try_from(part(40)?).ok().filter(|_| can_be);
    worker.map(|worker| (WorkerId(worker), counts)).ok_or(Refusal::Short)
}

/// Some records at a time.
struct Chunk {
    bytes: Vec<u8>,
    size: usize,
}

impl Chunk {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size.saturating_mul(CHUNK)], size }
    }

    /// The records from `first` on, of as many as there are from a place of the file on.
    fn read(
        &mut self,
        file: &File,
        place: u64,
        first: u32,
        count: u32,
    ) -> Result<impl Iterator<Item = &[u8]>, Refusal> {
        let records = CHUNK.min(count.saturating_sub(first) as usize);
        let bytes =
            self.bytes.get_mut(..records.saturating_mul(self.size)).ok_or(Refusal::Short)?;
        let at = u64::from(first).saturating_mul(self.size as u64).saturating_add(place);
        file.read_exact_at(bytes, at).map_err(|_| Refusal::Short)?;
        Ok(bytes.chunks_exact(self.size))
    }
}

#[cfg(test)]
mod tests;
