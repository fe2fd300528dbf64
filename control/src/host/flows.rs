//! Flows of UDP that began when their port of the node led elsewhere.
//!
//! The kernel asks a table once for each flow whom it is for, and as whom. What it has answered it holds
//! to as long as the client goes on sending: before there was a Service that client would never hear of
//! it, and after it nobody else at the port would hear of the client. As kube-proxy does, such a flow is
//! forgotten: the next datagram begins it anew. Of TCP and SCTP whatever begins is a new flow anyway.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::netfilter::{Attribute, Part, Socket, find};
use super::plan::HostPlan;
use crate::services::{PortByNode, node_port_address};

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
    source: SocketAddr,
    target: SocketAddr,
    protocol: u8,
}

/// Whom the table leads a flow to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Led {
    /// To whom its client wrote.
    Nowhere,
    /// To the switch, at the same port; the backend may see its client's address.
    ToSwitch { keeps_source: bool },
    /// To who serves in the node's own network.
    ByNode(SocketAddr),
}

/// Forgets the flows of UDP that went elsewhere before than the table leads them; says how many
/// there were.
pub(super) fn forget(socket: &Socket, plan: &HostPlan, here: &[IpAddr]) -> io::Result<usize> {
    let ways = Ways::new(plan, here);
    let mut stale = Vec::new();
    socket.each((Part::Conntrack, GET), 0, &[], |told| {
        if translated(&told.attributes).is_some_and(|(asked, answer)| ways.is_stale(asked, answer))
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

/// Where the table leads what is UDP.
struct Ways<'p> {
    plan: &'p HostPlan,
    here: &'p [IpAddr],
    /// Whether clients keep their address, by family and port.
    node_ports: BTreeMap<(bool, u16), bool>,
    by_node: BTreeMap<(Option<IpAddr>, bool, u16), &'p PortByNode>,
    pods: Vec<IpNet>,
}

impl<'p> Ways<'p> {
    fn new(plan: &'p HostPlan, here: &'p [IpAddr]) -> Self {
        let node_ports = plan.node_ports.iter().filter(|port| port.protocol == UDP);
        let by_node = plan.by_node.iter().filter(|port| port.protocol == UDP);
        Self {
            plan,
            here,
            node_ports: node_ports.map(|at| ((at.v6, at.number), at.keeps_source)).collect(),
            by_node: by_node.map(|at| ((at.address, at.to.is_ipv6(), at.port), at)).collect(),
            pods: plan.own_pods(),
        }
    }

    /// Where a flow that begins now is led.
    fn led(&self, asked: &Ends) -> Led {
        let (address, port) = (asked.target.ip(), asked.target.port());
        let v6 = address.is_ipv6();
        let is_own = self.here.contains(&address) && !address.is_loopback();
        let at = if is_own { None } else { Some(address) };
        let admits = |one: &&&PortByNode| match &one.sources {
            Some(sources) => sources.iter().any(|net| net.contains(&asked.source.ip())),
            None => true,
        };
        // What the node itself asks is no client's from beyond.
        let is_beyond = !self.here.contains(&asked.source.ip());
        if let Some(by_node) =
            self.by_node.get(&(at, v6, port)).filter(|_| is_beyond).filter(admits)
        {
            return Led::ByNode(by_node.to);
        }
        match self.node_ports.get(&(v6, port)).filter(|_| is_own) {
            Some(&keeps_source) => Led::ToSwitch { keeps_source },
            None => Led::Nowhere,
        }
    }

    /// Whether a flow, as it is asked and as it is answered, goes elsewhere than it would now. What others
    /// lead is theirs.
    fn is_stale(&self, asked: Ends, answer: Ends) -> bool {
        let to = answer.source;
        let is_plain = to == asked.target;
        let is_to_switch = to.ip() == node_port_address(to.is_ipv6());
        let is_to_node = !is_plain && self.here.contains(&to.ip());
        match self.led(&asked) {
            Led::ByNode(wanted) => to != wanted,
            Led::ToSwitch { keeps_source } => {
                let is_same = answer.target.ip() == asked.source.ip();
                is_plain
                    || is_to_node
                    || (is_to_switch
                        && is_same != keeps_source
                        && self.may_differ(asked.source.ip()))
            }
            Led::Nowhere => {
                let is_balanced = || {
                    let mut all = self.plan.balanced.iter();
                    all.any(|own| (own.address, own.protocol) == (asked.target.ip(), UDP))
                };
                is_to_switch || (is_to_node && is_balanced())
            }
        }
    }

    /// Whether what this client sends may bear another address at the switch: the node has its own
    /// anyway, and pods keep theirs.
    fn may_differ(&self, client: IpAddr) -> bool {
        !self.here.contains(&client) && !self.pods.iter().any(|net| net.contains(&client))
    }
}

/// A flow of UDP, as it is asked and answered; none to a loopback, which is no node port.
fn translated(told: &[u8]) -> Option<(Ends, Ends)> {
    let (asked, answer) = (ends(find(told, OPENING)?)?, ends(find(told, REPLY)?)?);
    let is_apart = find(told, ZONE).is_some() || asked.target.ip().is_loopback();
    (asked.protocol == UDP && !is_apart).then_some((asked, answer))
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
    let port = |kind| Some(u16::from_be_bytes(find(protocol, kind)?.try_into().ok()?));
    Some(Ends {
        source: SocketAddr::new(address(1, 3)?, port(2)?),
        target: SocketAddr::new(address(2, 4)?, port(3)?),
        protocol: *find(protocol, 1)?.first()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::tests::{address, here, plan};
    use crate::services::{BalancedPort, NodePort};

    /// A direction from here to there, as the kernel writes it.
    fn direction(kind: u16, [source, target]: [&str; 2], protocol: u8) -> Attribute {
        let ends = [source, target].map(|text| text.parse::<SocketAddr>().unwrap());
        let octets = |end: SocketAddr| match end.ip() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let first = if ends[0].is_ipv6() { 3 } else { 1 };
        let addresses = [
            Attribute::bytes(first, octets(ends[0])),
            Attribute::bytes(first + 1, octets(ends[1])),
        ];
        let ports = [
            Attribute::bytes(1, [protocol]),
            Attribute::bytes(2, ends[0].port().to_be_bytes()),
            Attribute::bytes(3, ends[1].port().to_be_bytes()),
        ];
        Attribute::nest(kind, [Attribute::nest(1, addresses), Attribute::nest(2, ports)])
    }

    fn told(asked: [&str; 2], answer: [&str; 2], protocol: u8, more: &[Attribute]) -> Vec<u8> {
        let mut out = Vec::new();
        direction(OPENING, asked, protocol).write(&mut out);
        direction(REPLY, answer, protocol).write(&mut out);
        for attribute in more {
            attribute.write(&mut out);
        }
        out
    }

    const CLIENT: &str = "192.0.2.1:4000";
    const ASKED: &str = "172.31.0.1:30053";
    const SWITCH: &str = "169.254.1.2:30053";
    const SERVER: &str = "172.31.0.1:53";

    /// Whether a flow to that port is forgotten, by where its answers come from and go to.
    fn stale(plan: &HostPlan, asked: [&str; 2], answer: [&str; 2]) -> bool {
        let told = told(asked, answer, UDP, &[]);
        let (asked, answer) = translated(&told).unwrap();
        Ways::new(plan, &here()).is_stale(asked, answer)
    }

    /// The same of somebody beyond the node, whose answers come from there.
    fn stale_from(plan: &HostPlan, from: &str) -> bool {
        stale(plan, [CLIENT, ASKED], [from, CLIENT])
    }

    fn led(keeps_source: bool) -> HostPlan {
        let port = |v6| NodePort { protocol: UDP, number: 30_053, v6, keeps_source };
        HostPlan { node_ports: vec![port(false), port(true)], ..plan() }
    }

    #[test]
    fn a_flow_that_began_before_or_after_its_port_led_to_a_service_is_forgotten() {
        let (now, never) = (led(true), plan());
        assert!(stale_from(&now, ASKED), "it goes where it was sent");
        assert!(!stale_from(&now, SWITCH), "it is led already");
        assert!(stale_from(&never, SWITCH), "it is led still");
        assert!(!stale_from(&never, ASKED), "it goes where it was sent");
        assert!(!stale_from(&now, "10.0.9.9:53"), "somebody else leads it");
        let six = ["[2001:db8::1]:4000", "[fd31::1]:30053"];
        let switch = ["[fd4c:6f63:6b67::2]:30053", six[0]];
        assert!(stale(&now, six, [six[1], six[0]]) && !stale(&now, six, switch));
        assert!(stale(&never, six, switch));
        let other = "172.31.0.1:30054";
        assert!(!stale(&now, [CLIENT, other], [other, CLIENT]), "another port");
        let others = "192.0.2.9:30053";
        assert!(!stale(&now, [CLIENT, others], [others, CLIENT]), "another's port");
    }

    #[test]
    fn a_flow_whose_client_was_seen_and_shall_not_be_is_forgotten_and_the_reverse() {
        let unseen = [SWITCH, "172.31.0.1:4000"];
        let is_stale = |keeps, answer| stale(&led(keeps), [CLIENT, ASKED], answer);
        assert!(is_stale(false, [SWITCH, CLIENT]) && !is_stale(true, [SWITCH, CLIENT]));
        assert!(is_stale(true, unseen) && !is_stale(false, unseen));
        // The node bears its own address anyway, and pods that come by another way keep theirs.
        for client in ["172.31.0.1:4000", "10.42.1.7:4000"] {
            assert!(!stale(&led(false), [client, ASKED], [SWITCH, client]), "{client}");
        }
    }

    #[test]
    fn a_flow_to_who_serves_in_the_nodes_own_network_goes_there_alone() {
        let mut plan = led(true);
        let to = SERVER.parse().unwrap();
        let sources = Some(vec!["192.0.2.0/24".parse().unwrap()]);
        let port = |at: Option<&str>, port, sources| PortByNode {
            address: at.map(address),
            protocol: UDP,
            port,
            sources,
            to,
        };
        plan.by_node = vec![port(None, 30_053, None), port(Some("203.0.113.1"), 53, sources)];
        assert!(
            stale_from(&plan, SWITCH) && stale_from(&plan, ASKED) && !stale_from(&plan, SERVER)
        );
        let own = "172.31.0.1:4000";
        assert!(!stale(&plan, [own, ASKED], [SWITCH, own]), "the node itself");
        assert!(stale_from(&led(true), SERVER), "the switch chooses again");
        let balanced = "203.0.113.1:53";
        let to_balanced =
            |plan: &HostPlan, client, from| stale(plan, [client, balanced], [from, client]);
        let stranger = "198.51.100.1:4000";
        assert!(to_balanced(&plan, CLIENT, balanced) && !to_balanced(&plan, CLIENT, SERVER));
        assert!(!to_balanced(&plan, stranger, balanced), "whom the switch refuses");
        plan.by_node.clear();
        plan.lead_balanced(vec![BalancedPort {
            address: address("203.0.113.1"),
            protocol: UDP,
            port: 53,
        }]);
        assert!(to_balanced(&plan, CLIENT, SERVER) && !to_balanced(&plan, CLIENT, balanced));
    }

    #[test]
    fn what_is_not_udp_or_is_kept_apart_is_left_alone() {
        let flow = |protocol, more: &[Attribute]| {
            translated(&told([CLIENT, ASKED], [ASKED, CLIENT], protocol, more))
        };
        assert!(flow(UDP, &[]).is_some());
        assert_eq!(flow(6, &[]), None, "TCP");
        assert_eq!(flow(UDP, &[Attribute::bytes(ZONE, [0, 1])]), None, "kept apart");
        let own = ["127.0.0.1:4000", "127.0.0.1:30053"];
        assert_eq!(translated(&told(own, [own[1], own[0]], UDP, &[])), None, "loopback");
    }

    #[test]
    fn a_flow_that_is_told_in_part_is_none() {
        let whole = told([CLIENT, ASKED], [ASKED, CLIENT], UDP, &[]);
        for end in 0..whole.len() {
            assert_eq!(translated(&whole[..end]), None, "{end}");
        }
    }
}
