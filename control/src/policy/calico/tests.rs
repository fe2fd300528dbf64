use super::super::sample::{
    first, object, policy, reading, selection_words, shape, shape_of, words,
};
use super::super::tier::{DefaultAction, Tier};
use super::*;
use crate::manifest::Severity;

const NAMESPACED: Kind = Kind::CalicoNetworkPolicy;
const GLOBAL: Kind = Kind::GlobalNetworkPolicy;

/// A policy whose text has no problem.
fn clean(kind: Kind, text: &str) -> OrderedPolicy {
    let (policy, problems) = policy(kind, text);
    assert_eq!(problems, [], "{text}");
    policy
}

fn all_words(rules: Option<&Vec<Listed>>) -> Vec<String> {
    rules.unwrap().iter().map(words).collect()
}

#[test]
fn the_seeds_zero_trust_start_isolates_the_namespace() {
    let text = "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: default-deny-fmeserver
  namespace: fmeserver
spec:
  order: 100
  selector: all()
  types:
  - Ingress
  - Egress
";
    let policy = clean(NAMESPACED, text);
    assert_eq!(shape(&policy), "i: e:");
    assert_eq!(selection_words(&policy.subject), "in fmeserver");
    assert_eq!((policy.tier.as_deref(), policy.order), (Some("default"), Order::of(100)));
}

#[test]
fn the_seeds_first_engine_policy_mixes_numbers_and_ranges() {
    let text = "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: engine-fmeserver
  namespace: fmeserver
spec:
  order: 0
  selector: safe.k8s.fmeserver.component contains 'engine'
  ingress:
  - action: Allow
    protocol: TCP
    source:
      selector: statefulset.kubernetes.io/pod-name contains 'core'
    destination:
      ports: [7500, 7501, '4500:4800']
  egress:
  - action: Allow
";
    let policy = clean(NAMESPACED, text);
    let subject = "in fmeserver with safe.k8s.fmeserver.component contains \"engine\"";
    assert_eq!(selection_words(&policy.subject), subject);
    let ingress = "allow [in fmeserver with statefulset.kubernetes.io/pod-name contains \"core\" or \
                   set] {6 to 7500,7501,4500:4800}";
    assert_eq!(all_words(policy.ingress.as_ref()), [ingress]);
    assert_eq!(all_words(policy.egress.as_ref()), ["allow [] {}"]);
}

#[test]
fn the_seeds_tiered_engine_policy_names_its_tier_and_quotes_its_ports() {
    let text = "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: application.engine-fmeserver
  namespace: fme
spec:
  tier: application
  order: 37.5
  selector: safe.k8s.fmeserver.component == \"engine\"
  serviceAccountSelector: ''
  ingress:
  - action: Allow
    protocol: TCP
    source:
      selector: safe.k8s.fmeserver.component == \"core\"
    destination:
      ports:
      - '7500'
  egress:
  - action: Allow
    protocol: TCP
    source: {}
    destination:
      selector: safe.k8s.fmeserver.component == \"core\"
      ports:
      - '7070'
      - '42000:43000'
  - action: Allow
    protocol: TCP
    source: {}
    destination:
      selector: app.kubernetes.io/name == \"postgresql\"
      ports:
      - '5432'
  types:
  - Ingress
  - Egress
";
    let policy = clean(NAMESPACED, text);
    assert_eq!(policy.tier.as_deref(), Some("application"));
    assert_eq!(policy.order, Order::new(37.5).unwrap());
    assert_eq!(&*policy.metadata.key.name, "application.engine-fmeserver");
    let engine = "in fme with safe.k8s.fmeserver.component == \"engine\"";
    assert_eq!(selection_words(&policy.subject), engine);
    let core = "in fme with safe.k8s.fmeserver.component == \"core\" or set";
    assert_eq!(all_words(policy.ingress.as_ref()), [format!("allow [{core}] {{6 to 7500}}")]);
    assert_eq!(
        all_words(policy.egress.as_ref()),
        [
            format!("allow [{core}] {{6 to 7070,42000:43000}}"),
            "allow [in fme with app.kubernetes.io/name == \"postgresql\" or set] {6 to 5432}"
                .to_owned(),
        ]
    );
}

#[test]
fn the_seeds_queue_policy_denies_all_egress() {
    let text = "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: queue-fmeserver
  namespace: fmeserver
spec:
  order: 0
  selector: statefulset.kubernetes.io/pod-name contains 'queue'
  ingress:
  - action: Allow
    protocol: TCP
    source:
      selector: statefulset.kubernetes.io/pod-name contains 'core'
    destination:
      ports: [6379]
  egress:
  - action: Deny
";
    let policy = clean(NAMESPACED, text);
    assert_eq!(shape(&policy), "i:a e:d");
    assert_eq!(all_words(policy.egress.as_ref()), ["deny [] {}"]);
}

