//! Ordered policies in the kept rules. What each asked for while it was read is noted, so that it
//! is read again when that differs and only then; who is selected is a set like any other, which
//! pods join and leave.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::{PodIndex, Policy, PolicyId, SetId};

use super::Resolver;
use super::policies::Refers;
use super::sets::{Meaning, Watch};
use crate::inventory::Inventory;
use crate::manifest::{ObjectKey, ObjectKind};
use crate::policy::calico::Profile;
use crate::policy::{Known, OrderedPolicy, Selection};
use crate::resolve::{Doubt, Group, Groups, Ordered, Outside, Pods, Realm, World, renumbered};

/// Who asks for what is no pod, and for pods whose ports nobody knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asking {
    networks: BTreeSet<PolicyId>,
    nodes: BTreeSet<PolicyId>,
    pub(super) unknown_ports: BTreeSet<PolicyId>,
    /// By the namespace of the services.
    services: BTreeMap<Arc<str>, BTreeSet<PolicyId>>,
}

/// The same of one policy.
#[derive(Debug, Default)]
pub(super) struct Asked {
    networks: bool,
    nodes: bool,
    unknown_ports: bool,
    services: BTreeSet<Arc<str>>,
}

/// What a policy asked for.
#[derive(Debug, Default)]
struct Heard {
    selections: HashSet<Arc<Selection>>,
    contents: HashSet<(Arc<Selection>, Doubt)>,
    names: BTreeSet<(String, Protocol)>,
    others: Asked,
}

/// The pods that are kept, as a policy asks for them.
struct Kept<'r> {
    resolver: &'r Resolver,
    heard: RefCell<Heard>,
}

impl World for Kept<'_> {
    fn pods(&self, selection: &Selection, doubt: Doubt) -> Pods {
        // Sets of networks are asked for apart.
        let selection = Arc::new(Selection { takes_sets: false, ..selection.clone() });
        let is_known = doubt == Doubt::Out && !self.resolver.is_doubted(&selection);
        self.heard.borrow_mut().selections.insert(Arc::clone(&selection));
        Pods::Selected(selection, if is_known { Doubt::In } else { doubt })
    }

    fn list<'p>(&self, pods: &'p Pods) -> Cow<'p, [PodIndex]> {
        match pods {
            Pods::Listed(pods) => pods.into(),
            Pods::Selected(selection, doubt) => {
                self.heard.borrow_mut().contents.insert((Arc::clone(selection), *doubt));
                let places = self.resolver.select_selected(selection, *doubt);
                places.into_iter().map(PodIndex).collect()
            }
        }
    }

    fn addresses(&self, pod: PodIndex) -> &[IpAddr] {
        let told = self.resolver.pods.get(pod.0).and_then(|known| known.told.as_ref());
        told.map_or(&[], |told| &told.1)
    }

    fn bearers(&self, name: &str, protocol: Protocol) -> BTreeMap<u16, Vec<PodIndex>> {
        self.heard.borrow_mut().names.insert((name.to_owned(), protocol));
        let mut found: BTreeMap<u16, Vec<PodIndex>> = BTreeMap::new();
        let Some(word) = self.resolver.words.known(name) else { return found };
        let pods = &self.resolver.pods;
        for &place in pods.bearers.get(&(word, protocol)).into_iter().flatten() {
            if let Some(number) = pods.get(place).and_then(|known| known.port(word, protocol)) {
                found.entry(number).or_default().push(PodIndex(place));
            }
        }
        found
    }

    fn unknown_ports(&self) -> Vec<PodIndex> {
        self.heard.borrow_mut().others.unknown_ports = true;
        self.resolver.pods.unknown_ports.iter().copied().map(PodIndex).collect()
    }

    fn hear(&self, outside: Outside<'_>) {
        let asked = &mut self.heard.borrow_mut().others;
        match outside {
            Outside::Networks => asked.networks = true,
            Outside::Nodes => asked.nodes = true,
            Outside::Service(service) => {
                asked.services.insert(Arc::clone(&service.namespace));
            }
        }
    }
}

