//! The file of what was said: appended to with every change, written anew when most of it no longer
//! counts. It knows where each object's frame is and nothing else of it.
//!
//! Before everything was read once, and where the disk refuses, frames are kept in memory and there
//! is no file; the first that is written is whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::{MAGIC, Said, Stamp, append};
use crate::manifest::{ObjectKey, ObjectKind};
use crate::policy::Known;
use crate::watch::RESOURCES;

/// Bytes that no longer count and are always borne.
const SLACK: u64 = 1024 * 1024;

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

/// Where an object's frame is.
#[derive(Debug)]
enum Place {
    File(u64),
    Memory(Box<[u8]>),
}

#[derive(Debug)]
struct Slot {
    at: Place,
    length: usize,
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
    file: Option<File>,
    /// Bytes of the file, and those of them that count.
    length: u64,
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
            file: None,
            length: 0,
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
        for (kind, act) in acts {
            self.note(*kind, act, frames, &mut out)?;
        }
        match &mut self.file {
            None => self.mend(),
            Some(file) => match file.write_all_at(&out, self.length) {
                Ok(()) => {
                    self.length += out.len() as u64;
                    if self.is_replaced() { self.write_anew() } else { self.compact() }
                }
                Err(error) => {
                    self.save(&out);
                    self.give_up();
                    Err(error)
                }
            },
        }
    }

    /// Writes the file if there is none and everything was read.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn mend(&mut self) -> io::Result<()> {
        if self.file.is_some() || !self.is_whole() {
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
        let ours = self.file.as_ref().and_then(|file| file.metadata().ok());
        let there = fs::metadata(&self.path).ok();
        ours.zip(there).is_none_or(|(ours, there)| ours.ino() != there.ino())
    }

    /// Whether everything was read once.
    pub(super) fn is_whole(&self) -> bool {
        self.held.values().all(|held| held.is_read.is_some())
    }

    /// Bytes of the file; 0 where there is none.
    pub(super) fn bytes(&self) -> u64 {
        if self.file.is_some() { self.length } else { 0 }
    }

    /// Objects that are kept.
    pub(super) fn objects(&self) -> usize {
        self.held.values().map(|held| held.objects.len()).sum()
    }

    /// Removes the file: what it says may no longer hold.
    pub(super) fn give_up(&mut self) {
        for held in self.held.values_mut() {
            for slot in held.objects.values_mut() {
                if let (Place::File(at), Some(file)) = (&slot.at, &self.file) {
                    let mut frame = vec![0; slot.length];
                    self.is_lost |= file.read_exact_at(&mut frame, *at).is_err();
                    slot.at = Place::Memory(frame.into());
                }
            }
        }
        self.file = None;
        // Where that fails too the file cannot be written, and a start refuses such a one.
        let _left = fs::remove_file(&self.path);
    }

    /// From now on nothing can be written to the file.
    #[cfg(test)]
    pub(super) fn break_file(&mut self, path: &Path) {
        self.file = Some(File::open(path).unwrap());
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
        let (hash, is_filed) = (self.hasher.hash_one(frame), self.file.is_some());
        let held = self.held.entry(kind).or_default();
        // What was enforced and is staged now is another object, and so the other way round.
        for other in [key.staged(), key.enforced()].into_iter().flatten() {
            let other = held.objects.remove(&other);
            self.live -= other.map_or(0, |slot| slot.length as u64);
        }
        if let Some(slot) = held.objects.get_mut(key) {
            slot.list = held.list;
            if slot.hash == hash && !slot.has_departed {
                return;
            }
        }
        let at = if is_filed {
            Place::File(self.length + out.len() as u64)
        } else {
            Place::Memory(frame.into())
        };
        if is_filed {
            out.extend_from_slice(frame);
        }
        let slot = Slot { at, length: frame.len(), hash, list: held.list, has_departed: false };
        self.live += frame.len() as u64;
        let old = held.objects.insert(key.clone(), slot);
        self.live -= old.map_or(0, |slot| slot.length as u64);
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
            self.live -= old.map_or(0, |slot| slot.length as u64);
        }
    }

    /// A namespace is gone, and what isolated its pods with it.
    fn release(&mut self, namespace: &str) {
        for held in self.held.values_mut() {
            let is_over =
                |key: &ObjectKey, slot: &Slot| slot.has_departed && *key.namespace == *namespace;
            let gone = held.objects.extract_if(|key, slot| is_over(key, slot));
            self.live -= gone.map(|(_, slot)| slot.length as u64).sum::<u64>();
        }
    }

    /// Keeps in memory what was to be appended and is not.
    fn save(&mut self, out: &[u8]) {
        for slot in self.held.values_mut().flat_map(|held| held.objects.values_mut()) {
            let Place::File(at) = slot.at else { continue };
            let Some(at) = at.checked_sub(self.length).and_then(|at| usize::try_from(at).ok())
            else {
                continue;
            };
            let frame = out.get(at..at + slot.length).unwrap_or_default();
            slot.at = Place::Memory(frame.into());
        }
    }

    fn compact(&mut self) -> io::Result<()> {
        if self.length <= 2 * self.live + SLACK {
            return Ok(());
        }
        self.write_anew().inspect_err(|_| self.give_up())
    }

    /// Writes everything that counts into a new file, and puts that in the place of the old one.
    pub(super) fn write_anew(&mut self) -> io::Result<()> {
        let new = self.path.with_extension("new");
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
            slot.at = Place::File(at);
        }
        self.file = Some(file);
        self.length = length;
        Ok(())
    }

    /// Where everything is in the new file, in the order of the slots, and how long it is. What says
    /// that a resource was read comes after all that it holds: half a file is none.
    fn write_to(&self, file: &File) -> io::Result<(Vec<u64>, u64)> {
        let mut to = BufWriter::with_capacity(1 << 16, file);
        let mut text = MAGIC.to_vec();
        append(&mut text, &self.stamp).map_err(io::Error::other)?;
        to.write_all(&text)?;
        let (mut length, mut places, mut end) = (text.len() as u64, Vec::new(), Vec::new());
        let mut frame = Vec::new();
        for (kind, held) in &self.held {
            for (key, slot) in &held.objects {
                let bytes: &[u8] = match (&slot.at, &self.file) {
                    (Place::Memory(bytes), _) => bytes,
                    (Place::File(at), Some(old)) => {
                        frame.resize(slot.length, 0);
                        old.read_exact_at(&mut frame, *at)?;
                        &frame
                    }
                    (Place::File(_), None) => &[],
                };
                to.write_all(bytes)?;
                places.push(length);
                length += bytes.len() as u64;
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

fn is_policy(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Policy | ObjectKind::Ordered(Known::Policy(_)))
}