#[test]
fn types_default_by_the_rules_and_not_as_in_kubernetes() {
    for (spec, wanted) in [
        ("", "i:"),
        ("selector: all()", "i:"),
        ("ingress: [], egress: []", "i:"),
        ("ingress: [{action: Allow}]", "i:a"),
        ("egress: [{action: Allow}]", "e:a"),
        ("ingress: [], egress: [{action: Allow}]", "e:a"),
        ("ingress: [{action: Deny}], egress: [{action: Allow}]", "i:d e:a"),
        ("types: [], egress: [{action: Allow}]", "e:a"),
        ("types: [Ingress], egress: [{action: Allow}]", "i:"),
        ("types: [Egress], ingress: [{action: Allow}]", "e:"),
        ("types: [Egress, Ingress]", "i: e:"),
        ("types: [Ingres]", "i: e:"),
        ("types: [Ingress, Egress, Ingress]", "i: e:"),
        ("types: Ingress", "i: e:"),
        ("types: [1]", "i: e:"),
        ("types: [Ingres], egress: [{action: Allow}, {action: Deny}]", "i: e:-d"),
    ] {
        assert_eq!(shape_of(NAMESPACED, spec), wanted, "{spec}");
        assert_eq!(shape_of(GLOBAL, spec), wanted, "{spec}");
    }
    let text = object(NAMESPACED, "types: [Ingress], egress: [{action: Allow}]");
    let (_, problems) = policy(NAMESPACED, &text);
    assert_eq!(problems[0].severity, Severity::Warning);
}

#[test]
fn no_spec_denies_all_ingress_and_a_spec_that_is_none_denies_everything() {
    let (policy_without, _) = policy(NAMESPACED, "kind: X\nmetadata: {namespace: x, name: p}\n");
    assert_eq!(shape(&policy_without), "i:");
    assert_eq!(selection_words(&policy_without.subject), "in x");
    let misspelt =
        "kind: X\nmetadata: {namespace: x, name: p}\nspecs: {egress: [{action: Allow}]}\n";
    assert_eq!(shape(&policy(NAMESPACED, misspelt).0), "i:! e:!");
    let (list, problems) = policy(GLOBAL, "kind: X\nmetadata: {name: p}\nspec: []\n");
    assert_eq!((shape(&list).as_str(), list.tier), ("i:! e:!", None));
    assert!(problems[0].remedy.contains("denies everything"), "{problems:?}");
}

#[test]
fn subjects_are_all_that_is_given() {
    for (kind, spec, wanted) in [
        (NAMESPACED, "selector: ''", "in x"),
        (NAMESPACED, "selector: all()", "in x"),
        (NAMESPACED, "selector: a == 'b'", "in x with a == \"b\""),
        (NAMESPACED, "serviceAccountSelector: a == 'b'", "in x as  pcsa.a == \"b\""),
        (GLOBAL, "selector: ''", "anywhere"),
        (GLOBAL, "selector: has(a)", "anywhere with has(a)"),
        (GLOBAL, "namespaceSelector: a == 'b'", "where pcns.a == \"b\""),
        (GLOBAL, "namespaceSelector: all()", "where has(projectcalico.org/namespace)"),
        (
            GLOBAL,
            "selector: has(a), namespaceSelector: has(b), serviceAccountSelector: has(c)",
            "where has(pcns.b) with has(a) as  has(pcsa.c)",
        ),
    ] {
        let policy = clean(kind, &object(kind, spec));
        assert_eq!(selection_words(&policy.subject), wanted, "{spec}");
    }
}

#[test]
fn a_broken_subject_is_every_pod_and_opens_nothing() {
    let rules = "ingress: [{action: Allow}, {action: Deny}, {action: Pass}, {action: Log}]";
    for (kind, spec, wanted) in [
        (NAMESPACED, "selector: b", "in x"),
        (NAMESPACED, "selector: 1", "in x"),
        (NAMESPACED, "selector: {a: b}", "in x"),
        (NAMESPACED, "selector: global()", "in x"),
        (NAMESPACED, "serviceAccountSelector: '%'", "in x"),
        (GLOBAL, "selector: a = 'b'", "anywhere"),
        (GLOBAL, "namespaceSelector: '!'", "anywhere"),
        (GLOBAL, "namespaceSelector: global()", "anywhere"),
    ] {
        let (policy, problems) = policy(kind, &object(kind, &format!("{spec}, {rules}")));
        assert_eq!(shape(&policy), "i:-d!l", "{spec}");
        assert_eq!(selection_words(&policy.subject), wanted, "{spec}");
        assert_eq!(problems.len(), 1, "{spec}: {problems:?}");
        assert!(problems[0].remedy.contains("opens nothing"), "{problems:?}");
    }
    let text = object(NAMESPACED, rules).replace("namespace: x", "namespace: X");
    let (lost, _) = policy(NAMESPACED, &text);
    let seen = (shape(&lost), selection_words(&lost.subject));
    assert_eq!((seen.0.as_str(), seen.1.as_str()), ("i:-d!l", "anywhere"));
}

