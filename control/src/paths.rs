//! The switch's own files, its lock and its Unix socket: where they may be, and what to do where
//! they cannot be.
//!
//! The directory of the defaults is the switch's own, and is made when it is missing, for nobody
//! but its owner. Any other was named by somebody, and a name that is not there is a slip: a
//! directory that is made for it would hide the slip until somebody asks the switch in vain.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The directory of the switch's own files unless set.
pub const DIRECTORY: &str = "/run/lockgate";

/// Makes the directory of a file, if it is the switch's `own`; leaves any other as it is.
///
/// # Errors
/// Where it cannot be made. One that is missing is told by whoever opens the file.
pub(crate) fn prepare(file: &Path, own: &Path) -> io::Result<()> {
    if file.parent() != Some(own) {
        return Ok(());
    }
    match std::fs::DirBuilder::new().mode(0o700).create(own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// What to do where the system refuses a file that the setting names.
pub(crate) fn remedy(setting: &str, file: &Path, refused: &io::Error) -> String {
    let directory = file.parent().unwrap_or(file).display();
    let first = match refused.kind() {
        io::ErrorKind::NotFound => format!("run `mkdir -m 0700 {directory}`"),
        io::ErrorKind::PermissionDenied => {
            format!("run as the owner of {directory} and of what is in it")
        }
        io::ErrorKind::NotADirectory => format!("{directory} is no directory: remove it"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("make room in {directory}")
        }
        io::ErrorKind::ReadOnlyFilesystem => format!("mount {directory} writable"),
        _ => return format!("change the setting {setting} to a file that can be made"),
    };
    format!("{first}, or change the setting {setting}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn only_its_own_directory_is_made_and_for_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("own");
        for _ in 0..2 {
            prepare(&own.join("file"), &own).unwrap();
        }
        assert_eq!(std::fs::metadata(&own).unwrap().mode() & 0o7777, 0o700);
        for other in ["other/file", "own/deeper/file"] {
            let file = root.path().join(other);
            prepare(&file, &own).unwrap();
            assert!(!file.parent().unwrap().exists(), "{other}");
        }
    }

    #[test]
    fn what_is_above_its_own_directory_is_not_made() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("not-there/own");
        let refused = prepare(&own.join("file"), &own).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn every_remedy_says_what_to_do_and_names_the_setting() {
        for (number, wanted) in [
            (nix::libc::ENOENT, "run `mkdir -m 0700 /a`, or"),
            (nix::libc::EACCES, "run as the owner of /a"),
            (nix::libc::ENOTDIR, "/a is no directory: remove it"),
            (nix::libc::ENOSPC, "make room in /a"),
            (nix::libc::EROFS, "mount /a writable"),
            (nix::libc::EISDIR, "to a file that can be made"),
        ] {
            let said = remedy("lock", Path::new("/a/b"), &io::Error::from_raw_os_error(number));
            assert!(said.contains(wanted), "{said}");
            assert!(said.contains("change the setting lock"), "{said}");
        }
    }
}
