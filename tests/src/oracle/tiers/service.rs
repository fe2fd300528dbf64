//! The `services` of a rule of Calico: who backs a Service (CAL-15).

use std::net::IpAddr;

use lockgate_dataplane::policy::ruleset::Direction;
use serde_json::Value;

use super::super::reading::{at, field, list, only, protocol};
use super::super::{Broken, ends};
use super::calico::text;
use super::entity::Place;

/// What may not stand beside it.
const ALONE: [&str; 5] = ["nets", "notNets", "selector", "notSelector", "namespaceSelector"];

/// Whether the address backs the service; as a destination, with the port that is asked for.
pub(super) fn matches(
    written: &Value,
    entity: &Value,
    address: IpAddr,
    place: &Place<'_>,
) -> Result<bool, Broken> {
    only(written, &["name", "namespace"])?;
    let name = text(written, "name")?.ok_or(Broken("a service has a name"))?;
    let namespace = text(written, "namespace")?.or(place.namespace);
    let namespace = namespace.ok_or(Broken("a service is in a namespace"))?;
    if !place.is_peer || ALONE.iter().any(|name| field(entity, name).is_some()) {
        return Err(Broken("services stand alone, at the other end"));
    }
    let with_port = place.asked.direction == Direction::Egress;
    if with_port
        && ["ports", "notPorts", "serviceAccounts"].iter().any(|one| field(entity, one).is_some())
    {
        return Err(Broken("a service has its own ports"));
    }
    let slices = place.asked.cluster.objects.iter().filter(|slice| {
        let of = at(slice, "metadata/labels").and_then(|all| all.get("kubernetes.io/service-name"));
        slice["kind"] == "EndpointSlice"
            && ends::key(slice).0 == namespace
            && of.is_some_and(|of| of == name)
    });
    let mut any = false;
    for slice in slices {
        any |= has(slice, address) && (!with_port || serves(slice, place)?);
    }
    Ok(any)
}

fn has(slice: &Value, address: IpAddr) -> bool {
    let endpoints = field(slice, "endpoints").and_then(Value::as_array).into_iter().flatten();
    let all = endpoints.filter_map(|one| field(one, "addresses")?.as_array()).flatten();
    let mut parsed = all.filter_map(|text| text.as_str()?.parse::<IpAddr>().ok());
    parsed.any(|one| one == address)
}

fn serves(slice: &Value, place: &Place<'_>) -> Result<bool, Broken> {
    let Some(ports) = field(slice, "ports") else { return Ok(false) };
    let mut any = false;
    for port in list(ports, "ports must be a list")? {
        let number = field(port, "port").and_then(Value::as_u64);
        any |= protocol(port)? == place.asked.protocol && number == Some(place.asked.port.into());
    }
    Ok(any)
}
