use super::super::sample::{policy as read, selection_words, shape, words};
use super::*;
use crate::manifest::{Object, read_text};
use crate::sample::policy;

fn lowered(spec: &str) -> OrderedPolicy {
    let found = read_text("t.yaml", &policy("x/p", spec)).unwrap();
    match found.objects.into_iter().next() {
        Some(Object::Policy(policy)) => lower(&policy, None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn np_05_an_isolated_direction_without_rules_has_none_and_the_tier_denies() {
    let policy = lowered("podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress]");
    assert_eq!(shape(&policy), "i: e:");
    assert_eq!(selection_words(&policy.subject), "in x with app == \"web\"");
    assert_eq!(policy.tier.as_deref(), Some("default"));
    assert_eq!((policy.order, policy.staged), (Order::of(1000), None));
    assert_eq!(shape(&lowered("policyTypes: [Egress]")), "e:");
}

#[test]
fn np_09_peers_and_ports_become_sides_and_traffic() {
    for (rule, wanted) in [
        ("{}", "allow [] {}"),
        ("{from: [], ports: []}", "allow [] {}"),
        ("{from: [{podSelector: {}}]}", "allow [in x] {}"),
        ("{from: [{namespaceSelector: {}}]}", "allow [where has(projectcalico.org/namespace)] {}"),
        (
            "{from: [{namespaceSelector: {matchLabels: {a: b}}, podSelector: {matchExpressions: \
             [{key: k, operator: NotIn, values: [v]}]}}]}",
            "allow [where pcns.a == \"b\" with k not in {\"v\"}] {}",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {podSelector: {}}]}",
            "allow [10.0.0.0/8 !10.1.0.0/16] [in x] {}",
        ),
        (
            "{ports: [{}, {protocol: UDP}, {port: 80, endPort: 90}, {port: web, protocol: SCTP}]}",
            "allow [] {6} {17} {6 to 80:90} {132 to web}",
        ),
    ] {
        let policy = lowered(&format!("ingress: [{rule}]"));
        assert_eq!(words(&policy.ingress.unwrap()[0]), wanted, "{rule}");
    }
}

#[test]
fn np_59_a_broken_rule_matches_nothing_and_a_lost_policy_is_for_every_pod() {
    assert_eq!(shape(&lowered("ingress: [{form: []}, {}]")), "i:-a");
    let text = policy("x/p", "ingress: [{}]").replace("namespace: x", "namespace: [x]");
    let found = read_text("t.yaml", &text).unwrap();
    let Some(Object::Policy(lost)) = found.objects.first() else { panic!() };
    let lost = lower(lost, None);
    assert_eq!(
        (selection_words(&lost.subject).as_str(), shape(&lost).as_str()),
        ("anywhere", "i:-")
    );
}

#[test]
fn a_staged_one_is_read_as_the_enforced_one_and_says_what_is_to_become_of_it() {
    let kind = Kind::StagedKubernetesNetworkPolicy;
    for (spec, wanted, action, errors) in [
        ("podSelector: {}, ingress: [{}]", "i:a", StagedAction::Set, 0),
        ("stagedAction: Set, egress: [{}]", "i: e:a", StagedAction::Set, 0),
        ("stagedAction: Delete", "i:", StagedAction::Delete, 0),
        ("stagedAction: Learn", "i:", StagedAction::Learn, 0),
        ("stagedAction: Ignore", "i:", StagedAction::Ignore, 0),
        ("stagedAction: ''", "i:", StagedAction::Set, 0),
        ("stagedAction: set", "i:", StagedAction::Ignore, 1),
        ("stagedAction: 1", "i:", StagedAction::Ignore, 1),
    ] {
        let text = format!("kind: X\nmetadata: {{namespace: x, name: p}}\nspec: {{{spec}}}\n");
        let (policy, problems) = read(kind, &text);
        assert_eq!((shape(&policy).as_str(), policy.staged), (wanted, Some(action)), "{spec}");
        assert_eq!((problems.len(), policy.kind), (errors, kind), "{spec}: {problems:?}");
    }
}
