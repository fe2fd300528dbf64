//! Every folder of `tests/cases`, packet by packet through simulated nodes.

use std::path::Path;

use lockgate_tests::cases::{Action, Case};
use lockgate_tests::nodes::Nodes;
use lockgate_tests::oracle::{Cluster, key};
use lockgate_tests::world::Shape;

use super::shape;

#[test]
fn every_case_comes_out_as_written_in_the_simulated_node() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let cases = Case::read_all(&root).unwrap();
    let mut sent = 0;
    let mut failures = Vec::new();
    for workers in [1, 2] {
        for case in &cases {
            sent += run(case, shape(workers), &mut failures);
        }
    }
    println!("{sent} packets of {} cases", cases.len());
    assert!(sent > 400, "only {sent} packets of cases entered a node");
    assert!(failures.is_empty(), "{} lines:\n{}", failures.len(), failures.join("\n"));
}

/// Runs a case; how many of its packets entered a node.
fn run(case: &Case, shape: Shape, failures: &mut Vec<String>) -> usize {
    let mut cluster = Cluster::from_text(&case.cluster).expect("cluster.yaml is YAML");
    let mut nodes = Nodes::of(case, shape);
    let (mut now_ms, mut sent) = (0, 0);
    for step in &case.steps {
        nodes.advance_ms(step.at_ms.saturating_sub(now_ms));
        now_ms = now_ms.max(step.at_ms);
        match &step.action {
            Action::Set(text) => {
                for object in Cluster::from_text(text).expect("a manifest").objects {
                    cluster.objects.retain(|old| key(old) != key(&object));
                    cluster.objects.push(object);
                }
                nodes.set(text);
            }
            Action::Remove(kind, namespace, name) => {
                let gone = (kind.as_str(), namespace.as_str(), name.as_str());
                cluster.objects.retain(|old| key(old) != gone);
                nodes.remove(kind, namespace, name);
            }
            Action::Send(send) => {
                let Some(seen) = nodes.send(send, &cluster, step.line) else { continue };
                sent += 1;
                if seen != send.outcome {
                    let (name, line) = (&case.name, step.line);
                    let written = &send.outcome;
                    failures
                        .push(format!("{name}/traffic.txt:{line} written {written}, seen {seen}"));
                }
            }
        }
    }
    sent
}
