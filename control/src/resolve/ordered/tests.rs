use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::{Cause, Party, PodIndex, Question, Service, Stage};

use crate::resolve::{Resolved, resolve};
use crate::sample::{inventory, namespace, pod, pod_with, policy, ports};

/// x/a, x/b, y/c and z/d; of y the label `team` is `t`.
fn cluster() -> String {
    namespace("x", "")
        + &namespace("y", "team: t")
        + &namespace("z", "")
        + &pod("x/a", "10.0.0.1", "app: a")
        + &pod_with("x/b", "10.0.0.2", "app: b", &ports("{name: web, containerPort: 80}"))
        + &pod("y/c", "10.0.1.3", "app: c")
        + &pod("z/d", "10.0.2.4", "app: d")
}

fn party(resolved: &Resolved, who: &str) -> Party {
    let place =
        resolved.pods.iter().position(|pod| format!("{}/{}", pod.namespace, pod.name) == who);
    match place {
        Some(place) => Party {
            address: resolved.pods[place].addresses[0],
            pod: Some(PodIndex(u32::try_from(place).unwrap())),
            own_node: false,
        },
        None => Party { address: who.parse().unwrap(), pod: None, own_node: false },
    }
}

/// Whether TCP passes, in words for either side: `+` allowed, `-` denied by a rule, `.` by the end of
/// a tier.
fn tcp(text: &str, from: &str, to: &str, port: u16) -> String {
    let resolved = resolve(&inventory(&(cluster() + text)));
    let question = Question {
        source: party(&resolved, from),
        target: party(&resolved, to),
        service: Service::to(Protocol::Tcp, port),
    };
    let answer = resolved.ruleset.decide(&question);
    let word = |cause: &Cause| match cause {
        Cause::DenyRule { .. } => "-",
        Cause::DefaultDeny { .. } => ".",
        _ => "+",
    };
    format!("{}{}", word(&answer.egress), word(&answer.ingress))
}

fn calico(kind: &str, at: &str, spec: &str) -> String {
    let metadata = match at.split_once('/') {
        Some((namespace, name)) => format!("{{name: {name}, namespace: {namespace}}}"),
        None => format!("{{name: {at}}}"),
    };
    format!(
        "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {metadata}\nspec: {{{spec}}}\n---\n"
    )
}

fn cluster_policy(name: &str, tier: &str, priority: u32, spec: &str) -> String {
    format!(
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: \
         {name}}}\nspec: {{tier: {tier}, priority: {priority}, {spec}}}\n---\n"
    )
}

#[test]
fn a_calico_policy_allows_what_it_says_and_isolates_from_the_rest() {
    let text = calico(
        "NetworkPolicy",
        "x/p",
        "order: 1, selector: app == 'b', ingress: [{action: Allow, protocol: TCP, source: {selector: \
         app == 'a'}, destination: {ports: [7500, '4500:4800', web]}}]",
    );
    for (from, port, wanted) in [
        ("x/a", 7500, "++"),
        ("x/a", 4600, "++"),
        ("x/a", 80, "++"),
        ("x/a", 4801, "+."),
        ("y/c", 7500, "+."),
        ("192.0.2.1", 7500, "+."),
    ] {
        assert_eq!(tcp(&text, from, "x/b", port), wanted, "{from} {port}");
    }
    assert_eq!(tcp(&text, "x/b", "x/a", 9), "++", "of egress it says nothing");
}

#[test]
fn order_decides_between_policies_and_the_end_of_a_tier_denies_or_passes() {
    let deny = calico(
        "GlobalNetworkPolicy",
        "deny",
        "order: 10, selector: app == 'b', ingress: [{action: Deny}]",
    );
    let allow = |order| {
        calico(
            "GlobalNetworkPolicy",
            "allow",
            &format!(
                "order: {order}, selector: app == 'b', ingress: [{{action: Allow, source: {{selector: app == 'a'}}}}]"
            ),
        )
    };
    assert_eq!(tcp(&(deny.clone() + &allow(5)), "x/a", "x/b", 1), "++");
    assert_eq!(tcp(&(deny.clone() + &allow(15)), "x/a", "x/b", 1), "+-");
    assert_eq!(tcp(&(deny + &allow(5)), "y/c", "x/b", 1), "+-");
    let tiered = |end: &str| {
        calico("Tier", "first", &format!("order: 1, defaultAction: {end}"))
            + &calico(
                "GlobalNetworkPolicy",
                "first.p",
                "tier: first, selector: app == 'b', ingress: \
              [{action: Allow, source: {selector: app == 'a'}}, {action: Pass, source: {selector: app == 'c'}}]",
            )
    };
    for (end, wanted) in [("Deny", ["++", "++", "+."]), ("Pass", ["++", "++", "++"])] {
        let seen = ["x/a", "y/c", "z/d"].map(|from| tcp(&tiered(end), from, "x/b", 1));
        assert_eq!(seen, wanted, "{end}");
    }
}

