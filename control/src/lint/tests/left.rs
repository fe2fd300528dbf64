//! What is left of a policy that is less than was meant, or that nothing keeps in its place; and that
//! no remedy opens.

use super::{NOTHING, calico, cluster, found, found_alone, global};
use crate::lint::lint;
use crate::sample::{inventory, policy, small};

fn ingress(rule: &str) -> String {
    global("p", &format!("ingress: [{{{rule}}}]"))
}

#[test]
fn what_a_rule_leaves_out_must_be_there() {
    let out = |end: &str, selector: &str| {
        ingress(&format!("action: Allow, {end}: {{notSelector: \"{selector}\"}}"))
    };
    let set = calico("GlobalNetworkSet", "s", "nets: [192.0.2.0/24]")
        .replace("metadata: {", "metadata: {labels: {bad: yes}, ");
    let told = ["missing-set GlobalNetworkPolicy p spec.ingress[0].source.notSelector"];
    assert_eq!(found(&out("source", "has(bad)")), told);
    assert_eq!(found(&(out("source", "has(bad)") + &set.replace("yes", "'yes'"))), NOTHING);
    assert_eq!(found(&out("source", "app == 'a'")), NOTHING);
    assert_eq!(
        found(&out("source", "app == 'z'")),
        ["never-matches GlobalNetworkPolicy p spec.ingress[0].source.notSelector"],
        "app is what pods wear"
    );
    assert_eq!(
        found(&out("destination", "app == 'z'")),
        ["never-matches GlobalNetworkPolicy p spec.ingress[0].destination.notSelector"]
    );
    assert_eq!(found_alone(&out("source", "has(bad)")), NOTHING, "nobody is known");
}

#[test]
fn names_of_ports_that_are_left_out_must_be_there() {
    let out = |name: &str| {
        ingress(&format!("action: Allow, protocol: TCP, destination: {{notPorts: [{name}]}}"))
    };
    let told = ["never-matches GlobalNetworkPolicy p spec.ingress[0].destination.notPorts[0]"];
    assert_eq!(found(&out("nobodys")), told);
    assert_eq!(found(&out("80")), NOTHING);
    let named = crate::sample::ports("{name: nobodys, containerPort: 1}");
    let pod = crate::sample::pod_with("x/n", "10.0.9.1", "app: n", &named);
    assert_eq!(found(&(out("nobodys") + &pod)), NOTHING);
}

#[test]
fn the_selector_that_leaves_nobody_is_named() {
    for (spec, field) in [
        ("selector: app == 'z'", "selector"),
        ("selector: app == 'z', serviceAccountSelector: has(x)", "selector"),
        ("selector: app == 'a', serviceAccountSelector: has(x)", "serviceAccountSelector"),
        ("namespaceSelector: has(x), selector: app == 'a'", "namespaceSelector"),
        ("selector: has(a) && !has(a)", "selector"),
    ] {
        let told = [format!("selects-nothing GlobalNetworkPolicy p spec.{field}")];
        assert_eq!(found(&global("p", spec)), told, "{spec}");
    }
}

