use super::*;
use crate::sample::{
    check, explained, inventory, namespace, pod, pod_with, policy, ports, request, small,
};

/// `small` with one policy in x.
fn with(spec: &str) -> String {
    small() + &policy("x/p", spec)
}

const TO_B: &str = "podSelector: {matchLabels: {app: b}}";

#[test]
fn np_01_a_selector_of_nothing_selects_the_policys_namespace_only() {
    for spec in ["podSelector: {}", "ingress: []", "podSelector: null"] {
        check(
            &with(spec),
            &[
                ("y/a x/a TCP 80", false),
                ("x/a x/b TCP 80", false),
                ("x/a y/a TCP 80", true),
                ("y/a y/c TCP 80", true),
            ],
        );
    }
}

#[test]
fn np_02_isolation_is_per_direction() {
    check(&with("policyTypes: [Ingress]"), &[("x/a y/a TCP 80", true), ("y/a x/a TCP 80", false)]);
    check(&with("policyTypes: [Egress]"), &[("x/a y/a TCP 80", false), ("y/a x/a TCP 80", true)]);
    let seen = explained(&with("policyTypes: [Egress]"), "x/a y/a TCP 80");
    assert_eq!(seen.egress.reason, Reason::DefaultDeny);
    assert_eq!(seen.egress.isolated_by, ["x/p"]);
    assert_eq!(seen.ingress.reason, Reason::NotIsolated);
    assert_eq!(seen.ingress.isolated_by, [] as [&str; 0]);
}

#[test]
fn np_03_and_np_04_types_that_are_absent_and_types_that_win() {
    check(&with("egress: []"), &[("x/a y/a TCP 80", true), ("y/a x/a TCP 80", false)]);
    check(
        &with("egress: [{ports: [{port: 1}]}]"),
        &[("x/a y/a TCP 80", false), ("x/a y/a TCP 1", true), ("y/a x/a TCP 80", false)],
    );
    check(
        &with("policyTypes: [Ingress], egress: [{ports: [{port: 1}]}]"),
        &[("x/a y/a TCP 80", true), ("y/a x/a TCP 80", false)],
    );
    check(
        &with("policyTypes: [Egress], ingress: [{}]"),
        &[("x/a y/a TCP 80", false), ("y/a x/a TCP 80", true)],
    );
}

#[test]
fn np_05_no_rule_denies_all_and_an_empty_one_allows_all_protocols() {
    for protocol in ["TCP 80", "UDP 53", "SCTP 1", "ICMP -"] {
        let question = format!("y/a x/a {protocol}");
        check(&with("ingress: []"), &[(&question, false)]);
        check(&with("ingress: [{}]"), &[(&question, true)]);
    }
}

#[test]
fn np_06_policies_are_a_union() {
    let allow = policy("x/q", &format!("{TO_B}, ingress: [{{from: [{{podSelector: {{}}}}]}}]"));
    check(
        &(with("podSelector: {}") + &allow),
        &[("x/a x/b TCP 80", true), ("x/b x/a TCP 80", false), ("y/a x/b TCP 80", false)],
    );
}

#[test]
fn np_07_both_sides_must_allow() {
    let egress = policy("y/e", "policyTypes: [Egress], egress: [{ports: [{port: 80}]}]");
    let text = with("ingress: [{ports: [{port: 81}, {port: 80}]}]") + &egress;
    check(&text, &[("y/a x/a TCP 80", true), ("y/a x/a TCP 81", false), ("y/a y/c TCP 80", true)]);
    let seen = explained(&text, "y/a x/a TCP 81");
    assert_eq!((seen.egress.verdict, seen.ingress.verdict), (Verdict::Deny, Verdict::Allow));
}

#[test]
fn np_09_absent_and_empty_lists_mean_everything() {
    for rule in ["{}", "{from: []}", "{from: null}", "{ports: []}", "{from: [], ports: []}"] {
        check(
            &with(&format!("ingress: [{rule}]")),
            &[
                ("y/a x/a TCP 80", true),
                ("203.0.113.9 x/a UDP 53", true),
                ("203.0.113.9 x/a ICMP", true),
            ],
        );
    }
}

#[test]
fn np_10_peers_and_or_and_own_namespace() {
    let from = |peers: &str| with(&format!("ingress: [{{from: [{peers}]}}]"));
    check(
        &from("{podSelector: {matchLabels: {app: a}}}"),
        &[("x/a x/b TCP 80", true), ("y/a x/b TCP 80", false)],
    );
    check(
        &from("{namespaceSelector: {matchLabels: {team: y}}}"),
        &[("y/a x/b TCP 80", true), ("y/c x/b TCP 80", true), ("x/a x/b TCP 80", false)],
    );
    let both = "namespaceSelector: {matchLabels: {team: y}}, podSelector: {matchLabels: {app: a}}";
    check(
        &from(&format!("{{{both}}}")),
        &[("y/a x/b TCP 80", true), ("y/c x/b TCP 80", false), ("x/a x/b TCP 80", false)],
    );
    let either =
        "{namespaceSelector: {matchLabels: {team: y}}}, {podSelector: {matchLabels: {app: a}}}";
    check(&from(either), &[("y/c x/b TCP 80", true), ("x/a x/b TCP 80", true)]);
    check(
        &from("{namespaceSelector: {}}"),
        &[("y/c x/b TCP 80", true), ("x/a x/b TCP 80", true), ("203.0.113.9 x/b TCP 80", false)],
    );
    check(&from("{podSelector: {}}"), &[("x/a x/b TCP 80", true), ("y/c x/b TCP 80", false)]);
}

#[test]
fn np_11_expressions_join_labels_and_absent_keys_match_the_negative_ones() {
    let from = |selector: &str| {
        let peer = format!("{{namespaceSelector: {{}}, podSelector: {{{selector}}}}}");
        with(&format!("{TO_B}, ingress: [{{from: [{peer}]}}]"))
    };
    for (selector, xa, ya, yc) in [
        ("matchExpressions: [{key: app, operator: In, values: [a, z]}]", true, true, false),
        ("matchExpressions: [{key: app, operator: In, values: [c, a]}]", true, true, true),
        ("matchExpressions: [{key: app, operator: NotIn, values: [a]}]", false, false, true),
        ("matchExpressions: [{key: tier, operator: NotIn, values: [a]}]", true, true, true),
        ("matchExpressions: [{key: tier, operator: Exists}]", false, false, true),
        ("matchExpressions: [{key: tier, operator: DoesNotExist}]", true, true, false),
        (
            "matchLabels: {app: c}, matchExpressions: [{key: tier, operator: DoesNotExist}]",
            false,
            false,
            false,
        ),
    ] {
        check(
            &from(selector),
            &[("x/a x/b TCP 80", xa), ("y/a x/b TCP 80", ya), ("y/c x/b TCP 80", yc)],
        );
    }
}

