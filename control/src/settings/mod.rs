//! The settings as meant: validated, typed, checked against what the dataplane can bear.
//!
//! [`Raw`] is what was written; [`Settings::new`] turns it into values that need no further
//! check, or into an error that names the setting, what it was and what it may be. Flags win
//! over the file. No I/O here but [`Raw::read`]: what the machine has comes in as [`Machine`].

mod frames;
mod raw;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use lockgate_dataplane::limits::{MTU_MAX, PORTS_MAX, WORKERS_MAX};
use lockgate_dataplane::runtime::Polling;
use lockgate_dataplane::worker::Established;

use crate::attach::{HostPortPlan, InterfaceName};

pub use frames::FrameBudget;
pub use raw::{Raw, RawConnections, RawHostPort, RawLog, RawTimeouts};

/// Where metrics are served unless set.
pub const LISTEN: &str = "127.0.0.1:9790";
/// The Unix socket unless set.
pub const SOCKET: &str = "/run/lockgate/lockgate.sock";
/// The lock file unless set.
pub const LOCK: &str = "/run/lockgate/lockgate.lock";
/// Where programs are pinned unless set.
pub const BPFFS: &str = "/sys/fs/bpf/lockgate";
/// Frames of each worker unless set.
pub const FRAMES_PER_WORKER: u32 = 8192;
/// Connections of each worker unless set.
pub const CAPACITY: u32 = 131_072;

/// The longest path of a Unix socket (`sun_path` less its final zero), in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The smallest MTU that IPv6 allows (RFC 8200), in bytes.
const MTU_MIN: i64 = 1280;
/// The longest timeout: a week, in seconds.
const TIMEOUT_SECONDS_MAX: i64 = 7 * 24 * 3600;
/// Addresses of one node.
const NODE_ADDRESSES_MAX: usize = 64;

/// What the machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The cores that this process may use, ascending.
    pub cores: Vec<usize>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object on a line.
    Json,
}

/// How long a connection lasts without packets, in seconds, by its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP before the handshake is done.
    pub tcp_syn: u32,
    /// TCP established.
    pub tcp_established: u32,
    /// TCP after a FIN.
    pub tcp_fin: u32,
    /// TCP after both FINs.
    pub tcp_time_wait: u32,
    /// TCP after a reset.
    pub tcp_close: u32,
    /// UDP without a reply.
    pub udp_unreplied: u32,
    /// UDP with replies.
    pub udp_stream: u32,
    /// ICMP echo.
    pub icmp: u32,
    /// SCTP before the handshake is done.
    pub sctp_opening: u32,
    /// SCTP established.
    pub sctp_established: u32,
    /// SCTP after an abort or a shutdown.
    pub sctp_closed: u32,
    /// Every other protocol.
    pub other: u32,
}

/// Everything that can be set, in bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory of manifests.
    pub manifests: PathBuf,
    /// The core of each worker, by worker.
    pub cores: Vec<usize>,
    /// Frames of packet memory of each worker.
    pub frames_per_worker: u32,
    /// The most pod ports.
    pub ports_max: u16,
    /// The frame budget, which fits.
    pub budget: FrameBudget,
    /// Connections of each worker.
    pub capacity: u32,
    /// How long connections last.
    pub timeouts: Timeouts,
    /// What a policy change does to them.
    pub established: Established,
    /// What idle workers do.
    pub polling: Polling,
    /// The host port, where there shall be one.
    pub host_port: Option<HostPortPlan>,
    /// Addresses of this node; empty: those that its pods' `status.hostIPs` name.
    pub node_addresses: Vec<IpAddr>,
    /// Where metrics are served.
    pub listen: SocketAddr,
    /// The Unix socket.
    pub socket: PathBuf,
    /// The lock file.
    pub lock: PathBuf,
    /// Where programs are pinned.
    pub bpffs: PathBuf,
    /// What is logged: a level's name.
    pub log_level: tracing::Level,
    /// How it looks.
    pub log_format: LogFormat,
}

