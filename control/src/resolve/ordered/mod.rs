//! Ordered policies in, the ruleset's policies out: what every tier says, by sets of addresses. Pure.
//!
//! Who the pods are is asked of a [`World`]: of [`Everyone`], which looks at each pod for every
//! question and answers with lists, or of what is kept, which answers by what was asked for
//! wherever who that is now does not matter.
//!
//! A rule that passes and may mean more or less than can be known denies everything to whom the
//! policy selects.

mod ends;
mod groups;
mod named;
mod side;
mod wearer;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use ipnet::IpNet;

use lockgate_dataplane::policy::ruleset::{
    self, Direction, End, Peers, PodIndex, Policy, PortRange, Ports, SetId, Stage,
};

use super::sets::Sets;
use crate::inventory::{Inventory, Resident};
use crate::policy::{
    Action, DefaultAction, EVERY, FIXED_TIERS, KUBE_ADMIN, KUBE_BASELINE, Kind, Listed, Order,
    OrderedPolicy, PROFILES, Rule, Service, StagedAction, Told, tell,
};
use ends::Ends;
pub(crate) use groups::{Group, Groups, Pods, renumbered};
use named::Named;
pub(crate) use wearer::{Wearer, Wears};
pub(crate) use world::{Doubt, Everyone, Outside, World};

/// What ordered policies are resolved with.
#[derive(Debug)]
pub(crate) struct Ordered<'i, W = Everyone<'i, 'i>> {
    realm: Rc<Realm<'i>>,
    world: W,
}

/// What is no pod.
#[derive(Debug)]
pub(crate) struct Realm<'i> {
    inventory: &'i Inventory,
    tiers: BTreeMap<&'i str, (Arc<ruleset::Tier>, bool)>,
    /// Sets of networks, and whether each is whole.
    networks: Vec<(Wearer<'i>, &'i [IpNet], bool)>,
    /// Whether a set is lost: what closes takes it to be selected anywhere.
    has_lost_set: bool,
}

/// The pods that a policy selects: all that it may, and those that it does for certain.
struct Subjects {
    all: Pods,
    certain: Pods,
}

/// A part of a rule: of the policy's own pods these, at the other end those, to these ports.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    own: Pods,
    peers: Ends,
    ports: Ports,
}

impl<'i> Realm<'i> {
    pub(crate) fn new(inventory: &'i Inventory) -> Self {
        let fixed = FIXED_TIERS
            .iter()
            .map(|&(name, order, end)| (name, (tier(name, Order::of(order), end), true)));
        let mut tiers: BTreeMap<_, _> = fixed.collect();
        // After those that are named and are not there.
        let (order, name) = (ruleset::Order::LAST, PROFILES.into());
        let profiles = ruleset::Tier { order, name, end: End::Deny, judges_itself: false };
        tiers.insert(PROFILES, (Arc::new(profiles), true));
        for one in inventory.tiers() {
            let name: &str = &one.metadata.key.name;
            tiers.entry(name).or_insert((tier(name, one.order, one.default_action), one.opens));
        }
        let known = inventory.network_sets().filter(|set| set.labels.is_some());
        let networks = known
            .map(|set| (Wearer::set(inventory, set), set.nets.as_slice(), set.is_whole))
            .collect();
        let has_lost_set = inventory.network_sets().any(|set| set.labels.is_none());
        Self { inventory, tiers, networks, has_lost_set }
    }

    /// Whether what policies of a tier allow counts; `None` where no tier is called so.
    pub(crate) fn opens(&self, tier: &str) -> Option<bool> {
        self.tiers.get(tier).map(|one| one.1)
    }
}

impl<'r, 'i> Ordered<'i, Everyone<'r, 'i>> {
    pub(crate) fn new(inventory: &'i Inventory, residents: &'r [Resident<'i>]) -> Self {
        let world = Everyone::new(inventory, residents);
        Self::asking(Rc::new(Realm::new(inventory)), world)
    }

    /// What a policy means; `None` where it is staged to be none.
    pub(crate) fn policy(&self, policy: &'i OrderedPolicy, sets: &mut Sets) -> Option<Policy> {
        let mut groups = Groups::default();
        let policy = self.grouped(policy, &mut groups)?;
        let set = |group| match group {
            Group::Pods(pods) => sets.of_pods(self.world.list(&pods).into_owned()),
            Group::Blocks(blocks) => sets.of_blocks(blocks),
        };
        let ids: Vec<SetId> = groups.into_list().into_iter().map(set).collect();
        Some(renumbered(policy, &ids))
    }
}

impl<'i, W: World> Ordered<'i, W> {
    pub(crate) fn asking(realm: Rc<Realm<'i>>, world: W) -> Self {
        Self { realm, world }
    }

