//! The same tables as [`compile`](super::compile()), kept between changes: a [`Delta`] in, the
//! next table out, which shares with the one before all that did not change.
//!
//! ```text
//!   model         the rules, and backwards: sets of a pod, parts of a set
//!   numbers       what is anybody's peer has a number, never another's
//!   classes       signature and region -> class; those who went may come back
//!   columns       numbers, groups and shapes as arrays over classes
//!   policy_sets   lists of parts, while a pod has them
//!   rows          cells and programs of every policy set
//! ```
//!
//! | change | costs |
//! |---|---|
//! | a pod whose like is there | its signature and its parts looked up |
//! | a pod in a new class | a column: a cell in each shape that names one of its sets |
//! | all pods of a class enter a set | the same: the class is signed anew in its place |
//! | a policy's rules | the rows of the policy sets that hold it |
//! | whom a policy selects | the parts of those pods, and a row for each new policy set |
//! | a block never seen before | everything is built anew |
//!
//! **The way out** is always to build everything anew from the rules: it needs nothing but the
//! model, so a change may be given up half way. It is taken when a block is new, when numbers for
//! classes run out, when a change touches more than building costs, and when what is kept but
//! unused is as much as what was built ([`Out`]); so it is paid for by as many changes.
//!
//! What is never taken back: a number, a group's array, a value of a shape, a class. They tell
//! apart more than need be, and a table that tells too much apart is right.

mod classes;
mod columns;
mod model;
mod numbers;
mod policy_sets;
mod rows;

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use super::super::delta::Delta;
use super::super::ruleset::{Direction, PodIndex, Ruleset, SetId};
use super::super::shared::Shared;
use super::super::table::{ClassId, PolicySetId, PolicyTable, Sets};
use super::intern::index;
use super::regions::Geometries;
use crate::ids::EndpointId;
use classes::{Key, Kinds, New, Signature};
use columns::Columns;
use model::{Changes, Model};
use numbers::{Kind, Numbers};
use policy_sets::PolicySets;
use rows::Rows;

/// Why everything was built anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Out {
    /// There is a block that was not there before: addresses are told apart that were not.
    Regions,
    /// Numbers for classes have run out.
    Classes,
    /// The change is larger than building.
    Dear,
    /// As much is kept and unused as is used.
    Unused,
    /// It was asked for.
    Asked,
}

/// An address of a pod and its class.
pub type Host = (IpAddr, ClassId);

/// What was known of a pod and differs now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Its identity; `None` where there is no pod.
    pub endpoint: Option<EndpointId>,
    /// Its addresses.
    pub hosts: Vec<Host>,
    /// What selects it.
    pub sets: Sets,
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Pods of which something differs, each with what it was.
    pub pods: Vec<(PodIndex, Resident)>,
    /// Everything was built anew: nothing that was known of classes or sets holds.
    pub rebuilt: Option<Out>,
    /// Some verdict can differ.
    pub verdicts: bool,
}

/// The rules and their table, kept.
#[derive(Debug)]
pub struct Kept {
    model: Model,
    built: Built,
    /// By `PolicyId`.
    names: Shared<Arc<str>>,
    /// What was kept just after building: twice that is too much.
    size: usize,
    rebuilds: u64,
}

/// Less than this is not worth building anew for.
const SIZE_MIN: usize = 1 << 14;

impl Default for Kept {
    fn default() -> Self {
        let model = Model::default();
        let (built, size) = Built::new(&model);
        Self { model, built, names: Shared::default(), size, rebuilds: 0 }
    }
}

impl Kept {
    /// Takes a change in.
    pub fn apply(&mut self, delta: &Delta) -> Update {
        let verdicts = self.concerns(delta);
        let mut changes = self.model.apply(delta);
        self.name(&changes);
        let result = if changes.pods.len() * 2 > self.model.ruleset.pods.len() + 64 {
            Err(Out::Dear)
        } else {
            self.built.update(&self.model, &mut changes)
        };
        self.model.settle();
        let grown = self.built.size() > self.size * 2 + SIZE_MIN;
        match result {
            Ok(before) if !grown => {
                Update { pods: self.built.differing(before), rebuilt: None, verdicts }
            }
            Ok(_) => Update { verdicts, ..self.build(Out::Unused) },
            Err(out) => Update { verdicts, ..self.build(out) },
        }
    }

