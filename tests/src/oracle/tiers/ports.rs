//! The ports of a rule of Calico: numbers, ranges and names (CAL-16).

use serde_json::Value;

use super::super::Broken;
use super::super::ends::{self, Found};
use super::super::reading::list;
use super::entity::Place;
use super::protocol;

const MAX: usize = 50;

/// Whether the port at this end is one of these. Only what has a protocol with ports may name any.
///
/// A name is the number that the pod at this end gives it on the protocol; who has no port of the
/// name is not matched by it, so that `notPorts` then takes nothing away.
pub(super) fn matches(written: &Value, end: &Found<'_>, place: &Place<'_>) -> Result<bool, Broken> {
    let items = list(written, "ports must be a list")?;
    let protocol = place.protocol.filter(|one| protocol::has_ports(*one));
    let protocol = protocol.ok_or(Broken("ports need a protocol that has them"))?;
    if items.len() > MAX {
        return Err(Broken("too many ports"));
    }
    let asked = place.asked;
    let number = u64::from(place.port);
    let mut any = false;
    for item in items {
        let is_it = match read(item)? {
            Port::Between(first, last) => (first..=last).contains(&number),
            Port::Named(name) => {
                let own = end.pod.and_then(|pod| ends::named_port(pod, name, asked.protocol));
                own == Some(number)
            }
        };
        any |= is_it && protocol == protocol::number(asked);
    }
    Ok(any)
}

enum Port<'a> {
    Between(u64, u64),
    Named(&'a str),
}

fn read(item: &Value) -> Result<Port<'_>, Broken> {
    let Some(text) = item.as_str() else {
        let one = item.as_u64().filter(|one| *one <= 65535).ok_or(Broken("not a port"))?;
        return Ok(Port::Between(one, one));
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|one| is_number && *one <= 65535)
    };
    if let Some((first, last)) = text.split_once(':') {
        let first = number(first).ok_or(Broken("not a range of ports"))?;
        let last = number(last).filter(|last| *last >= first);
        return Ok(Port::Between(first, last.ok_or(Broken("not a range of ports"))?));
    }
    if let Some(one) = number(text) {
        return Ok(Port::Between(one, one));
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_name = (1..=128).contains(&text.len()) && text.chars().all(is_letter);
    is_name.then_some(Port::Named(text)).ok_or(Broken("not a port name"))
}
