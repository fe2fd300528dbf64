//! Ports of a rule. What a name means differs from pod to pod (NP-22), so a rule that has names
//! falls apart by who bears them.

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::{Direction, PodIndex, PortRange, Ports};

use super::Part;
use super::ends::{self, Ends};
use super::groups::Pods;
use super::world::{Doubt, World};
use crate::policy::{EVERY, Numbers, Span, Told, without};

/// Which end of a rule a name is looked up at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bearer {
    Own,
    Peer,
}

/// Who bears which name.
pub(super) struct Named<'w, W> {
    pub(super) world: &'w W,
    pub(super) direction: Direction,
    /// How pods count of which nobody knows what they call by a name.
    pub(super) doubt: Doubt,
}

impl<W: World> Named<'_, W> {
    /// The parts of a rule by its traffic.
    pub(super) fn parts(&self, told: &[Told<'_>], at: &Part) -> Vec<Part> {
        let (source, target) = match self.direction {
            Direction::Egress => (Bearer::Own, Bearer::Peer),
            Direction::Ingress => (Bearer::Peer, Bearer::Own),
        };
        let mut parts: Vec<Part> = Vec::new();
        for one in told {
            for (here, targets) in self.split(at.clone(), one.protocol, &one.target, target) {
                for (here, sources) in self.split(here, one.protocol, &one.source, source) {
                    let ranges = ranges(one.protocol, &sources, &targets);
                    // All that needs no name is one part.
                    let same = |part: &&mut Part| part.own == here.own && part.peers == here.peers;
                    match parts.iter_mut().find(same).map(|part| &mut part.ports) {
                        Some(Ports::Ranges(known)) => known.extend(ranges),
                        _ => parts.push(Part { ports: Ports::Ranges(ranges), ..here }),
                    }
                }
            }
        }
        parts
    }

    /// What a place falls apart into by ports of one of its ends.
    fn split(
        &self,
        at: Part,
        protocol: Protocol,
        numbers: &Numbers<'_>,
        bearer: Bearer,
    ) -> Vec<(Part, Vec<Span>)> {
        let less = |spans: &[Span], number| -> Vec<Span> {
            spans.iter().flat_map(|span| without(*span, (number, number))).collect()
        };
        let mut parts = Vec::new();
        for name in &numbers.named {
            for (number, bearers) in self.world.bearers(name, protocol) {
                let is_not = numbers.not.iter().any(|span| (span.0..=span.1).contains(&number));
                if !is_not {
                    parts.push((self.of(&at, bearer, &bearers), vec![(number, number)]));
                }
            }
        }
        if self.doubt == Doubt::In && !numbers.named.is_empty() {
            let unknown = self.world.unknown_ports();
            if !unknown.is_empty() {
                parts.push((self.of(&at, bearer, &unknown), vec![EVERY]));
            }
        }
        let mut rest = at;
        if self.doubt == Doubt::Out && !numbers.not_named.is_empty() {
            rest = self.besides(rest, bearer, &self.world.unknown_ports());
        }
        parts.push((rest, numbers.spans.clone()));
        for name in &numbers.not_named {
            let bearers = self.world.bearers(name, protocol);
            let mut every: Vec<PodIndex> = bearers.values().flatten().copied().collect();
            every.sort_unstable();
            let split = |(at, spans): (Part, Vec<Span>)| {
                let of = |(number, bearers): (&u16, &Vec<PodIndex>)| {
                    (self.of(&at, bearer, bearers), less(&spans, *number))
                };
                let mut split: Vec<_> = bearers.iter().map(of).collect();
                split.push((self.besides(at, bearer, &every), spans));
                split
            };
            parts = parts.into_iter().flat_map(split).collect();
        }
        parts.retain(|(at, spans)| {
            !spans.is_empty() && !at.own.is_nobody() && !at.peers.is_nobody()
        });
        parts
    }

    /// The same where that end is one of these.
    fn of(&self, at: &Part, bearer: Bearer, bearers: &[PodIndex]) -> Part {
        let mut at = at.clone();
        let bearers = Pods::Listed(bearers.to_vec());
        match bearer {
            Bearer::Own => at.own = ends::common_pods(&at.own, &bearers, self.world),
            Bearer::Peer => {
                let bearers = Ends::These { pods: bearers, blocks: Vec::new() };
                at.peers = at.peers.and(bearers, self.world);
            }
        }
        at
    }

    /// The same where that end is none of these.
    fn besides(&self, mut at: Part, bearer: Bearer, out: &[PodIndex]) -> Part {
        if out.is_empty() {
            return at;
        }
        match bearer {
            Bearer::Own => {
                let own = self.world.list(&at.own);
                let rest = own.iter().filter(|pod| out.binary_search(pod).is_err());
                at.own = Pods::Listed(rest.copied().collect());
            }
            Bearer::Peer => {
                let out = ends::addresses(&Pods::Listed(out.to_vec()), self.world);
                at.peers = at.peers.without(&out, self.world);
            }
        }
        at
    }
}

/// Every pair of them.
fn ranges(protocol: Protocol, sources: &[Span], targets: &[Span]) -> Vec<PortRange> {
    let pairs = sources.iter().flat_map(|source| targets.iter().map(move |one| (*source, *one)));
    pairs.map(|(source, (first, last))| PortRange { protocol, first, last, source }).collect()
}
