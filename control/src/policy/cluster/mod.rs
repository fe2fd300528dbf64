//! Cluster-wide policies of Kubernetes: `ClusterNetworkPolicy` (v1alpha2) and what was before it,
//! `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy` (v1alpha1). They join the tiers
//! `kube-admin` and `kube-baseline` by priority; the Baseline one of v1alpha1 is the last.
//!
//! They isolate nobody: a direction without rules is no direction of theirs (CNP-3). What they do
//! not know fails closed as their API asks (CNP-11): what accepts matches nothing, what denies or
//! passes denies everything.

mod peer;
mod ports;
mod rule;

use lockgate_dataplane::policy::ruleset::Direction;

use super::order::Order;
use super::read::{Standing, only, rules, whole};
use super::rule::Listed;
use super::selection::{Selection, Within};
use super::tier::{KUBE_ADMIN, KUBE_BASELINE};
use super::{Kind, OrderedPolicy};
use crate::manifest::Metadata;
use crate::manifest::fields::{Broken, Place, Report};
use crate::manifest::labels;
use crate::manifest::metadata::FIELDS;
use crate::manifest::problem::quoted;
use crate::manifest::tree::Value;

/// The highest priority, in number.
const PRIORITY_MAX: u16 = 1000;

const SELECTS_ALL: &str = "until then the policy is for every pod and opens nothing";
const OPENS_NOTHING: &str = "until then the policy opens nothing";
const FIRST: &str = "until then it is the first of its tier and opens nothing";
const FIRST_ADMIN: &str = "until then it is the first of the Admin tier and opens nothing";
const DENIES_ALL: &str = "until then everything is denied to every pod";

/// How one of the kinds says what they all say.
struct Dialect {
    /// The word for letting pass.
    allow: &'static str,
    /// Whether rules may pass.
    passes: bool,
    /// The field of a rule that says which traffic.
    traffic: &'static str,
    /// Entries of any list: rules, peers, kinds of traffic.
    entries: usize,
    /// Whether a selector of pods needs one of namespaces beside it.
    needs_namespaces: bool,
    fields: &'static [&'static str],
}

const CLUSTER: Dialect = Dialect {
    allow: "Accept",
    passes: true,
    traffic: "protocols",
    entries: 25,
    needs_namespaces: false,
    fields: &["tier", "priority", "subject", "ingress", "egress"],
};
const ADMIN: Dialect = Dialect {
    allow: "Allow",
    passes: true,
    traffic: "ports",
    entries: 100,
    needs_namespaces: true,
    fields: &["priority", "subject", "ingress", "egress"],
};
const BASELINE: Dialect =
    Dialect { passes: false, fields: &["subject", "ingress", "egress"], ..ADMIN };

impl Dialect {
    fn of(kind: Kind) -> &'static Self {
        match kind {
            Kind::AdminNetworkPolicy => &ADMIN,
            Kind::BaselineAdminNetworkPolicy => &BASELINE,
            _ => &CLUSTER,
        }
    }
}

/// Reads a cluster-wide policy of Kubernetes; this cannot fail, only close. `is_current` is
/// whether its `apiVersion` is the one whose rules are known here.
pub(crate) fn read(
    root: &Place<'_>,
    kind: Kind,
    metadata: Metadata,
    is_current: bool,
    report: &mut Report<'_>,
) -> OrderedPolicy {
    let is_known = report.within(OPENS_NOTHING, |report| root.closed(report, "a policy", &FIELDS));
    check_name(root, kind, &metadata, report);
    let is_baseline = kind == Kind::BaselineAdminNetworkPolicy;
    let blank = OrderedPolicy {
        kind,
        metadata,
        tier: Some(if is_baseline { KUBE_BASELINE } else { KUBE_ADMIN }.into()),
        order: if is_baseline { Order::LAST } else { Order::FIRST },
        subject: Selection::every_pod(Within::Anywhere),
        ingress: None,
        egress: None,
        staged: None,
    };
    let at = root.field("spec").unwrap_or_else(|| root.missing("spec"));
    if root.field("spec").is_some() && matches!(at.node.value, Value::Map(_)) {
        return read_spec(&at, blank, is_current && is_known.is_ok(), report);
    }
    if root.field("spec").is_none() && is_known.is_ok() {
        report.error(&at, "the policy has no spec: it does nothing", "add spec");
        return blank;
    }
    // What is no map, or stands under another name, may have denied anything.
    report.within(DENIES_ALL, |report| report.error(&at, "spec must be a map", "write a map"));
    let deny = || Some(vec![Listed::DenyAll]);
    OrderedPolicy { ingress: deny(), egress: deny(), ..blank }
}

