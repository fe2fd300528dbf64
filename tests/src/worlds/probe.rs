//! Questions worth asking of a world: its pods, the edges of its blocks and of its ports.

use std::net::IpAddr;

use lockgate_dataplane::packet::{FlowKey, Protocol};
use lockgate_dataplane::policy::ruleset::Service;
use serde_json::Value;

use super::{Choices, World, aim};
use crate::oracle::{Cidr, Cluster, End, Family, Question};

/// Addresses that no pod of any world has.
const OUTSIDE: [&str; 5] = ["203.0.113.7", "192.168.0.1", "10.0.0.14", "2001:db8::9", "fd01::1"];

/// Messages of ICMP, or of `ICMPv6`, as rules may name them and beside: none can name type 255.
const MESSAGES: [(u8, u8); 7] = [(8, 0), (8, 1), (13, 0), (128, 0), (128, 1), (254, 255), (255, 0)];
/// Protocols that are only a number, those of the other version's ICMP among them.
const NUMBERS: [u16; 7] = [0, 1, 47, 50, 58, 136, 255];
/// What `ICMP` is in the header of IPv4, and `ICMPv6` in that of IPv6.
const ICMP: u16 = 1;
const ICMP_V6: u16 = 58;

/// Every question worth asking: each pair of ends, each protocol, each boundary port.
#[must_use]
pub fn probes(world: &World) -> Vec<Question> {
    let scope = Scope::of(world);
    let mut questions = Vec::new();
    for source in 0..scope.ends.len() {
        for target in 0..scope.ends.len() {
            for service in Protocol::ALL.into_iter().flat_map(|one| scope.services_of(one)) {
                questions.extend(scope.question(source, target, service));
            }
        }
    }
    questions
}

/// The whole matrix of a world for some kinds of traffic: each pair of ends. Half the kinds are of
/// what few packets meet, if a rule is about any.
#[must_use]
pub fn matrix(world: &World, kinds: usize, choices: &mut Choices) -> Vec<Question> {
    let scope = Scope::of(world);
    let mut questions = Vec::new();
    for kind in 0..kinds {
        let rare = if kind % 2 == 0 { Scope::aimed(&scope.rare, choices) } else { None };
        let service = rare.unwrap_or_else(|| scope.service(choices));
        for source in 0..scope.ends.len() {
            for target in 0..scope.ends.len() {
                questions.extend(scope.question(source, target, service));
            }
        }
    }
    questions
}

/// Some of the questions, drawn at random.
#[must_use]
pub fn sample(world: &World, count: usize, choices: &mut Choices) -> Vec<Question> {
    let scope = Scope::of(world);
    let mut questions = Vec::with_capacity(count);
    if scope.pods == 0 {
        return questions;
    }
    // Most draws are a question: a pod, and an end of the same family.
    for _ in 0..4 * count {
        let pod = choices.below(scope.pods);
        let all = choices.chance(40);
        let other = choices.below(if all { scope.ends.len() } else { scope.pods });
        let (source, target) = if choices.chance(50) { (pod, other) } else { (other, pod) };
        let service = scope.service(choices);
        questions.extend(scope.question(source, target, service));
        if questions.len() == count {
            break;
        }
    }
    questions
}

struct Scope {
    /// Every living pod once per family, and addresses.
    ends: Vec<(End, Family)>,
    /// How many of them are pods: they come first.
    pods: usize,
    ports: Vec<u16>,
    /// Rules that say what packets are.
    rules: Vec<Value>,
    /// Those of them that few packets meet.
    rare: Vec<Value>,
}

impl Scope {
    fn of(world: &World) -> Self {
        let cluster = Cluster { objects: world.objects.clone() };
        let mut ends = Vec::new();
        for (namespace, name) in cluster.living() {
            for address in cluster.addresses(&namespace, &name) {
                ends.push((End::Pod(namespace.clone(), name.clone()), Family::of(address)));
            }
        }
        let pods = ends.len();
        let mut addresses: Vec<IpAddr> =
            OUTSIDE.iter().filter_map(|text| text.parse().ok()).collect();
        let mut ports = vec![80, 0, 65535];
        for object in &world.objects {
            collect(object, &mut addresses, &mut ports);
        }
        ports.sort_unstable();
        ports.dedup();
        addresses.sort();
        addresses.dedup();
        ends.extend(addresses.into_iter().map(|ip| (End::Address(ip), Family::of(ip))));
        let rules = aim::rules(&world.objects);
        let rare = aim::rare(&rules);
        Self { ends, pods, ports, rules, rare }
    }

