//! Pods and namespaces as written.
//!
//! Read open: a pod has many fields that policy does not need. What policy does need and cannot
//! be read is reported. A pod whose labels cannot be read at all is marked, for selectors cannot
//! judge it: it is denied everything (`resolve`).

use std::net::IpAddr;

use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::Protocol;

use super::address;
use super::fields::{Broken, Place, Report};
use super::labels;
use super::metadata::Metadata;
use super::problem::quoted;
use super::rule;
use super::tree::Value;
use crate::selector::{Labels, is_port_name};

/// Names the interface at the switch's side of a pod of this node.
pub const INTERFACE_ANNOTATION: &str = "lockgate.dev/interface";

/// Where problems say that the interface is written.
pub const INTERFACE_FIELD: &str = "metadata.annotations[lockgate.dev/interface]";
/// Gives the pod's Ethernet address, where the kernel is not to be asked.
pub const MAC_ANNOTATION: &str = "lockgate.dev/mac";
/// The longest name of an interface (`IFNAMSIZ` less its end).
const INTERFACE_BYTES_MAX: usize = 15;

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Who it is.
    pub metadata: Metadata,
    /// What selectors see; `None` if unreadable.
    pub labels: Option<Labels>,
    /// It is in its node's network namespace: never selected, met by address only (NP-41).
    pub host_network: bool,
    /// It has ended (`Succeeded`, `Failed`): it has no address any more (NP-53).
    pub is_completed: bool,
    /// Its addresses, in the order of `status.podIPs`: at most one of each family, unless it is
    /// in its node's network namespace.
    pub addresses: Vec<IpAddr>,
    /// The addresses of its node.
    pub host_ips: Vec<IpAddr>,
    /// Its named ports; of two with one name and protocol the first counts.
    pub ports: Vec<NamedPort>,
    /// The interface at the switch's side, for a pod of this node.
    pub interface: Option<String>,
    /// Its Ethernet address, where written.
    pub mac: Option<Mac>,
}

/// A container's port that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    /// Its name.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Who it is.
    pub metadata: Metadata,
    /// Its labels as written.
    pub labels: Labels,
    /// It is being deleted, with everything in it.
    pub is_terminating: bool,
}

impl Pod {
    /// The number of a named port (NP-22).
    #[must_use]
    pub fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let named = |port: &&NamedPort| port.name == name && port.protocol == protocol;
        self.ports.iter().find(named).map(|port| port.number)
    }

    /// Reads a pod.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let written = root.field("metadata");
        let field = |name: &str| written.as_ref().and_then(|at| at.field(name));
        let labels = field("labels").map_or(Ok(Labels::new()), |at| {
            let consequence = "what can be read of it counts; else the pod is denied everything";
            report.within(consequence, |report| labels::labels(&at, report))
        });
        let annotations = field("annotations");
        let annotation = |name: &str| annotations.as_ref().and_then(|at| at.field(name));
        let interface = annotation(INTERFACE_ANNOTATION);
        let mac = annotation(MAC_ANNOTATION);
        let (spec, status) = (root.field("spec"), root.field("status"));
        let host_network = spec.as_ref().is_some_and(|at| host_network(at, report));
        let mut listed = |read: fn(&Place<'_>, bool, &mut Report<'_>) -> Vec<IpAddr>| {
            status.as_ref().map_or_else(Vec::new, |at| read(at, host_network, report))
        };
        Self {
            metadata,
            labels: labels.ok(),
            host_network,
            is_completed: status.as_ref().is_some_and(|at| is_completed(at)),
            addresses: listed(address::of_pod),
            host_ips: listed(|at, _, report| address::of_node(at, report)),
            ports: spec.as_ref().map_or_else(Vec::new, |at| ports(at, report)),
            interface: interface.and_then(|at| read_interface(&at, report).ok()),
            mac: mac.and_then(|at| read_mac(&at, report).ok()),
        }
    }
}

impl Namespace {
    /// Reads a namespace.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let written = root.field("metadata");
        let field = |name: &str| written.as_ref().and_then(|at| at.field(name));
        let labels = field("labels").map_or(Ok(Labels::new()), |at| labels::labels(&at, report));
        let phase = root.field("status").and_then(|at| at.field("phase"));
        let is_terminating = field("deletionTimestamp").is_some()
            || phase.is_some_and(|at| at.node.text() == Some("Terminating"));
        Self { metadata, labels: labels.unwrap_or_default(), is_terminating }
    }
}

