use super::super::sample::{
    first, object, policy, reading, selection_words, shape, shape_of, words,
};
use super::*;

const CNP: Kind = Kind::ClusterNetworkPolicy;
const ANP: Kind = Kind::AdminNetworkPolicy;
const BANP: Kind = Kind::BaselineAdminNetworkPolicy;
const HEAD: &str = "tier: Admin, priority: 10, subject: {namespaces: {}}";

fn with(rules: &str) -> String {
    format!("{HEAD}, {rules}")
}

#[test]
fn cnp_1_tier_and_priority_are_its_place() {
    for (spec, tier, order, problems) in [
        ("tier: Admin, priority: 0", KUBE_ADMIN, Some(0), 0),
        ("tier: Baseline, priority: 1000", KUBE_BASELINE, Some(1000), 0),
        ("tier: Admin, priority: 1001", KUBE_ADMIN, None, 1),
        ("tier: Admin, priority: -1", KUBE_ADMIN, None, 1),
        ("tier: Admin, priority: 99999999999999999999", KUBE_ADMIN, None, 1),
        ("tier: Admin, priority: 1.5", KUBE_ADMIN, None, 1),
        ("tier: Admin, priority: '5'", KUBE_ADMIN, None, 1),
        ("tier: Admin", KUBE_ADMIN, None, 1),
        ("tier: Baseline", KUBE_BASELINE, None, 1),
        ("tier: admin, priority: 5", KUBE_ADMIN, None, 1),
        ("tier: Later, priority: 5", KUBE_ADMIN, None, 1),
        ("priority: 5", KUBE_ADMIN, None, 1),
    ] {
        let rules = "ingress: [{action: Accept, from: [{namespaces: {}}]}, \
                     {action: Deny, from: [{namespaces: {}}]}]";
        let text = object(CNP, &format!("subject: {{namespaces: {{}}}}, {spec}, {rules}"));
        let (policy, found) = policy(CNP, &text);
        assert_eq!(policy.tier.as_deref(), Some(tier), "{spec}");
        assert_eq!(policy.order, order.map_or(Order::FIRST, Order::of), "{spec}");
        assert_eq!(shape(&policy), if order.is_some() { "i:ad" } else { "i:-d" }, "{spec}");
        assert_eq!(found.len(), problems, "{spec}: {found:?}");
    }
}

#[test]
fn cnp_3_a_direction_without_rules_is_none() {
    assert_eq!(shape_of(CNP, HEAD), "");
    assert_eq!(shape_of(CNP, &with("ingress: [], egress: []")), "");
    assert_eq!(shape_of(CNP, &with("egress: [{action: Deny, to: [{namespaces: {}}]}]")), "e:d");
}

#[test]
fn cnp_4_the_subject_is_namespaces_or_pods() {
    for (subject, wanted) in [
        ("{namespaces: {}}", "where has(projectcalico.org/namespace)"),
        ("{namespaces: {matchLabels: {a: b}}}", "where pcns.a == \"b\""),
        (
            "{pods: {namespaceSelector: {matchLabels: {a: b}}, podSelector: {matchLabels: {c: d}}}}",
            "where pcns.a == \"b\" with c == \"d\"",
        ),
        ("{pods: {podSelector: {}}}", "where has(projectcalico.org/namespace)"),
    ] {
        let spec = format!("tier: Admin, priority: 1, subject: {subject}");
        let (policy, problems) = policy(CNP, &object(CNP, &spec));
        assert_eq!(selection_words(&policy.subject), wanted, "{subject}");
        assert_eq!(problems, [], "{subject}");
    }
}

