//! The table against the slow judge, in tiny worlds where everything collides and in a larger one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;

use super::super::ruleset::{
    Action, Answer, Block, Cause, End, Order, Party, PeerSet, Peers, Pod, PodIndex, Policy,
    PolicyId, PortRange, Ports, Question, Rule, Ruleset, Service, SetId, Stage, Tier, View,
};
use super::super::table::{ClassId, PLANE, PolicySetId, Query, Sets, VerdictId};
use super::{Compiled, compile};
use crate::ids::EndpointId;
use crate::packet::Protocol;

/// They nest, touch, repeat, and two hold pods' addresses.
pub(super) const NETS: [&str; 12] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/30",
    "10.0.0.2/32",
    "10.0.0.4/31",
    "192.0.2.0/24",
    "192.0.2.128/25",
    "255.255.255.255/32",
    "::/0",
    "fd00::/126",
    "fd00::2/128",
    "2001:db8::/33",
];

/// Ports at which ranges begin and end.
const PORTS: [u16; 6] = [0, 80, 81, 443, 1000, 65535];

const PODS: u32 = 4;

pub(super) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Pod `i` has 10.0.0.(i+1), `fd00::(i+1)`, or both.
pub(super) fn pods(families: &[u8]) -> Vec<Pod> {
    let addresses = |(i, family): (usize, &u8)| {
        let last = u16::try_from(i + 1).unwrap();
        let v4 = IpAddr::from([10, 0, 0, u8::try_from(last).unwrap()]);
        let v6 = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]);
        [vec![v4], vec![v6], vec![v4, v6]][usize::from(*family)].clone()
    };
    let pods = families.iter().enumerate().map(addresses).zip(100..);
    pods.map(|(addresses, id)| Pod { endpoint: EndpointId(id), addresses: addresses.into() })
        .collect()
}

pub(super) fn any_net() -> impl Strategy<Value = IpNet> {
    prop::sample::select(&NETS[..]).prop_map(net)
}

fn any_block() -> impl Strategy<Value = Block> {
    let except = prop::collection::vec(any_net(), 0..3);
    (any_net(), except).prop_map(|(cidr, except)| Block { cidr, except })
}

pub(super) fn any_set() -> impl Strategy<Value = PeerSet> {
    let pods = prop::collection::btree_set((0..PODS).prop_map(PodIndex), 0..=3);
    let blocks = prop_oneof![Just(vec![]), prop::collection::vec(any_block(), 0..3)];
    (pods, blocks).prop_map(|(pods, blocks)| PeerSet { pods: pods.into_iter().collect(), blocks })
}

const SETS: u32 = 6;

fn any_set_id() -> impl Strategy<Value = SetId> {
    (0..SETS).prop_map(SetId)
}

