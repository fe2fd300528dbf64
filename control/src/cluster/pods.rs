//! Which pods are here, and whose an address is, where the cluster tells of a pod's addresses later
//! than they are given and longer than they last.
//!
//! | pod | addresses | interface |
//! |---|---|---|
//! | of this node, attached | those it was attached with | that of the attachment |
//! | of this node, detached again | none: they may be another's by now (NP-54) | none |
//! | of this node, never attached | as its status says | none |
//! | of another node | as its status says | none |
//!
//! An annotation gives no interface here: whoever may write a pod could name another's.
//!
//! Of several pods that claim an address one has it: the attached one, else one that is not on its
//! way out, else the youngest. The others have none, until it is free again. (In a directory of
//! manifests nobody can tell, and all of them are denied.)

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use lockgate_dataplane::ids::Mac;

use crate::inventory::Inventory;
use crate::manifest::{ObjectKey, Pod};
use crate::watch::PodFacts;

/// What a pod of this node was attached with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The pod's UID as the container runtime told it; empty where it told none.
    pub uid: String,
    /// The switch's side.
    pub interface: String,
    /// The pod's Ethernet address.
    pub mac: Mac,
    /// Its addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
}

/// Who comes first at an address: the greatest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    claim: Claim,
    key: ObjectKey,
}

/// What decides before names do, the first in the highest bits: whether it is attached, whether it
/// stays, when it was born. There is one for each address of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim(u64);

impl Claim {
    const ATTACHED: u64 = 1 << 63;
    const STAYING: u64 = 1 << 62;

    fn new(is_attached: bool, facts: &PodFacts) -> Self {
        let attached = if is_attached { Self::ATTACHED } else { 0 };
        let staying = if facts.is_leaving { 0 } else { Self::STAYING };
        Self(attached | staying | facts.born.min(Self::STAYING - 1))
    }

    fn is_leaving(self) -> bool {
        self.0 & Self::STAYING == 0
    }

    fn born(self) -> u64 {
        self.0 & (Self::STAYING - 1)
    }
}

/// A pod as it was told.
#[derive(Clone, Debug)]
struct Told {
    pod: Pod,
    facts: PodFacts,
}

impl Told {
    /// Whether a container runtime means it by a UID; one that tells none means it by name.
    fn is(&self, uid: &str) -> bool {
        let is_mirror = !self.facts.mirror.is_empty() && self.facts.mirror == uid;
        uid.is_empty() || is_mirror || self.pod.metadata.uid == Some(uid.into())
    }
}

/// Leaves a pod some of its addresses.
fn keep(pod: &mut Pod, is_left: impl FnMut(&IpAddr) -> bool) {
    let mut left = pod.addresses.to_vec();
    left.retain(is_left);
    if left.len() < pod.addresses.len() {
        pod.addresses = left.into();
    }
}

/// The pods of which more must be known than what policy sees.
#[derive(Debug)]
pub(super) struct Pods {
    node: String,
    /// The newest last: a runtime makes a pod's sandbox anew, or its next one, before it has undone
    /// the old.
    attached: BTreeMap<ObjectKey, Vec<Attached>>,
    /// UIDs of pods that were attached and are no more, by pod.
    released: BTreeMap<ObjectKey, String>,
    /// Those of this node, and those that have lost an address to another.
    told: BTreeMap<ObjectKey, Told>,
    /// Who has an address.
    owners: HashMap<IpAddr, Rank>,
    /// Who would have one.
    losers: BTreeSet<ObjectKey>,
}

