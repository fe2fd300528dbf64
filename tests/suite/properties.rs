//! Random worlds: the oracle and the product must agree on every question.
//!
//! `SEED=n` repeats one world with every question; `seeds` tells how to have more of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use lockgate_dataplane::packet::{FlowKey, Protocol};
use lockgate_tests::oracle::{Cluster, End, Family, Question, Side, key};
use lockgate_tests::worlds::{
    Choices, World, any_broken_world, any_sound_world, probes, sample, shrink,
};
use proptest::prelude::*;

use crate::seeds::Seeds;
use lockgate_tests::product::{Product, Row};

/// Worlds asked of by default, half of them broken.
const WORLDS: u64 = 3000;
/// Questions to each of them.
const QUESTIONS: usize = 400;
/// Questions to all of them together, at least: a world with few pods has fewer.
const QUESTIONS_MIN: u64 = 1_000_000;

/// The world of a seed: odd ones are broken.
fn world(seed: u64, choices: &mut Choices) -> World {
    if seed.is_multiple_of(2) { World::sound(choices) } else { World::broken(choices) }
}

/// Asks a world many questions; the first disagreement, made small.
fn ask(seed: u64, world: &World, questions: &[Question]) -> Result<(), String> {
    let judge = |world: &World, questions: &[Question]| -> Result<(), (usize, String)> {
        let cluster = Cluster { objects: world.objects.clone() };
        let product = Product::of_text(&world.to_text()).map_err(|error| (0, error))?;
        for (place, question) in questions.iter().enumerate() {
            product.disagreement(&cluster, question).map_or(Ok(()), |what| Err((place, what)))?;
        }
        Ok(())
    };
    let Err((place, _)) = judge(world, questions) else { return Ok(()) };
    let question = &questions[place..=place];
    let small = shrink(world, |smaller| judge(smaller, question).is_err());
    let (_, what) = judge(&small, question).expect_err("the small world fails as the large");
    Err(format!("SEED={seed} {:?}\n{what}\n{}", question[0], small.to_text()))
}

