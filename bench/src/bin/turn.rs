//! What a packet costs in memory: `Worker::turn` over ports in memory, batches of 64, one core.
//!
//! Nanoseconds per packet, receive to send, with the ports' own work but without a kernel. The
//! rows: a known connection, a new one, one from its opening to the end of its time, a denied
//! packet, a packet between two workers, packets to a Service; a word as argument leaves those whose name holds it.
//!
//! Time is noisy on a shared machine, instructions are not:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='turn::turns' target/release/turn known
//! ```
//!
//! collects them in the turns alone; divided by the packets that the bench names.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lockgate_tests::packets::{self, Ends};
use lockgate_tests::world::{Shape, World};

const BATCH: u16 = 64;
const BATCHES: usize = 4000;
const ROUNDS: usize = 5;
const CLUSTER: &str = include_str!("../../manifests/cluster.yaml");
const SOURCE: &str = "default/source";
const SINK: &str = "default/sink";

/// Where the sink is asked as a Service.
const SERVICE_PORT: u16 = 99;
const SERVICE_ADDRESS: [u8; 4] = [10, 96, 0, 1];
const SERVICE: &str = include_str!("../../manifests/service.yaml");

#[allow(clippy::print_stdout)] // its only output
fn main() -> ExitCode {
    let mut table = "| packet | ns, median | least | most |\n|---|---|---|---|".to_owned();
    let rows = [
        ("known connection, 1024 flows", 1, 9, Counted::Known),
        ("new connection", 1, 9, Counted::Opening),
        ("connection, opened and over", 1, 9, Counted::Life),
        ("denied", 1, 10, Counted::Known),
        ("known connection, two workers", 2, 9, Counted::Known),
        ("to a Service, 1024 flows", 1, SERVICE_PORT, Counted::Known),
        ("to a Service, two workers", 2, SERVICE_PORT, Counted::Known),
    ];
    let word = std::env::args().nth(1).unwrap_or_default();
    for (name, workers, port, counted) in rows.into_iter().filter(|row| row.0.contains(&word)) {
        let mut times: Vec<f64> = (0..ROUNDS).map(|_| measure(workers, port, counted)).collect();
        times.sort_by(f64::total_cmp);
        let (least, most, median) = (times[0], times[ROUNDS - 1], times[ROUNDS / 2]);
        // Writing to a string cannot fail.
        let _ = write!(table, "\n| {name} | {median:.0} | {least:.0} | {most:.0} |");
    }
    println!("{table}\n\n{} packets a row", ROUNDS * BATCHES * usize::from(BATCH));
    ExitCode::SUCCESS
}

/// What of a connection's packets is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// Those after its first.
    Known,
    /// Its first.
    Opening,
    /// Its first, and the turn in which it is forgotten.
    Life,
}

/// Nanoseconds per packet.
fn measure(workers: u8, port: u16, counted: Counted) -> f64 {
    let is_fresh = counted != Counted::Known;
    let shape = Shape { workers, frames: 8192, connections: 1 << 19, ..Shape::default() };
    let mut world = World::of(shape, CLUSTER);
    let outside = [192, 0, 2, 1].into();
    let mut ends = world.ends(SOURCE, SINK, outside);
    if port == SERVICE_PORT {
        world.set_file("service.yaml", SERVICE);
        ends.target = SERVICE_ADDRESS.into();
    }
    let frames: Vec<Vec<u8>> = (0..1024).map(|flow| frame(ends, 1024 + flow, port)).collect();
    let mut spent = Duration::ZERO;
    for batch in 0..BATCHES {
        for n in 0..usize::from(BATCH) {
            let at = (batch * usize::from(BATCH) + n) % frames.len();
            // As the kernel when it has nothing to receive into: the packet is not counted.
            let _ = world.inject(SOURCE, &frames[at]);
        }
        let begun = Instant::now();
        turns(&mut world);
        // The first lap opens the connections of a measurement of known ones.
        if is_fresh || batch * usize::from(BATCH) >= frames.len() {
            spent += begun.elapsed();
        }
        world.discard(SINK);
        if is_fresh && batch % 16 == 15 {
            // All 1024 flows are known now: forget them, and open them again.
            world.pass_ms(200_000);
            let begun = Instant::now();
            forget(&mut world);
            if counted == Counted::Life {
                spent += begun.elapsed();
            }
        }
    }
    let batches = if is_fresh { BATCHES } else { BATCHES - frames.len() / usize::from(BATCH) };
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let packets = (batches * usize::from(BATCH)) as f64;
    spent.as_secs_f64() * 1e9 / packets
}

/// What is measured. Kept apart in the machine code, to be found there.
#[inline(never)]
fn turns(world: &mut World) {
    while world.turn() > 0 {}
}

/// Turns until the time of all connections is up.
#[inline(never)]
fn forget(world: &mut World) {
    while world.connections() > 0 {
        world.turn();
    }
}

fn frame(ends: Ends, from: u16, to: u16) -> Vec<u8> {
    packets::udp(ends, (from, to), &[0; 18])
}
