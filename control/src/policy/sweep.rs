//! Every place of a policy written wrong, one after the other: nothing is opened that was not,
//! nothing that was denied is spared.

use super::sample::{node, shape};
use super::*;
use crate::manifest::fields::{Place, Report};
use crate::manifest::tree::{Node, Value};
use crate::manifest::{ObjectKind, Origin};

/// Maps whose keys are anyone's to choose.
const FREE: [&str; 3] = ["matchLabels", "annotations", "labelsToApply"];

fn junk() -> [Value; 5] {
    let one = |value| Node { value, line: 1 };
    [
        Value::Bool(true),
        Value::Number("0x1".to_owned()),
        Value::Text("%".to_owned()),
        Value::List(vec![one(Value::Null)]),
        Value::Map(vec![("zq9".to_owned(), one(Value::Integer(1)))]),
    ]
}

/// The tree with one place of it wrong, in every way.
fn variants(node: &Node, is_free: bool) -> Vec<Node> {
    let mut found = Vec::new();
    match &node.value {
        Value::Map(fields) => {
            for (index, (name, child)) in fields.iter().enumerate() {
                let mut with = |name: &str, child: Node| {
                    let mut fields = fields.clone();
                    fields[index] = (name.to_owned(), child);
                    found.push(Node { value: Value::Map(fields), ..node.clone() });
                };
                if !is_free {
                    with(&format!("{name}z"), child.clone());
                }
                for value in junk() {
                    with(name, Node { value, line: 1 });
                }
                for child in variants(child, FREE.contains(&name.as_str())) {
                    with(name, child);
                }
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let wrong = junk().into_iter().map(|value| Node { value, line: 1 });
                for child in wrong.chain(variants(item, false)) {
                    let mut items = items.clone();
                    items[index] = child;
                    found.push(Node { value: Value::List(items), ..node.clone() });
                }
            }
        }
        _ => {}
    }
    found
}

fn read(kind: Kind, root: &Node) -> OrderedPolicy {
    let root = Place::root(root);
    let origin = Origin { file: "t.yaml".into(), index: 0, line: 1 };
    let (metadata, mut report) = Metadata::read(&root, ObjectKind::Policy, origin, "t.yaml");
    let report: &mut Report<'_> = &mut report;
    match kind {
        Kind::ClusterNetworkPolicy | Kind::AdminNetworkPolicy => {
            cluster::read(&root, kind, metadata, true, report)
        }
        _ => calico::read(&root, kind, metadata, true, report),
    }
}

/// A rule without its name, which decides nothing.
fn nameless(listed: &Listed) -> Listed {
    match listed {
        Listed::Rule(rule) => Listed::rule(Rule { name: None, ..*rule.clone() }),
        other => other.clone(),
    }
}

fn opens(listed: &Listed) -> bool {
    matches!(listed, Listed::Rule(rule) if matches!(rule.action, Action::Allow | Action::Pass))
}

/// Whether a policy read of something wrong is closed, as measured by what was meant.
fn is_closed(meant: &OrderedPolicy, seen: &OrderedPolicy) -> bool {
    let is_opening = [&seen.ingress, &seen.egress].into_iter().flatten().flatten().any(opens);
    let is_narrow = seen.subject == meant.subject || !is_opening;
    let is_placed = seen.order == meant.order || seen.order == Order::FIRST;
    let is_tiered = seen.tier == meant.tier || seen.tier.is_none() || seen.order == Order::FIRST;
    is_narrow
        && is_placed
        && is_tiered
        && [Direction::Ingress, Direction::Egress].into_iter().all(|direction| {
            let wanted: Vec<Listed> =
                meant.rules(direction).unwrap_or_default().iter().map(nameless).collect();
            let Some(rules) = seen.rules(direction) else {
                return meant.rules(direction).is_none();
            };
            let rules: Vec<Listed> = rules.iter().map(nameless).collect();
            let denies_all = rules.first() == Some(&Listed::DenyAll);
            let spares = wanted.iter().zip(rules.iter().map(Some).chain(std::iter::repeat(None)));
            let is_kept = spares.into_iter().all(|(wanted, seen)| match wanted {
                Listed::Rule(rule) if rule.action == Action::Deny => {
                    seen == Some(wanted) || seen == Some(&Listed::DenyAll)
                }
                _ => true,
            });
            rules.iter().all(|rule| !opens(rule) || wanted.contains(rule))
                && (is_kept || denies_all)
        })
}

