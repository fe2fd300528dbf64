//! What a policy says, or that it cannot be read: the closed reading (NP-59).
//!
//! Null is the same as absent. Anything the API does not know, or the API server would refuse,
//! breaks the rule it is in; nothing is guessed. A list that should be read but cannot is not
//! an empty list, which would mean everyone.

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::Direction;
use serde_json::{Map, Value};

use super::network::Cidr;
use super::{doubt, label};

const SPEC_FIELDS: [&str; 4] = ["podSelector", "policyTypes", "ingress", "egress"];

/// Why something cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// A peer of a sound rule.
pub(super) enum Peer<'a> {
    /// Pods by their namespace and their labels; an absent one is `None` (NP-10).
    Pods { namespace: Option<&'a Value>, labels: Option<&'a Value> },
    /// Addresses in the block and in none of the exceptions (NP-30).
    Block { cidr: Cidr, except: Vec<Cidr> },
}

/// A port item of a sound rule.
pub(super) struct Port<'a> {
    pub(super) protocol: Protocol,
    pub(super) number: Number<'a>,
}

/// Which ports of the protocol.
pub(super) enum Number<'a> {
    All,
    Between(u64, u64),
    Named(&'a str),
}

/// A sound rule. Empty lists mean every peer and every port (NP-9).
pub(super) struct Rule<'a> {
    pub(super) peers: Vec<Peer<'a>>,
    pub(super) ports: Vec<Port<'a>>,
}

/// The field, if it is there and not null.
pub(super) fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).filter(|value| !value.is_null())
}

/// The value at a path of field names, `metadata/name`. (`Value::pointer` allocates each step.)
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/').try_fold(value, |value, name| value.get(name))
}

pub(super) fn object<'a>(
    value: &'a Value,
    otherwise: &'static str,
) -> Result<&'a Map<String, Value>, Broken> {
    value.as_object().ok_or(Broken(otherwise))
}

pub(super) fn list<'a>(value: &'a Value, otherwise: &'static str) -> Result<&'a [Value], Broken> {
    value.as_array().map(Vec::as_slice).ok_or(Broken(otherwise))
}

/// Refuses fields that are not in `known`, null ones too.
pub(super) fn only(value: &Value, known: &[&str]) -> Result<(), Broken> {
    let fields = object(value, "not an object")?;
    if fields.keys().all(|name| known.contains(&name.as_str())) {
        Ok(())
    } else {
        Err(Broken("unknown field"))
    }
}

/// Whether the spec is an object of known fields, or absent.
pub(super) fn spec(policy: &Value) -> Result<(), Broken> {
    field(policy, "spec").map_or(Ok(()), |spec| only(spec, &SPEC_FIELDS))
}

/// Whether the policy isolates for ingress and for egress (NP-3, NP-4).
///
/// # Errors
/// When `policyTypes` cannot be read: the stated directions are unknown, so both count.
pub(super) fn types(policy: &Value) -> Result<(bool, bool), Broken> {
    let Some(spec) = field(policy, "spec") else { return Ok((true, false)) };
    if field(spec, "policyTypes").is_none_or(|types| types == &Value::Array(Vec::new())) {
        // Any of the directions may be what was misspelt.
        only(spec, &SPEC_FIELDS)?;
    }
    let written = match field(spec, "policyTypes") {
        Some(written) => list(written, "policyTypes must be a list")?,
        None => &[],
    };
    if written.len() > 2 {
        return Err(Broken("two policy types at most"));
    }
    if written.is_empty() {
        // An `egress` that is there but no list was meant to hold rules: it isolates.
        let egress = field(spec, "egress");
        let has_egress = egress.is_some_and(|rules| rules.as_array().is_none_or(|r| !r.is_empty()));
        return Ok((true, has_egress));
    }
    let (mut ingress, mut egress) = (false, false);
    for word in written {
        match word.as_str() {
            Some("Ingress") => ingress = true,
            Some("Egress") => egress = true,
            _ => return Err(Broken("a policy type is Ingress or Egress")),
        }
    }
    Ok((ingress, egress))
}

/// The selector of the policy's pods; absent means all of its namespace (NP-1).
///
/// # Errors
/// When it is no selector: then the policy isolates every pod of the namespace and allows
/// nothing, since nobody can tell for whom its rules were meant.
pub(super) fn subjects(policy: &Value) -> Result<Option<&Value>, Broken> {
    let Some(spec) = field(policy, "spec") else { return Ok(None) };
    object(spec, "spec must be an object")?;
    let Some(selector) = field(spec, "podSelector") else {
        // The selector itself may be what was misspelt.
        return only(spec, &SPEC_FIELDS).map(|()| None);
    };
    label::selects(selector, &Map::new())?;
    Ok(Some(selector))
}

/// The name of a direction's list of rules.
pub(super) fn list_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

/// The written rules of a direction.
pub(super) fn rules(policy: &Value, direction: Direction) -> Result<&[Value], Broken> {
    let spec = field(policy, "spec");
    match spec.and_then(|spec| field(spec, list_name(direction))) {
        Some(written) => list(written, "rules must be a list"),
        None => Ok(&[]),
    }
}

