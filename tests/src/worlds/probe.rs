//! Questions worth asking of a world: its pods, the edges of its blocks and of its ports.

use std::net::IpAddr;

use lockgate_dataplane::packet::{FlowKey, Protocol};
use serde_json::Value;

use super::{Choices, World};
use crate::oracle::{Cidr, Cluster, End, Family, Question};

/// Addresses that no pod of any world has.
const OUTSIDE: [&str; 5] = ["203.0.113.7", "192.168.0.1", "10.0.0.14", "2001:db8::9", "fd01::1"];

/// Messages of ICMP, and of `ICMPv6`, as rules may name them.
const MESSAGES: [(u8, u8); 5] = [(8, 0), (8, 1), (13, 0), (40, 0), (255, 255)];
const MESSAGES_V6: [(u8, u8); 4] = [(128, 0), (128, 1), (140, 0), (255, 255)];
/// Protocols that are only a number, those of the other version's ICMP among them.
const NUMBERS: [u16; 7] = [0, 1, 46, 47, 58, 136, 255];

/// Every question worth asking: each pair of ends, each protocol, each boundary port.
#[must_use]
pub fn probes(world: &World) -> Vec<Question> {
    let scope = Scope::of(world);
    let mut questions = Vec::new();
    for source in 0..scope.ends.len() {
        for target in 0..scope.ends.len() {
            for protocol in Protocol::ALL {
                for port in scope.ports_of(protocol) {
                    questions.extend(scope.question(source, target, protocol, port));
                }
            }
        }
    }
    questions
}

/// The whole matrix of a world for some kinds of traffic: each pair of ends.
#[must_use]
pub fn matrix(world: &World, kinds: usize, choices: &mut Choices) -> Vec<Question> {
    let scope = Scope::of(world);
    let mut questions = Vec::new();
    for _ in 0..kinds {
        let protocol = choices.pick(&Protocol::ALL);
        let port = choices.pick(&scope.ports_of(protocol));
        for source in 0..scope.ends.len() {
            for target in 0..scope.ends.len() {
                questions.extend(scope.question(source, target, protocol, port));
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
        let protocol = choices.pick(&Protocol::ALL);
        let port = choices.pick(&scope.ports_of(protocol));
        questions.extend(scope.question(source, target, protocol, port));
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
        Self { ends, pods, ports }
    }

    /// Ports of a protocol at which a verdict may change, or what it has for ports.
    fn ports_of(&self, protocol: Protocol) -> Vec<u16> {
        match protocol {
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp => self.ports.clone(),
            Protocol::Icmp => MESSAGES.map(|(kind, code)| FlowKey::message(kind, code)).to_vec(),
            Protocol::IcmpV6 => {
                MESSAGES_V6.map(|(kind, code)| FlowKey::message(kind, code)).to_vec()
            }
            Protocol::Other => NUMBERS.to_vec(),
        }
    }

    /// The question, unless its ends cannot meet or no policy has a say in it.
    fn question(
        &self,
        source: usize,
        target: usize,
        protocol: Protocol,
        port: u16,
    ) -> Option<Question> {
        let ((source, family), (target, other)) = (&self.ends[source], &self.ends[target]);
        let outside = |end: &End| matches!(end, End::Address(_));
        let is_other = match protocol {
            Protocol::Icmp => *family == Family::V6,
            Protocol::IcmpV6 => *family == Family::V4,
            _ => false,
        };
        if is_other || family != other || (outside(source) && outside(target)) {
            return None;
        }
        let (source, target, family) = (source.clone(), target.clone(), *family);
        // Of one port in three the same from the source, of the others from some other.
        let place = usize::from(port) % (3 * self.ports.len());
        let source_port = self.ports.get(place).copied().unwrap_or(port);
        Some(Question { source, target, protocol, port, source_port, family })
    }
}

fn near(n: u16) -> [u16; 3] {
    [n.saturating_sub(1), n, n.saturating_add(1)]
}

/// Gathers every address, and the edges of every block and port, that the object names.
fn collect(node: &Value, addresses: &mut Vec<IpAddr>, ports: &mut Vec<u16>) {
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
