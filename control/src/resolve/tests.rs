use std::collections::BTreeSet;

use crate::explain::AskedProtocol;
use crate::policy::IpProtocol;
use lockgate_dataplane::policy::compile;
use proptest::prelude::*;

use super::*;
use crate::explain::{self, Request, Subject, Verdict};
use crate::matrix::{MatrixRequest, matrix};
use crate::sample::{inventory, namespace, pod, pod_with, policy, ports, small};

fn resolved(text: &str) -> Resolved {
    resolve(&inventory(text))
}

/// The names of a set's pods, and its blocks.
fn named_set(resolved: &Resolved, id: SetId) -> Vec<String> {
    let set = &resolved.ruleset.sets[id.0 as usize];
    let pods = set.pods.iter().map(|pod| {
        let pod = &resolved.pods[pod.0 as usize];
        format!("{}/{}", pod.namespace, pod.name)
    });
    pods.chain(set.blocks.iter().map(|block| block.cidr.to_string())).collect()
}

#[test]
fn pods_are_sorted_and_only_those_that_live() {
    let text = pod("y/b", "10.0.0.1", "")
        + &pod("x/c", "10.0.0.2", "")
        + &pod("x/done", "10.0.0.3", "").replace("Running", "Succeeded")
        + &pod("x/host", "192.0.2.1", "").replace("spec: {}", "spec: {hostNetwork: true}")
        + "apiVersion: v1\nkind: Pod\nmetadata: {name: lost}\n---\n";
    let seen = resolved(&text);
    let names: Vec<_> = seen.pods.iter().map(|pod| &*pod.name).collect();
    assert_eq!(names, ["c", "b"]);
    for (pod, view) in seen.ruleset.pods.iter().zip(&seen.pods) {
        assert_eq!((pod.endpoint, &pod.addresses), (view.endpoint, &view.addresses));
    }
}

#[test]
fn equal_sets_are_one_set_whoever_means_them() {
    let peers = "ingress: [{from: [{podSelector: {matchLabels: {app: a}}}]}]";
    let other = "ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: In, \
                 values: [a]}]}}]}]";
    let text = small() + &policy("x/p", peers) + &policy("x/q", other);
    let seen = resolved(&text);
    let sets: BTreeSet<_> = seen.ruleset.sets.iter().map(|set| &set.pods).collect();
    assert_eq!(sets.len(), seen.ruleset.sets.len());
    assert_eq!(seen.ruleset.sets.len(), 2, "the subjects and the peers");
}

#[test]
fn np_12_namespaces_between_those_that_are_meant_are_not() {
    let mut text = String::new();
    for (number, space) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        text += &namespace(space, if "acd".contains(space) { "team: t" } else { "" });
        text += &pod(&format!("{space}/p"), &format!("10.0.0.{}", number + 1), "");
        text += &pod(&format!("{space}/q"), &format!("10.0.1.{}", number + 1), "");
    }
    let peers = "ingress: [{from: [{namespaceSelector: {matchLabels: {team: t}}}]}]";
    let seen = resolved(&(text + &policy("e/p", peers)));
    let rule = &seen.ruleset.policies[0].ingress.as_ref().unwrap()[0];
    let Peers::Sets(sets) = &rule.peers else { panic!("{rule:?}") };
    assert_eq!(named_set(&seen, sets[0]), ["a/p", "a/q", "c/p", "c/q", "d/p", "d/q"]);
}

#[test]
fn np_22_an_ingress_rule_with_names_is_split_by_number_and_keeps_its_place() {
    let more = pod_with("x/d", "10.0.1.4", "", &ports("{name: web, containerPort: 80}"));
    let rules = "ingress: [null, {ports: [{port: web}, {port: 1, endPort: 9}]}]";
    let seen = resolved(&(small() + &more + &policy("x/p", rules)));
    let rules = seen.ruleset.policies[0].ingress.as_ref().unwrap();
    let told: Vec<_> = rules
        .iter()
        .map(|rule| {
            let Ports::Ranges(ranges) = &rule.ports else { panic!("{rule:?}") };
            let whom = rule.subjects.map(|set| named_set(&seen, set)).unwrap_or_default();
            (rule.index, whom.join(" "), ranges[0].first, ranges[0].last)
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, "x/b x/d".to_owned(), 80, 80),
            (1, "x/a".to_owned(), 8080, 8080),
            (1, String::new(), 1, 9),
        ]
    );
}