    /// Whether what policies of a tier allow counts; `None` where no tier is called so.
    pub(crate) fn opens(&self, tier: &str) -> Option<bool> {
        self.realm.opens(tier)
    }

    /// The world, with what it heard.
    pub(crate) fn into_world(self) -> W {
        self.world
    }

    /// What a policy means, by groups that are not sets yet; `None` where it is staged to be none.
    pub(crate) fn grouped(&self, policy: &'i OrderedPolicy, groups: &mut Groups) -> Option<Policy> {
        let stage = match policy.staged {
            None => self.realm.inventory.stage(&policy.metadata.key),
            Some(StagedAction::Set) => Stage::Staged,
            Some(StagedAction::Delete | StagedAction::Learn | StagedAction::Ignore) => return None,
        };
        let (tier, opens) = match policy.tier.as_deref() {
            // Before every tier, whatever it was to be in.
            None => (tier("", Order::FIRST, DefaultAction::Deny), false),
            // One that is not there comes after all that are, and its policies isolate.
            Some(name) => self.realm.tiers.get(name).cloned().unwrap_or_else(|| {
                let (order, end) = (ruleset::Order::LAST, End::Deny);
                let name = name.into();
                (Arc::new(ruleset::Tier { order, name, end, judges_itself: false }), false)
            }),
        };
        let mut shut;
        let policy = if opens {
            policy
        } else {
            shut = policy.clone();
            shut.shut();
            &shut
        };
        let subjects = Subjects {
            all: self.world.pods(&policy.subject, Doubt::In),
            certain: self.world.pods(&policy.subject, Doubt::Out),
        };
        let mut side = |direction| {
            let listed = policy.rules(direction)?;
            Some(self.rules(listed, &subjects, direction, groups).into())
        };
        let (ingress, egress) = (side(Direction::Ingress), side(Direction::Egress));
        let order = ruleset::Order::of(match policy.kind {
            // After a ClusterNetworkPolicy of the same priority, before all of the next.
            Kind::AdminNetworkPolicy => policy.order.number().next_up(),
            _ => policy.order.number(),
        });
        let subjects = groups.of(Group::Pods(subjects.all));
        let key = &policy.metadata.key;
        let name = key.path().into();
        let kind = policy.kind.spoken();
        Some(Policy { name, kind, stage, tier, order, subjects, ingress, egress })
    }

    fn rules(
        &self,
        listed: &[Listed],
        subjects: &Subjects,
        direction: Direction,
        groups: &mut Groups,
    ) -> Vec<ruleset::Rule> {
        let mut resolved = Vec::new();
        for (index, listed) in (0_u32..).zip(listed) {
            let everything = ruleset::Rule {
                index,
                action: ruleset::Action::Deny,
                subjects: None,
                peers: Peers::Any,
                ports: Ports::Any,
            };
            let rule = match listed {
                Listed::Nothing => continue,
                Listed::DenyAll => {
                    resolved.push(everything);
                    continue;
                }
                Listed::Rule(rule) => rule,
            };
            let (all, certain) = (&subjects.all, &subjects.certain);
            let (action, parts) = match rule.action {
                Action::Log => {
                    let parts = self.parts(rule, certain, direction, Doubt::Out);
                    (ruleset::Action::Log, Some(parts))
                }
                Action::Allow => {
                    let parts = self.parts(rule, certain, direction, Doubt::Out);
                    (ruleset::Action::Allow, Some(parts))
                }
                Action::Deny => {
                    let parts = self.parts(rule, all, direction, Doubt::In);
                    (ruleset::Action::Deny, Some(parts))
                }
                Action::Pass => {
                    let most = self.parts(rule, all, direction, Doubt::In);
                    let least = self.parts(rule, certain, direction, Doubt::Out);
                    let is_known = all == certain && most == least;
                    (ruleset::Action::Pass, is_known.then_some(most))
                }
            };
            let Some(parts) = parts else {
                resolved.push(everything);
                continue;
            };
            for Part { own, peers, ports } in parts {
                if own.is_nobody() || peers.is_nobody() {
                    continue;
                }
                let subjects = (own != subjects.all).then(|| groups.of(Group::Pods(own)));
                let peers = told(peers, groups);
                resolved.push(ruleset::Rule { index, action, subjects, peers, ports });
            }
        }
        resolved
    }

