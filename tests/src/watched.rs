//! A simulated node of which every frame is watched: what was put in, what came out, and whether
//! it may have.
//!
//! Held of every frame that arrives: our parser reads it; a packet of this flow was put in at the
//! wire of the pod whose address it bears; it arrives at the wire of the pod that it is for, or
//! outside; and some ruleset that was in force while it was on its way lets it through. It does so
//! by itself, or as a reply or an error to a flow of which a packet has arrived. A later fragment
//! passes as its first did. The switch's own packets are no more than it says.
//!
//! Held when nothing moves: every packet is sent, answered, dropped or held; what was sent has
//! arrived. Held at the end: nothing is held, and every frame of every port comes home. Beside all
//! that, the worker's own laws are asserted after every turn.

// What does not hold fails by panicking: the input that shows it is what is looked for.
#![allow(clippy::panic, clippy::missing_panics_doc)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use lockgate_control::manifest::FileObjects;
use lockgate_control::resolve::Resolved;
use lockgate_dataplane::connection::Connections;
use lockgate_dataplane::packet::answer::{GATEWAY_MAC, GATEWAY_V4, GATEWAY_V6};
use lockgate_dataplane::packet::parse::{Fragment, Kind};
use lockgate_dataplane::packet::{Address, Family, FlowKey, Headers, Packet, parse};
use lockgate_dataplane::policy::ruleset::{Party, PodIndex, Question, Service};
use lockgate_dataplane::service::own::ASKING_V6;

use crate::world::{HOST, Shape, World};

/// Longer than any datagram in pieces is waited for.
const FRAGMENTS_MS: u64 = 16_000;
/// Turns in which all of them are given up, at most.
const TURNS_MAX: usize = 2000;
/// The one file of manifests.
const FILE: &str = "cluster.yaml";

/// A datagram in pieces: source, target, protocol in IPv4, and number.
type Datagram = (Address, Address, u8, u32);

/// The node.
#[derive(Debug)]
pub struct Watched {
    world: World,
    /// All that may have judged what is on its way, the newest last.
    in_force: Vec<Resolved>,
    put_in: u64,
    came_out: u64,
    answers: u64,
    injected: HashSet<(String, FlowKey)>,
    arrived: HashSet<FlowKey>,
    firsts: HashMap<Datagram, Vec<FlowKey>>,
}

impl Watched {
    /// A node with these objects in force.
    #[must_use]
    pub fn new(shape: Shape, objects: FileObjects) -> Self {
        let mut watched = Self {
            world: World::new(shape),
            in_force: vec![],
            put_in: 0,
            came_out: 0,
            answers: 0,
            injected: HashSet::new(),
            arrived: HashSet::new(),
            firsts: HashMap::new(),
        };
        watched.change(Some(objects));
        watched
    }

    /// The node itself.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Puts a frame on a wire, if there is one; says whether the port took it.
    pub fn inject(&mut self, wire: &str, frame: &[u8]) -> bool {
        if self.world.port(wire).is_none() || self.world.inject(wire, frame).is_err() {
            return false;
        }
        self.put_in += 1;
        if let Ok(Packet::Ip(headers) | Packet::Fragment(headers, _)) = parse(frame) {
            self.injected.insert((wire.to_owned(), headers.key));
        }
        true
    }

    /// Puts other objects in force, while packets may be on their way. Pods that are gone lose
    /// their ports, all of whose frames come home.
    pub fn change(&mut self, objects: Option<FileObjects>) {
        self.world.hear(vec![(FILE.to_owned(), objects)]);
        self.world.publish_only();
        self.in_force.extend(self.world.resolved().cloned());
        self.settle();
        self.world.take_home();
    }

    /// Turns one worker once.
    pub fn turn_one(&mut self, worker: u8) {
        let _moved = self.world.turn_one(worker);
    }

    /// Lets time pass.
    pub fn pass_ms(&mut self, ms: u64) {
        self.world.pass_ms(ms);
        let _moved = self.world.turn();
    }

    /// Lets everything arrive, and judges it.
    pub fn settle(&mut self) {
        self.world.settle();
        let mut came = Vec::new();
        for wire in self.world.names() {
            let frames = self.world.received(&wire);
            came.extend(frames.into_iter().map(|frame| (wire.clone(), frame)));
        }
        self.came_out += came.len() as u64;
        // Nobody knows in which order they came at different wires: a reply is judged again when
        // what it replies to has been.
        while !came.is_empty() {
            let before = came.len();
            came.retain(|(wire, frame)| !self.judge(wire, frame));
            assert!(came.len() < before, "arrived, and nothing lets them through: {came:02x?}");
        }
        // What was sent is taken back by the next turn.
        let _moved = self.world.turn();
        self.packets_add_up();
        let newest = self.in_force.len().saturating_sub(1);
        self.in_force.drain(..newest);
    }

    /// The end: nothing is held for ever, and every frame comes home.
    pub fn finish(mut self) {
        self.settle();
        self.pass_ms(FRAGMENTS_MS);
        let held = |world: &World| world.total(|counters| counters.held.load());
        for _ in 0..TURNS_MAX {
            if held(&self.world) == 0 {
                break;
            }
            let _moved = self.world.turn();
        }
        assert_eq!(held(&self.world), 0, "fragments are held for ever");
        self.settle();
        // Each port that goes asserts that all of its frames are home.
        self.change(None);
        assert_eq!(self.world.names(), [HOST]);
    }

