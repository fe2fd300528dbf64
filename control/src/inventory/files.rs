//! What each file of the directory gives, in place of what it gave before.
//!
//! A document that is no object may have been any of those that its file has no more, and what
//! isolated must not open by a slip: those objects stay in force, as last read, until the
//! document is mended. One that looks like a policy the file never held isolates, and opens
//! nothing, unless a sound one of that name is written anywhere.

use std::collections::BTreeSet;

use super::{Effect, Inventory, findings};
use crate::manifest::{FileObjects, Object, ObjectKey, Problem};

/// What a file gave.
#[derive(Clone, Debug, Default)]
pub(super) struct FileHeld {
    pub(super) problems: Vec<Problem>,
    keys: Vec<ObjectKey>,
    stand_ins: Vec<ObjectKey>,
}

impl Inventory {
    /// Takes a file's objects in, in place of those it had.
    pub fn set_file(&mut self, file: &str, found: FileObjects) -> Effect {
        self.take_files(vec![(file.to_owned(), Some(found))])
    }

    /// Forgets a file and its objects.
    pub fn remove_file(&mut self, file: &str) -> Effect {
        self.take_files(vec![(file.to_owned(), None)])
    }

    /// Takes several files in as one change; `None` is a file that is gone.
    pub fn take_files(&mut self, files: Vec<(String, Option<FileObjects>)>) -> Effect {
        let mut touched = Vec::new();
        for (file, found) in &files {
            touched.extend(self.keys_of(file));
            let found = found.iter().flat_map(|found| found.objects.iter().chain(&found.stand_ins));
            touched.extend(found.map(|one| one.metadata().key.clone()));
        }
        touched.sort();
        touched.dedup();
        self.watching(&touched, |inventory| {
            for (file, found) in files {
                match found {
                    Some(found) => inventory.put_file(&file, found),
                    None => inventory.drop_file(&file, &BTreeSet::new()),
                }
            }
        })
    }

    fn put_file(&mut self, file: &str, mut found: FileObjects) {
        let key = |one: &Object| one.metadata().key.clone();
        let mut keys: Vec<_> = found.objects.iter().map(key).collect();
        let kept = self.kept(file, &keys, &found);
        if let Some(stray) = found.strays.first() {
            let known: BTreeSet<_> = keys.iter().chain(&kept).cloned().collect();
            found.stand_ins.retain(|one| !known.contains(&one.metadata().key));
            found.problems.extend(findings::of_strays(file, *stray, &kept, &found.stand_ins));
        }
        self.drop_file(file, &kept);
        keys.extend(kept);
        let stand_ins = found.stand_ins.iter().map(key).collect();
        let held = FileHeld { problems: found.problems, keys, stand_ins };
        self.files.insert(file.into(), held);
        for object in found.objects.into_iter().chain(found.stand_ins) {
            self.put(object);
        }
    }

    /// What a file held and has no more, if a document of it may have been that.
    fn kept(&self, file: &str, new: &[ObjectKey], found: &FileObjects) -> BTreeSet<ObjectKey> {
        let held = self.files.get(file).filter(|_| !found.strays.is_empty());
        let new: BTreeSet<_> = new.iter().collect();
        let keys = held.into_iter().flat_map(|held| &held.keys);
        keys.filter(|key| !new.contains(key)).cloned().collect()
    }

    fn keys_of(&self, file: &str) -> Vec<ObjectKey> {
        let held = self.files.get(file);
        held.into_iter().flat_map(|held| held.keys.iter().chain(&held.stand_ins)).cloned().collect()
    }

    fn drop_file(&mut self, file: &str, kept: &BTreeSet<ObjectKey>) {
        let held = self.files.remove(file).unwrap_or_default();
        for key in held.keys.iter().chain(&held.stand_ins).filter(|key| !kept.contains(key)) {
            if let Some(versions) = self.objects.get_mut(key) {
                versions.forget(file);
            }
        }
    }
}
