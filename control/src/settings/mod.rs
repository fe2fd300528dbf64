//! The settings as meant: validated, typed, checked against what the dataplane can bear.
//!
//! [`Raw`] is what was written; [`Settings::new`] turns it into values that need no further
//! check, or into an error that names the setting, what it was and what it may be. Flags win
//! over the file. No I/O here but [`Raw::read`]: what the machine has comes in as [`Machine`].

mod check;
mod cluster;
mod error;
mod frames;
mod raw;
mod restart;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use lockgate_dataplane::endpoint::OwnNode;
use lockgate_dataplane::limits::PORTS_MAX;
use lockgate_dataplane::runtime::Polling;
use lockgate_dataplane::worker::{Denial, Established};

use crate::attach::HostPortPlan;

pub use check::parse_own_node;
use check::{absolute, bound, number, word};
pub use cluster::{ClusterPlan, CniPlan};
pub use error::SettingsError;
pub use frames::FrameBudget;
pub use raw::{Raw, RawCluster, RawConnections, RawHostPort, RawLog, RawRestart, RawTimeouts};
pub use restart::RestartPlan;

/// Where metrics are served unless set.
pub const LISTEN: &str = "127.0.0.1:9790";
/// The Unix socket unless set.
pub const SOCKET: &str = "/run/lockgate/lockgate.sock";
/// The lock file unless set.
pub const LOCK: &str = "/run/lockgate/lockgate.lock";
/// The Unix socket of the CNI plugin unless set.
pub const CNI_SOCKET: &str = "/run/lockgate/cni.sock";
/// Where it is kept what is attached unless set.
pub const ATTACHMENTS: &str = "/run/lockgate/attachments";
/// Where connections are kept unless set: a directory in memory.
pub const CONNECTIONS: &str = "/run/lockgate/connections";
/// Seconds for which TCP is picked up after a restart unless set.
pub const GRACE: u32 = 10;
/// Where it is kept what the API server said unless set.
pub const LAST_GOOD: &str = "/run/lockgate/last-good";
/// Where container runtimes look for CNI plugins unless set.
pub const CNI_BIN_DIR: &str = "/opt/cni/bin";
/// Where they look for configurations unless set.
pub const CNI_CONF_DIR: &str = "/etc/cni/net.d";
/// Where addresses that are taken are remembered unless set.
pub const IPAM_DIR: &str = "/run/lockgate/ipam";
/// The switch's side of the host port, and the node's, where a cluster is watched and nothing else
/// is set.
pub const HOST_PORT: [&str; 2] = ["lockgate-host", "lockgate0"];
/// Where programs are pinned unless set.
pub const BPFFS: &str = "/sys/fs/bpf/lockgate";
/// Frames of each worker unless set.
pub const FRAMES_PER_WORKER: u32 = 8192;
/// Connections of each worker unless set.
pub const CAPACITY: u32 = 131_072;

/// Policies that metrics name unless set.
pub const POLICY_METRICS_MAX: usize = 1000;

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
    /// A datagram in fragments, until it is whole.
    pub fragments: u32,
}

/// Where objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourcePlan {
    /// A directory of manifests.
    Directory(PathBuf),
    /// A node of a cluster, by its API server.
    Cluster(Box<ClusterPlan>),
}

impl SourcePlan {
    /// As it is shown.
    #[must_use]
    pub fn spoken(&self) -> String {
        match self {
            Self::Directory(directory) => directory.display().to_string(),
            Self::Cluster(plan) => match &plan.kubeconfig {
                Some(path) => format!("cluster of {} as node {}", path.display(), plan.node),
                None => format!("this cluster as node {}", plan.node),
            },
        }
    }

    /// The node of a cluster, if it is one.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterPlan> {
        match self {
            Self::Directory(_) => None,
            Self::Cluster(plan) => Some(plan),
        }
    }
}

