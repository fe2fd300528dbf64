//! Ordered policy: tiers, asked one after the other (CNP-2, CAL-24 to CAL-29).
//!
//! Every policy of every API that selects the side in question gives its opinion: what the first
//! of its rules that matches does. Sorted, they are read from the top: the first opinion of a tier
//! decides or passes, and where a tier has none but was asked, its default does. A
//! `NetworkPolicy` of Kubernetes is one that only allows, in the tier `default`, at order 1000.
//! After all tiers come the pod's profiles, as if they were one more.
//!
//! ```text
//! calico.rs ──> protocol.rs; entity.rs, ports.rs, service.rs; ──┐
//!               wearer.rs, host.rs, selector.rs                 │
//! profile.rs ─> calico.rs ──────────────────────────────────────┤
//! cluster.rs ─> peer.rs, traffic.rs ────────────────────────────┼──> Opinion ──> judge_side
//! ../judge.rs (Kubernetes) ─────────────────────────────────────┘
//! ```
//!
//! Read closed, as `control/src/policy/mod.rs` says it: what allows and cannot be read matches
//! nothing, what denies or passes and cannot be read denies everything. Pods and namespaces are
//! taken to be sound here, but for what `judge.rs` has seen to, and so are network sets; a host
//! endpoint is not.

mod calico;
mod cluster;
mod entity;
mod host;
mod peer;
mod ports;
mod profile;
mod protocol;
mod selector;
mod service;
mod traffic;
mod wearer;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use super::judge::{self, Asked};
use super::reading::{at, field};
use super::{Broken, By, Cluster, RuleName, Side, ends};

/// Whether a selector of Calico's matches what bears these labels, in a namespace.
///
/// # Errors
/// When the text is no selector.
pub fn selects_by_expression(
    text: &str,
    labels: &BTreeMap<String, String>,
) -> Result<bool, Broken> {
    selector::selects(text, selector::Asked { labels, has_namespace: true, of_namespaces: false })
}

const ADMIN: &str = "kube-admin";
const DEFAULT: &str = "default";
const BASELINE: &str = "kube-baseline";
/// Where a `NetworkPolicy` of Kubernetes stands in its tier.
const ORDER_OF_KUBERNETES: f64 = 1000.0;

/// What is done with what a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Allow,
    Deny,
    Pass,
    /// Seen, and the next rule is asked.
    Log,
}

/// Where a policy is asked.
#[derive(Clone, Debug)]
struct Tier {
    /// Named by a policy, but there is none: after all that are there.
    is_absent: bool,
    order: f64,
    name: String,
    /// What is selected and not decided here goes on to the next.
    passes: bool,
}

/// What a policy that selects the side says of it.
#[derive(Clone, Debug)]
struct Opinion {
    tier: Tier,
    order: f64,
    /// At equal order: the lower first, before any name.
    sort: u8,
    namespace: String,
    name: String,
    /// The first rule that matches; `None` where none does.
    said: Option<(usize, Action)>,
}

impl Tier {
    fn fixed(name: &str) -> Option<Self> {
        let (order, passes) = match name {
            ADMIN => (1000.0, true),
            DEFAULT => (1_000_000.0, false),
            BASELINE => (10_000_000.0, true),
            _ => return None,
        };
        Some(Self { is_absent: false, order, name: name.to_owned(), passes })
    }

    /// Where profiles are asked. No policy can name it: empty text names `default`.
    fn of_profiles() -> Self {
        Self { is_absent: true, order: f64::INFINITY, name: String::new(), passes: false }
    }

