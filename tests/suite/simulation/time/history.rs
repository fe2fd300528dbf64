//! One history: what an agent is told and when, the packets meanwhile, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::ids::{EndpointId, Generation};
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_tests::api::{ApiServer, KINDS, Key, Told, key_of};
use lockgate_tests::oracle::{Cluster, End, Question};
use lockgate_tests::packets::{self, Ends};
use lockgate_tests::world::{Fate, HOST};
use lockgate_tests::worlds::{Choices, World as Objects, sample};
use serde_json::Value;

use super::super::{ack, syn, syn_ack, v4};
use super::agents::{Agent, Batch, Place};
use super::heirs::Orphan;
use super::view::{View, is_contested, is_of_node, owners, told};

/// What was tried.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Packets that were judged.
    pub(super) packets: usize,
    /// Those of them that were on their way when a snapshot came.
    pub(super) in_flight: usize,
    /// Those that came from or went to a pod of a terminating namespace.
    pub(super) going: usize,
    /// Those that only what was left of a deleted policy denied.
    pub(super) departed: usize,
    /// Those of a connection that stood under an earlier snapshot.
    pub(super) rejudged: usize,
    /// Those of them whose connection was cut or revived.
    pub(super) turned: usize,
    /// Those of connections of which an end went, from and to who has its address now.
    pub(super) heirs: usize,
    /// Those tried before anything was known.
    pub(super) unsynced: usize,
    /// How often the agent died, or began anew, with pods on its node.
    pub(super) restarts: usize,
}

impl Tally {
    /// Whether as much was tried, of everything.
    pub(super) fn reaches(&self, floor: &Self) -> bool {
        self.packets >= floor.packets
            && self.in_flight >= floor.in_flight
            && self.going >= floor.going
            && self.departed >= floor.departed
            && self.rejudged >= floor.rejudged
            && self.turned >= floor.turned
            && self.heirs >= floor.heirs
            && self.unsynced >= floor.unsynced
            && self.restarts >= floor.restarts
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.in_flight += other.in_flight;
        self.going += other.going;
        self.departed += other.departed;
        self.rejudged += other.rejudged;
        self.turned += other.turned;
        self.heirs += other.heirs;
        self.unsynced += other.unsynced;
        self.restarts += other.restarts;
    }
}

/// A connection that stands.
pub(super) struct Flow {
    pub(super) question: Question,
    pub(super) port: u16,
    pub(super) ends: [Place; 2],
    pub(super) addresses: [IpAddr; 2],
    /// The snapshot that its last packet met, and whether that let it pass.
    met: (Generation, bool),
}

/// An agent in the midst of its history.
pub(super) struct History<A: Agent> {
    pub(super) agent: A,
    workers: u8,
    pub(super) seed: u64,
    /// All that it was told, taken in or not.
    heard: BTreeMap<Key, Value>,
    /// The kinds it has been told all of, once.
    kinds: BTreeSet<&'static str>,
    /// It knows all kinds, and publishes.
    begun: bool,
    /// What it was told and has not taken in.
    batch: Batch,
    /// What it has taken in, as the oracle understands it.
    told: Cluster,
    /// What the snapshots say that packets may be judged by, the newest last.
    pub(super) views: Vec<View>,
    flows: Vec<Flow>,
    pub(super) orphans: Vec<Orphan>,
    /// Who was who when it began anew: they still are.
    remembered: Vec<(String, EndpointId)>,
    /// What went since something was published: if it comes again it is another.
    gone: BTreeSet<String>,
    port: u16,
    pub(super) tally: Tally,
}

impl<A: Agent> History<A> {
    pub(super) fn new(workers: u8, seed: u64) -> Self {
        Self {
            agent: A::new(workers, seed),
            workers,
            seed,
            heard: BTreeMap::new(),
            kinds: BTreeSet::new(),
            begun: false,
            batch: Batch::new(),
            told: Cluster::default(),
            views: Vec::new(),
            flows: Vec::new(),
            orphans: Vec::new(),
            remembered: Vec::new(),
            gone: BTreeSet::new(),
            port: 1000,
            tally: Tally::default(),
        }
    }

    /// Something happens.
    pub(super) fn event(&mut self, api: &mut ApiServer, choices: &mut Choices) {
        match choices.below(100) {
            0..36 => {
                let kind = choices.pick(&KINDS);
                let told = if self.kinds.contains(kind) {
                    api.next(kind, choices)
                } else {
                    Some(api.list(kind))
                };
                if let Some(told) = told {
                    self.hear(kind, told);
                }
            }
            36..48 => self.advance(choices),
            48..49 => self.die(),
            49..54 => self.befall(choices),
            54..66 => {
                (0..4).for_each(|_| self.try_flow(choices));
                self.try_heirs();
            }
            _ => self.try_packets(choices),
        }
    }

