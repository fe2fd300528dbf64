//! Pods as written.
//!
//! Read open: a pod has many fields that policy does not need. What it does need is read closed,
//! for what is unknown must neither let a pod in nor free it (NP-59):
//!
//! | what cannot be read | what becomes of it |
//! |---|---|
//! | labels, namespace, service account, `hostNetwork`, `phase` | the pod is denied everything (`inventory::Census`) |
//! | a field that may be one of them misspelt | the same, where that one is absent |
//! | a port of a container | the pod has no named ports: another would take its name |
//! | an address | it is not used |

use std::net::IpAddr;
use std::sync::Arc;

use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::Protocol;
use serde::{Deserialize, Serialize};

use super::account::DEFAULT_ACCOUNT;
use super::address;
use super::fields::{Broken, Place, Report, all};
use super::host_port::HostPort;
use super::labels;
use super::metadata::{FIELDS, Metadata};
use super::problem::quoted;
use super::rule;
use super::tree::Value;
use crate::selector::{Labels, is_dns_subdomain, is_port_name};

/// Names the interface at the switch's side of a pod of this node.
pub const INTERFACE_ANNOTATION: &str = "lockgate.dev/interface";

/// Where problems say that the interface is written.
pub const INTERFACE_FIELD: &str = "metadata.annotations[lockgate.dev/interface]";
/// Gives the pod's Ethernet address, where the kernel is not to be asked.
pub const MAC_ANNOTATION: &str = "lockgate.dev/mac";
/// The longest name of an interface (`IFNAMSIZ` less its end).
const INTERFACE_BYTES_MAX: usize = 15;

const DENIED: &str = "until then the pod is denied everything";
const NO_PORTS: &str = "until then the pod has no named ports";

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Who it is.
    pub metadata: Metadata,
    /// What selectors see; `None` where it is not known what the pod is to policy.
    pub labels: Option<Arc<Labels>>,
    /// The service account that it acts as, of its own namespace; of no meaning where its labels
    /// are not known.
    pub account: Arc<str>,
    /// It is in its node's network namespace: never selected, met by address only (NP-41).
    pub host_network: bool,
    /// It has ended (`Succeeded`, `Failed`): it has no address any more (NP-53).
    pub is_completed: bool,
    /// Its addresses, in the order of `status.podIPs`: at most one of each family, unless it is
    /// in its node's network namespace.
    pub addresses: Arc<[IpAddr]>,
    /// The addresses of its node.
    pub host_ips: Arc<[IpAddr]>,
    /// Its named ports; of two with one name and protocol the first counts.
    pub ports: Arc<[NamedPort]>,
    /// Ports of its node that lead to it; rare.
    #[serde(default)]
    pub host_ports: Box<[HostPort]>,
    /// Whether those are all it has: of one that cannot be read nobody knows what the names mean.
    pub has_known_ports: bool,
    /// The interface at the switch's side, for a pod of this node.
    #[serde(skip)]
    pub interface: Option<Arc<str>>,
    /// Its Ethernet address, where written.
    #[serde(skip)]
    pub mac: Option<Mac>,
}

/// A container's port that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamedPort {
    /// Its name.
    pub name: Arc<str>,
    /// TCP, UDP or SCTP.
    #[serde(with = "super::protocol")]
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
}

impl Pod {
    /// The number of a named port (NP-22).
    #[must_use]
    pub fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let named = |port: &&NamedPort| *port.name == *name && port.protocol == protocol;
        self.ports.iter().find(named).map(|port| port.number)
    }

    /// Reads a pod.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let is_closed = report.within(DENIED, |report| root.closed(report, "a Pod", &FIELDS));
        let labels = labels::of_object(root, DENIED, report);
        let (spec, status) = (root.field("spec"), root.field("status"));
        // A part under an unknown name is no absent part.
        let absent = is_closed.map(|()| false);
        let host_network = spec.as_ref().map_or(absent, |at| host_network(at, report));
        let is_completed = status.as_ref().map_or(absent, |at| is_completed(at, report));
        let account =
            spec.as_ref().map_or_else(|| Ok(DEFAULT_ACCOUNT.into()), |at| account(at, report));
        let is_known = !metadata.key.is_lost()
            && host_network.is_ok()
            && is_completed.is_ok()
            && account.is_ok();
        let host_network = host_network.unwrap_or_default();
        let status = status.as_ref();
        let host_ips = status.map_or_else(Vec::new, |at| address::of_node(at, report));
        let of_pod = |at| address::of_pod(at, host_network, &host_ips, report);
        let addresses = status.map_or_else(Vec::new, of_pod);
        let ports = spec.as_ref().map_or(Ok(Ports::default()), |at| ports(at, report));
        let has_known_ports = ports.is_ok();
        let Ports { named: ports, host } = ports.unwrap_or_default();
        let annotations = annotations(root, report);
        let annotation = |name: &str| annotations.as_ref().and_then(|at| at.field(name));
        Self {
            labels: labels.ok().filter(|_| is_known).map(Arc::new),
            account: account.unwrap_or_else(|Broken| DEFAULT_ACCOUNT.into()),
            host_network,
            is_completed: is_completed.unwrap_or_default(),
            addresses: addresses.into(),
            host_ips: host_ips.into(),
            has_known_ports,
            ports: ports.into(),
            host_ports: host.into(),
            interface: annotation(INTERFACE_ANNOTATION)
                .and_then(|at| read_interface(&at, report).ok().map(Arc::from)),
            mac: annotation(MAC_ANNOTATION).and_then(|at| read_mac(&at, report).ok()),
            metadata,
        }
    }
}

