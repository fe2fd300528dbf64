//! Who comes from a link of the node and bears an address of the node: not the node.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use lockgate_control::services::node_port_address;
use lockgate_dataplane::ids::Mac;
use lockgate_tests::lab::namespace::wait_for;
use lockgate_tests::lab::seat::Seat;
use lockgate_tests::lab::sniffer::{Sniffer, between};
use lockgate_tests::packets::{Ends, udp};

use super::super::Outcome;
use super::super::fixture::{NODE, SETTLE};
use super::ip;
use super::world::{NODE_NOWHERE, NODE_V6, Stack};

/// Where what is sent by hand goes.
const FORGED: u16 = 5301;
/// Where what the node itself sends goes, behind it.
const BEHIND: u16 = 5302;

/// Somebody on the link of the uplink.
struct Stranger {
    seat: Seat,
    node: Mac,
}

impl Stranger {
    fn on_the_link(stack: &Stack) -> Result<Self, Box<dyn std::error::Error>> {
        let seat = Seat::at(&stack.uplink(), "eth0", String::new())?;
        let node = Seat::at(&stack.node(), "up0", String::new())?.mac();
        Ok(Self { seat, node })
    }

    fn sends(&self, source: IpAddr, target: IpAddr) -> Outcome {
        let ends = Ends { source_mac: self.seat.mac(), target_mac: self.node, source, target };
        for number in 0..3 {
            self.seat.send_frame(&udp(ends, (40_000 + number, FORGED), b"let me in"))?;
        }
        Ok(())
    }
}

pub(super) fn pretenders(stack: &Stack, v6: bool) -> Outcome {
    let stranger = Stranger::on_the_link(stack)?;
    let own: &[&str] = if v6 { &[NODE_V6] } else { &[NODE_NOWHERE, NODE] };
    let own: Vec<IpAddr> = own.iter().map(|text| ip(text)).collect();
    let outside = ip(if v6 { "fd31:7::fe" } else { "172.31.7.254" });
    // `server` lets nobody in but its node, `other` everybody.
    let (shut, open) = (stack.server(v6), stack.address("demo/other", v6)?);
    let seen = |pod: &str, source, target, port| {
        Sniffer::start(&stack.pod(pod)?, between(source, target, Some(port)))
    };
    for source in own {
        let forged = ["demo/server", "demo/other"]
            .map(|pod| seen(pod, source, if pod == "demo/server" { shut } else { open }, FORGED));
        stranger.sends(source, shut)?;
        stranger.sends(source, open)?;
        behind(stack, shut)?;
        for sniffer in forged {
            assert_eq!(sniffer?.count(), 0, "sent from {source}");
        }
    }
    let told = stack.show("nft list chain inet lockgate forward")?;
    // Who bears an address of an interface, and who one of the Node's that is on none.
    let rule = if v6 { "ipv6 oifname" } else { "ip saddr @own4" };
    let rule = told.lines().find(|line| line.contains(rule)).unwrap_or_default();
    assert!(rule.contains("counter packets 6 "), "{told}");
    not_by_the_switch(stack, &stranger, [outside, open])?;
    // As somebody else it is judged as anybody outside.
    let (at_open, at_shut) =
        (seen("demo/other", outside, open, FORGED)?, seen("demo/server", outside, shut, FORGED)?);
    stranger.sends(outside, shut)?;
    stranger.sends(outside, open)?;
    wait_for("what comes from outside", SETTLE, || at_open.count() == 3)?;
    assert_eq!(at_shut.count(), 0, "isolated");
    Ok(())
}

/// By an address of the switch's own nobody gets in: at it are host ports, where what was led there
/// bears an address of the node.
fn not_by_the_switch(stack: &Stack, stranger: &Stranger, [outside, open]: [IpAddr; 2]) -> Outcome {
    let v6 = open.is_ipv6();
    let front = node_port_address(v6);
    let as_switch = Sniffer::start(&stack.pod("demo/other")?, between(front, open, Some(FORGED)))?;
    stranger.sends(front, open)?;
    stranger.sends(outside, front)?;
    behind(stack, stack.server(v6))?;
    assert_eq!(as_switch.count(), 0, "as {front}");
    let told = stack.show("nft list chain inet lockgate forward")?;
    let target = if v6 { "ip6 daddr" } else { "ip daddr" };
    let rule = told.lines().find(|line| line.contains(&format!("{target} {front} ct status")));
    assert!(rule.unwrap_or_default().contains("counter packets 3 "), "{told}");
    Ok(())
}

/// Waits until what the node itself sends has arrived, and so all that was sent before it.
fn behind(stack: &Stack, to: IpAddr) -> Outcome {
    let node = ip(if to.is_ipv6() { NODE_V6 } else { NODE });
    let arrived = Sniffer::start(&stack.pod("demo/server")?, between(node, to, Some(BEHIND)))?;
    let send = || {
        let socket = UdpSocket::bind(SocketAddr::new(node, 0))?;
        socket.send_to(b"the node", SocketAddr::new(to, BEHIND))
    };
    wait_for("what the node sends", SETTLE, || {
        matches!(stack.node().enter(send), Ok(Ok(_))) && arrived.count() > 0
    })?;
    Ok(())
}
