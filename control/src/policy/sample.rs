//! Objects of text for the tests of the front ends.

use ipnet::IpNet;
use lockgate_dataplane::policy::ruleset::Direction;

use super::{Action, Icmp, Kind, Listed, OrderedPolicy, Ports, Selection, Side, Traffic, Within};
use crate::expression::Expression;
use crate::manifest::fields::{Place, Report};
use crate::manifest::tree::{self, Node};
use crate::manifest::{Metadata, ObjectKey, ObjectKind, Origin, Problem};

/// The first object of a text.
pub(super) fn node(text: &str) -> Node {
    tree::parse("t.yaml", text).unwrap_or_else(|error| panic!("{error}\n{text}")).remove(0).root
}

/// Reads an object with its metadata; one of the cluster has no namespace.
pub(super) fn reading<T>(
    text: &str,
    is_namespaced: bool,
    read: impl FnOnce(&Place<'_>, Metadata, &mut Report<'_>) -> T,
) -> (T, Vec<Problem>) {
    let node = node(text);
    let root = Place::root(&node);
    let origin = Origin { file: "t.yaml".into(), index: 0, line: 1 };
    let (mut metadata, mut report) = Metadata::read(&root, ObjectKind::Policy, origin, "t.yaml");
    if !is_namespaced {
        metadata.key = ObjectKey::new(metadata.key.kind, "", metadata.key.name.as_ref());
    }
    let object = read(&root, metadata, &mut report);
    (object, report.into_problems())
}

/// A policy of a kind, and its problems.
pub(super) fn policy(kind: Kind, text: &str) -> (OrderedPolicy, Vec<Problem>) {
    reading(text, kind.is_namespaced(), |root, metadata, report| {
        super::read(root, kind, metadata, true, report)
    })
}

/// An object in YAML; the spec is in flow style.
pub(super) fn object(kind: Kind, spec: &str) -> String {
    let kind = kind.label();
    format!("apiVersion: v\nkind: {kind}\nmetadata: {{namespace: x, name: p}}\nspec: {{{spec}}}\n")
}

/// What it is as rules: `i:a-!` is ingress with a rule that allows, one that matches nothing and
/// one that denies everything; `d`, `p`, `l` are the other actions.
pub(super) fn shape(policy: &OrderedPolicy) -> String {
    let mark = |listed: &Listed| match listed {
        Listed::Nothing => '-',
        Listed::DenyAll => '!',
        Listed::Rule(rule) => match rule.action {
            Action::Allow => 'a',
            Action::Deny => 'd',
            Action::Pass => 'p',
            Action::Log => 'l',
        },
    };
    let side = |name: &str, direction| {
        let rules = policy.rules(direction)?;
        Some(format!("{name}:{}", rules.iter().map(mark).collect::<String>()))
    };
    let sides = [side("i", Direction::Ingress), side("e", Direction::Egress)];
    sides.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The shape of a spec, and whether anything is wrong with it.
pub(super) fn shape_of(kind: Kind, spec: &str) -> String {
    shape(&policy(kind, &object(kind, spec)).0)
}

/// A rule in words: `allow own[…] [peer] {traffic}`; what restricts nothing is left out.
pub(super) fn words(listed: &Listed) -> String {
    let Listed::Rule(rule) = listed else { return format!("{listed:?}") };
    let mut words = vec![format!("{:?}", rule.action).to_lowercase()];
    words.extend(rule.name.clone());
    if rule.own != Side::default() {
        words.push(format!("own[{}]", side_words(&rule.own)));
    }
    words.extend(rule.peers.iter().map(|side| format!("[{}]", side_words(side))));
    let traffic = rule.traffic.iter().map(|one| format!("{{{}}}", traffic_words(one)));
    words.extend(traffic);
    words.join(" ")
}

/// Whom a selection means, in words.
pub(super) fn selection_words(selection: &Selection) -> String {
    let within = match &selection.within {
        Within::Anywhere => "anywhere".to_owned(),
        Within::Namespace(name) => format!("in {name}"),
        Within::Namespaces(expression) => format!("where {expression}"),
        Within::Global => "global".to_owned(),
    };
    let mut words = vec![within];
    if selection.labels != Expression::All {
        words.push(format!("with {}", selection.labels));
    }
    if let Some(accounts) = &selection.accounts {
        let labels = accounts.labels.as_ref().map(|labels| format!(" {labels}"));
        words.push(format!("as {}{}", accounts.names.join(","), labels.unwrap_or_default()));
    }
    if selection.takes_sets {
        words.push("or set".to_owned());
    }
    words.join(" ")
}

fn side_words(side: &Side) -> String {
    let nets = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut words = Vec::new();
    words.extend(side.nets.as_deref().map(nets));
    words.extend(side.not_nets.iter().map(|net| format!("!{net}")));
    words.extend(side.selection.as_ref().map(selection_words));
    words.extend(side.not_selector.as_ref().map(|not| format!("not {not}")));
    words
        .extend(side.service.as_ref().map(|one| format!("service {}/{}", one.namespace, one.name)));
    words.extend(side.nodes.as_ref().map(|nodes| format!("node {nodes}")));
    words.join(" ")
}

fn traffic_words(traffic: &Traffic) -> String {
    let ports = |ports: &[Ports]| {
        let word = |one: &Ports| match one {
            Ports::Range(first, last) if first == last => first.to_string(),
            Ports::Range(first, last) => format!("{first}:{last}"),
            Ports::Named(name) => name.clone(),
        };
        ports.iter().map(word).collect::<Vec<_>>().join(",")
    };
    let icmp = |one: Icmp| match one.code {
        Some(code) => format!("icmp {}/{code}", one.kind),
        None => format!("icmp {}", one.kind),
    };
    let mut words = Vec::new();
    words.extend(traffic.family.map(|family| format!("{family:?}")));
    words.extend(traffic.protocol.map(|one| one.0.to_string()));
    words.extend(traffic.not_protocol.map(|one| format!("!{}", one.0)));
    words.extend(traffic.icmp.map(icmp));
    words.extend(traffic.not_icmp.map(|one| format!("!{}", icmp(one))));
    words.extend(traffic.source_ports.as_deref().map(|one| format!("from {}", ports(one))));
    if !traffic.not_source_ports.is_empty() {
        words.push(format!("from !{}", ports(&traffic.not_source_ports)));
    }
    words.extend(traffic.target_ports.as_deref().map(|one| format!("to {}", ports(one))));
    if !traffic.not_target_ports.is_empty() {
        words.push(format!("to !{}", ports(&traffic.not_target_ports)));
    }
    words.join(" ")
}

/// The first rule of ingress, else of egress, in words.
pub(super) fn first(kind: Kind, spec: &str) -> String {
    let (policy, _) = policy(kind, &object(kind, spec));
    let rules = policy.ingress.filter(|rules| !rules.is_empty()).or(policy.egress);
    words(&rules.unwrap()[0])
}