fn read_spec(
    spec: &Place<'_>,
    blank: OrderedPolicy,
    is_current: bool,
    report: &mut Report<'_>,
) -> OrderedPolicy {
    let kind = blank.kind;
    let dialect = Dialect::of(kind);
    let is_closed = report
        .within(OPENS_NOTHING, |report| spec.closed(report, "a policy's spec", dialect.fields))
        .is_ok();
    let tier = match kind {
        Kind::ClusterNetworkPolicy => tier(spec, report),
        _ => Ok(if kind == Kind::AdminNetworkPolicy { KUBE_ADMIN } else { KUBE_BASELINE }),
    };
    let order = match kind {
        Kind::BaselineAdminNetworkPolicy => Ok(Order::LAST),
        _ => priority(spec, report),
    };
    let order = tier.and(order);
    let subject = report.within(SELECTS_ALL, |report| subject(spec, dialect, report));
    let opens = is_current && is_closed && subject.is_ok();
    let standing = Standing { opens, order };
    let mut read = |direction| {
        let read =
            |at: &Place<'_>, report: &mut Report<'_>| rule::listed(at, direction, dialect, report);
        let listed = rules(spec, direction, dialect.fields, dialect.entries, report, read);
        (!listed.is_empty()).then(|| standing.count(listed))
    };
    let (ingress, egress) = (read(Direction::Ingress), read(Direction::Egress));
    OrderedPolicy {
        tier: Some(tier.unwrap_or(KUBE_ADMIN).into()),
        order: standing.place(),
        subject: subject.unwrap_or_else(|Broken| Selection::every_pod(Within::Anywhere)),
        ingress,
        egress,
        ..blank
    }
}

/// There is one Baseline policy of v1alpha1, and it has one name.
fn check_name(root: &Place<'_>, kind: Kind, metadata: &Metadata, report: &mut Report<'_>) {
    if kind == Kind::BaselineAdminNetworkPolicy && *metadata.key.name != *"default" {
        let at = root.missing("metadata.name");
        let message = "a BaselineAdminNetworkPolicy can only be called default; it counts as ever";
        report.warning(&at, message, "write name: default");
    }
}

fn tier(spec: &Place<'_>, report: &mut Report<'_>) -> Result<&'static str, Broken> {
    report.within(FIRST_ADMIN, |report| {
        let Some(at) = spec.field("tier") else {
            let at = spec.missing("tier");
            return Err(report.error(&at, "the policy has no tier", "write Admin or Baseline"));
        };
        match at.text(report, "tier")? {
            "Admin" => Ok(KUBE_ADMIN),
            "Baseline" => Ok(KUBE_BASELINE),
            other => {
                let message = format!("{} is not a tier of these policies", quoted(other));
                Err(report.error(&at, &message, "write Admin or Baseline"))
            }
        }
    })
}

fn priority(spec: &Place<'_>, report: &mut Report<'_>) -> Result<Order, Broken> {
    report.within(FIRST, |report| {
        let Some(at) = spec.field("priority") else {
            let at = spec.missing("priority");
            return Err(report.error(&at, "the policy has no priority", "write one, 0 to 1000"));
        };
        let priority = whole(&at, "a priority", (0, PRIORITY_MAX), report)?;
        Ok(Order::of(priority.into()))
    })
}

/// The pods that a policy is for (CNP-4).
fn subject(
    spec: &Place<'_>,
    dialect: &Dialect,
    report: &mut Report<'_>,
) -> Result<Selection, Broken> {
    let Some(at) = spec.field("subject") else {
        let at = spec.missing("subject");
        return Err(report.error(&at, "the policy has no subject", "add subject"));
    };
    match only(&at, "a subject", &["namespaces", "pods"], report)? {
        ("namespaces", at) => {
            Ok(Selection::every_pod(Within::selected(&labels::selector(&at, report)?)))
        }
        (_, at) => peer::pods(&at, dialect, report),
    }
}

#[cfg(test)]
mod tests;