#[test]
fn a_broken_subject_is_every_pod_and_opens_nothing() {
    let rules = "egress: [{action: Accept, to: [{namespaces: {}}]}, {action: Deny, to: \
                 [{namespaces: {}}]}, {action: Pass, to: [{namespaces: {}}]}]";
    for subject in [
        "subject: {}",
        "subject: {namespaces: {}, pods: {podSelector: {}}}",
        "subject: {nodes: {}}",
        "subject: {namespaces: {matchLabel: {}}}",
        "subject: {pods: {}}",
        "subject: {pods: {namespaceSelector: {}}}",
        "subject: all",
        "subject: null",
    ] {
        let spec = format!("tier: Admin, priority: 1, {subject}, {rules}");
        let (policy, _) = policy(CNP, &object(CNP, &spec));
        assert_eq!(shape(&policy), "e:-d!", "{subject}");
        assert_eq!(selection_words(&policy.subject), "anywhere", "{subject}");
    }
    let spec = "priority: 1, subject: {pods: {podSelector: {}}}, \
                ingress: [{action: Allow, from: [{namespaces: {}}]}]";
    assert_eq!(shape_of(ANP, spec), "i:-", "v1alpha1 wants both selectors");
}

#[test]
fn cnp_6_and_cnp_9_peers_and_protocols() {
    for (rule, wanted) in [
        (
            "{action: Accept, to: [{namespaces: {matchLabels: {a: b}}}]}",
            "allow [where pcns.a == \"b\"] {}",
        ),
        (
            "{name: web, action: Deny, to: [{pods: {namespaceSelector: {}, podSelector: \
             {matchLabels: {c: d}}}}]}",
            "deny web [where has(projectcalico.org/namespace) with c == \"d\"] {}",
        ),
        (
            "{action: Pass, to: [{networks: [10.0.0.0/8, 'fd00::/8']}, {nodes: {matchLabels: {a: b}}}]}",
            "pass [10.0.0.0/8,fd00::/8] [node a == \"b\"] {}",
        ),
        ("{action: Pass, to: [{nodes: {}}]}", "pass [node all()] {}"),
        (
            "{action: Deny, to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: \
             80}}}, {udp: {destinationPort: {range: {start: 1, end: 9}}}}, {sctp: {}}, \
             {destinationNamedPort: web}]}",
            "deny [where has(projectcalico.org/namespace)] {6 to 80} {17 to 1:9} {132} {to web}",
        ),
    ] {
        assert_eq!(first(CNP, &with(&format!("egress: [{rule}]"))), wanted, "{rule}");
    }
}

/// What breaks a rule of egress, whatever its action.
const BROKEN: &[&str] = &[
    "to: []",
    "to: {}",
    "to: null",
    "to: [{}]",
    "to: [null]",
    "to: [{services: {}}]",
    "to: [{namespaces: {}, pods: {podSelector: {}}}]",
    "to: [{namespaces: {}}, {}]",
    "to: [{namespaces: {matchLabels: {a: 1}}}]",
    "to: [{pods: {}}]",
    "to: [{networks: []}]",
    "to: [{networks: [10.0.0.1]}]",
    "to: [{networks: 10.0.0.0/8}]",
    "to: [{domainNames: [example.org]}]",
    "to: [{domainNames: ['*.example.org']}, {namespaces: {}}]",
    "to: [{domainNames: [nodots]}]",
    "from: [{namespaces: {}}]",
    "to: [{namespaces: {}}], unheardOf: 1",
    "to: [{namespaces: {}}], ports: []",
    "to: [{namespaces: {}}], protocols: []",
    "to: [{namespaces: {}}], protocols: {}",
    "to: [{namespaces: {}}], protocols: [{}]",
    "to: [{namespaces: {}}], protocols: [{icmp: {}}]",
    "to: [{namespaces: {}}], protocols: [{tcp: {}, udp: {}}]",
    "to: [{namespaces: {}}], protocols: [{tcp: {port: 80}}]",
    "to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {}}}]",
    "to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: 80}}]",
    "to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 0}}}]",
    "to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 65536}}}]",
    "to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: '80'}}}]",
    "to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 1, range: {start: 1, end: 2}}}}]",
    "to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {range: {start: 2, end: 2}}}}]",
    "to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {range: {start: 2}}}}]",
    "to: [{namespaces: {}}], protocols: [{destinationNamedPort: WEB}]",
    "to: [{namespaces: {}}], protocols: [{destinationNamedPort: ''}]",
    "to: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: web}]",
    "to: [{namespaces: {}}, {nodes: {}}], protocols: [{destinationNamedPort: web}]",
    "to: [{namespaces: {}}], name: 1",
];

