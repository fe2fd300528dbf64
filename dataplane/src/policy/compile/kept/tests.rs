//! The kept table against the slow judge after every change of tiny worlds.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::super::ruleset::{
    self, Action, Answer, Cause, Order, Party, PeerSet, Pod, Policy, PolicyId, Question, Rule,
    Service, Stage, Tier, View,
};
use super::super::super::table::{Decision, Query};
use super::super::regions::Geometries;
use super::super::tests::{
    Dice, NETS, any_rules, any_set, any_standing, cluster, edges, net, party, pods, said, services,
    some_service,
};
use super::classes::{Kinds, New};
use super::*;
use crate::packet::Protocol;

impl Kept {
    fn class_of(&self, address: IpAddr) -> ClassId {
        let mut hosts = self.pods().flat_map(|(_, resident)| &resident.hosts);
        hosts.find(|host| host.0 == address).map_or_else(|| self.outside(address), |host| host.1)
    }

    /// As `Compiled::decide`.
    fn decide(&self, question: &Question) -> Answer {
        self.decide_in(View::Now, question)
    }

    fn decide_in(&self, view: View, question: &Question) -> Answer {
        let Question { source, target, .. } = *question;
        let is_itself = source.pod.is_some() && source.pod == target.pod;
        if is_itself && view != View::Itself {
            return Answer { egress: Cause::Itself, ingress: Cause::Itself };
        }
        let (table, decision) = (self.table(), self.ask_in(view, question));
        let cause = |verdict| table.cause(verdict).clone();
        Answer { egress: cause(decision.egress), ingress: cause(decision.ingress) }
    }

    /// What the table says.
    pub(super) fn ask(&self, question: &Question) -> Decision {
        self.ask_in(View::Now, question)
    }

    fn ask_in(&self, view: View, question: &Question) -> Decision {
        let Question { source, target, service } = *question;
        let of = |resident: &Resident| match view {
            View::Now => resident.sets,
            View::Next => resident.audit.next,
            View::Log => resident.audit.log,
            View::Itself => resident.audit.itself,
        };
        let sets = |pod: Option<PodIndex>| pod.map_or(Sets::NONE, |pod| of(self.resident(pod)));
        self.table().decide(&Query {
            egress: sets(source.pod).egress,
            target_class: self.class_of(target.address),
            ingress: sets(target.pod).ingress,
            source_class: self.class_of(source.address),
            service,
        })
    }
}

/// A policy's subjects, its rules where it has the direction, and where it stands.
pub(super) type Written = (u32, Option<Vec<Rule>>, Option<Vec<Rule>>, (Arc<Tier>, Order, Stage));

/// One thing that happens; what cannot happen any more is left out.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Pod(u32, Option<u8>),
    Join(u32, u32, bool),
    Make(PeerSet),
    Policy(u32, Option<Written>),
}

const PODS: u32 = 4;
const SETS: u32 = 6;

pub(super) fn any_event() -> impl Strategy<Value = Event> {
    let policy = (0..SETS, any_rules(3), any_rules(3), any_standing());
    let policy = prop::option::weighted(0.8, policy);
    prop_oneof![
        (0..PODS, prop::option::weighted(0.8, 0..3u8))
            .prop_map(|(pod, family)| Event::Pod(pod, family)),
        (0..SETS, 0..PODS, any::<bool>())
            .prop_map(|(set, pod, joins)| Event::Join(set, pod, joins)),
        any_set().prop_map(Event::Make),
        (0..4u32, policy).prop_map(|(id, policy)| Event::Policy(id, policy)),
    ]
}