/// Everything that can be set, in bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where objects come from.
    pub source: SourcePlan,
    /// The core of each worker, by worker.
    pub cores: Vec<usize>,
    /// Frames of packet memory of each worker.
    pub frames_per_worker: u32,
    /// The most pod ports.
    pub ports_max: u16,
    /// The most policies that metrics name; 0: what policies do is not counted.
    pub policy_metrics_max: usize,
    /// The frame budget, which fits.
    pub budget: FrameBudget,
    /// Connections of each worker.
    pub capacity: u32,
    /// Connections of one pod, with each worker.
    pub per_pod: u32,
    /// How long connections last.
    pub timeouts: Timeouts,
    /// What a policy change does to them.
    pub established: Established,
    /// What the sender of a denied packet hears.
    pub denied: Denial,
    /// What idle workers do.
    pub polling: Polling,
    /// What outlives the process.
    pub restart: RestartPlan,
    /// The host port, where there shall be one.
    pub host_port: Option<HostPortPlan>,
    /// Addresses of this node; empty: those that its pods' `status.hostIPs` name.
    pub node_addresses: Vec<IpAddr>,
    /// What the cluster calls this node; `None`: as the machine is called.
    pub node: Option<String>,
    /// Whether policy judges what the node sends to its own pods.
    pub own_node: OwnNode,
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

impl Settings {
    /// Checks what was written.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn new(raw: Raw, machine: &Machine) -> Result<Self, SettingsError> {
        let cores = check::cores(&raw, machine)?;
        let node = check::node(raw.node)?;
        let source = cluster::source(raw.manifests, raw.cluster, node.as_deref())?;
        let is_cluster = source.cluster().is_some();
        let host_port = check::host_port(raw.host_port.or_default(is_cluster))?;
        let frames_per_worker =
            number("frames_per_worker", raw.frames_per_worker, FRAMES_PER_WORKER, 256, 1 << 18)?;
        let workers = u8::try_from(cores.len()).unwrap_or(u8::MAX);
        let has_host = host_port.is_some();
        let fit = FrameBudget::ports_that_fit(frames_per_worker, workers, has_host).max(1);
        let most = i64::from(workers) * (bound(PORTS_MAX) - i64::from(has_host));
        let ports_max: u16 = number("ports_max", raw.ports_max, fit, 1, most)?;
        let named = raw.policy_metrics_max;
        let policy_metrics_max =
            number("policy_metrics_max", named, POLICY_METRICS_MAX, 0, 100_000)?;
        let budget = FrameBudget::new(frames_per_worker, ports_max, workers, has_host);
        if !budget.fits() {
            return Err(SettingsError::Frames(budget));
        }
        let (capacity, per_pod) = check::connections(&raw.connections)?;
        Ok(Self {
            source,
            cores,
            frames_per_worker,
            ports_max,
            policy_metrics_max,
            budget,
            capacity,
            per_pod,
            timeouts: check::timeouts(&raw.connections.timeouts)?,
            established: word(
                "established",
                raw.established,
                &[("recheck", Established::Recheck), ("keep", Established::Keep)],
                "recheck, keep",
            )?,
            denied: check::denied(raw.denied)?,
            polling: word(
                "polling",
                raw.polling,
                &[("adaptive", Polling::Adaptive), ("busy", Polling::Busy)],
                "adaptive, busy",
            )?,
            restart: RestartPlan::new(raw.restart)?,
            host_port,
            node_addresses: check::node_addresses(raw.node_addresses.unwrap_or_default())?,
            node,
            own_node: check::own_node(raw.own_node)?,
            listen: check::listen(raw.listen)?,
            socket: check::socket_path("socket", raw.socket, SOCKET)?,
            lock: absolute("lock", raw.lock, LOCK)?,
            bpffs: absolute("bpffs", raw.bpffs, BPFFS)?,
            log_level: check::log_level(raw.log.level)?,
            log_format: check::log_format(raw.log.format)?,
        })
    }

    /// How many workers there will be.
    #[must_use]
    pub fn workers(&self) -> u8 {
        u8::try_from(self.cores.len()).unwrap_or(u8::MAX)
    }
}
