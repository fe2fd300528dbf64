//! Properties of random worlds.

use lockgate_tests::oracle::Cluster;
use lockgate_tests::worlds::{Choices, World, probes, sample};

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

#[test]
fn stats() {
    let (mut asked, mut allowed, mut isolated, mut rules, mut broken) = (0, 0, 0, 0, 0);
    let t = std::time::Instant::now();
    for seed in 0..500 {
        let world = World::broken(&mut Choices::from_seed(seed));
        let c = Cluster { objects: world.objects.clone() };
        broken += usize::from(!c.broken().is_empty());
        let mut ch = Choices::from_seed(seed);
        for q in sample(&world, 300, &mut ch) {
            let a = c.judge(&q).unwrap();
            asked += 1;
            allowed += usize::from(a.allows());
            isolated +=
                usize::from(!a.egress.isolating.is_empty() || !a.ingress.isolating.is_empty());
            rules += usize::from(!a.egress.allowing.is_empty() || !a.ingress.allowing.is_empty());
        }
    }
    println!(
        "{asked} asked {allowed} allowed {isolated} isolated {rules} by rule {broken} broken {:?} probes {}",
        t.elapsed(),
        probes(&World::sound(&mut Choices::from_seed(3))).len()
    );
}