#[test]
fn np_22_a_name_behind_a_block_counts_for_the_addresses_in_it_only() {
    let both = "apiVersion: v1\nkind: Pod\nmetadata: {name: d, namespace: x}\nspec: {containers: \
                [{ports: [{name: web, containerPort: 80}]}]}\nstatus: {podIPs: [{ip: 10.0.0.1}, \
                {ip: 'fd00::1'}]}\n---\n";
    let rule = "egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: web}]}]";
    let seen = resolved(&(both.to_owned() + &policy("x/p", rule)));
    let rules = seen.ruleset.policies[0].egress.as_ref().unwrap();
    let Peers::Sets(sets) = &rules[0].peers else { panic!("{rules:?}") };
    assert_eq!(named_set(&seen, sets[0]), ["10.0.0.1/32"]);
}

#[test]
fn pods_that_share_an_address_are_selected_by_one_policy_only() {
    let text = small() + &pod("y/twin", "10.0.1.1", "app: a") + &policy("x/p", "ingress: [{}]");
    let seen = resolved(&text);
    let denied = &seen.ruleset.policies[0];
    assert_eq!(&*denied.name, DENIED_POLICY);
    assert_eq!(named_set(&seen, denied.subjects), ["x/a", "y/twin"]);
    assert_eq!(named_set(&seen, seen.ruleset.policies[1].subjects), ["x/b"]);
    let addresses: Vec<_> = seen.ruleset.pods.iter().flat_map(|pod| &*pod.addresses).collect();
    let distinct: BTreeSet<_> = addresses.iter().collect();
    assert_eq!(addresses.len(), distinct.len(), "no address occurs twice");
}

#[test]
fn an_interface_that_two_pods_claim_is_neithers() {
    let on = |name: &str, address: &str, interface: &str| {
        pod(name, address, "").replace(
            "labels:",
            &format!("annotations: {{lockgate.dev/interface: {interface}}}, labels:"),
        )
    };
    let text = on("x/a", "10.0.0.1", "lg0") + &on("x/b", "10.0.0.2", "lg0");
    let seen = resolved(&(text + &on("x/c", "10.0.0.3", "lg1")));
    let interfaces: Vec<_> = seen.pods.iter().map(|pod| pod.interface.as_deref()).collect();
    assert_eq!(interfaces, [None, None, Some("lg1")]);
}

#[test]
fn np_40_the_nodes_addresses_are_those_of_pods_with_an_interface() {
    let local = pod("x/a", "10.0.0.1", "")
        .replace("labels:", "annotations: {lockgate.dev/interface: lg0}, labels:");
    let far = pod("x/b", "10.0.0.2", "").replace("192.0.2.1", "192.0.2.2");
    let agent = pod("x/agent", "192.0.2.9", "").replace("spec: {}", "spec: {hostNetwork: true}");
    let seen = resolved(&(local.clone() + &far + &agent));
    let told: Vec<_> = seen.node_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["192.0.2.1", "192.0.2.9"]);
    // What a pod has is no node's: to be from the own node opens everything.
    let thief = pod("x/thief", "192.0.2.1", "").replace("hostIP: 192.0.2.1", "hostIP: 192.0.2.2");
    let seen = resolved(&(local + &far + &agent + &thief));
    let told: Vec<_> = seen.node_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["192.0.2.9"]);
}

#[test]
fn a_large_cluster_is_resolved_without_looking_at_every_pod_for_every_policy() {
    let mut text = String::new();
    for space in 0..100 {
        for one in 0..20 {
            let address = format!("10.{space}.0.{one}");
            text += &pod(&format!("n{space}/p{one}"), &address, &format!("app: a{one}"));
        }
        for one in 0..50 {
            let rules = format!(
                "podSelector: {{matchLabels: {{app: a{one}}}}}, ingress: [{{from: \
                 [{{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: a{one}}}}}}}]}}]"
            );
            text += &policy(&format!("n{space}/q{one}"), &rules);
        }
    }
    let inventory = inventory(&text);
    let seen = resolve(&inventory);
    assert_eq!((seen.pods.len(), seen.ruleset.policies.len()), (2000, 5000));
    // 20 peers, 2000 subjects, and the empty set: one for each that differs.
    assert_eq!(seen.ruleset.sets.len(), 2021);
}

