//! Label selectors: a JSON list of a selector and up to four sets of labels.
//!
//! Ours against the oracle's reading of the same document: which ones are broken, which labels
//! match, and whom that isolates and lets in, as subject and as peer, by pods and by namespaces.

#![no_main]
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

use libfuzzer_sys::fuzz_target;
use lockgate_control::selector::{LabelSelector, Labels};
use lockgate_dataplane::packet::Protocol;
use lockgate_tests::oracle::{Cluster, End, Family, Question, selects};
use lockgate_tests::product::Product;
use serde_json::{Map, Value, json};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut written) = serde_json::from_slice::<Vec<Value>>(bytes)
        && !written.is_empty()
    {
        let selector = written.remove(0);
        let worn: Vec<_> = written.iter().take(4).filter_map(labels).collect();
        compare(&selector, &worn);
    }
});

/// A set of labels; other than text is no label.
fn labels(written: &Value) -> Option<Map<String, Value>> {
    let fields = written.as_object()?.iter();
    let texts = fields.filter(|(_, value)| value.is_string());
    Some(texts.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn compare(selector: &Value, worn: &[Map<String, Value>]) {
    // An absent selector of a policy means all; a null one is absent.
    let wanted = if selector.is_null() { json!({}) } else { selector.clone() };
    let is_broken = selects(&wanted, &Map::new()).is_err();
    let cluster = Cluster { objects: objects(selector, worn) };
    let text = cluster.to_text();
    let Ok(product) = Product::of_text(&text) else {
        // What nests too deep is not read at all.
        assert!(is_broken, "not read: {text}");
        return;
    };
    let told = product.policy_errors();
    let at = |(object, field): &(String, String)| {
        object == "x/subject" && field.starts_with("spec.podSelector")
    };
    assert_eq!(told.iter().any(at), is_broken, "{selector}: {told:?}");
    let policy = product.inventory().policies().find(|one| *one.metadata.key.namespace == *"x");
    let ours = &policy.unwrap().subjects;
    for labels in worn {
        matches(ours, &wanted, labels);
    }
    for question in questions(worn.len()) {
        let what = product.disagreement(&cluster, &question);
        assert_eq!(what, None, "{question:?}\n{text}");
    }
}

/// One that is broken is all of the namespace.
fn matches(ours: &LabelSelector, wanted: &Value, labels: &Map<String, Value>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let worn: Labels = labels.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    let expected = selects(wanted, labels).unwrap_or(true);
    assert_eq!(ours.matches(&worn), expected, "{wanted} {labels:?}");
    assert_eq!(ours.misses(&worn).is_empty(), expected, "{wanted} {labels:?}");
}

/// The selector as subject in `x`, and as two kinds of peer in `y`.
fn objects(selector: &Value, worn: &[Map<String, Value>]) -> Vec<Value> {
    let policy = |namespace: &str, name: &str, spec: Value| {
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": { "name": name, "namespace": namespace }, "spec": spec })
    };
    let pod = |namespace: &str, name: &str, ip: String, labels: &Value| {
        json!({ "apiVersion": "v1", "kind": "Pod", "status": { "podIP": ip },
                "metadata": { "name": name, "namespace": namespace, "labels": labels } })
    };
    let peers = json!({ "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [
        { "from": [{ "podSelector": selector, "namespaceSelector": {} }], "ports": [{ "port": 80 }] },
        { "from": [{ "namespaceSelector": selector }], "ports": [{ "port": 81 }] },
        { "from": [{ "podSelector": selector }], "ports": [{ "port": 82 }] },
    ] });
    let mut objects = vec![
        policy("x", "subject", json!({ "podSelector": selector, "policyTypes": ["Ingress"] })),
        policy("y", "peers", peers),
        pod("y", "target", "10.0.2.1".to_owned(), &json!({})),
    ];
    for (place, labels) in worn.iter().enumerate() {
        let (labels, number) = (Value::Object(labels.clone()), place + 1);
        objects.push(pod("x", &format!("p{place}"), format!("10.0.0.{number}"), &labels));
        objects.push(json!({ "apiVersion": "v1", "kind": "Namespace",
                             "metadata": { "name": format!("n{place}"), "labels": labels } }));
        objects.push(pod(&format!("n{place}"), "q", format!("10.0.1.{number}"), &json!({})));
    }
    objects
}

fn questions(sets: usize) -> Vec<Question> {
    let ask = |source: &End, target: &End, port| {
        let (source, target, protocol) = (source.clone(), target.clone(), Protocol::Tcp);
        Question { source, target, protocol, port, source_port: 1, family: Family::V4 }
    };
    let target = End::Pod("y".to_owned(), "target".to_owned());
    let mut questions = Vec::new();
    for place in 0..sets {
        let pod = End::Pod("x".to_owned(), format!("p{place}"));
        let other = End::Pod(format!("n{place}"), "q".to_owned());
        questions.push(ask(&target, &pod, 80));
        questions.extend([80, 81, 82].map(|port| ask(&pod, &target, port)));
        questions.push(ask(&other, &target, 81));
    }
    questions
}
