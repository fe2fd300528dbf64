//! Policies of a made-up world, in every shape that the API has.

use serde_json::{Map, Value, json};

use super::Choices;

/// Blocks around the pods, the nodes and the world outside. Host bits set in some.
const BLOCKS: [(&str, &[&str]); 12] = [
    ("10.0.0.0/29", &["10.0.0.4/30", "10.0.0.1/32", "10.0.0.2/31"]),
    ("10.0.0.3/28", &["10.0.0.8/29", "10.0.0.7/32", "10.0.0.9/30"]),
    ("0.0.0.0/0", &["10.0.0.0/8", "169.254.169.254/32", "10.0.0.5/30", "128.0.0.0/1"]),
    ("10.0.0.2/32", &[]),
    ("10.0.0.4/31", &["10.0.0.5/32"]),
    ("192.168.0.0/30", &["192.168.0.1/32"]),
    ("203.0.113.0/24", &["203.0.113.128/25", "203.0.113.7/32"]),
    ("::/0", &["fd00::/64", "fd00::2/127", "8000::/1"]),
    ("fd00::/125", &["fd00::4/126", "fd00::1/128"]),
    ("fd00::5/127", &["fd00::4/128"]),
    ("2001:db8::/32", &["2001:db8:1::/48", "2001:db8::9/128"]),
    ("fd01::1/128", &[]),
];

/// One policy in one of the namespaces.
pub(super) fn policy(choices: &mut Choices, namespaces: &[String], number: usize) -> Value {
    let namespace = choices.pick(namespaces);
    let mut metadata = json!({ "name": format!("p{number}") });
    if namespace != "default" || choices.chance(50) {
        metadata["namespace"] = namespace.into();
    }
    let mut spec = Map::new();
    match choices.below(8) {
        0..=2 => drop(spec.insert("podSelector".to_owned(), json!({}))),
        3 => {}
        _ => drop(spec.insert("podSelector".to_owned(), selector(choices, false))),
    }
    for direction in ["ingress", "egress"] {
        match choices.below(8) {
            0..=3 => {
                let rules: Vec<Value> =
                    (0..=choices.below(3)).map(|_| rule(choices, direction)).collect();
                spec.insert(direction.to_owned(), rules.into());
            }
            4 => drop(spec.insert(direction.to_owned(), json!([]))),
            5 => drop(spec.insert(direction.to_owned(), Value::Null)),
            _ => {}
        }
    }
    let types = choices.pick(&[
        None,
        Some(json!(["Ingress"])),
        Some(json!(["Egress"])),
        Some(json!(["Ingress", "Egress"])),
        Some(json!([])),
        Some(Value::Null),
    ]);
    spec.extend(types.map(|types| ("policyTypes".to_owned(), types)));
    json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata,
            "spec": spec })
}

/// Makes up one item of a list.
type Item = fn(&mut Choices) -> Value;

fn rule(choices: &mut Choices, direction: &str) -> Value {
    let mut rule = Map::new();
    let peers = if direction == "ingress" { "from" } else { "to" };
    for (name, item) in [(peers, peer as Item), ("ports", port as Item)] {
        match choices.below(8) {
            0..=4 => {
                let items: Vec<Value> = (0..=choices.below(2)).map(|_| item(choices)).collect();
                rule.insert(name.to_owned(), items.into());
            }
            5 => drop(rule.insert(name.to_owned(), json!([]))),
            6 => drop(rule.insert(name.to_owned(), Value::Null)),
            _ => {}
        }
    }
    Value::Object(rule)
}

fn peer(choices: &mut Choices) -> Value {
    match choices.below(6) {
        0 => json!({ "podSelector": selector(choices, false) }),
        1 => json!({ "namespaceSelector": selector(choices, true) }),
        2 => json!({ "namespaceSelector": selector(choices, true),
                     "podSelector": selector(choices, false) }),
        3 => json!({ "podSelector": selector(choices, false), "namespaceSelector": null,
                     "ipBlock": null }),
        _ => json!({ "ipBlock": block(choices) }),
    }
}

fn block(choices: &mut Choices) -> Value {
    let (cidr, parts) = choices.pick(&BLOCKS);
    let mut block = json!({ "cidr": cidr });
    match choices.below(4) {
        0 if !parts.is_empty() => {
            let except: Vec<&str> = (0..=choices.below(2)).map(|_| choices.pick(parts)).collect();
            block["except"] = json!(except);
        }
        1 => block["except"] = choices.pick(&[json!([]), Value::Null]),
        _ => {}
    }
    block
}

fn port(choices: &mut Choices) -> Value {
    let mut port = Map::new();
    let protocol = choices.pick(&[None, Some("TCP"), Some("UDP"), Some("SCTP"), Some("TCP"), None]);
    if let Some(protocol) = protocol {
        port.insert("protocol".to_owned(), protocol.into());
    }
    match choices.below(7) {
        0 | 1 => drop(port.insert("port".to_owned(), choices.pick(&[80, 81, 53, 1, 65535]).into())),
        2 | 3 => drop(port.insert("port".to_owned(), choices.pick(&["web", "dns", "sig"]).into())),
        4 | 5 => {
            let (first, last) =
                choices.pick(&[(80, 81), (80, 80), (1, 65535), (53, 80), (82, 90), (65535, 65535)]);
            port.insert("port".to_owned(), first.into());
            port.insert("endPort".to_owned(), last.into());
        }
        _ => {
            if choices.chance(30) {
                port.insert("port".to_owned(), Value::Null);
            }
        }
    }
    Value::Object(port)
}

pub(super) fn selector(choices: &mut Choices, of_namespaces: bool) -> Value {
    let mut selector = Map::new();
    let shape = choices.below(6);
    if shape == 0 {
        return json!({});
    }
    if shape != 2 {
        let mut wanted = Map::new();
        for _ in 0..choices.below(3) {
            let (key, value) = pair(choices, of_namespaces);
            wanted.insert(key.to_owned(), value.into());
        }
        selector.insert("matchLabels".to_owned(), wanted.into());
    }
    if shape == 2 || shape == 3 {
        let expressions: Vec<Value> =
            (0..choices.below(3)).map(|_| expression(choices, of_namespaces)).collect();
        selector.insert("matchExpressions".to_owned(), expressions.into());
    }
    if shape == 4 {
        selector.insert("matchExpressions".to_owned(), Value::Null);
    }
    Value::Object(selector)
}

fn pair(choices: &mut Choices, of_namespaces: bool) -> (&'static str, &'static str) {
    if of_namespaces && choices.chance(40) {
        return ("kubernetes.io/metadata.name", choices.pick(&["x", "y", "z", "default"]));
    }
    (choices.pick(&["app", "tier"]), choices.pick(&["a", "b", ""]))
}

fn expression(choices: &mut Choices, of_namespaces: bool) -> Value {
    let (key, value) = pair(choices, of_namespaces);
    let operator = choices.pick(&["In", "NotIn", "Exists", "DoesNotExist"]);
    let mut expression = json!({ "key": key, "operator": operator });
    if matches!(operator, "In" | "NotIn") {
        let (_, other) = pair(choices, of_namespaces);
        expression["values"] = choices.pick(&[json!([value]), json!([value, other])]);
    } else if let Some(values) = choices.pick(&[None, Some(json!([])), Some(Value::Null)]) {
        expression["values"] = values;
    }
    expression
}