    /// Everything is told and in force, and is the truth.
    pub(super) fn end(&mut self, api: &mut ApiServer, choices: &mut Choices) {
        for kind in KINDS {
            let all = api.list(kind);
            self.hear(kind, all);
        }
        self.rest(choices);
        let written = self.told.written().map(|one| (key_of(one), one.clone()));
        let written: BTreeMap<Key, Value> = written.collect();
        assert!(api.is_told() && written == *api.truth(), "SEED={}", self.seed);
        assert_eq!(self.views.len(), 1, "SEED={}", self.seed);
        for _ in 0..6 {
            self.try_packets(choices);
        }
        self.tally.unsynced += self.agent.unsynced();
    }

    fn hear(&mut self, kind: &'static str, told: Told) {
        let mut batch = Batch::new();
        match told {
            Told::Set(object) => _ = batch.insert(key_of(&object), Some(object)),
            Told::Gone(key) => _ = batch.insert(key, None),
            Told::All(objects) => {
                let known = self.heard.keys().filter(|key| key.0 == kind).cloned();
                batch.extend(known.map(|key| (key, None)));
                batch.extend(objects.into_iter().map(|object| (key_of(&object), Some(object))));
                self.kinds.insert(kind);
            }
        }
        for (key, object) in &batch {
            if let Some(object) = object {
                self.heard.insert(key.clone(), object.clone());
            } else {
                self.heard.remove(key);
                self.gone.insert(format!("{}/{}", key.1, key.2));
            }
        }
        self.agent.write(&batch);
        self.batch.extend(batch);
    }

    /// A step of the agent, if it knows enough to take any (NP-58).
    fn advance(&mut self, choices: &mut Choices) {
        if self.kinds.len() < KINDS.len() {
            self.agent.begin_early();
            if self.views.is_empty() {
                self.try_unknown();
            } // else the last good tables stay
            return;
        }
        if !self.begun || choices.chance(30) {
            self.take(choices);
        }
        self.step(choices);
        if choices.chance(20) {
            self.rest(choices);
        }
        self.prune();
    }

    /// The agent takes in what it was told, all of it the first time.
    fn take(&mut self, choices: &mut Choices) {
        let batch = std::mem::take(&mut self.batch);
        self.told.change(&batch);
        if self.begun {
            self.agent.take(&batch, choices.chance(20));
        } else {
            self.agent.begin(&batch);
            self.begun = true;
        }
    }

    /// One step of the agent; whether it published.
    fn step(&mut self, choices: &mut Choices) -> bool {
        if !self.begun {
            return false;
        }
        let Some(places) = self.agent.step(choices) else { return false };
        let gone = std::mem::take(&mut self.gone);
        for (name, endpoint) in std::mem::take(&mut self.remembered) {
            if let Some(now) = places.get(&name).filter(|_| !gone.contains(&name)) {
                assert_eq!(now.endpoint, endpoint, "SEED={} {name}", self.seed);
            }
        }
        let has = |end: &Place| places.values().any(|place| place == end);
        let stands = |flow: &Flow| flow.ends.iter().all(has);
        let (standing, orphans) = std::mem::take(&mut self.flows).into_iter().partition(stands);
        self.flows = standing;
        Vec::into_iter(orphans).for_each(|flow| self.orphan(flow));
        let (cluster, generation) = (self.told.clone(), self.agent.world().newest());
        self.views.push(View { cluster, places, generation });
        true
    }

    /// Until nothing more happens.
    fn rest(&mut self, choices: &mut Choices) {
        self.take(choices);
        for _ in 0..20 {
            self.agent.world().settle();
            if !self.step(choices) && self.agent.is_quiet() {
                return self.prune();
            }
        }
        panic!("SEED={} the agent finds no rest", self.seed);
    }

    /// Forgets snapshots that no worker can judge by any more.
    fn prune(&mut self) {
        let in_force = self.agent.world().in_force();
        self.views.retain(|view| view.generation >= in_force);
    }

    /// The process dies; another begins, and all is listed anew.
    fn die(&mut self) {
        let mut tally = std::mem::take(&mut self.tally);
        tally.restarts += usize::from(!self.views.is_empty());
        tally.unsynced += self.agent.unsynced();
        *self = Self { tally, ..Self::new(self.workers, self.seed) };
    }

    fn befall(&mut self, choices: &mut Choices) {
        if !self.agent.befall(choices) {
            return;
        }
        // The agent alone began anew: its workers go on, by the last good tables (NP-58).
        self.tally.restarts += usize::from(!self.views.is_empty());
        if let Some(view) = self.views.last() {
            let name = |(name, place): (&String, &Place)| (name.clone(), place.endpoint);
            self.remembered = view.places.iter().map(name).collect();
        }
        (self.told, self.batch, self.begun) = (Cluster::default(), Batch::new(), false);
        self.heard.clear();
        self.kinds.clear();
    }