#[test]
fn the_product_agrees_with_the_oracle() {
    let seeds = Seeds::usually(WORLDS);
    let asked = AtomicU64::new(0);
    let work = || {
        let mut failures = Vec::new();
        while let Some(seed) = seeds.next().filter(|_| failures.len() <= 3) {
            let mut choices = Choices::from_seed(seed);
            let world = world(seed, &mut choices);
            let questions = if seeds.is_one() {
                probes(&world)
            } else {
                sample(&world, QUESTIONS, &mut choices)
            };
            asked.fetch_add(questions.len() as u64, Ordering::Relaxed);
            failures.extend(ask(seed, &world, &questions).err());
        }
        failures
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    let asked = asked.into_inner();
    println!("{asked} questions, {}", seeds.told());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(asked >= QUESTIONS_MIN || !seeds.is_usual(), "only {asked} questions");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    /// The same by proptest's own numbers, which shrink as a whole.
    #[test]
    fn the_product_agrees_on_shrinkable_worlds(
        sound in any_sound_world(),
        broken in any_broken_world(),
        seed in any::<u64>(),
    ) {
        for world in [sound, broken] {
            let questions = sample(&world, 60, &mut Choices::from_seed(seed));
            prop_assert_eq!(ask(seed, &world, &questions), Ok(()));
        }
    }
}

/// The matrix has every living pair that can meet, in order, and the oracle's verdicts.
#[test]
fn the_matrix_is_the_oracles_truth_table() {
    for seed in 0..400 {
        let mut choices = Choices::from_seed(seed);
        let world = world(seed, &mut choices);
        let product = Product::of_text(&world.to_text()).unwrap();
        let cluster = Cluster { objects: world.objects };
        let protocol = choices.pick(&Protocol::ALL);
        let ports: &[u16] =
            if protocol == Protocol::Other { &[47, 50] } else { &[80, 81, 53, 1, 65535] };
        let port = choices.pick(ports);
        let family = choices.pick(&[None, Some(Family::V4), Some(Family::V6)]);
        let expected = truth_table(&cluster, protocol, port, family);
        let what = format!("SEED={seed} {protocol:?} {port} {family:?}");
        assert_eq!(product.matrix(protocol, port, family), expected, "{what}");
    }
}

/// What a matrix asks of a protocol: of ICMP an echo request of that version of IP.
fn echo_or(protocol: Protocol, port: u16, family: Family) -> (Protocol, u16) {
    match (protocol, family) {
        (Protocol::Icmp, Family::V4) => (Protocol::Icmp, FlowKey::message(8, 0)),
        (Protocol::Icmp | Protocol::IcmpV6, Family::V6) => {
            (Protocol::IcmpV6, FlowKey::message(128, 0))
        }
        // `ICMPv6` over IPv4 is a protocol by its number.
        (Protocol::IcmpV6, Family::V4) => (Protocol::Other, 58),
        (other, _) => (other, port),
    }
}

fn truth_table(
    cluster: &Cluster,
    protocol: Protocol,
    port: u16,
    family: Option<Family>,
) -> Vec<Row> {
    let cell = |side: &Side| (side.allows(), side.allowing.first().cloned());
    let mut rows = Vec::new();
    for source in cluster.living() {
        for target in cluster.living() {
            let [from, to] = [&source, &target].map(|(ns, name)| format!("{ns}/{name}"));
            let own = cluster.addresses(&source.0, &source.1).into_iter().map(Family::of);
            let [source, target] = [source.clone(), target].map(|(ns, name)| End::Pod(ns, name));
            let families = own.filter(|own| family.is_none_or(|wanted| wanted == *own));
            let mut answers = families.filter_map(|family| {
                let (source, target) = (source.clone(), target.clone());
                let source_port = u16::MAX;
                let (protocol, port) = echo_or(protocol, port, family);
                cluster
                    .judge(&Question { source, target, protocol, port, source_port, family })
                    .ok()
            });
            rows.extend(answers.next().map(|answer| Row {
                from,
                to,
                allows: answer.allows(),
                sides: [cell(&answer.egress), cell(&answer.ingress)],
            }));
        }
    }
    rows
}

/// What is known does not depend on how it came to be known: a world that became another by
/// changes is judged as if it had always been so (NP-6, NP-50).
#[test]
fn a_world_that_changed_is_as_one_made_new() {
    for seed in 0..300 {
        let mut choices = Choices::from_seed(seed);
        let (old, new) = (world(seed, &mut choices), world(seed + 1, &mut choices));
        let mut product = Product::of_text(&old.to_text()).unwrap();
        let keys: Vec<_> = new.objects.iter().map(key).collect();
        for gone in old.objects.iter().map(key).filter(|key| !keys.contains(key)) {
            product.remove(gone.0, gone.1, gone.2);
        }
        product.set(&new.to_text()).unwrap();
        let cluster = Cluster { objects: new.objects.clone() };
        for question in sample(&new, 100, &mut choices) {
            let what = product.disagreement(&cluster, &question);
            assert_eq!(what, None, "SEED={seed} {question:?}");
        }
    }
}

/// What the oracle finds broken is reported at that place, and nothing sound is (NP-59).
#[test]
fn every_broken_part_is_reported_and_no_sound_one() {
    for seed in 0..400 {
        let world = world(seed, &mut Choices::from_seed(seed));
        let broken = Cluster { objects: world.objects.clone() }.broken();
        let reported = Product::of_text(&world.to_text()).unwrap().policy_errors();
        for part in &broken {
            let told = |(object, field): &(String, String)| {
                *object == part.policy && field.starts_with(&part.field)
            };
            assert!(reported.iter().any(told), "SEED={seed} {part:?} not in {reported:?}");
        }
        for (object, field) in &reported {
            let known = broken.iter().any(|part| {
                let both = field.starts_with(&part.field) || part.field.starts_with(field);
                part.policy == *object && both
            });
            assert!(known, "SEED={seed} {object} {field} reported, not in {broken:?}");
        }
    }
}

/// The text of a world means what its objects mean, in any order of them (NP-6).
#[test]
fn order_of_objects_never_matters() {
    for seed in 0..200 {
        let mut choices = Choices::from_seed(seed);
        let world = World::sound(&mut choices);
        let cluster = Cluster::from_text(&world.to_text()).unwrap();
        assert_eq!(cluster.objects, world.objects, "SEED={seed}");
        let mut reversed = cluster.clone();
        reversed.objects.reverse();
        for question in sample(&world, 40, &mut choices) {
            assert_eq!(cluster.judge(&question), reversed.judge(&question), "SEED={seed}");
        }
    }
}