#[test]
fn np_12_every_namespace_bears_its_name_and_cannot_bear_anothers() {
    let named = |name: &str| {
        format!(
            "ingress: [{{from: [{{namespaceSelector: {{matchLabels: \
             {{kubernetes.io/metadata.name: {name}}}}}}}]}}]"
        )
    };
    check(&with(&named("y")), &[("y/a x/a TCP 80", true), ("x/b x/a TCP 80", false)]);
    // A namespace without an object has it too.
    let lost = pod("z/d", "10.0.3.1", "app: d");
    check(&(with(&named("z")) + &lost), &[("z/d x/a TCP 80", true), ("y/a x/a TCP 80", false)]);
    // What is written does not count.
    let forged = namespace("z", "kubernetes.io/metadata.name: y") + &lost;
    check(&(with(&named("y")) + &forged), &[("z/d x/a TCP 80", false)]);
    check(&(with(&named("z")) + &forged), &[("z/d x/a TCP 80", true)]);
}

#[test]
fn np_13_outside_addresses_match_no_selector() {
    for peer in ["{namespaceSelector: {}}", "{podSelector: {}}"] {
        let text = with(&format!("ingress: [{{from: [{peer}]}}], egress: [{{to: [{peer}]}}]"));
        check(&text, &[("203.0.113.9 x/a TCP 80", false), ("x/a 203.0.113.9 TCP 80", false)]);
    }
}

#[test]
fn np_20_a_port_entry_always_means_a_protocol() {
    for (ports, tcp, udp, sctp) in [
        ("[{}]", true, false, false),
        ("[{protocol: UDP}]", false, true, false),
        ("[{port: 80}]", true, false, false),
        ("[{port: 80, protocol: SCTP}]", false, false, true),
        ("[{port: 81}]", false, false, false),
        ("[{port: 81}, {protocol: UDP, port: 80}]", false, true, false),
    ] {
        check(
            &with(&format!("ingress: [{{ports: {ports}}}]")),
            &[
                ("y/a x/a TCP 80", tcp),
                ("y/a x/a UDP 80", udp),
                ("y/a x/a SCTP 80", sctp),
                ("y/a x/a ICMP", false),
            ],
        );
    }
}

#[test]
fn np_20_all_ports_are_all_of_them() {
    check(
        &with("ingress: [{ports: [{}]}]"),
        &[("y/a x/a TCP 0", true), ("y/a x/a TCP 65535", true), ("y/a x/a UDP 0", false)],
    );
}

#[test]
fn np_21_a_range_has_both_its_ends() {
    check(
        &with("ingress: [{ports: [{port: 80, endPort: 90}]}]"),
        &[
            ("y/a x/a TCP 79", false),
            ("y/a x/a TCP 80", true),
            ("y/a x/a TCP 90", true),
            ("y/a x/a TCP 91", false),
        ],
    );
}

#[test]
fn np_22_a_named_port_is_the_target_pods_own_number() {
    check(
        &with("ingress: [{ports: [{port: web}]}]"),
        &[
            ("y/a x/a TCP 8080", true),
            ("y/a x/a TCP 80", false),
            ("y/a x/b TCP 80", true),
            ("y/a x/b TCP 8080", false),
            ("y/a x/b UDP 80", false),
        ],
    );
    let out = |rule: &str| small() + &policy("y/p", &format!("egress: [{rule}]"));
    for rule in [
        "{ports: [{port: web}]}",
        "{to: [], ports: [{port: web}]}",
        "{to: [{namespaceSelector: {}}], ports: [{port: web}]}",
        "{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: web}]}",
        "{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.2.0/24]}}], ports: [{port: web}]}",
    ] {
        check(
            &out(rule),
            &[
                ("y/a x/a TCP 8080", true),
                ("y/a x/a TCP 80", false),
                ("y/a x/b TCP 80", true),
                ("y/a x/b TCP 8080", false),
                // A pod without the name, and addresses of no pod.
                ("y/a y/c TCP 80", false),
                ("y/a 203.0.113.9 TCP 80", false),
                ("y/a 10.9.9.9 TCP 80", false),
            ],
        );
    }
    check(
        &out("{to: [{ipBlock: {cidr: 10.0.1.1/32}}], ports: [{port: web}]}"),
        &[("y/a x/a TCP 8080", true), ("y/a x/b TCP 80", false)],
    );
}

#[test]
fn np_22_the_protocol_of_a_named_port_must_be_the_rules() {
    let dns = "{name: dns, containerPort: 53, protocol: UDP}, {name: dns-tcp, containerPort: 53}";
    let world = |rule: &str| {
        pod_with("x/d", "10.0.1.9", "", &ports(dns))
            + &small()
            + &policy("x/p", &format!("ingress: [{{ports: [{rule}]}}]"))
    };
    check(&world("{port: dns}"), &[("y/a x/d UDP 53", false), ("y/a x/d TCP 53", false)]);
    check(
        &world("{port: dns, protocol: UDP}"),
        &[("y/a x/d UDP 53", true), ("y/a x/d TCP 53", false)],
    );
    check(&world("{port: dns-tcp}"), &[("y/a x/d TCP 53", true), ("y/a x/d UDP 53", false)]);
}

#[test]
fn np_24_sctp_alone_isolates_and_opens_no_tcp() {
    check(
        &with("ingress: [{ports: [{protocol: SCTP, port: 80}]}]"),
        &[("y/a x/a SCTP 80", true), ("y/a x/a TCP 80", false), ("y/a x/a UDP 80", false)],
    );
}

#[test]
fn np_25_icmp_matches_rules_without_ports_only() {
    check(&with("ingress: [{ports: [{}, {protocol: UDP}]}]"), &[("y/a x/a ICMP", false)]);
    check(&with("ingress: [{from: [{namespaceSelector: {}}]}]"), &[("y/a x/a ICMP", true)]);
}