const LABELS: [&str; 3] = ["app: a", "app: b", "tier: t"];
const PORTS: [u16; 3] = [80, 81, 8080];

fn any_selector() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{}".to_owned()),
        prop::sample::select(&LABELS[..]).prop_map(|label| format!("{{matchLabels: {{{label}}}}}")),
        (
            prop::sample::select(&["app", "tier", "team"][..]),
            prop::sample::select(
                &[
                    "In, values: [a]",
                    "In, values: [a, x]",
                    "NotIn, values: [a, y]",
                    "Exists",
                    "DoesNotExist",
                    "Equals"
                ][..]
            )
        )
            .prop_map(|(key, rest)| format!(
                "{{matchExpressions: [{{key: {key}, operator: {rest}}}]}}"
            )),
        prop::sample::select(&["x", "y", "z"][..])
            .prop_map(|team| format!("{{matchLabels: {{team: {team}}}}}")),
    ]
}

fn any_peer() -> impl Strategy<Value = String> {
    prop_oneof![
        any_selector().prop_map(|one| format!("{{podSelector: {one}}}")),
        any_selector().prop_map(|one| format!("{{namespaceSelector: {one}}}")),
        (any_selector(), any_selector()).prop_map(|(spaces, pods)| format!(
            "{{namespaceSelector: {spaces}, podSelector: {pods}}}"
        )),
        prop::sample::select(
            &[
                "{ipBlock: {cidr: 0.0.0.0/0}}",
                "{ipBlock: {cidr: 10.0.1.9/24}}",
                "{ipBlock: {cidr: 10.0.0.0/16, except: [10.0.2.0/24, 10.0.1.1/32]}}",
                "{ipBlock: {cidr: 'fd00::/16', except: ['fd00::2:0/112']}}",
                "{ipBlock: {cidr: '::/0'}}",
                "{ipBlock: {cidr: 10.0.0.0}}",
            ][..]
        )
        .prop_map(str::to_owned),
    ]
}

fn any_port() -> impl Strategy<Value = String> {
    let which = prop::sample::select(
        &["", "port: 80", "port: 81", "port: 80, endPort: 8080", "port: web", "port: dns"][..],
    );
    let protocol = prop::sample::select(&["", "protocol: TCP", "protocol: UDP"][..]);
    (which, protocol).prop_map(|(which, protocol)| match (which, protocol) {
        ("", one) | (one, "") => format!("{{{one}}}"),
        (which, protocol) => format!("{{{which}, {protocol}}}"),
    })
}

fn any_rules(peers: &'static str) -> impl Strategy<Value = String> {
    let list = |of: BoxedStrategy<String>| prop::collection::vec(of, 0..3);
    let rule =
        (list(any_peer().boxed()), list(any_port().boxed())).prop_map(move |(who, ports)| {
            format!("{{{peers}: [{}], ports: [{}]}}", who.join(", "), ports.join(", "))
        });
    prop::collection::vec(rule, 0..3).prop_map(|rules| format!("[{}]", rules.join(", ")))
}

fn any_policy() -> impl Strategy<Value = String> {
    let types =
        prop::sample::select(&["", "[Ingress]", "[Egress]", "[Ingress, Egress]", "[Both]"][..]);
    let place = prop::sample::select(&["x", "y"][..]);
    (place, any_selector(), types, any_rules("from"), any_rules("to")).prop_map(
        |(place, subjects, types, ingress, egress)| {
            let types =
                if types.is_empty() { String::new() } else { format!(", policyTypes: {types}") };
            format!("{place}|podSelector: {subjects}, ingress: {ingress}, egress: {egress}{types}")
        },
    )
}

