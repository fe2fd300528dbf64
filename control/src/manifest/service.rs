//! Services as written: whom they select and at which ports they serve. What they mean to rules is
//! in their `EndpointSlice`s.
//!
//! Read open. Where traffic enters a service is not policy's, and is read apart (`fronts`).

use lockgate_dataplane::packet::Protocol;
use serde::{Deserialize, Serialize};

use super::fields::{Broken, Place, Report, all};
use super::fronts::Fronts;
use super::metadata::{FIELDS, Metadata};
use super::problem::quoted;
use super::tree::Value;
use super::{labels, rule};
use crate::selector::{Labels, is_port_name};

const UNREAD: &str = "until then nobody can tell whom it selects, and at which ports";

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Who it is.
    pub metadata: Metadata,
    /// The labels of the pods that back it; `None` where something else says who does.
    pub selector: Option<Labels>,
    /// Where it serves.
    pub ports: Vec<ServicePort>,
    /// Whether all of that could be read; where not, nothing of it is here.
    pub is_whole: bool,
    /// Where it is asked.
    pub fronts: Fronts,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServicePort {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// TCP, UDP or SCTP.
    #[serde(with = "super::protocol")]
    pub protocol: Protocol,
    /// The service's own.
    pub number: u16,
    /// Where the pods serve it.
    pub target: TargetPort,
}

/// A port of the pods of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TargetPort {
    /// The same of all.
    Number(u16),
    /// What each calls by this name.
    Named(String),
}

impl Service {
    /// Reads a service; this cannot fail, only close.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let read = report.within(UNREAD, |report| {
            let is_closed = root.closed(report, "a Service", &FIELDS);
            let spec = root.field("spec");
            let read = spec.map_or(Ok((None, Vec::new())), |at| read_spec(&at, report));
            is_closed.and(read)
        });
        let is_whole = read.is_ok();
        let (selector, ports) = read.unwrap_or_default();
        let fronts = Fronts::read(root, report);
        Self { metadata, selector, ports, is_whole, fronts }
    }
}

fn read_spec(
    spec: &Place<'_>,
    report: &mut Report<'_>,
) -> Result<(Option<Labels>, Vec<ServicePort>), Broken> {
    let is_closed = spec.unmistaken(report, "spec", &["selector", "ports"]);
    let selector = spec.field("selector").map(|at| labels::map(&at, report)).transpose();
    let ports = spec.field("ports").map_or(Ok(Vec::new()), |at| {
        let items = at.items(report, "ports")?;
        all(items.iter().map(|item| port(item, report)))
    });
    is_closed?;
    // An empty selector is how an absent one is often written.
    Ok((selector?.filter(|labels| labels.iter().next().is_some()), ports?))
}

fn port(at: &Place<'_>, report: &mut Report<'_>) -> Result<ServicePort, Broken> {
    let fields = ["name", "protocol", "port", "targetPort", "nodePort", "appProtocol"];
    at.closed(report, "a service's port", &fields)?;
    let name = name(at, report);
    let protocol = protocol(at, report);
    let Some(number_at) = at.field("port") else {
        let at = at.missing("port");
        return Err(report.error(&at, "the service's port has no port", "add port"));
    };
    let number = rule::number(&number_at, report)?;
    let target = match at.field("targetPort") {
        Some(at) => target(&at, number, report)?,
        None => TargetPort::Number(number),
    };
    Ok(ServicePort { name: name?, protocol: protocol?, number, target })
}

/// The name of a port, where it has one.
pub(super) fn name(at: &Place<'_>, report: &mut Report<'_>) -> Result<Option<String>, Broken> {
    let Some(at) = at.field("name") else { return Ok(None) };
    let name = at.text(report, "a port's name")?;
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

/// The protocol of a port: TCP where it says none.
pub(super) fn protocol(at: &Place<'_>, report: &mut Report<'_>) -> Result<Protocol, Broken> {
    let at = at.field("protocol").filter(|at| at.node.text() != Some(""));
    at.map_or(Ok(Protocol::Tcp), |at| rule::protocol(&at, report))
}

/// Nothing, or 0, is the service's own number.
fn target(at: &Place<'_>, own: u16, report: &mut Report<'_>) -> Result<TargetPort, Broken> {
    match &at.node.value {
        Value::Integer(0) => Ok(TargetPort::Number(own)),
        Value::Text(name) if name.is_empty() => Ok(TargetPort::Number(own)),
        Value::Text(name) if is_port_name(name) => Ok(TargetPort::Named(name.clone())),
        Value::Text(name) => {
            let message = format!("{} cannot be a port's name", quoted(name));
            let remedy = "use up to 15 lower-case letters, digits and -, with a letter";
            Err(report.error(at, &message, remedy))
        }
        _ => rule::number(at, report).map(TargetPort::Number),
    }
}