fn any_ports() -> impl Strategy<Value = Ports> {
    let protocol = prop::sample::select(&Protocol::ALL[..]);
    let port = || prop::sample::select(&PORTS[..]);
    let ports = || (port(), port()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let source = prop_oneof![3 => Just(PortRange::ANY_SOURCE), 1 => ports()];
    let range = (protocol, ports(), source)
        .prop_map(|(protocol, (first, last), source)| PortRange { protocol, first, last, source });
    prop_oneof![
        1 => Just(Ports::Any),
        3 => prop::collection::vec(range, 0..4).prop_map(Ports::Ranges),
    ]
}

pub(super) fn any_rule() -> impl Strategy<Value = Rule> {
    let peers = prop_oneof![
        1 => Just(Peers::Any),
        4 => prop::collection::vec(any_set_id(), 0..3).prop_map(Peers::Sets),
    ];
    (0..3u32, prop::option::weighted(0.3, any_set_id()), peers, any_ports()).prop_map(
        |(index, subjects, peers, ports)| {
            let action = Action::Allow;
            Rule { index, action, subjects, peers, ports }
        },
    )
}

/// Rules whose actions follow from their index, as written ones' do.
pub(super) fn any_rules(count: usize) -> impl Strategy<Value = Option<Vec<Rule>>> {
    let action = || {
        prop_oneof![
            2 => Just(Action::Allow),
            1 => Just(Action::Deny),
            1 => Just(Action::Pass),
            1 => Just(Action::Log),
        ]
    };
    let rules = prop::collection::vec(any_rule(), 0..count);
    let rules = (rules, [action(), action(), action()]).prop_map(|(mut rules, actions)| {
        for rule in &mut rules {
            rule.action = actions[rule.index as usize];
        }
        rules
    });
    prop::option::weighted(0.7, rules)
}

/// One of a few tiers, and a place in it: two of one order, and one that only its end tells apart;
/// and when it is asked.
pub(super) fn any_standing() -> impl Strategy<Value = (Arc<Tier>, Order, Stage)> {
    let tiers = [
        (1.0, "a", End::Pass, true),
        (1.0, "b", End::Deny, false),
        (-3.0, "z", End::Deny, true),
        (7.5, "a", End::Pass, true),
        (7.5, "b", End::Pass, false),
    ];
    let tier = prop::sample::select(tiers.to_vec());
    let tier = tier.prop_map(|(order, name, end, judges_itself)| {
        Arc::new(Tier { order: Order::of(order), name: name.into(), end, judges_itself })
    });
    let order = prop_oneof![Just(Order::of(-1.0)), Just(Order::of(0.5)), Just(Order::LAST)];
    let stage =
        prop_oneof![3 => Just(Stage::InForce), 1 => Just(Stage::Staged), 1 => Just(Stage::Leaving)];
    (tier, order, stage)
}

fn any_ruleset() -> impl Strategy<Value = Ruleset> {
    let policy = (any_set_id(), any_rules(4), any_rules(4), any_standing());
    (
        prop::collection::vec(0..3u8, PODS as usize),
        prop::collection::vec(any_set(), SETS as usize),
        prop::collection::vec(policy, 0..5),
    )
        .prop_map(|(families, sets, policies)| {
            let policy = |(i, (subjects, ingress, egress, (tier, order, stage)))| {
                let (name, kind): (Arc<str>, _) = (format!("demo/{i}").into(), &"NetworkPolicy");
                let [ingress, egress] =
                    [ingress, egress].map(|rules: Option<Vec<Rule>>| rules.map(Arc::from));
                Policy { name, kind, stage, tier, order, subjects, ingress, egress }
            };
            let policies = policies.into_iter().enumerate().map(policy).collect();
            Ruleset { pods: pods(&families), sets, policies }
        })
}

/// The first and last address of a CIDR and those just outside it.
pub(super) fn edges(net: IpNet) -> Vec<IpAddr> {
    match net {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let around = [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)];
            around.into_iter().flatten().map(|bits| Ipv4Addr::from_bits(bits).into()).collect()
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let around = [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)];
            around.into_iter().flatten().map(|bits| Ipv6Addr::from_bits(bits).into()).collect()
        }
    }
}

pub(super) fn party(ruleset: &Ruleset, address: IpAddr) -> Party {
    let has = |pod: &Pod| pod.addresses.contains(&address);
    let pod = ruleset.pods.iter().position(has).map(|at| PodIndex(u32::try_from(at).unwrap()));
    Party { address, pod, own_node: false }
}

/// Every address that matters: of pods, at the edges of blocks, and in nothing.
fn parties(ruleset: &Ruleset) -> Vec<Party> {
    let own = ruleset.pods.iter().flat_map(|pod| pod.addresses.iter().copied());
    let edges = NETS.iter().flat_map(|text| edges(net(text)));
    let mut addresses: Vec<IpAddr> = own.chain(edges).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into_iter().map(|address| party(ruleset, address)).collect()
}

/// Every protocol with every port at which a verdict may change, from some ports.
pub(super) fn services() -> Vec<Service> {
    let around = |port: u16| [port.wrapping_sub(1), port, port.wrapping_add(1)];
    let mut ports: Vec<u16> = PORTS.into_iter().flat_map(around).collect();
    ports.sort_unstable();
    ports.dedup();
    let of = |(skipped, protocol): (usize, Protocol)| {
        // From another port to each, and of each protocol from others.
        let pairs = ports.iter().zip(ports.iter().cycle().skip(skipped * 5));
        let pairs: Vec<(u16, u16)> = pairs.map(|(&port, &source)| (port, source)).collect();
        pairs.into_iter().map(move |(port, source_port)| Service { protocol, port, source_port })
    };
    Protocol::ALL.into_iter().enumerate().flat_map(of).collect()
}

