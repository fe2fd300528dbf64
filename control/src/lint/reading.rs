//! Every enforced policy in the order in which it is asked, its rules taken apart by peer and net,
//! each part as the packets that it matches, and for each pod the parts that it is asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use lockgate_dataplane::policy::ruleset::{
    self, Action, Direction, End, PeerSet, Peers, PodIndex, SetId,
};

use super::spans::{Packets, Spans};
use crate::inventory::{Inventory, Resident};
use crate::policy::kubernetes::lower;
use crate::policy::{Listed, OrderedPolicy, Rule, Side};
use crate::resolve::{Ordered, Sets};

/// Where a part of a rule is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct At {
    /// A place in [`Reading::policies`].
    pub(super) policy: usize,
    pub(super) direction: Direction,
    pub(super) rule: usize,
    pub(super) peer: usize,
    /// Which net, where the peer has nets.
    pub(super) net: Option<usize>,
}

/// What a part of a rule matches for some pods of its policy; several may have one place.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) at: At,
    pub(super) action: Action,
    /// Whether the rule matches this and nothing else: what is broken, or cannot be told yet, may
    /// have been meant otherwise than it is enforced.
    pub(super) is_exact: bool,
    /// `None` is every pod that the policy selects.
    own: Option<Arc<PeerSet>>,
    pub(super) packets: Packets,
}

/// A policy.
#[derive(Debug)]
pub(super) struct Asked<'i> {
    pub(super) written: &'i OrderedPolicy,
    pub(super) resolved: ruleset::Policy,
    pub(super) subjects: Arc<PeerSet>,
    /// Its tier is there, so that what it allows can count.
    pub(super) has_tier: bool,
    /// Every part of its rules, by direction and place.
    pub(super) parts: Vec<At>,
}

/// What a pod is asked, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A place in [`Reading::pieces`].
    Piece(usize),
    /// A tier in which a policy selects the pod ends; whether it denies.
    End(bool),
}

/// The policies, by rank.
#[derive(Debug)]
pub(super) struct Reading<'i> {
    pub(super) policies: Vec<Asked<'i>>,
    pub(super) pieces: Vec<Piece>,
    pods: usize,
}

/// The policies that are enforced, in one form.
pub(super) fn written(inventory: &Inventory) -> Vec<OrderedPolicy> {
    let lowered = inventory.policies().map(|policy| lower(policy, None));
    let others = inventory.ordered_policies().filter(|one| one.staged.is_none()).cloned();
    lowered.chain(others).collect()
}

/// The same with a rule for each net, or peer without nets, of each rule, in its place.
pub(super) fn apart(policy: &OrderedPolicy) -> OrderedPolicy {
    let apart = |direction| {
        let listed = policy.rules(direction)?.iter().flat_map(split);
        Some(listed.map(|one| one.0).collect())
    };
    let (ingress, egress) = (apart(Direction::Ingress), apart(Direction::Egress));
    OrderedPolicy { ingress, egress, ..policy.clone() }
}

/// A rule by its parts, and which peer and net each is.
fn split(listed: &Listed) -> Vec<(Listed, usize, Option<usize>)> {
    let Listed::Rule(rule) = listed else { return vec![(listed.clone(), 0, None)] };
    let only = |side| Listed::rule(Rule { peers: vec![side], ..(**rule).clone() });
    let parts = rule.peers.iter().enumerate().flat_map(|(peer, side)| match &side.nets {
        Some(nets) => {
            let one = |(net, cidr): (usize, &IpNet)| {
                let side = Side { nets: Some(vec![*cidr]), ..side.clone() };
                (only(side), peer, Some(net))
            };
            nets.iter().enumerate().map(one).collect()
        }
        None => vec![(only(side.clone()), peer, None)],
    });
    parts.collect()
}

