//! A pod fills the connection table: nobody else notices.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lockgate_tests::lab::bulk;
use lockgate_tests::lab::flood::{Flood, Limit, Pace, Syns};
use lockgate_tests::lab::namespace::wait_for;
use lockgate_tests::lab::probe::{Seen, Speech};
use lockgate_tests::lab::steady::Steady;
use lockgate_tests::lab::switch::{Options, SwitchProcess};

use super::fixture::{Directory, SETTLE, World, pod};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] =
    &[("a SYN flood of many tables from one pod hurts nobody else", syn_flood)];

/// Connections of the one worker.
const CAPACITY: u64 = 2048;

/// New connections that another pod asks for during the flood; 99 of 100 must come about.
const ASKED: usize = 200;

/// Whom the flood is sent to: it costs no stack an answer, so what it costs is the switch's work.
const NOBODY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 99);

/// Bytes each way of one measurement of an established connection.
const BULK_BYTES: u64 = 32 << 20;
const BULK_PORT: u16 = 7000;
const ROUNDS: usize = 5;

/// Attempts at a ratio of throughputs: others use the machine's cores too.
const ATTEMPTS: usize = 4;
const LEAST: f64 = 0.9;

/// From every port.
const FLOOD: Syns = Syns { ports: 64_000, pace: Pace::Full };
const TRICKLE: Syns = Syns { pace: Pace::Trickle, ..FLOOD };
/// The same SYN again and again: as many packets, and one connection.
const HARMLESS: Syns = Syns { ports: 1, ..FLOOD };

type Error = Box<dyn std::error::Error>;

fn syn_flood() -> Outcome {
    let directory = Directory::with_three_pods()?;
    directory.put("20-stranger.yaml", &pod("stranger", 4))?;
    let world = World::build(directory, 1500)?;
    let settings = format!("connections.capacity = {CAPACITY}\n");
    let switch = SwitchProcess::start(&world.lab, &Options { settings, ..world.options()? })?;
    let server: SocketAddr = (world.address("demo/server", false)?, 80).into();
    let stands: Vec<Steady> = (0..10)
        .map(|_| Steady::start(&world.lab.place("demo/client")?, server))
        .collect::<Result<_, _>>()?;
    let evicted = || switch.metric("lockgate_connections_evicted_total", &[]);
    let running = flood(&world, FLOOD)?;
    wait_for("twice the table", SETTLE * 4, || running.sent() > 2 * CAPACITY)?;
    let answered = (0..ASKED)
        .map(|_| world.probe(Speech::Tcp, "demo/other", "demo/server", 80))
        .filter(|seen| matches!(seen, Ok(Seen::Answered)))
        .count();
    assert!(answered * 100 >= ASKED * 99, "{answered} of {ASKED} new connections came about");
    assert!(evicted()? > 1.0, "the flood never filled anything");
    drop(running);
    // At full rate the flood takes a core from everyone, whatever the switch does with it: so it is
    // compared with as many harmless packets, and a slow one with none.
    for (syns, beside) in [(TRICKLE, None), (FLOOD, Some(HARMLESS))] {
        let ratio = throughput(&world, syns, beside)?;
        assert!(ratio >= LEAST, "{syns:?} leaves {ratio:.2} of the throughput");
    }
    for course in stands.into_iter().map(Steady::end) {
        assert!(!course.is_cut, "an established connection was lost: {course:?}");
    }
    let full = switch.metric("lockgate_dropped_packets_total", &["reason=\"connections_full\""])?;
    assert!(full < 0.5, "{full} were told that the table is full");
    Ok(())
}

fn flood(world: &World, syns: Syns) -> Result<Flood, Error> {
    let limit = Limit { packets: u64::MAX, time: Duration::from_mins(2) };
    Ok(Flood::of_syns(&world.lab.place("demo/stranger")?, (NOBODY, 80).into(), syns, limit)?)
}

/// The throughput of an established connection beside a flood to that beside another or none:
/// medians of rounds that take turns, the best of some attempts.
fn throughput(world: &World, syns: Syns, beside: Option<Syns>) -> Result<f64, Error> {
    let (from, to) = (world.lab.place("demo/client")?, world.lab.place("demo/other")?);
    let rate = |syns: Option<Syns>| -> Result<f64, Error> {
        let running = syns.map(|syns| flood(world, syns)).transpose()?;
        let has_begun = || running.as_ref().is_none_or(|running| running.sent() > CAPACITY);
        wait_for("the flood", SETTLE, has_begun)?;
        let report = bulk::both_ways(&from, &to, BULK_PORT, false, BULK_BYTES)?;
        assert!(report.is_intact(), "{report:?}");
        Ok(1.0 / report.took.as_secs_f64())
    };
    let mut best = 0.0_f64;
    for _ in 0..ATTEMPTS {
        let (mut normal, mut flooded) = ([0.0; ROUNDS], [0.0; ROUNDS]);
        for (normal, flooded) in normal.iter_mut().zip(&mut flooded) {
            (*normal, *flooded) = (rate(beside)?, rate(Some(syns))?);
        }
        normal.sort_by(f64::total_cmp);
        flooded.sort_by(f64::total_cmp);
        best = best.max(flooded[ROUNDS / 2] / normal[ROUNDS / 2]);
        if best >= LEAST {
            break;
        }
    }
    Ok(best)
}
