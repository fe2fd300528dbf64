//! `lockgate sysdump`: one archive with everything a maintainer needs, and no secrets.
//!
//! ```text
//!   agent (its socket) --\
//!   files of the agent ----> Archive: each part bounded, each line looked at --> .tar.gz
//!   /proc, /sys ---------/      `--> MANIFEST: what is in it, what is not and why
//! ```
//!
//! What is read is listed here, part by part; nothing is read because it happens to lie somewhere.
//! Never among it: a kubeconfig, a token, an environment, an object as the API server has it, a
//! configuration of somebody else. A line that looks like a secret all the same is left out by
//! `secrets`. Without an agent there is what the machine says. Every part has at most
//! [`PART_BYTES_MAX`], and none is begun after [`TIME_MAX`].

mod archive;
mod machine;
mod places;
mod secrets;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::ask::Show;
use crate::socket;
use archive::Archive;
pub use places::Places;

/// Bytes of the largest part.
pub const PART_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long parts are begun.
pub const TIME_MAX: Duration = Duration::from_mins(1);
/// Connections that are shown.
const CONNECTIONS: usize = 2000;

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}; name another place with --output, or - for standard output", path.display())]
pub struct SysdumpError {
    path: PathBuf,
    source: io::Error,
}

/// What is asked of the agent.
const ASKED: [(&str, Show); 9] = [
    ("agent/status.json", Show::Status {}),
    ("agent/readyz.json", Show::Ready {}),
    ("agent/settings.txt", Show::Settings {}),
    ("agent/metrics.txt", Show::Metrics {}),
    ("agent/ports.json", Show::Ports {}),
    ("agent/policies.json", Show::Policies {}),
    ("agent/connections.json", Show::Connections { limit: CONNECTIONS }),
    ("agent/denied.json", Show::Denied {}),
    ("agent/audit.json", Show::Audit {}),
];

/// What an archive is called unless it is named.
#[must_use]
pub fn name() -> PathBuf {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    PathBuf::from(format!("lockgate-sysdump-{}.tar.gz", now.replace(':', "")))
}

/// Writes an archive to a new file that only its owner may read; what could not be had.
///
/// # Errors
/// [`SysdumpError`] where it cannot be written.
pub fn write_to(path: &Path, places: &Places) -> Result<Vec<String>, SysdumpError> {
    use std::os::unix::fs::OpenOptionsExt;
    let wrong = |source| SysdumpError { path: path.to_owned(), source };
    if path == Path::new("-") {
        return write(io::stdout().lock(), places).map_err(wrong);
    }
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path).map_err(wrong)?;
    write(file, places).map_err(wrong)
}

/// Writes an archive; what could not be had.
fn write(to: impl Write, places: &Places) -> io::Result<Vec<String>> {
    let mut archive = Archive::begin(to);
    archive.put("version.txt", || Ok(version().into_bytes()))?;
    ask(&mut archive, &places.socket)?;
    for (name, path) in places.directories() {
        archive.put_directory(name, path)?;
    }
    archive.put_file("cni/10-lockgate.conflist", &places.conf_dir.join("10-lockgate.conflist"))?;
    archive.put("cni/others.txt", || machine::names(&places.conf_dir))?;
    archive.put("pins.txt", || machine::tree(&places.bpffs))?;
    machine::put(&mut archive, places)?;
    archive.end()
}

fn version() -> String {
    format!("lockgate {}\n", env!("CARGO_PKG_VERSION"))
}

/// Asks the agent for everything that it shows; where it is not there, once.
fn ask(archive: &mut Archive<impl Write>, at: &Path) -> io::Result<()> {
    let mut silent = None;
    for (name, show) in ASKED {
        archive.put(name, || {
            if let Some(why) = &silent {
                return Err(io::Error::other(format!("not asked: {why}")));
            }
            let said = socket::ask(at, show).map_err(|error| {
                let why = error.to_string();
                if !matches!(error, socket::ClientError::Refused(_)) {
                    silent = Some(why.clone());
                }
                io::Error::other(why)
            })?;
            match said["text"].as_str() {
                Some(text) => Ok(text.as_bytes().to_vec()),
                None => Ok(serde_json::to_vec_pretty(&said)?),
            }
        })?;
    }
    Ok(())
}
