//! Services in the kept rules: which slices are of which, what each was told to be asked at, and who
//! has an address and port that several claim.
//!
//! A change of a slice asks its Service again, with its other slices; nothing else is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::service::{Delta, Extent, Front, FrontKey, ServingId};

use super::Resolver;
use crate::inventory::Inventory;
use crate::manifest::{EndpointSlice, ObjectKey, ObjectKind};
use crate::services::{Asked, Claim, Here, asked_at, extents, hosted_at};

/// Who claims an address and port: the first has it.
type Claims = Vec<((Claim, ObjectKey), Front)>;

/// What was told of one Service.
#[derive(Debug, Default)]
struct Told {
    fronts: Vec<(FrontKey, Claim)>,
    addresses: Vec<(IpAddr, Extent)>,
    /// The names of its ports.
    ids: Vec<((Protocol, u16, bool), ServingId)>,
}

/// Services as they were last told.
#[derive(Debug, Default)]
pub(super) struct Services {
    here: Here,
    /// The Service of each slice.
    of_slice: HashMap<ObjectKey, ObjectKey>,
    slices: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    told: HashMap<ObjectKey, Told>,
    claims: HashMap<FrontKey, Claims>,
    /// How many Services have each address, whole and fronts of it.
    addresses: HashMap<IpAddr, [usize; 2]>,
    given: u32,
    /// To be asked again.
    stale: BTreeSet<ObjectKey>,
    delta: Delta,
}

impl Resolver {
    /// One for the node of this name, by which slices speak of it.
    #[must_use]
    pub fn of_node(name: Option<Arc<str>>) -> Self {
        let mut resolver = Self::default();
        resolver.services.set_node(name);
        resolver
    }

    /// What has changed of services since this was last called.
    pub fn take_served(&mut self) -> Delta {
        self.services.take_delta()
    }

    /// Where the switch is.
    #[must_use]
    pub fn here(&self) -> &Here {
        self.services.here()
    }
}

impl Services {
    /// The node that the switch is on.
    pub(super) fn set_node(&mut self, name: Option<Arc<str>>) {
        self.here.node = name;
    }

    pub(super) fn here(&self) -> &Here {
        &self.here
    }

    /// An object has changed that may be of a Service.
    pub(super) fn concern(&mut self, inventory: &Inventory, key: &ObjectKey) {
        match key.kind {
            ObjectKind::Service => _ = self.stale.insert(key.clone()),
            ObjectKind::Pod => self.concern_pod(inventory, key),
            ObjectKind::EndpointSlice => self.concern_slice(inventory, key),
            ObjectKind::Node if Some(&*key.name) == self.here.node.as_deref() => {
                let here = Here::of(inventory, self.here.node.clone());
                if here != self.here {
                    self.here = here;
                    self.stale.extend(self.told.keys().cloned());
                }
            }
            _ => {}
        }
    }

    fn concern_pod(&mut self, inventory: &Inventory, key: &ObjectKey) {
        let pod = inventory.pod(&key.namespace, &key.name);
        if self.told.contains_key(key) || pod.is_some_and(|pod| !pod.host_ports.is_empty()) {
            self.stale.insert(key.clone());
        }
    }

    fn concern_slice(&mut self, inventory: &Inventory, key: &ObjectKey) {
        if let Some(old) = self.of_slice.remove(key) {
            if let Some(slices) = self.slices.get_mut(&old) {
                slices.remove(key);
                if slices.is_empty() {
                    self.slices.remove(&old);
                }
            }
            self.stale.insert(old);
        }
        let slice = inventory.slice(key);
        let Some(name) = slice.and_then(|slice| slice.service.as_ref()) else { return };
        let namespace = key.namespace.clone();
        let service = ObjectKey::new(ObjectKind::Service, namespace, Arc::clone(name));
        self.of_slice.insert(key.clone(), service.clone());
        self.slices.entry(service.clone()).or_default().insert(key.clone());
        self.stale.insert(service);
    }

    /// Asks what has changed again.
    pub(super) fn settle(&mut self, inventory: &Inventory) {
        for key in std::mem::take(&mut self.stale) {
            self.read(inventory, &key);
        }
    }