impl Pods {
    pub(super) fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            attached: BTreeMap::new(),
            released: BTreeMap::new(),
            told: BTreeMap::new(),
            owners: HashMap::new(),
            losers: BTreeSet::new(),
        }
    }

    /// Takes in a pod as told, where the inventory has it as it was; gives those that are otherwise
    /// now, itself the first of them.
    pub(super) fn put(&mut self, pod: Pod, facts: PodFacts, before: &Inventory) -> Vec<Pod> {
        let key = pod.metadata.key.clone();
        let freed = self.release(&key, before);
        let mut changed = self.settle(Told { pod, facts }, before);
        changed.extend(self.again(&freed, &key, before));
        changed
    }

    /// Forgets a pod that the inventory still has; gives those that are otherwise now.
    pub(super) fn remove(&mut self, key: &ObjectKey, before: &Inventory) -> Vec<Pod> {
        let freed = self.release(key, before);
        self.released.remove(key);
        self.told.remove(key);
        self.losers.remove(key);
        self.again(&freed, key, before)
    }

    /// The pods that are attached, the older of several of one name first.
    pub(super) fn attached(&self) -> impl Iterator<Item = (&ObjectKey, &Attached)> {
        self.attached.iter().flat_map(|(key, all)| all.iter().map(move |one| (key, one)))
    }

    pub(super) fn attach(
        &mut self,
        key: &ObjectKey,
        attached: Attached,
        before: &Inventory,
    ) -> Vec<Pod> {
        let all = self.attached.entry(key.clone()).or_default();
        all.retain(|one| one.interface != attached.interface);
        all.push(attached);
        self.retell(key, before)
    }

    /// Where there is another one of the pod, it has that from now on.
    pub(super) fn detach(
        &mut self,
        key: &ObjectKey,
        interface: &str,
        before: &Inventory,
    ) -> Vec<Pod> {
        let Some(all) = self.attached.get_mut(key) else { return Vec::new() };
        let Some(at) = all.iter().position(|one| one.interface == interface) else {
            return Vec::new();
        };
        let uid = all.remove(at).uid;
        let is_last = all.is_empty();
        if is_last {
            self.attached.remove(key);
        }
        self.released.insert(key.clone(), uid);
        self.retell(key, before)
    }

    /// Whether the pod of this name on this node is the one that a container runtime means.
    pub(super) fn has(&self, key: &ObjectKey, uid: &str) -> bool {
        self.told.get(key).is_some_and(|told| told.facts.node == self.node && told.is(uid))
    }

    fn retell(&mut self, key: &ObjectKey, before: &Inventory) -> Vec<Pod> {
        match self.told.get(key).cloned() {
            Some(Told { pod, facts }) => self.put(pod, facts, before),
            None => Vec::new(),
        }
    }

    /// Takes from a pod what it has; gives what is free now.
    fn release(&mut self, key: &ObjectKey, before: &Inventory) -> Vec<IpAddr> {
        self.losers.remove(key);
        let had = before.pod(&key.namespace, &key.name);
        let had = had.into_iter().flat_map(|pod| &*pod.addresses);
        had.copied()
            .filter(|address| {
                let is_its = self.owners.get(address).is_some_and(|owner| owner.key == *key);
                is_its && self.owners.remove(address).is_some()
            })
            .collect()
    }

    /// Gives a pod what it has, and takes it from whom it has it.
    fn settle(&mut self, told: Told, before: &Inventory) -> Vec<Pod> {
        let key = told.pod.metadata.key.clone();
        let (mut pod, rank) = self.dressed(&told);
        let is_here = told.facts.node == self.node;
        let lives = !pod.host_network && !pod.is_completed;
        let mut beaten = BTreeMap::new();
        let claimed = pod.addresses.len();
        keep(&mut pod, |address| match self.owners.get(address).filter(|_| lives) {
            Some(owner) if *owner > rank => false,
            Some(owner) => {
                beaten.insert(owner.key.clone(), owner.clone());
                true
            }
            None => true,
        });
        let has_lost = pod.addresses.len() < claimed;
        if lives {
            let owned = pod.addresses.iter().map(|address| (*address, rank.clone()));
            self.owners.extend(owned);
        }
        if has_lost {
            self.losers.insert(key.clone());
        }
        if is_here || has_lost {
            self.told.insert(key, told);
        } else {
            self.told.remove(&key);
        }
        let mut changed = vec![pod];
        changed.extend(beaten.into_values().filter_map(|loser| self.strip(&loser, before)));
        changed
    }

    /// A pod without what another has taken.
    fn strip(&mut self, loser: &Rank, before: &Inventory) -> Option<Pod> {
        let key = &loser.key;
        if !self.told.contains_key(key) {
            // It is of another node and has lost nothing yet: the inventory has it as it was told.
            let pod = before.pod(&key.namespace, &key.name)?.clone();
            let (is_leaving, born) = (loser.claim.is_leaving(), loser.claim.born());
            let facts = PodFacts { is_leaving, born, ..PodFacts::default() };
            self.told.insert(key.clone(), Told { pod, facts });
        }
        self.losers.insert(key.clone());
        let (mut pod, _) = self.dressed(self.told.get(key)?);
        keep(&mut pod, |address| self.owners.get(address).is_some_and(|owner| owner.key == *key));
        Some(pod)
    }

    /// Gives what is free to those that have lost it.
    fn again(&mut self, freed: &[IpAddr], but: &ObjectKey, before: &Inventory) -> Vec<Pod> {
        let wants = |key: &&ObjectKey| {
            let told = self.told.get(*key).filter(|_| *key != but);
            told.is_some_and(|told| told.pod.addresses.iter().any(|one| freed.contains(one)))
        };
        let ranked = |key: &ObjectKey| Some(self.dressed(self.told.get(key)?).1);
        let mut waiting: Vec<Rank> = self.losers.iter().filter(wants).filter_map(ranked).collect();
        // The first among them takes it at once: nobody is given what another then takes.
        waiting.sort_by(|one, other| other.cmp(one));
        let mut changed = Vec::new();
        for Rank { key, .. } in waiting {
            if let Some(told) = self.told.get(&key).cloned() {
                self.losers.remove(&key);
                changed.extend(self.settle(told, before));
            }
        }
        changed
    }

    /// A pod with what it would have were it alone.
    fn dressed(&self, told: &Told) -> (Pod, Rank) {
        let mut pod = told.pod.clone();
        let key = pod.metadata.key.clone();
        (pod.interface, pod.mac) = (None, None);
        let is_here = told.facts.node == self.node && !pod.host_network;
        let all = self.attached.get(&key).filter(|_| is_here);
        let attached = all.and_then(|all| all.iter().rev().find(|one| told.is(&one.uid)));
        if let Some(attached) = attached {
            pod.interface = Some(attached.interface.as_str().into());
            pod.mac = Some(attached.mac);
            pod.addresses = attached.addresses.as_slice().into();
        } else if is_here && self.released.get(&key).is_some_and(|uid| told.is(uid)) {
            pod.addresses = Arc::default();
        }
        let claim = Claim::new(attached.is_some(), &told.facts);
        (pod, Rank { claim, key })
    }
}
