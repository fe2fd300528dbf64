//! Profiles of Calico: what becomes of who met no rule in any tier.
//!
//! A pod has two, `kns.NAMESPACE` and then `ksa.NAMESPACE.ACCOUNT`. Where the first has no object it
//! allows everything, as Calico makes it for each namespace, and the second is never asked. Where it
//! has one, both are policies of a tier after all others, at whose end is denial.

use std::sync::Arc;

use lockgate_dataplane::policy::ruleset::Direction;
use serde::{Deserialize, Serialize};

use super::super::read::rules;
use super::super::rule::{Action, Listed, Rule, Side, Traffic};
use super::super::{Kind, Order, OrderedPolicy, PROFILES, Selection, Within};
use super::{RULES_MAX, rule};
use crate::expression::{OF_ACCOUNT, OF_NAMESPACE};
use crate::manifest::Metadata;
use crate::manifest::fields::{Place, Report};
use crate::manifest::labels;
use crate::manifest::metadata::FIELDS;
use crate::manifest::problem::quoted;
use crate::policy::Accounts;
use crate::selector::is_dns_subdomain;

const SHUT: &str = "until then the profile opens nothing";
const OF_ACCOUNTS: &str = "ksa.";
/// The profile that Calico gives the host endpoints that it makes itself.
const OF_HOSTS: &str = "projectcalico-default-allow";

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its rules, for the pods that have it.
    pub policy: OrderedPolicy,
    /// Who has it.
    pub owner: Owner,
}

/// Who has a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// The pods of a namespace.
    Namespace(Arc<str>),
    /// Those of them that act as an account.
    Account(Arc<str>, String),
    /// No pod.
    Nobody,
    /// Nobody can tell: its name cannot be read.
    Anybody,
}

impl Owner {
    fn of(metadata: &Metadata) -> Self {
        let name = &*metadata.key.name;
        if name == Profile::OF_NAMESPACE {
            return Self::Nobody;
        }
        if !is_dns_subdomain(name) {
            return Self::Anybody;
        }
        if let Some(namespace) = name.strip_prefix(Profile::OF_NAMESPACE) {
            // The name of a namespace has no dots.
            let is_one = !namespace.contains('.');
            return if is_one { Self::Namespace(namespace.into()) } else { Self::Nobody };
        }
        match name.strip_prefix(OF_ACCOUNTS).and_then(|rest| rest.split_once('.')) {
            Some((namespace, account)) => Self::Account(namespace.into(), account.to_owned()),
            None => Self::Nobody,
        }
    }

    fn pods(&self) -> Selection {
        match self {
            Self::Namespace(name) => Selection::every_pod(Within::Namespace(Arc::clone(name))),
            Self::Account(namespace, account) => Selection {
                accounts: Some(Accounts { names: vec![account.clone()], labels: None }),
                ..Selection::every_pod(Within::Namespace(Arc::clone(namespace)))
            },
            Self::Nobody | Self::Anybody => Selection::every_pod(Within::Anywhere),
        }
    }
}

impl Profile {
    /// Begins the names of the profiles of namespaces.
    pub const OF_NAMESPACE: &'static str = "kns.";

    /// What the profile of a namespace's pods is called.
    #[must_use]
    pub fn name_of(namespace: &str) -> String {
        format!("{}{namespace}", Self::OF_NAMESPACE)
    }

    /// Whether it allows everything, as the profile of a namespace that has no object.
    #[must_use]
    pub fn allows_everything(&self) -> bool {
        let allow = Rule {
            name: None,
            action: Action::Allow,
            own: Side::default(),
            peers: vec![Side::default()],
            traffic: vec![Traffic::default()],
        };
        let is_open = |rules: &Option<Vec<Listed>>| matches!(rules.as_deref(), Some([Listed::Rule(rule)]) if **rule == allow);
        is_open(&self.policy.ingress) && is_open(&self.policy.egress)
    }

    /// Reads a profile; this cannot fail, only close.
    pub(crate) fn read(root: &Place<'_>, metadata: Metadata, report: &mut Report<'_>) -> Self {
        let is_known = report.within(SHUT, |report| root.closed(report, "a Profile", &FIELDS));
        let owner = Owner::of(&metadata);
        let order = Order::of(u32::from(matches!(owner, Owner::Account(..))));
        let mut policy = OrderedPolicy {
            kind: Kind::Profile,
            metadata,
            tier: Some(PROFILES.into()),
            order,
            subject: owner.pods(),
            ingress: Some(Vec::new()),
            egress: Some(Vec::new()),
            staged: None,
        };
        let mut opens = is_known.is_ok() && owner != Owner::Anybody;
        let Some(spec) = root.field("spec") else {
            return Self { policy, owner };
        };
        let known = ["ingress", "egress", "labelsToApply"];
        let is_closed =
            report.within(SHUT, |report| spec.closed(report, "a Profile's spec", &known));
        opens &= is_closed.is_ok();
        tell_labels(&spec, report);
        let mut read = |direction| {
            let listed = |at: &Place<'_>, report: &mut Report<'_>| listed(at, direction, report);
            Some(rules(&spec, direction, &known, RULES_MAX, report, listed))
        };
        (policy.ingress, policy.egress) = (read(Direction::Ingress), read(Direction::Egress));
        if !opens {
            policy.shut();
        }
        if owner == Owner::Nobody && *policy.metadata.key.name != *OF_HOSTS {
            let message = "it is no pod's profile: nothing of it is enforced";
            let remedy = "name it kns.NAMESPACE, or ksa.NAMESPACE.ACCOUNT";
            report.warning(&root.missing("metadata.name"), message, remedy);
        }
        Self { policy, owner }
    }
}

/// What Calico writes there stands for labels of the namespace and of the account, which are known
/// from these; more is told of.
fn tell_labels(spec: &Place<'_>, report: &mut Report<'_>) {
    let Some(at) = spec.field("labelsToApply") else { return };
    let Ok(labels) = labels::map(&at, report) else { return };
    let own = [OF_NAMESPACE, OF_ACCOUNT, "projectcalico.org/"];
    let mut others =
        labels.iter().filter(|(key, _)| !own.iter().any(|known| key.starts_with(known)));
    if let Some((key, _)) = others.next() {
        let message = format!("{} is given to no pod: no selector sees it", quoted(key));
        report.warning(&at, &message, "write the label on the pods");
    }
}

/// A rule; there is nothing that one could pass to.
fn listed(at: &Place<'_>, direction: Direction, report: &mut Report<'_>) -> Listed {
    match rule::listed(at, direction, None, report) {
        Listed::Rule(rule) if rule.action == Action::Pass => {
            let at = at.field("action").unwrap_or_else(|| at.clone());
            let message = "after the profiles nothing is asked that could be passed to";
            let consequence = "until then the rule denies everything";
            report.within(consequence, |report| report.error(&at, message, "write Allow or Deny"));
            Listed::DenyAll
        }
        listed => listed,
    }
}