#[test]
fn np_30_an_exception_is_of_its_peer_only() {
    let block = "{ipBlock: {cidr: 10.0.0.0/16, except: [10.0.2.0/24]}}";
    let rule = |peers: &str| with(&format!("ingress: [{{from: [{peers}]}}]"));
    check(&rule(block), &[("x/b x/a TCP 80", true), ("y/a x/a TCP 80", false)]);
    let more = format!("{block}, {{ipBlock: {{cidr: 10.0.2.1/32}}}}");
    check(&rule(&more), &[("y/a x/a TCP 80", true), ("y/c x/a TCP 80", false)]);
    let other = policy("x/q", "ingress: [{from: [{ipBlock: {cidr: 10.0.2.3/32}}]}]");
    check(&(rule(block) + &other), &[("y/c x/a TCP 80", true), ("y/a x/a TCP 80", false)]);
}

#[test]
fn np_31_host_bits_and_leading_zeros_are_read_as_decimal() {
    for cidr in ["10.0.2.77/24", "010.000.002.001/24", "'::ffff:10.0.2.0/120'"] {
        check(
            &with(&format!("ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]")),
            &[("y/a x/a TCP 80", true), ("x/b x/a TCP 80", false), ("8.0.2.1 x/a TCP 80", false)],
        );
    }
}

#[test]
fn np_32_a_block_matches_pods_by_address() {
    check(
        &with("egress: [{to: [{ipBlock: {cidr: 10.0.2.1/32}}]}]"),
        &[("x/a y/a TCP 80", true), ("x/a y/c TCP 80", false), ("x/a 10.0.2.1 TCP 80", true)],
    );
}

#[test]
fn np_34_the_families_have_a_default_route_each() {
    let both = "apiVersion: v1\nkind: Pod\nmetadata: {name: d, namespace: x}\nstatus: {podIPs: \
                [{ip: 'fd00::1'}, {ip: 10.0.1.9}]}\n---\n";
    let world = |cidr: &str| {
        both.to_owned()
            + &policy("x/p", &format!("ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]"))
    };
    check(
        &world("0.0.0.0/0"),
        &[("203.0.113.9 x/d TCP 1", true), ("2001:db8::1 x/d TCP 1", false)],
    );
    check(&world("'::/0'"), &[("203.0.113.9 x/d TCP 1", false), ("2001:db8::1 x/d TCP 1", true)]);
}

/// A pod of a node's network on node 192.0.2.1, one on another node, and x/a on the first.
fn nodes(spec: &str) -> String {
    let on = |name: &str, host: &str| {
        pod_with(name, host, "app: a", "hostNetwork: true")
            .replace("192.0.2.1,", &format!("{host},"))
    };
    with(spec) + &on("x/here", "192.0.2.1") + &on("x/there", "192.0.2.2")
}

#[test]
fn np_40_a_pods_own_node_reaches_it_and_no_other() {
    check(
        &nodes("policyTypes: [Ingress, Egress]"),
        &[
            ("192.0.2.1 x/a TCP 80", true),
            ("192.0.2.1 x/a ICMP", true),
            ("x/here x/a TCP 80", true),
            ("192.0.2.2 x/a TCP 80", false),
            ("x/there x/a TCP 80", false),
            ("x/a 192.0.2.1 TCP 80", false),
            ("x/a x/here TCP 80", false),
        ],
    );
    let seen = explained(&nodes(""), "x/here x/a TCP 80");
    assert_eq!((seen.ingress.reason, seen.egress.reason), (Reason::OwnNode, Reason::Outside));
    assert_eq!(seen.ingress.isolated_by, ["x/p"]);
}

#[test]
fn np_40_an_address_that_a_pod_has_is_no_node() {
    let text = with("").replace("hostIP: 192.0.2.1", "hostIP: 10.0.2.1");
    let own = "hostIP: 10.0.2.1, podIPs: [{ip: 10.0.2.1}";
    let text = text.replace(own, "hostIP: 192.0.2.1, podIPs: [{ip: 10.0.2.1}");
    check(&text, &[("y/a x/a TCP 80", false)]);
}

#[test]
fn np_41_pods_of_a_nodes_network_are_met_by_address_only() {
    // Neither subject ...
    check(
        &nodes("policyTypes: [Ingress, Egress]"),
        &[("y/a x/there TCP 80", true), ("x/there y/a TCP 80", true)],
    );
    // ... nor peer, ...
    let by_label = "podSelector: {matchLabels: {app: b}}, ingress: [{from: [{podSelector: \
                    {matchLabels: {app: a}}}]}], egress: [{to: [{podSelector: {}}]}]";
    check(
        &nodes(by_label),
        &[("x/there x/b TCP 80", false), ("x/b x/there TCP 80", false), ("x/a x/b TCP 80", true)],
    );
    // ... but their node's address.
    let by_block = "ingress: [{from: [{ipBlock: {cidr: 192.0.2.2/32}}]}]";
    check(&nodes(by_block), &[("x/there x/a TCP 80", true)]);
}

#[test]
fn np_42_a_pod_reaches_itself() {
    let text = with("policyTypes: [Ingress, Egress]");
    check(&text, &[("x/a x/a TCP 80", true), ("10.0.1.1 x/a UDP 1", true)]);
    let seen = explained(&text, "x/a 10.0.1.1 TCP 80");
    assert_eq!((seen.egress.reason, seen.ingress.reason), (Reason::Itself, Reason::Itself));
}

#[test]
fn cnp_15_what_a_service_brings_back_is_asked_of_as_from_the_switch() {
    let policy = "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n\
                  metadata: {name: nobody}\nspec:\n  tier: Admin\n  priority: 0\n  subject: \
                  {namespaces: {}}\n  ingress: [{action: Deny, from: [{namespaces: {}}]}]\n";
    let text = with("policyTypes: [Ingress, Egress]") + policy;
    let seen = explained(&text, "169.254.1.1 x/a TCP 80");
    assert_eq!((seen.from.as_str(), seen.to.as_str()), ("x/a", "x/a"));
    assert_eq!(seen.egress.reason, Reason::NotIsolated);
    assert_eq!(seen.ingress.by[0].policy, "nobody");
    assert!(seen.caveats[0].contains("what a Service brings back"), "{:?}", seen.caveats);
    let plain = explained(&text, "x/a x/a TCP 80");
    assert_eq!((plain.verdict, plain.caveats.len()), (Verdict::Allow, 0));
}

