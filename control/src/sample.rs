//! Small clusters for tests, and a way to ask them that has every judge answer.

use std::net::IpAddr;

use lockgate_dataplane::policy::compile;
use lockgate_dataplane::policy::ruleset::{Cause, Party, Pod, PodIndex, Question};

use crate::explain::{self, Explanation, Family, Request, RuleName, Verdict, parse_protocol};
use crate::inventory::Inventory;
use crate::manifest::{Problem, read_text};
use crate::resolve::{Resolved, resolve};

/// A pod in YAML; `more` goes under `spec`.
pub(crate) fn pod_with(name: &str, address: &str, labels: &str, more: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: {namespace}, name: {name}, \
         labels: {{{labels}}}}}\nspec: {{{more}}}\nstatus: {{phase: Running, hostIP: 192.0.2.1, \
         podIPs: [{{ip: {address}}}]}}\n---\n"
    )
}

/// A pod in YAML without ports.
pub(crate) fn pod(name: &str, address: &str, labels: &str) -> String {
    pod_with(name, address, labels, "")
}

/// A container with named ports, for `pod_with`.
pub(crate) fn ports(ports: &str) -> String {
    format!("containers: [{{name: c, ports: [{ports}]}}]")
}

/// A namespace in YAML.
pub(crate) fn namespace(name: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n---\n"
    )
}

/// A policy in YAML; `spec` is its spec in flow style.
pub(crate) fn policy(name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: \
         {namespace}, name: {name}}}\nspec: {{{spec}}}\n---\n"
    )
}

/// Two namespaces: x with a (app a) and b (app b), y with a and c.
pub(crate) fn small() -> String {
    namespace("x", "team: x")
        + &namespace("y", "team: y")
        + &pod_with("x/a", "10.0.1.1", "app: a", &ports("{name: web, containerPort: 8080}"))
        + &pod_with("x/b", "10.0.1.2", "app: b", &ports("{name: web, containerPort: 80}"))
        + &pod("y/a", "10.0.2.1", "app: a")
        + &pod("y/c", "10.0.2.3", "app: c, tier: back")
}

/// An inventory of one file.
pub(crate) fn inventory(text: &str) -> Inventory {
    let mut inventory = Inventory::new();
    _ = inventory.set_file("t.yaml", read_text("t.yaml", text).unwrap());
    inventory
}

/// The problems of one file, and between its objects.
pub(crate) fn problems(text: &str) -> Vec<Problem> {
    inventory(text).problems()
}

/// A question: `x/a x/b TCP 80`; `-` for no port.
pub(crate) fn request(question: &str) -> Request {
    let words: Vec<&str> = question.split(' ').collect();
    Request {
        from: words[0].parse().unwrap(),
        to: words[1].parse().unwrap(),
        protocol: parse_protocol(words[2]).unwrap(),
        port: words.get(3).filter(|word| **word != "-").map(|word| word.parse().unwrap()),
        source_port: None,
        icmp_type: None,
        icmp_code: None,
        family: None,
    }
}

/// The answer.
pub(crate) fn explained(text: &str, question: &str) -> Explanation {
    explain::explain(&inventory(text), &request(question)).unwrap()
}

/// Asserts what passes: `("x/a x/b TCP 80", true)`. By the policies as written, by the ruleset
/// made of them and by the table compiled from that.
pub(crate) fn check(text: &str, questions: &[(&str, bool)]) {
    let inventory = inventory(text);
    let resolved = resolve(&inventory);
    let compiled = compile(&resolved.ruleset);
    for (text_of, wanted) in questions {
        let request = request(text_of);
        let seen = explain::explain(&inventory, &request).unwrap();
        assert_eq!(seen.verdict == Verdict::Allow, *wanted, "{text_of}\n{text}\n{seen}");
        let Some(question) = question(&seen, &request, &resolved) else { continue };
        let twin = resolved.ruleset.decide(&question);
        for (judge, answer) in [("ruleset", &twin), ("table", &compiled.decide(&question))] {
            for (side, cause) in [(&seen.egress, &answer.egress), (&seen.ingress, &answer.ingress)]
            {
                let allows = side.verdict == Verdict::Allow;
                assert_eq!(allows, cause.allows(), "{judge} {text_of}\n{text}\n{seen}{cause:?}");
                let by = match cause {
                    Cause::Rule { policy, rule } | Cause::DenyRule { policy, rule } => {
                        let policy = resolved.ruleset.policies[policy.0 as usize].name.to_string();
                        vec![RuleName { policy, rule: *rule }]
                    }
                    _ => vec![],
                };
                assert_eq!(side.by, by, "{judge} {text_of}\n{text}\n{seen}{cause:?}");
            }
        }
    }
}

/// The same question to the ruleset; `None` between two pods with one address, which it cannot
/// tell apart.
pub(crate) fn question(
    seen: &Explanation,
    asked: &Request,
    resolved: &Resolved,
) -> Option<Question> {
    let party = |address: IpAddr| {
        let has = |pod: &Pod| pod.addresses.contains(&address);
        let place = resolved.ruleset.pods.iter().position(has);
        Party {
            address,
            pod: place.map(|one| PodIndex(u32::try_from(one).unwrap())),
            own_node: false,
        }
    };
    let (mut source, target) = (party(seen.from_address), party(seen.to_address));
    if source.pod.is_some() && source.pod == target.pod && seen.from != seen.to {
        return None;
    }
    let own_node =
        |pod: PodIndex| resolved.pods[pod.0 as usize].host_ips.contains(&seen.from_address);
    source.own_node = source.pod.is_none() && target.pod.is_some_and(own_node);
    let service = asked.service(Family::of(seen.from_address));
    Some(Question { source, target, service })
}
