//! The node's own stack, joined to the switch: routes, keys and addresses in a real kernel.
//!
//! `PREFIX-outside` is the node's stack here; what is beyond it is in `world`.

mod balanced;
mod errors;
mod pretenders;
mod services;
mod world;

use std::net::IpAddr;

use lockgate_tests::lab::namespace::run;
use lockgate_tests::lab::{LabError, Namespace};

use super::fixture::{NODE, OUTSIDE};
use super::{Case, Outcome};
use world::{
    HOST_PORT_NUMBER, NODE_OTHER, NODE_V6, OUTSIDE_V6, SECOND, SECOND_POD, SECOND_POD_V6,
    SECOND_V6, Stack, WHO,
};

pub(crate) const CASES: &[Case] = &[
    ("the node's stack is made, is left when it is so, and is mended", mended),
    (
        "the node's stack follows its plan, and is gone when removed but for what is others'",
        follows,
    ),
    ("a route of somebody else to the pods is told, stays, and holds up no other", taken),
    ("the node calls its pods by a node address, and is let in", || each_family(from_the_node)),
    ("pods keep their address towards nodes and pods, and have the node's outside", || {
        each_family(from_pods)
    }),
    ("without masquerade pods keep their address outside too", || each_family(bare)),
    ("a host port leads to its pod from outside, from the node and from its loopback", host_port),
    ("an established connection outlives a replaced table", replaced),
    ("a Service's backend elsewhere serves the node, and hears it as a node", || {
        each_family(services::elsewhere)
    }),
    ("a node port leads there from outside, from the node, from pods and other nodes", || {
        each_family(services::node_ports)
    }),
    ("a node port of a Service that is local keeps who calls from beyond", || {
        each_family(services::kept)
    }),
    ("a datagram's sender that began before the node port is led there all the same", || {
        each_family(services::began_before)
    }),
    ("a datagram's sender that goes on after its node port went is led there no more", || {
        each_family(services::goes_on_after)
    }),
    ("a backend in the node's own network hears who calls, or the node", || {
        each_family(services::own_network)
    }),
    ("a load balancer's address that is served in the node's own network keeps who calls", || {
        each_family(balanced::own_network)
    }),
    ("who comes from a link with an address of the node is not let in as the node", || {
        each_family(pretenders::pretenders)
    }),
    ("a load balancer's ports are its Service's, and its other ports whoever's they were", || {
        each_family(balanced::ports)
    }),
    ("who asks a backend elsewhere finds the MTU of the way there and back", || {
        each_family(errors::narrow)
    }),
    ("who is beyond the node hears at once that nobody serves, and where its packets die", || {
        each_family(errors::told)
    }),
    ("a load balancer's ports are kept as planned, and gone when removed", balanced::kept),
    ("the rules, routes and table of the node are told whole, for a sysdump", balanced::told),
];

fn each_family(case: fn(&Stack, bool) -> Outcome) -> Outcome {
    let stack = Stack::build()?;
    stack.apply(&stack.plan(true)?)?;
    [false, true]
        .into_iter()
        .try_for_each(|v6| case(&stack, v6).map_err(|error| format!("IPv6 {v6}: {error}").into()))
}

