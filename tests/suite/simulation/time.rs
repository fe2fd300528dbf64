//! Control plane and node together, in virtual time: what is true changes, what is told of it
//! comes late, twice, out of order between kinds or as a list, the switch starts anew at any
//! instant, or the agent alone beside workers that go on, and packets are on their way meanwhile.
//!
//! After every packet: what was sent is allowed by the raw objects of a snapshot in force, what
//! was allowed throughout was not dropped (NP-56), nothing passes before all is known (NP-58), and
//! connections follow their permission (NP-57) and never their address (NP-54).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lockgate_control::inventory::Change;
use lockgate_control::manifest::{ObjectKey, ObjectKind, read_text};
use lockgate_control::resolve::PodView;
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::ids::EndpointId;
use lockgate_dataplane::packet::Protocol;
use lockgate_tests::api::{ApiServer, KINDS, Key, Told, key_of};
use lockgate_tests::oracle::{Cluster, End, Question};
use lockgate_tests::packets::{self, Ends};
use lockgate_tests::world::{Fate, HOST, Local, Shape, World};
use lockgate_tests::worlds::{Choices, World as Objects, sample};
use serde_json::Value;

use super::{ack, syn, syn_ack, v4};
use crate::seeds::Seeds;

/// Histories tried by default, and what happens in each.
const HISTORIES: u64 = 40;
const EVENTS: usize = 300;

#[test]
fn every_packet_meets_a_snapshot_that_was_told_and_none_is_lost_to_a_change() {
    let seeds = Seeds::usually(HISTORIES);
    let mut packets = 0;
    while let Some(seed) = seeds.next() {
        packets += history(seed);
    }
    println!("{packets} packets, {}", seeds.told());
    assert!(packets > 500, "only {packets} packets were judged");
}

/// One history; how many packets were judged.
fn history(seed: u64) -> usize {
    let mut choices = Choices::from_seed(seed);
    // Objects of several worlds share their names: one replaces the other.
    let pool: Vec<Value> = (0..3).flat_map(|_| Objects::sound(&mut choices).objects).collect();
    let workers = 1 + u8::try_from(choices.below(3)).unwrap();
    let mut api = ApiServer::default();
    for object in pool.iter().filter(|_| choices.chance(50)) {
        api.set(object);
    }
    let mut agent = Agent::new(workers, seed);
    for _ in 0..EVENTS {
        match choices.below(100) {
            0..15 => api.set(&choices.pick(&pool)),
            15..17 => {
                let pods = api.truth().keys().filter(|key| key.0 == "Pod");
                let spaces: Vec<String> = pods.map(|key| key.1.clone()).collect();
                if !spaces.is_empty() {
                    api.take_down(&choices.pick(&spaces));
                }
            }
            17..25 => {
                let keys: Vec<Key> = api.truth().keys().cloned().collect();
                if !keys.is_empty() {
                    api.remove(&choices.pick(&keys));
                }
            }
            25..60 => {
                let kind = choices.pick(&KINDS);
                let told = if agent.heard.contains(kind) {
                    api.next(kind, &mut choices)
                } else {
                    Some(api.list(kind))
                };
                if let Some(told) = told {
                    agent.hear(kind, told);
                }
            }
            60..70 => agent.publish(),
            70..71 => agent = Agent { judged: agent.judged, ..Agent::new(workers, seed) },
            71..73 => agent.begin_anew(),
            73..80 => agent.try_flow(&mut choices),
            _ => agent.try_packet(&mut choices),
        }
    }
    for kind in KINDS {
        let all = api.list(kind);
        agent.hear(kind, all);
    }
    agent.publish();
    assert!(api.is_told() && agent.told == *api.truth(), "SEED={seed}");
    for _ in 0..20 {
        agent.try_packet(&mut choices);
    }
    agent.judged
}

/// Who has an address in a snapshot: what a connection is bound to.
type Identity = (EndpointId, Vec<IpAddr>);

/// A connection that stands.
struct Flow {
    question: Question,
    port: u16,
    ends: [Identity; 2],
}

/// An agent and its node.
struct Agent {
    world: World,
    /// Who was who when it began anew: they still are.
    remembered: Vec<(String, EndpointId)>,
    /// What went since something was published: if it comes again it is another.
    gone: BTreeSet<String>,
    /// What it has been told.
    told: BTreeMap<Key, Value>,
    /// The same, with what is left of policies that went before their pods (NP-55).
    known: Cluster,
    /// The kinds it has been told all of, once.
    heard: BTreeSet<&'static str>,
    /// What the snapshots say that packets may be judged by, the newest last.
    views: Vec<Cluster>,
    flows: Vec<Flow>,
    port: u16,
    judged: usize,
    seed: u64,
}