fn http() -> Service {
    Service::to(Protocol::Tcp, 80)
}

/// What an answer says in a view. That of what is recorded says nothing of what decides: who is
/// asked by no rule that records has no row for it.
pub(super) fn said(view: View, answer: Answer) -> [Option<Cause>; 2] {
    let is_said = |cause: &Cause| view != View::Log || matches!(cause, Cause::Logged { .. });
    [answer.egress, answer.ingress].map(|cause| Some(cause).filter(is_said))
}

fn assert_agrees(ruleset: &Ruleset, compiled: &Compiled, asked: &Question) {
    assert_eq!(compiled.decide(asked), ruleset.decide(asked), "{asked:?}");
}

proptest! {
    #[test]
    fn the_table_agrees_with_reading_every_rule(ruleset in any_ruleset()) {
        let compiled = compile(&ruleset);
        let parties = parties(&ruleset);
        for source in &parties {
            for target in &parties {
                let family = source.address.is_ipv4() == target.address.is_ipv4();
                if !family || (source.pod.is_none() && target.pod.is_none()) {
                    continue;
                }
                for service in services() {
                    let asked = Question { source: *source, target: *target, service };
                    prop_assert_eq!(compiled.decide(&asked), ruleset.decide(&asked), "{:?}", asked);
                    for view in [View::Next, View::Log, View::Itself] {
                        prop_assert_eq!(
                            said(view, compiled.decide_in(view, &asked)),
                            said(view, ruleset.decide_in(view, &asked)),
                            "{:?} {:?}", view, asked
                        );
                    }
                }
                let source = Party { own_node: true, ..*source };
                let asked = Question { source, target: *target, service: http() };
                prop_assert_eq!(compiled.decide(&asked), ruleset.decide(&asked), "{:?}", asked);
            }
        }
        let causes = &compiled.table.causes;
        for (verdict, cause) in (0..).zip((0..causes.len()).map(|at| &causes[at])) {
            let allow = if cause.allows() { VerdictId::ALLOW } else { 0 };
            prop_assert_eq!(VerdictId(verdict | allow).is_allow(), cause.allows());
        }
    }

    #[test]
    fn addresses_share_a_class_only_if_no_used_set_tells_them_apart(ruleset in any_ruleset()) {
        let compiled = compile(&ruleset);
        let mut causes = super::rules::Causes::new();
        let used = super::rules::Rules::gather(&ruleset, &mut causes).used_sets();
        let has = |set: &PeerSet, party: &Party| {
            party.pod.is_some_and(|pod| set.pods.contains(&pod))
                || set.blocks.iter().any(|block| {
                    block.cidr.contains(&party.address)
                        && !block.except.iter().any(|except| except.contains(&party.address))
                })
        };
        let mixed = used.iter().any(|id| {
            !ruleset.set(*id).pods.is_empty() && !ruleset.set(*id).blocks.is_empty()
        });
        let member = |party: &Party| -> Vec<bool> {
            used.iter().map(|id| has(ruleset.set(*id), party)).collect()
        };
        let parties = parties(&ruleset);
        for a in &parties {
            let class = compiled.classes.of(a.address);
            prop_assert!((class.0 as usize) < compiled.classes.count());
            // Class 0 is for those in nothing, and they are in it.
            if !mixed {
                prop_assert_eq!(class == ClassId::NOTHING, !member(a).contains(&true));
            }
            for b in &parties {
                let same = class == compiled.classes.of(b.address);
                let alike = member(a) == member(b);
                prop_assert!(!same || alike, "{:?} and {:?}", a.address, b.address);
                // Sets with both pods and blocks may make classes finer than need be.
                prop_assert!(mixed || same || !alike, "{:?} and {:?}", a.address, b.address);
            }
        }
    }
}

/// One policy for both directions of its subjects.
fn policy(name: &str, subjects: u32, ingress: Vec<Rule>) -> Policy {
    let ingress = Some(ingress.into());
    Policy::isolating(name.into(), SetId(subjects), ingress, None)
}