impl Resolver {
    /// Finds the policies that an object which is none of Kubernetes' own policy concerns.
    pub(super) fn concerned(
        &mut self,
        inventory: &Inventory,
        key: &ObjectKey,
        found: &mut BTreeSet<PolicyId>,
    ) {
        match key.kind {
            ObjectKind::EndpointSlice if key.is_lost() => {
                found.extend(self.asking.services.values().flatten());
            }
            ObjectKind::EndpointSlice => {
                found.extend(self.asking.services.get(&key.namespace).into_iter().flatten());
            }
            ObjectKind::Node => found.extend(&self.asking.nodes),
            ObjectKind::Ordered(
                Known::NetworkSet | Known::GlobalNetworkSet | Known::HostEndpoint,
            ) => {
                found.extend(&self.asking.networks);
            }
            ObjectKind::Ordered(Known::Tier) => found.extend(self.policies.ordered()),
            ObjectKind::Ordered(Known::Profile) => {
                found.insert(self.policies.place(key));
                // Those of accounts are asked where that of their namespace is.
                let namespace = key.name.strip_prefix(Profile::OF_NAMESPACE).unwrap_or_default();
                let asked = inventory.account_profiles(namespace);
                found.extend(asked.map(|one| self.policies.place(&one.policy.metadata.key)));
            }
            ObjectKind::Ordered(Known::Policy(_)) => {
                found.insert(self.policies.place(key));
                // Of the policy that it is staged to replace is to be said when it is asked.
                found.extend(key.enforced().and_then(|replaced| self.policies.known(&replaced)));
            }
            _ => {}
        }
    }

    /// Finds those that a namespace's labels concern: sets of networks wear them.
    pub(super) fn concerned_by_namespace(
        &self,
        inventory: &Inventory,
        key: &ObjectKey,
        found: &mut BTreeSet<PolicyId>,
    ) {
        let is_there = |set: &ObjectKey| !set.namespace.is_empty() && set.namespace == key.name;
        let mut sets = inventory.network_sets().map(|set| &set.metadata.key);
        if sets.any(|set| key.is_lost() || is_there(set)) {
            found.extend(&self.asking.networks);
        }
    }

    /// What a policy means.
    pub(super) fn ordered(
        &mut self,
        realm: Rc<Realm<'_>>,
        inventory: &Inventory,
        (policy, id): (&OrderedPolicy, PolicyId),
        refers: &mut Refers,
    ) -> Option<Policy> {
        let mut groups = Groups::default();
        let kept = Kept { resolver: self, heard: RefCell::default() };
        let ordered = Ordered::asking(realm, kept);
        let policy = ordered.grouped(policy, &mut groups)?;
        let heard = ordered.into_world().heard.into_inner();
        self.listen(inventory, heard, id, refers);
        let set = |group| match group {
            Group::Pods(Pods::Selected(selection, doubt)) => {
                self.selected(inventory, &selection, doubt, refers)
            }
            Group::Pods(Pods::Listed(pods)) => self.refer(Meaning::Listed(pods), refers).0,
            Group::Blocks(blocks) => self.refer(Meaning::Blocks(blocks), refers).0,
        };
        let ids: Vec<SetId> = groups.into_list().into_iter().map(set).collect();
        Some(renumbered(policy, &ids))
    }

    /// Notes who is to hear when something differs that was asked for.
    fn listen(&mut self, inventory: &Inventory, heard: Heard, id: PolicyId, refers: &mut Refers) {
        let Heard { selections, contents, names, others } = heard;
        let doubts = selections.into_iter().map(|one| (one, Doubt::In, Watch::Doubts));
        let contents = contents.into_iter().map(|(one, doubt)| (one, doubt, Watch::Content));
        for (selection, doubt, watch) in doubts.chain(contents) {
            let set = self.selected(inventory, &selection, doubt, refers);
            refers.watches.push((set, watch));
            if let Some(set) = self.sets.get_mut(set)
                && !set.watchers.contains(&(id, watch))
            {
                set.watchers.push((id, watch));
            }
        }
        for (name, protocol) in names {
            let word = self.words.take(&name);
            refers.met.push((word, protocol));
            self.policies.asking.entry((word, protocol)).or_default().insert(id);
        }
        // Noted with what the policy asked before, once that is given back.
        refers.asked = others;
    }
}

impl Asking {
    fn add(&mut self, id: PolicyId, asked: &Asked) {
        for (is_asked, policies) in [
            (asked.networks, &mut self.networks),
            (asked.nodes, &mut self.nodes),
            (asked.unknown_ports, &mut self.unknown_ports),
        ] {
            if is_asked {
                policies.insert(id);
            }
        }
        for space in &asked.services {
            self.services.entry(Arc::clone(space)).or_default().insert(id);
        }
    }

    /// A policy asks for the second and no more for the first.
    pub(super) fn exchange(&mut self, id: PolicyId, old: &Asked, new: &Asked) {
        for policies in [&mut self.networks, &mut self.nodes, &mut self.unknown_ports] {
            policies.remove(&id);
        }
        for space in &old.services {
            if let Some(policies) = self.services.get_mut(space) {
                policies.remove(&id);
                if policies.is_empty() {
                    self.services.remove(space);
                }
            }
        }
        self.add(id, new);
    }
}