    /// The tier that a policy of Calico names.
    fn named(cluster: &Cluster, name: &str) -> Self {
        Self::fixed(name).unwrap_or_else(|| {
            let is_it = |one: &&Value| {
                is_of_calico(one) && one["kind"] == "Tier" && one["metadata"]["name"] == name
            };
            match cluster.objects.iter().find(is_it) {
                Some(object) => Self {
                    is_absent: false,
                    order: at(object, "spec/order")
                        .and_then(Value::as_f64)
                        .unwrap_or(f64::INFINITY),
                    name: name.to_owned(),
                    passes: at(object, "spec/defaultAction").is_some_and(|one| one == "Pass"),
                },
                None => Self {
                    is_absent: true,
                    order: f64::INFINITY,
                    name: name.to_owned(),
                    passes: false,
                },
            }
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_order = self.order.total_cmp(&other.order);
        self.is_absent.cmp(&other.is_absent).then(by_order).then(self.name.cmp(&other.name))
    }
}

impl Opinion {
    fn compare(&self, other: &Self) -> Ordering {
        let by_tier = self.tier.compare(&other.tier);
        let by_order = self.order.total_cmp(&other.order).then(self.sort.cmp(&other.sort));
        let by_name = (&self.name, &self.namespace).cmp(&(&other.name, &other.namespace));
        by_tier.then(by_order).then(by_name)
    }

    /// As it is told.
    fn policy(&self) -> String {
        match self.namespace.as_str() {
            "" => self.name.clone(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }
}

/// Whether anything is there that only tiers can judge.
pub(super) fn has_ordered(cluster: &Cluster) -> bool {
    let is_ordered =
        |one| calico::is_policy(one) || cluster::is_policy(one) || profile::decides(one);
    cluster.objects.iter().any(is_ordered)
}

/// The answer of one side.
pub(super) fn judge_side(asked: &Asked<'_>) -> Side {
    let objects = &asked.cluster.objects;
    let kubernetes = asked.cluster.policies().filter_map(|one| of_kubernetes(one, asked));
    let calico = objects.iter().filter_map(|one| calico::opinion(one, asked));
    let clusters = objects.iter().filter_map(|one| cluster::opinion(one, asked));
    let mut opinions: Vec<Opinion> = kubernetes.chain(calico).chain(clusters).collect();
    opinions.sort_by(Opinion::compare);
    opinions.extend(profile::opinions(asked));
    for tier in opinions.chunk_by(|one, next| one.tier.name == next.tier.name) {
        // CNP-15: of what a Service brings back, the policies of the cluster alone have a word, where
        // none stands before them that allows it by sparing it.
        if asked.is_brought && ![ADMIN, BASELINE].contains(&tier[0].tier.name.as_str()) {
            if tier[0].tier.passes {
                continue;
            }
            return open(By::NotIsolated);
        }
        let first = tier.iter().find_map(|one| Some((one, one.said?)));
        match first {
            Some((_, (_, Action::Pass | Action::Log))) => {}
            Some((one, (index, action))) => return decided(one, index, action),
            None if tier[0].tier.passes => {}
            None => {
                let isolating = tier.iter().map(Opinion::policy).collect();
                return Side { isolating, ..open(By::DefaultDeny) };
            }
        }
    }
    open(By::NotIsolated)
}

/// The opinion of a `NetworkPolicy` of Kubernetes: its rules only allow.
fn of_kubernetes(policy: &Value, asked: &Asked<'_>) -> Option<Opinion> {
    if !judge::isolates(policy, asked) {
        return None;
    }
    let rules = judge::failing_of_rules(policy, asked);
    let matching = rules.into_iter().find(|(_, failing)| failing.is_empty());
    let (namespace, name) = ends::key(policy);
    Some(Opinion {
        tier: Tier::fixed(DEFAULT)?,
        order: ORDER_OF_KUBERNETES,
        sort: 0,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        said: matching.map(|(index, _)| (index, Action::Allow)),
    })
}

fn is_of_calico(object: &Value) -> bool {
    matches!(version(object), "projectcalico.org/v3" | "crd.projectcalico.org/v1")
}

fn version(object: &Value) -> &str {
    object["apiVersion"].as_str().unwrap_or_default()
}

fn decided(opinion: &Opinion, index: usize, action: Action) -> Side {
    let rule = RuleName { policy: opinion.policy(), index };
    if action == Action::Allow {
        Side { allowing: vec![rule.clone()], ..open(By::Rule(rule)) }
    } else {
        open(By::DenyRule(rule))
    }
}

fn open(by: By) -> Side {
    Side { by, isolating: Vec::new(), allowing: Vec::new(), nearest: None }
}

/// What a rule says, by its action and by whether it matches: closed where that cannot be read, or
/// where its policy may open nothing.
fn said(action: Action, matches: Result<bool, Broken>, may_open: bool) -> Option<Action> {
    match (action, matches) {
        (Action::Allow, Ok(true)) => may_open.then_some(action),
        (Action::Allow | Action::Log, _) => None,
        // What it passes would meet rules it was spared.
        (Action::Pass, Ok(_)) if !may_open => Some(Action::Deny),
        (Action::Deny | Action::Pass, Err(_)) => Some(Action::Deny),
        (Action::Deny | Action::Pass, Ok(matches)) => matches.then_some(action),
    }
}

/// The fields of an object's spec, or null: then every field is absent.
fn spec(object: &Value) -> &Value {
    field(object, "spec").unwrap_or(&Value::Null)
}
