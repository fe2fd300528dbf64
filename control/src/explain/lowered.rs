//! Ordered policies as sets of addresses: what each rule of them matches, where the ends of a question
//! are all the pods that there are. What a rule says of a packet depends on no other pod.

use std::collections::HashMap;
use std::rc::Rc;

use lockgate_dataplane::policy::judge::Fit;
use lockgate_dataplane::policy::ruleset::{
    Action, Direction, Party, PeerSet, PodIndex, Policy, Rule as Resolved, Service, View,
};

use super::nearest::{Miss, Part};
use crate::inventory::{Inventory, Resident};
use crate::policy::{Family, Listed, OrderedPolicy, Traffic};
use crate::resolve::{Everyone, Ordered, Realm, Sets};

/// All that are enforced or staged, as written.
#[derive(Clone, Debug)]
pub(super) struct Written<'i> {
    inventory: &'i Inventory,
    realm: Rc<Realm<'i>>,
    policies: Vec<&'i OrderedPolicy>,
    /// Pods of which not everything is known, ascending: what passes asks whether any is meant.
    doubtful: Vec<PodIndex>,
}

/// Those that select one of the ends of a question.
#[derive(Clone, Debug)]
pub(super) struct Lowered<'i> {
    realm: Rc<Realm<'i>>,
    policies: Vec<OneLowered<'i>>,
    sets: Vec<PeerSet>,
    has_staged: bool,
}

/// One of them, as written and as it is meant.
#[derive(Clone, Debug)]
pub(super) struct OneLowered<'i> {
    pub(super) source: &'i OrderedPolicy,
    pub(super) meaning: Policy,
}

/// A packet as a rule of one side sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) own: PodIndex,
    pub(super) other: Party,
    pub(super) service: Service,
}

impl<'i> Written<'i> {
    pub(super) fn of(inventory: &'i Inventory, residents: &[Resident<'i>]) -> Self {
        let mut known: HashMap<(&str, &str), bool> = HashMap::new();
        let mut is_known = |one: &Resident<'i>| {
            let (namespace, account) = (&*one.pod.metadata.key.namespace, &*one.pod.account);
            *known.entry((namespace, account)).or_insert_with(|| {
                inventory.namespace_labels(namespace).is_some()
                    && inventory.account_labels(namespace, account).is_some()
            })
        };
        let mut is_plain = |one: &Resident<'i>| {
            // Of two addresses of one version policy knows only whose they are.
            let count = |family| one.owned.iter().filter(|own| Family::of(**own) == family).count();
            let has_few = [Family::V4, Family::V6].into_iter().all(|family| count(family) < 2);
            has_few && one.pod.has_known_ports && is_known(one)
        };
        let places = (0..).map(PodIndex).zip(residents);
        let doubtful = places.filter(|(_, one)| !is_plain(one)).map(|one| one.0).collect();
        let policies = inventory.ordered_policies().collect();
        Self { inventory, realm: Rc::new(Realm::new(inventory)), policies, doubtful }
    }

    /// Whether a rule is of some ports of the source.
    pub(super) fn asks_source_ports(&self) -> bool {
        let asks = |traffic: &Traffic| {
            traffic.source_ports.is_some() || !traffic.not_source_ports.is_empty()
        };
        let rules = self.policies.iter().flat_map(|one| [&one.ingress, &one.egress]);
        rules.flatten().flatten().any(|listed| match listed {
            Listed::Rule(rule) => rule.traffic.iter().any(asks),
            Listed::Nothing | Listed::DenyAll => false,
        })
    }

    /// Those that may select one of these pods, and what they mean to them.
    pub(super) fn selecting(
        &self,
        residents: &[Resident<'i>],
        ends: impl IntoIterator<Item = PodIndex>,
    ) -> Lowered<'i> {
        let mut places: Vec<PodIndex> = ends.into_iter().collect();
        let ends = Everyone::among(self.inventory, residents, places.iter().copied());
        places.extend(&self.doubtful);
        places.sort_unstable();
        places.dedup();
        let world = Everyone::among(self.inventory, residents, places);
        let ordered = Ordered::asking(Rc::clone(&self.realm), world);
        let mut sets = Sets::default();
        let selects = |one: &&&'i OrderedPolicy| ends.has_one(&one.subject);
        let lower = |source: &&'i OrderedPolicy| {
            Some(OneLowered { source, meaning: ordered.policy(source, &mut sets)? })
        };
        let policies: Vec<_> = self.policies.iter().filter(selects).filter_map(lower).collect();
        // What is staged may be that one goes, which is not among these.
        let has_staged = self.policies.iter().any(|one| one.staged.is_some());
        Lowered { realm: Rc::clone(&self.realm), policies, sets: sets.into_list(), has_staged }
    }
}