#[test]
fn an_order_that_cannot_be_read_is_the_first_and_opens_nothing() {
    let rules = "ingress: [{action: Allow}, {action: Deny}, {action: Pass}]";
    for (order, wanted) in [
        ("10", Order::new(10.0)),
        ("-5", Order::new(-5.0)),
        ("0", Order::new(0.0)),
        ("1e3", Order::new(1000.0)),
        ("37.5", Order::new(37.5)),
        ("null", Some(Order::LAST)),
        ("'10'", None),
        ("ten", None),
        ("0x10", None),
        ("010", None),
        (".inf", None),
        (".nan", None),
        ("1e999", None),
        ("[1]", None),
        ("true", None),
    ] {
        let text = object(NAMESPACED, &format!("order: {order}, {rules}"));
        let (policy, _) = policy(NAMESPACED, &text);
        assert_eq!(policy.order, wanted.unwrap_or(Order::FIRST), "{order}");
        assert_eq!(shape(&policy), if wanted.is_some() { "i:adp" } else { "i:-d!" }, "{order}");
    }
}

#[test]
fn a_tier_that_cannot_be_read_is_before_all_and_denies() {
    let rules = "ingress: [{action: Allow}]";
    for (spec, tier, wanted) in [
        ("tier: ''", Some("default"), "i:a"),
        ("tier: null", Some("default"), "i:a"),
        ("tier: application", Some("application"), "i:a"),
        ("tier: Bad.Name", Some("Bad.Name"), "i:a"),
        ("tier: 1", None, "i:!"),
        ("tier: [a]", None, "i:!"),
        ("teir: a, types: [Ingress]", None, "i:!"),
    ] {
        let (policy, _) = policy(NAMESPACED, &object(NAMESPACED, &format!("{spec}, {rules}")));
        assert_eq!((policy.tier.as_deref(), shape(&policy).as_str()), (tier, wanted), "{spec}");
    }
}

#[test]
fn an_unknown_field_opens_nothing_and_may_have_been_rules() {
    for (spec, wanted) in [
        ("unheardOf: 1, ingress: [{action: Allow}]", "i:- e:"),
        ("unheardOf: 1, types: [Ingress], ingress: [{action: Allow}, {action: Deny}]", "i:-d"),
        ("ingres: [{action: Deny}], types: [Ingress]", "i:!"),
        ("oder: 10, types: [Ingress], ingress: [{action: Deny}]", "i:d"),
        ("namespaceSelector: all(), types: [Ingress], ingress: [{action: Allow}]", "i:-"),
        ("stagedAction: Set, types: [Ingress], ingress: [{action: Allow}]", "i:-"),
        ("ingress: {}, types: [Ingress]", "i:!"),
        ("ingress: {}", "i:!"),
    ] {
        let (policy, _) = policy(NAMESPACED, &object(NAMESPACED, spec));
        assert_eq!(shape(&policy), wanted, "{spec}");
    }
    let (policy, _) = policy(NAMESPACED, &object(NAMESPACED, "oder: 10, types: [Ingress]"));
    assert_eq!(policy.order, Order::FIRST);
}

#[test]
fn another_version_opens_nothing() {
    let text = object(NAMESPACED, "ingress: [{action: Allow}, {action: Deny}]");
    let (policy, _) = reading(&text, true, |root, metadata, report| {
        read(root, NAMESPACED, metadata, false, report)
    });
    assert_eq!(shape(&policy), "i:-d");
}

