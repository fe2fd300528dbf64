//! Reading one line of `traffic.txt`.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::Direction;

use super::{Action, Send, Stated};
use crate::oracle::{By, End, Family, Nearest, Part, RuleName, is_of_the_cluster};

/// What `other` is.
const GRE: u8 = 47;

/// The words of a line that are still to be read.
type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// Reads a line: when and what; nothing for an empty one.
pub(super) fn line(text: &str) -> Result<Option<(u64, Action)>, String> {
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    let mut words = text.split_whitespace().peekable();
    let mut at_ms = 0;
    if words.next_if_eq(&"at").is_some() {
        at_ms = time(next(&mut words, "a time")?)?;
    }
    let action = match words.next() {
        None => return Ok(None),
        Some("set") => Action::Set(next(&mut words, "a file")?.to_owned()),
        Some("remove") => {
            let kind = next(&mut words, "a kind")?.to_owned();
            let name = next(&mut words, "a name")?;
            let (namespace, name) = match name.split_once('/') {
                Some((namespace, name)) => (namespace, name),
                None if is_of_the_cluster(&kind) => ("", name),
                None => ("default", name),
            };
            Action::Remove(kind, namespace.to_owned(), name.to_owned())
        }
        Some("restart") => Action::Restart,
        Some("sync") => Action::Sync,
        Some(source) => match ports(source)? {
            None => Action::Send(Box::new(send(source, &mut words)?)),
            Some((host, ports)) => {
                let one = send(host, &mut words)?;
                let from =
                    |port| (usize::from(port), Send { source_port: Some(port), ..one.clone() });
                Action::Table(ports.map(from).collect())
            }
        },
    };
    match words.next() {
        None => Ok(Some((at_ms, action))),
        Some(word) => Err(format!("`{word}` is too much")),
    }
}

fn next<'a>(words: &mut Words<'a>, what: &str) -> Result<&'a str, String> {
    words.next().ok_or_else(|| format!("expected {what}"))
}

fn expect(words: &mut Words<'_>, word: &str) -> Result<(), String> {
    match words.next() {
        Some(found) if found == word => Ok(()),
        found => Err(format!("expected `{word}`, found {found:?}")),
    }
}

fn time(text: &str) -> Result<u64, String> {
    let (number, unit_ms) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or_default(), 1000),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is not like 2s or 50ms"))?;
    Ok(number * unit_ms)
}

/// A source with a range of ports: without them, and these.
fn ports(source: &str) -> Result<Option<(&str, RangeInclusive<u16>)>, String> {
    let Some((host, ports)) = source.rsplit_once(':') else { return Ok(None) };
    let Some((first, last)) = ports.split_once('-') else { return Ok(None) };
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(Some((host, first..=last))),
        _ => Err(format!("`{source}`: `{ports}` are no ports")),
    }
}

fn send(source: &str, words: &mut Words<'_>) -> Result<Send, String> {
    let (source, source_port) = end(source)?;
    let mut claimed = None;
    if words.next_if_eq(&"as").is_some() {
        let text = next(words, "an address")?;
        claimed = Some(text.parse().map_err(|_| format!("`{text}` is no address"))?);
    }
    expect(words, ">")?;
    let (target, target_port) = end(next(words, "a target")?)?;
    let (protocol, number) = protocol(next(words, "a protocol")?)?;
    if protocol.has_ports() && target_port.is_none() {
        return Err("the target needs a port".to_owned());
    }
    let target_port = number.or(target_port).unwrap_or(0);
    let (mut detail, mut family) = (String::new(), None);
    loop {
        match next(words, "`->`")? {
            "->" => break,
            "v4" => family = Some(Family::V4),
            "v6" => family = Some(Family::V6),
            word if is_detail(word) || is_message(protocol, word) => word.clone_into(&mut detail),
            word => return Err(format!("`{word}` is nothing that a packet can be")),
        }
    }
    let outcome = outcome(next(words, "what becomes of it")?)?;
    let mut causes = Vec::new();
    while let Some(word) = words.next() {
        causes.push(stated(word, words)?);
    }
    Ok(Send {
        source,
        claimed,
        source_port,
        target,
        target_port,
        protocol,
        detail,
        family,
        outcome,
        causes,
    })
}

/// Whether a packet can be this: TCP flags, or one of the words.
fn is_detail(word: &str) -> bool {
    matches!(word, "echo-reply" | "error" | "reply")
        || word.split(',').all(|flag| matches!(flag, "syn" | "ack" | "fin" | "rst"))
}

