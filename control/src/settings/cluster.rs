//! The section `cluster`: where the API server is, and what the node is given.

use std::path::PathBuf;

use ipnet::IpNet;

use super::check::{absolute, socket_path, text};
use super::{ATTACHMENTS, CNI_BIN_DIR, CNI_CONF_DIR, CNI_SOCKET, IPAM_DIR, LAST_GOOD, RawCluster};
use super::{SettingsError, SourcePlan};

/// A node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPlan {
    /// How the API server is reached; `None`: as the service account of the pod that this is.
    pub kubeconfig: Option<PathBuf>,
    /// What the cluster calls this node.
    pub node: String,
    /// Where the CNI plugin asks.
    pub cni_socket: PathBuf,
    /// Where it is kept what is attached: a directory that a start of the machine empties.
    pub attachments: PathBuf,
    /// Where it is kept what the API server said, for a start that it does not answer.
    pub last_good: PathBuf,
    /// Where the CNI plugin and its configuration are put; `None`: somebody else does that.
    pub cni: Option<CniPlan>,
    /// Whether what pods send out of the cluster gets an address of this node.
    pub masquerade: bool,
    /// Whether the pods of other nodes on this node's links are routed to them.
    pub node_routes: bool,
    /// Addresses of services that the node itself reaches through the switch.
    pub service_cidrs: Vec<IpNet>,
}

/// Where a container runtime looks for plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniPlan {
    /// The directory of plugins.
    pub bin_dir: PathBuf,
    /// The directory of configurations.
    pub conf_dir: PathBuf,
    /// Where the plugin that gives addresses remembers them.
    pub ipam_dir: PathBuf,
}

/// Where objects come from: one of a directory, a kubeconfig, and the pod that this is.
pub(super) fn source(
    manifests: Option<PathBuf>,
    cluster: RawCluster,
    node: Option<&str>,
) -> Result<SourcePlan, SettingsError> {
    let is_inside = cluster.in_cluster == Some(true);
    let given = [manifests.is_some(), cluster.kubeconfig.is_some(), is_inside];
    match given.iter().filter(|one| **one).count() {
        0 => return Err(SettingsError::NoSource),
        1 => {}
        _ => return Err(SettingsError::TwoSources),
    }
    let Some(directory) = manifests else {
        let node = node.ok_or(SettingsError::Unset("node"))?;
        return plan(cluster, node).map(|plan| SourcePlan::Cluster(Box::new(plan)));
    };
    // Whatever it is, it would be without effect.
    match cluster.first_set() {
        Some(option) => Err(SettingsError::ClusterOnly(option)),
        None => Ok(SourcePlan::Directory(directory)),
    }
}

fn plan(raw: RawCluster, node: &str) -> Result<ClusterPlan, SettingsError> {
    let cni = CniPlan {
        bin_dir: absolute("cluster.cni_bin_dir", raw.cni_bin_dir, CNI_BIN_DIR)?,
        conf_dir: absolute("cluster.cni_conf_dir", raw.cni_conf_dir, CNI_CONF_DIR)?,
        ipam_dir: absolute("cluster.ipam_dir", raw.ipam_dir, IPAM_DIR)?,
    };
    let net = |value: String| {
        let rule = "it is no network; write one as 10.96.0.0/12";
        value.parse().map_err(|_| text("cluster.service_cidrs", &value, &rule))
    };
    let service_cidrs = raw.service_cidrs.unwrap_or_default().into_iter().map(net);
    Ok(ClusterPlan {
        kubeconfig: raw.kubeconfig,
        node: node.to_owned(),
        cni_socket: socket_path("cluster.cni_socket", raw.cni_socket, CNI_SOCKET)?,
        attachments: absolute("cluster.attachments", raw.attachments, ATTACHMENTS)?,
        last_good: absolute("cluster.last_good", raw.last_good, LAST_GOOD)?,
        cni: raw.cni_install.unwrap_or(true).then_some(cni),
        masquerade: raw.masquerade.unwrap_or(true),
        node_routes: raw.node_routes.unwrap_or(true),
        service_cidrs: service_cidrs.collect::<Result<_, _>>()?,
    })
}