#[test]
fn cnp_11_a_broken_part_closes_its_rule_by_its_action() {
    for part in BROKEN {
        let rules =
            ["Accept", "Deny", "Pass"].map(|action| format!("{{action: {action}, {part}}}"));
        let good = "{action: Accept, to: [{namespaces: {}}]}";
        let spec = with(&format!("egress: [{}, {good}]", rules.join(", ")));
        let (policy, problems) = policy(CNP, &object(CNP, &spec));
        assert_eq!(shape(&policy), "e:-!!a", "{part}");
        for (index, consequence) in
            ["matches nothing", "denies everything", "denies everything"].into_iter().enumerate()
        {
            let field = format!("spec.egress[{index}]");
            let mut of_rule = problems.iter().filter(|one| one.field.starts_with(&field));
            assert!(of_rule.any(|one| one.remedy.contains(consequence)), "{part}: {problems:?}");
        }
    }
}

#[test]
fn peers_of_ingress_are_pods_only() {
    for peer in ["{networks: [10.0.0.0/8]}", "{nodes: {}}", "{domainNames: [a.b]}"] {
        let spec = with(&format!("ingress: [{{action: Deny, from: [{peer}]}}]"));
        assert_eq!(shape_of(CNP, &spec), "i:!", "{peer}");
    }
}

#[test]
fn an_action_that_is_unknown_denies_everything() {
    for rule in ["{to: [{namespaces: {}}]}", "{action: Allow, to: [{namespaces: {}}]}", "{}", "1"] {
        assert_eq!(shape_of(CNP, &with(&format!("egress: [{rule}]"))), "e:!", "{rule}");
    }
    let rule = "egress: [{action: Pass, to: [{namespaces: {}}]}]";
    assert_eq!(shape_of(BANP, &format!("subject: {{namespaces: {{}}}}, {rule}")), "e:!");
}

#[test]
fn cnp_5_lists_that_are_too_long_close_what_they_are_in() {
    let many = |what: &str, count: usize| vec![what; count].join(", ");
    let peers = |count| format!("{{action: Accept, to: [{}]}}", many("{namespaces: {}}", count));
    assert_eq!(shape_of(CNP, &with(&format!("egress: [{}, {}]", peers(25), peers(26)))), "e:a-");
    let protocols = |count| {
        format!(
            "{{action: Deny, to: [{{namespaces: {{}}}}], protocols: [{}]}}",
            many("{tcp: {}}", count)
        )
    };
    let spec = with(&format!("egress: [{}, {}]", protocols(25), protocols(26)));
    assert_eq!(shape_of(CNP, &spec), "e:d!");
    let nets =
        |count| format!("{{action: Deny, to: [{{networks: [{}]}}]}}", many("10.0.0.0/8", count));
    assert_eq!(shape_of(CNP, &with(&format!("egress: [{}, {}]", nets(25), nets(26)))), "e:d!");
    let rules = many("{action: Accept, to: [{namespaces: {}}]}", 26);
    let deny = "{action: Deny, to: [{namespaces: {}}]}";
    let shape = shape_of(CNP, &with(&format!("egress: [{rules}, {deny}]")));
    assert_eq!(shape, format!("e:{}-!", "a".repeat(25)));
    let name = "n".repeat(101);
    let rule = format!("{{name: {name}, action: Deny, to: [{{namespaces: {{}}}}]}}");
    let (policy, problems) = policy(CNP, &object(CNP, &with(&format!("egress: [{rule}]"))));
    assert_eq!((super::super::sample::shape(&policy).as_str(), problems.len()), ("e:d", 1));
}