fn rule(index: u32, sets: &[u32], ports: Ports) -> Rule {
    let peers = Peers::Sets(sets.iter().copied().map(SetId).collect());
    Rule { index, action: Action::Allow, subjects: None, peers, ports }
}

fn tcp(first: u16, last: u16) -> Ports {
    Ports::Ranges(vec![PortRange::of_target(Protocol::Tcp, first, last)])
}

fn set(pods: impl IntoIterator<Item = u32>) -> PeerSet {
    PeerSet { pods: pods.into_iter().map(PodIndex).collect(), blocks: vec![] }
}

/// `count` pods from 10.0.0.0 on.
fn v4_pods(count: u32) -> Vec<Pod> {
    let address = |i| [Ipv4Addr::from_bits(0x0a00_0000 + i).into()].into();
    let pod = |i| Pod { endpoint: EndpointId(i), addresses: address(i) };
    (0..count).map(pod).collect()
}

fn ask(ruleset: &Ruleset, source: u32, target: u32, port: u16) -> Question {
    let party = |pod: u32| party_of(ruleset, pod);
    let service = Service::to(Protocol::Tcp, port);
    Question { source: party(source), target: party(target), service }
}

fn party_of(ruleset: &Ruleset, pod: u32) -> Party {
    let address = ruleset.pods[pod as usize].addresses[0];
    Party { address, pod: Some(PodIndex(pod)), own_node: false }
}

#[test]
fn pods_that_nothing_tells_apart_share_class_and_policy_set() {
    let sets = vec![set(0..500), set(500..1000)];
    let policies = vec![policy("a/a", 0, vec![rule(0, &[1], tcp(80, 80))])];
    let compiled = compile(&Ruleset { pods: v4_pods(1500), sets, policies });
    // Those in set 1, and all others: set 0 is no rule's peer.
    assert_eq!(compiled.classes.count(), 2);
    assert_eq!(compiled.table.policy_sets(), 2);
    let sets = |pod: usize| compiled.sets[pod];
    assert!((1..500).all(|pod| sets(pod) == sets(0)));
    assert!((500..1500).all(|pod| sets(pod) == Sets::NONE));
}

#[test]
fn every_address_of_every_pod_is_told_with_its_class() {
    let pods = pods(&[0, 1, 2]);
    let policies = vec![policy("a/a", 0, vec![rule(0, &[1], Ports::Any)])];
    let sets = vec![set(0..1), set(1..2)];
    let compiled = compile(&Ruleset { pods: pods.clone(), sets, policies });
    let told: Vec<_> =
        compiled.classes.hosts().iter().map(|h| (h.pod, h.address, h.class)).collect();
    let all = (0..)
        .map(PodIndex)
        .zip(&pods)
        .flat_map(|(pod, one)| one.addresses.iter().map(move |address| (pod, *address)));
    let wanted: Vec<_> =
        all.map(|(pod, address)| (pod, address, compiled.classes.of(address))).collect();
    assert_eq!(told, wanted);
    assert_eq!(told.len(), 4);
}

#[test]
fn a_policy_that_selects_nobody_makes_no_classes() {
    let policies = vec![policy("a/a", 1, vec![rule(0, &[0], Ports::Any)])];
    let compiled = compile(&Ruleset { pods: v4_pods(4), sets: vec![set(0..2), set([])], policies });
    assert_eq!(compiled.classes.count(), 1);
}

#[test]
fn an_exception_brings_back_the_class_around_its_block() {
    let block = Block { cidr: net("198.51.100.0/24"), except: vec![net("198.51.100.64/26")] };
    let other = Block { cidr: net("203.0.113.0/24"), except: vec![] };
    let peers = PeerSet { pods: vec![], blocks: vec![block, other] };
    let policies = vec![policy("a/a", 0, vec![rule(0, &[1], Ports::Any)])];
    let compiled = compile(&Ruleset { pods: v4_pods(1), sets: vec![set(0..1), peers], policies });
    let class = |text: &str| compiled.classes.of(text.parse().unwrap());
    assert_eq!(class("198.51.100.64"), ClassId::NOTHING);
    assert_eq!(class("198.51.100.1"), class("203.0.113.1"), "blocks of one set are alike");
    assert_eq!(compiled.classes.count(), 2);
}

