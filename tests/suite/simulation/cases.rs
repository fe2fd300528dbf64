//! Every folder of `tests/cases`, packet by packet through simulated nodes.

use std::path::Path;

use lockgate_tests::cases::{Action, Case, Judge, Send};
use lockgate_tests::nodes::Nodes;
use lockgate_tests::oracle::Cluster;
use lockgate_tests::world::Shape;

use super::shape;

#[test]
fn every_case_comes_out_as_written_in_the_simulated_node() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let cases = Case::read_all(&root).unwrap();
    let mut sent = 0;
    let mut failures = Vec::new();
    for workers in [1, 2] {
        for case in cases.iter().filter(|case| case.has(Judge::Node)) {
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
    let (mut now_ms, mut count) = (0, 0);
    for step in &case.steps {
        nodes.advance_ms(step.at_ms.saturating_sub(now_ms));
        now_ms = now_ms.max(step.at_ms);
        match &step.action {
            Action::Set(text) => {
                cluster.set(text).expect("a manifest");
                nodes.set(text);
            }
            Action::Remove(kind, namespace, name) => {
                cluster.remove(kind, namespace, name);
                nodes.remove(kind, namespace, name);
            }
            Action::Send(send) => {
                let told = nodes.send(send, &cluster, step.line);
                count += usize::from(told.is_some());
                failures.extend(told.and_then(|seen| differs(case, step.line, send, seen)));
            }
            Action::Table(cells) => {
                for (number, (line, send)) in (1000..).zip(cells) {
                    let told = nodes.send(send, &cluster, number);
                    count += usize::from(told.is_some());
                    failures.extend(told.and_then(|seen| differs(case, *line, send, seen)));
                }
            }
        }
    }
    count
}

fn differs(case: &Case, line: usize, send: &Send, seen: &str) -> Option<String> {
    let told = || format!("{}/traffic.txt:{line} {send}, seen {seen}", case.name);
    (seen != send.outcome).then(told)
}