#[test]
fn np_53_a_pod_that_has_ended_has_no_address_and_another_may_have_it() {
    for phase in ["Succeeded", "Failed"] {
        let done = pod("y/done", "10.0.1.2", "app: a").replace("Running", phase);
        let text = with("ingress: [{from: [{podSelector: {}}]}]") + &done;
        check(&text, &[("x/b x/a TCP 80", true), ("10.0.1.2 x/a TCP 80", true)]);
        let error = explain(&inventory(&text), &request("y/done x/a TCP 80")).unwrap_err();
        assert_eq!(error, ExplainError::Completed("y/done".into()));
        let asked = inventory(&text).problems();
        assert!(!asked.iter().any(|one| one.message.contains("address of")), "{asked:?}");
    }
    // A pod that is being deleted still runs.
    let leaving =
        small().replace("name: a,", "name: a, deletionTimestamp: '2026-01-01T00:00:00Z',");
    check(&(leaving + &policy("x/p", "ingress: []")), &[("y/a x/a TCP 80", false)]);
}

#[test]
fn np_59_a_broken_rule_opens_nothing_and_its_policy_isolates() {
    let rules = "ingress: [{form: [{podSelector: {}}]}, {ports: [{port: 80}]}, {ports: [{port: \
                 '81'}]}]";
    let text = with(rules);
    check(&text, &[("y/a x/a TCP 80", true), ("y/a x/a TCP 81", false), ("x/b x/a TCP 1", false)]);
    let seen = explained(&text, "y/a x/a TCP 81");
    assert_eq!(seen.ingress.broken.iter().map(|one| one.rule).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(seen.ingress.nearest.unwrap().rule, 1);
    assert_eq!(explained(&text, "y/a x/a TCP 80").ingress.by[0].rule, 1, "places are as written");
}

#[test]
fn np_59_a_broken_selector_isolates_the_whole_namespace() {
    let text = with("podSelector: {matchLabels: {app: 1}}, policyTypes: [Egress], egress: [{}]");
    check(
        &text,
        &[
            ("x/a y/a TCP 80", false),
            ("x/b y/a TCP 80", false),
            ("y/a x/a TCP 80", true),
            ("y/a y/c TCP 80", true),
        ],
    );
}

#[test]
fn a_pod_that_is_denied_everything_is_told_with_what_is_wrong_with_it() {
    let lost = pod("x/e", "10.0.0.9", "app: [1]") + &pod("x/f", "10.0.0.8", "app: f");
    let text = small() + &lost + &pod("x/g", "10.0.0.8", "app: g");
    for (asked, fields) in
        [("x/e x/a TCP 80", ["metadata.labels[app]"]), ("x/f x/a TCP 80", ["status.podIPs"])]
    {
        let seen = explained(&text, asked);
        assert_eq!(seen.egress.isolated_by, ["(lockgate)/unusable-pods"]);
        let told: Vec<_> = seen.egress.problems.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(told, fields, "{asked}");
        assert_eq!(seen.ingress.problems, [], "the other pod is sound");
    }
    let shared = explained(&text, "x/f x/a TCP 80").egress.problems.remove(0);
    assert_eq!(shared.object, "Pod x/f");
    assert!(shared.message.contains("is the address of x/g too"), "{shared}");
}

#[test]
fn an_address_that_several_pods_have_is_not_the_pod_itself() {
    let text = pod("x/f", "10.0.0.8", "") + &pod("x/g", "10.0.0.8", "");
    for (asked, verdict) in [
        ("x/f x/f TCP 80", Verdict::Allow),
        ("10.0.0.8 x/f TCP 80", Verdict::Deny),
        ("10.0.0.8 x/g TCP 80", Verdict::Deny),
        ("x/f 10.0.0.8 TCP 80", Verdict::Deny),
    ] {
        assert_eq!(explained(&text, asked).verdict, verdict, "{asked}");
    }
}

#[test]
fn every_name_that_a_matrix_shows_can_be_asked_about() {
    for (text, namespace) in [("?x y/a", "?x y"), ("?::1/a", "?::1"), ("x/a", "x")] {
        let wanted = Subject::Pod { namespace: namespace.into(), name: "a".into() };
        assert_eq!(text.parse(), Ok(wanted));
    }
    for text in ["x y/a", "::1/a", "?/", "/a", "a b"] {
        assert_eq!(text.parse::<Subject>(), Err(ExplainError::NotASubject(text.into())));
    }
}

#[test]
fn np_59_a_policy_that_is_broken_elsewhere_than_in_a_rule_is_told_with_its_place() {
    for (spec, fields) in [
        ("podSelector: {matchLabels: {app: 1}}", ["spec.podSelector.matchLabels[app]"]),
        ("podSelector: {}, policyTypes: [Ingres]", ["spec.policyTypes[0]"]),
        ("podSelector: {}, ingres: []", ["spec.ingres"]),
        ("podSelector: {}, ingress: 1", ["spec.ingress"]),
    ] {
        let seen = explained(&with(spec), "y/a x/a TCP 80");
        assert_eq!((seen.ingress.verdict, &seen.ingress.nearest), (Verdict::Deny, &None));
        let told: Vec<_> = seen.ingress.problems.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(told, fields, "{spec}");
        assert!(seen.ingress.problems.iter().all(|one| one.object == "NetworkPolicy x/p"));
        let text = seen.to_string();
        let line = text.lines().find(|line| line.contains("error: ")).unwrap();
        assert!(line.contains("NetworkPolicy x/p: ") && line.contains(fields[0]), "{text}");
    }
    let text = small() + &policy("x/p", "").replace("spec: {}", "spec: 1");
    let seen = explained(&text, "x/a y/a TCP 80");
    assert_eq!(seen.egress.problems[0].field, "spec");
    // Another policy's, and what is in the other direction's rules, says nothing here.
    let other = policy("y/q", "podSelector: 1") + &policy("x/p", "egress: [1], ingress: []");
    let seen = explained(&(small() + &other), "x/b x/a TCP 80");
    assert_eq!((seen.egress.problems.len(), seen.ingress.problems.len()), (1, 0));
    // Nor does a policy that is broken where another's rule allows.
    let open = with("podSelector: {}, ingres: []") + &policy("x/open", "ingress: [{}]");
    assert_eq!(explained(&open, "y/a x/a TCP 80").ingress.problems, []);
}

#[test]
fn two_pods_with_one_address_are_both_denied_and_reported() {
    let text = small() + &pod("y/twin", "10.0.1.1", "app: twin");
    check(
        &text,
        &[
            ("x/b x/a TCP 80", false),
            ("x/a x/b TCP 80", false),
            ("x/b y/twin TCP 80", false),
            ("x/b 10.0.1.1 TCP 80", false),
            ("x/a y/twin TCP 80", false),
            ("x/a x/a TCP 80", true),
            ("y/twin y/twin TCP 80", true),
            ("x/b y/a TCP 80", true),
        ],
    );
    // Not even to a pod that allows everybody by selector or block.
    let open = "ingress: [{from: [{namespaceSelector: {}}, {ipBlock: {cidr: 0.0.0.0/0}}]}]";
    check(&(text.clone() + &policy("x/p", open)), &[("y/twin x/b TCP 80", false)]);
    // No named port of theirs is opened.
    let by_name = policy("y/p", "egress: [{ports: [{port: web}]}]");
    check(&(text.clone() + &by_name), &[("y/c x/a TCP 8080", false), ("y/c x/b TCP 80", true)]);
    let said = inventory(&text).problems();
    let objects: Vec<_> = said.iter().map(|one| one.object.as_str()).collect();
    assert_eq!(objects, ["Pod x/a", "Pod y/twin"], "{said:?}");
}

#[test]
fn a_pod_whose_labels_are_unreadable_is_denied() {
    let text = small().replace("{app: b}", "[app, b]");
    check(&text, &[("x/a x/b TCP 80", false), ("x/b x/a TCP 80", false), ("x/a y/a TCP 80", true)]);
}

#[test]
fn nearest_is_the_rule_with_the_fewest_failures_then_by_name_then_by_place() {
    let rules = "policyTypes: [Ingress], ingress: [\
                 {from: [{podSelector: {matchLabels: {app: a}}}], ports: [{port: 1}]},\
                 {from: [{namespaceSelector: {matchLabels: {team: z}}, podSelector: {matchLabels: \
                 {app: z}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.0.2.0/24]}}], ports: [{port: \
                 80}, {protocol: UDP, port: 9}]}]";
    let seen = explained(&with(rules), "y/a x/b TCP 80").ingress.nearest.unwrap();
    assert_eq!((seen.policy.as_str(), seen.rule), ("x/p", 1));
    assert_eq!(seen.failed, [Part::Except]);
    let seen = explained(&with(rules), "y/a x/b TCP 81").ingress.nearest.unwrap();
    assert_eq!((seen.rule, seen.failed.as_slice()), (0, [Part::Namespace, Part::Port].as_slice()));
    // As near: the earlier name, then the earlier rule.
    let text = with("ingress: [{ports: [{port: 1}]}, {ports: [{port: 2}]}]");
    let other = policy("x/o", "ingress: [{ports: [{port: 3}]}, {ports: [{port: 4}]}]");
    let seen = explained(&(text + &other), "y/a x/b TCP 80").ingress.nearest.unwrap();
    assert_eq!((seen.policy.as_str(), seen.rule), ("x/o", 0));
    assert_eq!(explained(&with(""), "y/a x/b TCP 80").ingress.nearest, None, "no rule");
    let broken = explained(&with("ingress: [null]"), "y/a x/b TCP 80");
    assert_eq!(broken.ingress.nearest, None, "a broken rule is never near");
}

#[test]
fn each_failing_part_is_told_with_what_was_wanted_and_what_was_there() {
    use Part::{Cidr, Except, Namespace, PodLabels, Port, Protocol};
    let pods = "namespaceSelector: {matchLabels: {team: z}}, podSelector: {matchLabels: {app: z}}";
    for (rule, question, parts, detail) in [
        (
            format!("{{from: [{{{pods}}}]}}"),
            "y/a x/b TCP 80",
            vec![Namespace, PodLabels],
            vec!["team=z wanted, has team=y (y)", "app=z wanted, has app=a"],
        ),
        (
            format!("{{from: [{{{pods}}}]}}"),
            "203.0.113.9 x/b TCP 80",
            vec![Namespace, PodLabels],
            vec!["a pod wanted, 203.0.113.9 is none that selectors see"; 2],
        ),
        (
            "{from: [{podSelector: {matchLabels: {tier: x}}}]}".into(),
            "y/a x/b TCP 80",
            vec![Namespace, PodLabels],
            vec!["x wanted, is y", "tier=x wanted, has no tier"],
        ),
        (
            "{from: [{ipBlock: {cidr: 10.1.0.0/16}}], ports: [{port: 1, endPort: 9}]}".into(),
            "y/a x/b TCP 80",
            vec![Cidr, Port],
            vec!["10.0.2.1 is not in 10.1.0.0/16", "1-9 wanted, is 80"],
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/16, except: [10.0.2.0/24]}}]}".into(),
            "y/a x/b TCP 80",
            vec![Except],
            vec!["10.0.2.1 is in 10.0.2.0/24, which is left out of 10.0.0.0/16"],
        ),
        (
            "{ports: [{protocol: UDP, port: 80}]}".into(),
            "y/a x/b TCP 80",
            vec![Protocol],
            vec!["UDP wanted, is TCP"],
        ),
        (
            "{ports: [{protocol: UDP, port: 1}]}".into(),
            "y/a x/b TCP 80",
            vec![Protocol, Port],
            vec!["UDP wanted, is TCP", "1 wanted, is 80"],
        ),
        (
            "{ports: [{port: 80}]}".into(),
            "y/a x/b ICMP",
            vec![Protocol],
            vec!["TCP wanted, is ICMP"],
        ),
        (
            "{ports: [{port: api}]}".into(),
            "y/a x/b TCP 80",
            vec![Port],
            vec!["api wanted, the target has no TCP port of that name"],
        ),
        (
            "{ports: [{port: web}]}".into(),
            "y/a x/b TCP 81",
            vec![Port],
            vec!["web (80) wanted, is 81"],
        ),
        (
            "{ports: [{port: web, protocol: UDP}]}".into(),
            "y/a x/b TCP 80",
            vec![Protocol],
            vec!["UDP wanted, is TCP"],
        ),
        (
            "{ports: [{port: web}]}".into(),
            "y/a x/b UDP 80",
            vec![Protocol],
            vec!["TCP wanted, is UDP"],
        ),
        (
            "{ports: [{port: web}]}".into(),
            "y/a x/b UDP 81",
            vec![Protocol, Port],
            vec!["TCP wanted, is UDP", "web (80) wanted, is 81"],
        ),
    ] {
        let text = with(&format!("{TO_B}, ingress: [{rule}]"));
        let seen = explained(&text, question).ingress.nearest.unwrap();
        assert_eq!(
            (seen.failed, seen.detail),
            (parts, detail.into_iter().map(Into::into).collect()),
            "{rule} {question}"
        );
    }
}

