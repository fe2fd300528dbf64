//! What a flood costs those who are not meant: `Worker::turn` over ports in memory, one core.
//!
//! Each turn a worker takes a batch of a conversation between two pods and a batch of what
//! another pod sends. The time of a turn is what the conversation's packets wait for, so the
//! throughput of a worker at its limit goes with its inverse. Each flood takes turns with the same
//! number of *harmless* packets, of connections that are known; the ratio is the conversation's
//! throughput beside the flood to that beside the harmless ones.
//!
//! | flood | what it is |
//! |---|---|
//! | denied | addresses, ports, protocols at random; policy denies them |
//! | forbidden ports | to a pod that lets other ports in, at random |
//! | spoofed | sender's addresses at random |
//! | no connection | segments of connections that never were |
//! | opening | ports at random that policy allows: each would open, the pod has all it may have |
//!
//! `--check` fails below the promised ratio (docs/PROMISES.md), the best of some attempts, since
//! others use the machine too.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lockgate_dataplane::packet::TcpFlags;
use lockgate_tests::packets::{self, Ends};
use lockgate_tests::world::{Shape, World};

const BATCH: usize = 64;
/// Turns of one measurement.
const TURNS: usize = 4000;
const ROUNDS: usize = 7;
/// Frames of a flood, sent again and again: more than a worker's caches hold connections of.
const FRAMES: usize = 1 << 16;
const CLUSTER: &str = include_str!("../../flood.yaml");
const FLOODER: &str = "default/flooder";
const CLIENT: &str = "default/client";
const SERVER: &str = "default/server";
/// What `--check` asks of every flood.
const LEAST: f64 = 0.97;
/// Attempts of `--check`.
const ATTEMPTS: usize = 4;

type Row = (&'static str, fn(&World, &mut Random) -> Vec<u8>);

const ROWS: [Row; 5] = [
    ("denied", denied),
    ("forbidden ports", forbidden),
    ("spoofed", spoofed),
    ("no connection", strange),
    ("opening", opening),
];

#[allow(clippy::print_stdout)] // its only output
fn main() -> ExitCode {
    let is_check = std::env::args().any(|word| word == "--check");
    let mut table =
        "| flood | ratio, median | least | most | ns a turn, and beside harmless ones |\n\
                     |---|---|---|---|---|"
            .to_owned();
    let mut is_kept = true;
    for row in ROWS {
        for attempt in 1.. {
            let (ratios, times) = compare(row);
            let median = ratios[ROUNDS / 2];
            if is_check && median < LEAST && attempt < ATTEMPTS {
                continue;
            }
            // Writing to a string cannot fail.
            let _ = write!(
                table,
                "\n| {} | {median:.2} | {:.2} | {:.2} | {:.0}, {:.0} |",
                row.0,
                ratios[0],
                ratios[ROUNDS - 1],
                times[0],
                times[1]
            );
            is_kept &= median >= LEAST;
            break;
        }
    }
    println!("{table}");
    if is_check && !is_kept { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Ratios of all rounds in order, and the nanoseconds of a turn, of the flood and of harmless ones.
fn compare((_, flood): Row) -> ([f64; ROUNDS], [f64; 2]) {
    let mut pairs: [[f64; 2]; ROUNDS] =
        std::array::from_fn(|_| [measure(flood), measure(harmless)]);
    pairs.sort_by(|a, b| (a[1] / a[0]).total_cmp(&(b[1] / b[0])));
    (pairs.map(|[flood, harmless]| harmless / flood), pairs[ROUNDS / 2])
}

/// Nanoseconds of a turn with a batch of the conversation and one of the flood.
fn measure(flood: fn(&World, &mut Random) -> Vec<u8>) -> f64 {
    let shape = Shape { frames: 8192, connections: 1 << 17, ..Shape::default() };
    let mut world = World::of(shape, CLUSTER);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let frames: Vec<Vec<u8>> = (0..FRAMES).map(|_| flood(&world, &mut random)).collect();
    let ends = world.ends(CLIENT, SERVER, nowhere());
    let flows = 1024..2048;
    let talk: Vec<Vec<u8>> = flows.map(|port| packets::udp(ends, (port, 53), &[0; 18])).collect();
    // All of both once, so that what can be known is known.
    for (from, all) in [(CLIENT, &talk), (FLOODER, &frames)] {
        for batch in all.chunks(BATCH) {
            for frame in batch {
                let _ = world.inject(from, frame);
            }
            turns(&mut world);
            world.discard(SERVER);
        }
    }
    let mut spent = Duration::ZERO;
    for turn in 0..TURNS {
        for n in 0..BATCH {
            let at = turn * BATCH + n;
            // As the kernel when there is nothing to receive into: the packet is not counted.
            let _ = world.inject(CLIENT, &talk[at % talk.len()]);
            let _ = world.inject(FLOODER, &frames[at % frames.len()]);
        }
        let begun = Instant::now();
        turns(&mut world);
        spent += begun.elapsed();
        world.discard(SERVER);
        if turn % 64 == 63 {
            world.pass_ms(1);
        }
    }
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let count = TURNS as f64;
    spent.as_secs_f64() * 1e9 / count
}

/// What is measured. Kept apart in the machine code, to be found there.
#[inline(never)]
fn turns(world: &mut World) {
    while world.turn() > 0 {}
}

fn nowhere() -> IpAddr {
    Ipv4Addr::new(192, 0, 2, 1).into()
}

fn ends(world: &World) -> Ends {
    world.ends(FLOODER, SERVER, nowhere())
}

/// Of 1024 connections that stand.
fn harmless(world: &World, random: &mut Random) -> Vec<u8> {
    packets::udp(ends(world), (1024 + random.port() % 1024, 9), &[0; 18])
}

/// Anywhere, anything; the flooder's egress allows the server alone.
fn denied(world: &World, random: &mut Random) -> Vec<u8> {
    let target = Ipv4Addr::from(0x0a4d_0000 | u32::from(random.port()));
    let ends = Ends { target: target.into(), ..ends(world) };
    let ports = (random.port(), random.port());
    match random.port() % 2 {
        0 => packets::udp(ends, ports, &[0; 18]),
        _ => packets::tcp(ends, ports, TcpFlags::SYN, &[]),
    }
}

/// To the server, which lets in port 9 and those beyond 40000 over UDP.
fn forbidden(world: &World, random: &mut Random) -> Vec<u8> {
    packets::udp(ends(world), (random.port(), 10 + random.port() % 30_000), &[0; 18])
}

fn spoofed(world: &World, random: &mut Random) -> Vec<u8> {
    let source = Ipv4Addr::from(u32::from(random.port()) << 16 | u32::from(random.port()));
    let ends = Ends { source: source.into(), ..ends(world) };
    packets::udp(ends, (random.port(), random.port()), &[0; 18])
}

fn strange(world: &World, random: &mut Random) -> Vec<u8> {
    packets::tcp(ends(world), (random.port(), random.port()), TcpFlags::ACK, &[])
}

fn opening(world: &World, random: &mut Random) -> Vec<u8> {
    packets::udp(ends(world), (random.port(), 40_000 + random.port() % 25_000), &[0; 18])
}

/// Marsaglia's xorshift: the same floods each time.
struct Random(u64);

impl Random {
    fn port(&mut self) -> u16 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        #[allow(clippy::cast_possible_truncation)] // sixteen bits are what is wanted
        let bits = (self.0 >> 32) as u16;
        bits.max(1)
    }
}
