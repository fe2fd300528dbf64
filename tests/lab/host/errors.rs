//! ICMP errors that cross the node's stack: those about packets of Services' clients, and those that
//! the switch itself tells whoever is beyond the node.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use lockgate_tests::lab::probe::{self, Seen, Speech};
use lockgate_tests::lab::{Namespace, Place, bulk};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::super::Outcome;
use super::super::fixture::NODE;
use super::balanced::{BALANCED, NOBODYS as NOBODYS_BALANCED, plan_of};
use super::ip;
use super::services::{BULK, BULK_HIGHER, FAR, NOBODYS};
use super::world::{NODE_V6, Stack};

const BYTES: u64 = 4 << 20;
/// What is told comes well within this: who hears nothing asks again after a second.
const AT_ONCE: Duration = Duration::from_millis(800);

/// Who asks, from which address, and where.
type Asking = (Namespace, IpAddr, IpAddr, u16);

/// The node at the address of a Service, and who is outside at a node port and at a load balancer's
/// address: of the port that carries much, or of one that nobody serves.
fn asking(stack: &Stack, v6: bool, is_served: bool) -> [Asking; 3] {
    let either = |v4: &str, of_v6: &str| ip(if v6 { of_v6 } else { v4 });
    let (node, uplink) = (either(NODE, NODE_V6), either("172.31.7.254", "fd31:7::fe"));
    let (last, node_port, balanced) = if is_served {
        (1, FAR + BULK_HIGHER, BULK)
    } else {
        (7, NOBODYS + BULK_HIGHER, NOBODYS_BALANCED)
    };
    let service = ip(&if v6 { format!("fd96:7::{last}") } else { format!("10.96.7.{last}") });
    [
        (stack.node(), node, service, BULK),
        (stack.uplink(), uplink, node, node_port),
        (stack.uplink(), uplink, either(BALANCED[0], BALANCED[1]), balanced),
    ]
}

/// The link to the backend is narrow first, then the one to who is outside.
pub(super) fn narrow(stack: &Stack, v6: bool) -> Outcome {
    stack.apply(&plan_of(stack, &[(6, BULK)])?)?;
    lead(stack, v6)?;
    let narrow_there = if v6 {
        "ip -6 route change fd00:77:1::/64 via fd31:8::2 mtu 1300"
    } else {
        "ip route change 10.77.1.0/24 via 172.31.8.2 mtu 1300"
    };
    stack.sh(narrow_there)?;
    carried(stack, "there", &asking(stack, v6, true))?;
    let narrow_back = if v6 {
        "ip -6 route change fd00:77:1::/64 via fd31:8::2 &&
         ip -6 route add fd31:7::fe/128 dev up0 mtu 1300"
    } else {
        "ip route change 10.77.1.0/24 via 172.31.8.2 &&
         ip route add 172.31.7.254/32 dev up0 mtu 1300"
    };
    stack.sh(narrow_back)?;
    carried(stack, "back", &asking(stack, v6, true))
}

/// The uplink reaches load balancers' addresses by the node.
fn lead(stack: &Stack, v6: bool) -> Outcome {
    let route = if v6 {
        format!("ip -6 route replace {} via fd31:7::1", BALANCED[1])
    } else {
        format!("ip route replace {} via 172.31.7.1", BALANCED[0])
    };
    super::shell(&stack.uplink(), &route)?;
    Ok(())
}

fn carried(stack: &Stack, what: &str, all: &[Asking]) -> Outcome {
    for (namespace, source, asked, port) in all.iter().cloned() {
        let from = Place { namespace, addresses: vec![source] };
        let asked = SocketAddr::new(asked, port);
        let report = bulk::through(&from, asked, (&stack.second(), BULK), BYTES)
            .map_err(|error| format!("narrow on the way {what}: {error}"))?;
        assert!(report.is_intact(), "{what}, {asked}: {report:?}");
        // What one has learned of the backend's way, the next has yet to.
        for flush in ["ip route flush cache", "ip -6 route flush cache"] {
            for place in [stack.node(), stack.second(), stack.uplink()] {
                super::shell(&place, flush)?;
            }
        }
    }
    Ok(())
}

pub(super) fn told(stack: &Stack, v6: bool) -> Outcome {
    stack.apply(&plan_of(stack, &[(6, NOBODYS_BALANCED)])?)?;
    lead(stack, v6)?;
    for (namespace, source, asked, port) in asking(stack, v6, false) {
        let from = Place { namespace, addresses: vec![source] };
        let asked = SocketAddr::new(asked, port);
        // The first may wait for a neighbour's address.
        probe::probe(Speech::Tcp, &from, asked, probe::PATIENCE)?;
        let begun = Instant::now();
        let seen = probe::probe(Speech::Tcp, &from, asked, probe::PATIENCE)?;
        assert_eq!(seen, Seen::Refused, "{asked}, asked from {source}");
        assert!(begun.elapsed() < AT_ONCE, "{asked}: {:?}", begun.elapsed());
    }
    // The node is the first on the way, the switch the second.
    let open = stack.address("demo/other", v6)?;
    let dies = stack.uplink().enter(|| dies_at(2, SocketAddr::new(open, 9)))??;
    assert_eq!(dies, Some(Errno::EHOSTUNREACH), "at the switch");
    Ok(())
}

/// What a sender hears of a datagram that may cross so many hops.
fn dies_at(hops: u8, to: SocketAddr) -> io::Result<Option<Errno>> {
    let own: IpAddr = ip(if to.is_ipv6() { "::" } else { "0.0.0.0" });
    let socket = UdpSocket::bind(SocketAddr::new(own, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(probe::PATIENCE))?;
    if to.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        socket2::SockRef::from(&socket).set_unicast_hops_v6(hops.into())?;
    } else {
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        socket.set_ttl(hops.into())?;
    }
    socket.send(b"who")?;
    let heard = socket.recv(&mut [0; 64]).err();
    Ok(heard.and_then(|error| error.raw_os_error()).map(Errno::from_raw))
}
