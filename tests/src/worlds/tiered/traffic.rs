//! Which packets rules of Calico in a made-up world mean: protocols, messages and ports.

use serde_json::{Map, Value, json};

use crate::worlds::Choices;

/// Gives a rule what it says of packets; whether it may then name ports.
pub(super) fn give(choices: &mut Choices, rule: &mut Value) -> bool {
    match choices.below(10) {
        0 => false,
        1 => {
            rule["ipVersion"] = choices.pick(&[4, 6]).into();
            false
        }
        2 | 3 => {
            give_messages(choices, rule);
            false
        }
        4 | 5 => {
            rule[choices.pick(&["protocol", "notProtocol"])] = any_protocol(choices);
            false
        }
        _ => {
            rule["protocol"] =
                choices.pick(&[json!("TCP"), json!("udp"), json!("SCTP"), json!(6), json!(17)]);
            if choices.chance(10) {
                rule["notProtocol"] = any_protocol(choices);
            }
            true
        }
    }
}

/// Makes rules of Calico that name no ports be of messages, or of every protocol but one, and most
/// of them whoever sends: a rule like that among others hardly ever decides.
pub(super) fn of_messages(objects: &mut [Value], choices: &mut Choices) {
    let has_ports = |rule: &Value| {
        ["source", "destination"].iter().any(|end| {
            ["ports", "notPorts", "services"].iter().any(|name| rule[end].get(name).is_some())
        })
    };
    let is_calico = |object: &&mut Value| {
        object["apiVersion"].as_str().is_some_and(|version| version.contains("calico"))
    };
    for object in objects.iter_mut().filter(is_calico) {
        for direction in ["ingress", "egress"] {
            let rules = object["spec"].get_mut(direction).and_then(Value::as_array_mut);
            for rule in rules.into_iter().flatten().filter(|rule| !has_ports(rule)) {
                be_of_messages(rule, choices);
            }
        }
    }
}

fn be_of_messages(rule: &mut Value, choices: &mut Choices) {
    let action = rule["action"].take();
    let ends = [rule["source"].take(), rule["destination"].take()];
    *rule = json!({ "action": action });
    if choices.chance(30) {
        [rule["source"], rule["destination"]] = ends;
    }
    if choices.chance(30) {
        rule["notProtocol"] = any_protocol(choices);
    } else {
        give_messages(choices, rule);
    }
}

fn any_protocol(choices: &mut Choices) -> Value {
    choices.pick(&[
        json!("TCP"),
        json!("ICMP"),
        json!("ICMPv6"),
        json!("UDPLite"),
        json!("icmpV6"),
        json!(1),
        json!(58),
        json!(47),
        json!(17),
        json!(255),
    ])
}

/// A protocol that has messages, and which of them.
fn give_messages(choices: &mut Choices, rule: &mut Value) {
    rule["protocol"] = choices.pick(&[json!("ICMP"), json!("ICMPv6"), json!(1), json!(58)]);
    let names: &[&str] =
        choices.pick(&[&["icmp"][..], &["icmp"], &["notICMP"], &["icmp", "notICMP"]]);
    for name in names {
        let mut message = json!({ "type": choices.pick(&[8, 128, 13, 254]) });
        if choices.chance(70) {
            message["code"] = choices.pick(&[0, 1]).into();
        }
        rule[name] = message;
    }
}

/// Gives an end of a rule ports, a target more often than a source.
pub(super) fn give_ports(choices: &mut Choices, entity: &mut Map<String, Value>, is_target: bool) {
    let (ports_percent, not_percent) = if is_target { (50, 20) } else { (30, 20) };
    if choices.chance(ports_percent) {
        entity.insert("ports".to_owned(), ports(choices));
    }
    if choices.chance(not_percent) {
        entity.insert("notPorts".to_owned(), ports(choices));
    }
}

/// One to three of numbers, ranges and names.
pub(super) fn ports(choices: &mut Choices) -> Value {
    let one = |choices: &mut Choices| {
        choices.pick(&[
            json!(80),
            json!("81"),
            json!("80:81"),
            json!("web"),
            json!("dns"),
            json!("sig"),
            json!(53),
            json!("0:65535"),
            json!("82:65535"),
        ])
    };
    (0..=choices.below(3)).map(|_| one(choices)).collect::<Vec<Value>>().into()
}