fn failure(text: &str, request: &Request) -> String {
    explain(&inventory(text), request).unwrap_err().to_string()
}

#[test]
fn a_question_without_an_answer_says_why_and_what_to_do() {
    let text = small()
        + "apiVersion: v1\nkind: Pod\nmetadata: {name: lost}\n---\n"
        + &pod("x/six", "'fd00::6'", "");
    for (question, wanted) in [
        ("x/q x/a TCP 80", "there is no pod x/q: name one of the manifests"),
        ("c x/a TCP 80", "no pod default/c: name one of the manifests (did you mean y/c?)"),
        ("lost x/a TCP 80", "default/lost has no address: set status.podIPs"),
        ("x/a x/six TCP 80", "x/a and x/six share no address family"),
        ("203.0.113.9 x/six TCP 80", "share no address family"),
        ("x/a x/b TCP", "TCP has ports: give --port"),
        ("x/a x/b ICMP 80", "ICMP has no ports: leave --port and --source-port out"),
    ] {
        let said = failure(&text, &request(question));
        assert!(said.contains(wanted), "{question}: {said}");
    }
    let base = request("x/a x/b TCP 80");
    let six = Request { family: Some(Family::V6), ..base.clone() };
    assert!(failure(&text, &six).contains("x/a has no IPv6 address"), "family");
    let kind = Request { icmp_type: Some(8), ..base.clone() };
    assert!(failure(&text, &kind).contains("TCP has no ICMP type"), "type");
    let code = Request { protocol: AskedProtocol::Icmp, icmp_code: Some(0), ..base };
    assert!(failure(&text, &code).contains("needs --icmp-type"), "code");
    for bad in ["", "a/b/c", "/a", "a/", "a b", "10.0.0.1/8:", "x:y"] {
        assert!(bad.parse::<Subject>().is_err(), "{bad}");
    }
    assert!(parse_protocol("GRE").is_err() && parse_protocol("sctp").is_ok());
}