impl<'i> Lowered<'i> {
    /// Whether anything is staged.
    pub(super) fn has_staged(&self) -> bool {
        self.has_staged
    }

    /// Those that select a pod in a direction and are asked in a view.
    pub(super) fn selecting(
        &self,
        pod: PodIndex,
        (view, direction): (View, Direction),
    ) -> impl Iterator<Item = &OneLowered<'i>> {
        let asked = self.policies.iter().filter(move |one| one.meaning.stage.stands(view));
        asked.filter(move |one| {
            let set = usize::try_from(one.meaning.subjects.0).ok().and_then(|at| self.sets.get(at));
            one.meaning.rules(direction).is_some() && set.is_some_and(|set| set.has_pod(pod))
        })
    }

    /// Why nothing that a policy allows counts, whatever it is.
    pub(super) fn shut(&self, policy: &OrderedPolicy) -> Option<Miss> {
        // One whose tier cannot be read denies everything by itself.
        let tier = policy.tier.as_deref()?;
        let detail = match self.realm.opens(tier) {
            Some(true) => return None,
            Some(false) => format!("the Tier {tier} cannot be read: nothing in it opens anything"),
            None => format!("there is no Tier {tier}: its policies open nothing"),
        };
        Some(Miss::new(Part::Tier, detail))
    }

    /// The rule that decides, if one matches.
    pub(super) fn decides<'p>(
        &self,
        policy: &'p Policy,
        direction: Direction,
        seen: &Seen,
    ) -> Option<&'p Resolved> {
        let rules = policy.rules(direction).unwrap_or_default().iter();
        let decide = rules.filter(|rule| rule.action != Action::Log);
        let matching = decide.filter(|rule| self.fit(rule, seen).is_whole());
        matching.min_by_key(|rule| rule.index)
    }

    /// The rules that record before one, or before the end of them, ascending.
    pub(super) fn records(
        &self,
        policy: &Policy,
        direction: Direction,
        before: Option<u32>,
        seen: &Seen,
    ) -> Vec<u32> {
        let rules = policy.rules(direction).unwrap_or_default().iter();
        let asked = rules.filter(|rule| before.is_none_or(|before| rule.index < before));
        let record = asked.filter(|rule| rule.action == Action::Log);
        let mut indices: Vec<u32> =
            record.filter(|rule| self.fit(rule, seen).is_whole()).map(|rule| rule.index).collect();
        indices.sort_unstable();
        indices.dedup();
        indices
    }

    /// What of the parts of a rule matches where most does; `None` of one that has none: it matches
    /// nobody.
    pub(super) fn nearest_fit(
        &self,
        policy: &Policy,
        direction: Direction,
        index: u32,
        seen: &Seen,
    ) -> Option<Fit> {
        let rules = policy.rules(direction).unwrap_or_default().iter();
        let parts = rules.filter(|rule| rule.index == index).map(|rule| self.fit(rule, seen));
        parts.max_by_key(|fit| [fit.own, fit.peer, fit.port].map(u8::from).iter().sum::<u8>())
    }

    fn fit(&self, rule: &Resolved, seen: &Seen) -> Fit {
        rule.fit(&self.sets, seen.own, &seen.other, seen.service)
    }
}