#[test]
fn each_part_of_a_rule_is_read() {
    for (rule, wanted) in [
        ("{action: Allow}", "allow [] {}"),
        ("{action: Log, source: {}, destination: {}}", "log [] {}"),
        ("{action: Pass, metadata: {annotations: {a: b}}}", "pass [] {}"),
        ("{action: Deny, ipVersion: 6}", "deny [] {V6}"),
        ("{action: Deny, protocol: UDP, notProtocol: TCP}", "deny [] {17 !6}"),
        ("{action: Deny, protocol: 47}", "deny [] {47}"),
        ("{action: Deny, protocol: '47'}", "deny [] {47}"),
        ("{action: Deny, protocol: udplite}", "deny [] {136}"),
        ("{action: Deny, protocol: ICMP, icmp: {type: 8}}", "deny [] {1 icmp 8}"),
        (
            "{action: Deny, ipVersion: 6, protocol: ICMPv6, icmp: {type: 1, code: 0}, notICMP: \
             {type: 1, code: 4}}",
            "deny [] {V6 58 icmp 1/0 !icmp 1/4}",
        ),
        ("{action: Deny, protocol: ICMP, icmp: {}}", "deny [] {1}"),
        (
            "{action: Allow, source: {nets: [10.0.0.0/8, 192.0.2.1], notNets: [10.1.2.3/16]}}",
            "allow [10.0.0.0/8,192.0.2.1/32 !10.1.0.0/16] {V4}",
        ),
        (
            "{action: Allow, protocol: TCP, source: {ports: [1, '2:3', web], notPorts: [4]}, \
             destination: {ports: ['0:9'], notPorts: ['5', Web_1.a]}}",
            "allow [] {6 from 1,2:3,web from !4 to 0:9 to !5,Web_1.a}",
        ),
        ("{action: Allow, source: {selector: has(a)}}", "allow [in x with has(a) or set] {}"),
        ("{action: Allow, source: {selector: all()}}", "allow [in x or set] {}"),
        ("{action: Allow, source: {selector: ''}}", "allow [] {}"),
        ("{action: Deny, source: {notNets: ['fd00::/8']}}", "deny [!fd00::/8] {V6}"),
        ("{action: Deny, source: {notNets: [0.0.0.0/0]}}", "deny [!0.0.0.0/0] {V4}"),
        ("{action: Allow, source: {notSelector: has(a)}}", "allow [in x or set not has(a)] {}"),
        (
            "{action: Allow, source: {namespaceSelector: a == 'b', selector: has(c)}}",
            "allow [where pcns.a == \"b\" with has(c) or set] {}",
        ),
        (
            "{action: Allow, source: {namespaceSelector: all()}}",
            "allow [where has(projectcalico.org/namespace) or set] {}",
        ),
        (
            "{action: Allow, source: {namespaceSelector: global(), selector: has(c)}}",
            "allow [global with has(c) or set] {}",
        ),
        (
            "{action: Allow, source: {serviceAccounts: {names: [a, b], selector: has(c)}}}",
            "allow [in x as a,b has(pcsa.c) or set] {}",
        ),
        ("{action: Allow, source: {serviceAccounts: {}}}", "allow [] {}"),
        (
            "{action: Allow, protocol: TCP, source: {services: {name: s}, ports: [1]}}",
            "allow [service x/s] {6 from 1}",
        ),
        ("{action: Allow, source: {services: {name: s, namespace: y}}}", "allow [service y/s] {}"),
        (
            "{action: Allow, destination: {nets: [10.0.0.1/32], selector: has(a)}}",
            "allow own[10.0.0.1/32 in x with has(a) or set] [] {V4}",
        ),
    ] {
        assert_eq!(first(NAMESPACED, &format!("ingress: [{rule}]")), wanted, "{rule}");
    }
}

#[test]
fn the_ends_of_egress_are_the_other_way_round() {
    for (rule, wanted) in [
        (
            "{action: Allow, source: {selector: has(a)}, destination: {nets: ['fd00::/8']}}",
            "allow own[in x with has(a) or set] [fd00::/8] {V6}",
        ),
        ("{action: Allow, destination: {services: {name: s}}}", "allow [service x/s] {}"),
        (
            "{action: Allow, protocol: SCTP, source: {ports: [7]}, destination: {ports: [8]}}",
            "allow [] {132 from 7 to 8}",
        ),
    ] {
        assert_eq!(first(NAMESPACED, &format!("egress: [{rule}]")), wanted, "{rule}");
    }
}

#[test]
fn in_a_global_policy_selectors_are_about_everything() {
    for (rule, wanted) in [
        ("{action: Allow, source: {selector: has(a)}}", "allow [anywhere with has(a) or set] {}"),
        ("{action: Allow, source: {notSelector: has(a)}}", "allow [not has(a)] {}"),
        (
            "{action: Allow, source: {serviceAccounts: {names: [a]}}}",
            "allow [anywhere as a or set] {}",
        ),
        (
            "{action: Allow, source: {namespaceSelector: '!has(a)'}}",
            "allow [where !has(pcns.a) or set] {}",
        ),
        ("{action: Deny, source: {services: {name: s}}}", "DenyAll"),
        ("{action: Deny, source: {services: {name: s, namespace: y}}}", "deny [service y/s] {}"),
    ] {
        assert_eq!(first(GLOBAL, &format!("ingress: [{rule}]")), wanted, "{rule}");
    }
}

