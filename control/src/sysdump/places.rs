//! Where the agent's files are: as the configuration file says, else where they are by default.

use std::path::{Path, PathBuf};

use crate::settings::{self, Raw};

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Places {
    /// The agent's socket.
    pub(super) socket: PathBuf,
    pub(super) lock: PathBuf,
    pub(super) bpffs: PathBuf,
    pub(super) conf_dir: PathBuf,
    attachments: PathBuf,
    records: PathBuf,
    ipam: PathBuf,
    /// `/proc`, `/sys` and `/var/log` are below it.
    pub(super) root: PathBuf,
}

impl Places {
    /// As a configuration file and, if it is given, the socket say.
    #[must_use]
    pub fn of(file: Raw, socket: Option<PathBuf>) -> Self {
        let or = |path: Option<PathBuf>, default: &str| path.unwrap_or_else(|| default.into());
        let mut records = or(file.cluster.cni_socket, settings::CNI_SOCKET).into_os_string();
        records.push(".d");
        Self {
            socket: or(socket.or(file.socket), settings::SOCKET),
            lock: or(file.lock, settings::LOCK),
            bpffs: or(file.bpffs, settings::BPFFS),
            conf_dir: or(file.cluster.cni_conf_dir, settings::CNI_CONF_DIR),
            attachments: or(file.cluster.attachments, settings::ATTACHMENTS),
            records: records.into(),
            ipam: or(file.cluster.ipam_dir, settings::IPAM_DIR).join("lockgate"),
            root: "/".into(),
        }
    }

    /// The directories whose files are put, each with its name in the archive.
    pub(super) fn directories(&self) -> [(&'static str, &Path); 3] {
        [
            ("attachments", &self.attachments),
            ("cni/records", &self.records),
            ("cni/addresses", &self.ipam),
        ]
    }

    /// A path of the machine.
    pub(super) fn of_machine(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The same, with everything below one directory.
    #[cfg(test)]
    pub(super) fn below(root: &Path) -> Self {
        let at = |name: &str| root.join(name);
        Self {
            socket: at("lockgate.sock"),
            lock: at("lockgate.lock"),
            bpffs: at("bpffs"),
            conf_dir: at("net.d"),
            attachments: at("attachments"),
            records: at("cni.sock.d"),
            ipam: at("ipam"),
            root: at("root"),
        }
    }
}
