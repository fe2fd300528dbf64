//! The archive: parts one after the other, and at its end what became of each.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

use super::{PART_BYTES_MAX, TIME_MAX, secrets};

/// The directory in it.
const TOP: &str = "lockgate-sysdump";
/// Files of one directory.
const FILES_MAX: usize = 1000;

/// An archive that is written.
pub(super) struct Archive<W: Write> {
    to: Builder<GzEncoder<W>>,
    begun: Instant,
    /// What became of each part.
    manifest: String,
    missing: Vec<String>,
}

impl<W: Write> Archive<W> {
    pub(super) fn begin(to: W) -> Self {
        let mut to = Builder::new(GzEncoder::new(to, Compression::default()));
        to.mode(tar::HeaderMode::Deterministic);
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        let manifest = format!("lockgate sysdump of {now}\n\n");
        Self { to, begun: Instant::now(), manifest, missing: Vec::new() }
    }

    /// Puts what can be had, and notes what can't.
    pub(super) fn put(
        &mut self,
        name: &str,
        have: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<()> {
        let had = if self.begun.elapsed() > TIME_MAX {
            Err(io::Error::other(format!("not begun: {} s have passed", TIME_MAX.as_secs())))
        } else {
            have()
        };
        let mut bytes = match had {
            Ok(bytes) => bytes,
            Err(error) => {
                let line = format!("{name}: {error}");
                self.manifest.extend(["missing  ", &line, "\n"]);
                self.missing.push(line);
                return Ok(());
            }
        };
        let whole = bytes.len();
        bytes.truncate(PART_BYTES_MAX);
        let (bytes, left_out) = secrets::without(&bytes);
        let mut notes = Vec::new();
        if whole > PART_BYTES_MAX {
            notes.push(format!(", cut: it has {whole} bytes"));
        }
        if left_out > 0 {
            notes.push(format!(", {left_out} lines left out: they look like secrets"));
        }
        let line = format!("{:>9} bytes  {name}{}\n", bytes.len(), notes.concat());
        self.manifest.push_str(&line);
        self.append(name, &bytes)
    }

    /// Puts a file, or as much of it as is put of anything.
    pub(super) fn put_file(&mut self, name: &str, path: &Path) -> io::Result<()> {
        self.put(name, || read(path))
    }

    /// Puts the files of a directory, not those of directories in it.
    pub(super) fn put_directory(&mut self, name: &str, path: &Path) -> io::Result<()> {
        let mut files = match fs::read_dir(path) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>(),
            Err(error) => return self.put(name, || Err(at(path, &error))),
        };
        files.retain(|file| fs::symlink_metadata(file).is_ok_and(|about| about.is_file()));
        files.sort();
        if files.len() > FILES_MAX {
            let many = format!("{} files, of which {FILES_MAX} are here\n", files.len());
            self.put(&format!("{name}/MORE.txt"), || Ok(many.into_bytes()))?;
        }
        for file in files.iter().take(FILES_MAX) {
            let own = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.put_file(&format!("{name}/{own}"), file)?;
        }
        Ok(())
    }

    /// Ends it; what could not be had.
    pub(super) fn end(mut self) -> io::Result<Vec<String>> {
        let manifest = std::mem::take(&mut self.manifest);
        self.append("MANIFEST.txt", manifest.as_bytes())?;
        self.to.into_inner()?.finish()?.flush()?;
        Ok(self.missing)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        header.set_mtime(now.as_secs());
        self.to.append_data(&mut header, format!("{TOP}/{name}"), bytes)
    }
}

/// A file, one byte more of it at most than is put: then it is known to be cut.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| at(path, &error))?;
    let most = PART_BYTES_MAX as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(|error| at(path, &error))?;
    Ok(bytes)
}

/// An error with its place.
pub(super) fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