/// What breaks a rule, whatever its action.
const BROKEN: &[&str] = &[
    "unheardOf: 1",
    "Source: {}",
    "ipVersion: 5",
    "ipVersion: '4'",
    "protocol: QUIC",
    "protocol: 0",
    "protocol: 256",
    "protocol: ''",
    "notProtocol: [TCP]",
    "icmp: {type: 8}",
    "protocol: TCP, icmp: {type: 8}",
    "protocol: ICMP, icmp: {code: 0}",
    "protocol: ICMP, icmp: {type: 255}",
    "protocol: ICMP, icmp: {type: 8, code: 256}",
    "protocol: ICMP, icmp: {kind: 8}",
    "notICMP: {type: 8}",
    "protocol: ICMP, ipVersion: 6",
    "protocol: ICMPv6, ipVersion: 4",
    "notProtocol: ICMPv6, ipVersion: 4",
    "metadata: {labels: {}}",
    "metadata: 1",
    "source: []",
    "source: {net: [10.0.0.0/8]}",
    "source: {nets: 10.0.0.0/8}",
    "source: {nets: [nonsense]}",
    "source: {nets: [10.0.0.0/33]}",
    "source: {nets: [10.0.0.0/8, 'fd00::/8']}",
    "source: {nets: [10.0.0.0/8], notNets: ['fd00::/8']}",
    "source: {nets: [10.0.0.0/8]}, destination: {nets: ['fd00::/8']}",
    "ipVersion: 6, source: {nets: [10.0.0.0/8]}",
    "source: {selector: b}",
    "source: {selector: [a]}",
    "source: {selector: global()}",
    "source: {notSelector: '%'}",
    "source: {notSelector: global()}",
    "source: {namespaceSelector: a == b}",
    "source: {namespaceSelector: global() && has(a)}",
    "source: {namespaceSelector: '!global()'}",
    "source: {ports: [80]}",
    "destination: {notPorts: [80]}",
    "protocol: ICMP, destination: {ports: [80]}",
    "protocol: UDPLite, destination: {ports: [80]}",
    "protocol: TCP, destination: {ports: [65536]}",
    "protocol: TCP, destination: {ports: [-1]}",
    "protocol: TCP, destination: {ports: ['80:79']}",
    "protocol: TCP, destination: {ports: ['80:']}",
    "protocol: TCP, destination: {ports: ['080']}",
    "protocol: TCP, destination: {ports: ['70000']}",
    "protocol: TCP, destination: {ports: ['a b']}",
    "protocol: TCP, destination: {ports: ['']}",
    "protocol: TCP, destination: {ports: [80.5]}",
    "protocol: TCP, destination: {ports: 80}",
    "source: {serviceAccounts: {name: a}}",
    "source: {serviceAccounts: {names: [A]}}",
    "source: {serviceAccounts: {selector: '!'}}",
    "source: {services: {}}",
    "source: {services: {name: S}}",
    "source: {services: {name: s, namespace: a.b}}",
    "source: {services: {name: s}, selector: has(a)}",
    "source: {services: {name: s}, notSelector: has(a)}",
    "source: {services: {name: s}, namespaceSelector: has(a)}",
    "source: {services: {name: s}, nets: [10.0.0.0/8]}",
    "source: {services: {name: s}, serviceAccounts: {names: [a]}}",
    "destination: {services: {name: s}}",
];

#[test]
fn a_broken_part_closes_its_rule_by_its_action() {
    for part in BROKEN {
        let rules = ["Allow", "Deny", "Pass", "Log"]
            .map(|action| format!("{{action: {action}, {part}}}"))
            .join(", ");
        let spec = format!("ingress: [{rules}, {{action: Allow}}], types: [Ingress]");
        let (policy, problems) = policy(NAMESPACED, &object(NAMESPACED, &spec));
        assert_eq!(shape(&policy), "i:-!!-a", "{part}");
        for (index, consequence) in
            ["matches nothing", "denies everything", "denies everything", "matches nothing"]
                .into_iter()
                .enumerate()
        {
            let field = format!("spec.ingress[{index}]");
            let of_rule: Vec<_> =
                problems.iter().filter(|one| one.field.starts_with(&field)).collect();
            assert!(!of_rule.is_empty(), "{part}");
            for problem in of_rule {
                assert!(problem.remedy.contains(consequence), "{part}: {problem}");
            }
        }
    }
    for part in ["{services: {name: s}, ports: [80]}", "{services: {name: s}, notPorts: [80]}"] {
        let spec = format!("egress: [{{action: Allow, protocol: TCP, destination: {part}}}]");
        assert_eq!(shape_of(NAMESPACED, &spec), "e:-", "{part}");
    }
    assert_eq!(
        shape_of(NAMESPACED, "egress: [{action: Deny, source: {services: {name: s}}}]"),
        "e:!"
    );
}