fn mended() -> Outcome {
    let stack = Stack::build()?;
    stack.sh("ip link set lg-far up && sysctl -qw net.ipv4.conf.all.rp_filter=1")?;
    let plan = stack.plan(true)?;
    let first = stack.apply(&plan)?;
    assert!(first.table, "{first:?}");
    // Two networks of pods and of Services, the gateway, and of each family two of the switch's own.
    assert_eq!(first.routes_set.len(), 9, "{:?}", first.routes_set);
    assert!(first.keys.iter().any(|key| key.path == "ipv4/ip_forward"), "{:?}", first.keys);
    let again = stack.apply(&plan)?;
    assert!(!again.is_any(), "{again:?}");
    let table = stack.show("nft list table inet lockgate")?;
    for fault in [
        "ip route del 10.77.0.0/24",
        "ip -6 route del fd00:77::/64",
        "ip route replace 10.77.0.0/24 via 169.254.1.1 dev lg-far onlink proto 76",
        "nft flush table inet lockgate",
        "nft delete table inet lockgate",
        "nft delete element inet lockgate inside4 { 10.77.0.0-10.77.1.255 }",
        "nft add element inet lockgate inside6 { 2001:db8::/32 }",
        "nft add rule inet lockgate postrouting accept",
        "nft insert rule inet lockgate postrouting accept",
        "nft add set inet lockgate more { type ipv4_addr\\; }",
        "nft add chain inet lockgate more",
        "nft delete element inet lockgate ports4 { tcp . 30090 }",
        "nft add element inet lockgate kept6 { udp . 30099 }",
        "nft flush chain inet lockgate prerouting",
        "nft flush chain inet lockgate input",
        "sysctl -qw net.ipv4.ip_forward=0",
        "sysctl -qw net.ipv4.conf.lg-far.rp_filter=1",
        "sysctl -qw net.ipv6.conf.lg-far.disable_ipv6=1",
    ] {
        stack.sh(fault)?;
        let mended = stack.apply(&plan)?;
        assert!(mended.is_any(), "{fault}: nothing was mended");
        let again = stack.apply(&plan)?;
        assert!(!again.is_any(), "{fault}: {again:?}");
        assert_eq!(stack.show("nft list table inet lockgate")?, table, "{fault}");
        assert_eq!(stack.who_is(&stack.node(), None, &stack.server(false), WHO)?, ip(NODE));
    }
    Ok(())
}

fn follows() -> Outcome {
    let stack = Stack::build()?;
    // Of others: a route, a table that is like ours, and rules of iptables.
    stack.sh("ip route add 10.9.0.0/16 via 172.31.7.254 proto static")?;
    stack.sh("nft add table inet lockgate2 && nft add chain inet lockgate2 a")?;
    stack.sh("nft add table ip lockgate && nft add chain ip lockgate a")?;
    stack.sh("iptables -t nat -A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE")?;
    let before = stack.all()?;
    let plan = stack.plan(true)?;
    stack.apply(&plan)?;
    assert_ne!(stack.all()?, before);
    let v4_only = stack.plan_of(&["10.77.0.0/24"], true)?;
    let changed = stack.apply(&v4_only)?;
    assert_eq!(changed.routes_removed.len(), 5, "{:?}", changed.routes_removed);
    assert!(!stack.show("ip -6 route show proto 76")?.contains("fd00:77"));
    assert!(!stack.show("nft list table inet lockgate")?.contains("pods6"));
    assert!(stack.apply(&plan)?.table);
    assert!(stack.show("ip -6 route show proto 76")?.contains("fd00:77::/64 via fe80::1"));
    let removed = stack.remove()?;
    assert!(removed.table && removed.routes_removed.len() == 9, "{removed:?}");
    assert_eq!(stack.all()?, before);
    assert!(!stack.remove()?.is_any());
    Ok(())
}

fn taken() -> Outcome {
    let stack = Stack::build()?;
    stack.sh("ip route add 10.77.0.0/24 via 172.31.7.254 proto bird")?;
    stack.sh("nft add table ip docker")?;
    stack.sh(
        "nft add chain ip docker fw { type filter hook forward priority 0\\; policy drop\\; }",
    )?;
    let plan = stack.plan(true)?;
    let changed = stack.apply(&plan)?;
    let told: Vec<String> = changed.routes_taken.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("10.77.0.0/24 via 172.31.7.254"), "{told:?}");
    assert!(told[0].contains("protocol 12"), "{told:?}");
    assert!(stack.show("ip route show 10.77.0.0/24")?.contains("172.31.7.254"));
    // Whatever nobody else has is led to the switch.
    assert_eq!(changed.routes_set.len(), 8, "{:?}", changed.routes_set);
    assert_eq!(stack.who_is(&stack.node(), None, &stack.server(true), WHO)?, ip(NODE_V6));
    stack.sh("ip route del 10.77.0.0/24")?;
    let changed = stack.apply(&plan)?;
    assert_eq!((changed.routes_set.len(), changed.routes_taken.len()), (1, 0), "{changed:?}");
    assert_eq!(stack.who_is(&stack.node(), None, &stack.server(false), WHO)?, ip(NODE));
    let drops: Vec<String> = changed.forward_drops.iter().map(ToString::to_string).collect();
    assert_eq!(drops, ["chain fw of table ip docker drops what it does not accept"]);
    Ok(())
}

