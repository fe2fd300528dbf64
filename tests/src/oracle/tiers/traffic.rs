//! Which traffic rules of policies of the cluster mean (CNP-9).

use lockgate_dataplane::packet::Protocol;
use serde_json::Value;

use super::super::judge::Asked;
use super::super::reading::{field, is_port_name, only, protocol};
use super::super::{Broken, ends};

const ITEMS_MAX: usize = 25;
const ADMIN_ITEMS_MAX: usize = 100;

/// Whether any item asks for a port by name.
pub(super) fn is_named(items: &[Value]) -> bool {
    let names = ["destinationNamedPort", "namedPort"];
    items.iter().any(|item| names.iter().any(|name| field(item, name).is_some()))
}

/// `protocols` of a `ClusterNetworkPolicy`.
pub(super) fn is_of_protocols(items: &[Value], asked: &Asked<'_>) -> Result<bool, Broken> {
    if !(1..=ITEMS_MAX).contains(&items.len()) {
        return Err(Broken("1 to 25 protocols"));
    }
    let mut any = false;
    for item in items {
        let (name, value) = the_one(item)?;
        any |= match name {
            "tcp" => Protocol::Tcp == asked.protocol && is_port(value, asked)?,
            "udp" => Protocol::Udp == asked.protocol && is_port(value, asked)?,
            "sctp" => Protocol::Sctp == asked.protocol && is_port(value, asked)?,
            "destinationNamedPort" => has_name(value, asked)?,
            _ => return Err(Broken("no such protocol")),
        };
        // Read it, whatever was asked about.
        if name != "destinationNamedPort" {
            is_port(value, asked)?;
        }
    }
    Ok(any)
}

/// `ports` of an `AdminNetworkPolicy`.
pub(super) fn is_of_ports(items: &[Value], asked: &Asked<'_>) -> Result<bool, Broken> {
    if items.len() > ADMIN_ITEMS_MAX {
        return Err(Broken("too many ports"));
    }
    let mut any = false;
    for item in items {
        let (name, value) = the_one(item)?;
        any |= match name {
            "portNumber" => {
                only(value, &["protocol", "port"])?;
                let number = number(field(value, "port"))?;
                protocol(value)? == asked.protocol && number == u64::from(asked.port)
            }
            "portRange" => {
                only(value, &["protocol", "start", "end"])?;
                let is_in = is_between(value, asked)?;
                protocol(value)? == asked.protocol && is_in
            }
            "namedPort" => has_name(value, asked)?,
            _ => return Err(Broken("no such port")),
        };
    }
    // Without an item it is all traffic.
    Ok(any || items.is_empty())
}

/// The only field of an item, and what stands in it.
fn the_one(item: &Value) -> Result<(&str, &Value), Broken> {
    let given = item.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    match given.collect::<Vec<_>>()[..] {
        [(name, value)] => Ok((name.as_str(), value)),
        _ => Err(Broken("exactly one field")),
    }
}

/// The `destinationPort` of a protocol: absent it is all ports of it.
fn is_port(value: &Value, asked: &Asked<'_>) -> Result<bool, Broken> {
    only(value, &["destinationPort"])?;
    let Some(port) = field(value, "destinationPort") else { return Ok(true) };
    only(port, &["number", "range"])?;
    match (field(port, "number"), field(port, "range")) {
        (Some(one), None) => Ok(number(Some(one))? == u64::from(asked.port)),
        (None, Some(range)) => {
            only(range, &["start", "end"])?;
            is_between(range, asked)
        }
        _ => Err(Broken("a number or a range")),
    }
}

fn is_between(range: &Value, asked: &Asked<'_>) -> Result<bool, Broken> {
    let (start, end) = (number(field(range, "start"))?, number(field(range, "end"))?);
    if start >= end {
        return Err(Broken("a range ends above its start"));
    }
    Ok((start..=end).contains(&u64::from(asked.port)))
}

fn number(written: Option<&Value>) -> Result<u64, Broken> {
    let number = written.and_then(Value::as_u64).filter(|one| (1..=65535).contains(one));
    number.ok_or(Broken("a port is a number from 1 to 65535"))
}

/// Whether the target calls the port so, on the protocol asked about.
fn has_name(name: &Value, asked: &Asked<'_>) -> Result<bool, Broken> {
    let name = name.as_str().filter(|name| is_port_name(name)).ok_or(Broken("not a port name"))?;
    let own = asked.target.pod.and_then(|pod| ends::named_port(pod, name, asked.protocol));
    Ok(own == Some(u64::from(asked.port)))
}