fn host_network(spec: &Place<'_>, report: &mut Report<'_>) -> bool {
    let Some(at) = spec.field("hostNetwork") else { return false };
    if let Value::Bool(value) = at.node.value {
        return value;
    }
    at.mistyped(report, "hostNetwork", "true or false");
    false
}

fn is_completed(status: &Place<'_>) -> bool {
    let phase = status.field("phase");
    phase.is_some_and(|at| matches!(at.node.text(), Some("Succeeded" | "Failed")))
}

/// The named ports of what keeps running beside the pod: its containers, and its init
/// containers that restart always (sidecars). Other init containers end before the pod serves.
fn ports(spec: &Place<'_>, report: &mut Report<'_>) -> Vec<NamedPort> {
    let mut found: Vec<NamedPort> = Vec::new();
    for list in ["containers", "initContainers"] {
        let Some(at) = spec.field(list) else { continue };
        for container in at.items(report, list).unwrap_or_default() {
            let policy = container.field("restartPolicy");
            let is_sidecar = policy.is_some_and(|at| at.node.text() == Some("Always"));
            if list == "initContainers" && !is_sidecar {
                continue;
            }
            let Some(at) = container.field("ports") else { continue };
            for item in at.items(report, "ports").unwrap_or_default() {
                let Ok(Some(port)) = named_port(&item, report) else { continue };
                add_port(&mut found, port, &item, report);
            }
        }
    }
    found
}

fn add_port(found: &mut Vec<NamedPort>, new: NamedPort, at: &Place<'_>, report: &mut Report<'_>) {
    let is_same = |old: &&NamedPort| old.name == new.name && old.protocol == new.protocol;
    match found.iter().find(is_same).map(|old| old.number) {
        None => found.push(new),
        Some(number) if number == new.number => {}
        Some(number) => {
            let message = format!("port {} is named twice; {number} counts", quoted(&new.name));
            report.warning(at, &message, "give each port a name of its own");
        }
    }
}

/// Reads a container's port; `None` where it has no name and so matters to nobody.
fn named_port(at: &Place<'_>, report: &mut Report<'_>) -> Result<Option<NamedPort>, Broken> {
    at.map(report, "a port")?;
    let Some(name_at) = at.field("name") else { return Ok(None) };
    let name = name_at.text(report, "a port's name")?;
    if name.is_empty() {
        return Ok(None);
    }
    if !is_port_name(name) {
        let message = format!("{} cannot be a port's name", quoted(name));
        let remedy = "use up to 15 lower-case letters, digits and -, with a letter";
        return Err(report.error(&name_at, &message, remedy));
    }
    let Some(number_at) = at.field("containerPort") else {
        return Err(report.error(at, "the port has no containerPort", "add containerPort"));
    };
    let number = rule::number(&number_at, report)?;
    let protocol =
        at.field("protocol").map_or(Ok(Protocol::Tcp), |at| rule::protocol(&at, report))?;
    Ok(Some(NamedPort { name: name.to_owned(), protocol, number }))
}

fn read_interface(at: &Place<'_>, report: &mut Report<'_>) -> Result<String, Broken> {
    let name = at.text(report, "an interface")?;
    let is_name = (1..=INTERFACE_BYTES_MAX).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':'));
    if is_name {
        return Ok(name.to_owned());
    }
    let message = format!("{} cannot be an interface's name", quoted(name));
    Err(report.error(at, &message, "use up to 15 letters and digits; until then it has no port"))
}

fn read_mac(at: &Place<'_>, report: &mut Report<'_>) -> Result<Mac, Broken> {
    let text = at.text(report, "an Ethernet address")?;
    let octets: Vec<u8> = text
        .split(':')
        .filter(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .filter_map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    let is_whole = text.split(':').count() == octets.len();
    match <[u8; 6]>::try_from(octets) {
        Ok(mac) if is_whole && mac != [0; 6] && mac[0] & 1 == 0 => Ok(Mac(mac)),
        _ => {
            let message = format!("{} is not a unicast Ethernet address", quoted(text));
            Err(report.error(at, &message, "write it as 02:00:00:00:00:01"))
        }
    }
}