#[test]
fn the_family_is_the_first_of_the_sources_that_both_have() {
    let both = |name: &str, first: &str, second: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nstatus: {{podIPs: [{{ip: \
             '{first}'}}, {{ip: '{second}'}}]}}\n---\n"
        )
    };
    let text = both("a", "fd00::1", "10.0.0.1") + &both("b", "10.0.0.2", "fd00::2");
    let at = |question: &str, family| {
        let request = Request { family, ..request(question) };
        explain(&inventory(&text), &request).unwrap().to_address.to_string()
    };
    assert_eq!(at("a b TCP 1", None), "fd00::2");
    assert_eq!(at("b a TCP 1", None), "10.0.0.1");
    assert_eq!(at("b a TCP 1", Some(Family::V6)), "fd00::1");
    assert_eq!(at("203.0.113.9 a TCP 1", None), "10.0.0.1");
}

#[test]
fn the_answer_as_text_is_as_it_was() {
    let rules = "policyTypes: [Ingress, Egress], ingress: [{form: []}, {from: [{podSelector: \
                 {matchLabels: {app: c}}}], ports: [{port: web}]}], egress: [{}]";
    let seen = explained(&with(rules), "x/b x/a TCP 80").to_string();
    assert_eq!(
        seen,
        "deny: x/b (10.0.1.2) -> x/a (10.0.1.1) TCP 80\n\
         egress   allow by x/p egress[0]\n\
         \u{20}               tier default: NetworkPolicy x/p: allow by egress[0]\n\
         ingress  deny  no rule allows it; x/a is isolated by x/p\n\
         \u{20}               nearest: x/p ingress[1]\n\
         \u{20}                 pod labels: app=c wanted, has app=b\n\
         \u{20}                 port: web (8080) wanted, is 80\n\
         \u{20}               broken: x/p ingress[0] (see lockgate validate)\n\
         \u{20}               error: t.yaml:36: NetworkPolicy x/p: spec.ingress[0].form: \"form\" is \
         not a field of an ingress rule (write from; until then the whole rule opens nothing)\n\
         \u{20}               tier default: NetworkPolicy x/p: no match\n\
         \u{20}               tier default: its end: deny\n"
    );
    let mut icmp = request("203.0.113.9 x/a ICMP");
    (icmp.icmp_type, icmp.icmp_code) = (Some(8), Some(0));
    let seen = explain(&inventory(&small()), &icmp).unwrap().to_string();
    assert_eq!(
        seen,
        "allow: 203.0.113.9 -> x/a (10.0.1.1) ICMP type 8 code 0\n\
         egress   allow 203.0.113.9 is no pod that policies select\n\
         ingress  allow no policy selects x/a for ingress\n"
    );
}