#[test]
fn a_block_has_its_last_address_when_another_names_it_too() {
    for (whole, last) in
        [("198.51.100.0/24", "198.51.100.255/32"), ("2001:db8::/127", "2001:db8::1/128")]
    {
        let block = |cidr| Block { cidr: net(cidr), except: vec![] };
        let peers = |cidr| PeerSet { pods: vec![], blocks: vec![block(cidr)] };
        let rules = vec![rule(0, &[1], tcp(80, 80)), rule(1, &[2], tcp(81, 81))];
        let policies = vec![policy("a/a", 0, rules)];
        let sets = vec![set(0..1), peers(whole), peers(last)];
        let ruleset = Ruleset { pods: v4_pods(1), sets, policies };
        let compiled = compile(&ruleset);
        for port in [80, 81, 82] {
            let source = party(&ruleset, net(last).addr());
            let asked = Question { source, ..ask(&ruleset, 0, 0, port) };
            assert_eq!(compiled.decide(&asked).allows(), port < 82, "{last} {port}");
        }
    }
}

#[test]
fn prefixes_are_the_blocks_and_their_exceptions_with_their_classes() {
    let block = |cidr, except| Block { cidr: net(cidr), except };
    let blocks = vec![
        block("198.51.100.0/24", vec![net("198.51.100.64/26")]),
        block("2001:db8::/33", vec![net("2001:db8::/64")]),
    ];
    let peers = PeerSet { pods: vec![], blocks };
    let policies = vec![policy("a/a", 0, vec![rule(0, &[1], Ports::Any)])];
    let compiled = compile(&Ruleset { pods: v4_pods(1), sets: vec![set(0..1), peers], policies });
    let mut told: Vec<_> = compiled.classes.prefixes().collect();
    told.sort_unstable();
    let (inside, outside) =
        (compiled.classes.of("198.51.100.1".parse().unwrap()), ClassId::NOTHING);
    assert_ne!(inside, outside);
    let wanted = [
        (net("198.51.100.0/24"), inside),
        (net("198.51.100.64/26"), outside),
        (net("2001:db8::/33"), inside),
        (net("2001:db8::/64"), outside),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn policies_are_sorted_by_name_before_namespace() {
    let is_before = |a, b| policy(a, 0, vec![]).rank() < policy(b, 0, vec![]).rank();
    assert!(is_before("b/a", "a/z") && is_before("a/b", "b/b"));
    // As a text, it would come before.
    assert!(is_before("a/b", "a-b/b"));
}

#[test]
fn rows_with_equal_peers_share_their_cells() {
    let sets = vec![set(0..1), set(1..2), set(100..200)];
    let policies = vec![
        policy("a/a", 0, vec![rule(0, &[2], tcp(80, 80))]),
        policy("b/b", 1, vec![rule(0, &[2], tcp(443, 443))]),
    ];
    let compiled = compile(&Ruleset { pods: v4_pods(300), sets, policies });
    let [_, a, b] = &compiled.table.rows[..] else { panic!("two rows and the empty one") };
    assert!(Arc::ptr_eq(&a.cells, &b.cells));
}

#[test]
fn numbers_that_no_table_gave_are_denied() {
    let policies =
        vec![policy("a/a", 0, vec![Rule { peers: Peers::Any, ..rule(0, &[], Ports::Any) }])];
    let compiled = compile(&Ruleset { pods: v4_pods(1), sets: vec![set(0..1)], policies });
    let known = compiled.sets[0].ingress;
    for (ingress, class) in
        [(PolicySetId(2), 0), (PolicySetId(u32::MAX), 0), (known, 4096), (known, u32::MAX)]
    {
        let (egress, target_class) = (PolicySetId::NONE, ClassId::NOTHING);
        let source_class = ClassId(class);
        let query = Query { egress, target_class, ingress, source_class, service: http() };
        let decision = compiled.table.decide(&query);
        assert_eq!(decision.ingress, VerdictId::CLOSED);
        assert!(!decision.allows());
    }
}

#[test]
fn more_peer_combinations_than_a_cell_can_hold_are_told_apart() {
    // Pod i is in the sets that are the bits of i: 2^17 combinations in one row.
    const BITS: u32 = 17;
    let pods = v4_pods(1 << BITS);
    let mut sets: Vec<PeerSet> =
        (0..BITS).map(|bit| set((0..1u32 << BITS).filter(|i| i >> bit & 1 == 1))).collect();
    sets.push(set([0]));
    let port = |bit: u32| u16::try_from(2000 + bit % 3).unwrap();
    let rules = (0..BITS).map(|bit| rule(bit, &[bit], tcp(port(bit), port(bit)))).collect();
    let ruleset = Ruleset { pods, sets, policies: vec![policy("a/a", BITS, rules)] };
    let compiled = compile(&ruleset);
    let row = &compiled.table.rows[compiled.sets[0].ingress.0 as usize];
    assert!(row.programs.len() > PLANE && row.cells.len().is_multiple_of(2));
    for source in (1..1u32 << BITS).step_by(13) {
        let asked = ask(&ruleset, source, 0, 2000 + u16::try_from(source % 4).unwrap());
        // By its bits, rather than by reading sets of 65 536: the port is that of every third.
        let of_port =
            (0..BITS).filter(|bit| source >> bit & 1 == 1 && port(*bit) == asked.service.port);
        let ingress = match of_port.min() {
            Some(rule) => Cause::Rule { policy: PolicyId(0), rule },
            None => Cause::DefaultDeny { isolating: [PolicyId(0)].into() },
        };
        let want = Answer { egress: Cause::NotIsolated, ingress };
        assert_eq!(compiled.decide(&asked), want, "pod {source}");
    }
}

#[test]
fn peers_that_overlap_at_random_cost_no_more_programs_than_there_are_classes() {
    let mut dice = Dice(7);
    let mut sets: Vec<PeerSet> =
        (0..40).map(|_| set((0..600).filter(|_| dice.below(2) == 0).collect::<Vec<_>>())).collect();
    sets.push(set(0..2));
    let port = |i: u32| u16::try_from(2000 + i).unwrap();
    let rules = (0..40).map(|i| rule(i, &[i], tcp(port(i), port(i) + 3))).collect();
    let policies = vec![policy("a/a", 40, rules)];
    let ruleset = Ruleset { pods: v4_pods(600), sets, policies };
    let compiled = compile(&ruleset);
    let row = &compiled.table.rows[compiled.sets[0].ingress.0 as usize];
    assert!(row.programs.len() <= compiled.classes.count() + 1, "{}", row.programs.len());
    for source in 0..600 {
        for port in 1999..2045 {
            assert_agrees(&ruleset, &compiled, &ask(&ruleset, source, 1, port));
        }
    }
}

#[test]
fn hundreds_of_ports_are_told_apart() {
    let rules = (0..400u16).map(|i| rule(i.into(), &[0], tcp(i * 100, i * 100 + 30))).collect();
    let ruleset = Ruleset {
        pods: v4_pods(2),
        sets: vec![set(0..1), set(1..2)],
        policies: vec![policy("a/a", 1, rules)],
    };
    let compiled = compile(&ruleset);
    for port in 0..=u16::MAX {
        assert_agrees(&ruleset, &compiled, &ask(&ruleset, 0, 1, port));
    }
}

/// A small deterministic source of numbers (xorshift).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 16) % u64::from(bound)).unwrap()
    }
}