/// `small`, dual stack, with a pod of a node's network and two with one address.
fn crowded() -> String {
    let named = "{name: web, containerPort: 81}, {name: dns, containerPort: 80, protocol: UDP}";
    let mut text = small() + &pod_with("y/d", "10.0.2.4", "app: b", &ports(named));
    for (name, six) in [("1.1", "1:1"), ("1.2", "1:2"), ("2.1", "2:1"), ("2.3", "2:3")] {
        let (old, new) =
            (format!("10.0.{name}}}"), format!("10.0.{name}}}, {{ip: 'fd00::{six}'}}"));
        text = text.replace(&old, &new);
    }
    text + &pod("y/host", "192.0.2.7", "app: a").replace("spec: {}", "spec: {hostNetwork: true}")
        + &pod("y/twin", "10.0.2.8", "app: a")
        + &pod_with("x/twin", "10.0.2.8", "app: b", &ports("{name: web, containerPort: 80}"))
        + &namespace("z", "team: z")
}

const TCP: AskedProtocol = AskedProtocol::Number(IpProtocol::TCP);
const UDP: AskedProtocol = AskedProtocol::Number(IpProtocol::UDP);

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Reading the policies and asking the table compiled from them agree, for every pair of
    /// pods, on the verdict and on the rule that is the cause.
    #[test]
    fn explain_and_the_compiled_table_agree(
        policies in prop::collection::vec(any_policy(), 1..4),
        protocol in prop::sample::select(&[TCP, UDP, AskedProtocol::Icmp][..]),
        port in prop::sample::select(&PORTS[..]),
        family in prop::sample::select(&[None, Some(explain::Family::V6)][..]),
    ) {
        let mut text = crowded();
        for (place, one) in policies.iter().enumerate() {
            let (namespace, spec) = one.split_once('|').unwrap();
            text += &policy(&format!("{namespace}/p{place}"), spec);
        }
        let inventory = inventory(&text);
        let port = (protocol != AskedProtocol::Icmp).then_some(port);
        let asked = MatrixRequest { protocol, port, family };
        let seen = matrix(&inventory, &asked).unwrap();
        prop_assert!(!seen.rows.is_empty());
        for row in seen.rows {
            let of = |name: &str| name.parse::<Subject>().unwrap();
            let (from, to) = (of(&row.from), of(&row.to));
            let (icmp_type, icmp_code) = (None, None);
            let source_port = None;
            let request =
                Request { from, to, protocol, port, source_port, icmp_type, icmp_code, family };
            let told = explain::explain(&inventory, &request).unwrap();
            prop_assert_eq!(told.verdict, row.verdict, "{}\n{}", &told, &text);
            prop_assert_eq!(told.egress.verdict, row.egress.verdict, "{}\n{}", &told, &text);
            prop_assert_eq!(told.ingress.verdict, row.ingress.verdict, "{}\n{}", &told, &text);
            prop_assert_eq!(&told.egress.by, &row.egress.by, "{}\n{}", &told, &text);
            prop_assert_eq!(&told.ingress.by, &row.ingress.by, "{}\n{}", &told, &text);
        }
    }

    /// The same for addresses of no pod and of nodes, against the ruleset and the table.
    #[test]
    fn explain_and_the_ruleset_agree_on_addresses_outside(
        policies in prop::collection::vec(any_policy(), 1..4),
        port in prop::sample::select(&PORTS[..]),
    ) {
        let mut text = crowded();
        for (place, one) in policies.iter().enumerate() {
            let (namespace, spec) = one.split_once('|').unwrap();
            text += &policy(&format!("{namespace}/p{place}"), spec);
        }
        let inventory = inventory(&text);
        let resolved = resolve(&inventory);
        let compiled = compile(&resolved.ruleset);
        for outside in ["10.0.1.77", "10.0.2.77", "203.0.113.9", "fd00::2:9", "192.0.2.1"] {
            for pod in ["x/a", "x/b", "y/c"] {
                for (from, to) in [(outside, pod), (pod, outside)] {
                    let words = format!("{from} {to} TCP {port}");
                    let request = crate::sample::request(&words);
                    let told = explain::explain(&inventory, &request).unwrap();
                    let question =
                        crate::sample::question(&told, &request, &resolved).unwrap();
                    for answer in [resolved.ruleset.decide(&question), compiled.decide(&question)] {
                        let allows = told.verdict == Verdict::Allow;
                        prop_assert_eq!(allows, answer.allows(), "{}\n{}", &told, &text);
                    }
                }
            }
        }
    }
}
