//! A whole simulated node of one or two workers: frames from every wire, policies that change, pods
//! that go and come, time.
//!
//! Every frame comes home; packets add up; what arrives was put in by whoever it says, arrives
//! where it is for, and was let through by the slow judge. The worker's own laws hold after every
//! turn.
//!
//! `CAPTURE=FILE` keeps the frames of an input, as far as it came.

#![no_main]
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used, missing_docs)]

use std::net::IpAddr;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lockgate_control::manifest::{FileObjects, read_text};
use lockgate_dataplane::packet::TcpFlags;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_tests::captures;
use lockgate_tests::corpus::{Host, Scene};
use lockgate_tests::frames::Frames;
use lockgate_tests::packets::{self, Ends, fragment, pieces};
use lockgate_tests::shop::{CLIENT, CLUSTER, MUTE, OPEN, OTHER, PORTS, SHUT, WEB, scene, under};
use lockgate_tests::watched::Watched;
use lockgate_tests::world::{HOST, HOST_MAC, Shape, World};
use lockgate_tests::worlds::Choices;

const STEPS_MAX: usize = 60;
/// Frames on their way at once, at most: so few that no ring is full.
const UNDER_WAY_MAX: usize = 24;
const SHAPE: Shape = Shape {
    workers: 1,
    frames: 640,
    connections: 64,
    mtu: 1500,
    established: lockgate_dataplane::worker::Established::Recheck,
    denial: lockgate_dataplane::worker::Denial::Drop,
    local: lockgate_tests::world::Local::Bound,
    own_node: lockgate_dataplane::endpoint::OwnNode::Exempt,
};

const WIRES: [&str; 4] = [CLIENT, WEB, OTHER, HOST];

/// What may be in force.
static OBJECTS: LazyLock<Vec<FileObjects>> = LazyLock::new(|| {
    let without_client = CLUSTER.split("---\n").filter(|text| !text.contains("name: client"));
    let without_client = without_client.collect::<Vec<_>>().join("---\n");
    let heir = CLUSTER.replacen("name: web\n", "name: heir\n", 1);
    let texts = [CLUSTER.to_owned(), under(OPEN), under(PORTS), under(SHUT), under(MUTE)];
    let texts = texts.into_iter().chain([without_client, heir]);
    texts.map(|text| read_text("cluster.yaml", &text).unwrap()).collect()
});

/// Who speaks from each wire: to the pod after it, as the pod after that.
static SCENES: LazyLock<[Scene; 4]> = LazyLock::new(|| {
    let scene = scene(&World::of(SHAPE, CLUSTER));
    let Scene { sender, target, other, .. } = scene;
    let (v4, v6) = ("192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap());
    let friend = Host { mac: HOST_MAC, v4, v6 };
    [
        scene,
        Scene { sender: target, target: sender, other, ..scene },
        Scene { sender: other, target, other: sender, ..scene },
        Scene { sender: friend, target, other, ..scene },
    ]
});

static FRAMES: LazyLock<Vec<Frames>> = LazyLock::new(|| SCENES.iter().map(Frames::of).collect());

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::from_bytes(bytes);
    let workers = 1 + choices.below(2) as u8;
    let mut node = Watched::new(Shape { workers, ..SHAPE }, OBJECTS[0].clone());
    let mut sent = Sent::default();
    for _ in 0..STEPS_MAX.min(bytes.len() / 3) {
        let wire = choices.below(WIRES.len());
        match choices.below(12) {
            0 | 1 => sent.send(&mut node, wire, FRAMES[wire].sound(&mut choices)),
            2 | 3 => sent.send(&mut node, wire, FRAMES[wire].damaged(&mut choices)),
            4..=6 => sent.send(&mut node, wire, say(wire, &mut choices)),
            7 => {
                let whole = say(wire, &mut choices);
                for piece in in_pieces(&whole, &mut choices) {
                    sent.send(&mut node, wire, piece);
                }
            }
            8 => node.change(Some(choices.pick(&OBJECTS))),
            9 => node.pass_ms(choices.pick(&[1, 300, 16_000, 40_000])),
            10 => node.turn_one(choices.below(workers.into()) as u8),
            _ => node.settle(),
        }
    }
    node.finish();
});

#[derive(Default)]
struct Sent {
    frames: Vec<Vec<u8>>,
    under_way: usize,
}

impl Sent {
    fn send(&mut self, node: &mut Watched, wire: usize, frame: Vec<u8>) {
        if self.under_way == UNDER_WAY_MAX {
            node.settle();
            self.under_way = 0;
        }
        self.under_way += 1;
        self.frames.push(frame);
        captures::keep(&self.frames);
        // It may have no wire now.
        let _taken = node.inject(WIRES[wire], &self.frames[self.frames.len() - 1]);
    }
}

/// A packet that nothing is wrong with, from few ports to few: some are answers to others.
fn say(wire: usize, choices: &mut Choices) -> Vec<u8> {
    let scene = &SCENES[wire];
    let is_v6 = choices.chance(30);
    let address = |host: &Host| if is_v6 { IpAddr::V6(host.v6) } else { IpAddr::V4(host.v4) };
    let to = (wire + 1 + choices.below(3)) % WIRES.len();
    let (source, target) = (address(&scene.sender), address(&SCENES[to].sender));
    let ends = Ends { source_mac: scene.sender.mac, target_mac: GATEWAY_MAC, source, target };
    let numbers = [80, 53, 4000, 4001];
    let ports = (choices.pick(&numbers), choices.pick(&numbers));
    let load = vec![7; choices.below(256)];
    match choices.below(6) {
        0 | 1 => {
            let flags = choices.pick(&[0x02, 0x12, 0x10, 0x18, 0x11, 0x14, 0x04]);
            packets::tcp(ends, ports, TcpFlags(flags), &load)
        }
        2 => packets::udp(ends, ports, &load),
        3 => packets::echo(ends, choices.chance(50), ports.0, 1, &load),
        4 => packets::sctp(ends, ports, choices.below(2) as u32, choices.pick(&[1, 2, 0]), &load),
        _ => {
            let back = packets::udp(ends.reversed(), (ports.1, ports.0), &load);
            packets::icmp_error(ends, if is_v6 { 1 } else { 3 }, 0, &back)
        }
    }
}

/// A packet in pieces, some of them twice, in another order or not at all.
fn in_pieces(whole: &[u8], choices: &mut Choices) -> Vec<Vec<u8>> {
    let bytes_max = choices.pick(&[24, 64, 8, 40]);
    let mut pieces = pieces(whole, bytes_max);
    pieces.truncate(6);
    for _ in 0..choices.below(4) {
        let (from, to) = (choices.below(pieces.len()), choices.below(pieces.len()));
        match choices.below(4) {
            0 => pieces.swap(from, to),
            1 => pieces[to] = pieces[from].clone(),
            2 => pieces[from].offset = 8 * choices.below(16) as u16,
            _ => pieces[from].more ^= true,
        }
    }
    let identification = choices.below(3) as u32;
    pieces.iter().map(|piece| fragment(whole, identification, piece)).collect()
}
