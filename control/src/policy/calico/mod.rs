//! Calico's policies: `NetworkPolicy`, `GlobalNetworkPolicy` and the staged ones, as calicoctl
//! writes them (`projectcalico.org/v3`) and as they are stored (`crd.projectcalico.org/v1`). A stored
//! policy may be called `default.web`, and is that; a stored set may have its labels in an annotation.
//!
//! A part of a rule that is about endpoints means those of the policy's namespace in a
//! `NetworkPolicy`, unless it says other namespaces; that holds as soon as any such part is given,
//! `notSelector` alone included, as Calico itself reads it. A rule with nets is about their
//! version of IP only.

mod hosts;
mod profile;
mod rule;
mod set;
mod side;
mod stored;
mod traffic;
mod types;

use std::sync::Arc;

use lockgate_dataplane::policy::ruleset::Direction;

use super::order::Order;
use super::read::{Standing, expression, is_mistaken, rules};
use super::rule::Listed;
use super::selection::{Accounts, Selection, Within};
use super::tier::DEFAULT_TIER;
use super::{Kind, OrderedPolicy, StagedAction};
use crate::expression::Expression;
use crate::manifest::Metadata;
use crate::manifest::fields::{Broken, Place, Report};
use crate::manifest::metadata::FIELDS;
use crate::manifest::problem::quoted;
use crate::manifest::tree::Value;
use crate::selector::is_dns_label;

pub use profile::{Owner, Profile};
pub use set::NetworkSet;

/// Rules of one direction that a policy may have.
const RULES_MAX: usize = 1024;

const FIELDS_OF_ALL: [&str; 8] = [
    "tier",
    "order",
    "selector",
    "types",
    "ingress",
    "egress",
    "serviceAccountSelector",
    "performanceHints",
];
const FIELDS_OF_GLOBAL: [&str; 4] =
    ["namespaceSelector", "doNotTrack", "preDNAT", "applyOnForward"];

const SELECTS_ALL: &str = "until then the policy is for every pod that it could select and opens \
                           nothing";
const OPENS_NOTHING: &str = "until then the policy opens nothing";
const FIRST: &str = "until then it is the first of its tier and opens nothing";
const BEFORE_ALL: &str = "until then the policy denies everything, before every tier";

/// Reads a policy of one of Calico's own kinds; this cannot fail, only close. `is_current` is
/// whether its `apiVersion` is one whose rules are known here.
pub(crate) fn read(
    root: &Place<'_>,
    kind: Kind,
    metadata: Metadata,
    is_current: bool,
    report: &mut Report<'_>,
) -> OrderedPolicy {
    let is_known = report.within(OPENS_NOTHING, |report| root.closed(report, "a policy", &FIELDS));
    let blank = |metadata| OrderedPolicy {
        kind,
        metadata,
        tier: Some(DEFAULT_TIER.into()),
        order: Order::LAST,
        subject: Selection::every_pod(Within::Anywhere),
        ingress: Some(Vec::new()),
        egress: None,
        staged: is_staged(kind).then_some(StagedAction::Set),
    };
    let subject = Selection::every_pod(scope(kind, &metadata));
    match root.field("spec") {
        Some(spec) if matches!(spec.node.value, Value::Map(_)) => {
            read_spec(&spec, blank(metadata), is_current && is_known.is_ok(), report)
        }
        None if is_known.is_ok() => {
            // As Calico: nothing said selects every pod for ingress.
            report.warning(root, "the policy has no spec: it denies all ingress", "add spec");
            OrderedPolicy { subject, ..blank(metadata) }
        }
        // What is no map, or stands under another name, may have denied anything.
        spec => {
            let at = spec.unwrap_or_else(|| root.missing("spec"));
            report.within(BEFORE_ALL, |report| {
                report.error(&at, "spec must be a map", "write a map")
            });
            let deny = || Some(vec![Listed::DenyAll]);
            let (ingress, egress) = (deny(), deny());
            let (tier, order) = (None, Order::FIRST);
            OrderedPolicy { tier, order, subject, ingress, egress, ..blank(metadata) }
        }
    }
}

fn read_spec(
    spec: &Place<'_>,
    blank: OrderedPolicy,
    is_current: bool,
    report: &mut Report<'_>,
) -> OrderedPolicy {
    let (kind, metadata) = (blank.kind, &blank.metadata);
    let known = known(kind);
    let is_closed = report
        .within(OPENS_NOTHING, |report| spec.closed(report, "a policy's spec", &known))
        .is_ok();
    let tier = tier(spec, &known, report);
    let subject = report.within(SELECTS_ALL, |report| subject(spec, kind, metadata, report));
    let order = match spec.field("order") {
        Some(at) => report.within(FIRST, |report| Order::read(&at, report)),
        None if is_closed => Ok(Order::LAST),
        None => Err(Broken),
    };
    let hosts = hosts::only(spec, kind, report);
    check_hints(spec, report);
    let is_lost = kind.is_namespaced() && metadata.key.is_lost();
    let selects = types::selected(spec, is_closed, report);
    let opens =
        is_current && is_closed && subject.is_ok() && hosts.is_ok() && selects.is_known && !is_lost;
    let standing = Standing { opens, order };
    // What a lost policy denies, it must deny in every namespace.
    let is_placed = kind.is_namespaced() && !is_lost;
    let namespace = is_placed.then(|| metadata.key.namespace.clone());
    let read_rule = |direction| {
        let namespace = namespace.clone();
        move |at: &Place<'_>, report: &mut Report<'_>| {
            rule::listed(at, direction, namespace.as_ref(), report)
        }
    };
    let mut read = |direction| {
        let listed = rules(spec, direction, &known, RULES_MAX, report, read_rule(direction));
        if tier.is_err() { vec![Listed::DenyAll] } else { standing.count(listed) }
    };
    let (ingress, egress) = (read(Direction::Ingress), read(Direction::Egress));
    let is_enforced = hosts != Ok(true);
    let staged = is_staged(kind).then(|| StagedAction::read(spec.field("stagedAction"), report));
    if staged == Some(StagedAction::Delete) {
        tell_idle(spec, &known, report);
    }
    OrderedPolicy {
        tier: tier.ok(),
        order: standing.place(),
        subject: subject.unwrap_or_else(|Broken| Selection::every_pod(scope(kind, metadata))),
        ingress: (is_enforced && selects.ingress).then_some(ingress),
        egress: (is_enforced && selects.egress).then_some(egress),
        staged,
        ..blank
    }
}

