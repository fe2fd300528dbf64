//! Every field that is read of Pods, Namespaces and policies, written in every wrong way: it is
//! told by object and place, with what to do, and what cannot be known is not taken for absent.

use super::super::*;
use crate::sample::{namespace, pod, policy, problems};

/// A field of a manifest in place of another text, and where the error is told.
pub(super) type Row = (&'static str, &'static str);

/// An error for each row, of this object; the objects that came of them.
pub(super) fn told(object: &str, whole: &str, place: &str, rows: &[Row]) -> Vec<(String, Object)> {
    assert!(whole.contains(place), "{whole}");
    let mut read = Vec::new();
    for (odd, field) in rows {
        let text = whole.replace(place, odd);
        let said = problems(&text);
        let is_told = |one: &&Problem| one.severity == Severity::Error && one.field == *field;
        let one = said.iter().find(is_told).unwrap_or_else(|| panic!("{odd}: {said:?}"));
        assert!(object.is_empty() || one.object == object, "{odd}: {one}");
        assert!(!one.message.is_empty() && !one.remedy.is_empty(), "{odd}: {one}");
        read.push(((*odd).to_owned(), read_text("t.yaml", &text).unwrap().objects.remove(0)));
    }
    read
}

/// Labels as they are written wrong, under `metadata`.
pub(super) const LABELS: [Row; 13] = [
    ("labels: team=1", "metadata.labels"),
    ("labels: 5", "metadata.labels"),
    ("labels: true", "metadata.labels"),
    ("labels: []", "metadata.labels"),
    ("labels: {team: [x]}", "metadata.labels[team]"),
    ("labels: {team: {}}", "metadata.labels[team]"),
    ("labels: {team: null}", "metadata.labels[team]"),
    ("labels: {team: 1}", "metadata.labels[team]"),
    ("labels: {team: 0x1}", "metadata.labels[team]"),
    ("labels: {team: true}", "metadata.labels[team]"),
    ("labels: {team: 'a b'}", "metadata.labels[team]"),
    ("labels: {'te am': a}", "metadata.labels[te am]"),
    ("Labels: {team: a}", "metadata.Labels"),
];

#[test]
fn np_59_a_pod_that_cannot_be_known_is_told_and_denied() {
    let whole = pod("x/p", "10.0.0.1", "team: a");
    let unknown = |rows: &[Row], place: &str, object: &str| {
        for (odd, object) in told(object, &whole, place, rows) {
            let Object::Pod(pod) = object else { panic!("{odd}") };
            assert_eq!(pod.labels, None, "{odd}");
        }
    };
    unknown(&LABELS, "labels: {team: a}", "Pod x/p");
    unknown(
        &[
            ("spec: []", "spec"),
            ("spec: text", "spec"),
            ("spec: {hostNetwork: 'true'}", "spec.hostNetwork"),
            ("spec: {hostNetwork: 1}", "spec.hostNetwork"),
            ("spec: {hostNetwork: []}", "spec.hostNetwork"),
            ("spec: {hostnetwork: true}", "spec.hostnetwork"),
            ("spec: {hostNetwrok: true}", "spec.hostNetwrok"),
            ("Spec: {hostNetwork: true}", "Spec"),
            ("spec: {serviceAccountName: 7}", "spec.serviceAccountName"),
            ("spec: {serviceAccountName: [x]}", "spec.serviceAccountName"),
            ("spec: {serviceAccountName: a_b}", "spec.serviceAccountName"),
            ("spec: {serviceAccount: X}", "spec.serviceAccount"),
            ("spec: {serviceaccountname: a}", "spec.serviceaccountname"),
            ("spec: {serviceAcountName: a}", "spec.serviceAcountName"),
        ],
        "spec: {}",
        "Pod x/p",
    );
    unknown(
        &[
            ("phase: 1", "status.phase"),
            ("phase: []", "status.phase"),
            ("phase: succeeded", "status.phase"),
            ("phase: Done", "status.phase"),
            ("Phase: Succeeded", "status.Phase"),
        ],
        "phase: Running",
        "Pod x/p",
    );
    unknown(
        &[
            ("namespace: X", "metadata.namespace"),
            ("namespace: 7", "metadata.namespace"),
            ("namespace: [x]", "metadata.namespace"),
            ("namspace: x", "metadata.namspace"),
        ],
        "namespace: x",
        "",
    );
    let sound = problems(&whole);
    assert!(sound.iter().all(|one| one.severity == Severity::Notice), "{sound:?}");
}

