//! The traffic of a cluster-wide rule (CNP-9), in the words of either version of the API.

use lockgate_dataplane::packet::Protocol;

use super::super::kubernetes::number;
use super::super::read::{only, whole};
use super::super::rule::{IpProtocol, Ports, Traffic};
use crate::manifest::fields::{Broken, Place, Report};
use crate::manifest::problem::quoted;
use crate::manifest::rule::protocol;
use crate::selector::is_port_name;

/// Reads an item of `protocols` (v1alpha2).
pub(super) fn of_protocols(at: &Place<'_>, report: &mut Report<'_>) -> Result<Traffic, Broken> {
    let names = ["tcp", "udp", "sctp", "destinationNamedPort"];
    let (name, at) = only(at, "a protocol", &names, report)?;
    let protocol = match name {
        "tcp" => IpProtocol::TCP,
        "udp" => IpProtocol::UDP,
        "sctp" => IpProtocol::SCTP,
        _ => return named(&at, report),
    };
    at.closed(report, "a protocol", &["destinationPort"])?;
    let target_ports = match at.field("destinationPort") {
        None => None,
        Some(at) => Some(vec![match only(&at, "a port", &["number", "range"], report)? {
            ("number", at) => single(&at, report)?,
            (_, at) => {
                at.closed(report, "a range", &["start", "end"])?;
                range(&at, report)?
            }
        }]),
    };
    Ok(Traffic { protocol: Some(protocol), target_ports, ..Traffic::default() })
}

/// Reads an item of `ports` (v1alpha1).
pub(super) fn of_ports(at: &Place<'_>, report: &mut Report<'_>) -> Result<Traffic, Broken> {
    let names = ["portNumber", "portRange", "namedPort"];
    let (name, at) = only(at, "a port", &names, report)?;
    let ports = match name {
        "portNumber" => {
            at.closed(report, "a port", &["protocol", "port"])?;
            let Some(at) = at.field("port") else { return Err(missing(&at, "port", report)) };
            single(&at, report)
        }
        "portRange" => {
            at.closed(report, "a range", &["protocol", "start", "end"])?;
            range(&at, report)
        }
        _ => return named(&at, report),
    };
    let protocol = at.field("protocol").map_or(Ok(Protocol::Tcp), |at| protocol(&at, report));
    Ok(Traffic {
        protocol: Some(number(protocol?)),
        target_ports: Some(vec![ports?]),
        ..Traffic::default()
    })
}

/// What a pod calls by a name, in whichever protocol it has it.
fn named(at: &Place<'_>, report: &mut Report<'_>) -> Result<Traffic, Broken> {
    let name = at.text(report, "a port's name")?;
    if !is_port_name(name) {
        let message = format!("{} cannot be a port's name", quoted(name));
        let remedy = "use up to 15 lower-case letters, digits and -, with a letter";
        return Err(report.error(at, &message, remedy));
    }
    let target_ports = Some(vec![Ports::Named(name.to_owned())]);
    Ok(Traffic { target_ports, ..Traffic::default() })
}

/// Whether it is about a port's name.
pub(super) fn is_named(traffic: &Traffic) -> bool {
    let named = |ports: &Vec<Ports>| ports.iter().any(|one| matches!(one, Ports::Named(_)));
    traffic.target_ports.as_ref().is_some_and(named)
}

fn single(at: &Place<'_>, report: &mut Report<'_>) -> Result<Ports, Broken> {
    let port = whole(at, "a port", (1, u16::MAX), report)?;
    Ok(Ports::Range(port, port))
}

fn range(at: &Place<'_>, report: &mut Report<'_>) -> Result<Ports, Broken> {
    let mut end = |name| match at.field(name) {
        Some(at) => whole(&at, "a port", (1, u16::MAX), report),
        None => Err(missing(at, name, report)),
    };
    let (start, last) = (end("start"), end("end"));
    match (start?, last?) {
        (start, end) if start < end => Ok(Ports::Range(start, end)),
        (start, end) => {
            let message = format!("start {start} is not below end {end}");
            Err(report.error(at, &message, "write the lower port as start"))
        }
    }
}

fn missing(at: &Place<'_>, name: &str, report: &mut Report<'_>) -> Broken {
    report.error(&at.missing(name), &format!("{name} is missing"), &format!("add {name}"))
}