fn sweep(kind: Kind, text: &str) {
    let whole = node(text);
    let meant = read(kind, &whole);
    assert!(is_closed(&meant, &meant));
    let Value::Map(fields) = &whole.value else { panic!() };
    let is_spec = |(name, _): &&(String, Node)| name == "spec";
    let spec = fields.iter().find(is_spec).unwrap();
    let is_map = |value: &Value| matches!(value, Value::Map(_));
    let no_spec = junk().into_iter().filter(|value| !is_map(value));
    let mut wrong: Vec<Node> = no_spec.map(|value| Node { value, line: 1 }).collect();
    wrong.extend(variants(&spec.1, false));
    assert!(wrong.len() > 200, "{}", wrong.len());
    for spec in wrong {
        let others = fields.iter().filter(|field| !is_spec(field)).cloned();
        let fields = others.chain([("spec".to_owned(), spec)]).collect();
        let seen = read(kind, &Node { value: Value::Map(fields), line: 1 });
        // A tier that there is not: whoever knows the tiers shuts it.
        if seen.tier.as_deref() == Some("%") {
            continue;
        }
        assert!(is_closed(&meant, &seen), "{}\n{seen:#?}", shape(&seen));
    }
}

#[test]
fn np_59_no_mistake_in_a_policy_of_calico_opens_anything() {
    for (kind, more) in [
        (Kind::CalicoNetworkPolicy, ""),
        (Kind::GlobalNetworkPolicy, "namespaceSelector: has(n), applyOnForward: false, "),
    ] {
        sweep(
            kind,
            &format!(
                "kind: X
metadata: {{namespace: x, name: p}}
spec:
  {{{more}tier: t, order: 10, selector: has(a), serviceAccountSelector: has(b), types: [Ingress],
   performanceHints: [AssumeNeededOnEveryNode],
   ingress: [
     {{action: Deny, protocol: TCP, source: {{nets: [10.0.0.0/8], notNets: [10.1.0.0/16]}},
      destination: {{ports: [1, '2:3', web], notPorts: [4]}}}},
     {{action: Allow, ipVersion: 4, protocol: ICMP, icmp: {{type: 8, code: 0}},
      notICMP: {{type: 9}}, source: {{selector: has(c), notSelector: has(d),
      namespaceSelector: has(e), serviceAccounts: {{names: [f], selector: has(g)}}}}}},
     {{action: Pass, notProtocol: UDP, source: {{services: {{name: s, namespace: y}}}},
      metadata: {{annotations: {{h: i}}}}}},
     {{action: Log}}, {{action: Allow}}],
   egress: [{{action: Allow}}]}}
"
            ),
        );
    }
}

#[test]
fn cnp_11_no_mistake_in_a_cluster_policy_opens_anything() {
    sweep(
        Kind::ClusterNetworkPolicy,
        "kind: X
metadata: {name: p}
spec:
  {tier: Baseline, priority: 10,
   subject: {pods: {namespaceSelector: {matchLabels: {a: b}}, podSelector: {matchExpressions:
     [{key: c, operator: In, values: [d]}]}}},
   ingress: [
     {name: one, action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort:
       {number: 1}}}, {udp: {destinationPort: {range: {start: 1, end: 2}}}}]},
     {action: Accept, from: [{pods: {podSelector: {}}}], protocols: [{destinationNamedPort: web}]}],
   egress: [
     {action: Pass, to: [{nodes: {matchLabels: {a: b}}}]},
     {action: Deny, to: [{networks: [10.0.0.0/8]}]},
     {action: Accept, to: [{namespaces: {}}], protocols: [{sctp: {}}]}]}
",
    );
    sweep(
        Kind::AdminNetworkPolicy,
        "kind: X
metadata: {name: p}
spec:
  {priority: 10, subject: {namespaces: {matchLabels: {a: b}}},
   ingress: [{action: Deny, from: [{namespaces: {}}], ports: [{portNumber: {protocol: TCP, port: 1}},
     {portRange: {protocol: UDP, start: 1, end: 2}}, {namedPort: web}]},
     {action: Allow, from: [{pods: {namespaceSelector: {}, podSelector: {}}}]}],
   egress: [{action: Pass, to: [{nodes: {}}]}, {action: Deny, to: [{networks: [10.0.0.0/8]}]}]}
",
    );
}
