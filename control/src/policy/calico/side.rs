//! One end of a rule of Calico: `source` or `destination`.

use std::sync::Arc;

use lockgate_dataplane::policy::ruleset::Direction;

use super::super::read::{at_most, expression, nets};
use super::super::rule::{Ports, Side};
use super::super::selection::{Accounts, Selection, Service, Within};
use super::selector;
use super::traffic::ports;
use crate::expression::Expression;
use crate::manifest::fields::{Broken, Place, Report, all};
use crate::manifest::problem::quoted;
use crate::selector::{is_dns_label, is_dns_subdomain};

/// Nets that a list may have.
const NETS_MAX: usize = 256;
/// Ports that a list may have.
const PORTS_MAX: usize = 50;

const FIELDS: [&str; 9] = [
    "nets",
    "notNets",
    "selector",
    "notSelector",
    "namespaceSelector",
    "ports",
    "notPorts",
    "serviceAccounts",
    "services",
];

/// An end, and the ports that stand with it.
#[derive(Default)]
pub(super) struct End {
    pub(super) side: Side,
    pub(super) ports: Option<Vec<Ports>>,
    pub(super) not_ports: Vec<Ports>,
}

/// Which end it is.
pub(super) struct Role<'r> {
    pub(super) direction: Direction,
    /// That of the pod which the policy selects.
    pub(super) is_own: bool,
    /// The policy's namespace, if it has one that is known.
    pub(super) namespace: Option<&'r Arc<str>>,
}

/// Reads an end.
pub(super) fn end(at: &Place<'_>, role: &Role<'_>, report: &mut Report<'_>) -> Result<End, Broken> {
    let is_closed = at.closed(report, "an end of a rule", &FIELDS);
    let mut addresses = |name| list(at, name, NETS_MAX, report, nets);
    let (inside, outside) = (addresses("nets"), addresses("notNets"));
    let mut numbers = |name| {
        list(at, name, PORTS_MAX, report, |items, report| {
            all(items.iter().map(|item| ports(item, report)))
        })
    };
    let (listed, unlisted) = (numbers("ports"), numbers("notPorts"));
    let not_selector = selector(at, "notSelector", report);
    let selection = selection(at, role, report);
    let service = at.field("services").map(|at| service(&at, role, report)).transpose();
    is_closed?;
    let side = Side {
        nets: inside?,
        not_nets: outside?.unwrap_or_default(),
        selection: selection?,
        not_selector: not_selector?,
        service: service?,
        nodes: None,
    };
    let end = End { side, ports: listed?, not_ports: unlisted?.unwrap_or_default() };
    if end.side.not_nets.iter().any(|net| net.prefix_len() == 0) {
        let message = "no address is outside of all: the rule matches nothing";
        let place = at.field("notNets").unwrap_or_else(|| at.missing("notNets"));
        report.warning(&place, message, "name a smaller net");
    }
    check_alone(at, &end, role, report)?;
    Ok(end)
}