    fn packets_add_up(&self) {
        let sum = |cell: fn(&lockgate_dataplane::counters::Counters) -> u64| self.world.total(cell);
        let dropped: u64 = self.world.drops().iter().sum();
        let (sent, answered) = (sum(|c| c.sent.load()), sum(|c| c.answered.load()));
        let (originated, held) = (sum(|c| c.originated.load()), sum(|c| c.held.load()));
        assert_eq!(sum(|c| c.received.load()), self.put_in, "packets put in and received");
        assert_eq!(sum(|c| c.handed_in.load()), sum(|c| c.handed_out.load()), "handed over");
        assert_eq!(self.put_in + originated, sent + answered + dropped + held, "packets add up");
        assert_eq!(self.came_out, sent + answered, "what was sent has arrived");
        assert!(self.answers <= originated + answered, "more of the switch's own than it counts");
    }

    /// Whether a frame may be where it is, as far as is known.
    fn judge(&mut self, wire: &str, frame: &[u8]) -> bool {
        let (headers, fragment) = match parse(frame) {
            Ok(Packet::Ip(headers)) => (headers, None),
            Ok(Packet::Fragment(headers, fragment)) => (headers, Some(fragment)),
            Ok(Packet::Arp(arp)) => {
                assert!(arp.operation == 2 && arp.source_mac == GATEWAY_MAC, "{arp:?} at {wire}");
                self.answers += 1;
                return true;
            }
            Err(reason) => panic!("{reason:?} arrived at {wire}: {frame:02x?}"),
        };
        assert_eq!(headers.source_mac, GATEWAY_MAC, "{headers:?} at {wire}");
        assert_eq!(usize::from(headers.end), frame.len(), "padding at {wire}: {headers:?}");
        let may = |resolved: &Resolved| {
            let node = Node(resolved);
            let from = (node.wire_of(headers.key.source), headers.key);
            self.injected.contains(&from)
                && node.wire_of(headers.key.target) == wire
                && self.is_allowed(&node, &headers, fragment)
        };
        if !self.in_force.iter().any(may) {
            // The switch's own, then, if as many as it counts.
            let is_own = [GATEWAY_V4, GATEWAY_V6, ASKING_V6].contains(&headers.key.source);
            self.answers += u64::from(is_own);
            return is_own;
        }
        assert_eq!(headers.target_mac, self.world.mac(wire), "{headers:?} at {wire}");
        if let Some(fragment) = fragment.filter(|fragment| fragment.is_first()) {
            let datagram = datagram(&headers, fragment);
            self.firsts.entry(datagram).or_default().push(headers.key);
        }
        self.arrived.insert(headers.key);
        true
    }

    fn is_allowed(&self, node: &Node, headers: &Headers, fragment: Option<Fragment>) -> bool {
        let key = headers.key;
        let is_reply =
            |key: FlowKey| self.arrived.contains(&key.reversed()) && node.allows(&key.reversed());
        match headers.kind {
            Kind::Rest => fragment.is_some_and(|fragment| {
                let firsts = self.firsts.get(&datagram(headers, fragment));
                let passes = |key: &FlowKey| node.allows(key) || is_reply(*key);
                firsts.is_some_and(|firsts| firsts.iter().any(passes))
            }),
            Kind::IcmpError { inner } => {
                let is_known = |key: FlowKey| self.arrived.contains(&key) && node.allows(&key);
                inner.source == key.target && (is_known(inner) || is_reply(inner))
            }
            // What asks is no reply to what asks.
            Kind::Echo { reply: false } => node.allows(&key),
            Kind::Portless if key.protocol.has_messages() => node.allows(&key),
            Kind::Neighbour(_) | Kind::LinkOnly => false,
            _ => {
                let is_more =
                    self.arrived.contains(&key) || Connections::opens(&headers.kind).is_some();
                (is_more && node.allows(&key)) || is_reply(key)
            }
        }
    }
}

/// Whose datagram a fragment is of.
fn datagram(headers: &Headers, fragment: Fragment) -> Datagram {
    // Of IPv6, later fragments need not say what the first says.
    let number = if headers.family == Family::V4 { headers.key.number } else { 0 };
    (headers.key.source, headers.key.target, number, fragment.identification)
}

/// The objects in force, asked slowly.
struct Node<'a>(&'a Resolved);

impl Node<'_> {
    fn pod_of(&self, address: IpAddr) -> Option<PodIndex> {
        let mut pods = (0..).zip(&self.0.ruleset.pods);
        pods.find(|(_, pod)| pod.addresses.contains(&address)).map(|(place, _)| PodIndex(place))
    }

    /// The wire of a pod of this node, or the host's.
    fn wire_of(&self, address: Address) -> String {
        let view = self.pod_of(address.into()).map(|PodIndex(place)| &self.0.pods[place as usize]);
        match view.filter(|view| view.interface.is_some()) {
            Some(view) => format!("{}/{}", view.namespace, view.name),
            None => HOST.to_owned(),
        }
    }

    fn party(&self, address: Address) -> Party {
        let own_node = self.0.node_addresses.contains(&address.into());
        Party { address: address.into(), pod: self.pod_of(address.into()), own_node }
    }

    /// Whether the slow judge lets a flow begin.
    fn allows(&self, key: &FlowKey) -> bool {
        let target = Party { own_node: false, ..self.party(key.target) };
        let FlowKey { protocol, target_port: port, source_port, .. } = *key;
        let service = Service { protocol, port, source_port };
        self.0
            .ruleset
            .decide(&Question { source: self.party(key.source), target, service })
            .allows()
    }
}

/// The wires by the MACs of what is sent from them.
#[must_use]
pub fn wires(world: &World) -> BTreeMap<[u8; 6], String> {
    world.names().into_iter().map(|name| (world.mac(&name).0, name)).collect()
}
