//! Why the node's stack is not as planned, and what to do.

use std::io;
use std::net::IpAddr;

use super::plan::PlanError;
use super::sysctl::SysctlError;
use crate::attach::{InterfaceName, NetlinkError};

/// Why the node's stack is not as planned.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The plan itself would break the node.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The kernel refused something about links, addresses or routes.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// There is no far end of the host port.
    #[error(
        "the far end of the host port, {0}, is not in this network namespace; \
         look at the settings host_port.peer and host_port.netns"
    )]
    PeerMissing(InterfaceName),
    /// The cluster's addresses of this node are none of this machine's.
    #[error(
        "the node has the addresses {} in the cluster, and no interface here has one of them; \
         correct the Node's status.addresses, or run the agent in the node's network namespace",
        listed(.0)
    )]
    NoAddress(Vec<IpAddr>),
    /// A key of `/proc/sys/net`.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The table.
    #[error(
        "table inet lockgate: {0}; the agent needs CAP_NET_ADMIN, and the kernel nf_tables with \
         nft_nat, nft_masq and nft_fib_inet"
    )]
    Table(#[source] io::Error),
    /// The thread that does what blocks.
    #[error("the thread that sets up the node's stack: {0}")]
    Thread(#[source] io::Error),
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}
