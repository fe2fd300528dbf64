//! The keys of `/proc/sys/net` that the node needs to route for its pods, and no others.
//!
//! Nothing is written that is so already, so a `/proc/sys` that may only be read is no fault on a
//! node that was set up beforehand.
//!
//! Two writes do more than they say. `ip_forward` turns forwarding on for every interface, also
//! for those of the switch, which are inert: those get theirs back. And IPv6's makes a router of
//! the node, which takes no advertisements where `accept_ra` is 1: where the node lived by them,
//! it becomes 2.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::netfilter::Family;
use super::plan::HostPlan;
use crate::proc_sys;

/// A key that is not as it must be, and cannot be made so.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is {found} and must be {wanted}: {source}; mount /proc/sys/net of the node at {} for the \
     agent, or set it on the node",
    path.display(),
    proc_sys::OF_POD
)]
pub struct SysctlError {
    /// Its file.
    pub path: PathBuf,
    /// What is in it, or why that cannot be said.
    pub found: String,
    /// What must be in it.
    pub wanted: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

/// A key that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its path below `/proc/sys/net`.
    pub path: String,
    /// What was in it.
    pub from: String,
    /// What is in it now.
    pub to: &'static str,
}

/// The keys of a tree like `/proc/sys/net`.
#[derive(Debug)]
pub(super) struct Keys {
    root: PathBuf,
    written: Vec<Key>,
}

/// What is wanted of the far end of the host port: the key, and its value.
///
/// `rp_filter` 2 is the loosest that an interface can ask for where `all` is strict. The switch has
/// checked already whom a packet is from, and knows better.
const OF_PEER_V4: [(&str, &str); 3] =
    [("rp_filter", "2"), ("forwarding", "1"), ("send_redirects", "0")];

/// `accept_dad` 0: nobody else is on the link, and the link-local address that asks for the gateway
/// must not wait for that to be found out.
const OF_PEER_V6: [(&str, &str); 3] =
    [("accept_dad", "0"), ("disable_ipv6", "0"), ("forwarding", "1")];

impl Keys {
    /// Those of the calling thread's network namespace.
    pub(super) fn of_this_namespace() -> Self {
        Self::below(proc_sys::net())
    }

    fn below(root: &Path) -> Self {
        Self { root: root.to_owned(), written: Vec::new() }
    }

    /// Makes every key as the plan needs it; gives those that were not.
    pub(super) fn apply(mut self, plan: &HostPlan) -> Result<Vec<Key>, SysctlError> {
        let peer = plan.peer.as_str();
        if plan.has(Family::V4) {
            self.turn_on("ipv4/ip_forward")?;
            for (key, value) in OF_PEER_V4 {
                self.set(&format!("ipv4/conf/{peer}/{key}"), value)?;
            }
            if plan.is_asked_by_loopback {
                self.set(&format!("ipv4/conf/{peer}/route_localnet"), "1")?;
            }
        }
        if plan.has(Family::V6) {
            if self.read("ipv6/conf/all/forwarding").is_ok_and(|found| found == "0") {
                self.keep_advertisements(peer)?;
            }
            self.turn_on("ipv6/conf/all/forwarding")?;
            for (key, value) in OF_PEER_V6 {
                self.set(&format!("ipv6/conf/{peer}/{key}"), value)?;
            }
        }
        Ok(self.written)
    }