/// 2 000 pods in 100 namespaces with 5 apps, 300 policies that name namespaces, apps across
/// namespaces, both, and blocks that cut through the pods' addresses.
pub(super) fn cluster(dice: &mut Dice) -> Ruleset {
    let mut sets = vec![set(0..2000), set([])];
    sets.extend((0..100).map(|ns| set(ns * 20..ns * 20 + 20)));
    sets.extend((0..5).map(|app| set((0..2000).filter(move |pod| pod % 5 == app))));
    sets.extend(
        (0..200).map(|at| set((at / 2 * 20..at / 2 * 20 + 20).filter(|pod| pod % 5 == at % 2))),
    );
    for length in [0, 8, 21, 24, 25, 26, 29, 30, 32, 32] {
        let mut any = || {
            IpNet::new(IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + dice.below(2100))), length)
        };
        let cidr = any().unwrap().trunc();
        let except = (0..3).map(|_| {
            let hole = Ipv4Addr::from_bits(0x0a00_0000 + dice.below(2100));
            IpNet::new(hole.into(), u8::try_from(20 + dice.below(13)).unwrap()).unwrap().trunc()
        });
        let except = except.collect();
        sets.push(PeerSet { pods: vec![], blocks: vec![Block { cidr, except }] });
    }
    let count = u32::try_from(sets.len()).unwrap();
    let some_rule = |dice: &mut Dice, index| {
        let peers = match dice.below(20) {
            0 => Peers::Any,
            n => Peers::Sets((0..=n % 3).map(|_| SetId(dice.below(count))).collect()),
        };
        let ports = match dice.below(4) {
            0 => Ports::Any,
            n => Ports::Ranges(
                (0..n)
                    .map(|_| {
                        let protocol = some_protocol(dice);
                        let mut ports = || {
                            let first = u16::try_from(dice.below(12) * 10).unwrap();
                            (first, first + u16::try_from(dice.below(20)).unwrap())
                        };
                        let ((first, last), source) = (ports(), ports());
                        let is_narrow = dice.below(12) == 0;
                        let source = if is_narrow { source } else { PortRange::ANY_SOURCE };
                        PortRange { protocol, first, last, source }
                    })
                    .collect(),
            ),
        };
        let subjects = (dice.below(5) == 0).then(|| SetId(102 + dice.below(205)));
        let action =
            [Action::Allow, Action::Allow, Action::Deny, Action::Pass][dice.below(4) as usize];
        Rule { index, action, subjects, peers, ports }
    };
    let some_tier = |dice: &mut Dice| {
        let (order, end) = [(1, End::Pass), (2, End::Deny), (3, End::Pass)][dice.below(3) as usize];
        let judges_itself = end == End::Pass;
        Arc::new(Tier { order: Order::of(order.into()), name: "t".into(), end, judges_itself })
    };
    let some_rules = |dice: &mut Dice| {
        let count = dice.below(5);
        (dice.below(3) != 0).then(|| (0..count).map(|index| some_rule(dice, index)).collect())
    };
    let policies = (0..300).map(|i| Policy {
        tier: some_tier(dice),
        order: Order::of(dice.below(9).into()),
        ..Policy::isolating(
            format!("ns/{i:03}").into(),
            SetId(2 + dice.below(305)),
            some_rules(dice),
            some_rules(dice),
        )
    });
    let policies = policies.collect();
    Ruleset { pods: v4_pods(2000), sets, policies }
}

