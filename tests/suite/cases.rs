//! Every folder of `tests/cases`, run by every judge that keeps no connections.

use std::path::Path;

use lockgate_tests::cases::{Action, Case, Send, outcome};
use lockgate_tests::oracle::Cluster;
use serde_json::Value;

#[test]
fn every_case_comes_out_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let cases = Case::read_all(&root).unwrap();
    assert!(cases.len() > 40, "only {} cases found in {}", cases.len(), root.display());
    let failures: Vec<String> = cases.iter().flat_map(run).collect();
    assert!(failures.is_empty(), "{} lines:\n{}", failures.len(), failures.join("\n"));
}

/// What came out otherwise than written, a line for each.
fn run(case: &Case) -> Vec<String> {
    let mut cluster = Cluster::from_text(&case.cluster).unwrap();
    let mut failures = Vec::new();
    for step in &case.steps {
        let place = format!("{}:{}", case.name, step.line);
        match &step.action {
            Action::Set(text) => {
                for object in Cluster::from_text(text).unwrap().objects {
                    cluster.objects.retain(|old| key(old) != key(&object));
                    cluster.objects.push(object);
                }
            }
            Action::Remove(kind, namespace, name) => {
                let before = cluster.objects.len();
                let gone = (kind.clone(), namespace.clone(), name.clone());
                cluster.objects.retain(|old| key(old) != gone);
                assert!(cluster.objects.len() < before, "{place}: nothing to remove");
            }
            Action::Send(send) if send.opens() => {
                failures.extend(judge(send, &cluster).into_iter().map(|e| format!("{place} {e}")));
            }
            Action::Send(_) => {}
        }
    }
    failures
}

fn judge(send: &Send, cluster: &Cluster) -> Vec<String> {
    let question = match send.question(cluster) {
        Ok(question) => question,
        Err(why) => return vec![why],
    };
    let answer = cluster.judge(&question).unwrap();
    let mut failures = Vec::new();
    let seen = outcome(answer.egress.allows(), answer.ingress.allows());
    if seen != send.outcome {
        failures.push(format!("oracle: written {}, judged {seen}: {answer:?}", send.outcome));
    }
    let differing = send.causes.iter().filter_map(|stated| stated.differs_from(&answer));
    failures.extend(differing.map(|e| format!("oracle: {e}")));
    failures
}

fn key(object: &Value) -> (String, String, String) {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = text("/kind");
    let namespace = match text("/metadata/namespace") {
        "" if kind != "Namespace" => "default",
        written => written,
    };
    (kind.to_owned(), namespace.to_owned(), text("/metadata/name").to_owned())
}