/// A setting that cannot be used. Each names the setting and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Neither TOML nor YAML by its name.
    #[error("configuration file {}: name it .toml, .yaml or .yml", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// Not the format that its name says, or a setting that does not exist.
    #[error("configuration file {}: {message}; `lockgate run --help` lists the settings", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A setting that must be given.
    #[error("{0} is not set: give --{0} or put it into the configuration file")]
    Unset(&'static str),
    /// A number out of bounds.
    #[error("{option} is {value}: it must be from {low} to {high}")]
    Bounds {
        /// The setting.
        option: &'static str,
        /// What it was.
        value: i64,
        /// The least it may be.
        low: i64,
        /// The most.
        high: i64,
    },
    /// A word that is none of those allowed.
    #[error("{option} is {value:?}: it must be one of {allowed}")]
    Word {
        /// The setting.
        option: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A text that does not mean what it should.
    #[error("{option} is {value:?}: {reason}")]
    Text {
        /// The setting.
        option: &'static str,
        /// What it was.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A core that this process may not use.
    #[error("cores names core {core}, which is not there: this process may use cores {there:?}")]
    Core {
        /// What was asked for.
        core: i64,
        /// What there is.
        there: Vec<usize>,
    },
    /// More workers than cores, or a core twice, or two settings that contradict each other.
    #[error("{workers} workers do not fit: {reason}")]
    Workers {
        /// How many.
        workers: usize,
        /// Why not.
        reason: String,
    },
    /// The frame budget does not add up.
    #[error("frames_per_worker is too low: {0}; raise frames_per_worker or lower ports_max")]
    Frames(FrameBudget),
}

impl Settings {
    /// Checks what was written.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn new(raw: Raw, machine: &Machine) -> Result<Self, SettingsError> {
        let cores = cores(&raw, machine)?;
        let host_port = host_port(raw.host_port)?;
        let frames_per_worker =
            number("frames_per_worker", raw.frames_per_worker, FRAMES_PER_WORKER, 256, 1 << 18)?;
        let workers = u8::try_from(cores.len()).unwrap_or(u8::MAX);
        let has_host = host_port.is_some();
        let fit = FrameBudget::ports_that_fit(frames_per_worker, workers, has_host).max(1);
        let most = i64::from(workers) * (PORTS_MAX as i64 - i64::from(has_host));
        let ports_max: u16 = number("ports_max", raw.ports_max, fit, 1, most)?;
        let budget = FrameBudget::new(frames_per_worker, ports_max, workers, has_host);
        if !budget.fits() {
            return Err(SettingsError::Frames(budget));
        }
        Ok(Self {
            manifests: raw.manifests.ok_or(SettingsError::Unset("manifests"))?,
            cores,
            frames_per_worker,
            ports_max,
            budget,
            capacity: number(
                "connections.capacity",
                raw.connections.capacity,
                CAPACITY,
                1024,
                1 << 24,
            )?,
            timeouts: timeouts(&raw.connections.timeouts)?,
            established: word(
                "established",
                raw.established,
                &[("recheck", Established::Recheck), ("keep", Established::Keep)],
                "recheck, keep",
            )?,
            polling: word(
                "polling",
                raw.polling,
                &[("adaptive", Polling::Adaptive), ("busy", Polling::Busy)],
                "adaptive, busy",
            )?,
            host_port,
            node_addresses: node_addresses(raw.node_addresses.unwrap_or_default())?,
            listen: listen(raw.listen)?,
            socket: socket_path(raw.socket)?,
            lock: absolute("lock", raw.lock, LOCK)?,
            bpffs: absolute("bpffs", raw.bpffs, BPFFS)?,
            log_level: log_level(raw.log.level)?,
            log_format: word(
                "log.format",
                raw.log.format,
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
                "text, json",
            )?,
        })
    }

    /// How many workers there will be.
    #[must_use]
    pub fn workers(&self) -> u8 {
        u8::try_from(self.cores.len()).unwrap_or(u8::MAX)
    }
}

/// A number within bounds, or its default.
fn number<T: TryFrom<i64>>(
    option: &'static str,
    value: Option<i64>,
    default: T,
    low: i64,
    high: i64,
) -> Result<T, SettingsError> {
    let Some(value) = value else { return Ok(default) };
    let out = SettingsError::Bounds { option, value, low, high };
    if !(low..=high).contains(&value) {
        return Err(out);
    }
    T::try_from(value).map_err(|_| out)
}

/// One of some words, or the first of them.
fn word<T: Copy>(
    option: &'static str,
    value: Option<String>,
    words: &[(&str, T); 2],
    allowed: &'static str,
) -> Result<T, SettingsError> {
    let [(_, default), _] = *words;
    let Some(value) = value else { return Ok(default) };
    let found = words.iter().find(|(word, _)| *word == value);
    found.map(|(_, meaning)| *meaning).ok_or(SettingsError::Word { option, value, allowed })
}

fn text(option: &'static str, value: &str, reason: impl ToString) -> SettingsError {
    SettingsError::Text { option, value: value.to_owned(), reason: reason.to_string() }
}

/// The core of each worker: those named, or the last ones there are, since the first serve
/// interrupts and everybody else.
fn cores(raw: &Raw, machine: &Machine) -> Result<Vec<usize>, SettingsError> {
    let most = WORKERS_MAX as i64;
    let Some(named) = &raw.cores else {
        let workers: usize = number("workers", raw.workers, 1, 1, most)?;
        let first = machine.cores.len().checked_sub(workers).ok_or_else(|| {
            let reason = format!("this process may use cores {:?}; lower workers", machine.cores);
            SettingsError::Workers { workers, reason }
        })?;
        return Ok(machine.cores.get(first..).unwrap_or_default().to_vec());
    };
    let count = i64::try_from(named.len()).unwrap_or(i64::MAX);
    let workers: usize = number("workers", Some(raw.workers.unwrap_or(count)), 1, 1, most)?;
    let contradiction =
        |reason: &str| SettingsError::Workers { workers, reason: reason.to_owned() };
    if named.len() != workers {
        return Err(contradiction("cores must name one core for each; leave one of the two out"));
    }
    let mut cores = Vec::new();
    for &core in named {
        let there = usize::try_from(core).ok().filter(|core| machine.cores.contains(core));
        let there =
            there.ok_or_else(|| SettingsError::Core { core, there: machine.cores.clone() })?;
        if cores.contains(&there) {
            return Err(contradiction("cores names one core twice"));
        }
        cores.push(there);
    }
    Ok(cores)
}

fn host_port(raw: RawHostPort) -> Result<Option<HostPortPlan>, SettingsError> {
    let mtu = number("host_port.mtu", raw.mtu, 1500, MTU_MIN, MTU_MAX as i64)?;
    let Some(interface) = raw.interface else {
        let other = raw.peer.map(|v| ("host_port.peer", v));
        let other = other.or(raw.netns.map(|v| ("host_port.netns", v)));
        return match other {
            Some((option, value)) => {
                Err(text(option, &value, "it needs host_port.interface, which is not set"))
            }
            None => Ok(None),
        };
    };
    let name =
        |option, value: &str| InterfaceName::new(value).map_err(|error| text(option, value, error));
    let peer = match &raw.peer {
        Some(peer) => name("host_port.peer", peer)?,
        None => return Err(SettingsError::Unset("host_port.peer")),
    };
    let interface = name("host_port.interface", &interface)?;
    if interface == peer {
        return Err(text("host_port.peer", peer.as_str(), "it is host_port.interface too"));
    }
    if let Some(netns) = &raw.netns
        && (netns.is_empty() || netns.starts_with('.') || netns.contains('/'))
    {
        return Err(text("host_port.netns", netns, "it must be a name that `ip netns` lists"));
    }
    Ok(Some(HostPortPlan { interface, peer, netns: raw.netns, mtu }))
}

fn timeouts(raw: &RawTimeouts) -> Result<Timeouts, SettingsError> {
    let seconds = |option, value, default| number(option, value, default, 1, TIMEOUT_SECONDS_MAX);
    Ok(Timeouts {
        tcp_syn: seconds("connections.timeouts.tcp_syn", raw.tcp_syn, 30)?,
        tcp_established: seconds(
            "connections.timeouts.tcp_established",
            raw.tcp_established,
            24 * 3600,
        )?,
        tcp_fin: seconds("connections.timeouts.tcp_fin", raw.tcp_fin, 30)?,
        tcp_time_wait: seconds("connections.timeouts.tcp_time_wait", raw.tcp_time_wait, 45)?,
        tcp_close: seconds("connections.timeouts.tcp_close", raw.tcp_close, 10)?,
        udp_unreplied: seconds("connections.timeouts.udp_unreplied", raw.udp_unreplied, 30)?,
        udp_stream: seconds("connections.timeouts.udp_stream", raw.udp_stream, 120)?,
        icmp: seconds("connections.timeouts.icmp", raw.icmp, 30)?,
        sctp_opening: seconds("connections.timeouts.sctp_opening", raw.sctp_opening, 30)?,
        sctp_established: seconds(
            "connections.timeouts.sctp_established",
            raw.sctp_established,
            600,
        )?,
        sctp_closed: seconds("connections.timeouts.sctp_closed", raw.sctp_closed, 10)?,
        other: seconds("connections.timeouts.other", raw.other, 600)?,
    })
}

fn node_addresses(raw: Vec<String>) -> Result<Vec<IpAddr>, SettingsError> {
    let count = i64::try_from(raw.len()).unwrap_or(i64::MAX);
    let _: usize = number("node_addresses", Some(count), 0, 0, NODE_ADDRESSES_MAX as i64)?;
    let address = |value: String| {
        value.parse().map_err(|_| text("node_addresses", &value, "it is not an IP address"))
    };
    raw.into_iter().map(address).collect()
}

fn listen(raw: Option<String>) -> Result<SocketAddr, SettingsError> {
    let value = raw.unwrap_or_else(|| LISTEN.to_owned());
    value.parse().map_err(|_| text("listen", &value, "it must be ADDRESS:PORT"))
}

fn absolute(
    option: &'static str,
    value: Option<PathBuf>,
    default: &str,
) -> Result<PathBuf, SettingsError> {
    let path = value.unwrap_or_else(|| PathBuf::from(default));
    if path.is_absolute() {
        return Ok(path);
    }
    Err(text(option, &path.to_string_lossy(), "it must be an absolute path"))
}

fn socket_path(value: Option<PathBuf>) -> Result<PathBuf, SettingsError> {
    let path = absolute("socket", value, SOCKET)?;
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let reason =
            format!("it is longer than the {SOCKET_PATH_BYTES_MAX} bytes of a socket's path");
        return Err(text("socket", &path.to_string_lossy(), reason));
    }
    Ok(path)
}

fn log_level(raw: Option<String>) -> Result<tracing::Level, SettingsError> {
    let value = raw.unwrap_or_else(|| "info".to_owned());
    let allowed = "error, warn, info, debug, trace";
    let wrong = || SettingsError::Word { option: "log.level", value: value.clone(), allowed };
    if !allowed.split(", ").any(|word| word == value) {
        return Err(wrong());
    }
    value.parse().map_err(|_| wrong())
}
