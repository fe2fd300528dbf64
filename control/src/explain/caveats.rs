//! What the verdict of policy does not say: addresses that the switch drops or answers whatever
//! policy says, and packets that it never sees.

use std::net::IpAddr;

use lockgate_dataplane::packet::answer::{GATEWAY_V4, GATEWAY_V6};

use super::ends::Met;

/// What is to be known beside the verdict; mostly nothing.
pub(super) fn of(from: &Met, to: &Met) -> Vec<String> {
    let mut caveats = Vec::new();
    if from.place.is_none() && to.place.is_none() {
        let (from, to) = (&from.shown, &to.shown);
        caveats.push(format!(
            "neither {from} nor {to} is a pod that policies select: no policy judges this"
        ));
    }
    if is_gateway(from.address) {
        let address = from.address;
        caveats
            .push(format!("{address} is the switch's gateway: it sends replies and errors only"));
    } else {
        caveats.extend(dropped(from.address));
    }
    if is_gateway(to.address) {
        let address = to.address;
        caveats.push(format!(
            "{address} is the switch's gateway: it answers echo requests whatever policy says, and \
             drops everything else"
        ));
    } else {
        caveats.extend(dropped(to.address));
    }
    caveats
}

fn dropped(address: IpAddr) -> Option<String> {
    let what = never_forwarded(address)?;
    Some(format!("{address} is {what}: the switch drops such packets whatever policy says"))
}

fn is_gateway(address: IpAddr) -> bool {
    address == IpAddr::from(GATEWAY_V4) || address == IpAddr::from(GATEWAY_V6)
}

/// Why no packet from or to an address is forwarded. IPv4 link-local is: clouds keep their
/// metadata service there.
fn never_forwarded(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("unspecified"),
        _ if address.is_loopback() => Some("loopback"),
        _ if address.is_multicast() => Some("a multicast group"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("of \"this network\" (0.0.0.0/8)"),
        IpAddr::V4(v4) if v4.octets()[0] >= 240 => Some("reserved (240.0.0.0/4)"),
        IpAddr::V6(v6) if v6.segments()[..6] == [0; 6] => Some("IPv4 written as IPv6"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("link-local"),
        _ => None,
    }
}
