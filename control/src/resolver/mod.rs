//! What changed in the inventory, in; what changes in the ruleset, out. Pure.
//!
//! What production resolves with (house D13); [`resolve`](crate::resolve::resolve) is its slow
//! twin. Everything that a change may need is kept and indexed both ways:
//!
//! ```text
//!   labels     things by label, selectors by the label that they need
//!   spaces     namespaces and namespace selectors, and which match
//!   pods       places, whose an address is
//!   sets       one for each distinct selector, block or named port, while a rule means it
//!   selections those of ordered policies, by where the label stands that they need
//!   policies   what each policy refers to
//!   ordered    what each ordered policy asked for while it was read
//!   node       the pods of this node, the node's addresses
//!   services   which slices are of which Service, who has an address that several claim
//! ```
//!
//! A pod's change asks the selectors that need one of its labels, of its namespace and of the
//! scopes that match it. A namespace's new labels ask again for its own pods only. A new selector
//! asks the pods of its shortest list. A place is never given to another in the change that
//! empties it, so that a [`Delta`] can be read in any order.

mod labels;
mod named;
mod node;
mod ordered;
mod pods;
mod policies;
mod select;
mod selections;
mod services;
mod sets;
mod spaces;

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use lockgate_dataplane::ids::EndpointId;
use lockgate_dataplane::policy::delta::Delta;
use lockgate_dataplane::policy::ruleset::{self, PodIndex, PolicyId, SetId};

use crate::inventory::Inventory;
use crate::manifest::{ObjectKey, ObjectKind, Pod};
use crate::resolve::PodView;
use labels::{Things, Words, put, take};
use node::Node;
use ordered::Asking;
use pods::{Known, Place, Pods};
use policies::Policies;
use selections::Selections;
use services::Services;
use sets::{Meaning, Sets, Watch};
use spaces::Spaces;

/// The rules as they were last told, kept to be changed.
#[derive(Debug, Default)]
pub struct Resolver {
    words: Words,
    spaces: Spaces,
    pods: Pods,
    /// The pods that selectors see, of all namespaces.
    seen: Things,
    /// The pods that are denied, ascending.
    denied: Vec<Place>,
    sets: Sets,
    selections: Selections,
    policies: Policies,
    asking: Asking,
    /// The pods that selectors see of whose namespace or account nobody can tell the labels,
    /// ascending.
    doubtful: Vec<Place>,
    node: Node,
    services: Services,
}

/// What is found while a change is taken in.
#[derive(Default)]
struct Work {
    delta: Delta,
    /// Pods to be looked at.
    pods: BTreeSet<Place>,
    /// Policies to be read again.
    policies: BTreeSet<PolicyId>,
}

impl Resolver {
    /// Takes in that the objects of these keys have changed.
    pub fn apply(&mut self, inventory: &Inventory, changed: &BTreeSet<ObjectKey>) -> Delta {
        let mut work = Work::default();
        for key in changed {
            match key.kind {
                ObjectKind::Namespace => self.read_namespace(inventory, key, &mut work),
                ObjectKind::Pod => self.read_pod(inventory, key, &mut work),
                ObjectKind::Policy => _ = work.policies.insert(self.policies.place(key)),
                ObjectKind::ServiceAccount => self.read_account(inventory, key, &mut work),
                ObjectKind::Service
                | ObjectKind::EndpointSlice
                | ObjectKind::Node
                | ObjectKind::Ordered(_) => self.concerned(inventory, key, &mut work.policies),
            }
            self.services.concern(inventory, key);
        }
        self.services.settle(inventory);
        for place in std::mem::take(&mut work.pods) {
            self.look_at(place, &mut work);
        }
        self.deny(&mut work.delta);
        let realm = OnceCell::new();
        for id in std::mem::take(&mut work.policies) {
            self.read_policy(inventory, &realm, id, &mut work.delta);
        }
        self.tell_sets(&mut work.delta);
        self.node.settle(&self.pods, inventory);
        self.pods.settle();
        self.policies.settle();
        work.delta
    }

    /// The pods with an interface on this node, by namespace and name.
    #[must_use]
    pub fn local(&self) -> &[PodView] {
        self.node.local()
    }

    /// The addresses of this node, ascending.
    #[must_use]
    pub fn node_addresses(&self) -> &[IpAddr] {
        self.node.addresses()
    }

    /// How many pods live.
    #[must_use]
    pub fn pods(&self) -> usize {
        self.pods.living()
    }

    /// How many policies there are.
    #[must_use]
    pub fn policies(&self) -> usize {
        self.policies.count()
    }

    fn read_namespace(&mut self, inventory: &Inventory, key: &ObjectKey, work: &mut Work) {
        self.concerned_by_namespace(inventory, key, &mut work.policies);
        // One whose name cannot be read may be any.
        let spaces = if key.is_lost() {
            self.spaces.ids()
        } else {
            self.spaces.known(&key.name).into_iter().collect()
        };
        for space in spaces {
            if self.spaces.relabel(space, inventory, &mut self.words) {
                work.pods.extend(&self.spaces.space(space).pods);
            }
        }
    }