#[test]
fn np_59_what_of_a_pod_cannot_be_used_is_told_and_not_used() {
    let whole = pod("x/p", "10.0.0.1", "team: a");
    for row in [("status: []", "status"), ("status: 5", "status")] {
        let status = "status: {phase: Running, hostIP: 192.0.2.1, podIPs: [{ip: 10.0.0.1}]}";
        for (odd, object) in told("Pod x/p", &whole, status, &[row]) {
            let Object::Pod(pod) = object else { panic!("{odd}") };
            assert!(pod.addresses.is_empty(), "{odd}");
        }
    }
    let ports = "spec: {containers: [{ports: [{name: a, containerPort: 1}]}, BAD]}";
    for (bad, field) in [
        ("5", "spec.containers[1]"),
        ("{ports: {}}", "spec.containers[1].ports"),
        ("{Ports: []}", "spec.containers[1].Ports"),
        ("{ports: [5]}", "spec.containers[1].ports[0]"),
        ("{ports: [{name: b}]}", "spec.containers[1].ports[0].containerPort"),
        ("{ports: [{name: B, containerPort: 1}]}", "spec.containers[1].ports[0].name"),
        ("{ports: [{name: 5, containerPort: 1}]}", "spec.containers[1].ports[0].name"),
        ("{ports: [{nmae: b, containerPort: 1}]}", "spec.containers[1].ports[0].nmae"),
        ("{ports: [{name: b, containerPort: '1'}]}", "spec.containers[1].ports[0].containerPort"),
        ("{ports: [{name: b, containerPort: 65536}]}", "spec.containers[1].ports[0].containerPort"),
        (
            "{ports: [{name: b, containerPort: 1, protocol: tcp}]}",
            "spec.containers[1].ports[0].protocol",
        ),
    ] {
        let text = whole.replace("spec: {}", &ports.replace("BAD", bad));
        let said = problems(&text);
        assert!(said.iter().any(|one| one.field == field), "{bad}: {said:?}");
        let Object::Pod(pod) = read_text("t.yaml", &text).unwrap().objects.remove(0) else {
            panic!("{bad}")
        };
        assert_eq!((&*pod.ports, pod.labels.is_some()), (&[][..], true), "{bad}");
    }
    told(
        "Pod x/p",
        &whole,
        "spec: {}",
        &[
            ("spec: {containers: {}}", "spec.containers"),
            ("spec: {initContainers: 5}", "spec.initContainers"),
            ("spec: {initContainers: [{restartPolicy: always}]}", RESTART),
            ("spec: {initContainers: [{restartPolicy: true}]}", RESTART),
        ],
    );
    told(
        "Pod x/p",
        &whole,
        "labels: {team: a}",
        &[("annotations: []", "metadata.annotations"), ("uid: [1]", "metadata.uid")],
    );
}

const RESTART: &str = "spec.initContainers[0].restartPolicy";

#[test]
fn np_59_a_namespace_that_cannot_be_known_is_told_and_unseen() {
    let whole = namespace("x", "team: a");
    let read = |rows: &[Row], place: &str, object: &str| -> Vec<(String, Namespace)> {
        let read = told(object, &whole, place, rows).into_iter();
        read.map(|(odd, object)| match object {
            Object::Namespace(namespace) => (odd, namespace),
            other => panic!("{odd}: {other:?}"),
        })
        .collect()
    };
    for (odd, namespace) in read(&LABELS, "labels: {team: a}", "Namespace x") {
        assert_eq!(namespace.labels, None, "{odd}");
    }
    let going = [
        ("labels: {}, deletionTimestamp: 5", "metadata.deletionTimestamp"),
        ("labels: {}}\nstatus: {phase: terminating", "status.phase"),
        ("labels: {}}\nstatus: {phase: []", "status.phase"),
        ("labels: {}}\nstatus: {Phase: Terminating", "status.Phase"),
        ("labels: {}}\nStatus: {phase: Terminating", "Status"),
    ];
    for (odd, namespace) in read(&going, "labels: {team: a}", "Namespace x") {
        assert!(namespace.is_terminating, "{odd}");
    }
    let nameless = [
        ("name: X", "metadata.name"),
        ("name: 7", "metadata.name"),
        ("name: [x]", "metadata.name"),
        ("Name: x", "metadata.name"),
    ];
    for (odd, namespace) in read(&nameless, "name: x", "") {
        assert!(namespace.metadata.key.is_lost(), "{odd}");
    }
    for kind in ["namespace", "NameSpace", "Namespaces", "Namspace"] {
        let text = whole.replace("kind: Namespace", &format!("kind: {kind}"));
        let found = read_text("t.yaml", &text).unwrap();
        let [Object::Namespace(one)] = found.objects.as_slice() else { panic!("{kind}") };
        assert_eq!(one.labels.as_ref().unwrap().get("team"), Some("a"));
        assert_eq!(found.problems[0].severity, Severity::Error, "{kind}");
    }
}