#[test]
fn an_unknown_field_opens_nothing_and_may_have_been_rules() {
    let rules = "ingress: [{action: Accept, from: [{namespaces: {}}]}]";
    assert_eq!(shape_of(CNP, &with(&format!("unheardOf: 1, {rules}"))), "i:-");
    assert_eq!(shape_of(CNP, &with("ingres: [{action: Deny, from: [{namespaces: {}}]}]")), "i:!");
    assert_eq!(shape_of(CNP, &with("ingress: {}")), "i:!");
    for (text, wanted) in [("", ""), ("spec: 1\n", "i:! e:!"), ("specs: {}\n", "i:! e:!")] {
        let text = format!("kind: X\nmetadata: {{name: p}}\n{text}");
        let (policy, problems) = policy(CNP, &text);
        assert_eq!(shape(&policy), wanted, "{text}");
        assert!(!problems.is_empty(), "{text}");
    }
    let text = object(CNP, &with(rules));
    let (other, _) =
        reading(&text, false, |root, metadata, report| read(root, CNP, metadata, false, report));
    assert_eq!(shape(&other), "i:-", "of another version");
}

#[test]
fn the_policies_of_v1alpha1_join_the_tiers() {
    let rules = "egress: [{action: Allow, to: [{networks: [10.0.0.0/8]}, {nodes: {}}], ports: \
                 [{portNumber: {protocol: UDP, port: 53}}, {portNumber: {port: 80}}, {portRange: \
                 {protocol: SCTP, start: 1, end: 2}}]}], ingress: [{action: Deny, from: [{pods: \
                 {namespaceSelector: {}, podSelector: {}}}], ports: [{namedPort: web}]}]";
    let head = "subject: {namespaces: {}}";
    let admin = format!("priority: 7, {head}, {rules}");
    let (policy_of_admin, problems) = policy(ANP, &object(ANP, &admin));
    assert_eq!(problems, []);
    assert_eq!(policy_of_admin.tier.as_deref(), Some(KUBE_ADMIN));
    assert_eq!(policy_of_admin.order, Order::of(7));
    let egress = policy_of_admin.egress.unwrap();
    assert_eq!(
        words(&egress[0]),
        "allow [10.0.0.0/8] [node all()] {17 to 53} {6 to 80} {132 to 1:2}"
    );
    let ingress = policy_of_admin.ingress.unwrap();
    assert_eq!(words(&ingress[0]), "deny [where has(projectcalico.org/namespace)] {to web}");

    let (last, problems) = policy(
        BANP,
        &object(BANP, &format!("{head}, {rules}")).replace("name: p", "name: default"),
    );
    assert_eq!(problems, []);
    assert_eq!((last.tier.as_deref(), last.order), (Some(KUBE_BASELINE), Order::LAST));
    assert_eq!(shape(&last), "i:d e:a");
    assert_eq!(policy(BANP, &object(BANP, head)).1.len(), 1, "another name is told of");
    for (spec, wanted) in [
        ("ports: [{portNumber: {port: 0}}]", "e:-"),
        ("ports: [{portNumber: {}}]", "e:-"),
        ("ports: [{portNumber: {protocol: ICMP, port: 1}}]", "e:-"),
        ("ports: [{portRange: {start: 2, end: 1}}]", "e:-"),
        ("ports: []", "e:-"),
        ("protocols: [{tcp: {}}]", "e:-"),
    ] {
        let rule = format!("egress: [{{action: Allow, to: [{{namespaces: {{}}}}], {spec}}}]");
        assert_eq!(shape_of(ANP, &format!("priority: 1, {head}, {rule}")), wanted, "{spec}");
    }
}