#[test]
fn a_rule_that_records_is_shadowed_too_and_shadows_nothing() {
    let rules = |rules: &str| found(&global("p", &format!("ingress: [{rules}]")));
    let shadowed = ["shadowed GlobalNetworkPolicy p spec.ingress[1]"];
    assert_eq!(rules("{action: Allow}, {action: Log}"), shadowed);
    assert_eq!(rules("{action: Log}, {action: Allow}"), NOTHING);
    assert_eq!(rules("{action: Log}, {action: Log}"), NOTHING);
    assert_eq!(
        rules("{action: Log, source: {selector: app == 'z'}}"),
        ["never-matches GlobalNetworkPolicy p spec.ingress[0].source"]
    );
    let two = |first: &str, then: &str| {
        let one = |name: &str, action: &str| {
            global(name, &format!("order: 5, ingress: [{{action: {action}}}]"))
        };
        found(&(one("a", first) + &one("b", then)))
    };
    assert_eq!(two("Log", "Deny"), NOTHING, "nothing is decided otherwise");
    let three = |actions: [&str; 3]| {
        let one = |(name, action): (&str, &str)| {
            global(name, &format!("order: 5, ingress: [{{action: {action}}}]"))
        };
        found(&["a", "b", "c"].into_iter().zip(actions).map(one).collect::<String>())
    };
    let (deny, allow) = ("Deny, protocol: UDP", "Allow, protocol: TCP");
    for actions in [["Log", deny, allow], [deny, allow, "Log"]] {
        assert_eq!(three(actions), NOTHING, "{actions:?}");
    }
    let net = "{action: Allow, source: {nets: [10.1.0.0/16]}}";
    assert_eq!(
        rules(&format!(
            "{net}, {{action: Log}}, {{action: Allow, source: {{nets: [10.0.0.0/8]}}}}"
        )),
        ["redundant-range GlobalNetworkPolicy p spec.ingress[0].source.nets[0]"]
    );
}

#[test]
fn tiers_of_one_order_are_told() {
    let tier = |name: &str, order: &str| calico("Tier", name, order);
    let told = |name: &str| [format!("ambiguous-order Tier {name} spec.order")];
    assert_eq!(found(&(tier("b", "order: 5") + &tier("a", "order: 5"))), told("b"));
    assert_eq!(found(&(tier("b", "") + &tier("a", ""))), told("b"));
    assert_eq!(found(&(tier("b", "order: 5") + &tier("a", "order: 6"))), NOTHING);
    assert_eq!(found(&tier("a", "order: 1000000")), told("a"), "as the default tier");
    assert_eq!(found(&tier("default", "order: 1000000, defaultAction: Deny")), NOTHING);
}

#[test]
fn a_remedy_takes_no_list_s_last_away_and_changes_no_types() {
    let remedy = |text: &str, code: &str| {
        let found = lint(&inventory(&(small() + text)));
        let one = found.into_iter().find(|one| one.code == code);
        one.unwrap_or_else(|| panic!("{code}: {text}")).problem.remedy
    };
    let rule = "state the policy's types and remove the whole rule";
    let item = "state the policy's types and remove it, the last of its list with the whole rule";
    let nobody = ingress("action: Allow, source: {selector: app == 'z'}");
    assert_eq!(remedy(&nobody, "never-matches"), format!("mend it, or {rule}"));
    let from = "ingress: [{from: [{podSelector: {matchLabels: {app: z}}}]}]";
    assert_eq!(remedy(&policy("x/p", from), "never-matches"), format!("mend it, or {item}"));
    let none = global("p", "selector: app == 'z'");
    assert_eq!(remedy(&none, "selects-nothing"), "mend the selector, or remove the policy");
    let nets = "action: Allow, source: {nets: [10.0.0.0/8, 10.1.0.0/16]}";
    assert_eq!(remedy(&ingress(nets), "redundant-range"), item);
    let plain = |name: &str| policy(name, "ingress: [{}]");
    assert_eq!(remedy(&(plain("x/p") + &plain("x/q")), "shadowed"), rule);
    let admin = "subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}, \
                 {action: Accept, from: [{namespaces: {}}]}]";
    let admin = cluster("p", "Admin", 1, admin);
    assert_eq!(remedy(&admin, "shadowed"), "remove the whole rule", "before them it would open");
    let deny = "ingress: [{action: Allow}, {action: Deny, protocol: TCP}]";
    assert_eq!(remedy(&global("p", deny), "shadowed"), format!("put it before them, or {rule}"));
    let out = ingress("action: Allow, source: {notSelector: has(bad)}");
    assert_eq!(remedy(&out, "missing-set"), "mend it", "in a namespace it would mean everybody");
    let nobodys = calico("Profile", "kns.nowhere", "ingress: [{action: Deny}]");
    assert_eq!(remedy(&nobodys, "selects-nothing"), "mend the name, or remove the Profile");
    let first = calico("Tier", "t", "order: 1") + &global("f", "tier: t, ingress: []");
    let late = first + &global("p", "ingress: [{action: Allow}]");
    let told = remedy(&late, "unreached");
    assert_eq!(told, "state the policy's types and remove the rules");
}