fn host_network(spec: &Place<'_>, report: &mut Report<'_>) -> Result<bool, Broken> {
    report.within(DENIED, |report| {
        let read =
            ["hostNetwork", "containers", "initContainers", "serviceAccountName", "serviceAccount"];
        spec.unmistaken(report, "spec", &read)?;
        let Some(at) = spec.field("hostNetwork") else { return Ok(false) };
        match at.node.value {
            Value::Bool(value) => Ok(value),
            _ => Err(at.mistyped(report, "hostNetwork", "true or false")),
        }
    })
}

/// Reads `serviceAccountName`, or what it was called before.
fn account(spec: &Place<'_>, report: &mut Report<'_>) -> Result<Arc<str>, Broken> {
    report.within(DENIED, |report| {
        let given = |name| spec.field(name).filter(|at| at.node.text() != Some(""));
        let Some(at) = given("serviceAccountName").or_else(|| given("serviceAccount")) else {
            return Ok(DEFAULT_ACCOUNT.into());
        };
        let name = at.text(report, "serviceAccountName")?;
        if is_dns_subdomain(name) {
            return Ok(name.into());
        }
        let message = format!("{} cannot be a service account", quoted(name));
        Err(report.error(&at, &message, "use up to 253 lower-case letters, digits and -"))
    })
}

fn is_completed(status: &Place<'_>, report: &mut Report<'_>) -> Result<bool, Broken> {
    report.within(DENIED, |report| {
        let read = ["phase", "podIP", "podIPs", "hostIP", "hostIPs"];
        status.unmistaken(report, "status", &read)?;
        let Some(at) = status.field("phase") else { return Ok(false) };
        match at.text(report, "phase")? {
            "Succeeded" | "Failed" => Ok(true),
            "Pending" | "Running" | "Unknown" | "" => Ok(false),
            other => {
                let message = format!("{} is not a phase of a pod", quoted(other));
                let remedy = "write Pending, Running, Succeeded, Failed or Unknown";
                Err(report.error(&at, &message, remedy))
            }
        }
    })
}

fn annotations<'n>(root: &Place<'n>, report: &mut Report<'_>) -> Option<Place<'n>> {
    let at = root.field("metadata")?.field("annotations")?;
    let is_map =
        report.within("until then it has no port", |report| at.map(report, "annotations").is_ok());
    is_map.then_some(at)
}

/// The ports of a pod that matter to somebody.
#[derive(Default)]
struct Ports {
    named: Vec<NamedPort>,
    host: Vec<HostPort>,
}

/// The ports of what keeps running beside the pod: its containers, and its init
/// containers that restart always (sidecars). Other init containers end before the pod serves.
fn ports(spec: &Place<'_>, report: &mut Report<'_>) -> Result<Ports, Broken> {
    report.within(NO_PORTS, |report| {
        let mut found = Ports::default();
        let mut result = Ok(());
        for list in ["containers", "initContainers"] {
            let Some(at) = spec.field(list) else { continue };
            let Ok(containers) = at.items(report, list) else {
                result = Err(Broken);
                continue;
            };
            for container in containers {
                let is_read = container_ports(&container, list, &mut found, report);
                result = result.and(is_read);
            }
        }
        result.map(|()| found)
    })
}

fn container_ports(
    container: &Place<'_>,
    list: &str,
    found: &mut Ports,
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    container.unmistaken(report, "a container", &["ports", "restartPolicy"])?;
    if list == "initContainers" && !is_sidecar(container, report)? {
        return Ok(());
    }
    let Some(at) = container.field("ports") else { return Ok(()) };
    let items = at.items(report, "ports")?;
    let ports = all(items.iter().map(|item| Ok((named_port(item, report)?, item))))?;
    for (port, item) in ports {
        found.host.extend(HostPort::read(item, report));
        if let Some(port) = port {
            add_port(&mut found.named, port, item, report);
        }
    }
    Ok(())
}

fn is_sidecar(container: &Place<'_>, report: &mut Report<'_>) -> Result<bool, Broken> {
    let Some(at) = container.field("restartPolicy") else { return Ok(false) };
    match at.text(report, "restartPolicy")? {
        "Always" => Ok(true),
        "OnFailure" | "Never" | "" => Ok(false),
        other => {
            let message = format!("{} is not a restartPolicy", quoted(other));
            Err(report.error(&at, &message, "write Always, or leave it out"))
        }
    }
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
    let fields = ["name", "containerPort", "protocol", "hostPort", "hostIP"];
    at.closed(report, "a container's port", &fields)?;
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
        let at = at.missing("containerPort");
        return Err(report.error(&at, "the port has no containerPort", "add containerPort"));
    };
    let number = rule::number(&number_at, report)?;
    let protocol =
        at.field("protocol").map_or(Ok(Protocol::Tcp), |at| rule::protocol(&at, report))?;
    Ok(Some(NamedPort { name: name.into(), protocol, number }))
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
