//! `lockgate uninstall`: what a switch leaves on its node on purpose is taken away.
//!
//! A switch that is gone for a moment must open nothing, so its end leaves interfaces closed, routes, a
//! table of `nf_tables`, and what it knows. Whoever wants it gone says so here, with the locks held:
//! where an agent runs nothing is done.
//!
//! ```text
//!   plugin and configuration ─ routes and table ─ interfaces of ours, pins ─ files, the lock last
//! ```
//!
//! The configuration goes first, so that no runtime asks for a pod's network meanwhile. An interface
//! that a pin was on is down before its program goes. What cannot be removed is told of and holds up
//! nothing else; what is gone already is no error. Nobody else's things are touched: ours are known by
//! name, protocol, alias or place.

mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::attach::{AnchorSet, AttachError, Attacher, Link};
use crate::cni::install;
use crate::host;
use crate::lock::{LockError, Locks};
use crate::settings::{self, Raw};

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Belongings {
    plugin: install::Places,
    bpffs: PathBuf,
    host_port: String,
    lock: PathBuf,
    /// The sockets, and the file of the last good state.
    single: Vec<PathBuf>,
    last_good: PathBuf,
    attachments: PathBuf,
    records: PathBuf,
    ipam: PathBuf,
    connections: PathBuf,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What was removed.
    pub removed: Vec<String>,
    /// What was not, and why.
    pub left: Vec<String>,
}

impl Belongings {
    /// As a configuration file says.
    #[must_use]
    pub fn of(file: Raw) -> Self {
        let or = |path: Option<PathBuf>, default: &str| path.unwrap_or_else(|| default.into());
        let beside = |path: &Path, end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let lock = or(file.lock, settings::LOCK);
        let cni_socket = or(file.cluster.cni_socket, settings::CNI_SOCKET);
        let single = vec![
            or(file.socket, settings::SOCKET),
            beside(&lock, ".handover"),
            beside(&lock, ".handover-of-directory"),
            cni_socket.clone(),
        ];
        let plugin = install::Places {
            program: PathBuf::new(),
            bin_dir: or(file.cluster.cni_bin_dir, settings::CNI_BIN_DIR),
            conf_dir: or(file.cluster.cni_conf_dir, settings::CNI_CONF_DIR),
            number: 0,
        };
        let host_port = file.host_port.interface;
        Self {
            plugin,
            bpffs: or(file.bpffs, settings::BPFFS),
            host_port: host_port.unwrap_or_else(|| settings::HOST_PORT[0].to_owned()),
            lock,
            single,
            last_good: or(file.cluster.last_good, settings::LAST_GOOD),
            attachments: or(file.cluster.attachments, settings::ATTACHMENTS),
            records: beside(&cni_socket, ".d"),
            ipam: or(file.cluster.ipam_dir, settings::IPAM_DIR),
            connections: or(file.restart.directory, settings::CONNECTIONS),
        }
    }
}

impl Told {
    /// In words: what was removed on lines of its own, or that there was nothing; what was left is
    /// another's to tell.
    #[must_use]
    pub fn text(&self) -> String {
        if self.removed.is_empty() && self.left.is_empty() {
            return "nothing of lockgate is here\n".to_owned();
        }
        self.removed.iter().fold(String::new(), |text, what| format!("{text}removed {what}\n"))
    }

    fn took(&mut self, what: &impl Display) {
        self.removed.push(what.to_string());
    }

    fn kept(&mut self, why: &impl Display) {
        self.left.push(why.to_string());
    }
}

/// Takes everything away, in the calling process's network namespace. Needs a running tokio.
///
/// # Errors
/// [`LockError`] where an agent runs: then nothing was done.
pub async fn uninstall(of: &Belongings) -> Result<Told, LockError> {
    let was_locked = of.lock.exists();
    let locks = Locks::take(&of.lock)?;
    let mut told = Told::default();
    match of.plugin.uninstall() {
        Ok(removed) => removed.iter().for_each(|path| told.took(&path.display())),
        Err(error) => told.kept(&error),
    }
    match Attacher::open(&of.bpffs) {
        Ok((attacher, _events)) => {
            remove_from_stack(&attacher, &mut told).await;
            remove_interfaces(of, &attacher, &mut told).await;
        }
        Err(error) => told.kept(&with_remedy(&error)),
    }
    files::remove(of, &mut told);
    files::remove_lock(of, was_locked, &mut told);
    // Whoever starts from now on makes its own.
    drop(locks);
    Ok(told)
}

/// Routes and table of the node's own stack.
async fn remove_from_stack(attacher: &Attacher, told: &mut Told) {
    match host::remove(attacher.netlink()).await {
        Ok(changed) => {
            changed.routes_removed.iter().for_each(|route| told.took(&format!("route {route}")));
            if changed.rules > 0 {
                told.took(&format!("{} rules of the routing policy", changed.rules));
            }
            if changed.table {
                told.took(&format!("nf_tables table inet {}", host::TABLE));
            }
        }
        Err(error) => told.kept(&error),
    }
}

/// What the switch made itself, and the programs on what it found.
async fn remove_interfaces(of: &Belongings, attacher: &Attacher, told: &mut Told) {
    let before = match attacher.links().await {
        Ok(links) => links,
        Err(error) => return told.kept(&with_remedy(&error)),
    };
    if let Err(error) = remove_own(of, attacher, &before).await {
        told.kept(&with_remedy(&error));
    }
    match attacher.links().await {
        Ok(after) => {
            let after: BTreeSet<&str> = after.iter().map(|link| link.name.as_str()).collect();
            let ours = before.iter().filter(|link| attacher.is_marked(link));
            let gone = ours.filter(|link| !after.contains(link.name.as_str()));
            gone.for_each(|link| told.took(&format!("interface {}", link.name)));
        }
        Err(error) => told.kept(&with_remedy(&error)),
    }
    let pins = attacher.pins().unwrap_or_default();
    if let Err(error) = attacher.release().await {
        told.kept(&with_remedy(&error));
    }
    for pin in pins.iter().filter(|pin| !pin.exists()) {
        told.took(&format!("pin {}: its interface is down, or gone", pin.display()));
    }
}

/// The host port, unless it was there before the switch, and anchors that a kill has left.
async fn remove_own(
    of: &Belongings,
    attacher: &Attacher,
    links: &[Link],
) -> Result<(), AttachError> {
    let host_port = links.iter().find(|link| link.name == of.host_port);
    if let Some(link) = host_port.filter(|link| attacher.is_marked(link)) {
        attacher.remove(link).await?;
    }
    for set in [AnchorSet::First, AnchorSet::Second] {
        attacher.clear_anchors(set, 0).await?;
    }
    Ok(())
}

fn with_remedy(error: &AttachError) -> String {
    format!("{error}: {}", error.remedy())
}