    fn read_account(&mut self, inventory: &Inventory, key: &ObjectKey, work: &mut Work) {
        // One that cannot be read may be any of its namespace, or of all.
        let spaces = if key.is_lost() {
            self.spaces.ids()
        } else {
            self.spaces.known(&key.namespace).into_iter().collect()
        };
        for space in spaces {
            let accounts = self.spaces.relabel_accounts(space, inventory, &mut self.words);
            let acts = |place: &&Place| {
                self.pods.get(**place).is_some_and(|known| accounts.contains(&known.account))
            };
            work.pods.extend(self.spaces.space(space).pods.iter().filter(acts));
        }
    }

    /// Puts the pod as it is now into its place, or empties that.
    fn read_pod(&mut self, inventory: &Inventory, key: &ObjectKey, work: &mut Work) {
        let mut old = None;
        if let Some(place) = self.pods.place(key) {
            old = self.pods.take(place, &mut work.pods);
            if let Some(old) = &mut old {
                self.hide(place, old, work);
                self.node.forget(place, old);
            }
        }
        let endpoint = inventory.endpoint(key);
        if let Some((pod, endpoint)) = inventory.pod(&key.namespace, &key.name).zip(endpoint) {
            let known = self.known(inventory, pod, endpoint, old.as_deref_mut());
            let place = self.pods.put(known, &mut work.pods);
            if let Some(known) = self.pods.get(place) {
                self.node.note(place, known);
            }
            work.pods.insert(place);
        } else {
            if let (Some(place), Some(old)) = (self.pods.place(key), &old) {
                let index = PodIndex(place);
                take(&mut self.denied, place);
                work.pods.remove(&place);
                work.delta.members.extend(old.sets.iter().map(|set| (*set, index, false)));
                self.tell_watching(&old.sets, Watch::Content, &mut work.policies);
                self.tell_watching(&old.doubts, Watch::Doubts, &mut work.policies);
                work.delta.pods.extend(old.told.as_ref().map(|_| (index, None)));
            }
            self.pods.forget(key);
        }
        if let Some(old) = old {
            self.release(&old);
        }
    }

    /// A pod as read, with what the ruleset was told of the one before.
    fn known(
        &mut self,
        inventory: &Inventory,
        pod: &Pod,
        endpoint: EndpointId,
        old: Option<&mut Known>,
    ) -> Known {
        let Self { words, spaces, .. } = self;
        let key = pod.metadata.key.clone();
        let take = std::mem::take;
        let (sets, doubts, told) = old
            .map(|old| (take(&mut old.sets), take(&mut old.doubts), old.told.take()))
            .unwrap_or_default();
        let ports = pod.ports.iter();
        let space = spaces.enter(&key.namespace, inventory, words);
        Known {
            space,
            account: spaces.enter_account(space, &pod.account, inventory, words),
            has_known_ports: pod.has_known_ports,
            key,
            labels: pod.labels.as_ref().map(|labels| words.take_labels(labels)),
            ports: ports.map(|one| (words.take(&one.name), one.protocol, one.number)).collect(),
            lives: pods::lives(pod),
            is_completed: pod.is_completed,
            host_network: pod.host_network,
            has_interface: pod.interface.is_some(),
            addresses: Arc::clone(&pod.addresses),
            host_ips: Arc::clone(&pod.host_ips),
            endpoint,
            is_seen: false,
            is_denied: false,
            sets,
            doubts,
            told,
        }
    }

    /// Gives back what a pod used.
    fn release(&mut self, old: &Known) {
        old.labels.iter().for_each(|labels| self.words.release_labels(labels));
        old.ports.iter().for_each(|port| self.words.release(port.0));
        self.spaces.leave_account(old.space, old.account, &mut self.words);
        self.spaces.leave(old.space, &mut self.words);
    }

