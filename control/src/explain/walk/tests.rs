use super::*;
use crate::sample::{check, explained, policy, small};

fn calico(kind: &str, at: &str, spec: &str) -> String {
    let metadata = match at.split_once('/') {
        Some((namespace, name)) => format!("{{name: {name}, namespace: {namespace}}}"),
        None => format!("{{name: {at}}}"),
    };
    format!(
        "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {metadata}\nspec: {{{spec}}}\n---\n"
    )
}

/// Tier, policy or end, what it said.
fn steps(side: &Side) -> Vec<String> {
    let told = |step: &Step| {
        let who = step.policy.as_deref().unwrap_or("end");
        let rule = step.rule.map(|rule| format!("[{rule}]")).unwrap_or_default();
        format!("{} {who}{rule}: {}", step.tier, step.said.label())
    };
    side.walk.iter().map(told).collect()
}

/// A tier that looks at what x/b receives, passes some, and denies the rest of UDP.
fn tiers() -> String {
    small()
        + &calico("Tier", "first", "order: 10")
        + &calico(
            "GlobalNetworkPolicy",
            "look",
            "tier: first, order: 1, selector: app == 'b', types: [Ingress], ingress: [{action: Deny, \
             protocol: UDP}, {action: Allow, protocol: TCP, source: {selector: app == 'a'}, \
             destination: {ports: [80, '90:99']}}]",
        )
        + &calico(
            "GlobalNetworkPolicy",
            "rest",
            "tier: first, order: 2, selector: app == 'b', types: [Ingress], ingress: [{action: Pass, \
             protocol: TCP, destination: {ports: [443]}}]",
        )
        + &policy("x/p", "podSelector: {matchLabels: {app: b}}, ingress: [{ports: [{port: 443}]}]")
}

#[test]
fn each_policy_is_asked_in_order_until_one_decides() {
    let text = tiers();
    check(
        &text,
        &[
            ("x/a x/b TCP 80", true),
            ("x/a x/b TCP 95", true),
            ("x/a x/b TCP 443", true),
            ("y/c x/b TCP 443", true),
            ("y/c x/b TCP 80", false),
            ("x/a x/b UDP 80", false),
            ("x/b x/a UDP 80", true),
        ],
    );
    let side = |question| explained(&text, question).ingress;
    assert_eq!(steps(&side("x/a x/b TCP 80")), ["first look[1]: allow"]);
    assert_eq!(steps(&side("x/a x/b UDP 80")), ["first look[0]: deny"]);
    assert_eq!(
        steps(&side("y/c x/b TCP 443")),
        ["first look: no match", "first rest[0]: pass", "default x/p[0]: allow"]
    );
    assert_eq!(
        steps(&side("y/c x/b TCP 80")),
        ["first look: no match", "first rest: no match", "first end: deny"]
    );
    assert_eq!(steps(&side("x/b x/a UDP 80")), [] as [&str; 0]);
}

#[test]
fn a_denial_says_by_which_rule_or_which_came_nearest() {
    let text = tiers();
    let denied = explained(&text, "x/a x/b UDP 80").ingress;
    assert_eq!((denied.verdict, denied.reason), (Verdict::Deny, Reason::DenyRule));
    assert_eq!(denied.by, [RuleName { policy: "look".to_owned(), rule: 0 }]);
    let denied = explained(&text, "x/a x/b TCP 81").ingress;
    assert_eq!(
        (denied.reason, denied.isolated_by),
        (Reason::DefaultDeny, names_of(&["look", "rest"]))
    );
    let nearest = denied.nearest.unwrap();
    assert_eq!((&*nearest.policy, nearest.rule), ("look", 1));
    assert_eq!(nearest.detail, ["80 or 90-99 wanted, is 81"]);
    let nearest = explained(&text, "y/c x/b TCP 80").ingress.nearest.unwrap();
    assert_eq!(nearest.detail, ["app == \"a\" wanted, has app=c"]);
}

