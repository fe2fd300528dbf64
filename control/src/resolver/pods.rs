//! Pods by place: what each is to policy, and whose an address is.
//!
//! As in `inventory::Census`: of several pods that claim an address the first by name has it, and
//! all of them are denied.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use lockgate_dataplane::ids::EndpointId;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::SetId;

use super::labels::{Labels, Word};
use super::spaces::{SpaceId, number};
use crate::manifest::{ObjectKey, Pod};

/// A pod's place, here and in the ruleset; used again.
pub(super) type Place = u32;

/// A pod as policy sees it.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub(super) struct Known {
    pub(super) key: ObjectKey,
    pub(super) space: SpaceId,
    /// `None` where they cannot be read.
    pub(super) labels: Option<Labels>,
    pub(super) ports: Box<[(Word, Protocol, u16)]>,
    /// Where not, it may call any port by any name.
    pub(super) has_known_ports: bool,
    /// Whom it acts as.
    pub(super) account: Word,
    /// It has an address of its own.
    pub(super) lives: bool,
    pub(super) is_completed: bool,
    pub(super) host_network: bool,
    pub(super) has_interface: bool,
    pub(super) addresses: Arc<[IpAddr]>,
    pub(super) host_ips: Arc<[IpAddr]>,
    pub(super) endpoint: EndpointId,
    /// Selectors see it: it is in the indexes.
    pub(super) is_seen: bool,
    /// It lives, and nothing reaches or leaves it.
    pub(super) is_denied: bool,
    /// The sets that it is in, ascending.
    pub(super) sets: Vec<SetId>,
    /// Those of them of which nobody can tell whether it is in them, ascending.
    pub(super) doubts: Vec<SetId>,
    /// What the ruleset says of it.
    pub(super) told: Option<(EndpointId, Arc<[IpAddr]>)>,
}

/// All pods.
#[derive(Debug, Default)]
pub(super) struct Pods {
    all: Vec<Option<Box<Known>>>,
    by_key: HashMap<ObjectKey, Place>,
    free: Vec<Place>,
    living: usize,
    /// Free from the next change on.
    freed: Vec<Place>,
    /// Who has an address: the first by name of those that claim it.
    owners: HashMap<IpAddr, Place>,
    /// All who claim an address that several do, by name.
    claims: HashMap<IpAddr, Vec<Place>>,
    /// The pods that selectors see and that have such a port: by its name and protocol.
    pub(super) bearers: HashMap<(Word, Protocol), Vec<Place>>,
    /// Those that selectors see and whose ports nobody knows, ascending.
    pub(super) unknown_ports: Vec<Place>,
}

impl Pods {
    pub(super) fn get(&self, place: Place) -> Option<&Known> {
        self.all.get(place as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Known> {
        self.all.get_mut(place as usize)?.as_deref_mut()
    }

    /// Takes a pod up to look at it: it goes back into its place.
    pub(super) fn lift(&mut self, place: Place) -> Option<Box<Known>> {
        self.all.get_mut(place as usize)?.take()
    }

    pub(super) fn lay(&mut self, place: Place, known: Box<Known>) {
        if let Some(it) = self.all.get_mut(place as usize) {
            *it = Some(known);
        }
    }

    pub(super) fn place(&self, key: &ObjectKey) -> Option<Place> {
        self.by_key.get(key).copied()
    }

    /// How many live.
    pub(super) fn living(&self) -> usize {
        self.living
    }

    /// Takes a pod out of its place for good or to put another version there; those with whom it
    /// shared an address are to be looked at again.
    pub(super) fn take(&mut self, place: Place, again: &mut BTreeSet<Place>) -> Option<Box<Known>> {
        let known = self.all.get_mut(place as usize)?.take()?;
        self.living = self.living.saturating_sub(usize::from(known.lives));
        for address in known.addresses.iter().filter(|_| known.lives) {
            let mut claims = self.claims.remove(address).unwrap_or_default();
            claims.retain(|one| *one != place);
            again.extend(&claims);
            match claims.first() {
                Some(first) => self.owners.insert(*address, *first),
                None => self.owners.remove(address),
            };
            if claims.len() > 1 {
                self.claims.insert(*address, claims);
            }
        }
        Some(known)
    }

    /// Gives a pod a place, or puts a version of it in the one it has.
    pub(super) fn put(&mut self, known: Known, again: &mut BTreeSet<Place>) -> Place {
        let place = self.by_key.get(&known.key).copied().unwrap_or_else(|| {
            self.free.pop().unwrap_or_else(|| {
                self.all.push(None);
                number(self.all.len() - 1)
            })
        });
        self.by_key.insert(known.key.clone(), place);
        let (lives, addresses) = (known.lives, Arc::clone(&known.addresses));
        self.living = self.living.saturating_add(usize::from(lives));
        self.all[place as usize] = Some(Box::new(known));
        for address in addresses.iter().filter(|_| lives) {
            let Some(&owner) = self.owners.get(address) else {
                self.owners.insert(*address, place);
                continue;
            };
            let mut claims = self.claims.remove(address).unwrap_or_else(|| vec![owner]);
            claims.push(place);
            claims.sort_by_cached_key(|one| self.get(*one).map(|known| known.key.clone()));
            again.extend(&claims);
            self.owners.extend(claims.first().map(|first| (*address, *first)));
            self.claims.insert(*address, claims);
        }
        place
    }

    /// A pod that was taken does not come back.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.freed.extend(self.by_key.remove(key));
    }

    /// A change is over.
    pub(super) fn settle(&mut self) {
        self.free.append(&mut self.freed);
    }

    /// The addresses that are a pod's and nobody else's before it, and whether any is another's
    /// too.
    pub(super) fn owned(&self, place: Place) -> (Arc<[IpAddr]>, bool) {
        let Some(known) = self.get(place).filter(|known| known.lives) else {
            return (Arc::default(), false);
        };
        let is_shared = known.addresses.iter().any(|address| self.claims.contains_key(address));
        if !is_shared {
            return (Arc::clone(&known.addresses), false);
        }
        let owns = |address: &&IpAddr| self.owners.get(*address) == Some(&place);
        (known.addresses.iter().filter(owns).copied().collect(), true)
    }

    /// Whether a living pod has the address.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.owners.contains_key(&address)
    }
}

impl Known {
    /// The number of a named port.
    pub(super) fn port(&self, name: Word, protocol: Protocol) -> Option<u16> {
        let named = |port: &&(Word, Protocol, u16)| (port.0, port.1) == (name, protocol);
        self.ports.iter().find(named).map(|port| port.2)
    }
}

/// Whether a pod has an address of its own.
pub(super) fn lives(pod: &Pod) -> bool {
    !pod.is_completed && !pod.host_network && !pod.addresses.is_empty()
}