#[test]
fn the_answer_as_json_has_the_agreed_shape() {
    let text = with("ingress: [{ports: [{port: 81}]}]");
    let seen = serde_json::to_value(explained(&text, "y/a x/b TCP 80")).unwrap();
    let wanted = serde_json::json!({
        "verdict": "deny",
        "from": "y/a",
        "from_address": "10.0.2.1",
        "to": "x/b",
        "to_address": "10.0.1.2",
        "protocol": "TCP",
        "port": 80,
        "source_port": null,
        "icmp_type": null,
        "icmp_code": null,
        "egress": {"verdict": "allow", "reason": "not_isolated", "by": [], "isolated_by": [],
            "nearest": null, "broken": [], "problems": [],
            "walk": []},
        "ingress": {"verdict": "deny", "reason": "default_deny", "by": [], "isolated_by": ["x/p"],
            "nearest": {"policy": "x/p", "rule": 0, "failed": ["port"],
                "detail": ["81 wanted, is 80"]},
            "broken": [], "problems": [],
            "walk": [
                {"tier": "default", "policy": "x/p", "kind": "NetworkPolicy", "said": "no_match", "rule": null},
                {"tier": "default", "policy": null, "kind": null, "said": "deny", "rule": null},
            ]},
        "staged": null,
        "caveats": [],
    });
    assert_eq!(seen, wanted);
    let seen = serde_json::to_value(explained(&text, "y/a x/b TCP 81")).unwrap();
    assert_eq!(seen["ingress"]["by"], serde_json::json!([{"policy": "x/p", "rule": 0}]));
}

#[test]
fn what_the_switch_does_whatever_policy_says_is_told_beside_the_verdict() {
    let caveats = |question: &str| explained(&small(), question).caveats;
    for plain in ["x/a x/b TCP 80", "x/a 169.254.169.254 TCP 80", "203.0.113.9 x/a TCP 80"] {
        assert_eq!(caveats(plain), [] as [&str; 0], "{plain}");
    }
    for (address, what) in [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "this network"),
        ("127.0.0.1", "loopback"),
        ("224.0.0.5", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
    ] {
        let (to, from) = (format!("x/a {address} TCP 80"), format!("{address} x/a TCP 80"));
        for question in [to, from] {
            let seen = caveats(&question);
            assert!(seen.len() == 1 && seen[0].contains(what), "{question}: {seen:?}");
        }
    }
    assert!(caveats("x/a 169.254.1.1 ICMP")[0].contains("answers echo"));
    assert!(caveats("x/a 169.254.1.1 TCP 80")[0].contains("gateway"));
    // To a pod it is what a Service brings back.
    assert_eq!(caveats("169.254.1.1 x/a TCP 80").len(), 1);
    let six = [("::1", "loopback"), ("fe80::1", "gateway"), ("fe80::2", "link-local")];
    for (address, what) in six.into_iter().chain([("ff02::1", "multicast"), ("::5", "written")]) {
        let seen = caveats(&format!("2001:db8::1 {address} TCP 80"));
        assert!(seen.len() == 2 && seen[1].contains(what), "{address}: {seen:?}");
    }
    let outside = explained(&small(), "203.0.113.9 203.0.113.8 TCP 80");
    assert!(outside.caveats[0].contains("neither 203.0.113.9 nor 203.0.113.8"));
    assert!(outside.to_string().ends_with("no policy judges this\n"), "{outside}");
}

#[test]
fn what_is_staged_is_told_beside_the_verdict() {
    let staged = "---\napiVersion: projectcalico.org/v3\nkind: StagedNetworkPolicy\nmetadata: {name: s, \
                  namespace: x}\nspec: {selector: all(), order: 1, types: [Ingress], ingress: \
                  [{action: Log}, {action: Deny}]}\n";
    let shown = explained(&(small() + staged), "y/a x/b TCP 81");
    assert_eq!(shown.verdict, Verdict::Allow);
    let would = shown.staged.as_ref().unwrap();
    assert_eq!((would.verdict, would.ingress.reason), (Verdict::Deny, Reason::DenyRule));
    let text = shown.to_string();
    let (_, would) = text.split_once("were all in force that is staged: deny\n").unwrap();
    let told = "\
ingress  deny  by x/s ingress[1]
                tier default: StagedNetworkPolicy x/s: log by ingress[0]
                tier default: StagedNetworkPolicy x/s: deny by ingress[1]
";
    assert!(would.contains(told), "{text}");
    // Whom it does not select is told nothing of it.
    assert_eq!(explained(&(small() + staged), "y/a y/a TCP 81").staged, None);
}

#[test]
fn cnp_14_the_own_node_is_judged_where_the_switch_is_set_so() {
    let rule = "ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 80}]}]";
    let inventory =
        inventory(&(namespace("x", "") + &pod("x/a", "10.0.1.1", "app: a") + &policy("x/p", rule)));
    for (own_node, port, wanted) in [
        (OwnNode::Exempt, 81, (Verdict::Allow, Reason::OwnNode)),
        (OwnNode::Judged, 81, (Verdict::Deny, Reason::DefaultDeny)),
        (OwnNode::Judged, 80, (Verdict::Allow, Reason::Rule)),
    ] {
        let explainer = Explainer::new(&inventory).with_own_node(own_node);
        let asked = request(&format!("192.0.2.1 x/a TCP {port}"));
        let side = explainer.explain(&asked).unwrap().ingress;
        assert_eq!((side.verdict, side.reason), wanted, "{own_node:?} {port}");
    }
}

#[test]
fn two_of_one_name_are_told_apart_by_their_kinds() {
    let calico = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p, \
                  namespace: x}\nspec: {order: 5, ingress: [{action: Allow, source: {selector: \
                  app == 'z'}}]}\n---\n";
    let text = with("podSelector: {}") + calico;
    let side = explained(&text, "y/a x/a TCP 80").ingress;
    let names = ["NetworkPolicy.projectcalico.org x/p", "NetworkPolicy x/p"];
    assert_eq!(side.isolated_by, names);
    assert_eq!(side.nearest.unwrap().policy, names[0]);
    assert!(side.walk.iter().all(|step| step.policy.as_deref().is_none_or(|name| name == "x/p")));
    assert_eq!(explained(&(small() + calico), "y/a x/a TCP 80").ingress.isolated_by, ["x/p"]);
    // One of each side.
    let text = with("podSelector: {}, policyTypes: [Egress], egress: [{}]") + calico;
    let both = explained(&text, "x/a x/b TCP 80");
    let by: Vec<_> = both.egress.by.iter().map(|rule| rule.policy.as_str()).collect();
    assert_eq!((by, both.ingress.isolated_by), (vec![names[1]], vec![names[0].to_owned()]));
}

#[test]
fn the_version_of_ip_is_what_a_rule_misses() {
    let rule = |more: &str| {
        small()
            + &format!(
                "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: p}}\nspec: \
             {{ingress: [{{action: Allow, ipVersion: 6{more}}}]}}\n"
            )
    };
    for more in ["", ", protocol: TCP, destination: {ports: [80]}", ", source: {selector: all()}"] {
        let nearest = explained(&rule(more), "y/a x/a TCP 80").ingress.nearest.unwrap();
        let told = (nearest.failed, nearest.detail);
        assert_eq!(told, (vec![Part::Family], vec!["IPv6 wanted, is IPv4".to_owned()]), "{more}");
    }
}

