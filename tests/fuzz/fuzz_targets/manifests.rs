//! Any text as a file of manifests: read, taken in, resolved, compiled.
//!
//! | of | is held |
//! |---|---|
//! | any text | it is read the same twice; every problem says what and what to do |
//! | what is read | what is reported broken opens nothing and isolates (NP-59); kept tables say what fresh ones say |
//! | what another YAML reader reads too | without an error, both have read the same objects |
//! | pods and namespaces without an error | broken is what the oracle finds broken; every verdict and cause is the oracle's |

#![no_main]
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use lockgate_control::manifest::{
    FileObjects, NetworkPolicy, Object, Origin, Problem, Severity, escape, read_text,
};
use lockgate_dataplane::policy::ruleset::Direction;
use lockgate_tests::oracle::{Cluster, key};
use lockgate_tests::product::Product;
use lockgate_tests::twins::{Edges, Event, Twins};
use lockgate_tests::worlds::{Choices, World, sample};
use serde_json::Value;

const FILE: &str = "m.yaml";
/// Questions to each file, and addresses that tables are compared at.
const QUESTIONS: usize = 24;
const ADDRESSES_MAX: usize = 40;
const PORTS_MAX: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let read = read_text(FILE, text);
    assert_eq!(read, read_text(FILE, text), "read otherwise the second time");
    assert_eq!(read.is_ok(), read_text("m.json", text).is_ok(), "the name matters");
    let found = match read {
        Err(problem) => return is_told(&problem),
        Ok(found) => found,
    };
    found.problems.iter().for_each(is_told);
    is_shut_where_broken(&found);
    let known = Cluster::from_text(text).unwrap_or_default();
    twins_agree(&found, &known.objects);
    if known.objects.is_empty() || !known.objects.iter().all(is_used) {
        return;
    }
    let rewritten = known.to_text();
    if let Ok(again) = read_text(FILE, &rewritten) {
        // Merge keys are of YAML 1.1: the other reader takes them for names.
        if !found.problems.iter().any(is_error) && !text.contains("<<") {
            assert_eq!(meaning(&found), meaning(&again), "another reader reads\n{rewritten}");
        }
        oracle_agrees(&again, &known, &rewritten);
    }
});

fn is_error(problem: &Problem) -> bool {
    problem.severity == Severity::Error
}

/// Whoever reads it knows what is meant, what is wrong and what to do, and sees no raw control.
fn is_told(problem: &Problem) {
    let (file, line) = (problem.file.is_some(), problem.to_string());
    assert!(file && !problem.message.is_empty() && !problem.remedy.is_empty(), "{problem:?}");
    assert!(!problem.object.is_empty() || is_error(problem), "{problem:?}");
    // What is no object is told by its place: in the file, or in a List.
    let is_placed = problem.field.is_empty() || problem.field.starts_with("items[");
    assert!(!problem.object.is_empty() || is_placed, "{problem:?}");
    assert!(!line.chars().any(char::is_control), "{line:?}");
}

/// A policy of an error opens less and isolates as much: by the field that the error names.
fn is_shut_where_broken(found: &FileObjects) {
    for object in &found.objects {
        let Object::Policy(policy) = object else { continue };
        let name = escape(&policy.metadata.key.to_string());
        let of_name = |other: &&Object| escape(&other.metadata().key.to_string()) == name;
        if found.objects.iter().filter(of_name).count() > 1 {
            continue;
        }
        let errors = found.problems.iter().filter(|one| is_error(one) && one.object == name);
        for problem in errors {
            is_shut(policy, problem);
        }
    }
}

fn is_shut(policy: &NetworkPolicy, problem: &Problem) {
    let isolates = [policy.ingress.is_some(), policy.egress.is_some()];
    let field = problem.field.as_str();
    if field == "spec" || is_within(field, "spec.podSelector") {
        assert!(policy.subjects.requirements().is_empty(), "{problem} {policy:?}");
        for direction in [Direction::Ingress, Direction::Egress] {
            let opens = policy.rules(direction).unwrap_or_default().iter().any(Option::is_some);
            assert!(!opens, "{problem} {policy:?}");
        }
    }
    if field == "spec" || is_within(field, "spec.policyTypes") {
        assert_eq!(isolates, [true, true], "{problem} {policy:?}");
    }
    for (name, direction) in
        [("spec.ingress", Direction::Ingress), ("spec.egress", Direction::Egress)]
    {
        let Some(rest) = field.strip_prefix(name) else { continue };
        let rules = policy.rules(direction).unwrap_or_default();
        match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            // Of a direction that does not count there are no rules.
            Some((index, _)) => {
                let rule = rules.get(index.parse::<usize>().unwrap());
                assert!(rule.is_none_or(Option::is_none), "{problem} {policy:?}");
            }
            None if rest.is_empty() => assert!(rules.is_empty(), "{problem} {policy:?}"),
            // Another field, which begins alike.
            None => assert!(rules.iter().all(Option::is_none), "{problem} {policy:?}"),
        }
    }
}

