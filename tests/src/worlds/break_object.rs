//! Breaking objects: what people mistype, and what nobody would.

use serde_json::{Value, json};

use super::Choices;

/// A step to a place in a tree.
#[derive(Clone)]
enum Step {
    Field(String),
    Item(usize),
}

/// Breaks one place of one policy's spec. Some breaks leave the policy sound: who judges says.
pub(super) fn break_one(objects: &mut [Value], choices: &mut Choices) {
    let mut policies: Vec<&mut Value> =
        objects.iter_mut().filter(|object| object["kind"] == "NetworkPolicy").collect();
    if policies.is_empty() {
        return;
    }
    let policy = choices.below(policies.len());
    let Some(spec) = policies.swap_remove(policy).get_mut("spec") else { return };
    let mut places = Vec::new();
    walk(spec, &mut Vec::new(), &mut places);
    let place = choices.pick(&places);
    let name = place.iter().rev().find_map(|step| match step {
        Step::Field(name) => Some(name.clone()),
        Step::Item(_) => None,
    });
    if let Some(node) = find(spec, &place) {
        break_node(node, name.as_deref().unwrap_or_default(), choices);
    }
}

/// Lets one pod's address, or its node's, contradict the list beside it. Where there is no list it
/// would be the address, and two pods might have one: a question between those is none.
pub(super) fn contradict(objects: &mut [Value], choices: &mut Choices) {
    let mut pods: Vec<&mut Value> =
        objects.iter_mut().filter(|object| object["kind"] == "Pod").collect();
    if pods.is_empty() {
        return;
    }
    let pod = choices.below(pods.len());
    let status = &mut pods.swap_remove(pod)["status"];
    let name = choices.pick(&["podIP", "hostIP"]);
    let number = 1 + choices.below(8);
    if !status[format!("{name}s")].is_array() {
        return;
    }
    status[name] = choices.pick(&[format!("10.0.0.{number}"), format!("fd00::{number}")]).into();
}

/// Breaks what says who a pod or a namespace is, or where a policy belongs.
pub(super) fn doubt_one(objects: &mut [Value], choices: &mut Choices) {
    let place = choices.below(objects.len());
    let Some(object) = objects.get_mut(place) else { return };
    match object["kind"].as_str() {
        Some("Pod") => doubt_pod(object, choices),
        Some("Namespace") if choices.chance(30) => {
            object["metadata"]["name"] = "X".into();
        }
        Some("Namespace") => doubt_labels(object, choices),
        _ => object["metadata"]["namespace"] = choices.pick(&[json!("X"), json!("a.b")]),
    }
}

fn doubt_labels(object: &mut Value, choices: &mut Choices) {
    let metadata = &mut object["metadata"];
    match choices.below(4) {
        0 => metadata["labels"] = choices.pick(&[json!("app=a"), json!([]), json!(7)]),
        1 => {
            let value = choices.pick(&[json!(1), json!(["a"]), json!("a b"), Value::Null]);
            metadata["labels"] = json!({ "app": value });
        }
        2 => metadata["labels"] = json!({ "a p": "a" }),
        _ => {
            let labels = metadata["labels"].take();
            metadata["Labels"] = labels;
        }
    }
}

fn doubt_pod(pod: &mut Value, choices: &mut Choices) {
    // Else its address may be another's too, and a question between them is none.
    if pod["status"]["phase"] != "Running" || pod["spec"]["hostNetwork"] == true {
        return doubt_labels(pod, choices);
    }
    match choices.below(5) {
        0 => doubt_labels(pod, choices),
        1 => pod["spec"]["hostNetwork"] = choices.pick(&[json!("true"), json!(1), json!([])]),
        2 => pod["status"]["phase"] = choices.pick(&[json!("succeeded"), json!(1), json!({})]),
        3 => pod["spec"] = choices.pick(&[json!([]), json!("x"), json!({ "hostnetwork": true })]),
        _ => {
            let port = &mut pod["spec"]["containers"][0]["ports"];
            *port = choices.pick(&[
                json!({}),
                json!([7]),
                json!([{ "name": "web" }]),
                json!([{ "name": "web", "containerPort": "80" }]),
                json!([{ "name": "web", "containerPort": 80, "protocol": "tcp" }]),
            ]);
        }
    }
}

