//! What each policy means by number, and what it refers to.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use hashbrown::HashMap;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::delta::Delta;
use lockgate_dataplane::policy::ruleset::{
    self, Action, Block, Direction, Peers, Policy, PolicyId, PortRange, Ports, SetId, Stage,
};

use super::Resolver;
use super::labels::Word;
use super::ordered::Asked;
use super::sets::{Meaning, Watch};
use super::spaces::number;
use crate::inventory::{DENIED_POLICY, Inventory};
use crate::manifest::{NetworkPolicy, ObjectKey, ObjectKind, Peer, Rule, WhichPorts};
use crate::resolve::{Realm, range};
use crate::selector::LabelSelector;

/// A policy as told.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) told: Option<Policy>,
    pub(super) refers: Refers,
}

/// What a policy uses: given back when it is read again.
#[derive(Debug, Default)]
pub(super) struct Refers {
    sets: Vec<SetId>,
    /// Names asked of the pods of a set.
    pub(super) names: Vec<(SetId, Word, Protocol)>,
    /// Names asked of the pods met in blocks, or of any.
    pub(super) met: Vec<(Word, Protocol)>,
    /// What of its sets it must hear of.
    pub(super) watches: Vec<(SetId, Watch)>,
    /// What else it must hear of.
    pub(super) asked: Asked,
}

/// All policies.
#[derive(Debug, Default)]
pub(super) struct Policies {
    all: Vec<(Option<ObjectKey>, Held)>,
    by_key: HashMap<ObjectKey, PolicyId>,
    free: Vec<PolicyId>,
    /// Free from the next change on.
    freed: Vec<PolicyId>,
    /// Who asks for a name in blocks.
    pub(super) asking: HashMap<(Word, Protocol), BTreeSet<PolicyId>>,
    denied: Option<PolicyId>,
    /// How many are staged.
    staged: usize,
}

impl Policies {
    /// A policy's place; a new one where it has none.
    pub(super) fn place(&mut self, key: &ObjectKey) -> PolicyId {
        if let Some(&known) = self.by_key.get(key) {
            return known;
        }
        let id = self.new_place();
        self.all[id.0 as usize].0 = Some(key.clone());
        self.by_key.insert(key.clone(), id);
        id
    }

    /// A policy's place, if it has one.
    pub(super) fn known(&self, key: &ObjectKey) -> Option<PolicyId> {
        self.by_key.get(key).copied()
    }

    /// Those of other APIs than Kubernetes' own.
    pub(super) fn ordered(&self) -> impl Iterator<Item = PolicyId> {
        let ordered = self.by_key.iter().filter(|one| matches!(one.0.kind, ObjectKind::Ordered(_)));
        ordered.map(|one| *one.1)
    }

    /// Who asks for such a port of the pods in some block, or of any.
    pub(super) fn meeting(&self, name: Word, protocol: Protocol) -> impl Iterator<Item = PolicyId> {
        self.asking.get(&(name, protocol)).into_iter().flatten().copied()
    }

    /// How many are in force.
    pub(super) fn count(&self) -> usize {
        let all = self.by_key.len().saturating_add(usize::from(self.denied.is_some()));
        all.saturating_sub(self.staged)
    }

    /// What is held of a policy from now on; gives what was.
    fn exchange(&mut self, id: PolicyId, new: Held) -> Held {
        let is_staged = |held: &Held| {
            usize::from(held.told.as_ref().is_some_and(|told| told.stage == Stage::Staged))
        };
        self.staged += is_staged(&new);
        let old = std::mem::replace(&mut self.all[id.0 as usize].1, new);
        self.staged -= is_staged(&old);
        old
    }

    /// A policy is no more.
    pub(super) fn forget(&mut self, key: &ObjectKey, id: PolicyId) {
        self.by_key.remove(key);
        self.all[id.0 as usize].0 = None;
        self.freed.push(id);
    }

    /// A change is over.
    pub(super) fn settle(&mut self) {
        self.free.append(&mut self.freed);
    }

    fn new_place(&mut self) -> PolicyId {
        self.free.pop().unwrap_or_else(|| {
            self.all.push((None, Held::default()));
            PolicyId(number(self.all.len() - 1))
        })
    }
}