#[test]
fn a_rule_whose_action_is_unknown_denies_everything() {
    for rule in ["{}", "{action: allow}", "{action: Accept}", "{action: 1}", "null", "[]", "Allow"]
    {
        let spec = format!("ingress: [{rule}, {{action: Allow}}]");
        assert_eq!(shape_of(NAMESPACED, &spec), "i:!a", "{rule}");
    }
}

#[test]
fn what_cannot_be_enforced_never_opens_and_still_denies() {
    let http = "protocol: TCP, http: {methods: [GET]}, source: {nets: [10.0.0.0/8]}";
    let rules = ["Allow", "Deny", "Pass", "Log"]
        .map(|action| format!("{{action: {action}, {http}}}"))
        .join(", ");
    let text = object(NAMESPACED, &format!("ingress: [{rules}]"));
    let (policy, problems) = policy(NAMESPACED, &text);
    assert_eq!(shape(&policy), "i:-d!-");
    assert_eq!(words(&policy.ingress.unwrap()[1]), "deny [10.0.0.0/8] {V4 6}");
    assert_eq!(problems.len(), 4);
    assert!(problems.iter().all(|one| one.message.contains("http is not enforced")));
}

#[test]
fn policies_for_host_endpoints_say_nothing_of_pods() {
    for (spec, wanted, count) in [
        ("doNotTrack: true, applyOnForward: true", "", 1),
        ("preDNAT: true, applyOnForward: true", "", 1),
        ("preDNAT: true", "", 2),
        ("preDNAT: true, doNotTrack: true, applyOnForward: true", "", 2),
        ("preDNAT: true, applyOnForward: true, egress: [{action: Deny}]", "", 2),
        ("doNotTrack: false, preDNAT: false, applyOnForward: true", "i:", 0),
        ("doNotTrack: 'true', ingress: [{action: Allow}]", "i:-", 1),
    ] {
        let (policy, problems) = policy(GLOBAL, &object(GLOBAL, spec));
        assert_eq!((shape(&policy).as_str(), problems.len()), (wanted, count), "{problems:?}");
    }
}

#[test]
fn a_host_endpoint_is_whom_rules_mean_at_its_expected_addresses() {
    let known = "node: n, interfaceName: eth0, profiles: [p], ports: []";
    for (labels, spec, nets, is_whole, is_labelled) in [
        ("a: b", "node: n, expectedIPs: [192.0.2.1, 'fd00::1']", 2, true, true),
        ("a: b", known, 0, true, true),
        ("a: b", "expectedIPs: [192.0.2.1, 192.0.2.0/24]", 1, false, true),
        ("a: b", "expectedIPs: 192.0.2.1", 0, false, true),
        ("a: b", "expectedIP: [192.0.2.1]", 0, false, true),
        ("a: b", "nets: [192.0.2.0/24]", 0, false, true),
        ("pcns.team: y", "expectedIPs: [192.0.2.1]", 1, true, false),
    ] {
        let text = format!(
            "kind: HostEndpoint\nmetadata: {{name: h, labels: {{{labels}}}}}\nspec: {{{spec}}}\n"
        );
        let (host, problems) = reading(&text, false, NetworkSet::read_host);
        let seen = (host.nets.len(), host.is_whole, host.labels.is_some());
        assert_eq!(seen, (nets, is_whole, is_labelled), "{labels} {spec}");
        assert!(host.nets.iter().all(|net| net.prefix_len() == net.max_prefix_len()), "{spec}");
        assert!(problems.iter().any(|one| one.message.contains("is not enforced")), "{problems:?}");
        let is_nobody = problems.iter().any(|one| one.message.contains("nobody to rules"));
        assert_eq!(is_nobody, spec == known, "{spec}: {problems:?}");
    }
    let named = "kind: HostEndpoint\nmetadata: {name: h}\nspec: {expectedIPs: [192.0.2.1], ports: \
                 [{name: web, port: 80, protocol: TCP}]}\n";
    let (_, problems) = reading(named, false, NetworkSet::read_host);
    assert!(problems.iter().any(|one| one.field == "spec.ports"), "{problems:?}");
}

