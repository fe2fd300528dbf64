//! Why a setting cannot be used.

use std::path::PathBuf;

use super::FrameBudget;

/// A setting that cannot be used. Each names the setting and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("configuration file {}: {source}; name a file that can be read after --config", path.display())]
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
    #[error("{0} is not set: give {flag} or put it into the configuration file", flag = flag(.0))]
    Unset(&'static str),
    /// Nothing says where objects come from.
    #[error(
        "there is nothing to judge by: give --manifests DIR, --kubeconfig FILE or --in-cluster, or \
         put manifests or a section cluster into the configuration file"
    )]
    NoSource,
    /// More than one thing says where objects come from.
    #[error(
        "objects come from one place: leave one of manifests, cluster.kubeconfig and \
         cluster.in_cluster"
    )]
    TwoSources,
    /// A setting of a cluster's node, where there is none.
    #[error("{0} is set, and objects come from a directory of manifests: leave one of both")]
    ClusterOnly(&'static str),
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

/// The flag of a setting: `--host-peer` of `host_port.peer`, `--kubeconfig` of `cluster.kubeconfig`.
fn flag(setting: &str) -> String {
    let setting = setting.replace("host_port.", "host-").replace("cluster.", "");
    format!("--{}", setting.replace('_', "-"))
}
