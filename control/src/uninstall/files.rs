//! The files of a switch. In a directory that somebody named there may be others: what is not called
//! as ours stays, and the directory with it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::{Belongings, Told};
use crate::paths;

/// Which files of a directory are ours, by their names.
type IsOurs = fn(&str) -> bool;

/// Removes them, all but the lock file.
pub(super) fn remove(of: &Belongings, told: &mut Told) {
    let ipam = of.ipam.join("lockgate");
    let in_directories: [(&Path, IsOurs); 4] = [
        // Of the network's name: all of it is of whoever gave our pods their addresses.
        (&ipam, |_| true),
        (&of.attachments, |name| name.starts_with("lg")),
        (&of.records, |name| name.starts_with("lg")),
        (&of.connections, is_of_connections),
    ];
    for (directory, is_ours) in in_directories {
        clear(directory, is_ours, told);
    }
    if let (Some(directory), Some(name)) = (of.last_good.parent(), of.last_good.file_name()) {
        let begin = format!("{}.", name.to_string_lossy());
        let is_ours = |file: &str| {
            file.starts_with(&begin) && Path::new(file).extension().is_some_and(|end| end == "new")
        };
        each(directory, &is_ours, told);
    }
    for file in of.single.iter().chain([&of.last_good]) {
        note(fs::remove_file(file), file, told);
    }
    leave(&of.ipam, told);
    leave(&of.bpffs, told);
}

/// Removes the lock file, and the directory that is made with it. What was not there before it was
/// taken here is not worth a word.
pub(super) fn remove_lock(of: &Belongings, was_there: bool, told: &mut Told) {
    let mut of_lock = Told::default();
    note(fs::remove_file(&of.lock), &of.lock, &mut of_lock);
    // Any other directory was named by somebody, and is theirs.
    if let Some(own) = of.lock.parent().filter(|own| *own == Path::new(paths::DIRECTORY)) {
        leave(own, &mut of_lock);
    }
    if was_there {
        told.removed.append(&mut of_lock.removed);
    }
    told.left.append(&mut of_lock.left);
}

/// `STAMP-WORKER.connections` and `STAMP.pods`.
fn is_of_connections(name: &str) -> bool {
    let stamp = name.get(..16).filter(|stamp| u64::from_str_radix(stamp, 16).is_ok());
    let ends = [".connections", ".pods", ".new"];
    stamp.is_some() && ends.iter().any(|end| name.ends_with(end))
}

/// Removes what is ours in a directory, and that if nothing else is there.
fn clear(directory: &Path, is_ours: IsOurs, told: &mut Told) {
    each(directory, &is_ours, told);
    leave(directory, told);
}

fn each(directory: &Path, is_ours: &impl Fn(&str) -> bool, told: &mut Told) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => return told.kept(&format!("{}: {error}", directory.display())),
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_ours(&name) && !path.is_dir() {
            note(fs::remove_file(&path), &path, told);
        }
    }
}

/// Removes a directory of which nothing is left.
fn leave(directory: &Path, told: &mut Told) {
    match fs::remove_dir(directory) {
        // A mount is of whoever mounted it, as in a container.
        Err(error)
            if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy) => {}
        removed => note(removed, directory, told),
    }
}

fn note(removed: io::Result<()>, path: &Path, told: &mut Told) {
    match removed {
        Ok(()) => told.took(&path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => told.kept(&format!("{}: {error}", path.display())),
    }
}
