//! Random worlds, each choice a byte: the product against the oracle, and the kept tables against
//! fresh ones while objects of two worlds come and go.

#![no_main]
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use lockgate_control::manifest::{Object, read_text};
use lockgate_tests::oracle::Cluster;
use lockgate_tests::product::Product;
use lockgate_tests::twins::{Edges, Event, Twins};
use lockgate_tests::worlds::{Choices, World, sample};

/// Questions to each world, and what happens to it.
const QUESTIONS: usize = 16;
const EVENTS: usize = 6;
/// Where tables are compared.
const ADDRESSES_MAX: usize = 24;
const PORTS_MAX: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::from_bytes(bytes);
    let worlds = [world(&mut choices), world(&mut choices)];
    ask(&worlds[0], &mut Choices::from_seed(bytes.len() as u64));
    change([&worlds[0], &worlds[1]], &mut choices);
});

fn world(choices: &mut Choices) -> World {
    if choices.chance(50) { World::broken(choices) } else { World::sound(choices) }
}

fn ask(world: &World, choices: &mut Choices) {
    let text = world.to_text();
    let product = Product::of_text(&text).unwrap();
    let cluster = Cluster { objects: world.objects.clone() };
    for question in sample(world, QUESTIONS, choices) {
        let what = product.disagreement(&cluster, &question);
        assert_eq!(what, None, "{question:?}\n{text}");
    }
}

/// The first world is there at once; then objects of both come and go.
fn change(worlds: [&World; 2], choices: &mut Choices) {
    let mut edges = Edges::default();
    worlds.iter().flat_map(|world| &world.objects).for_each(|object| edges.collect(object));
    few(&mut edges.addresses, ADDRESSES_MAX);
    few(&mut edges.ports, PORTS_MAX);
    edges.ports.extend([0, 65535]);
    let outside = ["203.0.113.7", "fd01::1"].map(|text| text.parse::<IpAddr>().unwrap());
    edges.addresses.extend(outside);
    let read = |world: &World| read_text("", &world.to_text()).unwrap().objects;
    let [old, new] = worlds.map(read);
    let set = |object: &Object| Event::Set(Box::new(object.clone()));
    let mut twins = Twins::new();
    let first: Vec<Event> = old.iter().map(set).collect();
    assert_eq!(twins.step(&first, &edges), None, "{first:?}");
    let pool = [old, new].concat();
    for _ in 0..choices.below(EVENTS) {
        let object = choices.pick(&pool);
        let event = match choices.below(8) {
            0..=3 => set(&object),
            4 | 5 => Event::Remove(object.metadata().key.clone()),
            6 => Event::Move,
            _ => Event::SetFile("a.yaml", vec![object]),
        };
        let what = twins.step(std::slice::from_ref(&event), &edges);
        assert_eq!(what, None, "{event:?} after {first:?}");
    }
}

/// Leaves about so many, evenly spread.
fn few<T: Ord + Copy>(all: &mut BTreeSet<T>, count: usize) {
    *all = all.iter().copied().step_by(all.len().div_ceil(count).max(1)).collect();
}