fn walk(node: &Value, here: &mut Vec<Step>, places: &mut Vec<Vec<Step>>) {
    places.push(here.clone());
    let children: Vec<(Step, &Value)> = match node {
        Value::Object(fields) => {
            fields.iter().map(|(name, child)| (Step::Field(name.clone()), child)).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(place, child)| (Step::Item(place), child)).collect()
        }
        _ => Vec::new(),
    };
    for (step, child) in children {
        here.push(step);
        walk(child, here, places);
        here.pop();
    }
}

fn find<'a>(root: &'a mut Value, place: &[Step]) -> Option<&'a mut Value> {
    place.iter().try_fold(root, |node, step| match step {
        Step::Field(name) => node.get_mut(name),
        Step::Item(place) => node.get_mut(place),
    })
}

fn break_node(node: &mut Value, name: &str, choices: &mut Choices) {
    match node {
        Value::Object(fields) if choices.chance(70) => {
            let names: Vec<String> = fields.keys().cloned().collect();
            match choices.below(3) {
                0 => drop(fields.insert(unknown(choices).to_owned(), json!([]))),
                1 if !names.is_empty() => drop(fields.remove(&choices.pick(&names))),
                _ if !names.is_empty() => {
                    // A letter too many, or the name of a neighbour.
                    let old = choices.pick(&names);
                    let other = unknown(choices).to_owned();
                    let new = choices.pick(&[format!("{old}s"), other]);
                    if let Some(value) = fields.remove(&old) {
                        fields.insert(new, value);
                    }
                }
                _ => {}
            }
        }
        _ if choices.chance(60) => *node = mistaken(name, choices),
        _ => *node = strange(choices),
    }
}

fn unknown(choices: &mut Choices) -> &'static str {
    choices.pick(&["form", "from", "to", "port", "except", "endport", "ipBlock", "podSelector"])
}

/// A value that a person might write there by mistake.
fn mistaken(name: &str, choices: &mut Choices) -> Value {
    match name {
        "cidr" => choices.pick(&[
            json!("10.0.0.0"),
            json!("10.0.0.0/33"),
            json!("010.0.0.0/8"),
            json!("fd00::/129"),
            json!("::ffff:10.0.0.0/120"),
            json!("10.0.0.0/-1"),
            json!("10.0.0/24"),
            json!(" 10.0.0.0/8"),
            json!("10.0.0.0/8 "),
            json!(""),
            json!("10.0.0.0/+8"),
        ]),
        "except" => choices.pick(&[
            json!("10.0.0.0/29"),
            json!("0.0.0.0/0"),
            json!("fd00::/8"),
            json!("10.0.1.0/30"),
            json!(["10.0.0.0/29", "nonsense"]),
            json!(["10.0.0.1"]),
        ]),
        "operator" => choices.pick(&[json!("in"), json!("Gt"), json!("NotExists"), json!("")]),
        "values" => choices.pick(&[json!([]), json!("a"), json!(["a b"]), json!([1])]),
        "key" => choices.pick(&[json!("a b"), json!(""), json!("/a"), json!("A.b/c"), json!("-a")]),
        "port" => choices.pick(&[
            json!(0),
            json!(65536),
            json!(-1),
            json!("80"),
            json!("Web"),
            json!(80.5),
            json!("a--b"),
            json!("sixteen-letters-"),
            json!(""),
        ]),
        "endPort" => choices.pick(&[json!(0), json!(70000), json!("90"), json!(2), json!(79)]),
        "protocol" => {
            choices.pick(&[json!("tcp"), json!("ICMP"), json!(""), json!(6), json!("ANY")])
        }
        "policyTypes" => choices.pick(&[
            json!("Ingress"),
            json!(["ingress"]),
            json!(["Ingress", "Both"]),
            json!([null]),
            json!({}),
        ]),
        _ => strange(choices),
    }
}

/// A value of some type.
fn strange(choices: &mut Choices) -> Value {
    choices.pick(&[
        json!(7),
        Value::Null,
        json!("x"),
        json!({}),
        json!([]),
        json!(true),
        json!([null]),
        json!([{}]),
        json!({ "bogus": 1 }),
        json!([[]]),
        json!(-1),
    ])
}
