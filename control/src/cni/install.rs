//! Puts the plugin and its configuration where the node's container runtime looks.
//!
//! The program first, the configuration last: with it the runtime says that the node's network is
//! there. Each is written beside and moved into place, so that whoever reads sees the old or the
//! new, and a full disk leaves the old. What is there and as it shall be is not touched. Files of
//! others are never touched; those that the runtime would take before ours are told of.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::{Value, json};

/// The plugin's name, as a program and as `type` of a configuration.
pub const PROGRAM: &str = "lockgate-cni";

/// What the name of our configuration ends with, behind a number and a dash.
const OURS: &str = "-lockgate.conflist";

/// What a runtime takes for a configuration.
const CONFIGS: [&str; 3] = ["conf", "conflist", "json"];

/// The version of the file: what today's runtimes and Debian's `host-local` know.
const CNI_VERSION: &str = "1.0.0";

/// The network that pods are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The agent's socket for the plugin.
    pub socket: PathBuf,
    /// The MTU of pods, in bytes.
    pub mtu: u16,
    /// How long an operation may take, in seconds.
    pub timeout_seconds: u64,
    /// Where `host-local` keeps the addresses that are taken. Under `/run`: they end with the
    /// pods when the machine starts anew.
    pub data_dir: PathBuf,
    /// The node's podCIDRs: at most one of each family.
    pub pod_cidrs: Vec<IpNet>,
}

/// Where what is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The program to copy: see [`beside_agent`].
    pub program: PathBuf,
    /// The runtime's directory of plugins, `/opt/cni/bin` mostly.
    pub bin_dir: PathBuf,
    /// Its directory of configurations, `/etc/cni/net.d` mostly.
    pub conf_dir: PathBuf,
    /// What the file's name begins with: runtimes take the first by name.
    pub number: u8,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Whether the program was another, or missing.
    pub is_program_new: bool,
    /// Whether the configuration was another, or missing.
    pub is_config_new: bool,
    /// Configurations of others that the runtime takes before ours.
    pub before_ours: Vec<PathBuf>,
}

/// Why it could not be done. What was there before is there still.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {source}; {}", path.display(), remedy(source, path))]
pub struct InstallError {
    /// What was to be done.
    pub what: &'static str,
    /// With which file or directory.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

/// The plugin that came with the agent: it lies in the same directory.
///
/// # Errors
/// Where the system does not say which program runs.
pub fn beside_agent() -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(PROGRAM))
}

impl Network {
    /// The configuration for the runtime.
    ///
    /// `snat` of portmap is on: it masquerades what the node sends from 127.0.0.1, and what a pod
    /// sends to its own host port, and nothing else, for our results say each pod's address as a
    /// /32. Were it more, pods would reach each other as the node, which policy lets in.
    #[must_use]
    pub fn document(&self) -> Value {
        let ranges: Vec<Value> =
            self.pod_cidrs.iter().map(|cidr| json!([{ "subnet": cidr }])).collect();
        json!({
            "cniVersion": CNI_VERSION,
            "name": self.name,
            "plugins": [
                {
                    "type": PROGRAM,
                    "socket": self.socket,
                    "mtu": self.mtu,
                    "timeoutSeconds": self.timeout_seconds,
                    "ipam": { "type": "host-local", "dataDir": self.data_dir, "ranges": ranges },
                },
                { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true },
            ],
        })
    }
}

impl Places {
    /// Our configuration's file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.conf_dir.join(format!("{:02}{OURS}", self.number))
    }

    /// Puts program and configuration in place. Does nothing where they are.
    ///
    /// # Errors
    /// [`InstallError`] where the system refuses; the old ones are left as they were.
    pub fn install(&self, network: &Network) -> Result<Installed, InstallError> {
        let program = fs::read(&self.program).map_err(wrong("read", &self.program))?;
        let is_program_new = put(&self.bin_dir.join(PROGRAM), &program, 0o755)?;
        let text = format!("{:#}\n", network.document());
        let is_config_new = put(&self.config(), text.as_bytes(), 0o644)?;
        self.remove_configs(|path| path != self.config())?;
        let mut before_ours = self.configs()?;
        before_ours.retain(|path| *path < self.config());
        Ok(Installed { is_program_new, is_config_new, before_ours })
    }

    /// Takes both away, the configuration first: without it no runtime calls the program. Gives what
    /// was there.
    ///
    /// # Errors
    /// [`InstallError`] where the system refuses. What is gone already is no error.
    pub fn uninstall(&self) -> Result<Vec<PathBuf>, InstallError> {
        let mut removed =
            if self.conf_dir.exists() { self.remove_configs(|_| true)? } else { vec![] };
        let program = self.bin_dir.join(PROGRAM);
        if remove(&program)? {
            removed.push(program);
        }
        Ok(removed)
    }

    /// Removes our configurations, under whatever number; gives those.
    fn remove_configs(&self, is_one: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, InstallError> {
        let mut ours = self.configs()?;
        ours.retain(|path| is_ours(path) && is_one(path));
        ours.iter().try_for_each(|path| remove(path).map(drop))?;
        Ok(ours)
    }

    /// What a runtime takes for configurations, in its order.
    fn configs(&self) -> Result<Vec<PathBuf>, InstallError> {
        let wrong = || wrong("list", &self.conf_dir);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.conf_dir).map_err(wrong())? {
            let path = entry.map_err(wrong())?.path();
            let end = path.extension().and_then(|end| end.to_str());
            if end.is_some_and(|end| CONFIGS.contains(&end)) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Whether a name is a number of two digits and our ending.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    name.strip_suffix(OURS)
        .is_some_and(|number| number.len() >= 2 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Makes a file what it shall be; says whether it was not.
fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, InstallError> {
    let is_as_it_shall_be = fs::read(path).is_ok_and(|found| found == bytes)
        && fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o777 == mode);
    if is_as_it_shall_be {
        return Ok(false);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // No runtime takes this ending for a configuration.
    let beside = path.with_file_name(format!(".{name}.new"));
    let written = write(&beside, bytes, mode).and_then(|()| fs::rename(&beside, path));
    if let Err(source) = written {
        // What is half written is of no use; where it cannot be removed, the next start does.
        let _kept = fs::remove_file(&beside);
        return Err(wrong("write", path)(source));
    }
    if let Some(directory) = path.parent() {
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(wrong("sync", directory))?;
    }
    Ok(true)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // One that an earlier start left may be anything.
    let _gone = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    // The mode again, without what the umask took.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Removes a file; whether it was there.
fn remove(path: &Path) -> Result<bool, InstallError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(wrong("remove", path)(error)),
    }
}

fn wrong(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError + use<> {
    let path = path.to_owned();
    move |source| InstallError { what, path, source }
}

fn remedy(refused: &io::Error, path: &Path) -> String {
    let directory = path.parent().unwrap_or(path).display();
    match refused.kind() {
        ErrorKind::NotFound => format!(
            "see that {directory} is there and mounted into the agent, or correct the settings \
             cni_bin_dir and cni_conf_dir"
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => format!("make room in {directory}"),
        ErrorKind::ReadOnlyFilesystem => format!("mount {directory} writable"),
        _ => format!("see that the agent may write in {directory}"),
    }
}

#[cfg(test)]
mod tests;
