//! The slow judge: answers a question by reading every rule.
//!
//! Obvious on purpose. It is what [`PolicyTable`](super::table::PolicyTable) is tested against,
//! and shares nothing with it but the [`Ruleset`] that both read. Where several rules allow, the
//! cause is the first of them by [`Policy::order`], then by [`Rule::index`].

use super::ruleset::{
    Answer, Cause, Direction, Party, PeerSet, Peers, PodIndex, Policy, PolicyId, PortRange, Ports,
    Question, Rule, Ruleset, SetId,
};
use crate::packet::Protocol;

impl Ruleset {
    /// Judges by reading every rule.
    ///
    /// A party's `pod` must be the pod that has its `address`, `None` where none has it.
    #[must_use]
    pub fn decide(&self, question: &Question) -> Answer {
        let Question { source, target, .. } = question;
        // NP-42: what a pod sends itself is nobody's to judge.
        if source.pod.is_some() && source.pod == target.pod {
            return Answer { egress: Cause::Itself, ingress: Cause::Itself };
        }
        let egress = match source.pod {
            None => Cause::NotIsolated,
            Some(pod) => self.side(Direction::Egress, pod, target, question),
        };
        let ingress = match target.pod {
            None => Cause::NotIsolated,
            // NP-40: the node may always reach its pods. What a pod sends to its node is judged.
            Some(_) if source.own_node => Cause::OwnNode,
            Some(pod) => self.side(Direction::Ingress, pod, source, question),
        };
        Answer { egress, ingress }
    }

    /// One pod's side of the question, `other` being who is at the other end.
    fn side(&self, direction: Direction, own: PodIndex, other: &Party, asked: &Question) -> Cause {
        let mut isolating = Vec::new();
        let mut allowing: Option<(PolicyId, u32)> = None;
        // Names are unique where objects come from; should two be equal, places decide.
        let order = |id: PolicyId| (self.policies[id.0 as usize].order(), id);
        for (id, policy) in (0..).map(PolicyId).zip(&self.policies) {
            let Some(rules) = policy.rules(direction) else { continue };
            if !self.set(policy.subjects).has_pod(own) {
                continue;
            }
            isolating.push(id);
            for rule in rules {
                if self.rule_allows(rule, own, other, asked)
                    && allowing
                        .is_none_or(|(best, index)| (order(id), rule.index) < (order(best), index))
                {
                    allowing = Some((id, rule.index));
                }
            }
        }
        match allowing {
            Some((policy, rule)) => Cause::Rule { policy, rule },
            None if isolating.is_empty() => Cause::NotIsolated,
            None => {
                isolating.sort_by_key(|&id| order(id));
                Cause::DefaultDeny { isolating: isolating.into() }
            }
        }
    }

    /// Own side AND any peer AND any port (NP-9).
    fn rule_allows(&self, rule: &Rule, own: PodIndex, other: &Party, asked: &Question) -> bool {
        let subject = rule.subjects.is_none_or(|set| self.set(set).has_pod(own));
        let peer = match &rule.peers {
            Peers::Any => true,
            Peers::Sets(sets) => sets.iter().any(|&set| self.set(set).has(other)),
        };
        let port = match &rule.ports {
            Ports::Any => true,
            Ports::Ranges(ranges) => ranges.iter().any(|r| r.has(asked.protocol, asked.port)),
        };
        subject && peer && port
    }

    /// The set of that number.
    pub(super) fn set(&self, id: SetId) -> &PeerSet {
        &self.sets[id.0 as usize]
    }
}

impl Policy {
    /// The rules of one direction; `None` where the policy does not isolate for it.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Egress => self.egress.as_deref(),
            Direction::Ingress => self.ingress.as_deref(),
        }
    }
}

impl PeerSet {
    fn has_pod(&self, pod: PodIndex) -> bool {
        self.pods.contains(&pod)
    }

    fn has(&self, party: &Party) -> bool {
        party.pod.is_some_and(|pod| self.has_pod(pod))
            || self.blocks.iter().any(|block| {
                block.cidr.contains(&party.address)
                    && !block.except.iter().any(|except| except.contains(&party.address))
            })
    }
}

impl PortRange {
    /// Whether the range has this port of this protocol: never of one without ports (NP-25).
    fn has(self, protocol: Protocol, port: u16) -> bool {
        protocol.has_ports() && self.protocol == protocol && self.first <= port && port <= self.last
    }
}