/// Whether a packet of ICMP can be this: a type and a code, `13/0`.
fn is_message(protocol: Protocol, word: &str) -> bool {
    protocol == Protocol::Icmp && message(word).is_some()
}

/// The type and code that a word says.
pub(super) fn message(word: &str) -> Option<(u8, u8)> {
    let (kind, code) = word.split_once('/')?;
    Some((kind.parse().ok()?, code.parse().ok()?))
}

/// A protocol as policy sees it, and the number of one that is no more than that.
pub(super) fn protocol(word: &str) -> Result<(Protocol, Option<u16>), String> {
    let unknown = || format!("`{word}` is no protocol");
    match word {
        "tcp" => Ok((Protocol::Tcp, None)),
        "udp" => Ok((Protocol::Udp, None)),
        "sctp" => Ok((Protocol::Sctp, None)),
        "icmp" => Ok((Protocol::Icmp, None)),
        "other" => Ok((Protocol::Other, Some(GRE.into()))),
        _ => match word.strip_prefix("proto-").ok_or_else(unknown)?.parse::<u8>() {
            Ok(6 | 17 | 132) => Err(format!("`{word}` has a name and ports")),
            Ok(number) => Ok((Protocol::Other, Some(number.into()))),
            Err(_) => Err(unknown()),
        },
    }
}

/// `sent`, or the label of a drop reason.
pub(super) fn outcome(word: &str) -> Result<String, String> {
    if word != "sent" && !DropReason::ALL.iter().any(|reason| reason.label() == word) {
        return Err(format!("`{word}` is no drop reason"));
    }
    Ok(word.to_owned())
}

fn end(text: &str) -> Result<(End, Option<u16>), String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((End::Address(address), None));
    }
    let (host, port) = match text.rsplit_once(':') {
        None => (text, None),
        Some((host, port)) => {
            let port = port.parse().map_err(|_| format!("`{text}`: `{port}` is no port"))?;
            (host, Some(port))
        }
    };
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok((End::Address(address), port));
    }
    let (namespace, name) = host.split_once('/').unwrap_or(("default", host));
    Ok((End::Pod(namespace.to_owned(), name.to_owned()), port))
}

fn stated(direction: &str, words: &mut Words<'_>) -> Result<Stated, String> {
    let direction = match direction {
        "egress" => Direction::Egress,
        "ingress" => Direction::Ingress,
        word => return Err(format!("expected `egress` or `ingress`, found `{word}`")),
    };
    let word = next(words, "a cause")?;
    let mut isolating = Vec::new();
    let by = match word {
        "not-isolated" => By::NotIsolated,
        "itself" => By::Itself,
        "own-node" => By::OwnNode,
        "denied-by" => By::DenyRule(rule(next(words, "a rule")?)?),
        _ if word.contains('[') => By::Rule(rule(word)?),
        _ => {
            isolating = word.split(',').map(qualified).collect();
            By::DefaultDeny
        }
    };
    let mut nearest = None;
    if words.next_if_eq(&"nearest").is_some() {
        nearest = Some(match next(words, "a rule")? {
            "none" => None,
            name => {
                let failing: Result<Vec<_>, _> =
                    next(words, "failing parts")?.split(',').map(part).collect();
                Some(Nearest { rule: rule(name)?, failing: failing? })
            }
        });
    }
    Ok(Stated { direction, by, isolating, nearest })
}

fn rule(text: &str) -> Result<RuleName, String> {
    let parts = text.strip_suffix(']').and_then(|text| text.split_once('['));
    let (policy, index) = parts.ok_or_else(|| format!("`{text}` is no rule"))?;
    let index = index.parse().map_err(|_| format!("`{text}` has no index"))?;
    Ok(RuleName { policy: qualified(policy), index })
}

fn qualified(name: &str) -> String {
    match name.strip_prefix('/') {
        Some(of_no_namespace) => of_no_namespace.to_owned(),
        None if name.contains('/') => name.to_owned(),
        None => format!("default/{name}"),
    }
}

fn part(word: &str) -> Result<Part, String> {
    match word {
        "namespace" => Ok(Part::Namespace),
        "pod-labels" => Ok(Part::PodLabels),
        "cidr" => Ok(Part::Cidr),
        "except" => Ok(Part::Except),
        "protocol" => Ok(Part::Protocol),
        "port" => Ok(Part::Port),
        _ => Err(format!("`{word}` is no part of a rule")),
    }
}
