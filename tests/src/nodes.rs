//! Simulated nodes and the network between them: a packet of a case takes the way that it takes
//! in a cluster.
//!
//! ```text
//!   source's pod -> its node: egress -> [host port] -> target's node: ingress -> target's pod
//! ```
//!
//! There is a node for every `status.hostIP` of a case, and each has all objects. Pods of one
//! node meet in it. An address that no pod has is outside: what it sends comes in at the host
//! port of the target's node, and what is sent to it leaves by that of the source's.

#![allow(clippy::panic, clippy::missing_panics_doc)] // as in `world`

use std::collections::BTreeSet;
use std::net::IpAddr;

use lockgate_control::manifest::{ObjectKey, ObjectKind};
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_dataplane::packet::{Protocol, TcpFlags};

use crate::cases::{Action, Case, Send};
use crate::oracle::{Cluster, Question};
use crate::packets::{self, Ends};
use crate::world::{Fate, HOST, HOST_MAC, Local, Shape, World};

/// The protocol number that stands for protocols without ports: GRE.
const OTHER: u8 = 47;

/// The identifier of echo requests: one for all, so that replies find theirs.
const ECHO: u16 = 7;

/// The nodes of one case.
#[derive(Debug)]
pub struct Nodes {
    worlds: Vec<World>,
    files: usize,
}

impl Nodes {
    /// The nodes of a case, with its first objects in force.
    #[must_use]
    pub fn of(case: &Case, shape: Shape) -> Self {
        let later = case.steps.iter().filter_map(|step| match &step.action {
            Action::Set(text) => Some(text.as_str()),
            _ => None,
        });
        let homes: BTreeSet<Option<IpAddr>> =
            later.chain([case.cluster.as_str()]).flat_map(homes).collect();
        let world = |home: &Option<IpAddr>| World::new(Shape { local: Local::On(*home), ..shape });
        let mut nodes = Self { worlds: homes.iter().map(world).collect(), files: 0 };
        nodes.set(&case.cluster);
        nodes
    }

    /// Sets the objects of a manifest everywhere.
    pub fn set(&mut self, text: &str) {
        // Of objects written twice the later file's counts.
        let file = format!("{:04}.yaml", self.files);
        self.files += 1;
        for world in &mut self.worlds {
            world.set_file(&file, text);
        }
    }

    /// Removes an object everywhere.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        let kinds = [ObjectKind::Namespace, ObjectKind::Pod, ObjectKind::Policy];
        let kind = kinds.into_iter().find(|known| known.label() == kind);
        let kind = kind.unwrap_or_else(|| panic!("no such kind"));
        let key = ObjectKey { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        for world in &mut self.worlds {
            world.remove(&key);
        }
    }

    /// Lets so much time pass everywhere.
    pub fn advance_ms(&mut self, ms: u64) {
        for world in &mut self.worlds {
            world.advance_ms(ms);
        }
    }

