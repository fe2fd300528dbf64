//! The addresses of pods and of their nodes, as a pod's status lists them.
//!
//! What policy says of an address it says of whoever has it, so an address that no pod can have
//! is never taken for one: it is reported and left out, and the pod keeps its others. A pod on
//! its node's network has its node's addresses, whatever those are.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lockgate_dataplane::packet::answer::{GATEWAY_V4, GATEWAY_V6};

use super::block;
use super::fields::{Broken, Place, Report};
use super::problem::quoted;

const NOT_USED: &str = "until then it is not used";

/// Reads `podIPs`, or `podIP` where there is none.
///
/// A pod with a network of its own never has its node's address: one that seems to is on its
/// node's network and does not say so, and what the node sends is not to be taken for what it sends.
pub(super) fn of_pod(
    status: &Place<'_>,
    host_network: bool,
    host_ips: &[IpAddr],
    report: &mut Report<'_>,
) -> Vec<IpAddr> {
    if host_network {
        return listed(status, ("podIPs", "podIP"), any_address, report)
            .into_iter()
            .map(|(_, address)| address)
            .collect();
    }
    let mut used: Vec<IpAddr> = Vec::new();
    for (at, address) in listed(status, ("podIPs", "podIP"), pod_address, report) {
        if host_ips.contains(&address) {
            let message = format!("{address} is the address of the pod's node");
            let remedy = format!("set hostNetwork: true, or write the pod's own; {NOT_USED}");
            report.error(&at, &message, &remedy);
            continue;
        }
        let Some(first) = used.iter().find(|other| other.is_ipv4() == address.is_ipv4()) else {
            used.push(address);
            continue;
        };
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let message = format!("{address} is a second {family} address of the pod, beside {first}");
        report.error(&at, &message, &format!("leave one of each family; {NOT_USED}"));
    }
    used
}

/// Reads `hostIPs`, or `hostIP` where there is none.
pub(super) fn of_node(status: &Place<'_>, report: &mut Report<'_>) -> Vec<IpAddr> {
    let found = listed(status, ("hostIPs", "hostIP"), any_address, report);
    found.into_iter().map(|(_, address)| address).collect()
}

/// What reads one address.
type Read = fn(&Place<'_>, &mut Report<'_>) -> Result<IpAddr, Broken>;

/// Reads the list of `{ip: …}`, or the single address where there is none; repeats are left out.
fn listed<'n>(
    status: &Place<'n>,
    (list, single): (&str, &str),
    read: Read,
    report: &mut Report<'_>,
) -> Vec<(Place<'n>, IpAddr)> {
    let mut places = Vec::new();
    if let Some(at) = status.field(list) {
        for item in at.items(report, list).unwrap_or_default() {
            if let Some(ip) = item.field("ip") {
                places.push(ip);
            } else {
                let at = item.missing("ip");
                report.error(&at, "the item has no ip", "write ip: and the address");
            }
        }
    }
    // An empty one is how an absent one is often written.
    match status.field(single).filter(|at| at.node.text() != Some("")) {
        Some(at) if places.is_empty() => places.push(at),
        Some(at) if !is_listed(&at, &places, list, report) => return Vec::new(),
        _ => {}
    }
    let mut seen = BTreeSet::new();
    let found = places.into_iter().filter_map(|at| {
        let address = read(&at, report).ok()?;
        seen.insert(address).then_some((at, address))
    });
    found.collect()
}

/// The API server keeps the single address and the list the same. By hand they can differ, and
/// which of the two is stale nobody can tell: rules would open to whoever has that address now. So
/// neither counts. (The API server itself takes the single one, for it knows which was written
/// last.)
fn is_listed(at: &Place<'_>, places: &[Place<'_>], list: &str, report: &mut Report<'_>) -> bool {
    let address = |at: &Place<'_>| block::address(at.node.text()?).map(|(address, _)| address);
    let wanted = address(at);
    let is_listed = wanted.is_some() && places.iter().any(|one| address(one) == wanted);
    if !is_listed {
        let message = format!("it contradicts {list}, where it is not: neither counts");
        let remedy = format!("write the same in both, or {list} alone; until then none is used");
        report.error(at, &message, &remedy);
    }
    is_listed
}

/// Reads an address that a pod can have.
fn pod_address(at: &Place<'_>, report: &mut Report<'_>) -> Result<IpAddr, Broken> {
    let text = at.text(report, "an address")?;
    let written = text.parse::<Ipv6Addr>().map(why_no_pods_v6).ok();
    let why = written.unwrap_or_else(|| match block::address(text) {
        Some((IpAddr::V4(v4), _)) => why_no_pods_v4(v4),
        _ => None,
    });
    let Some(why) = why else { return any_address(at, report) };
    let message = format!("{} cannot be a pod's address: it is {why}", quoted(text));
    Err(report.error(at, &message, &format!("write the pod's own; {NOT_USED}")))
}

/// Why no pod can have an address, as it stands in a sentence: "it is …".
pub(crate) fn why_no_pods(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => why_no_pods_v4(v4),
        IpAddr::V6(v6) => why_no_pods_v6(v6),
    }
}

fn why_no_pods_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        _ if IpAddr::V4(address) == IpAddr::from(GATEWAY_V4) => "the switch's gateway",
        [169, 254, ..] => "link-local",
        [0, ..] => "unspecified (\"this network\", 0.0.0.0/8)",
        [127, ..] => "loopback",
        [224..=239, ..] => "multicast",
        [255, 255, 255, 255] => "broadcast",
        [240..=255, ..] => "reserved (240.0.0.0/4)",
        _ => return None,
    })
}

fn why_no_pods_v6(address: Ipv6Addr) -> Option<&'static str> {
    Some(match address.segments() {
        _ if IpAddr::V6(address) == IpAddr::from(GATEWAY_V6) => "the switch's gateway",
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xff00..=0xffff, ..] => "multicast",
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] => "IPv4 written as IPv6",
        _ => return None,
    })
}

/// Reads an address that a node can have.
pub(super) fn any_address(at: &Place<'_>, report: &mut Report<'_>) -> Result<IpAddr, Broken> {
    let text = at.text(report, "an address")?;
    let usable = block::address(text).filter(|(address, _)| {
        !(address.is_unspecified() || address.is_multicast() || address.is_loopback())
    });
    let Some((address, oddities)) = usable else {
        let message = format!("{} cannot be an address of a pod or node", quoted(text));
        return Err(report.error(at, &message, "write one IPv4 or IPv6 address"));
    };
    for oddity in oddities {
        let message = format!("{} {oddity}", quoted(text));
        report.warning(at, &message, &format!("write {address}"));
    }
    Ok(address)
}
