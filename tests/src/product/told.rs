//! What `explain` tells, in the oracle's words, and where it is otherwise than the oracle's.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lockgate_control::explain::{self, AskedProtocol, Reason, Request, explain};
use lockgate_control::inventory::Inventory;
use lockgate_control::policy::{IpProtocol, kubernetes};
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::event::{Outcome, Sample};
use lockgate_dataplane::packet::Protocol;

use crate::oracle::{Answer, By, Cluster, End, Family, Nearest, Part, Question, RuleName, Side};

/// What the agent tells of a denied packet that was sampled otherwise than the oracle tells of its
/// flow.
#[must_use]
pub fn sample_disagreement(
    cluster: &Cluster,
    inventory: &Inventory,
    sample: &Sample,
) -> Option<String> {
    let key = &sample.key;
    let (source, target) = (IpAddr::from(key.source), IpAddr::from(key.target));
    let question = Question {
        source: End::Address(source),
        target: End::Address(target),
        protocol: key.protocol,
        port: key.target_port,
        source_port: key.source_port,
        family: if source.is_ipv4() { Family::V4 } else { Family::V6 },
    };
    let oracle = match cluster.judge(&question) {
        Ok(oracle) => oracle,
        Err(why) => return Some(format!("sampled {key:?}: {why:?}")),
    };
    let told = match explain(inventory, &Request::of(key)) {
        Ok(told) => told,
        Err(why) => return Some(format!("sampled {key:?}: {why}")),
    };
    let Outcome::Dropped(reason) = sample.outcome else { return None };
    let denied = match reason {
        DropReason::EgressDenied => &oracle.egress,
        _ => &oracle.ingress,
    };
    let told =
        Answer { egress: explained_side(told.egress), ingress: explained_side(told.ingress) };
    let is_denied = matches!(denied.by, By::DefaultDeny | By::DenyRule(_));
    (!is_denied)
        .then(|| format!("sampled as {}: {oracle:?}", reason.label()))
        .or_else(|| told_difference(cluster, &oracle, &told).map(|text| format!("sampled, {text}")))
}

pub(super) fn explained_family(family: Family) -> explain::Family {
    match family {
        Family::V4 => explain::Family::V4,
        Family::V6 => explain::Family::V6,
    }
}

/// The number of a protocol, which is the port of one that has no other name.
pub(super) fn number(protocol: Protocol, port: u16) -> AskedProtocol {
    AskedProtocol::Number(match protocol {
        Protocol::Other => IpProtocol(u8::try_from(port).unwrap_or(u8::MAX)),
        known => kubernetes::number(known),
    })
}

/// The name of a policy without its kind, which stands before it where two are called so.
fn bare(policy: &str) -> String {
    policy.rsplit(' ').next().unwrap_or_default().to_owned()
}

pub(super) fn rule_name(rule: &explain::RuleName) -> RuleName {
    RuleName { policy: bare(&rule.policy), index: usize::try_from(rule.rule).unwrap_or(usize::MAX) }
}

pub(super) fn explained_side(side: explain::Side) -> Side {
    let allowing: Vec<RuleName> = side.by.iter().map(rule_name).collect();
    let by = match (side.reason, allowing.first()) {
        (Reason::Rule, Some(first)) => By::Rule(first.clone()),
        // Allowed by a rule that is not named differs from whatever the oracle says.
        (Reason::Rule, None) => By::Rule(RuleName { policy: String::new(), index: 0 }),
        (Reason::DenyRule, Some(first)) => By::DenyRule(first.clone()),
        (Reason::DenyRule, None) => By::DenyRule(RuleName { policy: String::new(), index: 0 }),
        (Reason::NotIsolated | Reason::Undecided | Reason::Outside, _) => By::NotIsolated,
        (Reason::DefaultDeny, _) => By::DefaultDeny,
        (Reason::Itself, _) => By::Itself,
        (Reason::OwnNode, _) => By::OwnNode,
    };
    let nearest = side.nearest.map(|nearest| Nearest {
        rule: rule_name(&explain::RuleName { policy: nearest.policy, rule: nearest.rule }),
        failing: nearest.failed.into_iter().filter_map(part).collect(),
    });
    let denies = matches!(by, By::DefaultDeny | By::DenyRule(_));
    assert_eq!(denies, side.verdict == explain::Verdict::Deny);
    let isolating = side.isolated_by.iter().map(|policy| bare(policy)).collect();
    Side { by, isolating, allowing, nearest }
}

/// The parts of a rule of Kubernetes; the oracle names none of others.
fn part(part: explain::Part) -> Option<Part> {
    Some(match part {
        explain::Part::Namespace => Part::Namespace,
        explain::Part::PodLabels => Part::PodLabels,
        explain::Part::Cidr => Part::Cidr,
        explain::Part::Except => Part::Except,
        explain::Part::Protocol => Part::Protocol,
        explain::Part::Port => Part::Port,
        _ => return None,
    })
}

/// Where the causes differ: the rule that allows, or the policies that isolate.
pub(super) fn difference(oracle: &Answer, product: &Answer) -> Option<String> {
    by_side(oracle, product, |ours, theirs| {
        ours.by != theirs.by || ours.by == By::DefaultDeny && !isolate_alike(ours, theirs)
    })
}

/// Where what is told differs: of tiers the oracle tells no more than what decides.
pub(super) fn told_difference(cluster: &Cluster, oracle: &Answer, told: &Answer) -> Option<String> {
    if cluster.is_tiered() { difference(oracle, told) } else { full_difference(oracle, told) }
}

/// Where anything that is told differs.
fn full_difference(oracle: &Answer, product: &Answer) -> Option<String> {
    by_side(oracle, product, |ours, theirs| {
        // Where no policy was asked, which ones could have been is not told the same way.
        let asked = !matches!(ours.by, By::Itself | By::OwnNode);
        let unknown_rule = theirs.allowing.iter().any(|rule| !ours.allowing.contains(rule));
        let other_policies = !isolate_alike(ours, theirs);
        ours.by != theirs.by
            || ours.nearest != theirs.nearest
            || asked && (other_policies || unknown_rule)
    })
}

/// Whether the same policies isolate, in whichever order they are told.
fn isolate_alike(ours: &Side, theirs: &Side) -> bool {
    let [ours, theirs] = [ours, theirs].map(|side| BTreeSet::from_iter(&side.isolating));
    ours == theirs
}

fn by_side(
    oracle: &Answer,
    product: &Answer,
    differ: impl Fn(&Side, &Side) -> bool,
) -> Option<String> {
    let egress = ("egress", &oracle.egress, &product.egress);
    let ingress = ("ingress", &oracle.ingress, &product.ingress);
    let (name, ours, theirs) =
        [egress, ingress].into_iter().find(|(_, ours, theirs)| differ(ours, theirs))?;
    Some(format!("{name}:\n  oracle  {ours:?}\n  product {theirs:?}"))
}