/// What an event changes, when it comes after others of the same delta.
pub(super) fn change(event: &Event, ruleset: &Ruleset, delta: &mut Delta) {
    let alive = |pod: PodIndex| !ruleset.pods[pod.0 as usize].addresses.is_empty();
    let once = |delta: &Delta, pod: PodIndex| {
        delta.pods.iter().all(|one| one.0 != pod) && delta.members.iter().all(|one| one.1 != pod)
    };
    match event {
        Event::Pod(pod, family) if once(delta, PodIndex(*pod)) => {
            let id = PodIndex(*pod);
            let new = family.map(|family| pods(&[family; PODS as usize])[*pod as usize].clone());
            if new.is_none() {
                let sets = (0..).map(SetId).zip(&ruleset.sets);
                let of = sets.filter(|(_, set)| set.pods.contains(&id));
                delta.members.extend(of.map(|(set, _)| (set, id, false)));
            }
            delta.pods.push((id, new));
        }
        Event::Join(set, pod, joins)
            if once(delta, PodIndex(*pod))
                && alive(PodIndex(*pod))
                && ruleset.sets[*set as usize].pods.contains(&PodIndex(*pod)) != *joins =>
        {
            delta.members.push((SetId(*set), PodIndex(*pod), *joins));
        }
        Event::Make(set) if delta.pods.is_empty() && delta.sets.is_empty() => {
            let set = PeerSet {
                pods: set.pods.iter().copied().filter(|pod| alive(*pod)).collect(),
                blocks: set.blocks.clone(),
            };
            let id = SetId(u32::try_from(ruleset.sets.len()).unwrap());
            delta.sets.push((id, Some(set)));
        }
        Event::Policy(id, policy) if delta.policies.iter().all(|one| one.0.0 != *id) => {
            // The newest sets, so that those made by `Make` are used.
            let newest = u32::try_from(ruleset.sets.len()).unwrap() - SETS;
            let meant = |set: &mut SetId| set.0 += newest;
            let new =
                policy.clone().map(|(subjects, mut ingress, mut egress, (tier, order, stage))| {
                    for rule in ingress.iter_mut().chain(&mut egress).flatten() {
                        if let ruleset::Peers::Sets(sets) = &mut rule.peers {
                            sets.iter_mut().for_each(meant);
                        }
                        rule.subjects.as_mut().into_iter().for_each(meant);
                    }
                    // The order of names is not that of places.
                    let name = format!("demo/{}", (id * 3 + subjects) % 5).into();
                    let kind = [&"NetworkPolicy", &"Other"][usize::from(ingress.is_some())];
                    let [ingress, egress] =
                        [ingress, egress].map(|rules: Option<Vec<Rule>>| rules.map(Arc::from));
                    let subjects = SetId(subjects + newest);
                    Policy { name, kind, stage, tier, order, subjects, ingress, egress }
                });
            delta.policies.push((PolicyId(*id), new));
        }
        _ => {}
    }
}

fn assert_agrees(kept: &Kept, ruleset: &Ruleset) {
    for asked in questions(ruleset) {
        for view in View::ALL {
            let says = said(view, kept.decide_in(view, &asked));
            assert_eq!(says, said(view, ruleset.decide_in(view, &asked)), "{view:?} {asked:?}");
        }
    }
    let is_audited = |(_, one): (PodIndex, &Resident)| one.audit.is_any(one.sets);
    assert_eq!(kept.table().is_audited(), kept.pods().any(is_audited));
}

/// What the epoch promises where it does not move.
fn assert_judges_alike(before: &Ruleset, after: &Ruleset) {
    for asked in questions(after) {
        assert_eq!(before.decide(&asked).allows(), after.decide(&asked).allows(), "{asked:?}");
    }
}

pub(super) fn questions(ruleset: &Ruleset) -> Vec<Question> {
    let own = ruleset.pods.iter().flat_map(|pod| pod.addresses.iter().copied());
    let mut addresses: Vec<IpAddr> =
        own.chain(NETS.iter().flat_map(|text| edges(net(text)))).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let parties: Vec<_> = addresses.into_iter().map(|address| party(ruleset, address)).collect();
    let mut questions = Vec::new();
    for source in &parties {
        for target in &parties {
            let family = source.address.is_ipv4() == target.address.is_ipv4();
            if !family || (source.pod.is_none() && target.pod.is_none()) {
                continue;
            }
            for service in services().into_iter().step_by(5) {
                questions.push(Question { source: *source, target: *target, service });
            }
        }
    }
    questions
}