impl Agent {
    fn new(workers: u8, seed: u64) -> Self {
        let shape = Shape { workers, local: Local::Every, ..Shape::default() };
        Self {
            world: World::new(shape),
            remembered: Vec::new(),
            gone: BTreeSet::new(),
            told: BTreeMap::new(),
            known: Cluster::default(),
            heard: BTreeSet::new(),
            views: Vec::new(),
            flows: Vec::new(),
            port: 1000,
            judged: 0,
            seed,
        }
    }

    fn hear(&mut self, kind: &'static str, told: Told) {
        match told {
            Told::Set(object) => self.set(object),
            Told::Gone(key) => self.gone(&key),
            Told::All(objects) => {
                let new: BTreeSet<Key> = objects.iter().map(key_of).collect();
                let known = self.told.keys().filter(|key| key.0 == kind && !new.contains(*key));
                for key in known.cloned().collect::<Vec<_>>() {
                    self.gone(&key);
                }
                for object in objects {
                    self.set(object);
                }
                self.heard.insert(kind);
            }
        }
    }

    fn set(&mut self, object: Value) {
        for read in read_text("api", &object.to_string()).unwrap().objects {
            self.world.hear(Change::Set(read));
        }
        self.known.set(object.clone());
        self.told.insert(key_of(&object), object);
    }

    fn gone(&mut self, key: &Key) {
        self.told.remove(key);
        self.known.remove(&key.0, &key.1, &key.2);
        self.gone.insert(format!("{}/{}", key.1, key.2));
        let kind = match key.0.as_str() {
            "Pod" => ObjectKind::Pod,
            "Namespace" => ObjectKind::Namespace,
            _ => ObjectKind::Policy,
        };
        let (namespace, name) = (key.1.clone(), key.2.clone());
        self.world.hear(Change::Remove(ObjectKey { kind, namespace, name }));
    }

    /// It begins anew while its workers go on, by the last good tables (NP-58).
    fn begin_anew(&mut self) {
        if let Some(resolved) = self.world.resolved() {
            let name = |pod: &PodView| (format!("{}/{}", pod.namespace, pod.name), pod.endpoint);
            self.remembered = resolved.pods.iter().map(name).collect();
        }
        self.world.begin_anew();
        self.told.clear();
        self.known = Cluster::default();
        self.heard.clear();
    }

    /// Puts what it knows in force, once it knows all of every kind (NP-58).
    fn publish(&mut self) {
        if self.heard.len() < KINDS.len() && !self.views.is_empty() {
            return; // the last good tables stay
        }
        if self.heard.len() < KINDS.len() {
            let host = self.world.inject(HOST, &self.packet_to_nobody());
            self.world.settle();
            assert!(host.is_ok() && self.world.connections() == 0, "SEED={}", self.seed);
            return;
        }
        self.publish_only();
        self.world.take_home();
        self.views.drain(..self.views.len() - 1);
    }

    fn publish_only(&mut self) {
        self.world.publish_only();
        self.views.push(self.known.clone());
        let gone = std::mem::take(&mut self.gone);
        for (name, endpoint) in std::mem::take(&mut self.remembered) {
            if let Some(now) = self.identity(&name).filter(|_| !gone.contains(&name)) {
                assert_eq!(now.0, endpoint, "SEED={} {name}", self.seed);
            }
        }
        let ends: Vec<Identity> = self.identities().collect();
        self.flows.retain(|flow| flow.ends.iter().all(|end| ends.contains(end)));
    }

