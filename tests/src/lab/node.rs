//! The node: its namespaces and their wires.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::error::LabError;
use super::leftovers::{remove, state};
use super::manifests::{self, Pod};
use super::namespace::{Namespace, run};

/// The gateway that every pod routes to, IPv4.
pub const GATEWAY_V4: &str = "169.254.1.1";

/// The gateway that every pod routes to, IPv6.
pub const GATEWAY_V6: &str = "fe80::1";

/// How a lab is made.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The first part of every name.
    pub prefix: String,
    /// MTU of the pods' wires.
    pub mtu: u16,
    /// Addresses of the world outside, on the loopback of `PREFIX-outside`.
    pub outside: Vec<IpAddr>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { prefix: "lg".to_owned(), mtu: 1500, outside: Vec::new() }
    }
}

/// Where a probe starts or ends.
#[derive(Clone, Debug)]
pub struct Place {
    /// The namespace it is in.
    pub namespace: Namespace,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Place {
    /// Its first address of a family.
    #[must_use]
    pub fn address(&self, v6: bool) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv6() == v6)
    }
}

/// A lab that stands. Dropping it takes it down, unless it was kept.
#[derive(Debug)]
pub struct Lab {
    shape: Shape,
    pods: Vec<Pod>,
    node_addresses: Vec<IpAddr>,
    node: Namespace,
    outside: Namespace,
    kept: bool,
}

impl Lab {
    /// Builds the lab of a directory's pods. What an earlier lab of the same prefix left is
    /// removed first.
    ///
    /// # Errors
    /// When a step fails; what was built until then is taken down.
    pub fn build(directory: &Path, shape: Shape) -> Result<Self, LabError> {
        let pods = manifests::pods(directory)?;
        remove(&shape.prefix)?;
        let mut node_addresses: Vec<IpAddr> =
            pods.iter().flat_map(|pod| pod.host_ips.iter().copied()).collect();
        node_addresses.sort();
        node_addresses.dedup();
        let (node, outside) = (name(&shape.prefix, "node"), name(&shape.prefix, "outside"));
        // Made before its namespaces are, so that a failure from here on takes them down.
        let mut lab = Self {
            node: Namespace::named(&node),
            outside: Namespace::named(&outside),
            pods: Vec::new(),
            node_addresses,
            shape,
            kept: false,
        };
        Namespace::create(&node)?;
        Namespace::create(&outside)?;
        lab.prepare_state()?;
        lab.prepare_outside()?;
        for pod in pods {
            lab.add_pod(pod)?;
        }
        Ok(lab)
    }

    /// Finds a lab that was kept, to stop or to ask it.
    ///
    /// # Errors
    /// When there is none of this prefix, or the manifests can't be read.
    pub fn find(directory: &Path, shape: Shape) -> Result<Self, LabError> {
        let node = Namespace::named(&name(&shape.prefix, "node"));
        if !node.path().exists() {
            let what = format!("no lab with the prefix {} stands: `scripts/lab up`", shape.prefix);
            return Err(LabError::Unexpected(what));
        }
        let outside = Namespace::named(&name(&shape.prefix, "outside"));
        let pods = manifests::pods(directory)?;
        Ok(Self { shape, pods, node_addresses: Vec::new(), node, outside, kept: true })
    }

    /// Leaves it standing when dropped.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// The namespace that the switch runs in.
    #[must_use]
    pub fn node(&self) -> &Namespace {
        &self.node
    }

    /// The namespace of the node's stack and the world behind it.
    #[must_use]
    pub fn outside(&self) -> &Namespace {
        &self.outside
    }