#[test]
fn lists_longer_than_the_api_allows_close_what_they_are_in() {
    let ports = |count| vec!["1"; count].join(", ");
    let rule =
        |count| format!("{{action: Allow, protocol: TCP, source: {{ports: [{}]}}}}", ports(count));
    assert_eq!(shape_of(NAMESPACED, &format!("ingress: [{}, {}]", rule(50), rule(51))), "i:a-");
    let nets = |count| vec!["10.0.0.0/8"; count].join(", ");
    let rule = |count| format!("{{action: Deny, source: {{notNets: [{}]}}}}", nets(count));
    assert_eq!(shape_of(NAMESPACED, &format!("ingress: [{}, {}]", rule(256), rule(257))), "i:d!");
    let many = vec!["{action: Allow}"; 1024].join(", ");
    let shape =
        shape_of(NAMESPACED, &format!("ingress: [{many}, {{action: Allow}}, {{action: Deny}}]"));
    assert!(shape.ends_with("aa-!"), "{shape}");
    let selector = format!("a == '{}'", "x".repeat(1024));
    assert_eq!(
        shape_of(NAMESPACED, &format!("selector: \"{selector}\", egress: [{{action: Allow}}]")),
        "e:-"
    );
}

#[test]
fn an_empty_list_restricts_nothing_and_is_told() {
    for part in ["nets", "notNets", "ports", "notPorts"] {
        let spec = format!("ingress: [{{action: Allow, source: {{{part}: []}}}}]");
        let (policy, problems) = policy(NAMESPACED, &object(NAMESPACED, &spec));
        assert_eq!(words(&policy.ingress.unwrap()[0]), "allow [] {}", "{part}");
        assert_eq!(problems[0].severity, Severity::Warning, "{part}");
    }
}

#[test]
fn staged_policies_say_what_is_to_become_of_them() {
    for (kind, spec, wanted) in [
        (Kind::StagedNetworkPolicy, "selector: all()", StagedAction::Set),
        (Kind::StagedNetworkPolicy, "stagedAction: Delete", StagedAction::Delete),
        (Kind::StagedGlobalNetworkPolicy, "stagedAction: Learn", StagedAction::Learn),
        (Kind::StagedGlobalNetworkPolicy, "namespaceSelector: has(a)", StagedAction::Set),
    ] {
        assert_eq!(clean(kind, &object(kind, spec)).staged, Some(wanted), "{spec}");
    }
    assert_eq!(clean(NAMESPACED, &object(NAMESPACED, "")).staged, None);
    let kind = Kind::StagedNetworkPolicy;
    let text = object(kind, "stagedAction: Delete, tier: t, selector: all(), order: 1");
    assert_eq!(policy(kind, &text).1.len(), 2, "what counts for nothing is told");
}

#[test]
fn policies_of_one_tier_stand_by_order_name_namespace_and_kind() {
    let named = |kind, name: &str, spec| {
        clean(kind, &object(kind, spec).replace("name: p", &format!("name: {name}")))
    };
    let sorted = [
        named(NAMESPACED, "z", "order: -1"),
        named(GLOBAL, "a", "order: 5"),
        named(NAMESPACED, "a", "order: 5"),
        named(NAMESPACED, "b", "order: 5"),
        named(NAMESPACED, "default.b", "order: 5"),
        named(NAMESPACED, "a", ""),
    ];
    assert!(sorted.is_sorted_by(|one, other| one.rank() < other.rank()));
    let admin = named(Kind::AdminNetworkPolicy, "a", "priority: 5, subject: {namespaces: {}}");
    let cluster = "tier: Admin, priority: 5, subject: {namespaces: {}}";
    assert!(named(Kind::ClusterNetworkPolicy, "z", cluster).rank() < admin.rank());
}

#[test]
fn tiers_are_read_closed_and_the_fixed_ones_are_fixed() {
    for (name, spec, order, default, opens, errors) in [
        ("t", "order: 37.5", Order::new(37.5), DefaultAction::Deny, true, 0),
        ("t", "order: 1, defaultAction: Pass", Order::new(1.0), DefaultAction::Pass, true, 0),
        ("t", "", Some(Order::LAST), DefaultAction::Deny, true, 0),
        ("t", "order: first", None, DefaultAction::Deny, false, 1),
        ("t", "order: 1, oder: 2", None, DefaultAction::Deny, false, 1),
        ("t", "defaultAction: Allow", Some(Order::LAST), DefaultAction::Deny, true, 1),
        ("a.b", "order: 1", Order::new(1.0), DefaultAction::Deny, true, 1),
        ("default", "order: 1000000", Order::new(1e6), DefaultAction::Deny, true, 0),
        ("default", "order: 5", Order::new(1e6), DefaultAction::Deny, true, 1),
        ("default", "defaultAction: Pass", Order::new(1e6), DefaultAction::Deny, true, 1),
        ("kube-admin", "", Order::new(1e3), DefaultAction::Pass, true, 0),
        ("kube-baseline", "order: 7", Order::new(1e7), DefaultAction::Pass, true, 1),
    ] {
        let text = format!("kind: Tier\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n");
        let (tier, problems) = reading(&text, false, Tier::read);
        let seen = (tier.order, tier.default_action, tier.opens, problems.len());
        let wanted = (order.unwrap_or(Order::FIRST), default, opens, errors);
        assert_eq!(seen, wanted, "{name} {spec}: {problems:?}");
    }
}