    fn identities(&self) -> impl Iterator<Item = Identity> + '_ {
        let pods = self.world.resolved().into_iter().flat_map(|resolved| &resolved.pods);
        pods.map(|pod| (pod.endpoint, pod.addresses.clone()))
    }

    /// Sends a packet that opens something, perhaps while a new snapshot comes.
    fn try_packet(&mut self, choices: &mut Choices) {
        let Some(question) = self.question(choices) else { return };
        let Some((wires, frame)) = self.opening(&question) else { return };
        for name in self.world.names() {
            self.world.discard(&name); // what a moved address brought to others
        }
        let change = choices.chance(30) && self.heard.len() == KINDS.len();
        let first = u8::try_from(choices.below(2)).unwrap();
        if change {
            // One worker may have judged it before the snapshot comes and another after.
            self.views.push(self.known.clone());
        }
        let fate = self.world.fate_after(&wires[0], &wires[1], &frame, |world| {
            if change {
                if first == 1 {
                    world.turn_one(0);
                }
                world.publish_only();
            }
        });
        self.judge(&question, &fate, &wires);
        if change {
            let ends: Vec<Identity> = self.identities().collect();
            self.flows.retain(|flow| flow.ends.iter().all(|end| ends.contains(end)));
            self.world.take_home();
            self.views.drain(..self.views.len() - 1);
        } else if fate.is_sent() && question.protocol == Protocol::Tcp {
            self.keep(question, &wires);
        }
    }

    fn judge(&mut self, question: &Question, fate: &Fate, wires: &[String; 2]) {
        let judge = |view: &Cluster| {
            let answer = view.judge(question).ok()?;
            Some(answer.allows() && !is_contested(view, question))
        };
        let verdicts: Vec<bool> = self.views.iter().filter_map(judge).collect();
        let what = || {
            let (seed, views) = (self.seed, &self.views);
            format!(
                "SEED={seed} {question:?} {wires:?}: {fate:?}, allowed {verdicts:?}\n{}",
                told(views)
            )
        };
        let mut told = self.views.iter().map(|view| who(view, question));
        let newest = told.next_back();
        if verdicts.len() < self.views.len() || told.any(|earlier| Some(earlier) != newest) {
            return; // an end came, went or moved meanwhile
        }
        self.judged += 1;
        match fate {
            Fate::Sent(_) => assert!(verdicts.contains(&true), "{}", what()),
            // The edges of blocks are also addresses that nobody can have.
            Fate::Dropped(DropReason::Martian | DropReason::NotForUs) => {}
            Fate::Dropped(_) => assert!(verdicts.contains(&false), "{}", what()),
            Fate::Both(..) | Fate::Refused | Fate::Lost => panic!("{}", what()),
        }
    }

    /// Keeps a connection whose first packet was sent, and answers it.
    fn keep(&mut self, question: Question, wires: &[String; 2]) {
        let (Some(source), Some(target)) = (self.identity(&wires[0]), self.identity(&wires[1]))
        else {
            return;
        };
        let Some(ends) = self.ends(&question) else { return };
        let port = self.port;
        let reply = syn_ack(self.back(ends, wires), question.port, port);
        let fate = self.world.fate(&wires[1], &wires[0], &reply);
        assert!(fate.is_sent(), "SEED={} the answer to {question:?}: {fate:?}", self.seed);
        self.flows.push(Flow { question, port, ends: [source, target] });
    }

    /// Sends a packet of a connection that stands, either way.
    fn try_flow(&mut self, choices: &mut Choices) {
        if self.flows.is_empty() || self.views.is_empty() {
            return;
        }
        let flow = &self.flows[choices.below(self.flows.len())];
        let (question, port) = (flow.question.clone(), flow.port);
        let Some(wires) = self.wires(&question) else { return };
        let Some(ends) = self.ends(&question) else { return };
        let fate = if choices.chance(50) {
            let frame = ack(ends, port, question.port);
            self.world.fate(&wires[0], &wires[1], &frame)
        } else {
            let frame = ack(self.back(ends, &wires), question.port, port);
            self.world.fate(&wires[1], &wires[0], &frame)
        };
        self.judge(&question, &fate, &wires);
    }

    /// A question about the newest view between ends that have wires.
    fn question(&self, choices: &mut Choices) -> Option<Question> {
        let objects = self.views.last()?.objects.clone();
        let drawn = sample(&Objects { objects }, 8, choices);
        drawn.into_iter().find(|question| {
            let is_meant = |end: &End| match end {
                End::Pod(..) => true,
                // Addresses of nodes are judged by where they come from; here all are outside.
                End::Address(address) => !is_of_node(*address),
            };
            // Without ports the reply of an earlier packet cannot be told from a first one.
            let meant = question.protocol != Protocol::Other
                && is_meant(&question.source)
                && is_meant(&question.target);
            meant && self.wires(question).is_some_and(|wires| wires[0] != wires[1])
        })
    }

    fn wires(&self, question: &Question) -> Option<[String; 2]> {
        let names = self.world.names();
        let view = self.views.last()?;
        let wire = |end: &End| {
            let address = view.address_of(end, question.family).ok()?;
            let mut pods = self.world.resolved()?.pods.iter();
            let owner = pods.find(|pod| pod.addresses.contains(&address));
            let name =
                owner.map_or(HOST.to_owned(), |pod| format!("{}/{}", pod.namespace, pod.name));
            let is_asked = match end {
                End::Pod(namespace, pod) => name == format!("{namespace}/{pod}"),
                End::Address(_) => true,
            };
            (is_asked && names.contains(&name)).then_some(name)
        };
        Some([wire(&question.source)?, wire(&question.target)?])
    }

    fn ends(&self, question: &Question) -> Option<Ends> {
        let view = self.views.last()?;
        let wires = self.wires(question)?;
        let address = |end| view.address_of(end, question.family).ok();
        let (source, target) = (address(&question.source)?, address(&question.target)?);
        let gateway = lockgate_dataplane::packet::answer::GATEWAY_MAC;
        Some(Ends { source_mac: self.world.mac(&wires[0]), target_mac: gateway, source, target })
    }

    fn back(&self, ends: Ends, wires: &[String; 2]) -> Ends {
        let (source, target) = (ends.target, ends.source);
        Ends { source_mac: self.world.mac(&wires[1]), source, target, ..ends }
    }

    /// The wires and frame of a packet that opens something.
    fn opening(&mut self, question: &Question) -> Option<([String; 2], Vec<u8>)> {
        let (wires, ends) = (self.wires(question)?, self.ends(question)?);
        self.port += 1;
        let ports = (self.port, question.port);
        let frame = match question.protocol {
            Protocol::Tcp => syn(ends, ports.0, ports.1),
            Protocol::Udp => packets::udp(ends, ports, b"x"),
            Protocol::Sctp => packets::sctp(ends, ports, 0, 1, &[0; 16]),
            Protocol::Icmp => packets::echo(ends, false, self.port, 1, b"x"),
            Protocol::Other => packets::ip(ends, 47, b"x"),
        };
        Some((wires, frame))
    }

    fn identity(&self, wire: &str) -> Option<Identity> {
        let mut pods = self.world.resolved()?.pods.iter();
        let pod = pods.find(|pod| format!("{}/{}", pod.namespace, pod.name) == wire)?;
        Some((pod.endpoint, pod.addresses.clone()))
    }

    /// A packet from outside, for when nothing is known yet.
    fn packet_to_nobody(&self) -> Vec<u8> {
        let source_mac = self.world.mac(HOST);
        let target_mac = lockgate_dataplane::packet::answer::GATEWAY_MAC;
        let ends =
            Ends { source_mac, target_mac, source: v4(), target: "10.0.0.1".parse().unwrap() };
        syn(ends, 1, 80)
    }
}

