//! One rule of Calico: what it does, to which ends and to which traffic.

use std::sync::Arc;

use lockgate_dataplane::policy::ruleset::Direction;

use super::super::read::family;
use super::super::rule::{Action, Family, IpProtocol, Listed, Rule, Traffic};
use super::side::{End, Role, end};
use super::traffic::traffic;
use crate::manifest::fields::{Broken, Place, Report};
use crate::manifest::problem::quoted;

const FIELDS: [&str; 10] = [
    "action",
    "ipVersion",
    "protocol",
    "notProtocol",
    "icmp",
    "notICMP",
    "source",
    "destination",
    "http",
    "metadata",
];

/// Reads an item of `ingress` or `egress`; `namespace` is the policy's, if it has one.
pub(super) fn listed(
    at: &Place<'_>,
    direction: Direction,
    namespace: Option<&Arc<str>>,
    report: &mut Report<'_>,
) -> Listed {
    let action = report.within(Action::consequence(None), |report| action(at, report)).ok();
    report.within(Action::consequence(action), |report| {
        let rule = rule(at, direction, namespace, report);
        let is_whole = is_enforceable(at, action, report);
        match (rule, action) {
            // Without the condition it denies what was meant, and more.
            (Ok(rule), Some(action)) if is_whole || action == Action::Deny => {
                Listed::rule(Rule { action, ..rule })
            }
            _ => Listed::closed(action),
        }
    })
}

fn action(at: &Place<'_>, report: &mut Report<'_>) -> Result<Action, Broken> {
    let Some(at) = at.field("action") else {
        return Err(report.error(&at.missing("action"), "the rule has no action", "add action"));
    };
    match at.text(report, "action")? {
        "Allow" => Ok(Action::Allow),
        "Deny" => Ok(Action::Deny),
        "Pass" => Ok(Action::Pass),
        "Log" => Ok(Action::Log),
        other => {
            let message = format!("{} is not an action", quoted(other));
            Err(report.error(&at, &message, "write Allow, Deny, Pass or Log"))
        }
    }
}

/// What of a rule no switch can see.
fn is_enforceable(at: &Place<'_>, action: Option<Action>, report: &mut Report<'_>) -> bool {
    let Some(at) = at.field("http") else { return true };
    let remedy = "remove the rule, or write what it is to mean whatever the path";
    let read = |report: &mut Report<'_>| {
        report.error(&at, "http is not enforced: packets do not show it", remedy);
    };
    match action {
        Some(Action::Deny) => report.within("until then it denies whatever its path", read),
        _ => read(report),
    }
    false
}

/// Everything but the action.
fn rule(
    at: &Place<'_>,
    direction: Direction,
    namespace: Option<&Arc<str>>,
    report: &mut Report<'_>,
) -> Result<Rule, Broken> {
    let is_closed = at.closed(report, "a rule", &FIELDS);
    let remarks =
        at.field("metadata").map(|at| at.closed(report, "a rule's metadata", &["annotations"]));
    let traffic = traffic(at, report);
    let mut read = |name, is_own| {
        let role = Role { direction, is_own, namespace };
        at.field(name).map_or(Ok(End::default()), |at| end(&at, &role, report))
    };
    let source = read("source", direction == Direction::Egress);
    let target = read("destination", direction == Direction::Ingress);
    is_closed?;
    remarks.transpose()?;
    let (mut traffic, source, target) = (traffic?, source?, target?);
    check_ports(at, &traffic, [&source, &target], report)?;
    traffic.family = family_of(at, &traffic, [&source, &target], report)?;
    traffic.source_ports = source.ports;
    traffic.not_source_ports = source.not_ports;
    traffic.target_ports = target.ports;
    traffic.not_target_ports = target.not_ports;
    let (own, peer) = match direction {
        Direction::Ingress => (target.side, source.side),
        Direction::Egress => (source.side, target.side),
    };
    // `listed` says which action.
    Ok(Rule { name: None, action: Action::Deny, own, peers: vec![peer], traffic: vec![traffic] })
}

fn check_ports(
    at: &Place<'_>,
    traffic: &Traffic,
    ends: [&End; 2],
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    let has_ports = ends.iter().any(|end| end.ports.is_some() || !end.not_ports.is_empty());
    if !has_ports || traffic.protocol.is_some_and(IpProtocol::has_ports) {
        return Ok(());
    }
    let at = at.missing("protocol");
    Err(report.error(&at, "ports need a protocol that has them", "write TCP, UDP or SCTP"))
}

/// The version of IP that a rule is about, if it is about one. One that names nets is about
/// theirs, be they nets that it leaves out: so Calico enforces it.
fn family_of(
    at: &Place<'_>,
    traffic: &Traffic,
    ends: [&End; 2],
    report: &mut Report<'_>,
) -> Result<Option<Family>, Broken> {
    let nets = ends.iter().flat_map(|end| end.side.nets.iter().flatten().chain(&end.side.not_nets));
    let mut said: Vec<Family> = nets.map(family).chain(traffic.family).collect();
    if traffic.family.is_some() {
        let of_protocol = match traffic.protocol.or(traffic.not_protocol) {
            Some(IpProtocol::ICMP) => Some(Family::V4),
            Some(IpProtocol::ICMPV6) => Some(Family::V6),
            _ => None,
        };
        said.extend(of_protocol);
    }
    if said.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok(said.first().copied());
    }
    Err(report.error(at, "the rule speaks of both IPv4 and IPv6", "make two rules of it"))
}
