//! Kinds of traffic as ports of protocols, where the tables can tell them apart.

use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::PortRange;

use super::rule::{Family, IpProtocol, Ports, Traffic};

/// What of traffic the tables know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<'i> {
    /// The version of IP.
    pub family: Option<Family>,
    /// `None` is everything.
    pub ports: Option<Vec<PortRange>>,
    /// Ports by name, of these protocols.
    pub named: Vec<(&'i str, Protocol)>,
}

/// `None` where the tables cannot tell this traffic from other: messages of ICMP, protocols by
/// number, ports of the source.
#[must_use]
pub fn tell(traffic: &Traffic) -> Option<Told<'_>> {
    let Traffic {
        family,
        protocol,
        not_protocol,
        icmp,
        not_icmp,
        source_ports,
        not_source_ports,
        target_ports,
        not_target_ports,
    } = traffic;
    let is_plain = not_protocol.is_none()
        && icmp.is_none()
        && not_icmp.is_none()
        && source_ports.is_none()
        && not_source_ports.is_empty();
    if !is_plain {
        return None;
    }
    let protocols = match *protocol {
        None if target_ports.is_none() && not_target_ports.is_empty() => {
            return Some(Told { family: *family, ports: None, named: Vec::new() });
        }
        None => vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp],
        Some(IpProtocol::TCP) => vec![Protocol::Tcp],
        Some(IpProtocol::UDP) => vec![Protocol::Udp],
        Some(IpProtocol::SCTP) => vec![Protocol::Sctp],
        Some(_) => return None,
    };
    let mut ranges = vec![(0, u16::MAX)];
    let mut named = Vec::new();
    if let Some(listed) = target_ports {
        ranges.clear();
        for ports in listed {
            match ports {
                Ports::Range(first, last) => ranges.push((*first, *last)),
                Ports::Named(name) => named.push(name.as_str()),
            }
        }
    }
    // What a name means differs from pod to pod.
    if !named.is_empty() && !not_target_ports.is_empty() {
        return None;
    }
    for ports in not_target_ports {
        let Ports::Range(first, last) = ports else { return None };
        ranges = ranges.into_iter().flat_map(|range| without(range, (*first, *last))).collect();
    }
    let ports = protocols.iter().flat_map(|&protocol| {
        ranges.iter().map(move |&(first, last)| PortRange { protocol, first, last })
    });
    let ports = Some(ports.collect());
    let named = named.into_iter().flat_map(|name| protocols.iter().map(move |&one| (name, one)));
    Some(Told { family: *family, ports, named: named.collect() })
}

/// A range less another.
fn without((first, last): (u16, u16), (from, to): (u16, u16)) -> Vec<(u16, u16)> {
    let below = from.checked_sub(1).map(|end| (first, last.min(end)));
    let above = to.checked_add(1).map(|begin| (first.max(begin), last));
    [below, above].into_iter().flatten().filter(|(first, last)| first <= last).collect()
}