    /// What has changed since this was last called.
    pub(super) fn take_delta(&mut self) -> Delta {
        std::mem::take(&mut self.delta)
    }

    fn read(&mut self, inventory: &Inventory, key: &ObjectKey) {
        let old = self.told.remove(key).unwrap_or_default();
        let mut new = Told::default();
        let mut asked = Vec::new();
        let given = &mut self.given;
        let id = |protocol, number, v6| {
            let port = (protocol, number, v6);
            let known = old.ids.iter().chain(&new.ids).find(|(one, _)| *one == port);
            let id = known.map_or_else(|| next(given), |(_, id)| *id);
            new.ids.push((port, id));
            id
        };
        let is_service = key.kind == ObjectKind::Service;
        let service = inventory.service(&key.namespace, &key.name).filter(|_| is_service);
        let pod = inventory.pod(&key.namespace, &key.name).filter(|_| !is_service);
        if let Some(pod) = pod {
            asked = hosted_at(pod, id);
        } else if let Some(service) = service {
            let slices = self.slices.get(key).into_iter().flatten();
            let slices: Vec<&EndpointSlice> =
                slices.filter_map(|slice| inventory.slice(slice)).collect();
            asked = asked_at(service, &slices, &self.here, id);
            new.addresses = extents(service);
        }
        new.fronts = asked.iter().map(|asked| (asked.key, asked.claim)).collect();
        for address in &new.addresses {
            self.count(*address, true);
        }
        for address in &old.addresses {
            self.count(*address, false);
        }
        self.claim(key, &old.fronts, asked);
        if service.is_some() || !new.fronts.is_empty() {
            self.told.insert(key.clone(), new);
        }
    }

    /// Gives a Service what it asks for now instead of what it had, and tells who has each of both.
    fn claim(&mut self, key: &ObjectKey, old: &[(FrontKey, Claim)], asked: Vec<Asked>) {
        let mut before: BTreeMap<FrontKey, Option<Front>> = BTreeMap::new();
        let places = old.iter().map(|(at, _)| *at).chain(asked.iter().map(|asked| asked.key));
        for at in places {
            before.entry(at).or_insert_with(|| {
                let claims = self.claims.get(&at)?;
                claims.first().map(|(_, front)| front.clone())
            });
        }
        for (at, _) in old {
            if let Some(claims) = self.claims.get_mut(at) {
                claims.retain(|((_, by), _)| by != key);
            }
        }
        for Asked { key: at, claim, front } in asked {
            let claims = self.claims.entry(at).or_default();
            claims.push(((claim, key.clone()), front));
            claims.sort_by(|one, other| one.0.cmp(&other.0));
        }
        for (at, before) in before {
            let claims = self.claims.get(&at);
            let after = claims.and_then(|claims| claims.first()).map(|(_, front)| front.clone());
            if after.is_none() {
                self.claims.remove(&at);
            }
            if before != after {
                self.tell(at, after);
            }
        }
    }

    /// Of one front told twice the latest counts.
    fn tell(&mut self, at: FrontKey, front: Option<Front>) {
        self.delta.fronts.push((at, front));
    }

    fn count(&mut self, (address, extent): (IpAddr, Extent), is_more: bool) {
        let counts = self.addresses.entry(address).or_default();
        let before = extent_of(*counts);
        let count = &mut counts[extent as usize];
        *count = if is_more { *count + 1 } else { count.saturating_sub(1) };
        let after = extent_of(*counts);
        if after.is_none() {
            self.addresses.remove(&address);
        }
        if before != after {
            self.delta.addresses.push((address, after));
        }
    }
}

/// How much of an address is a Service's that so many have whole, and so many fronts of.
fn extent_of([whole, fronts]: [usize; 2]) -> Option<Extent> {
    let fronts = (fronts > 0).then_some(Extent::Fronts);
    if whole > 0 { Some(Extent::Whole) } else { fronts }
}

fn next(given: &mut u32) -> ServingId {
    *given += 1;
    ServingId(*given)
}
