//! Profiles of a made-up world: what decides where its tiers do not.

use serde_json::{Value, json};

use super::calico;
use super::objects::ACCOUNTS;
use crate::worlds::Choices;

/// Those of one or two of the namespaces, and of some of their accounts.
pub(super) fn profiles(choices: &mut Choices, namespaces: &[String]) -> Vec<Value> {
    let mut all = Vec::new();
    let count = namespaces.len().min(1 + choices.below(2));
    let first = choices.below(namespaces.len());
    for namespace in namespaces.iter().cycle().skip(first).take(count) {
        all.push(profile(choices, namespaces, &format!("kns.{namespace}"), 20));
        for account in ACCOUNTS {
            if choices.chance(50) {
                let name = format!("ksa.{namespace}.{account}");
                all.push(profile(choices, namespaces, &name, 10));
            }
        }
    }
    if choices.chance(20) {
        // Of nobody: an account's whose namespace may have none, and what is called otherwise.
        let name = choices.pick(&["ksa.x.robot", "kns.x.robot", "kns.", "projectcalico-default"]);
        if !all.iter().any(|one| one["metadata"]["name"] == name) {
            all.push(profile(choices, namespaces, name, 10));
        }
    }
    all
}

/// In so many of 100 cases one that lets everything through, as Calico makes it.
fn profile(choices: &mut Choices, namespaces: &[String], name: &str, defaults: usize) -> Value {
    let mut spec = json!({});
    if choices.chance(defaults) {
        let open = json!([{ "action": "Allow", "source": {}, "destination": {} }]);
        spec["ingress"] = choices.pick(&[json!([{ "action": "Allow" }]), open.clone()]);
        spec["egress"] = open;
    } else {
        for direction in ["ingress", "egress"] {
            if choices.chance(85) {
                let count = choices.below(4);
                let rules = (0..count).map(|_| rule(choices, direction, namespaces));
                spec[direction] = rules.collect();
            }
        }
    }
    if choices.chance(30) {
        spec["labelsToApply"] = json!({ "app": "a" });
    }
    let version = choices.pick(&["projectcalico.org/v3", "crd.projectcalico.org/v1"]);
    json!({ "apiVersion": version, "kind": "Profile", "metadata": { "name": name }, "spec": spec })
}

/// A rule as policies have them, but for Pass: most of those would deny what comes after.
fn rule(choices: &mut Choices, direction: &str, namespaces: &[String]) -> Value {
    let mut rule = calico::rule(choices, direction, false, namespaces);
    if rule["action"] == "Pass" && !choices.chance(20) {
        rule["action"] = "Allow".into();
    }
    rule
}
