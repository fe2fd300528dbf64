//! What a cluster's parts are called, where they are, and at which addresses.
//!
//! Every namespace and cgroup bears the cluster's prefix, every file is below its state directory:
//! by the two alone it is found again and taken away, whoever left it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::lab::Namespace;

/// The port of the API server, on every address of the first node.
pub const API_PORT: u16 = 6443;

/// Nodes that a cluster may have.
pub const NODES_MAX: u8 = 4;

/// The addresses of pods, of which each node gets its part.
pub const PODS: &str = "10.244.0.0/16,fd00:244::/48";

/// The addresses of services.
pub const SERVICES: &str = "10.96.0.0/16,fd00:96::/112";

/// The first address of services in each family is that of `kubernetes`.
pub const API_SERVICE: [&str; 2] = ["10.96.0.1", "fd00:96::1"];

/// Where the cluster's names are asked for, as `tests/cluster/dns.yaml` says too.
pub const NAME_SERVICE: [&str; 2] = ["10.96.0.10", "fd00:96::a"];

/// The end of the wire that is no node: what nodes take for the world outside.
pub const OUTSIDE: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(172, 31, 240, 1), Ipv6Addr::new(0xfd31, 0x240, 0, 0, 0, 0, 0, 1));

/// Where one cluster lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    prefix: String,
    state: PathBuf,
}

impl Layout {
    /// A cluster of this prefix, with its files below `state`, which need not be there.
    ///
    /// # Errors
    /// When `state` is relative and there is no current directory.
    pub fn new(prefix: &str, state: &Path) -> std::io::Result<Self> {
        Ok(Self { prefix: prefix.to_owned(), state: std::path::absolute(state)? })
    }

    /// The first part of its names.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The directory of its files.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The directory of its certificates and keys.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.state.join("pki")
    }

    /// How a client of this name finds the API server and proves who it is.
    #[must_use]
    pub fn kubeconfig(&self, client: &str) -> PathBuf {
        self.state.join(format!("{client}.kubeconfig"))
    }

    /// The namespace of the wire between the nodes, and of the world outside.
    #[must_use]
    pub fn wire(&self) -> Namespace {
        Namespace::named(&format!("{}-net", self.prefix))
    }

    /// A node by its number, from 0.
    #[must_use]
    pub fn node(&self, number: u8) -> NodePlace {
        let letter = char::from(b'a' + number % NODES_MAX);
        NodePlace {
            name: format!("node-{letter}"),
            namespace: Namespace::named(&format!("{}-{letter}", self.prefix)),
            cgroup: format!("{}-{letter}", self.prefix),
            state: self.state.join(format!("node-{letter}")),
            number: number % NODES_MAX,
        }
    }

    /// The first node: its network is also the control plane's.
    #[must_use]
    pub fn first(&self) -> NodePlace {
        self.node(0)
    }
}

/// Where one node lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlace {
    /// The node's name in the cluster.
    pub name: String,
    /// Its network.
    pub namespace: Namespace,
    /// The cgroup of its pods, below the root of every hierarchy.
    pub cgroup: String,
    /// The directory of its files.
    pub state: PathBuf,
    number: u8,
}

impl NodePlace {
    /// Its address in each family.
    #[must_use]
    pub fn addresses(&self) -> (Ipv4Addr, Ipv6Addr) {
        // Decimal digits in both, so that one is seen in the other: .11 and ::11.
        let own = 11 + self.number;
        let digits = u16::from(own / 10) << 4 | u16::from(own % 10);
        (Ipv4Addr::new(172, 31, 240, own), Ipv6Addr::new(0xfd31, 0x240, 0, 0, 0, 0, 0, digits))
    }

    /// Where its mount namespace is kept.
    #[must_use]
    pub fn mounts(&self) -> PathBuf {
        self.state.with_extension("mounts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_differ_in_name_namespace_and_addresses() {
        let layout = Layout::new("lgc", Path::new("/x")).unwrap();
        let (first, second) = (layout.first(), layout.node(1));
        assert_eq!((first.name.as_str(), first.namespace.name()), ("node-a", "lgc-a"));
        assert_eq!((second.name.as_str(), second.namespace.name()), ("node-b", "lgc-b"));
        let (v4, v6) = second.addresses();
        assert_eq!(
            (v4.to_string(), v6.to_string()),
            ("172.31.240.12".into(), "fd31:240::12".into())
        );
        assert_ne!(first.state, second.state);
    }
}