fn names_of(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_all_tiers_pass_is_denied_nothing() {
    let text = small()
        + &calico("Tier", "only", "order: 10, defaultAction: Pass")
        + &calico("GlobalNetworkPolicy", "quiet", "tier: only, selector: all(), types: [Ingress]");
    check(&text, &[("x/a x/b TCP 80", true)]);
    let side = explained(&text, "x/a x/b TCP 80").ingress;
    assert_eq!((side.verdict, side.reason), (Verdict::Allow, Reason::Undecided));
    assert_eq!(steps(&side), ["only quiet: no match", "only end: pass"]);
}

#[test]
fn the_walk_is_told_of_every_kind_of_policy() {
    let told = explained(&tiers(), "y/c x/b TCP 443").to_string();
    for line in [
        "                tier first: GlobalNetworkPolicy look: no match\n",
        "                tier first: GlobalNetworkPolicy rest: pass by ingress[0]\n",
        "                tier default: NetworkPolicy x/p: allow by ingress[0]\n",
    ] {
        assert!(told.contains(line.trim_start()), "{told}");
    }
    let plain = small() + &policy("x/p", "podSelector: {}");
    let told = explained(&plain, "y/c x/b TCP 443").to_string();
    for line in ["tier default: NetworkPolicy x/p: no match\n", "tier default: its end: deny\n"] {
        assert!(told.contains(line), "{told}");
    }
}

/// What came nearest misses, of a policy for x/a's egress.
fn nearest(more: &str, spec: &str, question: &str) -> Vec<String> {
    let text =
        small() + more + &calico("NetworkPolicy", "x/p", &format!("types: [Egress], {spec}"));
    let side = explained(&text, question).egress;
    let nearest = side.nearest.clone().unwrap_or_else(|| panic!("{side:?}"));
    let told = nearest.failed.iter().zip(nearest.detail);
    told.map(|(part, detail)| format!("{}: {detail}", part.label())).collect()
}

#[test]
fn a_port_that_a_backend_does_not_serve_is_told() {
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s-1, namespace: \
                 x, labels: {kubernetes.io/service-name: s}}\naddressType: IPv4\nendpoints: [{addresses: \
                 [ADDRESS]}]\nports: [{name: web, port: 8080, protocol: TCP}]\n---\n";
    let address = explained(&small(), "x/a x/b TCP 80").to_address.to_string();
    let slice = slice.replace("ADDRESS", &address);
    let rule = "egress: [{action: Allow, destination: {services: {name: s}}}]";
    assert_eq!(
        nearest(&slice, rule, "x/a x/b TCP 80"),
        ["port: TCP 8080 of x/s wanted, is TCP 80"]
    );
    assert_eq!(
        nearest(&slice, rule, "x/a x/b UDP 8080"),
        ["port: TCP 8080 of x/s wanted, is UDP 8080"]
    );
    assert!(nearest(&slice, rule, "x/a y/a TCP 80")[0].starts_with("service: a backend of x/s"));
    assert_eq!(nearest(&slice, rule, "x/a x/b ICMP"), ["port: TCP 8080 of x/s wanted, is ICMP"]);
    let none = slice.replace("[{name: web, port: 8080, protocol: TCP}]", "[]");
    assert_eq!(
        nearest(&none, rule, "x/a x/b TCP 8080"),
        ["port: no port of x/s wanted, is TCP 8080"]
    );
}

#[test]
fn names_of_ports_are_told_wherever_they_are_looked_up() {
    let rule = |ports: &str| {
        format!("egress: [{{action: Allow, protocol: TCP, destination: {{{ports}}}}}]")
    };
    let ports = crate::sample::ports("{name: rare, containerPort: 8080}");
    let pod = crate::sample::pod_with("x/n", "10.0.9.1", "app: n", &ports);
    assert_eq!(
        nearest(&pod, &rule("notPorts: [rare]"), "x/a x/n TCP 8080"),
        ["port: any but not rare (8080) wanted, is 8080"]
    );
    assert_eq!(
        nearest(&pod, &rule("ports: [rare]"), "x/a x/n TCP 80"),
        ["port: rare (8080) wanted, is 80"]
    );
    assert_eq!(
        nearest(&pod, &rule("ports: [rare]"), "x/a 192.0.2.1 TCP 80"),
        ["port: rare (of no pod) wanted, is 80"]
    );
    assert_eq!(
        nearest(&pod, &rule("ports: [rare]"), "x/a x/b TCP 80"),
        ["port: rare (none of the pod's) wanted, is 80"]
    );
}

#[test]
fn sets_of_networks_are_seen_at_an_address() {
    let set = calico("GlobalNetworkSet", "g", "nets: [192.0.2.0/24]")
        .replace("metadata: {", "metadata: {labels: {net: 'yes'}, ");
    let rule =
        |end: &str| format!("egress: [{{action: Allow, protocol: UDP, destination: {{{end}}}}}]");
    let protocol = "protocol: UDP wanted, is TCP";
    let question = "x/a 192.0.2.1 TCP 80";
    assert_eq!(
        nearest(&set, &rule("namespaceSelector: global(), selector: net == 'yes'"), question),
        [protocol]
    );
    assert_eq!(
        nearest(&set, &rule("namespaceSelector: global(), notSelector: net == 'yes'"), question),
        [
            "except: net == \"yes\" matches GlobalNetworkSet g, which has 192.0.2.1, and is left out",
            protocol
        ]
    );
    let other =
        nearest(&set, &rule("namespaceSelector: global(), selector: net == 'no'"), question);
    assert!(other[0].starts_with("pod labels: a pod or a network set wanted"), "{other:?}");
}

#[test]
fn a_tier_that_opens_nothing_is_why() {
    let rule = "tier: t, egress: [{action: Allow, protocol: TCP}]";
    let question = "x/a x/b TCP 80";
    assert_eq!(
        nearest("", rule, question),
        ["tier: there is no Tier t: its policies open nothing"]
    );
    let broken = calico("Tier", "t", "order: first");
    assert_eq!(
        nearest(&broken, rule, question),
        ["tier: the Tier t cannot be read: nothing in it opens anything"]
    );
}

#[test]
fn what_an_absent_tier_does_is_said_with_the_answer() {
    let passes =
        calico("NetworkPolicy", "x/p", "tier: t, types: [Egress], egress: [{action: Pass}]");
    let side = explained(&(small() + &passes), "x/a x/b TCP 80").egress;
    assert_eq!((side.verdict, side.reason), (Verdict::Deny, Reason::DenyRule));
    let [problem] = side.problems.as_slice() else { panic!("{side:?}") };
    assert!(problem.message.ends_with("what it passes is denied"), "{problem}");
    let broken = small() + &passes + &calico("Tier", "t", "order: first");
    let side = explained(&broken, "x/a x/b TCP 80").egress;
    let [problem] = side.problems.as_slice() else { panic!("{side:?}") };
    assert_eq!((problem.object.as_str(), problem.field.as_str()), ("Tier t", "spec.order"));
    let there = small() + &passes + &calico("Tier", "t", "order: 5");
    assert_eq!(explained(&there, "x/a x/b TCP 80").egress.problems, []);
}