    /// Nothing is known, so nothing passes.
    fn try_unknown(&mut self) {
        for last in 1..4 {
            let (source_mac, target) = (self.agent.world().mac(HOST), [10, 0, 0, last].into());
            let ends = Ends { source_mac, target_mac: GATEWAY_MAC, source: v4(), target };
            let fate = self.agent.world().fate(HOST, HOST, &syn(ends, 1, 80));
            let unsynced = Fate::Dropped(DropReason::Unsynced);
            assert_eq!(fate, unsynced, "SEED={} nothing is known yet", self.seed);
            self.tally.unsynced += 1;
        }
    }

    fn try_packets(&mut self, choices: &mut Choices) {
        let Some(view) = self.views.last() else { return };
        let objects = view.cluster.objects.clone();
        let mut tried = 0;
        for question in sample(&Objects { objects }, 24, choices) {
            tried += usize::from(self.try_packet(question, choices));
            if tried == 8 {
                break;
            }
        }
    }

    /// Sends a packet that opens something; whether it could be sent.
    fn try_packet(&mut self, question: Question, choices: &mut Choices) -> bool {
        let Some((wires, frame)) = self.opening(&question) else { return false };
        let (fate, changed) = self.send(&wires, &frame, choices);
        let is_judged = self.judge(&question, &fate, &wires);
        self.tally.in_flight += usize::from(is_judged && changed);
        self.prune();
        if !changed && fate.is_sent() && question.protocol == Protocol::Tcp {
            self.keep(question, &wires);
        }
        true
    }

    /// Sends a packet, and perhaps the agent takes steps while it is on its way: what became of it,
    /// and whether something was published.
    fn send(&mut self, wires: &[String; 2], frame: &[u8], choices: &mut Choices) -> (Fate, bool) {
        let world = self.agent.world();
        for name in world.names() {
            world.discard(&name); // what a moved address brought to others
        }
        let before = world.drops();
        if world.inject(&wires[0], frame).is_err() {
            return (Fate::Refused, false);
        }
        if self.begun && choices.chance(25) {
            self.take(choices);
        }
        let steps = if choices.chance(50) { 1 + choices.below(3) } else { 0 };
        let changed = (0..steps).any(|_| self.step(choices));
        let world = self.agent.world();
        world.settle();
        (world.fate_since(&before, &wires[1]), changed)
    }

    /// Whether a packet's fate can be judged; fails where it is not what some snapshot says.
    fn judge(&mut self, question: &Question, fate: &Fate, wires: &[String; 2]) -> bool {
        let judge = |view: &View| {
            let answer = view.cluster.judge(question).ok()?;
            Some(answer.allows() && !is_contested(&view.cluster, question))
        };
        let verdicts: Vec<bool> = self.views.iter().filter_map(judge).collect();
        let what = || {
            let (seed, views) = (self.seed, told(&self.views));
            format!("SEED={seed} {question:?} {wires:?}: {fate:?}, allowed {verdicts:?}\n{views}")
        };
        let mut all = self.views.iter().map(|view| view.ends(question));
        let newest = all.next_back();
        if verdicts.len() < self.views.len() || all.any(|earlier| Some(earlier) != newest) {
            return false; // an end came, went or moved meanwhile
        }
        match fate {
            Fate::Sent(_) => assert!(verdicts.contains(&true), "{}", what()),
            // The edges of blocks are also addresses that nobody can have.
            Fate::Dropped(DropReason::Martian | DropReason::NotForUs) => {}
            Fate::Dropped(_) => assert!(verdicts.contains(&false), "{}", what()),
            Fate::Both(..) | Fate::Refused | Fate::Lost => panic!("{}", what()),
        }
        self.count(question, fate);
        true
    }

    fn count(&mut self, question: &Question, fate: &Fate) {
        self.tally.packets += 1;
        let Some(view) = self.views.last() else { return };
        let is_going = |end: &End| match end {
            End::Pod(namespace, _) => view.cluster.is_going(namespace),
            End::Address(_) => false,
        };
        let is_going = [&question.source, &question.target].into_iter().any(is_going);
        self.tally.going += usize::from(is_going);
        let written = Cluster { objects: view.cluster.written().cloned().collect() };
        let is_left = self.views.len() == 1
            && matches!(fate, Fate::Dropped(DropReason::IngressDenied | DropReason::EgressDenied))
            && written.objects.len() < view.cluster.objects.len()
            && written.judge(question).is_ok_and(|answer| answer.allows())
            && !is_contested(&view.cluster, question);
        self.tally.departed += usize::from(is_left);
    }