pub(super) fn start() -> Ruleset {
    Ruleset {
        pods: pods(&[0, 1, 2, 2]),
        sets: (0..SETS)
            .map(|one| PeerSet { pods: vec![PodIndex(one % PODS)], blocks: vec![] })
            .collect(),
        policies: vec![],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn after_every_change_the_kept_table_agrees_with_reading_every_rule(
        batches in prop::collection::vec(prop::collection::vec(any_event(), 1..4), 1..10)
    ) {
        let mut ruleset = start();
        let mut kept = Kept::default();
        kept.apply(Delta::of(&ruleset));
        for batch in batches {
            let mut delta = Delta::default();
            for event in &batch {
                change(event, &ruleset, &mut delta);
            }
            let before = ruleset.clone();
            ruleset.apply(delta.clone());
            let update = kept.apply(delta);
            prop_assert_eq!(&kept.model.ruleset, &ruleset);
            assert_agrees(&kept, &ruleset);
            if !update.verdicts {
                assert_judges_alike(&before, &ruleset);
            }
        }
        kept.build(Out::Asked);
        assert_agrees(&kept, &ruleset);
    }
}

/// Pods 0 to 3 in set 0; a policy lets set 0 reach them.
fn web() -> (Kept, Ruleset) {
    let peers = ruleset::Peers::Sets(vec![SetId(0)]);
    let rule =
        Rule { index: 0, action: Action::Allow, subjects: None, peers, ports: ruleset::Ports::Any };
    let members = (0..PODS).map(PodIndex).collect();
    let sets = vec![PeerSet { pods: members, blocks: vec![] }, PeerSet::default()];
    let policy = Policy::isolating("x/p".into(), SetId(0), Some([rule].into()), None);
    let ruleset = Ruleset { pods: pods(&[0; 4]), sets, policies: vec![policy] };
    let mut kept = Kept::default();
    kept.apply(Delta::of(&ruleset));
    kept.build(Out::Asked);
    (kept, ruleset)
}

#[test]
fn a_pod_whose_like_is_there_shares_every_row() {
    let (mut kept, _) = web();
    let before = kept.table();
    let rebuilds = kept.rebuilds();
    let pod = Pod { endpoint: EndpointId(9), addresses: [[10, 0, 0, 9].into()].into() };
    let update = kept.apply(Delta {
        pods: vec![(PodIndex(4), Some(pod))],
        members: vec![(SetId(0), PodIndex(4), true)],
        ..Delta::default()
    });
    assert_eq!((update.pods.len(), update.rebuilt, update.verdicts), (1, None, true));
    assert!(Arc::ptr_eq(&before.rows, &kept.table().rows));
    let classes = |pod: u32| kept.resident(PodIndex(pod)).hosts[0].1;
    assert_eq!(classes(4), classes(0));
    assert_eq!(kept.rebuilds(), rebuilds);
}

#[test]
fn a_class_that_enters_a_set_as_a_whole_keeps_its_number() {
    let (mut kept, ruleset) = web();
    let class = kept.resident(PodIndex(0)).hosts[0].1;
    let peers = ruleset::Peers::Sets(vec![SetId(1)]);
    let rule =
        Rule { index: 0, action: Action::Allow, subjects: None, peers, ports: ruleset::Ports::Any };
    let policy =
        Policy { name: "x/q".into(), ingress: Some([rule].into()), ..ruleset.policies[0].clone() };
    let joins = (0..PODS).map(|pod| (SetId(1), PodIndex(pod), true)).collect();
    let policies = vec![(PolicyId(1), Some(policy))];
    let update = kept.apply(Delta { members: joins, policies, ..Delta::default() });
    assert_eq!(update.rebuilt, None);
    assert!((0..PODS).all(|pod| kept.resident(PodIndex(pod)).hosts[0].1 == class));
    assert_agrees(&kept, kept.ruleset());
}

#[test]
fn a_class_whose_last_pod_went_is_there_when_its_like_comes_back() {
    let (mut kept, ruleset) = web();
    let class = kept.resident(PodIndex(0)).hosts[0].1;
    let members = |joins| (0..PODS).map(|pod| (SetId(0), PodIndex(pod), joins)).collect();
    let gone = (0..PODS).map(|pod| (PodIndex(pod), None)).collect();
    kept.apply(Delta { pods: gone, members: members(false), ..Delta::default() });
    assert_eq!(kept.resident(PodIndex(0)), &Resident::default());
    let back = (0..).map(PodIndex).zip(ruleset.pods.into_iter().map(Some)).collect();
    kept.apply(Delta { pods: back, members: members(true), ..Delta::default() });
    assert_eq!(kept.resident(PodIndex(3)).hosts[0].1, class);
}

/// Pods 0 to 3, which set 2 may reach at port 80 and set 3 at port 81; each at so many more ports.
fn two_ports(more: u16) -> Kept {
    let (_, mut ruleset) = web();
    ruleset.sets.resize_with(4, PeerSet::default);
    let only = |port| ruleset::PortRange::of_target(Protocol::Tcp, port, port);
    let rule = |index, set, port| Rule {
        index,
        action: Action::Allow,
        subjects: None,
        peers: ruleset::Peers::Sets(vec![SetId(set)]),
        ports: ruleset::Ports::Ranges(
            std::iter::once(port).chain((0..more).map(|n| 1000 + 2 * n)).map(only).collect(),
        ),
    };
    ruleset.policies[0].ingress = Some([rule(0, 2, 80), rule(1, 3, 81)].into());
    let mut kept = Kept::default();
    kept.apply(Delta::of(&ruleset));
    kept
}

/// What is asked elsewhere, at the two ports.
fn assert_both_ports(kept: &Kept) {
    for asked in questions(kept.ruleset()) {
        for port in [80, 81, 82] {
            let asked = Question { service: Service::to(Protocol::Tcp, port), ..asked };
            assert_eq!(kept.decide(&asked), kept.ruleset().decide(&asked), "{asked:?}");
        }
    }
}

fn members(changes: &[(u32, u32, bool)]) -> Delta {
    let member = |(set, pod, joins): &(u32, u32, bool)| (SetId(*set), PodIndex(*pod), *joins);
    Delta { members: changes.iter().map(member).collect(), ..Delta::default() }
}

#[test]
fn a_class_that_leaves_a_set_as_a_whole_and_some_of_it_that_comes_back_are_told_apart() {
    let mut kept = two_ports(0);
    for (leaves, joins) in [(2, 3), (3, 2)] {
        for pods in [0..4, 0..1] {
            let mut changes: Vec<_> = pods.clone().map(|pod| (joins, pod, true)).collect();
            let is_in =
                |set: u32, pod| kept.ruleset().sets[set as usize].pods.contains(&PodIndex(pod));
            changes.retain(|(set, pod, _)| !is_in(*set, *pod));
            let left = pods.filter(|pod| is_in(leaves, *pod)).map(|pod| (leaves, pod, false));
            changes.extend(left.collect::<Vec<_>>());
            kept.apply(members(&changes));
            assert_both_ports(&kept);
        }
    }
}

#[test]
fn a_pod_that_is_in_two_sets_as_none_was_before_has_the_ports_of_both() {
    // Few intervals of ports, and many.
    for mut kept in [0, 40].map(two_ports) {
        let joins = [(2, 0), (3, 1), (3, 0), (2, 1)].map(|(set, pod)| (set, pod, true));
        // And of one again, whose like has been another's since.
        let moves = [(2, 0, false), (3, 0, false), (2, 0, true)];
        for change in joins.into_iter().chain(moves) {
            assert_eq!(kept.apply(members(&[change])).rebuilt, None);
            assert_both_ports(&kept);
        }
    }
}

#[test]
fn a_set_in_the_place_of_another_has_members_of_its_own() {
    let mut kept = two_ports(0);
    kept.apply(members(&[(2, 0, true)]));
    let policy = kept.ruleset().policies[0].clone();
    let gone = Delta {
        policies: vec![(PolicyId(0), None)],
        sets: vec![(SetId(2), None)],
        ..Delta::default()
    };
    kept.apply(gone);
    let set = PeerSet { pods: vec![PodIndex(1)], blocks: vec![] };
    let again = Delta {
        policies: vec![(PolicyId(0), Some(policy))],
        sets: vec![(SetId(2), Some(set))],
        ..Delta::default()
    };
    assert_eq!(kept.apply(again).rebuilt, None);
    assert_both_ports(&kept);
}

#[test]
fn a_policy_set_that_nobody_has_any_more_takes_nothing_from_those_like_it() {
    let (mut kept, ruleset) = web();
    let other = Policy { name: "x/q".into(), subjects: SetId(1), ..ruleset.policies[0].clone() };
    let joins = |joins| vec![(SetId(1), PodIndex(3), joins)];
    let policies = vec![(PolicyId(1), Some(other))];
    kept.apply(Delta { policies, members: joins(true), ..Delta::default() });
    // Under one policy like the other pods, under two, and under one again.
    for is_in in [false, true, false] {
        kept.apply(Delta { members: joins(is_in), ..Delta::default() });
    }
    let closed = Policy { ingress: Some([].into()), ..ruleset.policies[0].clone() };
    let policies = vec![(PolicyId(0), Some(closed))];
    assert!(kept.apply(Delta { policies, ..Delta::default() }).verdicts);
    assert_agrees(&kept, kept.ruleset());
}

#[test]
fn a_change_of_what_selects_nobody_moves_no_verdict() {
    let (mut kept, ruleset) = web();
    let nobody = Policy { name: "x/n".into(), subjects: SetId(1), ..ruleset.policies[0].clone() };
    let policies = vec![(PolicyId(1), Some(nobody))];
    assert!(!kept.apply(Delta { policies, ..Delta::default() }).verdicts);
    let somebody = Policy { name: "x/n".into(), ..ruleset.policies[0].clone() };
    let policies = vec![(PolicyId(1), Some(somebody))];
    assert!(kept.apply(Delta { policies, ..Delta::default() }).verdicts);
}

/// CIDRs, each with its exceptions.
type Blocks<'a> = &'a [(&'a str, &'a [&'a str])];

/// A policy that lets these blocks reach pods 0 to 3, with a set of its own for them.
fn from_blocks(kept: &Kept, id: u32, blocks: Blocks<'_>) -> Delta {
    let block = |(cidr, except): &(&str, &[&str])| ruleset::Block {
        cidr: net(cidr),
        except: except.iter().copied().map(net).collect(),
    };
    let set = SetId(u32::try_from(kept.ruleset().sets.len()).unwrap());
    let peers = ruleset::Peers::Sets(vec![set]);
    let rule =
        Rule { index: 0, action: Action::Allow, subjects: None, peers, ports: ruleset::Ports::Any };
    let name = format!("x/block{id}").into();
    let policy = Policy::isolating(name, SetId(0), Some([rule].into()), None);
    Delta {
        sets: vec![(
            set,
            Some(PeerSet { pods: vec![], blocks: blocks.iter().map(block).collect() }),
        )],
        policies: vec![(PolicyId(id), Some(policy))],
        ..Delta::default()
    }
}

#[test]
fn a_block_is_cut_out_of_regions_that_are_a_bit_wider_or_as_long() {
    let (mut kept, _) = web();
    let leave = [0, 1].map(|pod| (SetId(0), PodIndex(pod), false)).into();
    kept.apply(Delta { members: leave, ..Delta::default() });
    kept.apply(from_blocks(&kept, 1, &[("10.0.0.0/31", &[]), ("10.0.0.2/32", &[])]));
    kept.build(Out::Asked);
    for (id, cidr) in (2..).zip(["192.0.2.0/24", "10.0.0.1/32", "10.0.0.2/31", "10.0.0.3/32"]) {
        let update = kept.apply(from_blocks(&kept, id, &[(cidr, &[])]));
        assert_eq!((update.rebuilt, update.cut.is_empty()), (None, false), "{cidr}");
        assert_agrees(&kept, kept.ruleset());
    }
    // Until now the wider one let in whom the others do.
    let policies = vec![(PolicyId(1), None)];
    assert_eq!(kept.apply(Delta { policies, ..Delta::default() }).rebuilt, None);
    assert_agrees(&kept, kept.ruleset());
}

#[test]
fn a_block_never_seen_before_is_cut_out_and_nothing_is_built_anew() {
    // Inside and around each other, with pods in them and without, with holes that are new.
    let rows: [(Blocks<'_>, bool); 8] = [
        (&[("10.0.0.0/30", &["10.0.0.2/32"])], true),
        (&[("10.0.0.0/8", &[])], true),
        // A hole until now.
        (&[("10.0.0.2/32", &[])], false),
        (&[("10.0.0.0/30", &["10.0.0.2/32"])], false),
        (&[("::/0", &["fd00::/126"]), ("192.0.2.0/24", &[])], true),
        (&[("192.0.2.0/24", &["192.0.2.128/25"])], true),
        (&[("0.0.0.0/0", &["10.0.0.4/31", "255.255.255.255/32"])], true),
        (&[("fd00::2/128", &[]), ("2001:db8::/33", &[])], true),
    ];
    let (mut kept, _) = web();
    // One that is let in by blocks only, wherever its address is cut out.
    let leaves = vec![(SetId(0), PodIndex(3), false)];
    kept.apply(Delta { members: leaves, ..Delta::default() });
    for (id, (blocks, is_new)) in (1..).zip(rows) {
        let update = kept.apply(from_blocks(&kept, id, blocks));
        assert_eq!((update.rebuilt, !update.cut.is_empty()), (None, is_new), "{blocks:?}");
        assert_agrees(&kept, kept.ruleset());
    }
    let prefixes: Vec<IpNet> = kept.prefixes().map(|(net, _)| net).collect();
    assert_eq!(prefixes.len(), 12);
    assert!(prefixes.is_sorted_by(|a, b| !b.contains(a) || a == b), "{prefixes:?}");
}

#[test]
fn blocks_that_were_alike_are_told_apart_by_one_that_names_some_of_them() {
    let all: [(&str, &[&str]); 4] =
        [("10.0.0.0/30", &[]), ("10.0.0.4/31", &[]), ("192.0.2.0/24", &[]), ("fd00::/126", &[])];
    for named in [&all[..1], &all[1..2], &all[2..], &all[..3]] {
        let (mut kept, _) = web();
        kept.apply(from_blocks(&kept, 1, &all));
        kept.build(Out::Asked);
        let update = kept.apply(from_blocks(&kept, 2, named));
        assert_eq!((update.rebuilt, update.cut.is_empty()), (None, false), "{named:?}");
        assert_agrees(&kept, kept.ruleset());
        let gone = kept.apply(Delta { policies: vec![(PolicyId(1), None)], ..Delta::default() });
        assert_eq!(gone.rebuilt, None);
        assert_agrees(&kept, kept.ruleset());
    }
    // Too many: everything is built anew, and judged the same.
    let nets: Vec<String> =
        (0..600).map(|n| format!("10.{}.{}.0/24", 1 + n / 200, n % 200)).collect();
    let blocks: Vec<(&str, &[&str])> = nets.iter().map(|net| (net.as_str(), &[][..])).collect();
    let (mut kept, _) = web();
    kept.apply(from_blocks(&kept, 1, &blocks));
    kept.build(Out::Asked);
    let update = kept.apply(from_blocks(&kept, 2, &blocks[1..300]));
    assert_eq!((update.rebuilt, update.verdicts), (Some(Out::Regions), true));
    assert_agrees(&kept, kept.ruleset());
}

#[test]
fn blocks_that_come_and_go_are_given_up_at_last() {
    let (mut kept, _) = web();
    let before = kept.rebuilds();
    for n in 0..20_000_u32 {
        let net = format!("10.{}.{}.{}/32", 1 + n / 65_536, n / 256 % 256, n % 256);
        kept.apply(from_blocks(&kept, 1, &[(&net, &[])]));
        if kept.rebuilds() > before {
            assert!(n > 1000, "after {n}");
            return assert_agrees(&kept, kept.ruleset());
        }
    }
    unreachable!("nothing was ever built anew");
}

#[test]
fn a_policy_of_one_direction_moves_verdicts_when_it_comes_and_when_it_goes() {
    for is_ingress in [true, false] {
        let (mut kept, ruleset) = web();
        let none = || Some([].into());
        let [ingress, egress] = if is_ingress { [none(), None] } else { [None, none()] };
        // Whom it selects comes with it.
        let subjects = SetId(u32::try_from(ruleset.sets.len()).unwrap());
        let set = PeerSet { pods: vec![PodIndex(2)], blocks: vec![] };
        let policy = Policy::isolating("x/q".into(), subjects, ingress, egress);
        let delta = Delta {
            sets: vec![(subjects, Some(set))],
            policies: vec![(PolicyId(1), Some(policy))],
            ..Delta::default()
        };
        assert!(kept.apply(delta).verdicts);
        assert_agrees(&kept, kept.ruleset());
        let update = kept.apply(Delta { policies: vec![(PolicyId(1), None)], ..Delta::default() });
        assert!(update.verdicts);
    }
}

#[test]
fn both_sides_must_allow_and_building_anew_is_counted() {
    let (mut kept, ruleset) = web();
    let ask = |kept: &Kept, from: u32, to: u32| {
        let parties =
            [from, to].map(|pod| party(&ruleset, ruleset.pods[pod as usize].addresses[0]));
        let [source, target] = parties;
        let service = Service::to(Protocol::Tcp, 80);
        kept.ask(&Question { source, target, service }).allows()
    };
    assert!(ask(&kept, 0, 1));
    let silent = Policy::isolating("x/s".into(), SetId(0), None, Some([].into()));
    kept.apply(Delta { policies: vec![(PolicyId(1), Some(silent))], ..Delta::default() });
    assert!(!ask(&kept, 0, 1));
    let before = kept.rebuilds();
    kept.build(Out::Asked);
    kept.build(Out::Asked);
    assert_eq!(kept.rebuilds(), before + 2);
}

#[test]
fn a_policy_that_changes_in_place_is_judged_as_it_is_now() {
    let (mut kept, ruleset) = web();
    let rules = ruleset.policies[0].ingress.clone();
    let none = Some([].into());
    for (ingress, egress) in [
        (none.clone(), None),
        (rules.clone(), None),
        (None, rules.clone()),
        (None, none.clone()),
        (rules.clone(), none.clone()),
        (none, rules.clone()),
        (rules, None),
    ] {
        let new = Policy { ingress, egress, ..ruleset.policies[0].clone() };
        let policies = vec![(PolicyId(0), Some(new))];
        let update = kept.apply(Delta { policies, ..Delta::default() });
        assert_eq!((update.rebuilt, kept.table().policies()), (None, 1));
        assert_agrees(&kept, kept.ruleset());
    }
    kept.apply(Delta { policies: vec![(PolicyId(0), None)], ..Delta::default() });
    assert_eq!(kept.table().policies(), 0);
}

/// More classes than there is room left for, blocks through them, and shapes that many share.
#[test]
fn a_cluster_that_changes_is_judged_as_by_reading_every_rule() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut ruleset = cluster(&mut dice);
    let mut kept = Kept::default();
    kept.apply(Delta::of(&ruleset));
    let rebuilds = kept.rebuilds();
    for round in 1..=60 {
        let mut delta = Delta::default();
        for _ in 0..6 {
            let pod = PodIndex(dice.below(2000));
            let set = SetId(2 + dice.below(305));
            if delta.members.iter().all(|one| one.1 != pod) {
                let joins = !ruleset.sets[set.0 as usize].pods.contains(&pod);
                delta.members.push((set, pod, joins));
            }
        }
        // A policy has another's rules from now on.
        let other = ruleset.policies[dice.below(300) as usize].clone();
        let at = dice.below(300);
        let Policy { name, subjects, .. } = ruleset.policies[at as usize].clone();
        delta.policies.push((PolicyId(at), Some(Policy { name, subjects, ..other })));
        ruleset.apply(delta.clone());
        kept.apply(delta);
        for _ in 0..if round % 6 == 0 { 600 } else { 0 } {
            let mut anybody = || {
                let pod = dice.below(2100);
                let address = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a00_0000 + pod));
                Party { address, pod: (pod < 2000).then_some(PodIndex(pod)), own_node: false }
            };
            let (source, target) = (anybody(), anybody());
            let asked = Question { source, target, service: some_service(&mut dice) };
            assert_eq!(kept.decide(&asked), ruleset.decide(&asked), "round {round}: {asked:?}");
        }
    }
    assert_eq!(kept.ruleset(), &ruleset);
    assert!(kept.rebuilds() - rebuilds < 10, "{} times built anew", kept.rebuilds() - rebuilds);
}

#[test]
fn rules_that_change_leave_pods_and_their_policy_sets_alone() {
    let (mut kept, ruleset) = web();
    let new = Policy { ingress: Some([].into()), ..ruleset.policies[0].clone() };
    let policies = vec![(PolicyId(0), Some(new))];
    let update = kept.apply(Delta { policies, ..Delta::default() });
    assert_eq!((update.pods, update.rebuilt, update.verdicts), (Vec::new(), None, true));
}

#[test]
fn classes_have_room_for_a_fourth_more_and_eight() {
    let mut kinds = Kinds::new(Geometries::new());
    let keys: Vec<_> = (1..=5593).map(|signature| (0, signature)).collect();
    kinds.lay_out(&keys);
    let mut made = (1..).map(|signature| kinds.make((0, signature)));
    assert_eq!(made.position(|one| !matches!(one, Ok(New::Spare(_)))), Some(5593 + 1398 + 8));
    drop(made);
    // 7 000 numbers and a fourth are two branches and a part.
    assert_eq!(kinds.span(), 4 * 64 * 64);
}

#[test]
fn regions_with_pods_have_numbers_to_spare_and_others_one() {
    let mut geometries = Geometries::new();
    for cidr in ["10.0.0.0/8", "192.0.2.0/24"] {
        geometries.number(&[ruleset::Block { cidr: net(cidr), except: vec![] }]);
    }
    let mut kinds = Kinds::new(geometries);
    kinds.lay_out(&[(1, 5), (1, 6), (1, 7), (1, 8)]);
    // Itself and eight; itself, four, a fourth more and eight; itself.
    assert_eq!([0, 1, 2].map(|region| kinds.find((region, 0))), [Some(0), Some(9), Some(23)]);
    for (region, room) in [(0, 8), (1, 13), (2, 0)] {
        let mut made = (100..).map(|signature| kinds.make((region, signature)));
        assert_eq!(made.position(|one| matches!(one, Ok(New::Common(_)))), Some(room));
    }
}

#[test]
fn blocks_and_exceptions_are_counted_once() {
    let mut geometries = Geometries::new();
    let block = |cidr, except: &[&str]| ruleset::Block {
        cidr: net(cidr),
        except: except.iter().copied().map(net).collect(),
    };
    let one = [block("10.0.0.0/8", &["10.1.0.0/16", "10.2.0.0/16"])];
    let other = [block("192.0.2.0/24", &[]), block("198.51.100.0/24", &[])];
    for (blocks, size) in [(&one[..], 3), (&one[..], 3), (&other[..], 5)] {
        geometries.number(blocks);
        assert_eq!(geometries.size(), size);
    }
}

#[test]
fn more_than_half_of_the_pods_are_built_anew() {
    let host =
        |n: u8| Pod { endpoint: EndpointId(n.into()), addresses: [[10, 0, 1, n].into()].into() };
    let joins = |count| (0..count).map(|pod| (SetId(1), PodIndex(pod), true)).collect();
    for (count, rebuilt) in [(132, None), (133, Some(Out::Dear))] {
        let (_, mut ruleset) = web();
        ruleset.pods = (0..200).map(host).collect();
        let peers = ruleset::Peers::Sets(vec![SetId(1)]);
        let rule = Rule {
            index: 0,
            action: Action::Allow,
            subjects: None,
            peers,
            ports: ruleset::Ports::Any,
        };
        ruleset.policies[0].ingress = Some([rule].into());
        let mut kept = Kept::default();
        kept.apply(Delta::of(&ruleset));
        let update = kept.apply(Delta { members: joins(count), ..Delta::default() });
        assert_eq!(update.rebuilt, rebuilt, "{count} of 200, and 64 more");
    }
}

#[test]
fn what_is_kept_is_built_anew_when_it_is_more_than_twice_what_it_was_and_some() {
    let (mut kept, _) = web();
    let block = |n: u32| ruleset::Block {
        cidr: IpNet::from(IpAddr::from((0x0b00_0000 + n).to_be_bytes())),
        except: vec![],
    };
    let many = PeerSet { pods: vec![], blocks: (0..19_999).map(block).collect() };
    let delta = from_blocks(&kept, 1, &[]);
    let sets = vec![(delta.sets[0].0, Some(many))];
    kept.apply(Delta { sets, ..delta });
    kept.build(Out::Asked);
    let kept_now = kept.built.size();
    let half = (kept_now - SIZE_MIN).div_ceil(2);
    for (size, rebuilt) in [(half, None), (half - 1, Some(Out::Unused))] {
        kept.size = size;
        assert_eq!(kept.apply(Delta::default()).rebuilt, rebuilt, "{size} and {kept_now}");
    }
    assert_eq!(kept_now % 2, 0, "else the first would not be at the very edge");
}

#[test]
fn classes_are_made_until_their_numbers_run_out() {
    let mut kinds = Kinds::new(Geometries::new());
    kinds.lay_out(&[]);
    let numbers = u32::try_from(kinds.span()).unwrap();
    // Number 0 is the class of addresses of no pod.
    for signature in 1..numbers {
        assert!(kinds.make((0, signature)).is_ok(), "class {signature} of {numbers}");
    }
    assert_eq!(kinds.make((0, numbers)).err(), Some(Out::Classes));
    assert!((1..numbers).all(|signature| kinds.find((0, signature)) == Some(signature)));
}

#[test]
fn classes_made_later_are_in_the_blocks_of_their_addresses() {
    let mut geometries = Geometries::new();
    let blocks = [ruleset::Block { cidr: net("10.0.0.0/8"), except: vec![] }];
    let inside = geometries.number(&blocks);
    let mut kinds = Kinds::new(geometries);
    kinds.lay_out(&[]);
    for signature in 1..40 {
        for (address, is_inside) in [([10, 0, 0, 1], true), ([192, 0, 2, 1], false)] {
            let made = kinds.make(kinds.key(address.into(), signature)).unwrap();
            let (New::Spare(class) | New::Common(class)) = made;
            let ranges = kinds.of_geometry(inside);
            assert_eq!(ranges.iter().any(|range| range.contains(&class)), is_inside);
        }
    }
}

#[test]
fn what_is_kept_unused_is_given_up_and_the_change_is_told_all_the_same() {
    let (mut kept, ruleset) = web();
    let rule = ruleset.policies[0].ingress.as_ref().unwrap()[0].clone();
    for index in 1..50_000 {
        // Each is another cause, and the one before is not used any more.
        let ingress = Some([Rule { index, ..rule.clone() }].into());
        let policies = vec![(PolicyId(0), Some(Policy { ingress, ..ruleset.policies[0].clone() }))];
        let update = kept.apply(Delta { policies, ..Delta::default() });
        assert!(update.verdicts);
        if update.rebuilt.is_some() {
            assert!(update.rebuilt == Some(Out::Unused) && index > 1000, "{update:?} at {index}");
            return assert_agrees(&kept, kept.ruleset());
        }
    }
    unreachable!("nothing was ever built anew");
}

#[test]
fn a_policy_that_changes_when_it_is_asked_or_what_it_records_alone_is_asked_anew() {
    let (mut kept, mut ruleset) = web();
    let plain = ruleset.policies[0].clone();
    let rules = plain.ingress.clone().unwrap();
    let log =
        Rule { index: 1, action: Action::Log, peers: ruleset::Peers::Any, ..rules[0].clone() };
    let logging = Rule { index: 0, ..log.clone() };
    let recording = |rules: &[Rule]| Policy { ingress: Some(rules.into()), ..plain.clone() };
    let staged = |stage| Policy { stage, ..plain.clone() };
    let narrow =
        |of: u32, action| Rule { index: of, action, subjects: Some(SetId(of)), ..log.clone() };
    for next in [
        staged(Stage::Staged),
        staged(Stage::Leaving),
        staged(Stage::InForce),
        recording(&[logging]),
        recording(&rules),
        recording(&[rules[0].clone(), log.clone()]),
        // It moves from one part to another.
        recording(&[narrow(0, Action::Log), narrow(1, Action::Allow)]),
        recording(&[narrow(0, Action::Allow), narrow(1, Action::Log)]),
        recording(&[narrow(0, Action::Log), narrow(1, Action::Allow)]),
        plain.clone(),
    ] {
        let delta = Delta { policies: vec![(PolicyId(0), Some(next))], ..Delta::default() };
        ruleset.apply(delta.clone());
        kept.apply(delta);
        assert_agrees(&kept, &ruleset);
    }
}
