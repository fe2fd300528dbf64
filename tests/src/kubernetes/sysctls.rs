//! Settings of the kernel that a kubelet makes its own and that are the whole machine's: noted
//! before the first node starts, and given back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::LabError;

/// What a kubelet sets, below `/proc/sys`.
const TAKEN: &[&str] = &[
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Notes what the machine has, unless it is noted already.
///
/// # Errors
/// When the note can't be written.
pub fn note(state: &Path) -> Result<(), LabError> {
    let file = file(state);
    if file.exists() {
        return Ok(());
    }
    let value = |key: &&str| Some(((*key).to_owned(), fs::read_to_string(path(key)).ok()?));
    let values: BTreeMap<String, String> = TAKEN.iter().filter_map(value).collect();
    let text = serde_json::json!(values).to_string();
    fs::write(&file, text).map_err(LabError::io(format!("write {}", file.display())))
}

/// Gives back what was noted.
///
/// # Errors
/// When a value is refused.
pub fn restore(state: &Path) -> Result<(), LabError> {
    let Ok(text) = fs::read_to_string(file(state)) else { return Ok(()) };
    let values: BTreeMap<String, String> = serde_json::from_str(&text)
        .map_err(|error| LabError::Unexpected(format!("{}: {error}", file(state).display())))?;
    for (key, value) in values {
        let path = path(&key);
        if fs::read_to_string(&path).ok().as_ref() != Some(&value) {
            let what = format!("write {} to {}", value.trim(), path.display());
            fs::write(&path, value).map_err(LabError::io(what))?;
        }
    }
    Ok(())
}

fn file(state: &Path) -> PathBuf {
    state.join("sysctls.json")
}

fn path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}
