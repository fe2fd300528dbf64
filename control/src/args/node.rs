//! Arguments of commands that look at a node whether a switch runs there or not, and that clear it.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `sysdump`.
#[derive(Clone, Debug, Args)]
pub struct SysdumpArguments {
    /// The configuration file of the switch, which says where its files are; none is read unless
    /// given.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The running switch's Unix socket [default: as the configuration file says].
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The archive, which must not be there yet; - is standard output
    /// [default: lockgate-sysdump-TIME.tar.gz].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `uninstall`.
#[derive(Clone, Debug, Args)]
pub struct UninstallArguments {
    /// The configuration file of the switch, which says where its things are; none is read unless
    /// given.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