    /// Builds everything anew from the rules.
    pub fn build(&mut self, why: Out) -> Update {
        (self.built, self.size) = Built::new(&self.model);
        self.rebuilds += 1;
        Update { pods: Vec::new(), rebuilt: Some(why), verdicts: false }
    }

    /// How often everything was built anew.
    #[must_use]
    pub fn rebuilds(&self) -> u64 {
        self.rebuilds
    }

    /// The rules as they are.
    #[must_use]
    pub fn ruleset(&self) -> &Ruleset {
        &self.model.ruleset
    }

    /// What judges by the rules as they are.
    #[must_use]
    pub fn table(&self) -> PolicyTable {
        PolicyTable {
            rows: Arc::clone(&self.built.rows.all),
            causes: self.built.rows.causes.clone(),
            names: self.names.clone(),
        }
    }

    /// What is known of a pod.
    #[must_use]
    pub fn resident(&self, pod: PodIndex) -> &Resident {
        self.built.residents.get(pod.0 as usize).unwrap_or(&self.built.nobody)
    }

    /// Every place for a pod, those of nobody too.
    pub fn pods(&self) -> impl Iterator<Item = (PodIndex, &Resident)> {
        (0..).map(PodIndex).zip(&self.built.residents)
    }

    /// The class of an address, were it no pod's.
    #[must_use]
    pub fn outside(&self, address: IpAddr) -> ClassId {
        self.built.kinds.outside(address)
    }

    /// The CIDRs that tell addresses of no pod apart, wider ones before what they cover. The
    /// longest that covers an address has its class; [`ClassId::NOTHING`] where none does.
    pub fn prefixes(&self) -> impl Iterator<Item = (IpNet, ClassId)> + '_ {
        self.built.kinds.prefixes()
    }

    /// Whether some verdict can differ after a change: it moves no pod that nobody mentions, and
    /// touches no policy that selects nobody.
    fn concerns(&self, delta: &Delta) -> bool {
        let selects = |id: SetId| {
            self.ruleset().sets.get(id.0 as usize).is_some_and(|set| !set.pods.is_empty())
        };
        let makes = |id: SetId| {
            delta.sets.iter().any(|(one, set)| {
                *one == id && set.as_ref().is_some_and(|set| !set.pods.is_empty())
            })
        };
        !delta.pods.is_empty()
            || !delta.members.is_empty()
            || delta.policies.iter().any(|(id, new)| {
                let old = self.ruleset().policies.get(id.0 as usize);
                old.is_some_and(|old| {
                    (old.ingress.is_some() || old.egress.is_some()) && selects(old.subjects)
                }) || new.as_ref().is_some_and(|new| selects(new.subjects) || makes(new.subjects))
            })
    }

    fn name(&mut self, changes: &Changes) {
        let nameless: Arc<str> = "".into();
        let ids = changes.policies.iter().chain(&changes.gone);
        for id in ids {
            let at = id.0 as usize;
            let name = Arc::clone(&self.model.ruleset.policies[at].name);
            self.names.set(at, name, &nameless);
        }
    }
}

/// All that is made from the rules.
#[derive(Debug)]
struct Built {
    numbers: Numbers,
    kinds: Kinds,
    columns: Columns,
    policy_sets: PolicySets,
    rows: Rows,
    residents: Vec<Resident>,
    nobody: Resident,
}

impl Built {
    /// Builds everything; tells how much is kept.
    fn new(model: &Model) -> (Self, usize) {
        let mut geometries = Geometries::new();
        let mut changes = model.everything();
        for policy in &changes.policies {
            for set in model.peers_of(*policy) {
                let blocks = &model.ruleset.sets[set.0 as usize].blocks;
                if !blocks.is_empty() {
                    geometries.number(blocks);
                }
            }
        }
        let mut built = Self {
            numbers: Numbers::default(),
            kinds: Kinds::new(geometries),
            columns: Columns::new(0),
            policy_sets: PolicySets::new(),
            rows: Rows::new(),
            residents: Vec::new(),
            nobody: Resident::default(),
        };
        // Nothing can be unknown, run out or be dear: all was counted beforehand.
        let _never = built.lay_out(model, &changes);
        let _never = built.update(model, &mut changes);
        built.columns.changed_max = built.columns.shapes() + 1024;
        let size = built.size();
        (built, size)
    }

