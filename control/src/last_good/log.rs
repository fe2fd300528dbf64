//! The file of what was said: appended to with every change, written anew when most of it no longer
//! counts. It knows where each object's frame is and nothing else of it.
//!
//! Before everything was read once, and where the disk refuses, frames are kept in memory and there
//! is no file; the first that is written is whole. They are one piece then, so that all of it can be
//! given back to the system.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::entry::{MAGIC, Said, Stamp, append, append_first};
use super::store::Store;
use crate::manifest::{ObjectKey, ObjectKind};
use crate::policy::Known;
use crate::watch::RESOURCES;

/// Bytes that no longer count and are always borne.
const SLACK: u64 = 1024 * 1024;
/// Ends the name of a file that is not whole yet.
const NEW: &str = "new";
/// Who has not written to such a file for so long is dead.
const DEAD: Duration = Duration::from_mins(10);

/// Something said, with frames in a text of the batch that it is in.
#[derive(Debug)]
pub(super) enum Act {
    Begun(&'static str),
    /// `is_terminating`: it is a namespace on its way out.
    There {
        key: ObjectKey,
        frame: Range<usize>,
        is_terminating: bool,
    },
    Gone(ObjectKey),
    Whole,
    Absent,
}

#[derive(Debug)]
struct Slot {
    at: u64,
    length: u32,
    /// Of its bytes, to tell whether a list shows anything new.
    hash: u64,
    /// The list that showed it last.
    list: u32,
    /// It is a policy that went before the pods of its namespace, and still isolates (NP-55).
    has_departed: bool,
}

/// What is known of a resource.
#[derive(Debug, Default)]
struct Held {
    version: &'static str,
    /// Whether it was read, or `false`: it is absent. `None`: not known yet.
    is_read: Option<bool>,
    is_listing: bool,
    list: u32,
    objects: HashMap<ObjectKey, Slot>,
}

/// The file, and where everything is in it.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    stamp: Stamp,
    held: BTreeMap<ObjectKind, Held>,
    terminating: HashSet<Arc<str>>,
    store: Store,
    /// Bytes of what is stored that count.
    live: u64,
    /// What was kept cannot be read any more: without it nothing that is whole can be written.
    is_lost: bool,
    hasher: RandomState,
}

impl Log {
    /// With nothing said yet. What a predecessor has kept stays until all was said anew.
    pub(super) fn new(path: &Path, stamp: Stamp) -> Self {
        Self {
            path: path.to_owned(),
            stamp,
            held: RESOURCES.iter().map(|one| (one.kind, Held::default())).collect(),
            terminating: HashSet::new(),
            store: Store::Memory(Vec::new()),
            live: 0,
            is_lost: false,
            hasher: RandomState::new(),
        }
    }

    /// Takes in what was said, and writes it.
    ///
    /// # Errors
    /// Where it cannot be written. It is kept in memory then, and the file is gone.
    pub(super) fn take(&mut self, acts: &[(ObjectKind, Act)], frames: &[u8]) -> io::Result<()> {
        let mut out = Vec::new();
        // What was noted points into what was to be written, whatever became of the rest.
        let mut noted = acts.iter();
        let noted = noted.try_for_each(|(kind, act)| self.note(*kind, act, frames, &mut out));
        if let Err(error) = self.store.append(&out).and(noted) {
            self.gather(&out);
            self.give_up();
            return Err(error);
        }
        if self.is_replaced() {
            return self.write_anew().inspect_err(|_| self.give_up());
        }
        self.mend()?;
        self.compact()
    }