/// Whether a field is another or in it, and does not only begin alike.
fn is_within(field: &str, other: &str) -> bool {
    field.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
}

/// The file comes, loses an object, is whole again, and goes.
fn twins_agree(found: &FileObjects, known: &[Value]) {
    let mut edges = Edges::default();
    for object in known {
        edges.collect(object);
    }
    for object in &found.objects {
        if let Object::Pod(pod) = object {
            edges.addresses.extend(pod.addresses.iter());
        }
    }
    edges.addresses = edges.addresses.into_iter().take(ADDRESSES_MAX).collect();
    edges.addresses.extend("203.0.113.7".parse::<IpAddr>());
    edges.ports = edges.ports.into_iter().take(PORTS_MAX).chain([0, 65535]).collect();
    let mut twins = Twins::new();
    for step in 0..4 {
        let events = match found.objects.first() {
            Some(first) if step == 1 => vec![Event::Remove(first.metadata().key.clone())],
            None if step == 1 => continue,
            _ => vec![],
        };
        let _effect = match step {
            0 | 2 => twins.agent.inventory.set_file(FILE, found.clone()),
            3 => twins.agent.inventory.remove_file(FILE),
            _ => lockgate_control::inventory::Effect::Nothing,
        };
        assert_eq!(twins.step(&events, &edges), None, "step {step} of {found:?}");
        twins.agent.inventory.problems().iter().filter(|one| one.file.is_some()).for_each(is_told);
    }
}

/// Whether both readers know the kind by its exact name.
fn is_used(object: &Value) -> bool {
    let word = |name| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let used = [("v1", "Pod"), ("v1", "Namespace"), ("networking.k8s.io/v1", "NetworkPolicy")];
    used.contains(&(word("apiVersion"), word("kind")))
}

/// The objects without their places.
fn meaning(found: &FileObjects) -> Vec<Object> {
    let mut objects = found.objects.clone();
    for object in &mut objects {
        object.metadata_mut().origin = Origin { file: "".into(), index: 0, line: 0 };
    }
    objects
}

fn oracle_agrees(read: &FileObjects, cluster: &Cluster, text: &str) {
    let objects = &cluster.objects;
    let keys: BTreeSet<_> = objects.iter().map(key).collect();
    // Of the spec itself: `spec:cidr` beside it is another field, which the oracle does not look at.
    let is_within = |field: &str| {
        field
            .strip_prefix("spec")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let is_of_spec = |problem: &Problem| {
        // One whose own name has a point in it stands beside the spec too.
        let is_beside = problem.message.contains("is not a field of a NetworkPolicy");
        problem.object.starts_with("NetworkPolicy ") && is_within(&problem.field) && !is_beside
    };
    let errors: Vec<_> = read.problems.iter().filter(|problem| is_error(problem)).collect();
    if keys.len() < objects.len() || !errors.iter().all(|problem| is_of_spec(problem)) {
        return;
    }
    let broken = cluster.broken();
    for part in &broken {
        let name = escape(&format!("NetworkPolicy {}", part.policy));
        let told = |one: &&Problem| one.object == name && one.field.starts_with(&part.field);
        assert!(errors.iter().any(told), "{part:?} is not told: {errors:?}\n{text}");
    }
    for problem in errors {
        let known = broken.iter().any(|part| {
            let (field, other) = (&problem.field, &part.field);
            let name = escape(&format!("NetworkPolicy {}", part.policy));
            problem.object == name && (field.starts_with(other) || other.starts_with(field))
        });
        assert!(known, "{problem} is unknown to the oracle: {broken:?}\n{text}");
    }
    let product = Product::of_text(text).unwrap();
    let world = World { objects: cluster.objects.clone() };
    for question in sample(&world, QUESTIONS, &mut Choices::from_seed(text.len() as u64)) {
        let what = product.disagreement(cluster, &question);
        assert_eq!(what, None, "{question:?}\n{text}");
    }
}
