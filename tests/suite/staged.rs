//! What would decide were all in force that is staged: the oracle says it of a world in which it is.

use lockgate_dataplane::policy::ruleset::View;
use lockgate_tests::oracle::Cluster;
use lockgate_tests::product::Product;
use lockgate_tests::worlds::{Choices, World, sample};
use serde_json::{Value, json};

/// Worlds asked of.
const WORLDS: u64 = 120;
/// Questions asked of each.
const QUESTIONS: usize = 60;

/// A world in which some policies are staged, as it is and as it would be.
#[derive(Default)]
struct Staged {
    written: Vec<Value>,
    now: Vec<Value>,
    next: Vec<Value>,
    changed: usize,
}

impl Staged {
    /// Stages some of the policies of a world.
    fn of(world: &World, choices: &mut Choices) -> Self {
        let mut staged = Self::default();
        for object in &world.objects {
            let kind = object["kind"].as_str().unwrap_or_default();
            if kind.starts_with("Staged") {
                continue;
            }
            let is_policy = ["NetworkPolicy", "GlobalNetworkPolicy"].contains(&kind);
            match choices.below(if is_policy { 6 } else { 1 }) {
                1 => staged.add(object, choices),
                2 => staged.remove(object),
                3 => staged.replace(object),
                _ => staged.keep(object),
            }
        }
        staged
    }

    fn keep(&mut self, object: &Value) {
        for list in [&mut self.written, &mut self.now, &mut self.next] {
            list.push(object.clone());
        }
    }

    /// It is staged and not there yet.
    fn add(&mut self, object: &Value, choices: &mut Choices) {
        let is_plain = object["apiVersion"] == "networking.k8s.io/v1";
        if is_plain && choices.chance(50) {
            let mut annotated = object.clone();
            annotated["metadata"]["annotations"] = json!({ "lockgate.dev/staged": "true" });
            self.written.push(annotated);
        } else {
            self.written.push(as_staged(object, &object["spec"]));
        }
        self.next.push(object.clone());
        self.changed += 1;
    }

    /// It is there, and staged to go.
    fn remove(&mut self, object: &Value) {
        self.written.push(object.clone());
        self.now.push(object.clone());
        self.written.push(as_staged(object, &json!({ "stagedAction": "Delete" })));
        self.changed += 1;
    }

    /// It is there, and staged with one rule less in each direction.
    fn replace(&mut self, object: &Value) {
        let mut other = object.clone();
        for direction in ["ingress", "egress"] {
            if let Some(rules) = other["spec"][direction].as_array_mut().filter(|it| !it.is_empty())
            {
                rules.remove(0);
            }
        }
        self.written.push(as_staged(&other, &other["spec"]));
        self.written.push(object.clone());
        self.now.push(object.clone());
        self.next.push(other);
        self.changed += 1;
    }
}

/// What stages a policy of that name.
fn as_staged(object: &Value, spec: &Value) -> Value {
    let kind = object["kind"].as_str().unwrap();
    let (version, kind) = if object["apiVersion"] == "networking.k8s.io/v1" {
        (json!("projectcalico.org/v3"), "StagedKubernetesNetworkPolicy".to_owned())
    } else {
        (object["apiVersion"].clone(), format!("Staged{kind}"))
    };
    json!({ "apiVersion": version, "kind": kind, "metadata": object["metadata"], "spec": spec })
}

#[test]
fn what_would_decide_is_what_decides_once_it_is_in_force() {
    let (mut changed, mut differing) = (0, 0);
    for seed in 0..WORLDS {
        let mut choices = Choices::from_seed(seed);
        let world = World::tiered(&mut choices);
        let staged = Staged::of(&world, &mut choices);
        changed += staged.changed;
        let written = World { objects: staged.written };
        let product = Product::of_text(&written.to_text()).unwrap();
        let [now, next] = [staged.now, staged.next].map(|objects| Cluster { objects });
        for question in sample(&world, QUESTIONS, &mut choices) {
            let wrong = [(View::Now, &now), (View::Next, &next)]
                .into_iter()
                .find_map(|(view, cluster)| product.disagreement_in(view, cluster, &question));
            assert_eq!(wrong, None, "SEED={seed} {question:?}\n{}", written.to_text());
            let allows = |cluster: &Cluster| cluster.judge(&question).map(|one| one.allows()).ok();
            differing += usize::from(allows(&now) != allows(&next));
        }
    }
    // Were nothing staged that matters, all would agree.
    assert!(changed > 200 && differing > 200, "{changed} {differing}");
}
