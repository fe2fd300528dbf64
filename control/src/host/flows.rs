//! Flows of UDP that began before their port of the node led to a Service.
//!
//! The kernel asks a table once for each flow whom it is for. What it has answered before there was
//! a Service it holds to as long as the client goes on sending, so that client would never hear of the
//! Service. As kube-proxy does, the flow is forgotten: the next datagram begins it anew. Of TCP
//! and SCTP whatever begins is a new flow anyway.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::netfilter::{Attribute, Part, Socket, find};
use crate::services::NodePort;

/// `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE`.
const GET: u8 = 1;
const DELETE: u8 = 2;

/// What is told of a flow: as who opened it wrote, as its answers are, and its own number.
const OPENING: u16 = 1;
const REPLY: u16 = 2;
const NUMBER: u16 = 12;
/// Flows that somebody keeps apart from others are not ours to forget.
const ZONE: u16 = 18;

const UDP: u8 = 17;

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    source: IpAddr,
    target: IpAddr,
    protocol: u8,
    target_port: u16,
}

/// Forgets the flows of UDP to these ports at these addresses that go to the node itself; says how
/// many there were.
pub(super) fn forget(socket: &Socket, ports: &[NodePort], here: &[IpAddr]) -> io::Result<usize> {
    let udp = ports.iter().filter(|port| port.protocol == UDP);
    let ports: BTreeSet<(bool, u16)> = udp.map(|port| (port.v6, port.number)).collect();
    if ports.is_empty() {
        return Ok(0);
    }
    let mut stale = Vec::new();
    socket.each((Part::Conntrack, GET), 0, &[], |told| {
        if let Some(flow) = untranslated(&told.attributes)
            && ports.contains(&(flow.target.is_ipv6(), flow.target_port))
            && here.contains(&flow.target)
        {
            stale.push(told);
        }
    })?;
    for told in &stale {
        let same = [OPENING, NUMBER].into_iter().filter_map(|kind| {
            find(&told.attributes, kind).map(|value| Attribute::bytes(kind, value))
        });
        let same: Vec<Attribute> = same.collect();
        match socket.ask((Part::Conntrack, DELETE), told.family, &same) {
            // It has ended by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(stale.len())
}

/// A flow of UDP whose answers come from where it was sent to, and not from its loopback, which is
/// no node port.
fn untranslated(told: &[u8]) -> Option<Ends> {
    let (opening, reply) = (ends(find(told, OPENING)?)?, ends(find(told, REPLY)?)?);
    let is_plain = opening.protocol == UDP && reply.source == opening.target;
    let is_apart = find(told, ZONE).is_some() || opening.target.is_loopback();
    (is_plain && !is_apart).then_some(opening)
}

/// One direction, as the kernel writes it.
fn ends(told: &[u8]) -> Option<Ends> {
    let (addresses, protocol) = (find(told, 1)?, find(told, 2)?);
    let address = |v4, v6| -> Option<IpAddr> {
        if let Some(octets) = find(addresses, v4) {
            return Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into());
        }
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(find(addresses, v6)?).ok()?).into())
    };
    Some(Ends {
        source: address(1, 3)?,
        target: address(2, 4)?,
        protocol: *find(protocol, 1)?.first()?,
        target_port: u16::from_be_bytes(find(protocol, 3)?.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A direction that is for this port, from port 4000.
    fn direction(kind: u16, [source, target]: [&str; 2], protocol: u8, port: u16) -> Attribute {
        let octets = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let first = if source.contains(':') { 3 } else { 1 };
        let addresses =
            [Attribute::bytes(first, octets(source)), Attribute::bytes(first + 1, octets(target))];
        let ports = [
            Attribute::bytes(1, [protocol]),
            Attribute::bytes(2, 4000_u16.to_be_bytes()),
            Attribute::bytes(3, port.to_be_bytes()),
        ];
        Attribute::nest(kind, [Attribute::nest(1, addresses), Attribute::nest(2, ports)])
    }

    fn told(opening: [&str; 2], reply: [&str; 2], protocol: u8, more: &[Attribute]) -> Vec<u8> {
        let mut out = Vec::new();
        direction(OPENING, opening, protocol, 30_053).write(&mut out);
        direction(REPLY, reply, protocol, 4000).write(&mut out);
        for attribute in more {
            attribute.write(&mut out);
        }
        out
    }

    #[test]
    fn a_flow_that_goes_where_it_was_sent_is_told_from_one_that_is_led_elsewhere() {
        for (client, node, switch) in [
            ("192.0.2.1", "172.31.0.1", "169.254.1.2"),
            ("2001:db8::1", "fd31::1", "fd4c:6f63:6b67::2"),
        ] {
            let (there, back) = ([client, node], [node, client]);
            let found = untranslated(&told(there, back, UDP, &[])).unwrap();
            assert_eq!(found.target, node.parse::<IpAddr>().unwrap());
            assert_eq!(found.target_port, 30_053);
            assert_eq!(untranslated(&told(there, [switch, client], UDP, &[])), None, "led on");
            assert_eq!(untranslated(&told(there, back, 6, &[])), None, "TCP");
            let zone = [Attribute::bytes(ZONE, [0, 1])];
            assert_eq!(untranslated(&told(there, back, UDP, &zone)), None, "kept apart");
        }
        let own = ["127.0.0.1", "127.0.0.1"];
        assert_eq!(untranslated(&told(own, own, UDP, &[])), None, "loopback");
    }

    #[test]
    fn a_flow_that_is_told_in_part_is_none() {
        let whole = told(["192.0.2.1", "172.31.0.1"], ["172.31.0.1", "192.0.2.1"], UDP, &[]);
        for end in 0..whole.len() {
            assert_eq!(untranslated(&whole[..end]), None, "{end}");
        }
    }
}