/// Every part of the policy that cannot be read, by the field that holds it.
pub(super) fn broken_parts(policy: &Value) -> Vec<(String, Broken)> {
    let mut found = Vec::new();
    if doubt::is_lost(policy) {
        found.push(("metadata".to_owned(), Broken("of which namespace nobody can tell")));
    }
    if let Err(why) = spec(policy) {
        // What it says of types and pods is then in doubt for this reason.
        found.push(("spec".to_owned(), why));
    } else {
        found.extend(types(policy).err().map(|why| ("spec.policyTypes".to_owned(), why)));
        found.extend(subjects(policy).err().map(|why| ("spec.podSelector".to_owned(), why)));
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        let list = list_name(direction);
        match rules(policy, direction) {
            Err(why) => found.push((format!("spec.{list}"), why)),
            Ok(rules) => found.extend(rules.iter().enumerate().filter_map(|(index, written)| {
                let why = rule(written, direction).err()?;
                Some((format!("spec.{list}[{index}]"), why))
            })),
        }
    }
    found
}

/// Reads one rule in full, so that one bad part breaks it whole.
pub(super) fn rule(rule: &Value, direction: Direction) -> Result<Rule<'_>, Broken> {
    let peers_name = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    object(rule, "a rule must be an object")?;
    only(rule, &[peers_name, "ports"])?;
    let mut sound = Rule { peers: Vec::new(), ports: Vec::new() };
    if let Some(written) = field(rule, peers_name) {
        for peer in list(written, "peers must be a list")? {
            sound.peers.push(read_peer(peer)?);
        }
    }
    if let Some(written) = field(rule, "ports") {
        for port in list(written, "ports must be a list")? {
            sound.ports.push(read_port(port)?);
        }
    }
    Ok(sound)
}

fn read_peer(peer: &Value) -> Result<Peer<'_>, Broken> {
    object(peer, "a peer must be an object")?;
    only(peer, &["podSelector", "namespaceSelector", "ipBlock"])?;
    let namespace = field(peer, "namespaceSelector");
    let labels = field(peer, "podSelector");
    for selector in [namespace, labels].into_iter().flatten() {
        label::selects(selector, &Map::new())?;
    }
    match (field(peer, "ipBlock"), namespace, labels) {
        (None, None, None) => Err(Broken("a peer needs a field")),
        (None, _, _) => Ok(Peer::Pods { namespace, labels }),
        (Some(block), None, None) => read_block(block),
        (Some(_), _, _) => Err(Broken("ipBlock stands alone")),
    }
}

fn read_block(block: &Value) -> Result<Peer<'_>, Broken> {
    object(block, "ipBlock must be an object")?;
    only(block, &["cidr", "except"])?;
    let cidr = field(block, "cidr").ok_or(Broken("ipBlock needs a cidr"))?;
    let cidr = read_cidr(cidr)?;
    let mut except = Vec::new();
    if let Some(written) = field(block, "except") {
        for part in list(written, "except must be a list")? {
            let part = read_cidr(part)?;
            if !cidr.has_strictly(&part) {
                return Err(Broken("except must be a strict part of cidr"));
            }
            except.push(part);
        }
    }
    Ok(Peer::Block { cidr, except })
}

fn read_cidr(text: &Value) -> Result<Cidr, Broken> {
    text.as_str().and_then(Cidr::read).ok_or(Broken("not a CIDR"))
}

fn read_port(port: &Value) -> Result<Port<'_>, Broken> {
    object(port, "a port must be an object")?;
    only(port, &["protocol", "port", "endPort"])?;
    let protocol = protocol(port)?;
    let end = match field(port, "endPort") {
        Some(end) => Some(port_number(end)?),
        None => None,
    };
    let number = match (field(port, "port"), end) {
        (None, None) => Number::All,
        (None, Some(_)) => return Err(Broken("endPort needs a port")),
        (Some(Value::String(name)), None) if is_port_name(name) => Number::Named(name),
        (Some(Value::String(_)), None) => return Err(Broken("not a port name")),
        (Some(Value::String(_)), Some(_)) => return Err(Broken("endPort needs a number")),
        (Some(first), None) => Number::Between(port_number(first)?, port_number(first)?),
        (Some(first), Some(last)) => Number::Between(port_number(first)?, last),
    };
    if matches!(number, Number::Between(first, last) if last < first) {
        return Err(Broken("endPort is below port"));
    }
    Ok(Port { protocol, number })
}

fn port_number(value: &Value) -> Result<u64, Broken> {
    match value.as_u64() {
        Some(number @ 1..=65535) => Ok(number),
        _ => Err(Broken("a port is a number from 1 to 65535")),
    }
}

/// The `protocol` of a port item; TCP when absent (NP-20).
pub(super) fn protocol(port: &Value) -> Result<Protocol, Broken> {
    match field(port, "protocol").map(Value::as_str) {
        None | Some(Some("TCP")) => Ok(Protocol::Tcp),
        Some(Some("UDP")) => Ok(Protocol::Udp),
        Some(Some("SCTP")) => Ok(Protocol::Sctp),
        Some(_) => Err(Broken("a protocol is TCP, UDP or SCTP")),
    }
}

/// An IANA service name: what the API server accepts.
pub(super) fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.bytes().any(|b| b.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}
