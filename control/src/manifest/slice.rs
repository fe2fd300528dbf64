//! `EndpointSlice`s as written: who backs a service, ready or not, and at which ports.
//!
//! Rules by services mean what slices list (`inventory::Backends`). What cannot be read of one makes
//! it not whole: what allows by its service then sees what is left, what denies takes it to hold
//! every address. One that does not say of which service it is may be of any of its namespace.

use std::net::IpAddr;
use std::sync::Arc;

use lockgate_dataplane::packet::Protocol;
use serde::{Deserialize, Serialize};

use super::fields::{Broken, Place, Report, all};
use super::fronts::is_anothers;
use super::metadata::Metadata;
use super::problem::quoted;
use super::standing::SliceEndpoint;
use super::{address, labels, rule, service};

const FIELDS: [&str; 6] = ["apiVersion", "kind", "metadata", "addressType", "endpoints", "ports"];
const ENDPOINT_FIELDS: [&str; 9] = [
    "addresses",
    "conditions",
    "hostname",
    "targetRef",
    "nodeName",
    "zone",
    "hints",
    "deprecatedTopology",
    "topology",
];
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

const UNREAD: &str = "until then what allows by its service sees only what is readable of it, and \
                      what denies takes it to hold every address";
const ANY_SERVICE: &str = "until then it may be of any service: what allows by one does not see \
                           it, and what denies takes it to hold every address";

/// A part of who backs a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// Who it is.
    pub metadata: Metadata,
    /// Of which service; `None` is of none, unless it is not whole: then it may be of any.
    pub service: Option<Arc<str>>,
    /// Every address, of those that are not ready too, in the order written.
    pub addresses: Vec<IpAddr>,
    /// Who of them may be given to a Service's clients, and how each stands.
    pub endpoints: Vec<SliceEndpoint>,
    /// Where they serve; none listed is nowhere.
    pub ports: Vec<SlicePort>,
    /// Whether that is all that it says.
    pub is_whole: bool,
}

/// A port of everyone in a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlicePort {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// TCP, UDP or SCTP.
    #[serde(with = "super::protocol")]
    pub protocol: Protocol,
    /// Its number; `None` is every port.
    pub number: Option<u16>,
}

/// The version of IP of the addresses of a slice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AddressType {
    V4,
    V6,
    /// Names, which are nobody here.
    Names,
}

impl EndpointSlice {
    /// Reads a slice; this cannot fail, only close.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let labels = labels::of_object(root, ANY_SERVICE, report);
        let (mut found, mut ports) = (Found::default(), Vec::new());
        let is_read = report.within(UNREAD, |report| {
            let is_closed = root.closed(report, "an EndpointSlice", &FIELDS);
            let are_addresses = read_addresses(root, &mut found, report);
            let are_ports = read_ports(root, &mut ports, report);
            is_closed.and(are_addresses).and(are_ports)
        });
        let is_known = labels.is_ok() && !metadata.key.is_lost();
        let named = labels.ok().and_then(|labels| labels.get(SERVICE_LABEL).map(Arc::from));
        let service = named.filter(|_| is_known);
        if !is_known {
            // Nobody can tell whose they are.
            found = Found::default();
        }
        if is_anothers(root) {
            // Whom a rule means may be read of it all the same.
            found.endpoints = Vec::new();
        }
        let Found { addresses, endpoints } = found;
        let is_whole = is_known && is_read.is_ok();
        Self { metadata, service, addresses, endpoints, ports, is_whole }
    }
}

/// What endpoints say.
#[derive(Default)]
struct Found {
    addresses: Vec<IpAddr>,
    endpoints: Vec<SliceEndpoint>,
}

fn read_addresses(
    root: &Place<'_>,
    found: &mut Found,
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    let kind = address_type(root, report)?;
    let Some(at) = root.field("endpoints") else { return Ok(()) };
    let mut result = Ok(());
    for endpoint in at.items(report, "endpoints")? {
        result = result.and(read_endpoint(&endpoint, kind, found, report));
    }
    if kind == AddressType::Names {
        report.warning(root, "its endpoints are names, which are not enforced", "list addresses");
        return Err(Broken);
    }
    result
}

fn address_type(root: &Place<'_>, report: &mut Report<'_>) -> Result<AddressType, Broken> {
    let Some(at) = root.field("addressType") else {
        let at = root.missing("addressType");
        return Err(report.error(&at, "the slice has no addressType", "write IPv4 or IPv6"));
    };
    match at.text(report, "addressType")? {
        "IPv4" => Ok(AddressType::V4),
        "IPv6" => Ok(AddressType::V6),
        "FQDN" => Ok(AddressType::Names),
        other => {
            let message = format!("{} is not a type of addresses", quoted(other));
            Err(report.error(&at, &message, "write IPv4 or IPv6"))
        }
    }
}

fn read_endpoint(
    at: &Place<'_>,
    kind: AddressType,
    found: &mut Found,
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    let mut result = at.closed(report, "an endpoint", &ENDPOINT_FIELDS);
    let Some(list) = at.field("addresses") else {
        let at = at.missing("addresses");
        return Err(report.error(&at, "the endpoint has no addresses", "add addresses"));
    };
    let mut first = None;
    for item in list.items(report, "addresses")? {
        match read_address(&item, kind, report) {
            Ok(Some(address)) => {
                found.addresses.push(address);
                first.get_or_insert(address);
            }
            Ok(None) => {}
            Err(Broken) => result = Err(Broken),
        }
    }
    // What is odd about the endpoint may be what it stands for.
    let first = first.filter(|_| result.is_ok());
    found.endpoints.extend(first.and_then(|first| SliceEndpoint::read(at, first, report)));
    result
}

fn read_address(
    at: &Place<'_>,
    kind: AddressType,
    report: &mut Report<'_>,
) -> Result<Option<IpAddr>, Broken> {
    if kind == AddressType::Names {
        return at.text(report, "a name").map(|_| None);
    }
    let address = address::any_address(at, report)?;
    if address.is_ipv4() == (kind == AddressType::V4) {
        return Ok(Some(address));
    }
    let message = format!("{address} is not of the slice's addressType");
    Err(report.error(at, &message, "make two slices of it"))
}

fn read_ports(
    root: &Place<'_>,
    found: &mut Vec<SlicePort>,
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    let Some(at) = root.field("ports") else { return Ok(()) };
    let items = at.items(report, "ports")?;
    let read: Vec<_> = items.iter().map(|item| port(item, report)).collect();
    found.extend(read.iter().flatten().cloned());
    all(read.into_iter()).map(|_| ())
}

fn port(at: &Place<'_>, report: &mut Report<'_>) -> Result<SlicePort, Broken> {
    at.closed(report, "a slice's port", &["name", "protocol", "port", "appProtocol"])?;
    let name = service::name(at, report);
    let protocol = service::protocol(at, report);
    let number = at.field("port").map(|at| rule::number(&at, report)).transpose();
    Ok(SlicePort { name: name?, protocol: protocol?, number: number? })
}
