//! What rules of Calico say of packets, and what to ask about: drawn blindly, a question hardly ever
//! meets the one message or the one port of the source that a rule is about. Of all rules those of
//! messages are few, and aimed at more often.

use lockgate_dataplane::packet::{FlowKey, Protocol};
use lockgate_dataplane::policy::ruleset::Service;
use serde_json::Value;

use super::Choices;
use super::probe::collect;

/// Numbers that pods of made-up worlds give to the names of their ports.
const NAMED: [u16; 3] = [80, 81, 53];

/// The rules that name a protocol, in the order of their objects.
pub(super) fn rules(objects: &[Value]) -> Vec<Value> {
    let lists = objects.iter().flat_map(|one| ["ingress", "egress"].map(|list| &one["spec"][list]));
    let rules = lists.filter_map(Value::as_array).flatten();
    rules.filter(|rule| protocol(rule).is_some()).cloned().collect()
}

/// Those of them that are about some messages, or about every protocol but one.
pub(super) fn rare(rules: &[Value]) -> Vec<Value> {
    let is_rare = |rule: &&Value| {
        ["icmp", "notICMP", "notProtocol"].iter().any(|name| rule.get(name).is_some())
    };
    rules.iter().filter(is_rare).cloned().collect()
}

/// A packet that a rule is about, or one next to it; now and then none, of a rule that any other is
/// as good for.
pub(super) fn service(rule: &Value, choices: &mut Choices) -> Option<Service> {
    // All but one: more often than the one, ask about one of the others.
    if rule["protocol"].is_null() && choices.chance(70) {
        return None;
    }
    let (protocol, number) = kind(protocol(rule)?, choices)?;
    if protocol.has_messages() {
        return Some(Service::to(protocol, message(rule, choices)));
    }
    if !protocol.has_ports() {
        return Some(Service::to(protocol, number));
    }
    let port = choices.pick(&edges(&rule["destination"]));
    let source_port = choices.pick(&edges(&rule["source"]));
    Some(Service { protocol, port, source_port })
}

/// The one that the rule means, or else the one that it does not.
fn protocol(rule: &Value) -> Option<&Value> {
    let given = ["protocol", "notProtocol"].map(|name| &rule[name]);
    given.into_iter().find(|written| !written.is_null())
}

/// What packets of the protocol are; ICMP is now and then that of the other version.
fn kind(written: &Value, choices: &mut Choices) -> Option<(Protocol, u16)> {
    let named = match written.as_str() {
        Some(text) => match text.to_lowercase().as_str() {
            "tcp" => 6,
            "udp" => 17,
            "sctp" => 132,
            "icmp" => 1,
            "icmpv6" => 58,
            _ => 136,
        },
        None => u16::try_from(written.as_u64()?).ok()?,
    };
    let protocol = match named {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        132 => Protocol::Sctp,
        1 if !choices.chance(20) => Protocol::Icmp,
        58 if !choices.chance(20) => Protocol::IcmpV6,
        _ => Protocol::Other,
    };
    Some((protocol, named))
}

/// A message that the rule names, or one beside it.
fn message(rule: &Value, choices: &mut Choices) -> u16 {
    let mut given = vec!["icmp", "notICMP"];
    given.retain(|name| rule[name].is_object());
    let named = if given.is_empty() { &Value::Null } else { &rule[choices.pick(&given)] };
    let of = |name: &str| named[name].as_u64().and_then(|number| u8::try_from(number).ok());
    let (kind, code) = (of("type").unwrap_or(8), of("code").unwrap_or(0));
    match choices.below(4) {
        0 => FlowKey::message(kind.wrapping_add(1), code),
        1 => FlowKey::message(kind, code.wrapping_add(1)),
        _ => FlowKey::message(kind, code),
    }
}

/// Ports at the edges of what an end of a rule names.
fn edges(entity: &Value) -> Vec<u16> {
    let mut all = NAMED.to_vec();
    for name in ["ports", "notPorts"] {
        collect(&entity[name], &mut Vec::new(), &mut all);
    }
    all
}