    /// Sends a packet of a case and says what became of it: `sent`, or the label of the drop
    /// reason of the first node that dropped it. `None` where it enters no node: a pod's packet
    /// to itself, and one between addresses of no pod.
    ///
    /// `number` tells its connection from those of other lines where no source port is stated.
    pub fn send(&mut self, send: &Send, cluster: &Cluster, number: usize) -> Option<&'static str> {
        let question = send.question(cluster).unwrap_or_else(|why| panic!("{why}"));
        let address = |end| cluster.address_of(end, question.family).ok();
        let (source, target) = (address(&question.source)?, address(&question.target)?);
        let (from, to) = (self.seat(source), self.seat(target));
        if source == target || from.is_some() && from == to {
            return None;
        }
        let mut frame = build(send, &question, (source, target), number);
        match (from, to) {
            (None, None) => None,
            (Some((node, pod)), Some((other, target))) if node == other => {
                Some(self.pass(node, &pod, &target, &mut frame))
            }
            (from, to) => {
                let out = from.map(|(node, pod)| self.pass(node, &pod, HOST, &mut frame));
                match (out, to) {
                    (Some(dropped), _) if dropped != "sent" => Some(dropped),
                    (out, None) => out,
                    (_, Some((node, pod))) => Some(self.pass(node, HOST, &pod, &mut frame)),
                }
            }
        }
    }

    /// The node and wire of the pod that has an address.
    fn seat(&self, address: IpAddr) -> Option<(usize, String)> {
        self.worlds.iter().enumerate().find_map(|(node, world)| {
            let mut pods = world.resolved()?.pods.iter();
            let pod = pods.find(|pod| pod.addresses.contains(&address))?;
            let name = format!("{}/{}", pod.namespace, pod.name);
            world.names().contains(&name).then_some((node, name))
        })
    }

    /// Takes a frame through one node; what comes out is left in `frame`.
    fn pass(&mut self, node: usize, from: &str, to: &str, frame: &mut Vec<u8>) -> &'static str {
        let world = &mut self.worlds[node];
        let mac = if from == HOST { HOST_MAC } else { world.mac(from) };
        frame[..6].copy_from_slice(&GATEWAY_MAC.0);
        frame[6..12].copy_from_slice(&mac.0);
        match world.fate(from, to, frame) {
            Fate::Sent(arrived) => {
                assert!(packets::has_right_checksums(&arrived), "checksums at {to}");
                *frame = arrived;
                "sent"
            }
            Fate::Dropped(reason) => reason.label(),
            fate => panic!("{from} > {to}: {fate:?}"),
        }
    }
}

/// The nodes of the pods of a manifest, `None` for those that name none.
fn homes(text: &str) -> BTreeSet<Option<IpAddr>> {
    let cluster = Cluster::from_text(text).unwrap_or_default();
    let home = |pod: &serde_json::Value| {
        let status = pod.get("status")?;
        let first = status.pointer("/hostIPs/0/ip").or_else(|| status.get("hostIP"))?;
        first.as_str()?.parse().ok()
    };
    cluster.pods().map(home).collect()
}

/// The frame of a case's packet, but for its MACs.
fn build(send: &Send, question: &Question, ends: (IpAddr, IpAddr), number: usize) -> Vec<u8> {
    let (source, target) = ends;
    let ends = Ends { source_mac: HOST_MAC, target_mac: GATEWAY_MAC, source, target };
    let own = u16::try_from(20_000 + number).unwrap_or(u16::MAX);
    let ports = (send.source_port.unwrap_or(own), question.port);
    let detail = send.detail.as_str();
    match (question.protocol, detail) {
        (Protocol::Tcp, flags) => packets::tcp(ends, ports, tcp_flags(flags), &[]),
        (Protocol::Udp, "") => packets::udp(ends, ports, b"case"),
        (Protocol::Sctp, "" | "init") => {
            packets::sctp(ends, ports, 0, 1, &[0, 0, 0, 9, 0, 1, 0, 0])
        }
        (Protocol::Icmp, "" | "echo") => packets::echo(ends, false, ECHO, 1, b"case"),
        (Protocol::Icmp, "echo-reply") => packets::echo(ends, true, ECHO, 1, b"case"),
        (Protocol::Other, "") => packets::ip(ends, OTHER, b"case"),
        (protocol, detail) => panic!("no packet is {protocol:?} {detail}"),
    }
}

fn tcp_flags(text: &str) -> TcpFlags {
    let known = [
        ("syn", TcpFlags::SYN),
        ("ack", TcpFlags::ACK),
        ("fin", TcpFlags::FIN),
        ("rst", TcpFlags::RST),
    ];
    let named = |word: &str| {
        let flag = known.iter().find(|(name, _)| *name == word);
        flag.map_or_else(|| panic!("no TCP flag {word}"), |(_, flag)| *flag)
    };
    match text {
        "" => TcpFlags::SYN,
        words => {
            let mut flags = words.split(',').map(named);
            let first = flags.next().unwrap_or(TcpFlags::SYN);
            flags.fold(first, TcpFlags::with)
        }
    }
}