    /// Works out what a pod is to policy, and tells what differs.
    fn look_at(&mut self, place: Place, work: &mut Work) {
        let (owned, is_shared) = self.pods.owned(place);
        let Some(mut known) = self.pods.lift(place) else { return };
        let is_denied = known.lives && (is_shared || known.labels.is_none());
        let is_seen = known.lives && !is_denied;
        if known.is_seen && !is_seen {
            self.hide(place, &mut known, work);
        } else if is_seen && !known.is_seen {
            self.show(place, &mut known, work);
        }
        known.is_denied = is_denied;
        if is_denied {
            put(&mut self.denied, place);
        } else {
            take(&mut self.denied, place);
        }
        let index = PodIndex(place);
        if is_seen && self.is_doubtful(&known) {
            put(&mut self.doubtful, place);
        } else {
            take(&mut self.doubtful, place);
        }
        let told = known.lives.then_some((known.endpoint, owned));
        let is_moved = told != known.told;
        if is_moved {
            let pod = |(endpoint, addresses)| ruleset::Pod { endpoint, addresses };
            work.delta.pods.push((index, told.clone().map(pod)));
            known.told = told;
        }
        let (sets, doubts) = self.sets_of(&known, &mut work.policies);
        let (old, new): (HashSet<_>, HashSet<_>) =
            (known.sets.iter().copied().collect(), sets.iter().copied().collect());
        work.delta.members.extend(old.difference(&new).map(|set| (*set, index, false)));
        work.delta.members.extend(new.difference(&old).map(|set| (*set, index, true)));
        if is_moved {
            self.tell_watching(old.union(&new), Watch::Content, &mut work.policies);
        } else {
            let other = old.symmetric_difference(&new);
            self.tell_watching(other, Watch::Content, &mut work.policies);
        }
        if doubts != known.doubts {
            let both = doubts.iter().chain(&known.doubts);
            self.tell_watching(both, Watch::Doubts, &mut work.policies);
        }
        (known.sets, known.doubts) = (sets, doubts);
        self.pods.lay(place, known);
    }

    /// Finds who must hear of sets.
    fn tell_watching<'s>(
        &self,
        sets: impl IntoIterator<Item = &'s SetId>,
        watch: Watch,
        policies: &mut BTreeSet<PolicyId>,
    ) {
        let sets = sets.into_iter().filter_map(|id| self.sets.get(*id));
        policies.extend(sets.flat_map(|set| set.watching(watch)));
    }

    /// The sets that a pod is in, and of those the ones that it is only in for all that is known;
    /// both ascending. Who asked for a name of its by a number that is not there must be read again.
    fn sets_of(
        &self,
        known: &Known,
        policies: &mut BTreeSet<PolicyId>,
    ) -> (Vec<SetId>, Vec<SetId>) {
        let (mut found, mut doubts): (Vec<SetId>, Vec<SetId>) = (Vec::new(), Vec::new());
        if known.is_denied {
            found.extend(self.sets.known(&Meaning::Denied));
        }
        if let Some(labels) = known.labels.as_ref().filter(|_| known.is_seen) {
            let space = self.spaces.space(known.space);
            let scopes = space.scopes.iter().map(|scope| &self.spaces.scope(*scope).sets);
            let wanting = scopes.chain([&space.own]).flat_map(|sets| sets.wanting(labels));
            let everyone = self.sets.known(&Meaning::Everyone);
            for id in wanting.map(SetId).chain(everyone) {
                let Some(set) = self.sets.get(id) else { continue };
                match &set.meaning {
                    Meaning::Everyone => {}
                    Meaning::Own(_, one) | Meaning::Across(_, one) if one.matches(labels) => {}
                    _ => continue,
                }
                found.push(id);
                for name in &set.names {
                    let Some(number) = known.port(name.word, name.protocol) else { continue };
                    match name.numbers.get(&number) {
                        Some(named) => found.push(*named),
                        None => policies.extend(&name.policies),
                    }
                }
            }
            let (selected, doubted) = self.selecting(known, labels);
            found.extend(selected);
            doubts = doubted;
        }
        found.sort_unstable();
        found.shrink_to_fit();
        (found, doubts)
    }

    /// Selectors see the pod from now on.
    fn show(&mut self, place: Place, known: &mut Known, work: &mut Work) {
        let labels = known.labels.clone().unwrap_or_default();
        put(&mut self.spaces.space_mut(known.space).pods, place);
        self.seen.insert(place, &labels);
        for (name, protocol, _) in &known.ports {
            put(self.pods.bearers.entry((*name, *protocol)).or_default(), place);
            work.policies.extend(self.policies.meeting(*name, *protocol));
        }
        if !known.has_known_ports {
            put(&mut self.pods.unknown_ports, place);
            work.policies.extend(&self.asking.unknown_ports);
        }
        known.is_seen = true;
    }

    /// Selectors see the pod no more.
    fn hide(&mut self, place: Place, known: &mut Known, work: &mut Work) {
        if !std::mem::take(&mut known.is_seen) {
            return;
        }
        let labels = known.labels.clone().unwrap_or_default();
        take(&mut self.spaces.space_mut(known.space).pods, place);
        self.seen.remove(place, &labels);
        take(&mut self.doubtful, place);
        if !known.has_known_ports {
            take(&mut self.pods.unknown_ports, place);
            work.policies.extend(&self.asking.unknown_ports);
        }
        for (name, protocol, _) in &known.ports {
            let bearers = self.pods.bearers.entry((*name, *protocol)).or_default();
            take(bearers, place);
            if bearers.is_empty() {
                self.pods.bearers.remove(&(*name, *protocol));
            }
            work.policies.extend(self.policies.meeting(*name, *protocol));
        }
    }
}

#[cfg(test)]
mod tests;