impl<'i> Reading<'i> {
    /// `apart` is what [`apart`] makes of each policy.
    pub(super) fn new(
        residents: &'i [Resident<'i>],
        (written, apart): (&'i [OrderedPolicy], &'i [OrderedPolicy]),
        ordered: &Ordered<'i>,
    ) -> Self {
        let mut sets = Sets::default();
        let resolved = written.iter().zip(apart).filter_map(|(written, apart)| {
            let resolved = ordered.policy(apart, &mut sets)?;
            let subjects = sets.set(resolved.subjects)?;
            let opens = |name: &str| ordered.opens(name) == Some(true);
            let has_tier = written.tier.as_deref().is_some_and(opens);
            Some(Asked { written, resolved, subjects, has_tier, parts: Vec::new() })
        });
        let mut policies: Vec<Asked<'_>> = resolved.collect();
        policies.sort_by(|a, b| a.resolved.rank().cmp(&b.resolved.rank()));
        let mut reading = Self { policies, pieces: Vec::new(), pods: residents.len() };
        let ends = Ends { sets: &sets, residents };
        for policy in 0..reading.policies.len() {
            for direction in [Direction::Ingress, Direction::Egress] {
                reading.take(policy, direction, &ends);
            }
        }
        reading
    }

    fn take(&mut self, policy: usize, direction: Direction, ends: &Ends<'_>) {
        let Some(asked) = self.policies.get_mut(policy) else { return };
        let listed = asked.written.rules(direction).unwrap_or_default();
        let parts = listed.iter().enumerate().flat_map(|(rule, listed)| {
            let at = move |(_, peer, net)| At { policy, direction, rule, peer, net };
            split(listed).into_iter().map(at)
        });
        let parts: Vec<At> = parts.collect();
        let rules = asked.resolved.rules(direction).unwrap_or_default();
        for rule in rules {
            let Some(&at) = usize::try_from(rule.index).ok().and_then(|one| parts.get(one)) else {
                continue;
            };
            // Ports of the source are not followed: what allows by them may allow nothing here, what
            // denies, passes or records by them may mean anything.
            let by_source =
                Spans::of_ports(&rule.ports, false) != Spans::of_ports(&rule.ports, true);
            let is_written = matches!(listed.get(at.rule), Some(Listed::Rule(_)));
            let is_exact = asked.has_tier && !by_source && is_written;
            let traffic = Spans::of_ports(&rule.ports, rule.action != Action::Allow);
            let packets = Packets { peers: ends.peers(&rule.peers), traffic };
            if by_source || !packets.is_empty() {
                let own = rule.subjects.and_then(|own| ends.sets.set(own));
                self.pieces.push(Piece { at, action: rule.action, is_exact, own, packets });
            }
        }
        asked.parts.extend(parts);
    }

    /// The piece of a step.
    pub(super) fn piece(&self, step: Step) -> Option<&Piece> {
        match step {
            Step::Piece(place) => self.pieces.get(place),
            Step::End(_) => None,
        }
    }

    /// What is asked of pods, each list once.
    pub(super) fn steps(&self, direction: Direction) -> Vec<Vec<Step>> {
        let mut of_policy: Vec<Vec<usize>> = vec![Vec::new(); self.policies.len()];
        for (place, piece) in self.pieces.iter().enumerate() {
            if let Some(list) = of_policy.get_mut(piece.at.policy) {
                list.extend((piece.at.direction == direction).then_some(place));
            }
        }
        let all: BTreeSet<Vec<Step>> = (0..)
            .take(self.pods)
            .map(|pod| self.steps_of(PodIndex(pod), direction, &of_policy))
            .collect();
        all.into_iter().collect()
    }

    fn steps_of(&self, pod: PodIndex, direction: Direction, of_policy: &[Vec<usize>]) -> Vec<Step> {
        let mut steps = Vec::new();
        let has = |set: &PeerSet| set.pods.binary_search(&pod).is_ok();
        let policies = self.policies.iter().zip(of_policy);
        let mut selecting = policies
            .filter(|(one, _)| one.resolved.rules(direction).is_some() && has(&one.subjects))
            .peekable();
        while let Some((policy, pieces)) = selecting.next() {
            let is_own = |place: &&usize| {
                let own = self.pieces.get(**place).and_then(|piece| piece.own.as_ref());
                own.is_none_or(|own| has(own))
            };
            steps.extend(pieces.iter().filter(is_own).map(|place| Step::Piece(*place)));
            let tier = &policy.resolved.tier;
            if selecting.peek().is_none_or(|(next, _)| next.resolved.tier != *tier) {
                steps.push(Step::End(tier.end == End::Deny));
            }
        }
        steps
    }
}

impl Asked<'_> {
    /// The rule of a part.
    pub(super) fn rule(&self, at: At) -> Option<&Rule> {
        match self.written.rules(at.direction)?.get(at.rule)? {
            Listed::Rule(rule) => Some(rule),
            Listed::Nothing | Listed::DenyAll => None,
        }
    }
}

/// Sets as addresses.
struct Ends<'e> {
    sets: &'e Sets,
    residents: &'e [Resident<'e>],
}

impl Ends<'_> {
    fn peers(&self, peers: &Peers) -> Spans {
        let Peers::Sets(ids) = peers else { return Spans::all_addresses() };
        let sets: Vec<_> = ids.iter().filter_map(|id: &SetId| self.sets.set(*id)).collect();
        let pods = sets.iter().flat_map(|set| &set.pods);
        let pods = pods.filter_map(|pod| self.residents.get(usize::try_from(pod.0).ok()?));
        let mut nets: Vec<IpNet> =
            pods.flat_map(|pod| pod.owned.iter().copied().map(IpNet::from)).collect();
        let blocks = sets.iter().flat_map(|set| &set.blocks);
        let (whole, cut): (Vec<_>, Vec<_>) = blocks.partition(|block| block.except.is_empty());
        nets.extend(whole.iter().map(|block| block.cidr));
        cut.iter().fold(Spans::of_nets(&nets), |all, block| {
            all.or(&Spans::of_nets([&block.cidr]).less(&Spans::of_nets(&block.except)))
        })
    }
}