#[test]
fn np_59_a_policy_of_a_group_in_other_letters_isolates() {
    let whole = policy("x/p", "policyTypes: [Egress], egress: [{}]");
    for odd in [
        "NETWORKING.K8S.IO/v1",
        "Networking.k8s.io/v1",
        "networking.k8s.oi/v1",
        "networking.k8s.io/V1",
        "networking.k8s.io/v1beta1",
        "networking.k8s.io",
        "extensions/v1beta1",
        "v1",
        "''",
        "1",
        "[]",
    ] {
        let text = whole.replace("networking.k8s.io/v1", odd);
        let found = read_text("t.yaml", &text).unwrap();
        let [Object::Policy(one)] = found.objects.as_slice() else { panic!("{odd}: {found:?}") };
        assert_eq!((&one.ingress, &one.egress), (&None, &Some(vec![None])), "{odd}");
        assert_eq!(found.problems[0].severity, Severity::Error, "{odd}");
    }
    for other in ["cilium.io/v2", "crd.antrea.io/v1beta1"] {
        let found = read_text("t.yaml", &whole.replace("networking.k8s.io/v1", other)).unwrap();
        assert!(found.objects.is_empty() && found.stand_ins.is_empty(), "{other}");
    }
    // One that denies by saying nothing has none of the fields that policies are known by.
    let bare = policy("x/p", "").replace("NetworkPolicy", "NetworkPolcy") + &namespace("x", "");
    assert_eq!(read_text("t.yaml", &bare).unwrap().stand_ins.len(), 1);
}

#[test]
fn np_59_a_policy_that_may_be_of_any_namespace_isolates_everyone() {
    let whole = policy("x/p", "podSelector: {matchLabels: {a: b}}, ingress: [{}]");
    let rows = [
        ("namespace: X", "metadata.namespace"),
        ("namespace: 7", "metadata.namespace"),
        ("namespace: [x]", "metadata.namespace"),
        ("Namespace: x", "metadata.Namespace"),
        ("ns: x", "metadata.ns"),
    ];
    for (odd, object) in told("", &whole, "namespace: x", &rows) {
        let Object::Policy(policy) = object else { panic!("{odd}") };
        assert!(policy.metadata.key.is_lost(), "{odd}");
        assert!(policy.subjects.requirements().is_empty(), "{odd}");
        assert_eq!((&policy.ingress, &policy.egress), (&Some(vec![None]), &None), "{odd}");
    }
    // What is stated counts, whatever stands beside it.
    let beside = whole.replace("namespace: x", "namespace: x, ns: y");
    let Object::Policy(policy) = read_text("t.yaml", &beside).unwrap().objects.remove(0) else {
        panic!("{beside}")
    };
    assert_eq!(policy.metadata.key.to_string(), "NetworkPolicy x/p");
    assert_eq!(policy.ingress.unwrap().iter().flatten().count(), 1);
}

#[test]
fn np_59_a_third_policy_type_isolates_both_ways() {
    for (types, isolated, field) in [
        ("[Ingress, Ingress, Ingress]", [true, true], "spec.policyTypes[2]"),
        ("[Ingress, Egress, Ingress]", [true, true], "spec.policyTypes[2]"),
        ("[Ingress, Ingress]", [true, false], ""),
    ] {
        let text = policy("x/p", &format!("policyTypes: {types}, ingress: [{{}}]"));
        let found = read_text("t.yaml", &text).unwrap();
        let [Object::Policy(one)] = found.objects.as_slice() else { panic!("{types}") };
        assert_eq!([one.ingress.is_some(), one.egress.is_some()], isolated, "{types}");
        let fields: Vec<_> = found.problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields.concat(), field, "{types}");
    }
}
