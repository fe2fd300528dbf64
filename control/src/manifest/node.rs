//! Nodes as written: their labels, and which addresses are theirs.
//!
//! Read open, as pods are: what policy needs is read closed, and a node says whether it is whole.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::fields::{Broken, Place, Report};
use super::metadata::{FIELDS, Metadata};
use super::problem::quoted;
use super::{address, block, labels, rule};
use crate::selector::Labels;

const UNSEEN: &str = "until then what allows by its labels does not match it, and what denies does";
const UNREAD: &str = "until then what allows sees only what is readable of its addresses, and what \
                      denies takes it to have every address";
const NO_RANGE: &str = "until then the range is not known";

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Who it is; it has no namespace.
    pub metadata: Metadata,
    /// Its labels; `None` where they cannot be read: what denies must take them to match.
    pub labels: Option<Labels>,
    /// Its addresses as far as they can be read, in the order written, each once (CNP-8).
    pub addresses: Vec<IpAddr>,
    /// Whether these are all: where not, what denies must take it to have every address.
    pub is_whole: bool,
    /// Where its pods' addresses come from.
    pub pod_cidrs: Vec<IpNet>,
}

impl Node {
    /// Reads a node; this cannot fail, only close.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let is_closed =
            report.within(UNREAD, |report| root.closed(report, "a Node", &FIELDS)).is_ok();
        let labels = labels::of_object(root, UNSEEN, report).ok();
        let mut addresses = Vec::new();
        let status = root.field("status");
        let is_read = report.within(UNREAD, |report| {
            status.as_ref().map_or(Ok(()), |at| read_addresses(at, &mut addresses, report))
        });
        let spec = root.field("spec");
        let pod_cidrs = report.within(NO_RANGE, |report| {
            spec.as_ref().map_or_else(Vec::new, |at| pod_cidrs(at, report))
        });
        Self { metadata, labels, addresses, is_whole: is_closed && is_read.is_ok(), pod_cidrs }
    }
}

fn read_addresses(
    status: &Place<'_>,
    found: &mut Vec<IpAddr>,
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    status.unmistaken(report, "status", &["addresses"])?;
    let Some(at) = status.field("addresses") else { return Ok(()) };
    let mut result = Ok(());
    for item in at.items(report, "addresses")? {
        match read_address(&item, report) {
            Ok(Some(address)) if !found.contains(&address) => found.push(address),
            Ok(_) => {}
            Err(Broken) => result = Err(Broken),
        }
    }
    result
}

/// Reads one of the addresses; `None` is a name.
fn read_address(at: &Place<'_>, report: &mut Report<'_>) -> Result<Option<IpAddr>, Broken> {
    at.closed(report, "a node's address", &["type", "address"])?;
    let missing = |report: &mut Report<'_>, name: &str| {
        let message = format!("the address has no {name}");
        report.error(&at.missing(name), &message, &format!("add {name}"))
    };
    let Some(kind) = at.field("type") else { return Err(missing(report, "type")) };
    let Some(address) = at.field("address") else { return Err(missing(report, "address")) };
    match kind.text(report, "type")? {
        "InternalIP" | "ExternalIP" => address::any_address(&address, report).map(Some),
        "Hostname" | "InternalDNS" | "ExternalDNS" => {
            let name = address.text(report, "address")?;
            // Hosts without a name call themselves by their address.
            let is_address = block::address(name).is_some();
            if is_address { address::any_address(&address, report).map(Some) } else { Ok(None) }
        }
        other => {
            let message = format!("{} is not a type of a node's address", quoted(other));
            Err(report.error(&kind, &message, "write InternalIP or ExternalIP"))
        }
    }
}

/// Reads `podCIDRs`, or `podCIDR` where there is none.
fn pod_cidrs(spec: &Place<'_>, report: &mut Report<'_>) -> Vec<IpNet> {
    if spec.unmistaken(report, "spec", &["podCIDRs", "podCIDR"]).is_err() {
        return Vec::new();
    }
    let places = match spec.field("podCIDRs") {
        Some(at) => at.items(report, "podCIDRs").unwrap_or_default(),
        None => spec.field("podCIDR").filter(|at| at.node.text() != Some("")).into_iter().collect(),
    };
    places.iter().filter_map(|at| rule::cidr(at, report).ok()).collect()
}