impl Resolver {
    /// Reads a policy again and tells what differs.
    pub(super) fn read_policy<'i>(
        &mut self,
        inventory: &'i Inventory,
        realm: &OnceCell<Rc<Realm<'i>>>,
        id: PolicyId,
        delta: &mut Delta,
    ) {
        let Some(key) = self.policies.all[id.0 as usize].0.clone() else { return };
        let mut new = Held::default();
        if let Some(policy) = inventory.policy(&key) {
            new.told = Some(self.policy(inventory, policy, id, &mut new.refers));
        } else if let Some(policy) = inventory.ordered_policy(&key) {
            let realm = realm.get_or_init(|| Rc::new(Realm::new(inventory)));
            let (realm, policy) = (Rc::clone(realm), (policy, id));
            new.told = self.ordered(realm, inventory, policy, &mut new.refers);
        }
        if new.told.is_none() {
            self.policies.forget(&key, id);
        }
        let old = self.policies.exchange(id, new);
        let new = &self.policies.all[id.0 as usize].1;
        if new.told != old.told {
            delta.policies.push((id, new.told.clone()));
        }
        self.drop_refers(id, old.refers);
    }

    /// Isolates denied pods by a policy of its own, while there are any.
    pub(super) fn deny(&mut self, delta: &mut Delta) {
        match self.policies.denied {
            None if !self.denied.is_empty() => {
                let id = self.policies.new_place();
                let (subjects, _) = self.sets.enter(Meaning::Denied);
                let (ingress, egress) = (Some([].into()), Some([].into()));
                let told = Policy::isolating(DENIED_POLICY.into(), subjects, ingress, egress);
                delta.policies.push((id, Some(told.clone())));
                let refers = Refers { sets: vec![subjects], ..Refers::default() };
                self.policies.all[id.0 as usize].1 = Held { told: Some(told), refers };
                self.policies.denied = Some(id);
            }
            Some(id) if self.denied.is_empty() => {
                let held = std::mem::take(&mut self.policies.all[id.0 as usize].1);
                self.drop_refers(id, held.refers);
                delta.policies.push((id, None));
                self.policies.freed.push(id);
                self.policies.denied = None;
            }
            _ => {}
        }
    }

    /// Gives back what a policy referred to, but for the questions that it asks still.
    fn drop_refers(&mut self, id: PolicyId, old: Refers) {
        let new = &self.policies.all[id.0 as usize].1.refers;
        for (base, name, protocol) in old.names {
            if !new.names.contains(&(base, name, protocol))
                && let Some(set) = self.sets.get_mut(base)
            {
                for one in
                    set.names.iter_mut().filter(|one| (one.word, one.protocol) == (name, protocol))
                {
                    one.policies.remove(&id);
                }
                set.names.retain(|one| !one.numbers.is_empty() || !one.policies.is_empty());
            }
            self.words.release(name);
        }
        for (name, protocol) in old.met {
            if !new.met.contains(&(name, protocol))
                && let Some(policies) = self.policies.asking.get_mut(&(name, protocol))
            {
                policies.remove(&id);
                if policies.is_empty() {
                    self.policies.asking.remove(&(name, protocol));
                }
            }
            self.words.release(name);
        }
        for watch in old.watches.iter().filter(|one| !new.watches.contains(one)) {
            if let Some(set) = self.sets.get_mut(watch.0) {
                set.watchers.retain(|one| *one != (id, watch.1));
            }
        }
        self.asking.exchange(id, &old.asked, &new.asked);
        old.sets.into_iter().for_each(|set| self.sets.leave(set));
    }

    fn policy(
        &mut self,
        inventory: &Inventory,
        policy: &NetworkPolicy,
        id: PolicyId,
        refers: &mut Refers,
    ) -> Policy {
        let key = &policy.metadata.key;
        let subjects = if key.is_lost() {
            // Nobody can tell whom it was to isolate.
            self.refer(Meaning::Everyone, refers).0
        } else {
            self.own(inventory, &key.namespace, Some(&policy.subjects), refers)
        };
        let mut side = |direction| {
            let listed = policy.rules(direction)?;
            let at = At { inventory, namespace: &key.namespace, id, subjects, direction };
            Some(self.rules(listed, &at, refers).into())
        };
        let (ingress, egress) = (side(Direction::Ingress), side(Direction::Egress));
        let name = format!("{}/{}", key.namespace, key.name).into();
        let stage = inventory.stage(key);
        Policy { stage, ..Policy::isolating(name, subjects, ingress, egress) }
    }

    fn rules(
        &mut self,
        listed: &[Option<Rule>],
        at: &At<'_>,
        refers: &mut Refers,
    ) -> Vec<ruleset::Rule> {
        let mut resolved = Vec::new();
        for (index, rule) in (0u32..).zip(listed) {
            // A broken rule opens nothing.
            let Some(rule) = rule else { continue };
            let peers = self.peers(rule, at, refers);
            if rule.ports.is_empty() {
                let ports = Ports::Any;
                resolved.push(ruleset::Rule {
                    index,
                    action: Action::Allow,
                    subjects: None,
                    peers,
                    ports,
                });
                continue;
            }
            for pattern in &rule.ports {
                let WhichPorts::Named(name) = &pattern.which else { continue };
                let found = match at.direction {
                    Direction::Ingress => self.own_ports(name, pattern, &peers, at, refers),
                    Direction::Egress => self.peer_ports(name, pattern, rule, &peers, at, refers),
                };
                resolved.extend(found.into_iter().map(|(port, subjects, peers)| {
                    let range = PortRange::of_target(pattern.protocol, port, port);
                    let ports = Ports::Ranges(vec![range]);
                    ruleset::Rule { index, action: Action::Allow, subjects, peers, ports }
                }));
            }
            let ranges: Vec<PortRange> = rule.ports.iter().filter_map(range).collect();
            if !ranges.is_empty() {
                let ports = Ports::Ranges(ranges);
                resolved.push(ruleset::Rule {
                    index,
                    action: Action::Allow,
                    subjects: None,
                    peers,
                    ports,
                });
            }
        }
        resolved
    }

    fn peers(&mut self, rule: &Rule, at: &At<'_>, refers: &mut Refers) -> Peers {
        if rule.peers.is_empty() {
            return Peers::Any;
        }
        let mut ids = Vec::with_capacity(rule.peers.len());
        for peer in &rule.peers {
            ids.push(match peer {
                Peer::Pods { namespaces: None, pods } => {
                    self.own(at.inventory, at.namespace, pods.as_ref(), refers)
                }
                Peer::Pods { namespaces: Some(namespaces), pods } => {
                    self.across(namespaces, pods.as_ref(), refers)
                }
                Peer::Block { cidr, except } => {
                    let block = Block { cidr: *cidr, except: except.clone() };
                    self.refer(Meaning::Blocks(vec![block]), refers).0
                }
            });
        }
        ids.sort_unstable();
        ids.dedup();
        Peers::Sets(ids)
    }

    /// The set of pods of one namespace.
    fn own(
        &mut self,
        inventory: &Inventory,
        namespace: &str,
        pods: Option<&LabelSelector>,
        refers: &mut Refers,
    ) -> SetId {
        let wanted = self.words.take_wanted(pods);
        let space = self.spaces.enter(namespace, inventory, &mut self.words);
        let (id, is_new) = self.refer(Meaning::Own(space, wanted.clone()), refers);
        if is_new {
            self.spaces.space_mut(space).own.insert(id.0, &wanted);
        } else {
            self.words.release_wanted(&wanted);
            self.spaces.leave(space, &mut self.words);
        }
        id
    }

    /// The set of pods of the namespaces that match.
    pub(super) fn across(
        &mut self,
        namespaces: &LabelSelector,
        pods: Option<&LabelSelector>,
        refers: &mut Refers,
    ) -> SetId {
        let wanted = self.words.take_wanted(pods);
        let scope = self.words.take_wanted(Some(namespaces));
        let scope = self.spaces.enter_scope(scope, &mut self.words);
        let (id, is_new) = self.refer(Meaning::Across(scope, wanted.clone()), refers);
        if is_new {
            self.spaces.scope_mut(scope).sets.insert(id.0, &wanted);
        } else {
            self.words.release_wanted(&wanted);
            self.spaces.leave_scope(scope, &mut self.words);
        }
        id
    }

    pub(super) fn refer(&mut self, meaning: Meaning, refers: &mut Refers) -> (SetId, bool) {
        let entered = self.sets.enter(meaning);
        refers.sets.push(entered.0);
        entered
    }
}

/// Where rules are.
pub(super) struct At<'i> {
    inventory: &'i Inventory,
    namespace: &'i str,
    pub(super) id: PolicyId,
    pub(super) subjects: SetId,
    direction: Direction,
}