    /// Counts the classes that there will be, and makes room for them.
    fn lay_out(&mut self, model: &Model, changes: &Changes) -> Result<(), Out> {
        for policy in &changes.policies {
            for set in model.peers_of(*policy) {
                self.numbers.add(
                    set,
                    &model.ruleset.sets[set.0 as usize],
                    &self.kinds.geometries,
                )?;
            }
        }
        let mut keys: Vec<Key> = Vec::new();
        for &pod in &changes.pods {
            let signature = self.signature(model, pod);
            let addresses = &model.ruleset.pods[pod.0 as usize].addresses;
            keys.extend(addresses.iter().map(|address| self.kinds.key(*address, signature)));
        }
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| key.1 != 0);
        self.kinds.lay_out(&keys);
        self.columns = Columns::new(self.kinds.span());
        for number in 0..index(self.numbers.len()) {
            if let Kind::Blocks(geometry) = self.numbers.kind(number) {
                self.columns.begin_number(number, self.kinds.of_geometry(geometry));
            }
        }
        Ok(())
    }

    /// How much is kept, used or not.
    fn size(&self) -> usize {
        self.columns.nodes()
            + self.rows.causes.len()
            + self.kinds.signatures.len()
            + self.numbers.len()
    }

    /// What is known of pods that may be about to differ.
    fn remember(&self, changes: &Changes) -> Vec<(PodIndex, Resident)> {
        let known =
            |pod: &PodIndex| self.residents.get(pod.0 as usize).cloned().unwrap_or_default();
        changes.pods.iter().map(|pod| (*pod, known(pod))).collect()
    }

    /// Of what was remembered, what differs.
    fn differing(&self, before: Vec<(PodIndex, Resident)>) -> Vec<(PodIndex, Resident)> {
        let differs =
            |(pod, was): &(PodIndex, Resident)| self.residents.get(pod.0 as usize) != Some(was);
        before.into_iter().filter(differs).collect()
    }

    /// Brings everything up to date. Gives what was known of the pods that were looked at.
    fn update(
        &mut self,
        model: &Model,
        changes: &mut Changes,
    ) -> Result<Vec<(PodIndex, Resident)>, Out> {
        self.columns.begin();
        changes.dropped.iter().for_each(|set| self.numbers.drop(*set));
        let fresh = self.number(model, changes)?;
        let before = self.remember(changes);
        self.classify(model, changes)?;
        self.begin_numbers(model, fresh);
        for &pod in &changes.pods {
            let sets = [Direction::Egress, Direction::Ingress].map(|direction| {
                PolicySetId(self.policy_sets.enter(model.parts_of(pod, direction)))
            });
            let resident = &mut self.residents[pod.0 as usize];
            let new = Sets { egress: sets[0], ingress: sets[1] };
            let old = std::mem::replace(&mut resident.sets, new);
            self.policy_sets.leave(old.egress.0);
            self.policy_sets.leave(old.ingress.0);
        }
        let Self { rows, numbers, policy_sets, columns, .. } = self;
        rows.update(&changes.parts, (model, numbers), policy_sets, columns);
        Ok(before)
    }

    /// Numbers the peers of new policies; their pods must be looked at again.
    fn number(&mut self, model: &Model, changes: &mut Changes) -> Result<Vec<SetId>, Out> {
        let mut fresh = Vec::new();
        let mut seen: HashSet<SetId> = HashSet::new();
        for policy in &changes.policies {
            for id in model.peers_of(*policy) {
                if self.columns.has_begun(self.numbers.pods(id)) || !seen.insert(id) {
                    continue;
                }
                let set = &model.ruleset.sets[id.0 as usize];
                self.numbers.add(id, set, &self.kinds.geometries)?;
                changes.pods.extend(&set.pods);
                fresh.push(id);
            }
        }
        changes.pods.sort_unstable();
        changes.pods.dedup();
        Ok(fresh)
    }

    fn signature(&mut self, model: &Model, pod: PodIndex) -> Signature {
        let sets = model.sets_of(pod).iter();
        let mut numbers: Vec<u32> = sets.filter_map(|set| self.numbers.pods(*set)).collect();
        numbers.sort_unstable();
        self.kinds.signatures.number(&numbers)
    }

    /// Gives every address of these pods its class.
    fn classify(&mut self, model: &Model, changes: &Changes) -> Result<(), Out> {
        let pods = model.ruleset.pods.len();
        if self.residents.len() < pods {
            self.residents.resize_with(pods, Resident::default);
        }
        // By old class and new key: how many addresses go that way.
        let mut ways: HashMap<(u32, Key), u32> = HashMap::new();
        let mut wanted: Vec<(PodIndex, Vec<Key>)> = Vec::with_capacity(changes.pods.len());
        for &pod in &changes.pods {
            let signature = self.signature(model, pod);
            let addresses = &model.ruleset.pods[pod.0 as usize].addresses;
            let keys: Vec<Key> =
                addresses.iter().map(|one| self.kinds.key(*one, signature)).collect();
            let old = &self.residents[pod.0 as usize].hosts;
            for (address, key) in addresses.iter().zip(&keys) {
                let was = old.iter().find(|host| host.0 == *address);
                if let Some((_, class)) = was.filter(|_| self.kinds.find(*key).is_none()) {
                    *ways.entry((class.0, *key)).or_default() += 1;
                }
            }
            wanted.push((pod, keys));
        }
        self.sign(ways)?;
        for (pod, keys) in wanted {
            let new = &model.ruleset.pods[pod.0 as usize];
            let mut hosts = Vec::with_capacity(keys.len());
            for (address, key) in new.addresses.iter().zip(keys) {
                let class = match self.kinds.find(key) {
                    Some(class) => class,
                    None => self.make_class(key)?,
                };
                self.kinds.count(class, true);
                hosts.push((*address, ClassId(class)));
            }
            let resident = &mut self.residents[pod.0 as usize];
            resident.endpoint = (!hosts.is_empty()).then_some(new.endpoint);
            for (_, class) in std::mem::replace(&mut resident.hosts, hosts) {
                self.kinds.count(class.0, false);
            }
        }
        Ok(())
    }

    /// Signs classes anew that go one way as a whole and enter sets, leaving none.
    fn sign(&mut self, ways: HashMap<(u32, Key), u32>) -> Result<(), Out> {
        for ((class, key), addresses) in ways {
            let (region, old) = self.kinds.key_of(class);
            let is_whole = old != 0 && addresses == self.kinds.hosts(class) && region == key.0;
            if !is_whole || self.kinds.find(key).is_some() {
                continue;
            }
            let numbers = self.kinds.signatures.value(key.1);
            let is_there = |number: &&u32| self.numbers.kind(**number) != Kind::Gone;
            let old = self.kinds.signatures.value(old);
            let left = old.iter().filter(is_there).any(|one| numbers.binary_search(one).is_err());
            if !left {
                let entered: Vec<u32> =
                    numbers.iter().copied().filter(|one| old.binary_search(one).is_err()).collect();
                self.kinds.sign(class, key);
                self.columns.enter(class, &entered)?;
            }
        }
        Ok(())
    }

    fn make_class(&mut self, key: Key) -> Result<u32, Out> {
        let class = match self.kinds.make(key)? {
            New::Spare(class) => class,
            New::Common(class) => {
                self.columns.copy(self.kinds.base(key.0), class)?;
                class
            }
        };
        self.columns.enter(class, self.kinds.signatures.value(key.1))?;
        Ok(class)
    }

    /// The first classes of numbers that are new.
    fn begin_numbers(&mut self, model: &Model, fresh: Vec<SetId>) {
        for id in fresh {
            let Some(pods) = self.numbers.pods(id) else { continue };
            let members = model.ruleset.sets[id.0 as usize].pods.iter();
            let hosts = members.flat_map(|pod| &self.residents[pod.0 as usize].hosts);
            let classes = hosts.map(|(_, class)| class.0..class.0 + 1).collect();
            self.columns.begin_number(pods, classes);
            for number in self.numbers.list(&[id]) {
                if let Kind::Blocks(geometry) = self.numbers.kind(number)
                    && !self.columns.has_begun(Some(number))
                {
                    self.columns.begin_number(number, self.kinds.of_geometry(geometry));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
