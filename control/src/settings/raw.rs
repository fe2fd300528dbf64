//! Settings as written, in a file or on the command line: nothing is checked here but spelling.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{HOST_PORT, SettingsError};
use crate::manifest;

/// Settings as written. Numbers are wide, so that what is out of bounds is told as such.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The directory of manifests.
    pub manifests: Option<PathBuf>,
    /// How many workers.
    pub workers: Option<i64>,
    /// The core of each worker.
    pub cores: Option<Vec<i64>>,
    /// Frames of packet memory of each worker.
    pub frames_per_worker: Option<i64>,
    /// The most pod ports that the switch shall bear.
    pub ports_max: Option<i64>,
    /// The most policies that metrics name.
    pub policy_metrics_max: Option<i64>,
    /// `recheck` or `keep`.
    pub established: Option<String>,
    /// `drop` or `reject`.
    pub denied: Option<String>,
    /// `adaptive` or `busy`.
    pub polling: Option<String>,
    /// Addresses of this node.
    pub node_addresses: Option<Vec<String>>,
    /// What the cluster calls this node.
    pub node: Option<String>,
    /// `exempt` or `judged`.
    pub own_node: Option<String>,
    /// Where metrics are served.
    pub listen: Option<String>,
    /// The Unix socket.
    pub socket: Option<PathBuf>,
    /// The lock file.
    pub lock: Option<PathBuf>,
    /// Where programs are pinned.
    pub bpffs: Option<PathBuf>,
    /// The cluster.
    #[serde(default)]
    pub cluster: RawCluster,
    /// Connections.
    #[serde(default)]
    pub connections: RawConnections,
    /// The host port.
    #[serde(default)]
    pub host_port: RawHostPort,
    /// What outlives the process.
    #[serde(default)]
    pub restart: RawRestart,
    /// Logging.
    #[serde(default)]
    pub log: RawLog,
}

/// The section `cluster`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCluster {
    /// How the API server is reached.
    pub kubeconfig: Option<PathBuf>,
    /// `true`: as the service account of the pod that this is.
    pub in_cluster: Option<bool>,
    /// Where the CNI plugin asks.
    pub cni_socket: Option<PathBuf>,
    /// Where it is kept what is attached.
    pub attachments: Option<PathBuf>,
    /// Where it is kept what the API server said.
    pub last_good: Option<PathBuf>,
    /// `false`: somebody else installs the CNI plugin.
    pub cni_install: Option<bool>,
    /// Where CNI plugins are.
    pub cni_bin_dir: Option<PathBuf>,
    /// Where their configurations are.
    pub cni_conf_dir: Option<PathBuf>,
    /// Where addresses that are taken are remembered.
    pub ipam_dir: Option<PathBuf>,
    /// `false`: what pods send out of the cluster keeps their addresses.
    pub masquerade: Option<bool>,
    /// `false`: the network routes to the pods of other nodes.
    pub node_routes: Option<bool>,
    /// Addresses of services that the node itself reaches through the switch.
    pub service_cidrs: Option<Vec<String>>,
}

impl RawCluster {
    /// A setting that is set, but for the two that say where the API server is.
    pub(super) fn first_set(&self) -> Option<&'static str> {
        let set = [
            ("cluster.cni_socket", self.cni_socket.is_some()),
            ("cluster.attachments", self.attachments.is_some()),
            ("cluster.last_good", self.last_good.is_some()),
            ("cluster.cni_install", self.cni_install.is_some()),
            ("cluster.cni_bin_dir", self.cni_bin_dir.is_some()),
            ("cluster.cni_conf_dir", self.cni_conf_dir.is_some()),
            ("cluster.ipam_dir", self.ipam_dir.is_some()),
            ("cluster.masquerade", self.masquerade.is_some()),
            ("cluster.node_routes", self.node_routes.is_some()),
            ("cluster.service_cidrs", self.service_cidrs.is_some()),
        ];
        set.into_iter().find(|(_, is_set)| *is_set).map(|(option, _)| option)
    }
}

/// The section `connections`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConnections {
    /// Connections of each worker.
    pub capacity: Option<i64>,
    /// Connections of one pod, with each worker.
    pub per_pod: Option<i64>,
    /// Timeouts, in seconds.
    #[serde(default)]
    pub timeouts: RawTimeouts,
}

