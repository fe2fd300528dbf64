//! Ordered policies as sets of addresses: what each rule of them matches.

use lockgate_dataplane::policy::judge::Fit;
use lockgate_dataplane::policy::ruleset::{
    Action, Direction, Party, PeerSet, PodIndex, Policy, PortRange, Ports, Rule as Resolved,
    Service, View,
};

use crate::inventory::{Inventory, Resident};
use crate::policy::OrderedPolicy;
use crate::resolve::{Ordered, Sets};

/// All that are enforced or staged.
#[derive(Clone, Debug)]
pub(super) struct Lowered<'i> {
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

impl<'i> Lowered<'i> {
    pub(super) fn of(inventory: &'i Inventory, residents: &[Resident<'i>]) -> Self {
        let ordered = Ordered::new(inventory, residents);
        let mut sets = Sets::default();
        let policies = inventory.ordered_policies().filter_map(|source| {
            Some(OneLowered { source, meaning: ordered.policy(source, &mut sets)? })
        });
        let policies = policies.collect();
        let has_staged = inventory.ordered_policies().any(|one| one.staged.is_some());
        Self { policies, sets: sets.into_list(), has_staged }
    }

    /// Whether anything is staged.
    pub(super) fn has_staged(&self) -> bool {
        self.has_staged
    }

    /// Whether a rule is of some ports of the source.
    pub(super) fn asks_source_ports(&self) -> bool {
        let is_narrow = |rule: &Resolved| match &rule.ports {
            Ports::Any => false,
            Ports::Ranges(all) => all.iter().any(|one| one.source != PortRange::ANY_SOURCE),
        };
        let sides =
            self.policies.iter().flat_map(|one| [&one.meaning.ingress, &one.meaning.egress]);
        sides.flatten().any(|rules| rules.iter().any(is_narrow))
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