/// TCP and UDP mostly.
fn some_protocol(dice: &mut Dice) -> Protocol {
    Protocol::ALL[[0, 0, 0, 1, 1, 2, 3, 4, 5][dice.below(9) as usize]]
}

pub(super) fn some_service(dice: &mut Dice) -> Service {
    let protocol = some_protocol(dice);
    let mut port = || u16::try_from(dice.below(150)).unwrap();
    Service { protocol, port: port(), source_port: port() }
}

#[test]
fn a_cluster_of_two_thousand_pods_is_judged_as_by_reading_every_rule() {
    let (mut allowed, mut denied) = (0, 0);
    for seed in 1..=6 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let ruleset = cluster(&mut dice);
        let compiled = compile(&ruleset);
        for _ in 0..10_000 {
            let source = Ipv4Addr::from_bits(0x0a00_0000 + dice.below(2100));
            let target = Ipv4Addr::from_bits(0x0a00_0000 + dice.below(2100));
            let party = |address: Ipv4Addr| {
                let pod = address.to_bits() - 0x0a00_0000;
                let pod = (pod < 2000).then_some(PodIndex(pod));
                Party { address: address.into(), pod, own_node: false }
            };
            let asked = Question {
                source: party(source),
                target: party(target),
                service: some_service(&mut dice),
            };
            assert_agrees(&ruleset, &compiled, &asked);
            if compiled.decide(&asked).allows() { allowed += 1 } else { denied += 1 }
        }
    }
    assert!(allowed > 2000 && denied > 2000, "one-sided: {allowed} and {denied}");
}