fn is_staged(kind: Kind) -> bool {
    matches!(kind, Kind::StagedNetworkPolicy | Kind::StagedGlobalNetworkPolicy)
}

/// Where the pods are that a policy can select.
fn scope(kind: Kind, metadata: &Metadata) -> Within {
    if kind.is_namespaced() && !metadata.key.is_lost() {
        Within::Namespace(metadata.key.namespace.clone())
    } else {
        Within::Anywhere
    }
}

/// What the spec may hold.
fn known(kind: Kind) -> Vec<&'static str> {
    let mut known = FIELDS_OF_ALL.to_vec();
    if !kind.is_namespaced() {
        known.extend(FIELDS_OF_GLOBAL);
    }
    if is_staged(kind) {
        known.push("stagedAction");
    }
    known
}

/// The tier. Where a misspelt field may have been meant to say it, nobody knows which it is.
fn tier(spec: &Place<'_>, known: &[&str], report: &mut Report<'_>) -> Result<Arc<str>, Broken> {
    let Some(at) = spec.field("tier").filter(|at| at.node.text() != Some("")) else {
        let is_lost = is_mistaken(spec, "tier", known);
        return if is_lost { Err(Broken) } else { Ok(DEFAULT_TIER.into()) };
    };
    let name = report.within(BEFORE_ALL, |report| at.text(report, "tier"))?;
    if !is_dns_label(name) {
        let message = format!("{} cannot be a tier's name: there is no such tier", quoted(name));
        report.error(&at, &message, "use up to 63 lower-case letters, digits and -");
    }
    Ok(name.into())
}

/// The pods that a policy is for: all that is given must hold.
fn subject(
    spec: &Place<'_>,
    kind: Kind,
    metadata: &Metadata,
    report: &mut Report<'_>,
) -> Result<Selection, Broken> {
    let labels = selector(spec, "selector", report);
    let accounts = selector(spec, "serviceAccountSelector", report);
    let namespaces =
        if kind.is_namespaced() { Ok(None) } else { selector(spec, "namespaceSelector", report) };
    let within = match namespaces? {
        Some(namespaces) => Within::Namespaces(namespaces.of_namespaces()),
        None => scope(kind, metadata),
    };
    let labels = labels?.unwrap_or(Expression::All);
    let accounts = accounts?
        .map(|accounts| Accounts { names: Vec::new(), labels: Some(accounts.of_accounts()) });
    Ok(Selection { accounts, ..Selection::pods(within, labels) })
}

/// A selector that may not say `global()`; an empty one is none.
fn selector(
    at: &Place<'_>,
    name: &str,
    report: &mut Report<'_>,
) -> Result<Option<Expression>, Broken> {
    let Some(at) = at.field(name).filter(|at| at.node.text() != Some("")) else { return Ok(None) };
    let read = expression(&at, report)?;
    if read.says_global() {
        let message = "global() has a meaning only in the namespaceSelector of a rule";
        return Err(report.error(&at, message, "select by labels"));
    }
    Ok(Some(read))
}

/// Hints change nothing, but one that cannot be read is told of.
fn check_hints(spec: &Place<'_>, report: &mut Report<'_>) {
    let Some(at) = spec.field("performanceHints") else { return };
    let Ok(items) = at.items(report, "performanceHints") else { return };
    for item in items {
        if item.node.text() != Some("AssumeNeededOnEveryNode") {
            report.warning(&item, "no such hint is known; it changes nothing", "remove it");
        }
    }
}

/// What removes a policy names it and its tier; nothing else counts.
fn tell_idle(spec: &Place<'_>, known: &[&str], report: &mut Report<'_>) {
    let idle = known.iter().filter(|name| !["tier", "stagedAction"].contains(name));
    for at in idle.filter_map(|name| spec.field(name)) {
        report.warning(&at, "stagedAction Delete leaves this without effect", "remove it");
    }
}

impl StagedAction {
    /// Reads what is to become of a staged policy; absent is Set.
    pub(super) fn read(at: Option<Place<'_>>, report: &mut Report<'_>) -> Self {
        let Some(at) = at.filter(|at| at.node.text() != Some("")) else { return Self::Set };
        report.within("until then it is ignored", |report| {
            match at.text(report, "stagedAction") {
                Ok("Set") => return Self::Set,
                Ok("Delete") => return Self::Delete,
                Ok("Learn") => return Self::Learn,
                Ok("Ignore") | Err(Broken) => {}
                Ok(other) => {
                    let message = format!("{} is not a staged action", quoted(other));
                    report.error(&at, &message, "write Set, Delete, Learn or Ignore");
                }
            }
            Self::Ignore
        })
    }
}

#[cfg(test)]
mod tests;
