//! Named ports: a rule with one is a rule for each number that the name is somewhere (NP-22).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::{Block, Peers, PolicyId, SetId};

use super::Resolver;
use super::policies::{At, Refers};
use super::sets::Meaning;
use crate::manifest::{Peer, PortPattern, Rule};

impl Resolver {
    /// A named port at ingress: a number for each group of subjects that agree on it.
    pub(super) fn own_ports(
        &mut self,
        name: &str,
        pattern: &PortPattern,
        peers: &Peers,
        at: &At<'_>,
        refers: &mut Refers,
    ) -> Vec<(u16, Option<SetId>, Peers)> {
        let numbers = self.named(at.subjects, name, pattern.protocol, at.id, refers);
        numbers.into_iter().map(|(port, pods)| (port, Some(pods), peers.clone())).collect()
    }

    /// A named port at egress: a number for each group of peer pods that agree on it. Addresses
    /// of no pod have no names.
    pub(super) fn peer_ports(
        &mut self,
        name: &str,
        pattern: &PortPattern,
        rule: &Rule,
        peers: &Peers,
        at: &At<'_>,
        refers: &mut Refers,
    ) -> Vec<(u16, Option<SetId>, Peers)> {
        let protocol = pattern.protocol;
        let mut by_port: BTreeMap<u16, Vec<SetId>> = BTreeMap::new();
        let bases = match peers {
            Peers::Any => vec![self.refer(Meaning::Everyone, refers).0],
            Peers::Sets(ids) => ids.clone(),
        };
        for base in bases {
            if self.sets.get(base).is_some_and(|set| matches!(set.meaning, Meaning::Blocks(_))) {
                continue;
            }
            for (port, set) in self.named(base, name, protocol, at.id, refers) {
                by_port.entry(port).or_default().push(set);
            }
        }
        for peer in &rule.peers {
            for (port, blocks) in self.met(peer, name, protocol, at.id, refers) {
                let (set, _) = self.refer(Meaning::Blocks(blocks), refers);
                by_port.entry(port).or_default().push(set);
            }
        }
        by_port.into_iter().map(|(port, sets)| (port, None, Peers::Sets(sets))).collect()
    }

    /// What a name is in a set: each number with the pods whose number it is. Numbers that others
    /// know are there too, or a pod that comes to have one would not be heard of.
    fn named(
        &mut self,
        base: SetId,
        name: &str,
        protocol: Protocol,
        id: PolicyId,
        refers: &mut Refers,
    ) -> Vec<(u16, SetId)> {
        let word = self.words.take(name);
        refers.names.push((base, word, protocol));
        let members = self.sets.get(base).map(|set| self.select(&set.meaning));
        let numbers = members.unwrap_or_default().into_iter();
        let mut numbers: BTreeSet<u16> =
            numbers.filter_map(|place| self.pods.get(place)?.port(word, protocol)).collect();
        if let Some(known) = self.sets.get_mut(base).and_then(|set| set.name(word, protocol)) {
            known.policies.insert(id);
            numbers.extend(known.numbers.keys());
        }
        let mut found = Vec::with_capacity(numbers.len());
        for port in numbers {
            let (set, is_new) = self.refer(Meaning::Named(base, word, protocol, port), refers);
            if is_new {
                self.words.take(name);
                // It holds its base for as long as it is there itself.
                if let Some(meaning) = self.sets.get(base).map(|set| set.meaning.clone()) {
                    self.sets.enter(meaning);
                }
                let known = self.sets.get_mut(base).and_then(|set| set.name(word, protocol));
                if let Some(known) = known {
                    known.numbers.insert(port, set);
                }
            }
            found.push((port, set));
        }
        found
    }

    /// What a name is in a block: by the addresses in it only, for a pod may have others.
    fn met(
        &mut self,
        peer: &Peer,
        name: &str,
        protocol: Protocol,
        id: PolicyId,
        refers: &mut Refers,
    ) -> BTreeMap<u16, Vec<Block>> {
        let mut by_port: BTreeMap<u16, Vec<Block>> = BTreeMap::new();
        let Peer::Block { cidr, except } = peer else { return by_port };
        let word = self.words.take(name);
        refers.met.push((word, protocol));
        self.policies.asking.entry((word, protocol)).or_default().insert(id);
        let is_met = |address: &IpAddr| {
            cidr.contains(address) && !except.iter().any(|part| part.contains(address))
        };
        for &place in self.pods.bearers.get(&(word, protocol)).into_iter().flatten() {
            let number = self.pods.get(place).and_then(|pod| pod.port(word, protocol));
            let Some(port) = number else { continue };
            for address in self.pods.owned(place).0.iter().copied().filter(is_met) {
                let block = Block { cidr: IpNet::from(address), except: Vec::new() };
                by_port.entry(port).or_default().push(block);
            }
        }
        by_port
    }
}
