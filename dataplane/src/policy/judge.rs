//! The slow judge: answers a question by reading every rule.
//!
//! Obvious on purpose. It is what [`PolicyTable`](super::table::PolicyTable) is tested against,
//! and shares nothing with it but the [`Ruleset`] that both read.

use super::ruleset::{
    Action, Answer, Cause, Direction, End, Party, PeerSet, Peers, PodIndex, Policy, PolicyId,
    PortRange, Ports, Question, Rule, Ruleset, Service, SetId, View,
};

impl Ruleset {
    /// Judges by reading every rule.
    ///
    /// A party's `pod` must be the pod that has its `address`, `None` where none has it.
    #[must_use]
    pub fn decide(&self, question: &Question) -> Answer {
        self.decide_in(View::Now, question)
    }

    /// The same in a view.
    #[must_use]
    pub fn decide_in(&self, view: View, question: &Question) -> Answer {
        let Question { source, target, .. } = question;
        // NP-42: what a pod sends itself is nobody's to judge, but where a Service brings it (CNP-15).
        let is_itself = source.pod.is_some() && source.pod == target.pod;
        if is_itself && view != View::Itself {
            return Answer { egress: Cause::Itself, ingress: Cause::Itself };
        }
        let egress = match source.pod {
            None => Cause::NotIsolated,
            Some(pod) => self.side((view, Direction::Egress), pod, target, question),
        };
        let ingress = match target.pod {
            None => Cause::NotIsolated,
            // NP-40: the node may always reach its pods. What a pod sends to its node is judged.
            Some(_) if source.own_node => Cause::OwnNode,
            Some(pod) => self.side((view, Direction::Ingress), pod, source, question),
        };
        Answer { egress, ingress }
    }

    /// One pod's side of the question, `other` being who is at the other end.
    fn side(
        &self,
        (view, direction): (View, Direction),
        own: PodIndex,
        other: &Party,
        asked: &Question,
    ) -> Cause {
        let selects = |policy: &&Policy| {
            let is_asked = policy.stage.stands(view) && policy.rules(direction).is_some();
            is_asked && self.set(policy.subjects).has_pod(own)
        };
        let mut selecting: Vec<&Policy> = self.policies.iter().filter(selects).collect();
        // Names are unique where objects come from; should two be equal, places decide.
        selecting.sort_by_key(|policy| policy.rank());
        let id = |policy: &Policy| {
            let at = self.policies.iter().position(|one| std::ptr::eq(one, policy));
            PolicyId(at.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX))
        };
        'tiers: for tier in selecting.chunk_by(|a, b| a.tier == b.tier) {
            let Some(first) = tier.first() else { continue };
            if view == View::Itself && !first.tier.judges_itself {
                match first.tier.end {
                    End::Deny => return Cause::NotIsolated,
                    End::Pass => continue 'tiers,
                }
            }
            for policy in tier {
                let rules = policy.rules(direction).unwrap_or_default().iter();
                let matching = rules
                    .filter(|rule| view == View::Log || rule.action != Action::Log)
                    .filter(|rule| rule.fit(&self.sets, own, other, asked.service).is_whole());
                let Some(rule) = matching.min_by_key(|rule| rule.index) else { continue };
                let (policy, index) = (id(policy), rule.index);
                match rule.action {
                    Action::Allow => return Cause::Rule { policy, rule: index },
                    Action::Deny => return Cause::DenyRule { policy, rule: index },
                    Action::Pass => continue 'tiers,
                    Action::Log => return Cause::Logged { policy, rule: index },
                }
            }
            if tier.iter().any(|policy| policy.tier.end == End::Deny) {
                return Cause::DefaultDeny { isolating: tier.iter().map(|one| id(one)).collect() };
            }
        }
        Cause::NotIsolated
    }

    /// The set of that number.
    pub(super) fn set(&self, id: SetId) -> &PeerSet {
        &self.sets[id.0 as usize]
    }
}

/// Which parts of a rule match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// The pod whose rule it is.
    pub own: bool,
    /// Who is at the other end.
    pub peer: bool,
    /// The traffic.
    pub port: bool,
}

impl Fit {
    /// Whether the rule matches: own side AND any peer AND any port (NP-9).
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.own && self.peer && self.port
    }
}

impl Rule {
    /// What of it matches such a packet between these two; `sets` are those that its ids count in.
    ///
    /// # Panics
    /// If one of its sets is not there.
    #[must_use]
    pub fn fit(&self, sets: &[PeerSet], own: PodIndex, other: &Party, service: Service) -> Fit {
        let set = |id: SetId| &sets[id.0 as usize];
        Fit {
            own: self.subjects.is_none_or(|id| set(id).has_pod(own)),
            peer: match &self.peers {
                Peers::Any => true,
                Peers::Sets(ids) => ids.iter().any(|&id| set(id).has(other)),
            },
            port: match &self.ports {
                Ports::Any => true,
                Ports::Ranges(ranges) => ranges.iter().any(|range| range.has(service)),
            },
        }
    }
}

impl Policy {
    /// The rules of one direction; `None` where the policy does not select for it.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Egress => self.egress.as_deref(),
            Direction::Ingress => self.ingress.as_deref(),
        }
    }
}

impl PeerSet {
    /// Whether the pod is a member.
    #[must_use]
    pub fn has_pod(&self, pod: PodIndex) -> bool {
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
    fn has(self, Service { protocol, port, source_port }: Service) -> bool {
        let (from, to) = self.source;
        self.protocol == protocol
            && (self.first..=self.last).contains(&port)
            && (!protocol.has_ports() || (from..=to).contains(&source_port))
    }
}
