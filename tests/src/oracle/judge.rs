//! The judgement: every policy, every rule, every peer, every port, each time.

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::Direction;
use serde_json::Value;

use super::doubt;
use super::ends::{self, Found};
use super::label;
use super::reading::{self, Broken, Number, Peer, Port, Rule};
use super::tiers;
use super::{Answer, By, Cluster, End, Family, Nearest, Part, Question, RuleName, Side};

/// What is told to isolate a pod that nobody can tell.
const UNUSABLE: &str = "(lockgate)/unusable-pods";

/// One direction of a question: whose policy is asked, about whom.
pub(super) struct Asked<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) direction: Direction,
    /// The pod whose policy decides.
    pub(super) subject: &'a Value,
    /// Its end.
    pub(super) own: &'a Found<'a>,
    /// The end at the other side.
    pub(super) other: &'a Found<'a>,
    /// The end that has the port.
    pub(super) target: &'a Found<'a>,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    pub(super) source_port: u16,
    /// A Service has brought it back to the pod that sent it (CNP-15).
    pub(super) is_brought: bool,
}

impl Asked<'_> {
    pub(super) fn family(&self) -> Family {
        Family::of(self.own.address)
    }
}

pub(super) fn judge(cluster: &Cluster, question: &Question) -> Result<Answer, String> {
    let mut source = ends::find(cluster, &question.source, question.family)?;
    let mut target = ends::find(cluster, &question.target, question.family)?;
    let is_brought = ends::is_switch(source.address) && target.pod.is_some();
    if is_brought {
        source = ends::find(cluster, &question.target, question.family)?;
    }
    let itself = source
        .pod
        .is_some_and(|pod| target.pod.is_some_and(|other| ends::key(pod) == ends::key(other)));
    // Whoever is meant by an address that several have may as well be another of them.
    let is_doubtful = |end: &End, found: &Found<'_>| {
        matches!(end, End::Address(_)) && ends::is_claimed_twice(cluster, found.address)
    };
    let is_certain =
        !is_doubtful(&question.source, &source) && !is_doubtful(&question.target, &target);
    if itself && is_certain && !is_brought {
        return Ok(Answer { egress: open(By::Itself), ingress: open(By::Itself) });
    }
    // NP-40: the node's own traffic to its pods, judged by the target's node alone.
    let from_own_node = source.pod.is_none()
        && target.pod.is_some_and(|pod| ends::is_own_node(cluster, pod, source.address));
    // NP-54, NP-59: whose packets they are, or who that is, nobody knows, so no selector sees the
    // pod and nothing passes.
    let is_unknown = |pod| ends::is_shared(cluster, pod) || doubt::is_about_pod(pod);
    let [source_is_shut, target_is_shut] =
        [source.pod, target.pod].map(|pod| pod.is_some_and(is_unknown));
    source.pod = source.pod.filter(|_| !source_is_shut);
    target.pod = target.pod.filter(|_| !target_is_shut);
    let judge_one = if tiers::has_ordered(cluster) { tiers::judge_side } else { judge_side };
    let side = |direction, own: &Found<'_>, other: &Found<'_>| match own.pod {
        None => open(By::NotIsolated),
        Some(subject) => judge_one(&Asked {
            cluster,
            direction,
            subject,
            own,
            other,
            target: &target,
            protocol: question.protocol,
            port: question.port,
            source_port: question.source_port,
            is_brought,
        }),
    };
    let egress = side(Direction::Egress, &source, &target);
    let mut ingress = side(Direction::Ingress, &target, &source);
    if from_own_node {
        ingress.by = By::OwnNode;
        ingress.nearest = None;
    }
    let or_shut = |side, is_shut: bool| if is_shut { shut() } else { side };
    Ok(Answer {
        egress: or_shut(egress, source_is_shut),
        ingress: or_shut(ingress, target_is_shut),
    })
}

/// The side of a pod that nobody can tell.
fn shut() -> Side {
    Side { isolating: vec![UNUSABLE.to_owned()], ..open(By::DefaultDeny) }
}

fn open(by: By) -> Side {
    Side { by, isolating: Vec::new(), allowing: Vec::new(), nearest: None }
}

fn judge_side(asked: &Asked<'_>) -> Side {
    let mut side = open(By::NotIsolated);
    if asked.is_brought {
        return side;
    }
    let mut nearest: Vec<Nearest> = Vec::new();
    for policy in asked.cluster.policies() {
        if !isolates(policy, asked) {
            continue;
        }
        let name = ends::full_name(policy);
        side.isolating.push(name.clone());
        for (index, failing) in failing_of_rules(policy, asked) {
            let rule = RuleName { policy: name.clone(), index };
            if failing.is_empty() {
                side.allowing.push(rule);
            } else {
                nearest.push(Nearest { rule, failing });
            }
        }
    }
    side.isolating.sort();
    side.allowing.sort();
    if let Some(first) = side.allowing.first() {
        side.by = By::Rule(first.clone());
    } else if !side.isolating.is_empty() {
        side.by = By::DefaultDeny;
        side.nearest =
            nearest.into_iter().min_by_key(|near| (near.failing.len(), near.rule.clone()));
    }
    side
}