    /// Writes the file if there is none and everything was read.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn mend(&mut self) -> io::Result<()> {
        if self.is_filed() || !self.is_whole() {
            return Ok(());
        }
        if self.is_lost {
            return Err(io::Error::other("what it held cannot be read back"));
        }
        self.write_anew().inspect_err(|_| self.give_up())
    }

    /// Whether the file of another agent lies in our one's place: a successor's that has not taken
    /// over yet, or a predecessor's that has given. Each knows everything, so the later writes anew.
    fn is_replaced(&self) -> bool {
        let Store::File(file, _) = &self.store else { return false };
        let ours = file.metadata().ok();
        let there = fs::metadata(&self.path).ok();
        ours.zip(there).is_none_or(|(ours, there)| ours.ino() != there.ino())
    }

    /// Whether everything was read once.
    pub(super) fn is_whole(&self) -> bool {
        self.held.values().all(|held| held.is_read.is_some())
    }

    fn is_filed(&self) -> bool {
        matches!(self.store, Store::File(..))
    }

    /// Bytes of the file; 0 where there is none.
    pub(super) fn bytes(&self) -> u64 {
        if self.is_filed() { self.store.length() } else { 0 }
    }

    /// Objects that are kept.
    pub(super) fn objects(&self) -> usize {
        self.held.values().map(|held| held.objects.len()).sum()
    }

    /// Removes the file: what it says may no longer hold.
    pub(super) fn give_up(&mut self) {
        if self.is_filed() {
            self.gather(&[]);
        }
        // Where that fails too the file cannot be written, and a start refuses such a one.
        let _left = fs::remove_file(&self.path);
    }

    /// Takes what counts into memory, and nothing else; `unwritten` was to come after all that is
    /// stored.
    fn gather(&mut self, unwritten: &[u8]) {
        let stored = self.store.length();
        let mut frames = Vec::with_capacity(usize::try_from(self.live).unwrap_or_default());
        for slot in self.held.values_mut().flat_map(|held| held.objects.values_mut()) {
            let late = slot.at.checked_sub(stored).and_then(|at| usize::try_from(at).ok());
            let late = late.and_then(|at| unwritten.get(at..)?.get(..slot.length as usize));
            let frame = late
                .map_or_else(|| self.store.read(slot.at, slot.length), |frame| Ok(frame.to_vec()));
            self.is_lost |= frame.is_err();
            slot.at = frames.len() as u64;
            frames.extend(frame.unwrap_or_default());
        }
        self.store = Store::Memory(frames);
    }

    /// From now on nothing can be written to the file.
    #[cfg(test)]
    pub(super) fn break_file(&mut self, path: &Path) {
        self.store = Store::File(File::open(path).unwrap(), self.store.length());
    }

    fn note(
        &mut self,
        kind: ObjectKind,
        act: &Act,
        frames: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let held = self.held.entry(kind).or_default();
        match act {
            Act::Begun(version) => {
                held.version = version;
                held.list = held.list.wrapping_add(1);
                held.is_listing = true;
            }
            Act::There { key, frame, is_terminating } => {
                if kind == ObjectKind::Namespace {
                    let name = key.name.clone();
                    _ = if *is_terminating {
                        self.terminating.insert(name)
                    } else {
                        self.terminating.remove(&name)
                    };
                }
                self.put(kind, key, frames.get(frame.clone()).unwrap_or_default(), out);
            }
            Act::Gone(key) => return self.remove(kind, std::slice::from_ref(key), out),
            Act::Whole => {
                let unseen = |slot: &Slot| slot.list != held.list && !slot.has_departed;
                let is_listing = std::mem::take(&mut held.is_listing);
                let gone = held.objects.iter().filter(|(_, slot)| is_listing && unseen(slot));
                let gone: Vec<ObjectKey> = gone.map(|(key, _)| key.clone()).collect();
                if held.is_read.replace(true) != Some(true) {
                    append(out, &Said::Read(kind, held.version)).map_err(io::Error::other)?;
                }
                return self.remove(kind, &gone, out);
            }
            Act::Absent => {
                held.is_listing = false;
                let gone: Vec<ObjectKey> = held.objects.keys().cloned().collect();
                if held.is_read.replace(false) != Some(false) {
                    append(out, &Said::Absent(kind)).map_err(io::Error::other)?;
                }
                return self.remove(kind, &gone, out);
            }
        }
        Ok(())
    }

    fn put(&mut self, kind: ObjectKind, key: &ObjectKey, frame: &[u8], out: &mut Vec<u8>) {
        let hash = self.hasher.hash_one(frame);
        let held = self.held.entry(kind).or_default();
        // What was enforced and is staged now is another object, and so the other way round.
        for other in [key.staged(), key.enforced()].into_iter().flatten() {
            let other = held.objects.remove(&other);
            self.live -= other.map_or(0, |slot| u64::from(slot.length));
        }
        if let Some(slot) = held.objects.get_mut(key) {
            slot.list = held.list;
            if slot.hash == hash && !slot.has_departed {
                return;
            }
        }
        let at = self.store.length() + out.len() as u64;
        // Its head has four bytes for its length.
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(frame);
        let slot = Slot { at, length, hash, list: held.list, has_departed: false };
        self.live += u64::from(length);
        let old = held.objects.insert(key.clone(), slot);
        self.live -= old.map_or(0, |slot| u64::from(slot.length));
    }

    fn remove(
        &mut self,
        kind: ObjectKind,
        gone: &[ObjectKey],
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        for key in gone {
            let forms = [Some(key.clone()), key.staged(), key.enforced()];
            for form in forms.into_iter().flatten() {
                self.forget(kind, &form);
            }
            append(out, &Said::Gone(kind, key)).map_err(io::Error::other)?;
            if kind == ObjectKind::Namespace && self.terminating.remove(&key.name) {
                self.release(&key.name);
            }
        }
        Ok(())
    }

    /// Forgets an object; of a policy that goes before its namespace is remembered what it was.
    fn forget(&mut self, kind: ObjectKind, key: &ObjectKey) {
        let is_leaving = is_policy(kind) && self.terminating.contains(&key.namespace);
        let Some(held) = self.held.get_mut(&kind) else { return };
        if let Some(slot) = held.objects.get_mut(key).filter(|_| is_leaving) {
            slot.has_departed = true;
        } else {
            let old = held.objects.remove(key);
            self.live -= old.map_or(0, |slot| u64::from(slot.length));
        }
    }

    /// A namespace is gone, and what isolated its pods with it.
    fn release(&mut self, namespace: &str) {
        for held in self.held.values_mut() {
            let is_over =
                |key: &ObjectKey, slot: &Slot| slot.has_departed && *key.namespace == *namespace;
            let gone = held.objects.extract_if(|key, slot| is_over(key, slot));
            self.live -= gone.map(|(_, slot)| u64::from(slot.length)).sum::<u64>();
        }
    }

    fn compact(&mut self) -> io::Result<()> {
        if self.store.length() <= 2 * self.live + SLACK {
            return Ok(());
        }
        if !self.is_filed() {
            self.gather(&[]);
            return Ok(());
        }
        self.write_anew().inspect_err(|_| self.give_up())
    }

    /// Writes everything that counts into a new file, and puts that in the place of the old one.
    pub(super) fn write_anew(&mut self) -> io::Result<()> {
        let new = self.new_path();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = file.open(&new)?;
        let written = self.write_to(&file).and_then(|places| {
            fs::rename(&new, &self.path)?;
            Ok(places)
        });
        let (places, length) = written.inspect_err(|_| _ = fs::remove_file(&new))?;
        let slots = self.held.values_mut().flat_map(|held| held.objects.values_mut());
        for (slot, at) in slots.zip(places) {
            slot.at = at;
        }
        self.store = Store::File(file, length);
        clear_unfinished(&self.path);
        Ok(())
    }

    /// Where the file is until it is whole: both agents of a hand-over may write one at the same time,
    /// each in a container where it has the same number.
    pub(super) fn new_path(&self) -> PathBuf {
        self.path.with_extension(format!("{:016x}.{NEW}", self.hasher.hash_one(NEW)))
    }

    /// Where everything is in the new file, in the order of the slots, and how long it is. What says
    /// that a resource was read comes after all that it holds: half a file is none.
    fn write_to(&self, file: &File) -> io::Result<(Vec<u64>, u64)> {
        let mut to = BufWriter::with_capacity(1 << 16, file);
        let mut text = MAGIC.to_vec();
        append_first(&mut text, &self.stamp).map_err(io::Error::other)?;
        to.write_all(&text)?;
        let (mut length, mut places, mut end) = (text.len() as u64, Vec::new(), Vec::new());
        for (kind, held) in &self.held {
            for (key, slot) in &held.objects {
                to.write_all(&self.store.read(slot.at, slot.length)?)?;
                places.push(length);
                length += u64::from(slot.length);
                if slot.has_departed {
                    append(&mut end, &Said::Gone(*kind, key)).map_err(io::Error::other)?;
                }
            }
            let said = match held.is_read {
                Some(true) => Said::Read(*kind, held.version),
                _ => Said::Absent(*kind),
            };
            append(&mut end, &said).map_err(io::Error::other)?;
        }
        to.write_all(&end)?;
        to.flush()?;
        Ok((places, length + end.len() as u64))
    }
}

/// Removes what agents left that died before their file was whole.
fn clear_unfinished(path: &Path) {
    let (Some(directory), Some(stem)) = (path.parent(), path.file_stem()) else { return };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let other = entry.path();
        let is_new = other.extension().is_some_and(|end| end == NEW)
            && other
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(stem.as_encoded_bytes()));
        let written = entry.metadata().and_then(|about| about.modified()).ok();
        let is_old = written.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > DEAD);
        if is_new && is_old {
            let _left = fs::remove_file(other);
        }
    }
}

fn is_policy(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Policy | ObjectKind::Ordered(Known::Policy(_)))
}