#[test]
fn a_policy_that_is_written_twice_is_a_caveat() {
    let twice = with("podSelector: {}") + &policy("x/p", "podSelector: {}, ingress: [{}]");
    let seen = explained(&twice, "y/a x/a TCP 80");
    assert_eq!(seen.verdict, Verdict::Allow);
    assert_eq!(seen.caveats.len(), 1, "{seen}");
    assert!(
        seen.caveats[0].starts_with("NetworkPolicy x/p is written twice: in t.yaml:"),
        "{seen}"
    );
    assert_eq!(explained(&twice, "y/a 203.0.113.9 TCP 80").caveats, Vec::<String>::new());
    // What counts may be for nobody here.
    let gone = with("podSelector: {}") + &policy("x/p", "podSelector: {matchLabels: {app: z}}");
    assert_eq!(explained(&gone, "y/a x/a TCP 80").caveats.len(), 1);
    let spaces = small() + &namespace("x", "team: x") + &namespace("x", "team: z");
    assert!(
        explained(&spaces, "y/a x/a TCP 80").caveats[0].starts_with("Namespace x is written twice")
    );
    let pods = small() + &pod("x/a", "10.0.1.1", "app: z");
    assert_eq!(explained(&pods, "y/a x/b TCP 80").caveats, Vec::<String>::new());
}

#[test]
fn a_services_address_is_said_to_be_one_and_who_is_judged_instead() {
    let service = |spec: &str, endpoints: &str| {
        small()
            + &format!(
                "apiVersion: v1
kind: Service
metadata: {{name: s, namespace: x}}
spec: {{clusterIP: 10.96.0.1, {spec} ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s, namespace: x, labels: {{kubernetes.io/service-name: s}}}}
addressType: IPv4
endpoints: [{endpoints}]
ports: [{{port: 8080}}]
"
            )
    };
    let told = |text: &str, port: u16| {
        let seen = explained(text, &format!("x/a 10.96.0.1 TCP {port}"));
        seen.caveats.join("; ")
    };
    let two = service("", "{addresses: [10.0.1.1]}, {addresses: [10.0.1.2]}");
    assert!(told(&two, 80).contains("Service x/s: policy judges its backends instead, "));
    assert!(told(&two, 80).contains("10.0.1.1:8080, 10.0.1.2:8080"), "{}", told(&two, 80));
    assert!(told(&two, 81).contains("where nobody serves this"), "{}", told(&two, 81));
    assert!(told(&service("", ""), 80).contains("has no backends"));
    let near = service("internalTrafficPolicy: Local,", "{addresses: [10.0.1.1], nodeName: n}");
    assert!(told(&near, 80).contains("on the client's node"), "{}", told(&near, 80));
    assert!(explained(&two, "x/a x/b TCP 80").caveats.is_empty());
    let ranges = "type: LoadBalancer, loadBalancerSourceRanges: [198.51.100.0/24],";
    let balanced = service(ranges, "{addresses: [10.0.1.1]}").replace(
        "---\napiVersion: discovery",
        "status: {loadBalancer: {ingress: [{ip: 203.0.113.7}]}}\n---\napiVersion: discovery",
    );
    let seen =
        |from: &str| explained(&balanced, &format!("{from} 203.0.113.7 TCP 80")).caveats.join("; ");
    assert!(
        seen("9.9.9.9").contains("do not hold 9.9.9.9: the switch drops"),
        "{}",
        seen("9.9.9.9")
    );
    assert!(
        seen("198.51.100.9").contains("policy judges its backends"),
        "{}",
        seen("198.51.100.9")
    );
}

#[test]
fn a_nodes_port_that_leads_to_a_service_is_told_with_who_is_judged_instead() {
    let text = |policy: &str, endpoints: &str| {
        let node = |name: &str, address: &str| {
            format!(
                "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nstatus: {{addresses: [{{type: \
                 InternalIP, address: {address}}}]}}\n---\n"
            )
        };
        small()
            + &node("own", "192.0.2.1")
            + &node("far", "192.0.2.2")
            + &format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: s, namespace: x}}\nspec: {{type: \
                 NodePort, clusterIP: 10.96.0.1, externalTrafficPolicy: {policy}, ports: [{{port: 80, \
                 nodePort: 30080}}]}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata: {{name: s, namespace: x, labels: {{kubernetes.io/service-name: s}}}}\n\
                 addressType: IPv4\nendpoints: [{endpoints}]\nports: [{{port: 8080}}]\n"
            )
    };
    let both = "{addresses: [10.0.1.1], nodeName: own}, {addresses: [10.0.1.9], nodeName: far}";
    let told =
        |policy: &str, question: &str| explained(&text(policy, both), question).caveats.join("; ");
    let own = told("Cluster", "x/a 192.0.2.1 TCP 30080");
    assert!(
        own.contains(
            "192.0.2.1 is the address of node own, whose port 30080 leads to Service x/s:"
        )
    );
    assert!(
        own.contains("policy judges its backends instead, 10.0.1.1:8080, 10.0.1.9:8080"),
        "{own}"
    );
    assert!(told("Local", "x/a 192.0.2.1 TCP 30080").contains("10.0.1.9:8080"), "pods ask any");
    let far = told("Cluster", "x/a 192.0.2.2 TCP 30080");
    assert!(far.contains("10.0.1.1:8080, 10.0.1.9:8080, are asked there, by that node"), "{far}");
    let far = told("Local", "x/a 192.0.2.2 TCP 30080");
    assert!(far.contains("its backends, 10.0.1.9:8080, are asked there, by the sender"), "{far}");
    assert_eq!(told("Cluster", "x/a 192.0.2.2 TCP 30081"), "", "another port");
    assert_eq!(told("Cluster", "x/a 192.0.2.2 UDP 30080"), "", "another protocol");
    let none = explained(&text("Cluster", ""), "x/a 192.0.2.1 TCP 30080").caveats.join("; ");
    assert!(none.contains("has no backends"), "{none}");
}