    /// The directory of its files: socket, log, settings, bpffs.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        state(&self.shape.prefix)
    }

    /// How it was made.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Its pods, in the order they were added.
    #[must_use]
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// The addresses of the node, from the pods' `status.hostIPs`.
    #[must_use]
    pub fn node_addresses(&self) -> &[IpAddr] {
        &self.node_addresses
    }

    /// The pod of a name like `fme/web`.
    ///
    /// # Errors
    /// When there is none.
    pub fn pod(&self, name: &str) -> Result<&Pod, LabError> {
        let found = self.pods.iter().find(|pod| pod.name == name);
        found.ok_or_else(|| LabError::Unknown(name.to_owned()))
    }

    /// The place that a word means: `NAMESPACE/POD`, or an address outside.
    ///
    /// # Errors
    /// When it means neither.
    pub fn place(&self, word: &str) -> Result<Place, LabError> {
        if let Ok(address) = word.parse() {
            return Ok(Place { namespace: self.outside.clone(), addresses: vec![address] });
        }
        let pod = self.pod(word)?;
        let namespace = Namespace::named(&self.pod_namespace(word));
        Ok(Place { namespace, addresses: pod.addresses.clone() })
    }

    /// Adds a pod: its namespace, its wire, its addresses and routes.
    ///
    /// # Errors
    /// When a step fails.
    pub fn add_pod(&mut self, pod: Pod) -> Result<(), LabError> {
        let name = self.pod_namespace(&pod.name);
        let namespace = Namespace::create(&name)?;
        // The switch's side stays down: it is the switch that makes it inert and sets it up.
        self.node.ip(&[format!(
            "link add {} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {name}",
            pod.interface,
            mtu = self.shape.mtu
        )])?;
        namespace.sysctl("ipv6/conf/eth0/accept_dad", "0")?;
        namespace.sysctl("ipv6/conf/eth0/accept_ra", "0")?;
        namespace.ip(&pod_lines(&pod))?;
        // Echo probes of pods need no raw sockets then, and rp_filter never hides a packet.
        namespace.sysctl("ipv4/conf/all/rp_filter", "0")?;
        self.pods.push(pod);
        Ok(())
    }

    /// Removes a pod: what runs in it ends, its namespace and its wire are gone.
    ///
    /// # Errors
    /// When there is none, or its namespace can't be deleted.
    pub fn remove_pod(&mut self, name: &str) -> Result<(), LabError> {
        self.pod(name)?;
        run(Command::new("ip").args(["netns", "delete", &self.pod_namespace(name)]))?;
        self.pods.retain(|pod| pod.name != name);
        Ok(())
    }

    /// Gives the far end of the host port its routes, once it is there: the node's own stack
    /// reaches the pods through it.
    ///
    /// # Errors
    /// When it does not appear within ten seconds, or a route is refused.
    pub fn connect_outside(&self, far_end: &str) -> Result<(), LabError> {
        self.outside.await_interface(far_end, Duration::from_secs(10))?;
        self.outside.sysctl(&format!("ipv6/conf/{far_end}/accept_dad"), "0")?;
        self.outside.ip(&[format!("link set {far_end} up")])?;
        self.pods.iter().try_for_each(|pod| self.route_from_outside(pod, far_end))
    }

    /// Routes one pod's addresses through the far end of the host port.
    ///
    /// # Errors
    /// When a route is refused.
    pub fn route_from_outside(&self, pod: &Pod, far_end: &str) -> Result<(), LabError> {
        let lines: Vec<String> = pod
            .addresses
            .iter()
            .map(|address| match address {
                IpAddr::V4(v4) => {
                    format!("route replace {v4}/32 via {GATEWAY_V4} dev {far_end} onlink")
                }
                IpAddr::V6(v6) => format!("route replace {v6}/128 via {GATEWAY_V6} dev {far_end}"),
            })
            .collect();
        self.outside.ip(&lines)
    }

    /// Lets the kernel of the node forward between the pods, past every inert setting: what must
    /// not matter while the switch's program is attached, and what makes a leak visible when not.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn forward_by_kernel(&self) -> Result<(), LabError> {
        // Written off first: only a change reaches the interfaces that exist.
        for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            self.node.sysctl(key, "0")?;
            self.node.sysctl(key, "1")?;
        }
        self.node.sysctl("ipv4/conf/all/rp_filter", "0")?;
        for pod in &self.pods {
            let far = Namespace::named(&self.pod_namespace(&pod.name)).mac("eth0")?;
            let interface = &pod.interface;
            self.node.sysctl(&format!("ipv4/conf/{interface}/rp_filter"), "0")?;
            let lines: Vec<String> = pod
                .addresses
                .iter()
                .filter(|address| address.is_ipv4())
                .flat_map(|address| {
                    [
                        format!("route replace {address}/32 dev {interface}"),
                        format!("neigh replace {address} lladdr {far} dev {interface}"),
                    ]
                })
                .collect();
            self.node.ip(&lines)?;
        }
        Ok(())
    }

    /// Makes a pod address its packets to the switch-side interface itself instead of to the
    /// gateway's MAC, so that the node's kernel would take them up if they reached it.
    ///
    /// # Errors
    /// When the pod or its interface is not there.
    pub fn bypass_gateway(&self, pod: &str) -> Result<(), LabError> {
        let mac = self.node.mac(&self.pod(pod)?.interface)?;
        let line = format!("neigh replace {GATEWAY_V4} lladdr {mac} dev eth0 nud permanent");
        self.place(pod)?.namespace.ip(&[line])
    }

    fn pod_namespace(&self, name: &str) -> String {
        let (namespace, pod) = name.split_once('/').unwrap_or(("default", name));
        format!("{}-{namespace}-{pod}", self.shape.prefix)
    }

    /// A bpffs of the lab's own: unmounting it takes every pin along, whoever made it. And a directory
    /// in memory, for connections.
    fn prepare_state(&self) -> Result<(), LabError> {
        let bpf = self.state().join("bpf");
        fs::create_dir_all(&bpf).map_err(LabError::io(format!("create {}", bpf.display())))?;
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&bpf))?;
        let memory = self.state().join("memory");
        fs::create_dir_all(&memory)
            .map_err(LabError::io(format!("create {}", memory.display())))?;
        run(Command::new("mount").args(["-t", "tmpfs", "lockgate"]).arg(&memory)).map(drop)
    }

    fn prepare_outside(&self) -> Result<(), LabError> {
        for key in ["ipv4/conf/all/rp_filter", "ipv4/conf/default/rp_filter"] {
            self.outside.sysctl(key, "0")?;
        }
        let addresses = self.shape.outside.iter().chain(&self.node_addresses);
        let lines: Vec<String> = addresses
            .map(|address| format!("addr add {address} dev lo{}", nodad(*address)))
            .collect();
        self.outside.ip(&lines)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A failure leaves names behind, and the next `remove` finds them.
        if !self.kept {
            let _ = remove(&self.shape.prefix);
        }
    }
}

fn name(prefix: &str, rest: &str) -> String {
    format!("{prefix}-{rest}")
}

fn nodad(address: IpAddr) -> &'static str {
    if address.is_ipv6() { " nodad" } else { "" }
}

fn pod_lines(pod: &Pod) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(mac) = &pod.mac {
        lines.push(format!("link set eth0 address {mac}"));
    }
    lines.push("link set eth0 up".to_owned());
    lines.extend(
        pod.addresses
            .iter()
            .map(|&address| format!("addr add {address} dev eth0{}", nodad(address))),
    );
    if pod.addresses.iter().any(IpAddr::is_ipv4) {
        lines.push(format!("route add default via {GATEWAY_V4} dev eth0 onlink"));
    }
    if pod.addresses.iter().any(IpAddr::is_ipv6) {
        lines.push(format!("route add ::/0 via {GATEWAY_V6} dev eth0"));
    }
    lines
}
