//! What the directory of manifests says, read anew as its files change.
//!
//! At start every file must be readable: what a switch would begin with is what was meant. While
//! it runs, a file that cannot be read any more keeps its last good objects and is reported, for
//! a slip of an editor must not open or close a node. A file that is gone takes its objects along.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::inventory::{Effect, Inventory};
use crate::manifest::{self, FileObjects, ObjectKey, Problem};
use crate::watch_dir::Changed;

#[cfg(test)]
mod tests;

/// The directory and what it says.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    inventory: Inventory,
    known: BTreeSet<String>,
    unreadable: BTreeMap<String, Problem>,
    missing: Option<Problem>,
}

impl Files {
    /// Reads the whole directory.
    ///
    /// # Errors
    /// Every file that cannot be read, or the directory.
    pub fn read(directory: &Path) -> Result<Self, Vec<Problem>> {
        let read = manifest::read_dir(directory).map_err(|problem| vec![problem])?;
        let known = read.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self {
            directory: directory.to_owned(),
            inventory: Inventory::of_files(read)?,
            known,
            unreadable: BTreeMap::new(),
            missing: None,
        })
    }

    /// Everything that is in force.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The objects that mean something else since this was last called.
    pub fn take_changes(&mut self) -> BTreeSet<ObjectKey> {
        self.inventory.take_changes()
    }

    /// Reads what has changed.
    pub fn take(&mut self, changed: &Changed) -> Effect {
        let names = match changed {
            Changed::Files(names) => names.clone(),
            Changed::All => match self.list() {
                Ok(found) => {
                    self.missing = None;
                    found.union(&self.known).cloned().collect()
                }
                Err(problem) => {
                    self.missing = Some(problem);
                    return Effect::Nothing;
                }
            },
        };
        let read: Vec<_> = names.iter().filter_map(|name| self.read_file(name)).collect();
        // As one: what was meant together counts together (NP-55, NP-56).
        self.inventory.take_files(read)
    }

    /// Everything to be said of files and objects.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.inventory.problems();
        problems.extend(self.unreadable.values().chain(&self.missing).cloned());
        if self.known.is_empty() && self.missing.is_none() {
            problems.push(manifest::nothing_in(&self.directory));
        }
        problems.sort();
        problems
    }

    /// What a file holds by now, or that it is gone; `None` where it keeps what it had.
    fn read_file(&mut self, name: &str) -> Option<(String, Option<FileObjects>)> {
        let path = self.directory.join(name);
        if std::fs::metadata(&path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            self.unreadable.remove(name);
            self.known.remove(name);
            return Some((name.to_owned(), None));
        }
        self.known.insert(name.to_owned());
        match manifest::read_file(name, &path) {
            Ok(objects) => {
                self.unreadable.remove(name);
                Some((name.to_owned(), Some(objects)))
            }
            Err(mut problem) => {
                problem.message.push_str("; its last good objects stay in force");
                self.unreadable.insert(name.to_owned(), problem);
                None
            }
        }
    }

    fn list(&self) -> Result<BTreeSet<String>, Problem> {
        let shown = self.directory.display().to_string();
        let refused = |error: std::io::Error| {
            let message = format!("cannot read the directory: {error}; all objects stay in force");
            Problem::of_file(&shown, None, &message, "put the directory back")
        };
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(&self.directory).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if manifest::is_manifest(&name) && !entry.path().is_dir() {
                names.insert(name);
            }
        }
        Ok(names)
    }
}