    /// Ports of a protocol at which a verdict may change, or what it has for ports.
    fn ports_of(&self, protocol: Protocol) -> Vec<u16> {
        match protocol {
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp => self.ports.clone(),
            Protocol::Icmp | Protocol::IcmpV6 => {
                MESSAGES.map(|(kind, code)| FlowKey::message(kind, code)).to_vec()
            }
            Protocol::Other => NUMBERS.to_vec(),
        }
    }

    /// What can be asked of a protocol: each port, from a port that no rule is likely to name, from
    /// the same and from some other, that each edge is a source port too.
    fn services_of(&self, protocol: Protocol) -> Vec<Service> {
        let ports = self.ports_of(protocol);
        let plain = ports.iter().map(|port| Service::to(protocol, *port));
        if !protocol.has_ports() {
            return plain.collect();
        }
        let others = ports.iter().cycle().skip(ports.len() / 3);
        let from = |(port, source_port): (&u16, &u16)| Service {
            source_port: *source_port,
            ..Service::to(protocol, *port)
        };
        let same = ports.iter().zip(&ports).map(from);
        plain.chain(same).chain(ports.iter().zip(others).map(from)).collect()
    }

    /// What one of these rules is about.
    fn aimed(rules: &[Value], choices: &mut Choices) -> Option<Service> {
        let rule = rules.get(choices.below(rules.len().max(1)))?;
        aim::service(rule, choices)
    }

    /// What a rule is about, or one of these with any of the ports for its source.
    fn service(&self, choices: &mut Choices) -> Service {
        let rules = if choices.chance(30) { &self.rare } else { &self.rules };
        if choices.chance(60)
            && let Some(service) = Self::aimed(rules, choices)
        {
            return service;
        }
        let protocol = choices.pick(&Protocol::ALL);
        let plain = Service::to(protocol, choices.pick(&self.ports_of(protocol)));
        if protocol.has_ports() && choices.chance(60) {
            return Service { source_port: choices.pick(&self.ports), ..plain };
        }
        plain
    }

    /// The question, unless its ends cannot meet or no policy has a say in it.
    fn question(&self, source: usize, target: usize, service: Service) -> Option<Question> {
        let ((source, family), (target, other)) = (&self.ends[source], &self.ends[target]);
        let outside = |end: &End| matches!(end, End::Address(_));
        if family != other || !is_of(service, *family) || (outside(source) && outside(target)) {
            return None;
        }
        let (source, target, family) = (source.clone(), target.clone(), *family);
        let Service { protocol, port, source_port } = service;
        Some(Question { source, target, protocol, port, source_port, family })
    }
}

/// Whether there are such packets: each version of IP has an ICMP of its own, which is no mere
/// number there.
fn is_of(service: Service, family: Family) -> bool {
    match (service.protocol, family) {
        (Protocol::Icmp, Family::V6) | (Protocol::IcmpV6, Family::V4) => false,
        (Protocol::Other, Family::V4) => service.port != ICMP,
        (Protocol::Other, Family::V6) => service.port != ICMP_V6,
        _ => true,
    }
}

fn near(n: u16) -> [u16; 3] {
    [n.saturating_sub(1), n, n.saturating_add(1)]
}

/// Gathers every address, and the edges of every block and port, that the object names.
pub(super) fn collect(node: &Value, addresses: &mut Vec<IpAddr>, ports: &mut Vec<u16>) {
    match node {
        Value::String(text) => {
            addresses.extend(Cidr::read(text).iter().flat_map(Cidr::boundaries));
            addresses.extend(text.parse::<IpAddr>());
            // A range of ports as Calico writes it, or one.
            let edges: Vec<u16> = text.split(':').filter_map(|edge| edge.parse().ok()).collect();
            ports.extend(edges.iter().flat_map(|edge| near(*edge)));
        }
        Value::Number(number) => {
            let number = number.as_u64().and_then(|number| u16::try_from(number).ok());
            ports.extend(number.into_iter().flat_map(near));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, addresses, ports)),
        Value::Object(fields) => {
            fields.values().for_each(|field| collect(field, addresses, ports));
        }
        _ => {}
    }
}