#[test]
fn cnp_admin_stands_before_and_baseline_after_network_policies() {
    let subject = "subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: b}}}}";
    let from_y = "from: [{namespaces: {matchLabels: {team: t}}}]";
    let rule = |action: &str| format!("{subject}, ingress: [{{action: {action}, {from_y}}}]");
    let closed = policy("x/np", "podSelector: {matchLabels: {app: b}}, ingress: []");
    let open = policy("x/np", "podSelector: {matchLabels: {app: b}}, ingress: [{}]");
    let seen = |text: &str| tcp(text, "y/c", "x/b", 1);
    assert_eq!(seen(&cluster_policy("p", "Admin", 1, &rule("Accept"))), "++");
    assert_eq!(seen(&(cluster_policy("p", "Admin", 1, &rule("Accept")) + &closed)), "++");
    assert_eq!(seen(&(cluster_policy("p", "Admin", 1, &rule("Deny")) + &open)), "+-");
    assert_eq!(seen(&(cluster_policy("p", "Admin", 1, &rule("Pass")) + &closed)), "+.");
    assert_eq!(seen(&cluster_policy("p", "Baseline", 1, &rule("Deny"))), "+-");
    assert_eq!(seen(&(cluster_policy("p", "Baseline", 1, &rule("Deny")) + &open)), "++");
    let both = cluster_policy("a", "Admin", 2, &rule("Deny"))
        + &cluster_policy("b", "Admin", 1, &rule("Accept"));
    assert_eq!(seen(&both), "++", "the lower priority is first");
    assert_eq!(
        tcp(&cluster_policy("p", "Admin", 1, &rule("Deny")), "x/a", "x/b", 1),
        "++",
        "CNP-3"
    );
}

#[test]
fn what_is_not_is_all_the_rest() {
    let deny = |source: &str| {
        calico(
            "GlobalNetworkPolicy",
            "p",
            &format!(
                "selector: app == 'b', ingress: [{{action: Deny, source: {{{source}}}}}, {{action: Allow}}]"
            ),
        )
    };
    let seen =
        |source: &str| ["x/a", "y/c", "192.0.2.1"].map(|from| tcp(&deny(source), from, "x/b", 1));
    assert_eq!(seen("notSelector: app == 'a'"), ["++", "+-", "+-"]);
    assert_eq!(seen("selector: app != 'a'"), ["++", "+-", "++"], "known ones only");
    assert_eq!(seen("nets: [10.0.0.0/8], notNets: [10.0.1.0/24]"), ["+-", "++", "++"]);
    assert_eq!(seen("nets: [10.0.0.0/24], selector: all()"), ["+-", "++", "++"]);
    assert_eq!(seen("namespaceSelector: team == 't'"), ["++", "+-", "++"]);
    let set = calico("GlobalNetworkSet", "set", "nets: [192.0.2.0/24]")
        .replace("name: set", "name: set, labels: {role: out}");
    let from_set = set.clone() + &deny("selector: role == 'out'");
    assert_eq!(tcp(&from_set, "192.0.2.1", "x/b", 1), "+-");
    assert_eq!(
        tcp(&(set + &deny("namespaceSelector: global(), selector: all()")), "192.0.2.1", "x/b", 1),
        "+-"
    );
}

#[test]
fn the_own_side_of_a_rule_narrows_whom_it_is_for() {
    let text = calico(
        "NetworkPolicy",
        "x/p",
        "selector: all(), types: [Egress], egress: [{action: Allow, source: {selector: app == 'a'}}]",
    );
    assert_eq!(tcp(&text, "x/a", "y/c", 1), "++");
    assert_eq!(tcp(&text, "x/b", "y/c", 1), ".+");
}

