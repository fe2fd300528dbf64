//! What the front ends read alike.

use ipnet::IpNet;
use lockgate_dataplane::policy::ruleset::Direction;

use super::order::Order;
use super::rule::{Family, Listed};
use crate::expression::Expression;
use crate::manifest::block;
use crate::manifest::fields::{Broken, Place, Report, all, closest};
use crate::manifest::problem::quoted;
use crate::manifest::tree::Value;

/// What is wrong with a whole policy, as far as its rules are concerned.
pub(super) struct Standing {
    /// Whether it may allow and pass.
    pub(super) opens: bool,
    /// Its order, if it can be read.
    pub(super) order: Result<Order, Broken>,
}

impl Standing {
    /// Rules as they count for it.
    pub(super) fn count(&self, rules: Vec<Listed>) -> Vec<Listed> {
        if self.opens && self.order.is_ok() {
            return rules;
        }
        rules.into_iter().map(Listed::shut).collect()
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Order {
        self.order.unwrap_or(Order::FIRST)
    }
}

/// The field that lists the rules of a direction.
fn field_of(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

/// Whether a field that is absent may be there under a name that is none of the known ones.
pub(super) fn is_mistaken(at: &Place<'_>, name: &str, known: &[&str]) -> bool {
    let Value::Map(fields) = &at.node.value else { return false };
    let is_meant = |(field, _): &(String, _)| {
        !known.contains(&field.as_str()) && closest(field, known) == Some(name)
    };
    at.field(name).is_none() && fields.iter().any(is_meant)
}

/// The rules of a direction; absent is none. What cannot be read, or is misspelt, denies
/// everything; rules beyond the limit of the API are broken.
pub(super) fn rules(
    spec: &Place<'_>,
    direction: Direction,
    known: &[&str],
    limit: usize,
    report: &mut Report<'_>,
    read: impl Fn(&Place<'_>, &mut Report<'_>) -> Listed,
) -> Vec<Listed> {
    let name = field_of(direction);
    let Some(at) = spec.field(name) else {
        let is_mistaken = is_mistaken(spec, name, known);
        return if is_mistaken { vec![Listed::DenyAll] } else { Vec::new() };
    };
    let consequence = "until then everything is denied in this direction";
    let Ok(items) = report.within(consequence, |report| at.items(report, name)) else {
        return vec![Listed::DenyAll];
    };
    if let Some(first) = items.get(limit) {
        let message = format!("{name} has {} rules, {limit} may be", items.len());
        let remedy = "make two policies of it; until then this rule and those after it are broken";
        report.error(first, &message, remedy);
    }
    let closed = |(index, item): (usize, &Place<'_>)| match read(item, report) {
        Listed::Rule(rule) if index >= limit => Listed::closed(Some(rule.action)),
        listed => listed,
    };
    items.iter().enumerate().map(closed).collect()
}

/// The items of a list that has at most so many.
pub(super) fn at_most<'n>(
    at: &Place<'n>,
    what: &str,
    limit: usize,
    report: &mut Report<'_>,
) -> Result<Vec<Place<'n>>, Broken> {
    let items = at.items(report, what)?;
    if items.len() <= limit {
        return Ok(items);
    }
    let message = format!("{what} has {} entries, {limit} may be", items.len());
    // Two rules of which each leaves out one half leave nothing out.
    let is_negated = what.starts_with("not");
    let remedy = if is_negated { "join what lies side by side" } else { "make two rules of it" };
    Err(report.error(at, &message, remedy))
}

/// The items of a list that has at least one, and at most so many.
pub(super) fn some_at_most<'n>(
    at: &Place<'n>,
    what: &str,
    limit: usize,
    report: &mut Report<'_>,
) -> Result<Vec<Place<'n>>, Broken> {
    let items = at_most(at, what, limit, report)?;
    if items.is_empty() {
        return Err(report.error(at, &format!("{what} is empty"), "name at least one"));
    }
    Ok(items)
}

/// An expression.
pub(super) fn expression(at: &Place<'_>, report: &mut Report<'_>) -> Result<Expression, Broken> {
    let text = at.text(report, "a selector")?;
    text.parse().map_err(|error| {
        let message = format!("{} is not a selector: {error}", quoted(text));
        report.error(at, &message, "write e.g. app == \"web\" && has(tier)")
    })
}

/// A CIDR, or an address alone.
pub(super) fn net(at: &Place<'_>, report: &mut Report<'_>) -> Result<IpNet, Broken> {
    let text = at.text(report, "a net")?;
    let written = block::cidr(text).map(|written| (written.cidr, written.oddities));
    let written = written.or_else(|| {
        block::address(text).map(|(address, oddities)| (IpNet::from(address), oddities))
    });
    let Some((net, oddities)) = written else {
        let message = format!("{} is not a net", quoted(text));
        return Err(report.error(at, &message, "write address/length, e.g. 10.0.0.0/8"));
    };
    for oddity in oddities {
        let message = format!("{} {oddity}", quoted(text));
        report.warning(at, &message, &format!("write {net}"));
    }
    Ok(net)
}

/// An address, as a net of it alone.
pub(super) fn host(at: &Place<'_>, report: &mut Report<'_>) -> Result<IpNet, Broken> {
    let text = at.text(report, "an address")?;
    if block::address(text).is_none() {
        let message = format!("{} is not an address", quoted(text));
        return Err(report.error(at, &message, "write an address alone, e.g. 10.0.0.1"));
    }
    net(at, report)
}

/// Each net of a list.
pub(super) fn nets(items: &[Place<'_>], report: &mut Report<'_>) -> Result<Vec<IpNet>, Broken> {
    all(items.iter().map(|item| net(item, report)))
}

/// Of which version of IP a net is.
pub(super) fn family(net: &IpNet) -> Family {
    match net {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}

/// A whole number from the first to the last.
pub(super) fn whole(
    at: &Place<'_>,
    what: &str,
    (first, last): (u16, u16),
    report: &mut Report<'_>,
) -> Result<u16, Broken> {
    let written = match &at.node.value {
        Value::Integer(number) => match u16::try_from(*number) {
            Ok(number) if (first..=last).contains(&number) => return Ok(number),
            _ => number.to_string(),
        },
        Value::Number(written) => written.clone(),
        _ => return Err(at.mistyped(report, what, "a number")),
    };
    let message = format!("{} is not {what}", crate::manifest::escape(&written));
    Err(report.error(at, &message, &format!("write a whole decimal number, {first} to {last}")))
}

/// Exactly one of these fields, and its name.
pub(super) fn only<'n, 'k>(
    at: &Place<'n>,
    what: &str,
    names: &[&'k str],
    report: &mut Report<'_>,
) -> Result<(&'k str, Place<'n>), Broken> {
    at.closed(report, what, names)?;
    let mut given = names.iter().filter_map(|name| Some((*name, at.field(name)?)));
    match (given.next(), given.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => {
            let message = format!("{what} says nothing");
            Err(report.error(at, &message, &format!("write one of {}", names.join(", "))))
        }
        (Some(_), Some(_)) => {
            let message = format!("{what} says more than one thing");
            let remedy = format!("write one of {}", names.join(", "));
            Err(report.error(at, &message, &remedy))
        }
    }
}
