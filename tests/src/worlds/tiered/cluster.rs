//! Policies of the cluster of a made-up world, new and old.

use serde_json::{Map, Value, json};

use crate::worlds::{Choices, policy};

const NETWORKS: [&str; 8] = [
    "10.0.0.0/29",
    "10.0.0.2/32",
    "0.0.0.0/0",
    "203.0.113.0/24",
    "192.168.0.1/32",
    "::/0",
    "fd00::4/126",
    "2001:db8::/32",
];

/// The words that the two generations have for the same.
struct Words {
    allow: &'static str,
    traffic: &'static str,
    item: fn(&mut Choices, bool) -> Value,
    passes: bool,
}

const NEW: Words = Words { allow: "Accept", traffic: "protocols", item: protocol, passes: true };
const OLD: Words = Words { allow: "Allow", traffic: "ports", item: port, passes: true };

pub(super) fn cluster_policy(choices: &mut Choices, number: usize) -> Value {
    let mut spec = spec(choices, &NEW);
    spec["tier"] = choices.pick(&["Admin", "Baseline"]).into();
    spec["priority"] = priority(choices);
    json!({ "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": { "name": format!("c{number}") }, "spec": spec })
}

pub(super) fn admin_policy(choices: &mut Choices, number: usize) -> Value {
    let mut spec = spec(choices, &OLD);
    spec["priority"] = priority(choices);
    json!({ "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy",
            "metadata": { "name": format!("a{number}") }, "spec": spec })
}

pub(super) fn baseline_policy(choices: &mut Choices) -> Value {
    let spec = spec(choices, &Words { passes: false, ..OLD });
    json!({ "apiVersion": "policy.networking.k8s.io/v1alpha1",
            "kind": "BaselineAdminNetworkPolicy",
            "metadata": { "name": "default" }, "spec": spec })
}

/// Equal ones and both extremes.
fn priority(choices: &mut Choices) -> Value {
    choices.pick(&[10, 10, 0, 1000, 500, 11]).into()
}

fn spec(choices: &mut Choices, words: &Words) -> Value {
    let mut spec = json!({ "subject": pods(choices) });
    for direction in ["ingress", "egress"] {
        if choices.chance(65) {
            let rules: Vec<Value> =
                (0..choices.below(4)).map(|_| rule(choices, direction, words)).collect();
            spec[direction] = rules.into();
        }
    }
    spec
}

/// A subject, or a peer of pods.
fn pods(choices: &mut Choices) -> Value {
    match choices.below(4) {
        0 => json!({ "namespaces": {} }),
        1 => json!({ "namespaces": policy::selector(choices, true) }),
        _ => json!({ "pods": { "namespaceSelector": policy::selector(choices, true),
                               "podSelector": policy::selector(choices, false) } }),
    }
}

fn rule(choices: &mut Choices, direction: &str, words: &Words) -> Value {
    let pass = if words.passes { "Pass" } else { "Deny" };
    let mut rule = Map::new();
    let action = choices.pick(&[words.allow, words.allow, "Deny", "Deny", pass]);
    rule.insert("action".to_owned(), action.into());
    if choices.chance(30) {
        rule.insert("name".to_owned(), "so-called".into());
    }
    let is_egress = direction == "egress";
    let of_addresses = is_egress && choices.chance(40);
    let peer = |choices: &mut Choices| {
        if !of_addresses {
            return pods(choices);
        }
        match choices.below(3) {
            0 => json!({ "nodes": policy::selector(choices, false) }),
            1 => json!({ "networks": [choices.pick(&NETWORKS)] }),
            _ => json!({ "networks": [choices.pick(&NETWORKS), choices.pick(&NETWORKS)] }),
        }
    };
    let peers: Vec<Value> = (0..=choices.below(2)).map(|_| peer(choices)).collect();
    rule.insert(if is_egress { "to" } else { "from" }.to_owned(), peers.into());
    if choices.chance(60) {
        let items: Vec<Value> =
            (0..=choices.below(2)).map(|_| (words.item)(choices, !of_addresses)).collect();
        rule.insert(words.traffic.to_owned(), items.into());
    }
    rule.into()
}

fn protocol(choices: &mut Choices, may_be_named: bool) -> Value {
    if may_be_named && choices.chance(25) {
        return json!({ "destinationNamedPort": choices.pick(&["web", "dns", "sig"]) });
    }
    let port = match choices.below(3) {
        0 => json!({}),
        1 => json!({ "destinationPort": { "number": choices.pick(&[80, 81, 53, 1, 65535]) } }),
        _ => {
            let (start, end) = choices.pick(&[(80, 81), (1, 65535), (53, 80), (82, 90)]);
            json!({ "destinationPort": { "range": { "start": start, "end": end } } })
        }
    };
    let mut item = json!({});
    item[choices.pick(&["tcp", "udp", "sctp"])] = port;
    item
}

fn port(choices: &mut Choices, may_be_named: bool) -> Value {
    if may_be_named && choices.chance(25) {
        return json!({ "namedPort": choices.pick(&["web", "dns", "sig"]) });
    }
    let protocol = choices.pick(&["TCP", "UDP", "SCTP"]);
    if choices.chance(50) {
        let number = choices.pick(&[80, 81, 53]);
        json!({ "portNumber": { "protocol": protocol, "port": number } })
    } else {
        let (start, end) = choices.pick(&[(80, 81), (1, 65535), (53, 80)]);
        json!({ "portRange": { "protocol": protocol, "start": start, "end": end } })
    }
}
