//! The evasion corpus: each entry meets the parser, and a simulated node as a pod sends it.
//!
//! The target is isolated by a policy that lets everything in, so that what stops an entry is the
//! one rule it is about; where policy is to judge it, other policies say whether it does.

mod connections;
mod exhaustion;

use std::collections::BTreeSet;

use lockgate_dataplane::counters::DropReason::{self, EgressDenied, IngressDenied};
use lockgate_dataplane::packet::parse::Kind;
use lockgate_dataplane::packet::{Packet, parse};
use lockgate_tests::corpus::{Entry, Outcome, entries};
use lockgate_tests::shop::{MUTE, OPEN, PORTS, SHUT, scene, under};
use lockgate_tests::world::World;

use crate::simulation::{CLIENT, WEB, shape};

/// The entry whose fault is in a checksum that only who answers adds up.
const OF_WHO_ANSWERS: &str = "ns-checksum";

/// The reasons that the parser gives.
const OF_THE_PARSER: [DropReason; 8] = [
    DropReason::Truncated,
    DropReason::NotIp,
    DropReason::VlanTagged,
    DropReason::Malformed,
    DropReason::Fragment,
    DropReason::FragmentTiny,
    DropReason::ExtensionHeaders,
    DropReason::Martian,
];

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    arrived: usize,
    elsewhere: usize,
    waiting: u64,
    drops: Vec<(DropReason, u64)>,
}

/// A node on which nothing has happened, under one policy, and what becomes of an entry there.
fn seen(entry: &Entry, spec: &str, workers: u8) -> Seen {
    let mut world = World::of(shape(workers), &under(spec));
    for frame in entry.frames(&scene(&world)) {
        world.inject(CLIENT, &frame).unwrap();
        world.settle();
    }
    let arrived = world.received(WEB).len();
    // The switch's own answers go to who has asked for them.
    let answers = world.total(|counters| counters.originated.load() + counters.answered.load());
    let back = (world.received(CLIENT).len() as u64).abs_diff(answers) as usize;
    let others = world.names().into_iter().filter(|name| name != WEB && name != CLIENT);
    let elsewhere = others.map(|name| world.received(&name).len()).sum::<usize>() + back;
    let waiting = world.total(|counters| counters.held.load());
    let moved = DropReason::ALL.iter().map(|&reason| (reason, world.dropped(reason)));
    Seen { arrived, elsewhere, waiting, drops: moved.filter(|(_, count)| *count > 0).collect() }
}

fn arriving(frames: usize) -> Seen {
    Seen { arrived: frames, elsewhere: 0, waiting: 0, drops: vec![] }
}

fn dropping(reason: DropReason, frames: usize) -> Seen {
    Seen { arrived: 0, elsewhere: 0, waiting: 0, drops: vec![(reason, frames as u64)] }
}

/// What an entry's outcome says of its frames.
fn wanted(outcome: Outcome, frames: usize) -> Seen {
    match outcome {
        Outcome::Dropped(reason) => dropping(reason, frames),
        Outcome::Judged | Outcome::Portless => arriving(frames),
        Outcome::Parts { arrive, wait, reason } => {
            let dropped = (frames - arrive - wait) as u64;
            let drops = if dropped > 0 { vec![(reason, dropped)] } else { vec![] };
            Seen { arrived: arrive, elsewhere: 0, waiting: wait as u64, drops }
        }
    }
}

/// Tries every entry that `wanted` wants something of, on one worker and on two.
fn try_all(spec: &str, wanted: impl Fn(&Entry, usize) -> Option<Seen>) {
    let world = World::of(shape(1), &under(spec));
    let mut wrong = Vec::new();
    let mut tried = 0;
    for entry in entries() {
        let Some(wanted) = wanted(entry, entry.frames(&scene(&world)).len()) else { continue };
        for workers in [1, 2] {
            let seen = seen(entry, spec, workers);
            tried += 1;
            if seen != wanted {
                wrong.push(format!("{} on {workers}: {seen:?}, written {wanted:?}", entry.id));
            }
        }
    }
    assert!(tried > 20, "only {tried} entries were tried");
    assert!(wrong.is_empty(), "{} went otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_entry_of_the_corpus_has_an_id_of_its_own_and_frames() {
    let world = World::of(shape(1), &under(OPEN));
    let mut ids = BTreeSet::new();
    for entry in entries() {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(entry.id.chars().all(is_plain) && !entry.what.is_empty(), "{}", entry.id);
        assert!(ids.insert(entry.id), "{} twice", entry.id);
        let frames = entry.frames(&scene(&world));
        assert!(!frames.is_empty() && frames.iter().all(|f| f.len() >= 14), "{}", entry.id);
    }
    assert!(ids.len() >= 150, "only {} entries", ids.len());
}

#[test]
fn the_parser_reads_or_drops_every_entry_of_the_corpus_as_written() {
    let world = World::of(shape(1), &under(OPEN));
    let mut wrong = Vec::new();
    for entry in entries() {
        for (number, frame) in entry.frames(&scene(&world)).iter().enumerate() {
            let read = parse(frame);
            let is_right = match (entry.outcome, &read) {
                (Outcome::Dropped(reason), Err(got)) => *got == reason,
                (Outcome::Dropped(_), Ok(_)) if entry.id == OF_WHO_ANSWERS => true,
                (Outcome::Dropped(reason), Ok(_)) => !OF_THE_PARSER.contains(&reason),
                (Outcome::Portless, Ok(Packet::Ip(headers))) => {
                    matches!(headers.kind, Kind::Portless | Kind::Echo { reply: false })
                }
                (Outcome::Judged, Ok(Packet::Ip(headers))) => headers.key.protocol.has_ports(),
                (Outcome::Judged | Outcome::Parts { .. }, Ok(Packet::Fragment(..))) => true,
                _ => false,
            };
            if !is_right {
                wrong.push(format!("{}, frame {number}: {read:?}", entry.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{} read otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_entry_of_the_corpus_ends_as_written_where_policy_allows_all() {
    try_all(OPEN, |entry, frames| Some(wanted(entry.outcome, frames)));
}

#[test]
fn what_the_corpus_lets_through_is_judged_by_policy() {
    let is_judged = |entry: &Entry| matches!(entry.outcome, Outcome::Judged | Outcome::Portless);
    try_all(SHUT, |entry, frames| is_judged(entry).then(|| dropping(IngressDenied, frames)));
    try_all(MUTE, |entry, frames| is_judged(entry).then(|| dropping(EgressDenied, frames)));
}

#[test]
fn what_has_no_ports_passes_no_rule_with_ports() {
    try_all(PORTS, |entry, frames| match entry.outcome {
        Outcome::Judged => Some(arriving(frames)),
        Outcome::Portless => Some(dropping(IngressDenied, frames)),
        _ => None,
    });
}
