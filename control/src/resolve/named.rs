//! Named ports: what a name is, pod by pod (NP-22).

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::{Block, PodIndex, SetId};

use super::sets::Sets;
use crate::inventory::{Census, Resident};
use crate::manifest::Peer;

/// A number, and the pods whose number it is.
type Groups = Vec<(u16, SetId)>;

/// Every named port of every pod, and what has been asked already.
#[derive(Debug)]
pub(super) struct Named<'i> {
    residents: &'i [Resident<'i>],
    /// The pods that have a name, ascending, with its number.
    pods: HashMap<(&'i str, Protocol), Vec<(PodIndex, u16)>>,
    of_sets: HashMap<(SetId, &'i str, Protocol), Groups>,
    of_all: HashMap<(&'i str, Protocol), Groups>,
    of_blocks: HashMap<(&'i Peer, &'i str, Protocol), Groups>,
}

impl<'i> Named<'i> {
    pub(super) fn new(census: &'i Census<'i>) -> Self {
        let mut pods: HashMap<_, Vec<(PodIndex, u16)>> = HashMap::new();
        for (place, resident) in (0u32..).zip(&census.residents) {
            // No selector sees a denied pod, so no rule opens a port of it.
            let ports = if resident.is_denied { &[] } else { &*resident.pod.ports };
            for port in ports {
                let key = (&*port.name, port.protocol);
                pods.entry(key).or_default().push((PodIndex(place), port.number));
            }
        }
        Self {
            residents: &census.residents,
            pods,
            of_sets: HashMap::new(),
            of_all: HashMap::new(),
            of_blocks: HashMap::new(),
        }
    }

    /// Of the pods of a set.
    pub(super) fn of_set(
        &mut self,
        id: SetId,
        name: &'i str,
        protocol: Protocol,
        sets: &mut Sets,
    ) -> &[(u16, SetId)] {
        self.of_sets.entry((id, name, protocol)).or_insert_with(|| {
            let set = sets.set(id);
            let members = set.as_ref().map_or(&[][..], |set| &set.pods);
            let bearers = self.pods.get(&(name, protocol)).map_or(&[][..], Vec::as_slice);
            // The shorter list is walked, the longer one searched.
            let found: Vec<(PodIndex, u16)> = if bearers.len() < members.len() {
                let is_member = |one: &&(PodIndex, u16)| members.binary_search(&one.0).is_ok();
                bearers.iter().filter(is_member).copied().collect()
            } else {
                let number = |pod: &PodIndex| {
                    let place = bearers.binary_search_by_key(pod, |one| one.0).ok()?;
                    bearers.get(place).copied()
                };
                members.iter().filter_map(number).collect()
            };
            group(found.into_iter(), sets)
        })
    }

    /// Of every pod.
    pub(super) fn of_everyone(
        &mut self,
        name: &'i str,
        protocol: Protocol,
        sets: &mut Sets,
    ) -> &[(u16, SetId)] {
        self.of_all.entry((name, protocol)).or_insert_with(|| {
            let bearers = self.pods.get(&(name, protocol)).map_or(&[][..], Vec::as_slice);
            group(bearers.iter().copied(), sets)
        })
    }

    /// Of the pods met in a block: by the addresses in it only, for a pod may have others.
    pub(super) fn of_block(
        &mut self,
        peer: &'i Peer,
        name: &'i str,
        protocol: Protocol,
        sets: &mut Sets,
    ) -> &[(u16, SetId)] {
        self.of_blocks.entry((peer, name, protocol)).or_insert_with(|| {
            let Peer::Block { cidr, except } = peer else { return Groups::new() };
            let is_met = |address: &&IpAddr| {
                cidr.contains(*address) && !except.iter().any(|part| part.contains(*address))
            };
            let mut by_port: BTreeMap<u16, Vec<Block>> = BTreeMap::new();
            let bearers = self.pods.get(&(name, protocol)).map_or(&[][..], Vec::as_slice);
            for (pod, port) in bearers {
                let place = usize::try_from(pod.0).ok();
                let Some(resident) = place.and_then(|place| self.residents.get(place)) else {
                    continue;
                };
                for address in resident.owned.iter().filter(is_met) {
                    let block = Block { cidr: IpNet::from(*address), except: Vec::new() };
                    by_port.entry(*port).or_default().push(block);
                }
            }
            by_port.into_iter().map(|(port, blocks)| (port, sets.of_blocks(blocks))).collect()
        })
    }
}

fn group(found: impl Iterator<Item = (PodIndex, u16)>, sets: &mut Sets) -> Groups {
    let mut by_port: BTreeMap<u16, Vec<PodIndex>> = BTreeMap::new();
    for (pod, port) in found {
        by_port.entry(port).or_default().push(pod);
    }
    by_port.into_iter().map(|(port, pods)| (port, sets.of_pods(pods))).collect()
}
