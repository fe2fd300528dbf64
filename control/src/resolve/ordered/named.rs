//! Ports of a rule. What a name means differs from pod to pod (NP-22), so a rule that has names
//! falls apart by who bears them.

use std::collections::BTreeMap;

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::{Direction, PodIndex, PortRange, Ports};

use super::Part;
use super::ends::{self, Ends};
use super::side::{Doubt, World};
use crate::inventory::Resident;
use crate::manifest::NamedPort;
use crate::policy::{EVERY, Numbers, Span, Told, without};

/// Which end of a rule a name is looked up at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bearer {
    Own,
    Peer,
}

/// Who bears which name.
pub(super) struct Named<'w, 'i> {
    pub(super) world: &'w World<'i>,
    pub(super) direction: Direction,
    /// How pods count of which nobody knows what they call by a name.
    pub(super) doubt: Doubt,
}

impl Named<'_, '_> {
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
            for (number, bearers) in self.bearers(name, protocol) {
                let is_not = numbers.not.iter().any(|span| (span.0..=span.1).contains(&number));
                if !is_not {
                    parts.push((self.of(&at, bearer, &bearers), vec![(number, number)]));
                }
            }
        }
        let unknown = self.unknown();
        if self.doubt == Doubt::In && !numbers.named.is_empty() && !unknown.is_empty() {
            parts.push((self.of(&at, bearer, &unknown), vec![EVERY]));
        }
        let mut rest = at;
        if self.doubt == Doubt::Out && !numbers.not_named.is_empty() {
            rest = self.besides(rest, bearer, &unknown);
        }
        parts.push((rest, numbers.spans.clone()));
        for name in &numbers.not_named {
            let bearers = self.bearers(name, protocol);
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
        parts
            .retain(|(at, spans)| !spans.is_empty() && !at.own.is_empty() && !at.peers.is_nobody());
        parts
    }

    /// The same where that end is one of these.
    fn of(&self, at: &Part, bearer: Bearer, bearers: &[PodIndex]) -> Part {
        let mut at = at.clone();
        match bearer {
            Bearer::Own => at.own.retain(|pod| bearers.binary_search(pod).is_ok()),
            Bearer::Peer => {
                let bearers = Ends::These { pods: bearers.to_vec(), blocks: Vec::new() };
                at.peers = at.peers.and(bearers, self.world.residents);
            }
        }
        at
    }

    /// The same where that end is none of these.
    fn besides(&self, mut at: Part, bearer: Bearer, out: &[PodIndex]) -> Part {
        match bearer {
            Bearer::Own => at.own.retain(|pod| out.binary_search(pod).is_err()),
            Bearer::Peer => {
                let out = ends::addresses(out, self.world.residents);
                at.peers = at.peers.without(&out, self.world.residents);
            }
        }
        at
    }

    /// The pods that may call any port by any name.
    fn unknown(&self) -> Vec<PodIndex> {
        let pods = (0_u32..).zip(self.world.residents);
        let is_unknown = |one: &Resident<'_>| !one.is_denied && !one.pod.has_known_ports;
        pods.filter(|(_, one)| is_unknown(one)).map(|(place, _)| PodIndex(place)).collect()
    }

    /// The pods that have a port of this name, by its number.
    fn bearers(&self, name: &str, protocol: Protocol) -> BTreeMap<u16, Vec<PodIndex>> {
        let mut found: BTreeMap<u16, Vec<PodIndex>> = BTreeMap::new();
        for (place, resident) in (0_u32..).zip(self.world.residents) {
            let is_it = |port: &&NamedPort| port.name == name && port.protocol == protocol;
            let port = resident.pod.ports.iter().find(is_it).filter(|_| !resident.is_denied);
            if let Some(port) = port {
                found.entry(port.number).or_default().push(PodIndex(place));
            }
        }
        found
    }
}

/// Every pair of them.
fn ranges(protocol: Protocol, sources: &[Span], targets: &[Span]) -> Vec<PortRange> {
    let pairs = sources.iter().flat_map(|source| targets.iter().map(move |one| (*source, *one)));
    pairs.map(|(source, (first, last))| PortRange { protocol, first, last, source }).collect()
}
