//! `ClusterNetworkPolicy` (CNP-1 to CNP-15) and what it grew out of, `AdminNetworkPolicy` and
//! `BaselineAdminNetworkPolicy`: the same but for the names of some fields.

use lockgate_dataplane::policy::ruleset::Direction;
use serde_json::{Map, Value};

use super::super::judge::Asked;
use super::super::reading::{field, list, list_name, only};
use super::super::{Broken, ends, label};
use super::{ADMIN, Action, BASELINE, Opinion, Tier, peer, said, spec, traffic, version};

/// Rules in a list.
const CLUSTER_RULES_MAX: usize = 25;
const ADMIN_RULES_MAX: usize = 100;

/// The three kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cluster,
    Admin,
    BaselineAdmin,
}

impl Kind {
    fn of(object: &Value) -> Option<Self> {
        match (version(object), object["kind"].as_str().unwrap_or_default()) {
            ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy") => Some(Self::Cluster),
            ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy") => Some(Self::Admin),
            ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy") => {
                Some(Self::BaselineAdmin)
            }
            _ => None,
        }
    }

    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Cluster => &["tier", "priority", "subject", "ingress", "egress"],
            Self::Admin => &["priority", "subject", "ingress", "egress"],
            Self::BaselineAdmin => &["subject", "ingress", "egress"],
        }
    }

    /// The field of a rule that says which traffic.
    fn traffic(self) -> &'static str {
        if self == Self::Cluster { "protocols" } else { "ports" }
    }

    fn rules_max(self) -> usize {
        if self == Self::Cluster { CLUSTER_RULES_MAX } else { ADMIN_RULES_MAX }
    }

    fn action(self, rule: &Value) -> Result<Action, Broken> {
        let allow = if self == Self::Cluster { "Accept" } else { "Allow" };
        match field(rule, "action").and_then(Value::as_str) {
            Some(word) if word == allow => Ok(Action::Allow),
            Some("Deny") => Ok(Action::Deny),
            Some("Pass") if self != Self::BaselineAdmin => Ok(Action::Pass),
            _ => Err(Broken("no such action")),
        }
    }
}

/// Whether it is a policy of one of these kinds.
pub(super) fn is_policy(object: &Value) -> bool {
    Kind::of(object).is_some()
}

/// What the policy says, if it is one and selects the side in question. Without a spec it does
/// nothing.
pub(super) fn opinion(object: &Value, asked: &Asked<'_>) -> Option<Opinion> {
    let kind = Kind::of(object)?;
    let spec = Some(spec(object)).filter(|spec| !spec.is_null())?;
    let subject = is_subject(spec, asked);
    if subject == Ok(false) {
        return None;
    }
    let tier = tier(kind, spec);
    let order = order(kind, spec);
    let may_open =
        subject.is_ok() && tier.is_ok() && order.is_ok() && only(spec, kind.fields()).is_ok();
    let (order, sort) = match (tier.is_ok(), order) {
        (true, Ok(order)) => (order, u8::from(kind != Kind::Cluster)),
        _ => (f64::NEG_INFINITY, 0),
    };
    Some(Opinion {
        tier: Tier::fixed(tier.unwrap_or(ADMIN))?,
        order,
        sort,
        namespace: String::new(),
        name: ends::key(object).1.to_owned(),
        said: first(kind, spec, asked, may_open),
    })
}

fn tier(kind: Kind, spec: &Value) -> Result<&'static str, Broken> {
    match (kind, field(spec, "tier").and_then(Value::as_str)) {
        (Kind::Admin, _) | (Kind::Cluster, Some("Admin")) => Ok(ADMIN),
        (Kind::BaselineAdmin, _) | (Kind::Cluster, Some("Baseline")) => Ok(BASELINE),
        _ => Err(Broken("a tier is Admin or Baseline")),
    }
}

/// The lower first; the `BaselineAdminNetworkPolicy` has none, and comes last.
fn order(kind: Kind, spec: &Value) -> Result<f64, Broken> {
    if kind == Kind::BaselineAdmin {
        return Ok(f64::INFINITY);
    }
    let number = field(spec, "priority").and_then(Value::as_u64).filter(|one| *one <= 1000);
    number.and_then(|one| u16::try_from(one).ok()).map(f64::from).ok_or(Broken("not a priority"))
}

/// Whether the subject in question is the policy's. Where that cannot be read, every pod is.
fn is_subject(spec: &Value, asked: &Asked<'_>) -> Result<bool, Broken> {
    let subject = field(spec, "subject").ok_or(Broken("no subject"))?;
    only(subject, &["namespaces", "pods"])?;
    is_meant(subject, asked, Some(asked.subject))
}

/// Whether a pod is meant by `namespaces` or by `pods`, of which exactly one is there.
pub(super) fn is_meant(
    written: &Value,
    asked: &Asked<'_>,
    pod: Option<&Value>,
) -> Result<bool, Broken> {
    let (namespaces, pods) = match (field(written, "namespaces"), field(written, "pods")) {
        (Some(namespaces), None) => (Some(namespaces), None),
        (None, Some(pods)) => {
            only(pods, &["namespaceSelector", "podSelector"])?;
            (field(pods, "namespaceSelector"), field(pods, "podSelector"))
        }
        _ => return Err(Broken("exactly one of namespaces and pods")),
    };
    for selector in [namespaces, pods].into_iter().flatten() {
        label::selects(selector, &Map::new())?;
    }
    let Some(pod) = pod else { return Ok(false) };
    let in_namespaces = match namespaces {
        Some(selector) => match ends::namespace_labels(asked.cluster, ends::key(pod).0) {
            Some(labels) => label::selects(selector, &labels)?,
            None => false,
        },
        None => true,
    };
    let is_selected = match pods {
        Some(selector) => label::selects(selector, ends::labels(pod))?,
        None => true,
    };
    Ok(in_namespaces && is_selected)
}

/// The first rule that matches. Those beyond the limit cannot be read.
fn first(kind: Kind, spec: &Value, asked: &Asked<'_>, may_open: bool) -> Option<(usize, Action)> {
    let rules = match field(spec, list_name(asked.direction)) {
        Some(rules) => match rules.as_array() {
            Some(rules) => rules.as_slice(),
            None => return Some((0, Action::Deny)),
        },
        None => &[],
    };
    let says = |(index, rule): (usize, &Value)| {
        let Ok(action) = kind.action(rule) else { return Some((index, Action::Deny)) };
        let too_many = index >= kind.rules_max();
        let matches = if too_many { Err(Broken("too many")) } else { matches(kind, rule, asked) };
        Some((index, said(action, matches, may_open)?))
    };
    rules.iter().enumerate().find_map(says)
}

/// Any of its peers, and any of its kinds of traffic.
fn matches(kind: Kind, rule: &Value, asked: &Asked<'_>) -> Result<bool, Broken> {
    let peers = match asked.direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    only(rule, &["name", "action", peers, kind.traffic()])?;
    let peers = field(rule, peers).ok_or(Broken("no peers"))?;
    let is_peer = peer::matches(list(peers, "peers must be a list")?, asked)?;
    let is_traffic = match field(rule, kind.traffic()) {
        None => true,
        Some(written) => {
            let items = list(written, "must be a list")?;
            let is_named = traffic::is_named(items);
            if is_named && peer::are_addresses(peers) {
                return Err(Broken("a named port is a pod's"));
            }
            if kind == Kind::Cluster {
                traffic::is_of_protocols(items, asked)?
            } else {
                traffic::is_of_ports(items, asked)?
            }
        }
    };
    Ok(is_peer && is_traffic)
}