#[test]
fn sets_say_whether_they_are_whole() {
    for (labels, spec, nets, is_whole, is_labelled) in [
        ("a: b", "nets: [10.0.0.0/8, 192.0.2.7, 'fd00::/8']", 3, true, true),
        ("a: b", "", 0, true, true),
        ("a: b", "nets: []", 0, true, true),
        ("a: b", "nets: [10.0.0.0/8, nonsense]", 1, false, true),
        ("a: b", "nets: 10.0.0.0/8", 0, false, true),
        ("a: b", "nett: [10.0.0.0/8]", 0, false, true),
        ("a: 'b c'", "nets: [10.0.0.0/8]", 1, true, false),
        ("projectcalico.org/namespace: y", "", 0, true, false),
        ("pcns.team: y", "", 0, true, false),
        ("pcsa.team: y", "", 0, true, false),
    ] {
        let text = format!(
            "kind: NetworkSet\nmetadata: {{namespace: x, name: s, labels: {{{labels}}}}}\nspec: {{{spec}}}\n"
        );
        let (set, problems) = reading(&text, true, NetworkSet::read);
        let seen = (set.nets.len(), set.is_whole, set.labels.is_some());
        assert_eq!(seen, (nets, is_whole, is_labelled), "{labels} {spec}");
        assert_eq!(problems.is_empty(), is_whole && is_labelled, "{labels} {spec}: {problems:?}");
    }
}

#[test]
fn profiles_have_rules_and_labels() {
    let spec = "ingress: [{action: Allow}], egress: [{action: Allow, source: {selector: b}}], \
                labelsToApply: {pcns.a: b}";
    let text = |spec: &str| format!("kind: Profile\nmetadata: {{name: kns.x}}\nspec: {{{spec}}}\n");
    let (profile, problems) = reading(&text(spec), false, Profile::read);
    let ingress = profile.policy.ingress.unwrap();
    assert_eq!(ingress.iter().map(words).collect::<Vec<_>>(), ["allow [] {}"]);
    assert_eq!((profile.policy.egress.unwrap(), problems.len()), (vec![Listed::Nothing], 1));
    let (shut, _) = reading(&text("ingress: [{action: Allow}], egres: []"), false, Profile::read);
    let sides = [shut.policy.ingress, shut.policy.egress].map(Option::unwrap);
    assert_eq!(sides, [vec![Listed::Nothing], vec![Listed::DenyAll]]);
    let (_, problems) = reading(&text("labelsToApply: {pcsa.a: b, c: d}"), false, Profile::read);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("\"c\" is given to no pod"), "{problems:?}");
    let (passing, problems) = reading(&text("ingress: [{action: Pass}]"), false, Profile::read);
    assert_eq!((passing.policy.ingress.unwrap(), problems.len()), (vec![Listed::DenyAll], 1));
}

#[test]
fn a_profile_has_its_owner_in_its_name() {
    for (name, owner) in [
        ("kns.x", Owner::Namespace("x".into())),
        ("kns.x.y", Owner::Nobody),
        ("kns.", Owner::Nobody),
        ("kns.X", Owner::Anybody),
        ("ksa.x.robot", Owner::Account("x".into(), "robot".into())),
        ("ksa.x.ro.bot", Owner::Account("x".into(), "ro.bot".into())),
        ("ksa.x", Owner::Nobody),
        ("projectcalico-default-allow", Owner::Nobody),
        ("[kns]", Owner::Anybody),
    ] {
        let open = "ingress: [{action: Allow, source: {}}], egress: [{action: Allow}]";
        let text = format!("kind: Profile\nmetadata: {{name: {name}}}\nspec: {{{open}}}\n");
        let (profile, problems) = reading(&text, false, Profile::read);
        let is_told = problems.iter().any(|one| one.message.contains("no pod's profile"));
        let is_idle = owner == Owner::Nobody && name != "projectcalico-default-allow";
        assert_eq!(is_told, is_idle, "{name}: {problems:?}");
        let is_open = owner != Owner::Anybody;
        assert_eq!((&profile.owner, profile.allows_everything()), (&owner, is_open), "{name}");
    }
}
