//! Policies of Calico of a made-up world.

use serde_json::{Map, Value, json};

use super::{TIERS, selector, traffic};
use crate::worlds::Choices;

const NETS: [&str; 8] = [
    "10.0.0.0/29",
    "10.0.0.3/32",
    "0.0.0.0/0",
    "192.168.0.0/30",
    "203.0.113.0/24",
    "10.0.0.4/30",
    "::/0",
    "fd00::/125",
];

pub(super) fn policy(choices: &mut Choices, namespaces: &[String], number: usize) -> Value {
    let is_global = choices.chance(50);
    let kind = if is_global { "GlobalNetworkPolicy" } else { "NetworkPolicy" };
    let mut metadata = json!({ "name": format!("p{number}") });
    let mut spec = Map::new();
    if is_global {
        if choices.chance(30) {
            set(&mut spec, "namespaceSelector", selector::of_namespaces(choices));
        }
    } else {
        metadata["namespace"] = choices.pick(namespaces).into();
    }
    if choices.chance(60) {
        set(&mut spec, "selector", selector::of_pods(choices));
    }
    match choices.below(5) {
        0 => set(&mut spec, "serviceAccountSelector", selector::of_accounts(choices)),
        1 => set(&mut spec, "serviceAccountSelector", ""),
        _ => {}
    }
    if choices.chance(60) {
        set(&mut spec, "tier", choices.pick(&TIERS));
    }
    let order = choices.pick(&[
        Value::Null,
        json!(10),
        json!(10),
        json!(37.5),
        json!(-1e300),
        json!(1e300),
        json!(1000),
        json!(0),
        json!(1001),
    ]);
    if !order.is_null() {
        spec.insert("order".to_owned(), order);
    }
    for direction in ["ingress", "egress"] {
        if choices.chance(65) {
            let count = choices.below(4);
            let rules: Vec<Value> = (0..count)
                .map(|_| rule(choices, direction, metadata["namespace"].is_string(), namespaces))
                .collect();
            spec.insert(direction.to_owned(), rules.into());
        }
    }
    let types = [
        None,
        Some(json!(["Ingress"])),
        Some(json!(["Egress"])),
        Some(json!([])),
        Some(json!(["Ingress", "Egress"])),
    ];
    spec.extend(choices.pick(&types).map(|types| ("types".to_owned(), types)));
    let kind = if choices.chance(8) { format!("Staged{kind}") } else { kind.to_owned() };
    let version = choices.pick(&["projectcalico.org/v3", "crd.projectcalico.org/v1"]);
    json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec })
}

fn set(fields: &mut Map<String, Value>, name: &str, text: impl Into<String>) {
    fields.insert(name.to_owned(), text.into().into());
}

/// A rule of a policy or of a profile.
pub(super) fn rule(
    choices: &mut Choices,
    direction: &str,
    is_namespaced: bool,
    namespaces: &[String],
) -> Value {
    let action = choices.pick(&["Allow", "Allow", "Deny", "Deny", "Pass", "Log"]);
    let mut rule = json!({ "action": action });
    let other = if direction == "ingress" { "source" } else { "destination" };
    if choices.chance(10) {
        let mut service = json!({ "name": choices.pick(&["shop", "store", "none"]) });
        if !is_namespaced || choices.chance(50) {
            service["namespace"] = choices.pick(namespaces).into();
        }
        rule[other] = json!({ "services": service });
        if direction == "egress" {
            // As a destination it has a protocol and ports of its own.
            rule["ipVersion"] = choices.pick(&[Value::Null, json!(4), json!(6)]);
        } else if traffic::give(choices, &mut rule) && choices.chance(40) {
            rule[other]["ports"] = traffic::ports(choices);
        }
        return rule;
    }
    let has_ports = traffic::give(choices, &mut rule);
    for name in ["source", "destination"] {
        let mut entity = Map::new();
        if choices.chance(if name == other { 70 } else { 15 }) {
            identity(choices, &mut entity);
        }
        if has_ports {
            traffic::give_ports(choices, &mut entity, name == "destination");
        }
        if !entity.is_empty() || choices.chance(30) {
            rule[name] = entity.into();
        }
    }
    rule
}

/// Who is at an end: one or more conditions, all of which must hold.
fn identity(choices: &mut Choices, entity: &mut Map<String, Value>) {
    let nets = |choices: &mut Choices| {
        let family = choices.chance(75);
        let of_family: Vec<&str> =
            NETS.iter().copied().filter(|net| net.contains('.') == family).collect();
        let some: Vec<&str> = (0..=choices.below(2)).map(|_| choices.pick(&of_family)).collect();
        json!(some)
    };
    for _ in 0..=choices.below(2) {
        match choices.below(8) {
            0 => drop(entity.insert("nets".to_owned(), nets(choices))),
            1 => drop(entity.insert("notNets".to_owned(), nets(choices))),
            2 | 3 => set(entity, "selector", selector::of_pods(choices)),
            4 => set(entity, "notSelector", selector::of_pods(choices)),
            5 => set(entity, "namespaceSelector", selector::of_namespaces_or_none(choices)),
            6 => {
                let mut accounts = json!({});
                if choices.chance(50) {
                    accounts["names"] =
                        choices.pick(&[json!(["robot"]), json!(["clerk", "default"])]);
                } else {
                    accounts["selector"] = selector::of_accounts(choices).into();
                }
                entity.insert("serviceAccounts".to_owned(), accounts);
            }
            _ => {
                let nobody = choices.pick(&["app == 'nobody'", "app in {}", "!all()"]);
                set(entity, "selector", nobody);
            }
        }
    }
}