/// The addresses that a question is about, each with the pods that have it.
fn who(view: &Cluster, question: &Question) -> Vec<(IpAddr, Vec<(String, String)>)> {
    let addresses = [&question.source, &question.target]
        .into_iter()
        .filter_map(|end| view.address_of(end, question.family).ok());
    let owners = |address: IpAddr| {
        let living = view.living().into_iter();
        living.filter(|(ns, name)| view.addresses(ns, name).contains(&address)).collect()
    };
    addresses.map(|address| (address, owners(address))).collect()
}

/// What snapshots say, to be read.
fn told(views: &[Cluster]) -> String {
    let lines = |view: &Cluster| view.objects.iter().map(Value::to_string).collect::<Vec<_>>();
    views.iter().map(|view| lines(view).join("\n")).collect::<Vec<_>>().join("\n=====\n")
}

/// Whether an end's pod shares an address: until one of them has gone, nobody can tell whose
/// packets are whose, and nothing reaches or leaves either (NP-54).
fn is_contested(view: &Cluster, question: &Question) -> bool {
    let asked = who(view, question);
    let mut pods = asked.iter().flat_map(|(_, owners)| owners);
    let living = view.living();
    let has = |(ns, name): &(String, String), one: &IpAddr| view.addresses(ns, name).contains(one);
    pods.any(|pod| {
        let own = view.addresses(&pod.0, &pod.1);
        own.iter().any(|address| living.iter().filter(|other| has(other, address)).count() > 1)
    })
}

fn is_of_node(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..2] == [192, 168],
        IpAddr::V6(v6) => v6.segments()[0] == 0xfd01,
    }
}
