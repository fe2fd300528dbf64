//! Tiers: what is asked one after the other.
//!
//! Three are always there, with an order and a default that no object changes; the policies of
//! Kubernetes live in them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::order::Order;
use crate::manifest::Metadata;
use crate::manifest::fields::{Place, Report};
use crate::manifest::metadata::FIELDS;
use crate::manifest::problem::quoted;
use crate::selector::is_dns_label;

/// The tier of the Admin policies of Kubernetes.
pub const KUBE_ADMIN: &str = "kube-admin";
/// The tier of `NetworkPolicy`, and of what names none.
pub const DEFAULT_TIER: &str = "default";
/// The tier of the Baseline policies of Kubernetes.
pub const KUBE_BASELINE: &str = "kube-baseline";

/// The tier of profiles, after all others; no object can be called so.
pub const PROFILES: &str = "~profiles";

/// The order of every `NetworkPolicy` in its tier.
pub(super) const NETWORK_POLICY_ORDER: u32 = 1000;

const SPEC_FIELDS: [&str; 2] = ["order", "defaultAction"];
const FIRST: &str = "until then the tier is the first and nothing in it opens anything";
const UNCHANGED: &str = "the tier is what it always is, whatever its object says";
const DENIES: &str = "until then its default is Deny";

/// The tiers that are always there: name, order, default.
pub const FIXED_TIERS: [(&str, u32, DefaultAction); 3] = [
    (KUBE_ADMIN, 1_000, DefaultAction::Pass),
    (DEFAULT_TIER, 1_000_000, DefaultAction::Deny),
    (KUBE_BASELINE, 10_000_000, DefaultAction::Pass),
];

/// Whether a tier is there without an object.
#[must_use]
pub fn is_always_there(tier: &str) -> bool {
    tier == PROFILES || FIXED_TIERS.iter().any(|one| one.0 == tier)
}

/// What becomes of who was selected in a tier and met no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DefaultAction {
    /// It is denied.
    Deny,
    /// It goes on to the next tier.
    Pass,
}

/// A tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// Who it is; its name is what policies call it.
    pub metadata: Metadata,
    /// Its place among the tiers; of two of one order the name decides.
    pub order: Order,
    /// What becomes of those who come to its end.
    pub default_action: DefaultAction,
    /// Whether policies in it may allow or pass: not where its place cannot be read.
    pub opens: bool,
}

impl Tier {
    /// Reads a tier; this cannot fail, only close.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let is_fixed = FIXED_TIERS.iter().any(|one| *one.0 == *metadata.key.name);
        let first = if is_fixed { UNCHANGED } else { FIRST };
        let mut opens =
            report.within(first, |report| root.closed(report, "a Tier", &FIELDS)).is_ok();
        check_name(root, &metadata.key.name, report);
        let mut order = Ok(Order::LAST);
        let mut default_action = DefaultAction::Deny;
        if let Some(spec) = root.field("spec") {
            let is_closed =
                report.within(first, |report| spec.closed(report, "a Tier's spec", &SPEC_FIELDS));
            opens &= is_closed.is_ok();
            if let Some(at) = spec.field("order") {
                order = report.within(first, |report| Order::read(&at, report));
            }
            if let Some(at) = spec.field("defaultAction") {
                let denies = if is_fixed { UNCHANGED } else { DENIES };
                default_action = report.within(denies, |report| read_default(&at, report));
            }
        }
        opens &= order.is_ok();
        let order = order.ok().filter(|_| opens).unwrap_or(Order::FIRST);
        Self { metadata, order, default_action, opens }.fixed(root, report)
    }

    /// One of the fixed tiers is what it always is, whatever its object says.
    fn fixed(self, root: &Place<'_>, report: &mut Report<'_>) -> Self {
        let fixed = FIXED_TIERS.iter().find(|(name, ..)| **name == *self.metadata.key.name);
        let Some(&(name, order, default_action)) = fixed else { return self };
        let spec = root.field("spec");
        let says = |field| spec.as_ref().is_some_and(|spec| spec.field(field).is_some());
        let wrong_order = says("order") && self.order != Order::of(order);
        let wrong_default = says("defaultAction") && self.default_action != default_action;
        if wrong_order || wrong_default {
            let message = format!("the tier {name} cannot be changed and is not");
            let remedy = format!("write order: {order}, defaultAction: {default_action:?}");
            report.error(&root.missing("spec"), &message, &remedy);
        }
        Self { order: Order::of(order), default_action, opens: true, ..self }
    }
}

/// A tier's name begins the names of its policies, so it has no dots.
fn check_name(root: &Place<'_>, name: &Arc<str>, report: &mut Report<'_>) {
    if !is_dns_label(name) {
        let message = format!("{} cannot be a tier's name", quoted(name));
        let remedy = "use up to 63 lower-case letters, digits and -";
        report.error(&root.missing("metadata.name"), &message, remedy);
    }
}

fn read_default(at: &Place<'_>, report: &mut Report<'_>) -> DefaultAction {
    match at.text(report, "defaultAction") {
        Ok("Pass") => DefaultAction::Pass,
        Ok("Deny") | Err(_) => DefaultAction::Deny,
        Ok(other) => {
            let message = format!("{} is not a tier's default", quoted(other));
            report.error(at, &message, "write Deny or Pass");
            DefaultAction::Deny
        }
    }
}
