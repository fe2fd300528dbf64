//! All that is made from the rules: built once, then brought up to date change by change.

use std::net::IpAddr;

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use super::super::super::ruleset::{Direction, PodIndex, SetId, View};
use super::super::super::table::{Audit, ClassId, PolicySetId, Sets};
use super::super::intern::index;
use super::super::regions::Geometries;
use super::classes::{Key, Kinds, New, Signature};
use super::columns::Columns;
use super::model::{Changes, Model};
use super::numbers::{Kind, Numbers};
use super::policy_sets::PolicySets;
use super::rows::Rows;
use super::{Out, Resident};

/// So many CIDRs are few.
const FEW_CUT: usize = 16;

/// All that is made from the rules.
#[derive(Debug)]
pub(super) struct Built {
    numbers: Numbers,
    pub(super) kinds: Kinds,
    columns: Columns,
    policy_sets: PolicySets,
    pub(super) rows: Rows,
    pub(super) residents: Vec<Resident>,
    pub(super) nobody: Resident,
    /// Pods whose packets are asked more than what decides.
    pub(super) audited: usize,
}

impl Built {
    /// Builds everything, to be counted by so many workers; tells how much is kept.
    pub(super) fn new(model: &Model, workers: u8) -> (Self, usize) {
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
            rows: Rows::new(workers),
            residents: Vec::new(),
            nobody: Resident::default(),
            audited: 0,
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
    pub(super) fn size(&self) -> usize {
        self.columns.nodes() + self.rows.causes.len() + self.kinds.size() + self.numbers.len()
    }

    /// What is known of pods that may be about to differ.
    fn remember(&self, changes: &Changes) -> Vec<(PodIndex, Resident)> {
        let known =
            |pod: &PodIndex| self.residents.get(pod.0 as usize).cloned().unwrap_or_default();
        changes.pods.iter().map(|pod| (*pod, known(pod))).collect()
    }

    /// Of what was remembered, what differs.
    pub(super) fn differing(&self, before: Vec<(PodIndex, Resident)>) -> Vec<(PodIndex, Resident)> {
        let differs =
            |(pod, was): &(PodIndex, Resident)| self.residents.get(pod.0 as usize) != Some(was);
        before.into_iter().filter(differs).collect()
    }

    /// Brings everything up to date. Gives what was known of the pods that were looked at.
    pub(super) fn update(
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
            self.ask(model, pod);
        }
        let Self { rows, numbers, policy_sets, columns, .. } = self;
        rows.update(&changes.parts, (model, numbers), policy_sets, columns);
        Ok(before)
    }

    /// What a pod's packets are asked.
    fn ask(&mut self, model: &Model, pod: PodIndex) {
        let (mut sets, mut audit) = (Sets::NONE, Audit::default());
        for direction in [Direction::Egress, Direction::Ingress] {
            let parts = model.parts_of(pod, direction);
            let now = model.seen(&parts, View::Now);
            let (next, log) = (model.seen(&parts, View::Next), model.seen(&parts, View::Log));
            let itself = model.seen(&parts, View::Itself);
            let next = (next != now).then_some(next);
            let now = PolicySetId(self.policy_sets.enter(now));
            let next = next.map(|next| PolicySetId(self.policy_sets.enter(next)));
            *sets.of_mut(direction) = now;
            *audit.next.of_mut(direction) = next.unwrap_or(now);
            *audit.log.of_mut(direction) = PolicySetId(self.policy_sets.enter(log));
            *audit.itself.of_mut(direction) = PolicySetId(self.policy_sets.enter(itself));
        }
        let resident = &mut self.residents[pod.0 as usize];
        let old = (resident.sets, resident.audit);
        (resident.sets, resident.audit) = (sets, audit);
        self.audited += usize::from(audit.is_any(sets));
        self.audited -= usize::from(old.1.is_any(old.0));
        for (set, next) in [(old.0.egress, old.1.next.egress), (old.0.ingress, old.1.next.ingress)]
        {
            self.policy_sets.leave(set.0);
            // As it was entered: only where it is another.
            if next != set {
                self.policy_sets.leave(next.0);
            }
        }
        for sets in [old.1.log, old.1.itself] {
            self.policy_sets.leave(sets.egress.0);
            self.policy_sets.leave(sets.ingress.0);
        }
    }

    /// Numbers the peers of new policies; their pods must be looked at again.
    fn number(&mut self, model: &Model, changes: &mut Changes) -> Result<Vec<SetId>, Out> {
        let mut fresh = Vec::new();
        let mut seen: HashSet<SetId> = HashSet::new();
        let mut parted: Vec<(u32, u32)> = Vec::new();
        for policy in &changes.policies {
            for id in model.peers_of(*policy) {
                if self.columns.has_begun(self.numbers.pods(id)) || !seen.insert(id) {
                    continue;
                }
                let set = &model.ruleset.sets[id.0 as usize];
                if !set.blocks.is_empty() {
                    parted.extend(self.kinds.cut(&set.blocks)?);
                }
                self.numbers.add(id, set, &self.kinds.geometries)?;
                changes.pods.extend(&set.pods);
                fresh.push(id);
            }
        }
        if !parted.is_empty() {
            changes.cut = parted.iter().map(|&(_, new)| self.kinds.net(new)).collect();
            changes.pods.extend(self.out_of_place(&changes.cut));
            self.part(&parted)?;
        }
        changes.pods.sort_unstable();
        changes.pods.dedup();
        Ok(fresh)
    }

    /// Classes of regions that were a part of another's: each pair is that one, and the new one.
    fn part(&mut self, parted: &[(u32, u32)]) -> Result<(), Out> {
        // One that is new itself comes after what it is a part of: so do its own parts.
        let mut wholes: Vec<u32> = Vec::new();
        let mut parts: HashMap<u32, Vec<u32>> = HashMap::new();
        for &(from, new) in parted {
            let of = parts.entry(from).or_default();
            if of.is_empty() {
                wholes.push(from);
            }
            of.push(new);
        }
        wholes.into_iter().try_for_each(|from| self.columns.copy(from, &parts[&from]))
    }

    /// Pods with an address whose region is another now, of these that were cut.
    fn out_of_place(&self, cut: &[IpNet]) -> Vec<PodIndex> {
        // To ask few CIDRs costs less than to find a region.
        let may_be =
            |address: &IpAddr| cut.len() > FEW_CUT || cut.iter().any(|net| net.contains(address));
        let is_out = |(address, class): &(IpAddr, ClassId)| {
            may_be(address) && !self.kinds.is_in_place(*address, *class)
        };
        let pods = (0..).map(PodIndex).zip(&self.residents);
        let moved = pods.filter(|(_, resident)| resident.hosts.iter().any(is_out));
        moved.map(|(pod, _)| pod).collect()
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
                let known = old.iter().find(|host| host.0 == *address);
                if let Some((_, class)) = known.filter(|_| self.kinds.find(*key).is_none()) {
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
                self.columns.copy(self.kinds.base(key.0), &[class])?;
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
