//! Control plane and node together, in virtual time: what is true changes, what is told of it
//! comes late, twice, out of order between kinds or as a list, namespaces are taken down, the
//! switch starts anew at any instant, or the agent alone beside workers that go on, and packets are
//! on their way meanwhile, between any two steps of the agent.
//!
//! After every packet: what was sent is allowed by the raw objects of a snapshot in force, what
//! was allowed throughout was not dropped (NP-56), nothing passes before all is known (NP-58), and
//! connections follow their permission (NP-57) and never their address (NP-54).
//!
//! What a snapshot says is what the agent was told until then, in that order, as the oracle
//! understands it. So it is with a namespace that goes (NP-55): its policies isolate until its pods
//! are gone where their deletion is told after the namespace is told to be terminating. Told
//! before, a deletion opens, as it must where nothing else is known (NP-51), and whoever is opened
//! by it was opened by what was told.

mod agents;
mod heirs;
mod history;
mod view;

use lockgate_tests::api::{ApiServer, Key};
use lockgate_tests::worlds::{Choices, World as Objects};
use serde_json::Value;

use crate::seeds::Seeds;
use agents::{Agent, Product, Renewed};
use history::{History, Tally};

/// Histories tried by default, and what happens in each.
const HISTORIES: u64 = 80;
const EVENTS: usize = 300;

#[test]
fn every_packet_meets_a_snapshot_that_was_told_and_none_is_lost_to_a_change() {
    let seeds = Seeds::usually(HISTORIES);
    let floor = Tally {
        packets: 26_000,
        in_flight: 650,
        going: 7200,
        departed: 900,
        rejudged: 560,
        turned: 60,
        heirs: 4200,
        unsynced: 2500,
        restarts: 120,
    };
    let tally = histories::<Product>(&seeds);
    println!("{tally:?}, {}", seeds.told());
    assert!(tally.reaches(&floor) || !seeds.is_usual(), "{tally:?}, and not {floor:?}");
}

/// The agent begins anew beside workers that go on (NP-58).
#[test]
fn an_agent_that_begins_anew_leaves_the_last_good_tables_and_connections() {
    let seeds = Seeds::usually(HISTORIES * 2 / 3);
    let floor = Tally {
        packets: 13_000,
        in_flight: 330,
        going: 2500,
        departed: 170,
        rejudged: 400,
        turned: 45,
        heirs: 1900,
        unsynced: 650,
        restarts: 130,
    };
    let tally = histories::<Renewed>(&seeds);
    println!("{tally:?}, {}", seeds.told());
    assert!(tally.reaches(&floor) || !seeds.is_usual(), "{tally:?}, and not {floor:?}");
}

/// What histories tried: a test holds it to a floor, for what is not tried cannot fail.
fn histories<A: Agent>(seeds: &Seeds) -> Tally {
    let mut all = Tally::default();
    while let Some(seed) = seeds.next() {
        all.add(&history::<A>(seed));
    }
    all
}

/// One history; what was tried in it.
fn history<A: Agent>(seed: u64) -> Tally {
    let mut choices = Choices::from_seed(seed);
    // Objects of several worlds share their names: one replaces the other.
    let pool: Vec<Value> = (0..3).flat_map(|_| Objects::sound(&mut choices).objects).collect();
    let workers = 1 + u8::try_from(choices.below(3)).unwrap();
    let mut api = ApiServer::default();
    for object in pool.iter().filter(|_| choices.chance(50)) {
        api.set(object);
    }
    let mut history = History::<A>::new(workers, seed);
    for _ in 0..EVENTS {
        match choices.below(100) {
            0..15 => api.set(&choices.pick(&pool)),
            15..22 => {
                let keys: Vec<Key> = api.truth().keys().cloned().collect();
                if !keys.is_empty() {
                    api.remove(&choices.pick(&keys));
                }
            }
            22..30 => api.take_down(&mut choices),
            _ => history.event(&mut api, &mut choices),
        }
    }
    history.end(&mut api, &mut choices);
    history.tally
}
