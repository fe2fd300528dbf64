//! The peers of a cluster-wide rule (CNP-6).

use lockgate_dataplane::policy::ruleset::Direction;

use super::super::read::{only, some_at_most};
use super::super::rule::Side;
use super::super::selection::{Selection, Within};
use super::Dialect;
use crate::expression::Expression;
use crate::manifest::fields::{Broken, Place, Report, all};
use crate::manifest::labels;
use crate::manifest::problem::quoted;
use crate::manifest::rule::cidr;

/// CIDRs, or names of domains, that one peer may have.
const ENTRIES_MAX: usize = 25;

const INGRESS: [&str; 2] = ["namespaces", "pods"];
const EGRESS: [&str; 5] = ["namespaces", "pods", "nodes", "networks", "domainNames"];

/// A peer, and whether it has pods, which alone have named ports.
pub(super) struct Peer {
    pub(super) side: Side,
    pub(super) is_pods: bool,
}

/// Reads a peer.
pub(super) fn peer(
    at: &Place<'_>,
    direction: Direction,
    dialect: &Dialect,
    report: &mut Report<'_>,
) -> Result<Peer, Broken> {
    let names: &[&str] = match direction {
        Direction::Ingress => &INGRESS,
        Direction::Egress => &EGRESS,
    };
    let (name, at) = only(at, "a peer", names, report)?;
    let side = match name {
        "namespaces" => {
            let within = Within::selected(&labels::selector(&at, report)?);
            Side { selection: Some(Selection::every_pod(within)), ..Side::default() }
        }
        "pods" => Side { selection: Some(pods(&at, dialect, report)?), ..Side::default() },
        "nodes" => {
            let nodes = Expression::from(&labels::selector(&at, report)?);
            Side { nodes: Some(nodes), ..Side::default() }
        }
        "networks" => {
            let items = some_at_most(&at, "networks", ENTRIES_MAX, report)?;
            let nets = all(items.iter().map(|item| cidr(item, report)))?;
            Side { nets: Some(nets), ..Side::default() }
        }
        _ => return Err(domains(&at, report)),
    };
    Ok(Peer { side, is_pods: INGRESS.contains(&name) })
}

/// Pods by their namespace's labels and their own; nothing said of namespaces is all of them.
pub(super) fn pods(
    at: &Place<'_>,
    dialect: &Dialect,
    report: &mut Report<'_>,
) -> Result<Selection, Broken> {
    at.closed(report, "a selection of pods", &["namespaceSelector", "podSelector"])?;
    let namespaces = match at.field("namespaceSelector") {
        Some(at) => labels::selector(&at, report),
        None if dialect.needs_namespaces => Err(missing(at, "namespaceSelector", report)),
        None => Ok(crate::selector::LabelSelector::default()),
    };
    let pods = match at.field("podSelector") {
        Some(at) => labels::selector(&at, report),
        None => Err(missing(at, "podSelector", report)),
    };
    Ok(Selection::pods(Within::selected(&namespaces?), Expression::from(&pods?)))
}

fn missing(at: &Place<'_>, name: &str, report: &mut Report<'_>) -> Broken {
    let message = format!("the selection of pods has no {name}");
    report.error(&at.missing(name), &message, &format!("add {name}; {{}} is all"))
}

/// Names of domains are read and, until names are followed, not enforced.
fn domains(at: &Place<'_>, report: &mut Report<'_>) -> Broken {
    let Ok(items) = some_at_most(at, "domainNames", ENTRIES_MAX, report) else { return Broken };
    for item in &items {
        let Ok(name) = item.text(report, "the name of a domain") else { continue };
        if !is_domain(name) {
            let message = format!("{} cannot be the name of a domain", quoted(name));
            report.error(item, &message, "write e.g. example.org or *.example.org");
        }
    }
    report.error(at, "domainNames are not enforced", "write the addresses as networks")
}

/// Two labels at least, a dot at the end or not; `*.` stands for more labels (CNP-12).
fn is_domain(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        is_end(bytes.first())
            && is_end(bytes.last())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
    };
    name.contains('.') && name.split('.').all(is_label)
}
