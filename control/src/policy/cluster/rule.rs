//! One rule of a cluster-wide policy: ANY of its peers AND ANY of its kinds of traffic.

use lockgate_dataplane::policy::ruleset::Direction;

use super::super::read::some_at_most;
use super::super::rule::{Action, Listed, Rule, Side, Traffic};
use super::Dialect;
use super::peer::{Peer, peer};
use super::ports::{is_named, of_ports, of_protocols};
use crate::manifest::fields::{Broken, Place, Report, all};
use crate::manifest::problem::quoted;

/// Characters of a rule's longest name.
const NAME_MAX: usize = 100;

/// Reads an item of `ingress` or `egress`.
pub(super) fn listed(
    at: &Place<'_>,
    direction: Direction,
    dialect: &Dialect,
    report: &mut Report<'_>,
) -> Listed {
    let action =
        report.within(Action::consequence(None), |report| action(at, dialect, report)).ok();
    report.within(Action::consequence(action), |report| {
        match (rule(at, direction, dialect, report), action) {
            (Ok(rule), Some(action)) => Listed::rule(Rule { action, ..rule }),
            _ => Listed::closed(action),
        }
    })
}

fn action(at: &Place<'_>, dialect: &Dialect, report: &mut Report<'_>) -> Result<Action, Broken> {
    let pass = if dialect.passes { ", Deny or Pass" } else { " or Deny" };
    let remedy = format!("write {}{pass}", dialect.allow);
    let Some(at) = at.field("action") else {
        return Err(report.error(&at.missing("action"), "the rule has no action", &remedy));
    };
    match at.text(report, "action")? {
        word if word == dialect.allow => Ok(Action::Allow),
        "Deny" => Ok(Action::Deny),
        "Pass" if dialect.passes => Ok(Action::Pass),
        other => {
            let message = format!("{} is not an action", quoted(other));
            Err(report.error(&at, &message, &remedy))
        }
    }
}

/// Everything but the action.
fn rule(
    at: &Place<'_>,
    direction: Direction,
    dialect: &Dialect,
    report: &mut Report<'_>,
) -> Result<Rule, Broken> {
    let ends = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    let is_closed = at.closed(report, "a rule", &["name", "action", ends, dialect.traffic]);
    let name = name(at, report);
    let peers = peers(at, ends, direction, dialect, report);
    let traffic = traffic(at, dialect, report);
    is_closed?;
    let (name, peers, traffic) = (name?, peers?, traffic?);
    if traffic.iter().any(is_named) && peers.iter().any(|peer| !peer.is_pods) {
        let at = at.missing(dialect.traffic);
        let message = "a named port is a pod's: nodes and networks have none";
        return Err(report.error(&at, message, "make two rules of it"));
    }
    let peers = peers.into_iter().map(|peer| peer.side).collect();
    // `listed` says which action.
    Ok(Rule { name, action: Action::Deny, own: Side::default(), peers, traffic })
}

fn name(at: &Place<'_>, report: &mut Report<'_>) -> Result<Option<String>, Broken> {
    let Some(at) = at.field("name").filter(|at| at.node.text() != Some("")) else {
        return Ok(None);
    };
    let name = at.text(report, "a rule's name")?;
    if name.chars().count() > NAME_MAX {
        report.warning(&at, "a rule's name has at most 100 characters", "shorten it");
    }
    Ok(Some(name.to_owned()))
}

fn peers(
    at: &Place<'_>,
    ends: &str,
    direction: Direction,
    dialect: &Dialect,
    report: &mut Report<'_>,
) -> Result<Vec<Peer>, Broken> {
    let Some(at) = at.field(ends) else {
        let message = format!("the rule has no {ends}");
        return Err(report.error(&at.missing(ends), &message, "name at least one peer"));
    };
    let items = some_at_most(&at, ends, dialect.entries, report)?;
    all(items.iter().map(|item| peer(item, direction, dialect, report)))
}

/// Nothing said is all traffic; an empty list is not nothing said.
fn traffic(
    at: &Place<'_>,
    dialect: &Dialect,
    report: &mut Report<'_>,
) -> Result<Vec<Traffic>, Broken> {
    let Some(at) = at.field(dialect.traffic) else { return Ok(vec![Traffic::default()]) };
    let items = some_at_most(&at, dialect.traffic, dialect.entries, report)?;
    all(items.iter().map(|item| match dialect.traffic {
        "protocols" => of_protocols(item, report),
        _ => of_ports(item, report),
    }))
}