fn from_the_node(stack: &Stack, v6: bool) -> Outcome {
    let node = ip(if v6 { NODE_V6 } else { NODE });
    // `server` is isolated and lets nobody in.
    let server = stack.server(v6);
    assert_eq!(stack.who_is(&stack.node(), None, &server, WHO)?, node);
    let other = if v6 { "fd31:8::1" } else { NODE_OTHER };
    assert_eq!(stack.who_is(&stack.node(), Some(ip(other)), &server, WHO)?, node, "from {other}");
    let from = ip(if v6 { SECOND_V6 } else { SECOND });
    let open = stack.address("demo/other", v6)?;
    assert_eq!(stack.who_is(&stack.second(), Some(from), &open, WHO)?, from, "routed as it is");
    assert!(stack.who_is(&stack.second(), Some(from), &server, WHO).is_err(), "isolated");
    Ok(())
}

fn from_pods(stack: &Stack, v6: bool) -> Outcome {
    let pod = stack.address("demo/client", v6)?;
    let node = ip(if v6 { NODE_V6 } else { NODE });
    let choose = |v4: &str, of_v6: &str| ip(if v6 { of_v6 } else { v4 });
    for (to, seen) in [
        (choose(OUTSIDE, OUTSIDE_V6), node),
        (choose(SECOND, SECOND_V6), pod),
        (choose(SECOND_POD, SECOND_POD_V6), pod),
        (node, pod),
    ] {
        assert_eq!(stack.who_is(&stack.pod("demo/client")?, None, &to, WHO)?, seen, "to {to}");
    }
    Ok(())
}

fn bare(stack: &Stack, v6: bool) -> Outcome {
    let pod = stack.address("demo/client", v6)?;
    stack.apply(&stack.plan(false)?)?;
    let outside = ip(if v6 { OUTSIDE_V6 } else { OUTSIDE });
    assert_eq!(stack.who_is(&stack.pod("demo/client")?, None, &outside, WHO)?, pod);
    Ok(())
}

fn host_port() -> Outcome {
    let stack = Stack::build()?;
    stack.apply(&stack.plan(true)?)?;
    stack.port_map("ADD")?;
    let (node, loopback) = (ip(NODE), ip("127.0.0.1"));
    let ask =
        |from: &Namespace, source, to: &IpAddr| stack.who_is(from, source, to, HOST_PORT_NUMBER);
    assert_eq!(ask(&stack.uplink(), None, &node)?, ip("172.31.7.254"), "from outside");
    assert_eq!(ask(&stack.node(), None, &node)?, node, "from the node");
    assert_eq!(ask(&stack.node(), Some(loopback), &loopback)?, node, "from its loopback");
    // No manifest has the port, so the switch leads nobody there, and it would come back as from a pod
    // of this node.
    assert!(ask(&stack.pod("demo/client")?, None, &node).is_err(), "from another pod");
    stack.port_map("DEL")?;
    assert!(ask(&stack.uplink(), None, &node).is_err(), "after DEL");
    Ok(())
}

fn replaced() -> Outcome {
    use lockgate_tests::lab::probe::Seen;
    let stack = Stack::build()?;
    let plan = stack.plan(true)?;
    stack.apply(&plan)?;
    let mut stream = stack.echo_to_outside()?;
    let mut smaller = plan.clone();
    smaller.all_node_addresses.clear();
    assert!(stack.apply(&smaller)?.table);
    assert_eq!(stack.echoes(&mut stream), Seen::Answered);
    stack.sh("nft delete table inet lockgate")?;
    assert!(stack.apply(&plan)?.table);
    assert_eq!(stack.echoes(&mut stream), Seen::Answered);
    Ok(())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or(IpAddr::from([0, 0, 0, 0]))
}

/// Runs a line of shell in a namespace; gives what it wrote.
fn shell(namespace: &Namespace, line: &str) -> Result<String, LabError> {
    let output = run(namespace.command("sh").args(["-ec", line]))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