#[test]
fn a_remedy_speaks_of_what_the_kind_has() {
    let remedy = |text: &str, code: &str| {
        let found = lint(&inventory(&(small() + text)));
        let one = found.into_iter().find(|one| one.code == code);
        one.unwrap_or_else(|| panic!("{code}: {text}")).problem.remedy
    };
    // Nets stand in a peer, of which a rule has several.
    let nets = "subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: [10.0.0.0/8]}]}, \
                {action: Deny, to: [{networks: [10.1.0.0/16]}, {networks: [192.0.2.0/24]}]}]";
    let told = remedy(&cluster("p", "Admin", 1, nets), "shadowed");
    let item = "remove it, the last of its list with the whole peer, the last peer with the whole \
                rule";
    assert_eq!(told, format!("put it before them, or {item}"));
    // A profile has no types.
    let twice = calico("Profile", "kns.x", "ingress: [{action: Deny}, {action: Deny}]");
    assert_eq!(remedy(&twice, "shadowed"), "put it before them, or remove the whole rule");
}

#[test]
fn a_net_that_later_tiers_allow_is_redundant() {
    let first = |end: &str| calico("Tier", "t", &format!("order: 1, defaultAction: {end}"));
    let early = |rules: &str| global("e", &format!("tier: t, ingress: [{rules}]"));
    let net = "{action: Allow, source: {nets: [10.1.0.0/16]}}";
    let late = global("p", "ingress: [{action: Allow, source: {nets: [10.0.0.0/8]}}]");
    let told = ["redundant-range GlobalNetworkPolicy e spec.ingress[0].source.nets[0]"];
    assert_eq!(found(&(first("Pass") + &early(net) + &late)), told);
    // Passed on, before the end that denies; and denied instead.
    let passed = format!("{net}, {{action: Pass, source: {{nets: [10.1.0.0/16, 10.3.0.0/16]}}}}");
    let nets = |text: &str| -> Vec<String> {
        found(text).into_iter().filter(|one| one.contains("range GlobalNetworkPolicy e")).collect()
    };
    assert_eq!(nets(&(first("Deny") + &early(net) + &late)), NOTHING);
    assert_eq!(nets(&(first("Deny") + &early(&passed) + &late)), told);
    // That rule is found shadowed itself, and without both the end denies.
    let shadowed = passed.replace(", 10.3", "]}}, {action: Pass, source: {nets: [10.3");
    assert_eq!(nets(&(first("Deny") + &early(&shadowed) + &late)), NOTHING);
    let denied = format!("{net}, {{action: Deny, source: {{nets: [10.1.2.0/24]}}}}");
    assert_eq!(nets(&(first("Pass") + &early(&denied) + &late)), NOTHING);
    let less = late.replace("10.0.0.0/8", "10.1.0.0/17");
    assert_eq!(nets(&(first("Pass") + &early(net) + &less)), NOTHING);
}

#[test]
fn a_tier_that_is_there_and_broken_is_not_missing() {
    let text = calico("Tier", "t", "order: first") + &global("p", "tier: t, ingress: []");
    assert_eq!(found(&text), NOTHING);
    assert_eq!(found(&global("p", "tier: [t], ingress: []")), NOTHING);
}

