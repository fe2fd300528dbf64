//! Worlds of ordered policy: the oracle and the product must agree on the whole matrix.
//!
//! `SEED=n` repeats one world with every question; `seeds` tells how to have more of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use lockgate_tests::oracle::{By, Cluster, Question};
use lockgate_tests::product::Product;
use lockgate_tests::worlds::{Choices, World, matrix, probes, sample, shrink};
use serde_json::json;

use crate::seeds::Seeds;

/// Worlds asked of by default.
const WORLDS: u64 = 150;
/// Kinds of traffic of which the matrix is asked, of each world.
const KINDS: usize = 4;
/// Failures that are enough.
const FAILURES_MAX: usize = 3;

/// What was asked, and what became of it.
#[derive(Default)]
struct Tally {
    questions: AtomicU64,
    denied_by_rule: AtomicU64,
    allowed_by_rule: AtomicU64,
    denied_at_the_end: AtomicU64,
}

impl Tally {
    fn count(&self, cluster: &Cluster, question: &Question) {
        self.questions.fetch_add(1, Ordering::Relaxed);
        let Ok(answer) = cluster.judge(question) else { return };
        for side in [&answer.egress, &answer.ingress] {
            match side.by {
                By::Rule(_) => self.allowed_by_rule.fetch_add(1, Ordering::Relaxed),
                By::DenyRule(_) => self.denied_by_rule.fetch_add(1, Ordering::Relaxed),
                By::DefaultDeny => self.denied_at_the_end.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
        }
    }
}

/// The world of a seed: each third is broken.
fn world(seed: u64, choices: &mut Choices) -> World {
    if seed % 3 == 2 { World::tiered_and_broken(choices) } else { World::tiered(choices) }
}

/// The first question that they answer otherwise, and how.
fn judge(world: &World, questions: &[Question]) -> Result<(), (usize, String)> {
    let cluster = Cluster { objects: world.objects.clone() };
    let product = Product::of_text(&world.to_text()).map_err(|error| (0, error))?;
    for (place, question) in questions.iter().enumerate() {
        product.disagreement(&cluster, question).map_or(Ok(()), |what| Err((place, what)))?;
    }
    Ok(())
}

fn ask(seed: u64, world: &World, questions: &[Question]) -> Result<(), String> {
    let Err((place, _)) = judge(world, questions) else { return Ok(()) };
    let question = &questions[place..=place];
    // Without a name nobody can tell which policy it is.
    let has_names =
        |world: &World| world.objects.iter().all(|one| one["metadata"]["name"].is_string());
    let fails = |smaller: &World| has_names(smaller) && judge(smaller, question).is_err();
    let small = shrink(world, fails);
    let (_, what) = judge(&small, question).expect_err("the small world fails as the large");
    Err(format!("SEED={seed} {:?}\n{what}\n{}", question[0], small.to_text()))
}

#[test]
fn tiers_are_judged_as_the_oracle_reads_them() {
    let seeds = Seeds::usually(WORLDS);
    let tally = Tally::default();
    let work = || {
        let mut failures = Vec::new();
        while let Some(seed) = seeds.next().filter(|_| failures.len() < FAILURES_MAX) {
            let mut choices = Choices::from_seed(seed);
            let world = world(seed, &mut choices);
            let questions =
                if seeds.is_one() { probes(&world) } else { matrix(&world, KINDS, &mut choices) };
            let cluster = Cluster { objects: world.objects.clone() };
            questions.iter().step_by(16).for_each(|question| tally.count(&cluster, question));
            failures.extend(ask(seed, &world, &questions).err());
        }
        failures
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    let [questions, allowed, denied, ended] =
        [&tally.questions, &tally.allowed_by_rule, &tally.denied_by_rule, &tally.denied_at_the_end]
            .map(|number| number.load(Ordering::Relaxed));
    println!("of {questions} {allowed} {denied} {ended}, {}", seeds.told());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    // Worlds in which nothing meets anything would agree too.
    let least = questions / 20;
    assert!(!seeds.is_usual() || [allowed, denied, ended].iter().all(|number| *number > least));
}

/// Two ways of the oracle: what it says of policies of Kubernetes alone, it says through tiers.
#[test]
fn a_policy_that_selects_nobody_changes_nothing() {
    let nobody = json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": { "name": "nobody" },
        "spec": {
            "tier": "Admin",
            "priority": 0,
            "subject": { "namespaces": { "matchLabels": { "no": "one" } } },
            "ingress": [{ "action": "Deny", "from": [{ "namespaces": {} }] }],
        },
    });
    for seed in 0..200 {
        let mut choices = Choices::from_seed(seed);
        let world = World::sound(&mut choices);
        let plain = Cluster { objects: world.objects.clone() };
        let mut tiered = plain.clone();
        tiered.objects.push(nobody.clone());
        for question in sample(&world, 60, &mut choices) {
            let (one, other) = (plain.judge(&question), tiered.judge(&question));
            let causes = |answer: &lockgate_tests::oracle::Answer| {
                [&answer.egress, &answer.ingress].map(|side| side.by.clone())
            };
            let told =
                [one, other].map(|answer| answer.as_ref().map(causes).map_err(String::clone));
            assert_eq!(told[0], told[1], "SEED={seed} {question:?}");
        }
    }
}
