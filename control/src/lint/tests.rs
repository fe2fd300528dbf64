mod left;
mod removal;

use super::*;
use crate::sample::{inventory, namespace, pod, pod_with, policy, ports, small};

/// An object of Calico; `at` is `namespace/name`, or a name.
fn calico(kind: &str, at: &str, spec: &str) -> String {
    let metadata = match at.split_once('/') {
        Some((namespace, name)) => format!("{{name: {name}, namespace: {namespace}}}"),
        None => format!("{{name: {at}}}"),
    };
    format!(
        "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {metadata}\nspec: {{{spec}}}\n---\n"
    )
}

fn global(name: &str, spec: &str) -> String {
    calico("GlobalNetworkPolicy", name, spec)
}

/// A policy of the cluster.
fn cluster(name: &str, tier: &str, priority: u32, spec: &str) -> String {
    format!(
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: \
         {{name: {name}}}\nspec: {{tier: {tier}, priority: {priority}, {spec}}}\n---\n"
    )
}

/// What is found beside the pods of `small`, as `code object field`, but for open namespaces.
fn found(text: &str) -> Vec<String> {
    found_alone(&(small() + text))
}

fn found_alone(text: &str) -> Vec<String> {
    let found = lint(&inventory(text)).into_iter().filter(|one| one.code != "open-namespace");
    let told = |one: Finding| {
        assert!(one.problem.file.is_some() && one.problem.line.is_some(), "{one}");
        format!("{} {} {}", one.code, one.problem.object, one.problem.field)
    };
    found.map(told).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_policy_for_no_pod_selects_nothing() {
    let np = |spec: &str| found(&policy("x/p", spec));
    assert_eq!(
        np("podSelector: {matchLabels: {app: z}}"),
        ["selects-nothing NetworkPolicy x/p spec.podSelector"]
    );
    assert_eq!(np("podSelector: {matchLabels: {app: a}}"), NOTHING);
    assert_eq!(np("podSelector: {}"), NOTHING);
    assert_eq!(
        found(&policy("z/p", "podSelector: {}")),
        ["selects-nothing NetworkPolicy z/p spec.podSelector"]
    );
    assert_eq!(
        found(&global("p", "selector: app == 'z'")),
        ["selects-nothing GlobalNetworkPolicy p spec.selector"]
    );
    assert_eq!(found(&global("p", "selector: app != 'z'")), NOTHING);
    let admin = |labels: &str| {
        let subject = format!("subject: {{namespaces: {{matchLabels: {{team: {labels}}}}}}}");
        let rule = "ingress: [{action: Deny, from: [{namespaces: {}}]}]";
        found(&cluster("p", "Admin", 1, &format!("{subject}, {rule}")))
    };
    assert_eq!(admin("z"), ["selects-nothing ClusterNetworkPolicy p spec.subject"]);
    assert_eq!(admin("x"), NOTHING);
}

#[test]
fn a_pod_that_waits_for_its_address_is_selected_and_a_gone_one_is_not() {
    let p = policy("z/p", "podSelector: {}, ingress: [{from: [{podSelector: {}}]}]");
    let one = pod("z/a", "10.0.3.1", "");
    let waiting = one.replace("podIPs: [{ip: 10.0.3.1}]", "podIPs: []");
    assert_eq!(found(&(p.clone() + &waiting)), NOTHING);
    for gone in
        [one.replace("Running", "Succeeded"), one.replace("spec: {", "spec: {hostNetwork: true")]
    {
        let told = found(&(p.clone() + &gone));
        assert_eq!(told, ["selects-nothing NetworkPolicy z/p spec.podSelector"], "{gone}");
    }
}

#[test]
fn without_pods_only_what_no_pod_could_be_is_found() {
    let p = |selector: &str| policy("x/p", &format!("podSelector: {{{selector}}}"));
    assert_eq!(found_alone(&p("matchLabels: {app: a}")), NOTHING);
    let wrong =
        "matchLabels: {app: a}, matchExpressions: [{key: app, operator: NotIn, values: [a, b]}]";
    assert_eq!(found_alone(&p(wrong)), ["selects-nothing NetworkPolicy x/p spec.podSelector"]);
    let right = wrong.replace("[a, b]", "[b]");
    assert_eq!(found_alone(&p(&right)), NOTHING);
    let rule = |selector: &str| {
        let source = format!("source: {{selector: \"{selector}\"}}");
        found_alone(&global("p", &format!("ingress: [{{action: Allow, {source}}}]")))
    };
    for wrong in [
        "a == 'b' && a == 'c'",
        "has(a) && !has(a)",
        "a in {'b', 'c'} && a not in {'b', 'c', 'd'}",
        "a starts with 'b' && a == 'c'",
        "a == 'b' && !has(a)",
        "a in {}",
    ] {
        assert_eq!(
            rule(wrong),
            ["never-matches GlobalNetworkPolicy p spec.ingress[0].source"],
            "{wrong}"
        );
    }
    for right in [
        "a == 'b' && c == 'd'",
        "a != 'b' && !has(a)",
        "a == 'b' || a == 'c'",
        "has(a) && a != 'b'",
    ] {
        assert_eq!(rule(right), NOTHING, "{right}");
    }
}

#[test]
fn a_peer_that_nobody_is_never_matches() {
    let from = |peers: &str| found(&policy("x/p", &format!("ingress: [{{from: [{peers}]}}]")));
    assert_eq!(
        from("{podSelector: {matchLabels: {app: a}}}, {podSelector: {matchLabels: {app: c}}}"),
        ["never-matches NetworkPolicy x/p spec.ingress[0].from[1]"],
        "c is in another namespace"
    );
    assert_eq!(from("{namespaceSelector: {}, podSelector: {matchLabels: {app: c}}}"), NOTHING);
    assert_eq!(
        from("{namespaceSelector: {matchLabels: {team: z}}}"),
        ["never-matches NetworkPolicy x/p spec.ingress[0].from[0]"]
    );
    assert_eq!(from("{ipBlock: {cidr: 203.0.113.0/24}}"), NOTHING, "outside is somebody");
    let to = |peer: &str| {
        let subject = "subject: {namespaces: {}}";
        let rule = format!("egress: [{{action: Accept, to: [{{{peer}}}]}}]");
        found(&cluster("p", "Admin", 1, &format!("{subject}, {rule}")))
    };
    let told = ["never-matches ClusterNetworkPolicy p spec.egress[0].to[0]"];
    assert_eq!(to("nodes: {}"), told);
    assert_eq!(to("pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: d}}}"), told);
    assert_eq!(to("pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: c}}}"), NOTHING);
}

#[test]
fn what_a_rule_asks_for_at_once_must_be_possible() {
    let rule = |rule: &str| {
        found(&global("p", &format!("selector: app == 'a', ingress: [{{action: Allow, {rule}}}]")))
    };
    let whole = ["never-matches GlobalNetworkPolicy p spec.ingress[0]"];
    assert_eq!(rule("destination: {selector: app == 'b'}"), whole);
    assert_eq!(rule("destination: {selector: app == 'a'}"), NOTHING);
    assert_eq!(rule("source: {nets: [192.0.2.0/24], selector: app == 'b'}"), whole);
    assert_eq!(rule("source: {nets: [10.0.0.0/8], selector: app == 'b'}"), NOTHING);
    assert_eq!(
        rule("source: {nets: [10.1.0.0/16, 10.2.0.0/16], notNets: [10.1.0.0/17, 10.1.128.0/17]}"),
        ["never-matches GlobalNetworkPolicy p spec.ingress[0].source.nets[0]"]
    );
    assert_eq!(
        rule("source: {services: {name: s, namespace: x}}"),
        ["never-matches GlobalNetworkPolicy p spec.ingress[0].source"]
    );
}

#[test]
fn a_port_must_be_somebodys() {
    let ports = |ports: &str| found(&policy("x/p", &format!("ingress: [{{ports: [{ports}]}}]")));
    assert_eq!(ports("{port: web}"), NOTHING);
    assert_eq!(
        ports("{port: web}, {port: wbe}, {port: web, protocol: UDP}"),
        [
            "never-matches NetworkPolicy x/p spec.ingress[0].ports[1]",
            "never-matches NetworkPolicy x/p spec.ingress[0].ports[2]"
        ]
    );
    let in_y = |direction: &str| {
        found(&policy(
            "y/p",
            &format!("policyTypes: [Ingress, Egress], {direction}: [{{ports: [{{port: web}}]}}]"),
        ))
    };
    assert_eq!(in_y("ingress"), ["never-matches NetworkPolicy y/p spec.ingress[0].ports[0]"]);
    assert_eq!(in_y("egress"), NOTHING, "x has it");
}

#[test]
fn rules_that_the_types_leave_out_never_match() {
    assert_eq!(
        found(&policy("x/p", "policyTypes: [Ingress], egress: [{}]")),
        ["never-matches NetworkPolicy x/p spec.egress"]
    );
    assert_eq!(found(&policy("x/p", "policyTypes: [Ingress, Egress], egress: [{}]")), NOTHING);
    assert_eq!(
        found(&global(
            "p",
            "types: [Egress], ingress: [{action: Allow}], egress: [{action: Allow}]"
        )),
        ["never-matches GlobalNetworkPolicy p spec.ingress"]
    );
}

#[test]
fn what_is_broken_or_not_told_yet_is_not_looked_at() {
    let after = ", {action: Allow, source: {nets: [10.0.0.0/8]}}]";
    for first in [
        "{action: Allow, protocol: TCP, source: {ports: [80]}}",
        "{action: Deny, protocol: TCP, source: {notPorts: [80]}}",
        "{action: Deny, source: {nets: [no]}}",
        "{action: What}",
        "{action: Log}",
    ] {
        assert_eq!(found(&global("p", &format!("ingress: [{first}{after}"))), NOTHING, "{first}");
    }
    assert_eq!(found(&policy("x/p", "ingress: [{form: []}]")), NOTHING);
    let staged = calico("StagedGlobalNetworkPolicy", "p", "selector: app == 'z'");
    assert_eq!(found(&staged), NOTHING);
}

#[test]
fn a_set_that_is_meant_must_be_there() {
    let from =
        |source: &str| global("p", &format!("ingress: [{{action: Allow, source: {{{source}}}}}]"));
    let set = |kind: &str, at: &str| {
        calico(kind, at, "nets: [192.0.2.0/24]")
            .replace("metadata: {", "metadata: {labels: {role: out}, ")
    };
    let told = ["missing-set GlobalNetworkPolicy p spec.ingress[0].source"];
    let by_label = from("selector: role == 'out'");
    assert_eq!(found(&by_label), told);
    assert_eq!(found(&(by_label.clone() + &set("GlobalNetworkSet", "s"))), NOTHING);
    assert_eq!(found(&(by_label + &set("NetworkSet", "x/s"))), NOTHING);
    let global = from("namespaceSelector: global()");
    assert_eq!(found(&global), told);
    assert_eq!(found_alone(&global), told, "without pods too");
    assert_eq!(found(&(global.clone() + &set("NetworkSet", "x/s"))), told);
    assert_eq!(found(&(global + &set("GlobalNetworkSet", "s"))), NOTHING);
    assert_eq!(
        found(&from("selector: app == 'z'")),
        ["never-matches GlobalNetworkPolicy p spec.ingress[0].source"],
        "app is what pods wear"
    );
}

#[test]
fn a_tier_must_be_there() {
    let p = global("p", "tier: t, ingress: [{action: Allow, source: {selector: app == 'z'}}]");
    assert_eq!(found(&p), ["missing-tier GlobalNetworkPolicy p spec.tier"]);
    let there =
        global("p", "tier: t, ingress: [{action: Allow}]") + &calico("Tier", "t", "order: 1");
    assert_eq!(found(&there), NOTHING);
}

#[test]
fn a_rule_is_shadowed_by_what_decides_all_of_it_before() {
    let rules = |rules: &str| found(&global("p", &format!("order: 1, ingress: [{rules}]")));
    let second = ["shadowed GlobalNetworkPolicy p spec.ingress[1]"];
    let tcp = |ports: &str| format!("protocol: TCP, destination: {{ports: [{ports}]}}");
    let pair = |first: &str, then: &str| {
        rules(&format!("{{action: Deny, {}}}, {{action: Allow, {}}}", tcp(first), tcp(then)))
    };
    assert_eq!(pair("'80:90'", "80, '85:90'"), second);
    assert_eq!(pair("'80:89', '90:95'", "'85:92'"), second, "both together");
    assert_eq!(pair("'80:90'", "'85:91'"), NOTHING);
    assert_eq!(pair("80", "web"), NOTHING, "of x/a it is 8080");
    assert_eq!(pair("80, 8080", "web"), second);
    assert_eq!(rules("{action: Pass}, {action: Allow}"), second);
    assert_eq!(rules("{action: Allow, protocol: TCP}, {action: Deny}"), NOTHING);
    assert_eq!(rules("{action: Deny, ipVersion: 4}, {action: Deny, ipVersion: 6}"), NOTHING);
    assert_eq!(
        rules(
            "{action: Allow, source: {selector: app == 'a'}}, {action: Allow, source: {nets: [10.0.1.1/32]}}"
        ),
        ["redundant-range GlobalNetworkPolicy p spec.ingress[1].source.nets[0]"],
        "x/a, but not y/a"
    );
    assert_eq!(
        rules(
            "{action: Deny, source: {nets: [10.0.2.0/24]}}, {action: Allow, source: {nets: [10.0.2.1/32, 10.0.0.0/16]}}"
        ),
        ["shadowed GlobalNetworkPolicy p spec.ingress[1].source.nets[0]"]
    );
}

#[test]
fn a_rule_is_shadowed_only_if_it_is_for_every_pod() {
    let later = global(
        "q",
        "order: 2, selector: \"app in {'a', 'b'}\", ingress: [{action: Deny, protocol: TCP}]",
    );
    let first = |selector: &str| {
        found(
            &(global(
                "p",
                &format!("order: 1, selector: \"{selector}\", ingress: [{{action: Allow}}]"),
            ) + &later),
        )
    };
    assert_eq!(first("app in {'a', 'b'}"), ["shadowed GlobalNetworkPolicy q spec.ingress[0]"]);
    assert_eq!(first("app == 'a'"), NOTHING, "of b it decides");
    let for_b = global("r", "order: 1, selector: app == 'b', ingress: [{action: Deny}]");
    let both = global("p", "order: 1, selector: app == 'a', ingress: [{action: Allow}]") + &for_b;
    assert_eq!(found(&(both + &later)), ["shadowed GlobalNetworkPolicy q spec.ingress[0]"]);
    let by_name =
        policy("x/a", "ingress: [{}]") + &policy("x/b", "ingress: [{ports: [{port: 80}]}]");
    assert_eq!(found(&by_name), ["shadowed NetworkPolicy x/b spec.ingress[0]"]);
    let elsewhere =
        policy("y/a", "ingress: [{}]") + &policy("x/b", "ingress: [{ports: [{port: 80}]}]");
    assert_eq!(found(&elsewhere), NOTHING);
}

#[test]
fn a_tier_that_denies_at_its_end_leaves_the_next_nothing() {
    let baseline = cluster(
        "base",
        "Baseline",
        1,
        "subject: {namespaces: {matchLabels: {team: x}}}, ingress: [{action: Deny, from: [{namespaces: {}}]}, {action: \
         Accept, from: [{namespaces: {}}]}]",
    );
    let of_all = policy("x/p", "podSelector: {}");
    let of_one = policy("x/p", "podSelector: {matchLabels: {app: a}}");
    let second = "shadowed ClusterNetworkPolicy base spec.ingress[1]";
    assert_eq!(
        found(&(baseline.clone() + &of_all)),
        ["unreached ClusterNetworkPolicy base spec.ingress"]
    );
    assert_eq!(found(&(baseline.clone() + &of_one)), [second]);
    assert_eq!(found(&baseline), [second]);
    let outgoing = policy("x/p", "policyTypes: [Egress]");
    assert_eq!(found(&(baseline + &outgoing)), [second], "another direction");
    let tier = |rules: &str| {
        calico("Tier", "t", "order: 1, defaultAction: Deny")
            + &global("t.p", &format!("tier: t, selector: app == 'a', ingress: [{rules}]"))
            + &policy(
                "x/p",
                "podSelector: {matchLabels: {app: a}}, ingress: [{ports: [{port: 80}]}]",
            )
    };
    let all = ["unreached NetworkPolicy x/p spec.ingress"];
    assert_eq!(found(&tier("{action: Allow, source: {nets: [10.0.0.0/8]}}")), all);
    let udp = "{action: Pass, protocol: UDP}";
    assert_eq!(found(&tier(udp)), ["shadowed NetworkPolicy x/p spec.ingress[0]"]);
    assert_eq!(found(&tier("{action: Pass, protocol: TCP}")), NOTHING);
}

#[test]
fn a_net_that_others_allow_is_redundant() {
    let np = |name: &str, cidr: &str, more: &str| {
        policy(name, &format!("ingress: [{{from: [{{ipBlock: {{{cidr}}}}}]{more}}}]"))
    };
    let (wide, narrow) = ("cidr: 192.0.0.0/8", "cidr: 192.168.0.0/16");
    for (a, b, who) in [(wide, narrow, "b"), (narrow, wide, "a")] {
        let told = found(&(np("x/a", a, "") + &np("x/b", b, "")));
        let field = "spec.ingress[0].from[0].ipBlock.cidr";
        assert_eq!(told, [format!("redundant-range NetworkPolicy x/{who} {field}")], "{a} {b}");
        let on_80 = ", ports: [{port: 80}]";
        let told = found(&(np("x/a", a, on_80) + &np("x/b", b, "")));
        assert_eq!(told.len(), usize::from(who == "a"), "{a} on port 80 alone, {b}: {told:?}");
        assert_eq!(found(&(np("x/a", a, "") + &np("y/b", b, ""))), NOTHING, "other pods");
    }
    let less = "cidr: 192.0.0.0/8, except: [192.168.1.0/24]";
    assert_eq!(found(&(np("x/a", less, "") + &np("x/b", narrow, ""))), NOTHING);
    assert_eq!(found(&(np("x/a", wide, "") + &np("x/b", "cidr: '::/0'", ""))), NOTHING);
    let same = found(&(np("x/a", wide, "") + &np("x/b", wide, "")));
    assert_eq!(same.len(), 1, "one of two: {same:?}");
    let halves = policy(
        "x/a",
        "ingress: [{from: [{ipBlock: {cidr: 192.0.0.0/9}}]}, {from: [{ipBlock: {cidr: 192.128.0.0/9}}, {ipBlock: {cidr: \
         192.129.0.0/16}}]}]",
    );
    assert_eq!(
        found(&(halves + &np("x/b", wide, ""))),
        [
            "redundant-range NetworkPolicy x/a spec.ingress[0].from[0].ipBlock.cidr",
            "redundant-range NetworkPolicy x/a spec.ingress[1].from[0].ipBlock.cidr",
            "redundant-range NetworkPolicy x/a spec.ingress[1].from[1].ipBlock.cidr"
        ]
    );
}

#[test]
fn a_net_is_not_redundant_where_something_else_decides_first() {
    let allow = |name: &str, order: u32, nets: &str| {
        global(
            name,
            &format!("order: {order}, ingress: [{{action: Allow, source: {{nets: [{nets}]}}}}]"),
        )
    };
    let deny = |order: u32, nets: &str| {
        global(
            "d",
            &format!("order: {order}, ingress: [{{action: Deny, source: {{nets: [{nets}]}}}}]"),
        )
    };
    let both = allow("a", 1, "192.168.0.0/16") + &allow("b", 3, "192.0.0.0/8");
    let told = ["redundant-range GlobalNetworkPolicy a spec.ingress[0].source.nets[0]"];
    assert_eq!(found(&both), told);
    assert_eq!(found(&(both.clone() + &deny(2, "192.168.0.0/15"))), NOTHING);
    assert_eq!(
        found(&(both.clone() + &deny(2, "192.168.1.0/24"))),
        ["shadowed GlobalNetworkPolicy d spec.ingress[0]"],
        "neither goes without the other"
    );
    assert_eq!(found(&(both.clone() + &deny(2, "192.169.1.0/24"))), told);
    assert_eq!(found(&(both + &deny(4, "0.0.0.0/0"))), told);
}

#[test]
fn equal_orders_are_told_where_they_matter() {
    let two = |order: &str, first: &str, then: &str| {
        found(
            &(global("a", &format!("{order}ingress: [{first}]"))
                + &global("b", &format!("{order}ingress: [{then}]"))),
        )
    };
    let told = ["ambiguous-order GlobalNetworkPolicy b spec.order"];
    let (allow, deny) = (
        "{action: Allow, protocol: TCP, destination: {ports: [80]}}",
        "{action: Deny, protocol: TCP}",
    );
    assert_eq!(two("order: 5, ", allow, deny), told);
    assert_eq!(two("", allow, deny), told);
    assert_eq!(two("order: 5, ", allow, "{action: Deny, protocol: UDP}"), NOTHING);
    assert_eq!(two("order: 5, ", allow, &allow.replace("80", "81")), NOTHING);
    let clear = global("a", &format!("order: 1, ingress: [{allow}]"))
        + &global("b", &format!("order: 2, ingress: [{deny}]"));
    assert_eq!(found(&clear), NOTHING);
    let settled = format!("{}, {deny}", allow.replace("80", "'80:81'"));
    assert_eq!(two("order: 5, ", allow, &settled), NOTHING, "whichever is first, 80 is allowed");
    let apart = |selector: &str, action: &str| {
        format!("order: 5, selector: app == '{selector}', ingress: [{{action: {action}}}]")
    };
    assert_eq!(
        found(&(global("a", &apart("a", "Allow")) + &global("b", &apart("b", "Deny")))),
        NOTHING
    );
    let rule = |action: &str| {
        format!(
            "subject: {{namespaces: {{}}}}, ingress: [{{action: {action}, from: [{{namespaces: {{}}}}]}}]"
        )
    };
    assert_eq!(
        found(
            &(cluster("a", "Admin", 5, &rule("Pass")) + &cluster("b", "Admin", 5, &rule("Deny")))
        ),
        [
            "shadowed ClusterNetworkPolicy b spec.ingress[0]",
            "ambiguous-order ClusterNetworkPolicy b spec.priority",
        ]
    );
}

#[test]
fn host_bits_are_told_wherever_a_net_is() {
    let cidr = |cidr: &str| {
        found(&policy("x/p", &format!("ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]")))
    };
    assert_eq!(
        cidr("192.168.1.1/16"),
        ["host-bits NetworkPolicy x/p spec.ingress[0].from[0].ipBlock.cidr"]
    );
    assert_eq!(cidr("192.168.0.0/16"), NOTHING);
    assert_eq!(cidr("010.0.0.0/8"), NOTHING, "odd, and validate's to tell");
    let set = calico("GlobalNetworkSet", "s", "nets: [192.0.2.1/24, 192.0.2.1, 192.0.2.1/32]");
    assert_eq!(found(&set), ["host-bits GlobalNetworkSet s spec.nets[0]"]);
    let net = |net: &str| {
        let rule = format!("egress: [{{action: Accept, to: [{{networks: [{net}]}}]}}]");
        found(&cluster("p", "Admin", 1, &format!("subject: {{namespaces: {{}}}}, {rule}")))
    };
    assert_eq!(
        net("'fd00::1/64'"),
        ["host-bits ClusterNetworkPolicy p spec.egress[0].to[0].networks[0]"]
    );
    assert_eq!(net("'fd00::/64'"), NOTHING);
}

#[test]
fn a_namespace_is_open_until_something_isolates_all_of_it() {
    let open = |text: &str| {
        let found = lint(&inventory(&(small() + text))).into_iter();
        let open = found.filter(|one| one.code == "open-namespace");
        open.map(|one| one.problem.object.replace("Namespace ", "")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(open(""), "x y");
    assert_eq!(open(&policy("x/p", "podSelector: {}")), "y");
    assert_eq!(
        open(&policy("x/p", "podSelector: {}, ingress: [{}]")),
        "y",
        "it is opened, and said so"
    );
    assert_eq!(open(&policy("x/p", "podSelector: {}, policyTypes: [Egress]")), "x y");
    assert_eq!(open(&policy("x/p", "podSelector: {matchLabels: {app: a}}")), "x y");
    assert_eq!(open(&global("p", "namespaceSelector: team == 'y'")), "x");
    assert_eq!(open(&global("p", "selector: has(app)")), "x y");
    let passing =
        |rules: &str| open(&global("p", &format!("types: [Ingress], ingress: [{rules}]")));
    assert_eq!(passing("{action: Pass}"), "x y", "nothing is after it");
    assert_eq!(passing("{action: Deny}, {action: Pass}"), "");
    assert_eq!(passing("{action: Pass, protocol: TCP}"), "", "the rest is isolated");
    let bare = |selector: &str| {
        let deny = format!("{{action: Deny, destination: {{selector: '{selector}'}}}}");
        let text = global("p", &format!("types: [Ingress], ingress: [{deny}, {{action: Pass}}]"));
        open(&(pod("x/bare", "10.0.9.9", "") + &text))
    };
    assert_eq!(bare("!has(app)"), "");
    assert_eq!(bare("has(app)"), "x y");
    assert_eq!(passing("{action: Log}"), "");
    let deny = |peers: &str, tier: &str| {
        let rule = format!("ingress: [{{action: Deny, from: [{peers}]}}]");
        cluster("p", tier, 1, &format!("subject: {{namespaces: {{}}}}, {rule}"))
    };
    assert_eq!(open(&deny("{namespaces: {}}", "Baseline")), "x y", "those outside come in");
    let tier = calico("Tier", "t", "order: 1, defaultAction: Pass");
    let all = |rule: &str| {
        tier.clone() + &global("p", &format!("tier: t, ingress: [{{action: Deny{rule}}}]"))
    };
    assert_eq!(open(&all("")), "");
    assert_eq!(open(&all(", protocol: TCP")), "x y");
    assert_eq!(open(&(namespace("e", "") + &pod("f/a", "10.0.3.1", ""))), "x y e f");
    let going = namespace("e", "") + "";
    let going =
        going.replace("metadata: {", "metadata: {deletionTimestamp: '2026-01-01T00:00:00Z', ");
    assert_eq!(open(&going), "x y");
}

#[test]
fn findings_name_file_line_field_and_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let text =
        small() + &policy("x/p", "podSelector: {},\n  ingress: [\n  {ports: [{port: wbe}]}]");
    std::fs::write(directory.path().join("t.yaml"), &text).unwrap();
    let mut found = lint(&inventory(&text));
    place(directory.path(), &mut found);
    let line = 1 + text.lines().position(|line| line.contains("wbe")).unwrap();
    let told = found.iter().find(|one| one.code == "never-matches").unwrap();
    assert_eq!(
        told.to_string(),
        format!(
            "warning: t.yaml:{line}: NetworkPolicy x/p: spec.ingress[0].ports[0]: no pod of the policy's has a port \
             named wbe in that protocol (mend it, or state the policy's types and \
             remove it, the last of its list with the whole rule) [never-matches]"
        )
    );
    let json = serde_json::to_value(told).unwrap();
    assert_eq!(
        (json["code"].as_str(), json["line"].as_u64()),
        (Some("never-matches"), Some(line as u64))
    );
    let named = pod_with("z/a", "10.0.9.1", "", &ports("{name: wbe, containerPort: 1}"));
    assert!(
        !lint(&inventory(&(text + "\n---\n" + &named))).iter().any(|one| one.code == "shadowed")
    );
}