/// Whether the policy selects the subject and isolates it in the asked direction (NP-2).
pub(super) fn isolates(policy: &Value, asked: &Asked<'_>) -> bool {
    let (subject_namespace, _) = ends::key(asked.subject);
    let (policy_namespace, _) = ends::key(policy);
    let (ingress, egress) = reading::types(policy).unwrap_or((true, true));
    let stated = match asked.direction {
        Direction::Ingress => ingress,
        Direction::Egress => egress,
    };
    let selected = match reading::subjects(policy) {
        Ok(None) | Err(_) => true,
        Ok(Some(selector)) => label::selects(selector, ends::labels(asked.subject)) == Ok(true),
    };
    // Of a policy without a namespace to be read nobody can tell whom it was to isolate.
    let is_meant = subject_namespace == policy_namespace && selected;
    stated && (is_meant || doubt::is_lost(policy))
}

/// For every sound rule of the direction, its index and what of it fails.
pub(super) fn failing_of_rules(policy: &Value, asked: &Asked<'_>) -> Vec<(usize, Vec<Part>)> {
    if reading::subjects(policy).is_err() || doubt::is_lost(policy) || doubt::is_outdated(policy) {
        return Vec::new();
    }
    let rules = reading::rules(policy, asked.direction).unwrap_or_default();
    let mut found = Vec::new();
    for (index, written) in rules.iter().enumerate() {
        if let Ok(rule) = reading::rule(written, asked.direction)
            && let Ok(failing) = failing_parts(policy, &rule, asked)
        {
            found.push((index, failing));
        }
    }
    found
}

/// What fails of a rule: of its best peer and of its best port, the first among equals.
fn failing_parts(policy: &Value, rule: &Rule<'_>, asked: &Asked<'_>) -> Result<Vec<Part>, Broken> {
    let peers: Result<Vec<_>, _> =
        rule.peers.iter().map(|peer| failing_of_peer(policy, peer, asked)).collect();
    let best_peer = peers?.into_iter().min_by_key(Vec::len).unwrap_or_default();
    let ports = rule.ports.iter().map(|port| failing_of_port(port, asked));
    let best_port = ports.min_by_key(Vec::len).unwrap_or_default();
    Ok([best_peer, best_port].concat())
}

fn failing_of_peer(
    policy: &Value,
    peer: &Peer<'_>,
    asked: &Asked<'_>,
) -> Result<Vec<Part>, Broken> {
    let mut failing = Vec::new();
    match peer {
        Peer::Block { cidr, except } => {
            if !cidr.contains(asked.other.address) {
                failing.push(Part::Cidr);
            } else if except.iter().any(|part| part.contains(asked.other.address)) {
                failing.push(Part::Except);
            }
        }
        Peer::Pods { namespace, labels } => {
            let Some(pod) = asked.other.pod else {
                // NP-13: an address of no pod has neither namespace nor labels.
                failing.push(Part::Namespace);
                failing.extend(labels.map(|_| Part::PodLabels));
                return Ok(failing);
            };
            let (pod_namespace, _) = ends::key(pod);
            let in_namespace = match namespace {
                None => pod_namespace == ends::key(policy).0,
                Some(selector) => {
                    let labels = ends::namespace_labels(asked.cluster, pod_namespace);
                    labels.map_or(Ok(false), |labels| label::selects(selector, &labels))?
                }
            };
            let has_labels = match labels {
                None => true,
                Some(selector) => label::selects(selector, ends::labels(pod))?,
            };
            failing.extend((!in_namespace).then_some(Part::Namespace));
            failing.extend((!has_labels).then_some(Part::PodLabels));
        }
    }
    Ok(failing)
}

fn failing_of_port(port: &Port<'_>, asked: &Asked<'_>) -> Vec<Part> {
    let mut failing = Vec::new();
    if port.protocol != asked.protocol {
        failing.push(Part::Protocol);
    }
    let number = u64::from(asked.port);
    // A name on the protocol asked about: what fails is then the protocol alone.
    let named = |pod, name, protocol| ends::named_port(pod, name, protocol) == Some(number);
    let matches = match port.number {
        Number::All => true,
        // What has no ports fails by its protocol alone (NP-25).
        _ if !asked.protocol.has_ports() => true,
        Number::Between(first, last) => (first..=last).contains(&number),
        Number::Named(name) => asked
            .target
            .pod
            .is_some_and(|pod| named(pod, name, port.protocol) || named(pod, name, asked.protocol)),
    };
    failing.extend((!matches).then_some(Part::Port));
    failing
}