    /// Keeps a connection whose first packet was sent, and answers it.
    fn keep(&mut self, question: Question, wires: &[String; 2]) {
        let [view] = &self.views[..] else { return };
        let (Some(source), Some(target)) = (view.place_of(&wires[0]), view.place_of(&wires[1]))
        else {
            return;
        };
        let (ends, met) = ([source.clone(), target.clone()], (view.generation, true));
        let Some(there) = self.ends(&question, wires) else { return };
        let port = self.port;
        let back = self.back(there, wires);
        let reply = syn_ack(back, question.port, port);
        let fate = self.agent.world().fate(&wires[1], &wires[0], &reply);
        assert!(fate.is_sent(), "SEED={} the answer to {question:?}: {fate:?}", self.seed);
        let addresses = [there.source, there.target];
        self.flows.push(Flow { question, port, ends, addresses, met });
    }

    /// Sends a packet of a connection that stands, either way.
    fn try_flow(&mut self, choices: &mut Choices) {
        if self.flows.is_empty() || self.views.is_empty() {
            return;
        }
        let flow = &self.flows[choices.below(self.flows.len())];
        let (question, port, met) = (flow.question.clone(), flow.port, flow.met);
        let Some(wires) = self.wires(&question) else { return };
        let Some(ends) = self.ends(&question, &wires) else { return };
        let (wires, frame) = if choices.chance(50) {
            (wires, ack(ends, port, question.port))
        } else {
            let back = ack(self.back(ends, &wires), question.port, port);
            let [source, target] = wires;
            ([target, source], back)
        };
        let (fate, changed) = self.send(&wires, &frame, choices);
        let is_judged = self.judge(&question, &fate, &wires);
        let now = (self.agent.world().in_force(), fate.is_sent());
        self.prune();
        let Some(flow) = self.flows.iter_mut().find(|flow| flow.port == port) else { return };
        if is_judged {
            flow.met = now;
            self.tally.in_flight += usize::from(changed);
            self.tally.rejudged += usize::from(now.0 > met.0);
            self.tally.turned += usize::from(now.1 != met.1);
        }
    }

    /// The wires of the newest view's ends, where both have one and are not the same.
    fn wires(&mut self, question: &Question) -> Option<[String; 2]> {
        let names = self.agent.world().names();
        let view = self.views.last()?;
        let wire = |end: &End| {
            // Addresses of nodes are judged by where they come from; here all are outside.
            if matches!(end, End::Address(address) if is_of_node(*address)) {
                return None;
            }
            let address = view.cluster.address_of(end, question.family).ok()?;
            // Where a pod is whose port is yet to come, packets do not say.
            let owners = owners(&view.cluster, address);
            if owners.iter().any(|pod| !view.places.contains_key(pod)) {
                return None;
            }
            let mut places = view.places.iter();
            let owner = places.find(|(_, place)| place.addresses.contains(&address));
            let is_asked = match end {
                End::Pod(namespace, pod) => {
                    owner.is_some_and(|owner| *owner.0 == format!("{namespace}/{pod}"))
                }
                End::Address(_) => true,
            };
            let wire = owner.map_or(HOST, |(_, place)| place.wire.as_str());
            (is_asked && names.iter().any(|name| name == wire)).then(|| wire.to_owned())
        };
        let wires = [wire(&question.source)?, wire(&question.target)?];
        (wires[0] != wires[1]).then_some(wires)
    }

    fn ends(&mut self, question: &Question, wires: &[String; 2]) -> Option<Ends> {
        let view = self.views.last()?;
        let address = |end| view.cluster.address_of(end, question.family).ok();
        let (source, target) = (address(&question.source)?, address(&question.target)?);
        let source_mac = self.agent.world().mac(&wires[0]);
        Some(Ends { source_mac, target_mac: GATEWAY_MAC, source, target })
    }

    fn back(&mut self, ends: Ends, wires: &[String; 2]) -> Ends {
        let (source, target) = (ends.target, ends.source);
        Ends { source_mac: self.agent.world().mac(&wires[1]), source, target, ..ends }
    }

    /// The wires and frame of a packet that opens something.
    fn opening(&mut self, question: &Question) -> Option<([String; 2], Vec<u8>)> {
        let wires = self.wires(question)?;
        let ends = self.ends(question, &wires)?;
        self.port += 1;
        let ports = (self.port, question.port);
        let frame = match question.protocol {
            Protocol::Tcp => syn(ends, ports.0, ports.1),
            Protocol::Udp => packets::udp(ends, ports, b"x"),
            Protocol::Sctp => packets::sctp(ends, ports, 0, 1, &[0; 16]),
            Protocol::Icmp | Protocol::IcmpV6 => packets::echo(ends, false, self.port, 1, b"x"),
            // Without ports the reply of an earlier packet cannot be told from a first one.
            Protocol::Other => return None,
        };
        Some((wires, frame))
    }
}