    /// What a rule matches.
    fn parts(&self, rule: &Rule, subjects: &Pods, direction: Direction, doubt: Doubt) -> Vec<Part> {
        let mut parts = Vec::new();
        let own = self.ends(&rule.own, doubt);
        for traffic in &rule.traffic {
            let told = tell(traffic);
            for (own, family) in self.own(&own, subjects, doubt) {
                for peer in &rule.peers {
                    let mut peers = self.ends(peer, doubt);
                    for family in [family, traffic.family].into_iter().flatten() {
                        let all = Ends::blocks([ends::all_of(family)]);
                        peers = peers.and(all, &self.world);
                    }
                    let at = Part { own: own.clone(), peers, ports: Ports::Any };
                    match (&peer.service, &told) {
                        (Some(service), told) if direction == Direction::Egress => {
                            parts.extend(self.at_service(service, told.as_deref(), &at, doubt));
                        }
                        (_, Some(told)) => {
                            parts.extend(
                                Named { world: &self.world, direction, doubt }.parts(told, &at),
                            );
                        }
                        (_, None) => parts.push(at),
                    }
                }
            }
        }
        parts
    }

    /// The pods of a policy that are what a rule says its own side is, by the version of IP where
    /// that matters: one end of each version, as a packet has.
    fn own(
        &self,
        own: &Ends,
        subjects: &Pods,
        doubt: Doubt,
    ) -> Vec<(Pods, Option<crate::policy::Family>)> {
        use crate::policy::Family::{V4, V6};
        let (pods, blocks) = match own {
            Ends::Any => return vec![(subjects.clone(), None)],
            Ends::These { pods, blocks } if blocks.is_empty() => {
                return vec![(ends::common_pods(subjects, pods, &self.world), None)];
            }
            Ends::These { pods, blocks } => (self.world.list(pods), blocks),
        };
        let subjects = self.world.list(subjects);
        let within = |family| {
            let is_own = |pod: &&PodIndex| {
                let addresses = self.world.addresses(**pod).iter().copied().map(IpNet::from);
                let mut addresses = addresses.filter(|one| ends::all_of(family).contains(one));
                let is_in = |one: IpNet| {
                    pods.binary_search(pod).is_ok()
                        || blocks.iter().any(|block| {
                            block.cidr.contains(&one)
                                && !block.except.iter().any(|out| out.contains(&one))
                        })
                };
                // Of several addresses of one version policy knows only whose they are.
                match (addresses.next(), doubt) {
                    (None, _) => false,
                    (Some(first), Doubt::Out) => is_in(first) && addresses.all(is_in),
                    (Some(first), Doubt::In) => is_in(first) || addresses.any(is_in),
                }
            };
            Pods::Listed(subjects.iter().filter(is_own).copied().collect())
        };
        [V4, V6].map(|family| (within(family), Some(family))).into()
    }

    /// The parts of a rule towards a service: each slice's addresses at its own ports.
    fn at_service(
        &self,
        service: &'i Service,
        told: Option<&[Told<'_>]>,
        at: &Part,
        doubt: Doubt,
    ) -> Vec<Part> {
        let backends = self.backends(service);
        if !backends.is_whole && doubt == Doubt::In {
            return vec![at.clone()];
        }
        let slices = backends.slices.iter().map(|slice| {
            let addresses = slice.addresses.iter().copied().map(IpNet::from);
            let peers = at.peers.clone().and(Ends::blocks(addresses), &self.world);
            // Beside a service stand no ports: those that it has, of the protocols that are told.
            let is_told = |port: &&crate::manifest::SlicePort| {
                told.is_none_or(|told| told.iter().any(|one| one.protocol == port.protocol))
            };
            let ranges = slice.ports.iter().filter(is_told).map(|port| {
                let (first, last) = port.number.map_or(EVERY, |number| (number, number));
                PortRange::of_target(port.protocol, first, last)
            });
            Part { own: at.own.clone(), peers, ports: Ports::Ranges(ranges.collect()) }
        });
        slices.collect()
    }
}

fn tier(name: &str, order: Order, end: DefaultAction) -> Arc<ruleset::Tier> {
    let end = match end {
        DefaultAction::Deny => End::Deny,
        DefaultAction::Pass => End::Pass,
    };
    // CNP-15. What was to be in another tier, and can be in none, is before all and denies.
    let judges_itself = [KUBE_ADMIN, KUBE_BASELINE, ""].contains(&name);
    let order = ruleset::Order::of(order.number());
    Arc::new(ruleset::Tier { order, name: name.into(), end, judges_itself })
}

/// Ends as a rule has them.
fn told(ends: Ends, groups: &mut Groups) -> Peers {
    match ends {
        Ends::Any => Peers::Any,
        Ends::These { pods, blocks } => {
            let mut ids: BTreeSet<SetId> = BTreeSet::new();
            if !pods.is_nobody() {
                ids.insert(groups.of(Group::Pods(pods)));
            }
            ids.extend(blocks.into_iter().map(|block| groups.of(Group::Blocks(vec![block]))));
            Peers::Sets(ids.into_iter().collect())
        }
    }
}

#[cfg(test)]
mod tests;