    /// Turns forwarding on for the node, and off again for what is inert.
    fn turn_on(&mut self, key: &str) -> Result<(), SysctlError> {
        self.set(key, "1")?;
        for interface in self.interfaces("ipv4") {
            // Set by us on every interface of the switch's side, and hardly by anybody else.
            let mark = self.read(&format!("ipv4/conf/{interface}/arp_ignore"));
            if mark.is_ok_and(|value| value == "8") {
                for family in ["ipv4", "ipv6"] {
                    let key = format!("{family}/conf/{interface}/forwarding");
                    if self.read(&key).is_ok_and(|found| found != "0") {
                        self.set(&key, "0")?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Where router advertisements are taken as long as the node is no router, they are taken
    /// from now on though it is one.
    fn keep_advertisements(&mut self, peer: &str) -> Result<(), SysctlError> {
        for interface in self.interfaces("ipv6") {
            let key = format!("ipv6/conf/{interface}/accept_ra");
            let is_ours = interface == peer || interface == "lo";
            if !is_ours && self.read(&key).is_ok_and(|found| found == "1") {
                self.set(&key, "2")?;
            }
        }
        Ok(())
    }

    /// The interfaces that have keys, by name.
    fn interfaces(&self, family: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(family).join("conf"));
        let names = entries.into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter(|name| !matches!(name.as_str(), "all" | "default")).collect();
        names.sort();
        names
    }

    fn read(&self, key: &str) -> io::Result<String> {
        Ok(fs::read_to_string(self.root.join(key))?.trim().to_owned())
    }

    fn set(&mut self, key: &str, wanted: &'static str) -> Result<(), SysctlError> {
        let path = self.root.join(key);
        let error = |found, source| SysctlError { path: path.clone(), found, wanted, source };
        let found = match self.read(key) {
            Ok(found) if found == wanted => return Ok(()),
            Ok(found) => found,
            Err(source) => {
                let why = match source.kind() {
                    ErrorKind::NotFound => "not there",
                    _ => "not to be read",
                };
                return Err(error(why.to_owned(), source));
            }
        };
        fs::write(&path, wanted).map_err(|source| error(found.clone(), source))?;
        self.written.push(Key { path: key.to_owned(), from: found, to: wanted });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attach::InterfaceName;
    use crate::host::NodeNets;

    /// A tree with an uplink, the peer and an inert interface, as the kernel makes it.
    fn tree(forwarding: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let put = |key: &str, value: &str| {
            let path = root.path().join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        };
        put("ipv4/ip_forward", forwarding);
        put("ipv6/conf/all/forwarding", forwarding);
        for interface in ["eth0", "lg-far", "pod0"] {
            let is_inert = interface == "pod0";
            let forwarding = if is_inert { "1\n" } else { "0\n" };
            put(&format!("ipv4/conf/{interface}/arp_ignore"), if is_inert { "8\n" } else { "0\n" });
            for (family, key, value) in [
                ("ipv4", "forwarding", forwarding),
                ("ipv4", "rp_filter", "1\n"),
                ("ipv4", "send_redirects", "1\n"),
                ("ipv6", "forwarding", forwarding),
                ("ipv6", "accept_ra", "1\n"),
                ("ipv6", "accept_dad", "1\n"),
                ("ipv6", "disable_ipv6", "1\n"),
            ] {
                put(&format!("{family}/conf/{interface}/{key}"), value);
            }
        }
        put("ipv6/conf/pod0/accept_ra", "0\n");
        root
    }

    fn plan(cidrs: &[&str]) -> HostPlan {
        let pod_cidrs = cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect();
        let own = NodeNets { pod_cidrs, addresses: vec![] };
        HostPlan::new(InterfaceName::new("lg-far").unwrap(), &own, [], &[], true).unwrap()
    }

    fn apply(root: &Path, cidrs: &[&str]) -> Vec<String> {
        let written = Keys::below(root).apply(&plan(cidrs)).unwrap();
        written.into_iter().map(|key| format!("{}={}", key.path, key.to)).collect()
    }

    #[test]
    fn calls_of_the_loopback_pass_the_peer_where_pods_have_host_ports() {
        let root = tree("1");
        let key = "ipv4/conf/lg-far/route_localnet";
        fs::write(root.path().join(key), "0\n").unwrap();
        let mut plan = plan(&["10.42.0.0/24"]);
        let is_written = |plan: &HostPlan| {
            let written = Keys::below(root.path()).apply(plan).unwrap();
            written.iter().any(|one| (one.path.as_str(), one.to) == (key, "1"))
        };
        assert!(!is_written(&plan));
        plan.is_asked_by_loopback = true;
        assert!(is_written(&plan) && !is_written(&plan));
    }

    #[test]
    fn keys_are_written_once_and_what_is_inert_stays_so() {
        let root = tree("0");
        let both = ["10.42.0.0/24", "fd42::/64"];
        let wanted = [
            "ipv4/ip_forward=1",
            "ipv4/conf/pod0/forwarding=0",
            "ipv6/conf/pod0/forwarding=0",
            "ipv4/conf/lg-far/rp_filter=2",
            "ipv4/conf/lg-far/forwarding=1",
            "ipv4/conf/lg-far/send_redirects=0",
            "ipv6/conf/eth0/accept_ra=2",
            "ipv6/conf/all/forwarding=1",
            "ipv6/conf/lg-far/accept_dad=0",
            "ipv6/conf/lg-far/disable_ipv6=0",
            "ipv6/conf/lg-far/forwarding=1",
        ];
        assert_eq!(apply(root.path(), &both), wanted);
        assert!(apply(root.path(), &both).is_empty());
    }

    #[test]
    fn a_node_that_routes_already_keeps_its_way_with_advertisements() {
        let root = tree("1");
        assert!(!apply(root.path(), &["fd42::/64"]).iter().any(|key| key.contains("accept_ra")));
    }

    #[test]
    fn a_family_without_pods_is_left_alone() {
        let root = tree("0");
        assert!(apply(root.path(), &["fd42::/64"]).iter().all(|key| !key.contains("ip_forward")));
        let root = tree("0");
        assert!(apply(root.path(), &["10.42.0.0/24"]).iter().all(|key| !key.contains("accept")));
    }

    #[test]
    fn a_key_that_is_not_there_is_named_with_what_it_must_be() {
        let root = tree("0");
        fs::remove_file(root.path().join("ipv4/conf/lg-far/rp_filter")).unwrap();
        let error = Keys::below(root.path()).apply(&plan(&["10.42.0.0/24"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("ipv4/conf/lg-far/rp_filter is not there and must be 2"), "{text}");
    }
}
