//! Arguments of commands that ask a running switch, or the cluster.

use std::path::PathBuf;

use clap::Args;

use super::Output;
use crate::applied::PolicyName;
use crate::settings;

/// Arguments of `ready`.
#[derive(Clone, Debug, Args)]
pub struct ReadyArguments {
    /// Unix socket of the switch.
    #[arg(long, value_name = "PATH", default_value = settings::SOCKET)]
    pub socket: PathBuf,
}

/// Arguments of commands that ask the running switch.
#[derive(Clone, Debug, Args)]
pub struct AskArguments {
    /// The running switch's Unix socket.
    #[arg(long, value_name = "PATH", default_value = settings::SOCKET)]
    pub socket: PathBuf,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Arguments of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArguments {
    /// Whom to ask and how to answer.
    #[command(flatten)]
    pub ask: AskArguments,
    /// Ask the API server what all nodes have in force, instead of the switch of this one.
    #[arg(long, conflicts_with = "socket")]
    pub cluster: bool,
    /// How the API server is reached [default: as kubectl does, else as the pod that this is].
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// Whether this one is in force, as networkpolicy/demo/web or tier/base.
    #[arg(long, value_name = "KIND/NAMESPACE/NAME", requires = "cluster")]
    pub policy: Option<PolicyName>,
}

/// Arguments of `connections`.
#[derive(Clone, Debug, Args)]
pub struct ConnectionsArguments {
    /// Whom to ask and how to answer.
    #[command(flatten)]
    pub ask: AskArguments,
    /// At most so many, up to 65536.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub limit: usize,
}
