//! The switch's own files, its lock and its Unix socket: what to do where they cannot be.

use std::io;
use std::path::Path;

/// What to do where the system refuses a file that the setting names.
pub(crate) fn remedy(setting: &str, file: &Path, refused: &io::Error) -> String {
    let directory = file.parent().unwrap_or(file).display();
    let first = match refused.kind() {
        io::ErrorKind::NotFound => format!("run `mkdir -m 0700 {directory}`"),
        io::ErrorKind::PermissionDenied => {
            format!("run as the owner of {directory} and of what is in it")
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            format!("{directory} is no directory: remove it")
        }
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
    use super::*;

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
