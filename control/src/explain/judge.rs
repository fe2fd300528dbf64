//! Reads every rule of every policy of one side, in order.

use std::net::IpAddr;

use lockgate_dataplane::endpoint::OwnNode;
use lockgate_dataplane::policy::ruleset::{Direction, PodIndex, Service, View};

use super::ends::Met;
use super::lowered::Lowered;
use super::nearest::Meeting;
use super::walk::{Voice, Walk, names};
use super::{Reason, Side, Verdict};
use crate::inventory::{Census, DENIED_POLICY, Inventory, Resident, without_tier};
use crate::manifest::{Problem, Severity};

/// A question whose ends are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'q> {
    pub(super) from: &'q Met,
    pub(super) to: &'q Met,
    pub(super) service: Service,
}

impl<'q> Asked<'q> {
    /// The end whose policies are asked, and the other one.
    pub(super) fn sides(&self, direction: Direction) -> (&'q Met, &'q Met) {
        match direction {
            Direction::Egress => (self.from, self.to),
            Direction::Ingress => (self.to, self.from),
        }
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'q, 'i> {
    pub(super) inventory: &'i Inventory,
    pub(super) census: &'q Census<'i>,
    pub(super) ordered: &'q Lowered<'i>,
    pub(super) own_node: OwnNode,
}

impl<'q, 'i> Judge<'q, 'i> {
    /// What one side's policies say; would say, once all is in force that is staged.
    pub(super) fn side(&self, asked: &Asked<'q>, view: View, direction: Direction) -> Side {
        let (own, other) = asked.sides(direction);
        let Some((subject, place)) = self.resident(own).zip(own.place) else {
            return Side::allowed(Reason::Outside, vec![]);
        };
        if subject.is_denied {
            return Side { problems: self.wrong_with(subject), ..denied_pod(own, other) };
        }
        let place = PodIndex(u32::try_from(place).unwrap_or(u32::MAX));
        let voices = self.asked(subject, place, (view, direction));
        if own.place == other.place && view != View::Itself {
            return Side::allowed(Reason::Itself, names(&voices));
        }
        if direction == Direction::Ingress && self.is_exempt(subject, other) {
            return Side::allowed(Reason::OwnNode, names(&voices));
        }
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
            protocol: asked.service.protocol,
            port: asked.service.port,
        };
        Walk::new(*self, asked, direction, (subject, place), meeting).through(&voices)
    }

    /// What is wrong with policies that matters in a direction: not what is in the other's rules.
    pub(super) fn problems(
        &self,
        policies: &[Voice<'_, 'i>],
        direction: Direction,
    ) -> Vec<Problem> {
        let others = match direction {
            Direction::Egress => "spec.ingress",
            Direction::Ingress => "spec.egress",
        };
        let matters = |problem: &&Problem| {
            problem.severity != Severity::Notice && !problem.field.starts_with(others)
        };
        let said = policies.iter().flat_map(|policy| self.inventory.problems_of(policy.metadata()));
        let mut found: Vec<Problem> = said.filter(matters).cloned().collect();
        let ordered = || policies.iter().filter_map(Voice::source);
        found.extend(ordered().filter_map(|policy| without_tier(self.inventory, policy)));
        // Policies that are told of together are of one tier.
        let tier = ordered().find_map(|policy| self.inventory.tier(policy.tier.as_deref()?));
        let is_error = |problem: &&Problem| problem.severity == Severity::Error;
        let of_tier = tier.into_iter().flat_map(|one| self.inventory.problems_of(&one.metadata));
        found.extend(of_tier.filter(is_error).cloned());
        found
    }

    /// What is wrong with a pod that is denied everything.
    fn wrong_with(&self, subject: &Resident<'i>) -> Vec<Problem> {
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        let said = self.inventory.problems_of(&subject.pod.metadata).cloned();
        said.chain(self.census.problems_of(subject)).filter(is_error).collect()
    }

    /// Whether something is staged for one side's pod.
    pub(super) fn is_staged(&self, asked: &Asked<'q>, direction: Direction) -> bool {
        let (own, _) = asked.sides(direction);
        let Some((subject, place)) = self.resident(own).zip(own.place) else { return false };
        let place = PodIndex(u32::try_from(place).unwrap_or(u32::MAX));
        let of = |view| self.asked(subject, place, (view, direction));
        [View::Now, View::Next].map(of).iter().flatten().any(Voice::is_staged)
    }

    /// The policies that select a pod in a direction and are asked in a view, the first to be asked
    /// first (NP-2).
    fn asked(
        &self,
        subject: &Resident<'i>,
        place: PodIndex,
        (view, direction): (View, Direction),
    ) -> Vec<Voice<'q, 'i>> {
        let Some(labels) = &subject.pod.labels else { return Vec::new() };
        let namespace = &subject.pod.metadata.key.namespace;
        let own = self.inventory.policies_of(namespace);
        let own = own.filter(|policy| policy.subjects.matches(labels));
        let all = own.chain(self.inventory.lost_policies());
        let plain = all
            .filter(|policy| policy.rules(direction).is_some())
            .map(|policy| Voice::plain(policy, self.inventory))
            .filter(|voice| voice.stage().stands(view));
        let ordered = self.ordered.selecting(place, (view, direction));
        let ordered = ordered.map(|one| Voice::ordered(one, self.inventory));
        let mut voices = Voice::sorted(plain.chain(ordered).collect());
        if view == View::Itself {
            Voice::keep_judging_itself(&mut voices);
        }
        voices
    }

    /// Whether this is the pod's own node, which is not judged: an address of the node that no pod has
    /// (NP-40).
    fn is_exempt(&self, subject: &Resident<'i>, other: &Met) -> bool {
        let is_node = |address: &IpAddr| {
            self.census.node_addresses(std::iter::once(subject.pod)).contains(address)
        };
        self.own_node == OwnNode::Exempt && other.place.is_none() && is_node(&other.address)
    }

    pub(super) fn resident(&self, met: &Met) -> Option<&'q Resident<'i>> {
        self.census.residents.get(met.place?)
    }
}

/// Everything to and from a denied pod is denied but what stays in it. What is known only by an
/// address that others claim too may as well be one of those.
fn denied_pod(own: &Met, other: &Met) -> Side {
    let isolated_by = vec![DENIED_POLICY.to_owned()];
    if own.place == other.place && !own.is_doubtful && !other.is_doubtful {
        return Side::allowed(Reason::Itself, isolated_by);
    }
    let side = Side::allowed(Reason::DefaultDeny, isolated_by);
    Side { verdict: Verdict::Deny, ..side }
}

impl Side {
    /// An answer that allows, of these policies.
    pub(super) fn allowed(reason: Reason, isolated_by: Vec<String>) -> Self {
        Self {
            verdict: Verdict::Allow,
            reason,
            by: Vec::new(),
            isolated_by,
            nearest: None,
            broken: Vec::new(),
            problems: Vec::new(),
            walk: Vec::new(),
        }
    }
}