#[test]
fn ports_of_the_source_and_names_left_out_are_told_apart() {
    let rules = |action: &str, source: &str, target: &str| {
        calico(
            "NetworkPolicy",
            "x/p",
            &format!(
                "selector: app == 'b', ingress: [{{action: {action}, protocol: TCP, source: {{{source}}}, \
                 destination: {{{target}}}}}, {{action: Deny}}]"
            ),
        )
    };
    // What `tcp` asks comes from the highest port.
    assert_eq!(tcp(&rules("Allow", "ports: [65535]", ""), "x/a", "x/b", 1), "++");
    assert_eq!(tcp(&rules("Allow", "ports: ['0:65534']", ""), "x/a", "x/b", 1), "+-");
    assert_eq!(tcp(&rules("Pass", "notPorts: [65535]", ""), "x/a", "x/b", 1), "+-");
    assert_eq!(tcp(&rules("Pass", "notPorts: [1]", ""), "x/a", "x/b", 1), "++");
    // `web` is 80 there.
    assert_eq!(tcp(&rules("Allow", "", "notPorts: [web]"), "x/a", "x/b", 80), "+-");
    assert_eq!(tcp(&rules("Allow", "", "notPorts: [web]"), "x/a", "x/b", 81), "++");
    assert_eq!(tcp(&rules("Allow", "", "notPorts: [nobodys]"), "x/a", "x/b", 80), "++");
}

#[test]
fn who_may_call_any_port_by_a_name_is_taken_in_by_what_closes_alone() {
    let odd = pod_with("x/o", "10.0.0.9", "app: o", &ports("{name: WEB!, containerPort: 80}"));
    let rules = |rule: &str| {
        let rules = format!(
            "selector: app == 'o', ingress: [{{{rule}}}, {{action: Allow, protocol: UDP}}]"
        );
        odd.clone() + &calico("NetworkPolicy", "x/p", &rules)
    };
    for (rule, seen) in [
        ("action: Allow, protocol: TCP, destination: {ports: [web]}", "+."),
        ("action: Allow, protocol: TCP, destination: {notPorts: [web]}", "+."),
        ("action: Allow, protocol: TCP", "++"),
        ("action: Deny, protocol: TCP, destination: {ports: [web]}", "+-"),
        ("action: Pass, protocol: TCP, destination: {notPorts: [web]}", "+-"),
    ] {
        assert_eq!(tcp(&rules(rule), "x/a", "x/o", 1), seen, "{rule}");
    }
}

#[test]
fn a_policy_of_no_tier_opens_nothing_and_isolates() {
    let text = calico(
        "GlobalNetworkPolicy",
        "none.p",
        "tier: none, selector: app == 'b', ingress: [{action: Allow}]",
    );
    assert_eq!(tcp(&text, "x/a", "x/b", 1), "+.");
}

#[test]
fn staged_policies_decide_nothing() {
    let text = calico("StagedNetworkPolicy", "x/p", "selector: all(), ingress: []");
    assert_eq!(tcp(&text, "x/a", "x/b", 1), "++");
    let stages = |text: &str| {
        let policies = resolve(&inventory(text)).ruleset.policies;
        policies.iter().map(|policy| policy.stage).collect::<Vec<_>>()
    };
    assert_eq!(stages(&text), [Stage::Staged]);
    for (action, stage) in
        [("Set", vec![Stage::Leaving, Stage::Staged]), ("Delete", vec![Stage::Leaving])]
    {
        let replaced =
            calico("NetworkPolicy", "x/p", "selector: app == 'b', ingress: [{action: Deny}]")
                + &calico(
                    "StagedNetworkPolicy",
                    "x/p",
                    &format!("stagedAction: {action}, selector: all()"),
                );
        assert_eq!(tcp(&replaced, "x/a", "x/b", 1), "+-");
        let mut stages = stages(&replaced);
        stages.sort_by_key(|stage| *stage != Stage::Leaving);
        assert_eq!(stages, stage, "{action}");
    }
    for action in ["Learn", "Ignore"] {
        let spec = format!("stagedAction: {action}, selector: all(), ingress: []");
        assert_eq!(stages(&calico("StagedNetworkPolicy", "x/p", &spec)), [], "{action}");
    }
}
