//! Reads every rule of every policy of one side, in order.

use std::net::IpAddr;

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::Direction;

use super::ends::Met;
use super::nearest::{self, Meeting, Miss};
use super::{Reason, RuleName, Side, Verdict};
use crate::inventory::{Census, DENIED_POLICY, Inventory, Resident};
use crate::manifest::{NetworkPolicy, Problem, Severity};

/// A question whose ends are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'q> {
    pub(super) from: &'q Met,
    pub(super) to: &'q Met,
    pub(super) protocol: Protocol,
    /// The target port, 0 for protocols without.
    pub(super) port: u16,
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'q, 'i> {
    pub(super) inventory: &'i Inventory,
    pub(super) census: &'q Census<'i>,
}

impl<'i> Judge<'_, 'i> {
    /// What one side's policies say.
    pub(super) fn side(&self, asked: &Asked<'_>, direction: Direction) -> Side {
        let (own, other) = match direction {
            Direction::Egress => (asked.from, asked.to),
            Direction::Ingress => (asked.to, asked.from),
        };
        let Some(subject) = self.resident(own) else { return allowed(Reason::Outside, vec![]) };
        if subject.is_denied {
            return Side { problems: self.wrong_with(subject), ..denied_pod(own, other) };
        }
        let policies = self.isolating(subject, direction);
        if own.place == other.place {
            return allowed(Reason::Itself, names(&policies));
        }
        if direction == Direction::Ingress && self.is_own_node(subject, other) {
            return allowed(Reason::OwnNode, names(&policies));
        }
        if policies.is_empty() {
            return allowed(Reason::NotIsolated, Vec::new());
        }
        self.by_rules(asked, direction, &policies, (subject, other))
    }

    fn by_rules(
        &self,
        asked: &Asked<'_>,
        direction: Direction,
        policies: &[&'i NetworkPolicy],
        (subject, other): (&Resident<'i>, &Met),
    ) -> Side {
        // No selector sees a denied pod.
        let other_pod = self.resident(other).filter(|resident| !resident.is_denied);
        let target = match direction {
            Direction::Ingress => Some(subject),
            Direction::Egress => other_pod,
        };
        let labels = other_pod.and_then(|one| self.inventory.namespace_labels(one.namespace()));
        let meeting = Meeting {
            namespace: subject.namespace(),
            other_pod: other_pod.map(|resident| resident.pod),
            other_namespace: labels.as_ref(),
            address: other.address,
            shown: &other.shown,
            target: target.map(|resident| resident.pod),
            protocol: asked.protocol,
            port: asked.port,
        };
        let mut broken = Vec::new();
        let mut misses: Vec<(RuleName, Vec<Miss>)> = Vec::new();
        for policy in policies {
            let rules = policy.rules(direction).unwrap_or_default();
            for (index, rule) in (0u32..).zip(rules) {
                let named = RuleName { policy: name(policy), rule: index };
                let Some(rule) = rule else {
                    broken.push(named);
                    continue;
                };
                let failures = nearest::misses(rule, &meeting);
                if failures.is_empty() {
                    let side = allowed(Reason::Rule, names(policies));
                    return Side { by: vec![named], ..side };
                }
                misses.push((named, failures));
            }
        }
        Side {
            verdict: Verdict::Deny,
            reason: Reason::DefaultDeny,
            by: Vec::new(),
            isolated_by: names(policies),
            nearest: nearest::nearest(misses),
            broken,
            problems: self.problems(policies, direction),
        }
    }

    /// What is wrong with policies that matters in a direction: not what is in the other's rules.
    fn problems(&self, policies: &[&NetworkPolicy], direction: Direction) -> Vec<Problem> {
        let others = match direction {
            Direction::Egress => "spec.ingress",
            Direction::Ingress => "spec.egress",
        };
        let matters = |problem: &&Problem| {
            problem.severity != Severity::Notice && !problem.field.starts_with(others)
        };
        let said = policies.iter().flat_map(|policy| self.inventory.problems_of(&policy.metadata));
        said.filter(matters).cloned().collect()
    }

    /// What is wrong with a pod that is denied everything.
    fn wrong_with(&self, subject: &Resident<'i>) -> Vec<Problem> {
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        let said = self.inventory.problems_of(&subject.pod.metadata).cloned();
        said.chain(self.census.problems_of(subject)).filter(is_error).collect()
    }

    /// The policies that select a pod in a direction, by name (NP-2).
    fn isolating(&self, subject: &Resident<'i>, direction: Direction) -> Vec<&'i NetworkPolicy> {
        let Some(labels) = &subject.pod.labels else { return Vec::new() };
        let namespace = &subject.pod.metadata.key.namespace;
        let own = self.inventory.policies_of(namespace);
        let own = own.filter(|policy| policy.subjects.matches(labels));
        let all = own.chain(self.inventory.lost_policies());
        let mut found: Vec<_> = all.filter(|policy| policy.rules(direction).is_some()).collect();
        found.sort_by_key(|policy| &policy.metadata.key);
        found
    }

    /// Whether this is the pod's own node: an address of the node that no pod has (NP-40).
    fn is_own_node(&self, subject: &Resident<'i>, other: &Met) -> bool {
        let is_node = |address: &IpAddr| {
            self.census.node_addresses(std::iter::once(subject.pod)).contains(address)
        };
        other.place.is_none() && is_node(&other.address)
    }

    fn resident(&self, met: &Met) -> Option<&Resident<'i>> {
        self.census.residents.get(met.place?)
    }
}

/// Everything to and from a denied pod is denied but what stays in it. What is known only by an
/// address that others claim too may as well be one of those.
fn denied_pod(own: &Met, other: &Met) -> Side {
    let isolated_by = vec![DENIED_POLICY.to_owned()];
    if own.place == other.place && !own.is_doubtful && !other.is_doubtful {
        return allowed(Reason::Itself, isolated_by);
    }
    let side = allowed(Reason::DefaultDeny, isolated_by);
    Side { verdict: Verdict::Deny, ..side }
}

fn allowed(reason: Reason, isolated_by: Vec<String>) -> Side {
    Side {
        verdict: Verdict::Allow,
        reason,
        by: Vec::new(),
        isolated_by,
        nearest: None,
        broken: Vec::new(),
        problems: Vec::new(),
    }
}

fn names(policies: &[&NetworkPolicy]) -> Vec<String> {
    policies.iter().map(|policy| name(policy)).collect()
}

fn name(policy: &NetworkPolicy) -> String {
    let key = &policy.metadata.key;
    format!("{}/{}", key.namespace, key.name)
}