/// A list of one of the parts. An empty one is as good as none, as Calico reads it.
fn list<T>(
    at: &Place<'_>,
    name: &str,
    limit: usize,
    report: &mut Report<'_>,
    read: impl Fn(&[Place<'_>], &mut Report<'_>) -> Result<Vec<T>, Broken>,
) -> Result<Option<Vec<T>>, Broken> {
    let Some(at) = at.field(name) else { return Ok(None) };
    let items = at_most(&at, name, limit, report)?;
    if items.is_empty() {
        let message = format!("an empty list of {name} restricts nothing");
        report.warning(&at, &message, "remove it, or name some");
        return Ok(None);
    }
    read(&items, report).map(Some)
}

/// Who is selected by labels. In a policy with a namespace each such part is about that
/// namespace, unless another is said.
fn selection(
    at: &Place<'_>,
    role: &Role<'_>,
    report: &mut Report<'_>,
) -> Result<Option<Selection>, Broken> {
    let labels = selector(at, "selector", report);
    let namespaces = namespaces(at, report);
    let accounts = at.field("serviceAccounts").map_or(Ok(None), |at| accounts(&at, report));
    let (labels, namespaces, accounts) = (labels?, namespaces?, accounts?);
    let is_negated = at.field("notSelector").is_some_and(|at| at.node.text() != Some(""));
    let is_about_endpoints = labels.is_some()
        || namespaces.is_some()
        || accounts.is_some()
        || (is_negated && role.namespace.is_some());
    let own = role.namespace.map(|namespace| Within::Namespace(namespace.clone()));
    Ok(is_about_endpoints.then(|| Selection {
        within: namespaces.or(own).unwrap_or(Within::Anywhere),
        labels: labels.unwrap_or(Expression::All),
        accounts,
        takes_sets: true,
    }))
}

/// `global()` alone is what is in no namespace.
fn namespaces(at: &Place<'_>, report: &mut Report<'_>) -> Result<Option<Within>, Broken> {
    let at = at.field("namespaceSelector").filter(|at| at.node.text() != Some(""));
    let Some(at) = at else { return Ok(None) };
    match expression(&at, report)? {
        Expression::Global => Ok(Some(Within::Global)),
        read if read.says_global() => Err(report.error(
            &at,
            "global() stands alone in a namespaceSelector",
            "write global() alone, and its labels as the selector",
        )),
        read => Ok(Some(Within::Namespaces(read.of_namespaces()))),
    }
}

fn accounts(at: &Place<'_>, report: &mut Report<'_>) -> Result<Option<Accounts>, Broken> {
    at.closed(report, "serviceAccounts", &["names", "selector"])?;
    let labels = selector(at, "selector", report);
    let names = list(at, "names", usize::MAX, report, |items, report| {
        all(items.iter().map(|item| {
            let name = item.text(report, "the name of a service account")?;
            checked(name, item, is_dns_subdomain(name), report)
        }))
    });
    let (labels, names) = (labels?, names?);
    if labels.is_none() && names.is_none() {
        let message =
            "serviceAccounts asks for no name and no label: it is as if it were not there";
        report.warning(at, message, "name accounts, or remove it");
    }
    let labels = labels.map(|labels| labels.of_accounts());
    let is_some = labels.is_some() || names.is_some();
    Ok(is_some.then(|| Accounts { names: names.unwrap_or_default(), labels }))
}

fn checked(
    name: &str,
    at: &Place<'_>,
    is_name: bool,
    report: &mut Report<'_>,
) -> Result<String, Broken> {
    if is_name {
        return Ok(name.to_owned());
    }
    let message = format!("{} cannot be a name", quoted(name));
    Err(report.error(at, &message, "use lower-case letters, digits and -"))
}

/// A service of the policy's namespace, unless another is said.
fn service(at: &Place<'_>, role: &Role<'_>, report: &mut Report<'_>) -> Result<Service, Broken> {
    at.closed(report, "services", &["name", "namespace"])?;
    let mut text = |name| {
        let at = at.field(name).filter(|at| at.node.text() != Some(""));
        at.map(|at| {
            let text = at.text(report, name)?;
            let is_name = if name == "name" { is_dns_subdomain(text) } else { is_dns_label(text) };
            checked(text, &at, is_name, report)
        })
        .transpose()
    };
    let (name, namespace) = (text("name"), text("namespace"));
    let namespace = namespace?.map(Arc::from).or_else(|| role.namespace.cloned());
    match (name?, namespace) {
        (Some(name), Some(namespace)) => Ok(Service { namespace, name: name.into() }),
        (None, _) => Err(report.error(&at.missing("name"), "the service has no name", "add name")),
        (Some(_), None) => {
            let at = at.missing("namespace");
            let message = "the service has no namespace, nor has the policy";
            Err(report.error(&at, message, "add namespace"))
        }
    }
}

/// A service stands alone at the far end; as the source of ingress it may have ports.
fn check_alone(
    at: &Place<'_>,
    end: &End,
    role: &Role<'_>,
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    if end.side.service.is_none() {
        return Ok(());
    }
    let place = at.missing("services");
    if role.is_own {
        let message = "services are for the far end: not here";
        return Err(report.error(&place, message, "remove services"));
    }
    let Side { nets, not_nets, selection, not_selector, .. } = &end.side;
    let has_more =
        nets.is_some() || !not_nets.is_empty() || selection.is_some() || not_selector.is_some();
    if has_more {
        let message = "services stand beside no selector, no account and no net";
        let remedy = "write the one that means no more than both were to";
        return Err(report.error(&place, message, remedy));
    }
    let has_ports = end.ports.is_some() || !end.not_ports.is_empty();
    if has_ports && role.direction == Direction::Egress {
        let message = "the ports of a service are its own: none stand beside it";
        return Err(report.error(&place, message, "name a service that has those ports alone"));
    }
    Ok(())
}