/// The section `connections.timeouts`, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // each field is its own name; `super::Timeouts` says what it means
pub struct RawTimeouts {
    pub tcp_syn: Option<i64>,
    pub tcp_established: Option<i64>,
    pub tcp_fin: Option<i64>,
    pub tcp_time_wait: Option<i64>,
    pub tcp_close: Option<i64>,
    pub udp_unreplied: Option<i64>,
    pub udp_stream: Option<i64>,
    pub icmp: Option<i64>,
    pub sctp_opening: Option<i64>,
    pub sctp_established: Option<i64>,
    pub sctp_closed: Option<i64>,
    pub other: Option<i64>,
    pub fragments: Option<i64>,
}

/// The section `host_port`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawHostPort {
    /// The switch's side; without it there is no host port.
    pub interface: Option<String>,
    /// The side in the node's stack.
    pub peer: Option<String>,
    /// The named namespace of the peer.
    pub netns: Option<String>,
    /// MTU of both sides.
    pub mtu: Option<i64>,
}

impl RawHostPort {
    /// A cluster's node has a host port, whatever is set; of what is not, each has its default.
    pub(super) fn or_default(mut self, is_cluster: bool) -> Self {
        if is_cluster && self.netns.is_none() {
            let [interface, peer] = HOST_PORT.map(str::to_owned);
            self.interface.get_or_insert(interface);
            self.peer.get_or_insert(peer);
        }
        self
    }
}

/// The section `restart`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRestart {
    /// `false`: connections end with the process.
    pub keep: Option<bool>,
    /// Where they are kept.
    pub directory: Option<PathBuf>,
    /// Seconds for which TCP of which nothing is known is picked up.
    pub grace: Option<i64>,
}

/// The section `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLog {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: Option<String>,
    /// `text` or `json`.
    pub format: Option<String>,
}

macro_rules! over {
    ($above:expr, $below:expr, $($field:ident),*) => { $($above.$field = $above.$field.or($below.$field);)* };
}

impl Raw {
    /// Reads a file; its extension says whether it is TOML or YAML.
    ///
    /// # Errors
    /// [`SettingsError`] where it cannot be read, or holds what no setting is called.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        let parsed = match path.extension().and_then(|e| e.to_str()) {
            Some("toml") => toml::from_str(&text).map_err(|e| e.to_string()),
            Some("yaml" | "yml") => from_yaml(&text),
            _ => return Err(SettingsError::Extension { path: path.to_owned() }),
        };
        parsed.map_err(|message| SettingsError::Syntax {
            path: path.to_owned(),
            message: message.trim_end().to_owned(),
        })
    }

    /// These settings, and `below` where these say nothing.
    #[must_use]
    pub fn over(mut self, below: Self) -> Self {
        over!(
            self,
            below,
            manifests,
            workers,
            cores,
            frames_per_worker,
            ports_max,
            policy_metrics_max,
            established,
            denied,
            polling,
            node_addresses,
            node,
            own_node,
            listen,
            socket,
            lock,
            bpffs
        );
        over!(self.cluster, below.cluster, kubeconfig, in_cluster, cni_socket, attachments);
        over!(self.cluster, below.cluster, last_good, node_routes);
        over!(self.cluster, below.cluster, cni_install, cni_bin_dir, cni_conf_dir, ipam_dir);
        over!(self.cluster, below.cluster, masquerade, service_cidrs);
        let (above, under) = (&mut self.connections, below.connections);
        over!(above, under, capacity, per_pod);
        let (above, under) = (&mut above.timeouts, under.timeouts);
        over!(
            above,
            under,
            tcp_syn,
            tcp_established,
            tcp_fin,
            tcp_time_wait,
            tcp_close,
            udp_unreplied,
            udp_stream,
            icmp,
            sctp_opening,
            sctp_established,
            sctp_closed,
            other,
            fragments
        );
        over!(self.host_port, below.host_port, interface, peer, netns, mtu);
        over!(self.restart, below.restart, keep, directory, grace);
        over!(self.log, below.log, level, format);
        self
    }
}

/// YAML by the reader of manifests, so that one idea of YAML serves all files.
fn from_yaml(text: &str) -> Result<Raw, String> {
    let tree = manifest::read_yaml(text).map_err(|problem| match problem.line {
        Some(line) => format!("line {line}: {}", problem.message),
        None => problem.message,
    })?;
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let (setting, cause) = (error.path().to_string(), error.inner());
        if setting == "." { cause.to_string() } else { format!("setting {setting}: {cause}") }
    })
}