#[test]
fn who_reaches_an_open_namespace_is_told() {
    let told = |text: &str| {
        let found = lint(&inventory(&(small() + text)));
        let open = found.into_iter().filter(|one| one.code == "open-namespace");
        let mut told: Vec<String> = open.map(|one| one.problem.message).collect();
        told.dedup();
        told
    };
    let ends = |text: &str, end: &str| {
        let told = told(text);
        assert!(matches!(told.as_slice(), [one] if one.ends_with(end)), "{told:?}");
    };
    ends("", ": everyone reaches it");
    let rules = |rules: &str| {
        cluster("p", "Admin", 1, &format!("subject: {{namespaces: {{}}}}, ingress: [{rules}]"))
    };
    ends(&rules("{action: Deny, from: [{namespaces: {}}]}"), ": whoever no rule denies reaches it");
    ends(&rules("{action: Pass, from: [{namespaces: {}}]}"), ": everyone reaches it");
    let tier = calico("Tier", "t", "order: 1, defaultAction: Pass");
    let some = "tier: t, ingress: [{action: Deny, protocol: TCP, source: {ports: [7]}}]";
    ends(&(tier + &global("p", some)), ": whoever no rule denies reaches it");
}

#[test]
fn what_is_broken_isolates_a_namespace_as_it_is_enforced() {
    let broken = global("p", "ingress: [{action: Deny, protocol: nothing}]");
    assert_eq!(lint(&inventory(&(small() + &broken))), []);
}

#[test]
fn a_pod_that_policies_do_not_see_is_named() {
    let told = |text: &str| {
        let found = lint(&inventory(&(small() + text)));
        found.into_iter().find(|one| one.code == "selects-nothing").unwrap().problem.message
    };
    let none = policy("x/p", "podSelector: {matchLabels: {app: n}}");
    let message = "it selects nothing: no pod is in namespace x with app == \"n\"";
    assert_eq!(told(&none), message);
    let pod = crate::sample::pod_with("x/n", "10.0.9.1", "app: n", "hostNetwork: true");
    assert_eq!(
        told(&(none + &pod)),
        format!("{message} (x/n is, but it is on its node's network)")
    );
}

#[test]
fn a_set_that_is_one_of_several_must_be_there() {
    let rule = ingress("action: Allow, source: {selector: net == 'q' || app == 'b'}");
    let told = ["missing-set GlobalNetworkPolicy p spec.ingress[0].source.selector"];
    assert_eq!(found(&rule), told);
    let set = calico("GlobalNetworkSet", "s", "nets: [192.0.2.0/24]")
        .replace("metadata: {", "metadata: {labels: {net: q}, ");
    assert_eq!(found(&(rule + &set)), NOTHING);
    let pods = ingress("action: Allow, source: {selector: app == 'z' || app == 'b'}");
    assert_eq!(found(&pods), NOTHING, "pods come and go");
}

#[test]
fn of_a_network_policy_the_order_is_the_others_to_change() {
    let text = policy("x/p", "ingress: [{}]")
        + &calico("NetworkPolicy", "x/a", "order: 1000, ingress: [{action: Deny}]");
    let found = lint(&inventory(&(small() + &text)));
    let one = found.iter().find(|one| one.code == "ambiguous-order").unwrap();
    assert_eq!((one.problem.object.as_str(), &*one.problem.field), ("NetworkPolicy x/p", ""));
    assert!(one.problem.remedy.contains("that is not 1000"), "{one}");
}

#[test]
fn a_set_without_a_net_is_there() {
    let set = calico("GlobalNetworkSet", "s", "").replace("name: s", "name: s, labels: {net: a}");
    let rule = ingress("action: Deny, source: {namespaceSelector: global(), selector: net == 'a'}");
    let told = ["never-matches GlobalNetworkPolicy p spec.ingress[0].source"];
    assert_eq!(found(&(rule + &set)), told);
    let out = ingress("action: Deny, source: {notSelector: net == 'a'}");
    let told = ["never-matches GlobalNetworkPolicy p spec.ingress[0].source.notSelector"];
    assert_eq!(found(&(out + &set)), told);
}

#[test]
fn a_name_of_a_port_is_found_in_its_place() {
    let rule = "action: Allow, protocol: TCP, destination: {ports: [80, '81:82', nobodys, 83]}";
    let told = ["never-matches GlobalNetworkPolicy p spec.ingress[0].destination.ports[2]"];
    assert_eq!(found(&ingress(rule)), told);
}
