//! Breaking policies and profiles of a made-up world where it is said what then counts.

use serde_json::{Value, json};

use crate::worlds::Choices;

/// Breaks one place of one ordered policy or profile. What of a policy a profile has not is a field
/// that it does not know.
pub(super) fn break_one(objects: &mut [Value], choices: &mut Choices) {
    let is_ordered = |object: &&mut Value| {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        let is_policy = kind.ends_with("NetworkPolicy") || kind == "Profile";
        version != "networking.k8s.io/v1" && is_policy
    };
    let mut policies: Vec<&mut Value> = objects.iter_mut().filter(is_ordered).collect();
    if policies.is_empty() {
        return;
    }
    let policy = choices.below(policies.len());
    let policy = policies.swap_remove(policy);
    let is_calico = policy["apiVersion"].as_str().is_some_and(|version| version.contains("calico"));
    let is_profile = policy["kind"] == "Profile";
    let direction = choices.pick(&["ingress", "egress"]);
    let spec = &mut policy["spec"];
    let rules = spec[direction].as_array().map_or(0, Vec::len);
    if rules > 0 && choices.chance(65) {
        let rule = choices.below(rules);
        return break_rule(&mut spec[direction][rule], direction, is_calico, choices);
    }
    match choices.below(4) {
        0 if is_profile && choices.chance(50) => policy["bogus"] = json!({}),
        0 => spec["bogus"] = choices.pick(&[json!(1), json!([]), json!("x")]),
        1 if is_calico => spec["order"] = choices.pick(&[json!("first"), json!({}), json!(true)]),
        1 => spec["priority"] = choices.pick(&[json!("first"), json!(1001), json!(-1), json!(1.5)]),
        2 if is_calico => spec["selector"] = choices.pick(&[json!("a b"), json!(7), json!("()")]),
        2 => {
            let both = json!({ "namespaces": {}, "pods": {} });
            spec["subject"] = choices.pick(&[json!({}), both, json!({ "planets": {} })]);
        }
        3 if is_calico => spec["types"] = choices.pick(&[json!(["Sideways"]), json!("Ingress")]),
        _ => spec[direction] = choices.pick(&[json!({}), json!("none"), json!(1)]),
    }
}

fn break_rule(rule: &mut Value, direction: &str, is_calico: bool, choices: &mut Choices) {
    match choices.below(4) {
        0 => rule["bogus"] = choices.pick(&[json!(1), json!([])]),
        1 => rule["action"] = choices.pick(&[json!("Maybe"), json!(7), Value::Null]),
        2 if is_calico => break_traffic(rule, choices),
        _ if is_calico => {
            let end = choices.pick(&["source", "destination"]);
            rule[end] = choices.pick(&[
                json!({ "nets": ["10.0.0.0/33"] }),
                json!({ "notNets": "10.0.0.0/8" }),
                json!({ "selector": "app" }),
                json!({ "notSelector": "app ==" }),
                json!({ "namespaceSelector": "global() &&" }),
                json!({ "colour": "red" }),
                json!("everyone"),
                json!({ "serviceAccounts": { "selector": "!" } }),
            ]);
        }
        2 => {
            let peers = if direction == "ingress" { "from" } else { "to" };
            rule[peers] = choices.pick(&[
                json!([]),
                json!([{}]),
                json!([{ "planets": {} }]),
                json!({ "namespaces": {} }),
                json!([{ "namespaces": {} }, { "namespaces": { "matchLabels": 7 } }]),
                json!([{ "namespaces": {}, "pods": {} }]),
            ]);
        }
        _ => {
            let traffic = if rule["ports"].is_array() { "ports" } else { "protocols" };
            if rule[traffic].is_array() {
                rule[traffic] = choices.pick(&[
                    json!([{ "quic": {} }]),
                    json!([{}]),
                    json!({ "tcp": {} }),
                    json!([{ "tcp": {}, "udp": {} }]),
                ]);
            }
        }
    }
}

/// Breaks what a rule of Calico says of packets. Who has no messages, or no ports, may name none.
fn break_traffic(rule: &mut Value, choices: &mut Choices) {
    let broken = choices.pick(&[
        json!({ "protocol": "QUIC" }),
        json!({ "protocol": 0 }),
        json!({ "notProtocol": 256 }),
        json!({ "notProtocol": ["TCP"] }),
        json!({ "protocol": "TCP", "icmp": { "type": 8 } }),
        json!({ "protocol": null, "notICMP": { "type": 8 } }),
        json!({ "protocol": "ICMP", "icmp": { "code": 0 } }),
        json!({ "protocol": "ICMP", "icmp": { "type": 255 } }),
        json!({ "protocol": "ICMP", "icmp": { "type": 8, "colour": "red" } }),
        json!({ "protocol": "ICMPv6", "notICMP": { "type": 8, "code": 256 } }),
        json!({ "protocol": "ICMPv6", "notICMP": "echo" }),
        json!({ "protocol": "ICMP", "destination": { "ports": [80] } }),
        json!({ "protocol": "UDPLite", "source": { "ports": [80] } }),
        json!({ "protocol": null, "source": { "notPorts": [80] } }),
        json!({ "protocol": "UDP", "source": { "ports": ["9:8"] } }),
        json!({ "protocol": "UDP", "source": { "notPorts": [70000] } }),
        json!({ "protocol": "UDP", "destination": { "notPorts": ["a b"] } }),
    ]);
    for (name, value) in broken.as_object().into_iter().flatten() {
        rule[name.as_str()] = value.clone();
    }
}
