//! Services asked through the node's stack: by the node itself, from outside, from another node, and
//! by pods at a port of the node.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use lockgate_control::services::{NodePort, PortByNode};
use lockgate_tests::lab::probe::{self, Seen, Speech};
use lockgate_tests::lab::{Namespace, Place};

use super::super::Outcome;
use super::super::fixture::NODE;
use super::ip;
use super::world::{NODE_OTHER, NODE_V6, SECOND, SECOND_V6, Stack, WHO};

/// The networks of the cluster's Services here.
pub(super) const NETS: [&str; 2] = ["10.96.7.0/24", "fd96:7::/112"];
/// A node port whose backend is on the second node.
pub(super) const FAR: u16 = 30_090;
/// A node port whose backend is here, for those beyond only as long as it is.
const KEPT: u16 = 30_091;
/// A node port of the pod that is isolated.
const SHUT: u16 = 30_092;
/// A node port that is local, of a backend on the second node.
const KEPT_FAR: u16 = 30_093;
/// A node port that is local, of a backend in the node's own network.
const OWN_KEPT: u16 = 30_094;
/// A node port of that backend that is not local.
const OWN: u16 = 30_095;
/// A node port that nobody serves.
pub(super) const NOBODYS: u16 = 30_096;
/// The port of whoever carries much, and how much higher its node port is.
pub(super) const BULK: u16 = 7000;
/// See [`BULK`].
pub(super) const BULK_HIGHER: u16 = 200;
/// The port of the echo of UDP.
pub(super) const ECHO: u16 = 53;
/// The node's address on the link to the second node, IPv6.
const NODE_OTHER_V6: &str = "fd31:8::1";

/// Name, last part of its address, node port, policy, last parts of its backend, where that is.
type Row = (&'static str, u8, u16, &'static str, (&'static str, &'static str), &'static str);

const SERVICES: [Row; 7] = [
    ("far", 1, FAR, "Cluster", ("10.77.1.5", "fd00:77:1::5"), "second"),
    ("kept", 2, KEPT, "Local", ("10.77.0.3", "fd00:77::3"), "here"),
    ("shut", 3, SHUT, "Cluster", ("10.77.0.2", "fd00:77::2"), "here"),
    ("kept-far", 4, KEPT_FAR, "Local", ("10.77.1.5", "fd00:77:1::5"), "second"),
    ("own-kept", 5, OWN_KEPT, "Local", (NODE, NODE_V6), "here"),
    ("own", 6, OWN, "Cluster", (NODE, NODE_V6), "here"),
    ("nobodys", 7, NOBODYS, "Cluster", ("", ""), ""),
];

/// Every Service, TCP at its node port and UDP at the port a hundred higher.
pub(super) fn manifests() -> String {
    let mut text = String::new();
    for (name, last, port, policy, backend, node) in SERVICES {
        let (udp, bulk) = (port + 100, port + BULK_HIGHER);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: demo}}
spec:
  type: NodePort
  clusterIPs: [10.96.7.{last}, 'fd96:7::{last}']
  externalTrafficPolicy: {policy}
  ports:
  - {{name: who, port: 80, nodePort: {port}}}
  - {{name: echo, port: {ECHO}, nodePort: {udp}, protocol: UDP}}
  - {{name: bulk, port: {BULK}, nodePort: {bulk}}}
---
"
        );
        for (family, address) in [("IPv4", backend.0), ("IPv6", backend.1)] {
            let endpoint = format!("{{addresses: ['{address}'], nodeName: {node}}}");
            let endpoints = if address.is_empty() { "" } else { &endpoint };
            let _ = write!(
                text,
                "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-{}
  namespace: demo
  labels: {{kubernetes.io/service-name: {name}}}
addressType: {family}
endpoints: [{endpoints}]
ports:
- {{name: who, port: {WHO}}}
- {{name: echo, port: {ECHO}, protocol: UDP}}
- {{name: bulk, port: {BULK}}}
---
",
                family.to_lowercase()
            );
        }
    }
    text
}

/// The ports of nodes that lead there.
pub(super) fn node_ports_of_all() -> Vec<NodePort> {
    let of = |(_, _, number, policy, ..): Row| {
        let keeps_source = policy == "Local";
        [(6, number), (17, number + 100), (6, number + BULK_HIGHER)].into_iter().flat_map(
            move |(protocol, number)| {
                [false, true].map(|v6| NodePort { protocol, number, v6, keeps_source })
            },
        )
    };
    SERVICES.into_iter().flat_map(of).collect()
}

/// The ports at which the node's own stack leads those beyond to itself.
pub(super) fn ports_by_node() -> Vec<PortByNode> {
    let families = [NODE, NODE_V6].into_iter();
    let of = |address: &str| {
        let port = |protocol, port, to| {
            let to = SocketAddr::new(ip(address), to);
            PortByNode { address: None, protocol, port, sources: None, to }
        };
        [port(6, OWN_KEPT, WHO), port(17, OWN_KEPT + 100, ECHO)]
    };
    families.flat_map(of).collect()
}

/// What is called what here in a family.
struct Names {
    node: IpAddr,
    /// The node on the link to the second one: as whom what is masqueraded there is seen.
    other: IpAddr,
    second: IpAddr,
    uplink: IpAddr,
    far: IpAddr,
}

fn names(v6: bool) -> Names {
    let either = |v4: &str, of_v6: &str| ip(if v6 { of_v6 } else { v4 });
    Names {
        node: either(NODE, NODE_V6),
        other: either(NODE_OTHER, NODE_OTHER_V6),
        second: either(SECOND, SECOND_V6),
        uplink: either("172.31.7.254", "fd31:7::fe"),
        far: either("10.96.7.1", "fd96:7::1"),
    }
}

/// Whether an echo of UDP comes back.
pub(super) fn echoes(
    from: Namespace,
    source: IpAddr,
    to: IpAddr,
    port: u16,
) -> Result<Seen, Box<dyn std::error::Error>> {
    let place = Place { namespace: from, addresses: vec![source] };
    Ok(probe::probe(Speech::Udp, &place, SocketAddr::new(to, port), probe::PATIENCE)?)
}

pub(super) fn elsewhere(stack: &Stack, v6: bool) -> Outcome {
    let Names { node, other, far, .. } = names(v6);
    for _ in 0..6 {
        assert_eq!(
            stack.who_is(&stack.node(), None, &far, 80)?,
            other,
            "a node is asked by a node"
        );
    }
    for _ in 0..3 {
        assert_eq!(echoes(stack.node(), node, far, ECHO)?, Seen::Answered);
    }
    // Who is here is called by the node's own address, and lets it in though isolated.
    let shut = ip(if v6 { "fd96:7::3" } else { "10.96.7.3" });
    assert_eq!(stack.who_is(&stack.node(), None, &shut, 80)?, node);
    // A pod asks as itself.
    let pod = stack.address("demo/client", v6)?;
    assert_eq!(stack.who_is(&stack.pod("demo/client")?, None, &far, 80)?, pod);
    Ok(())
}

pub(super) fn node_ports(stack: &Stack, v6: bool) -> Outcome {
    let Names { node, other, second, uplink, .. } = names(v6);
    let who = |from: &Namespace, to: &IpAddr, port| stack.who_is(from, None, to, port);
    assert_eq!(who(&stack.uplink(), &node, FAR)?, other, "from outside to elsewhere");
    assert_eq!(who(&stack.uplink(), &node, SHUT)?, node, "from outside, as the node (NP-43)");
    assert_eq!(who(&stack.node(), &node, FAR)?, other, "from the node to elsewhere");
    assert_eq!(who(&stack.node(), &other, SHUT)?, node, "from the node");
    assert_eq!(who(&stack.second(), &other, SHUT)?, node, "from another node, at any address");
    // A pod is judged as itself, and not let in because its node would be.
    let client = stack.pod("demo/client")?;
    assert_eq!(who(&client, &node, FAR)?, stack.address("demo/client", v6)?, "from a pod");
    assert!(who(&client, &node, SHUT).is_err(), "a pod to one that is isolated");
    assert!(who(&client, &other, SHUT).is_err(), "the same by an address that no Node has");
    for port in [FAR, SHUT].map(|port| port + 100) {
        assert_eq!(echoes(stack.uplink(), uplink, node, port)?, Seen::Answered, "{port}");
        assert_eq!(echoes(stack.second(), second, other, port)?, Seen::Answered, "{port}");
    }
    let loopback = ip(if v6 { "::1" } else { "127.0.0.1" });
    assert!(who(&stack.node(), &loopback, SHUT).is_err(), "its loopback is no node port");
    assert!(who(&stack.uplink(), &node, 30_099).is_err(), "no Service has it");
    Ok(())
}

pub(super) fn kept(stack: &Stack, v6: bool) -> Outcome {
    let Names { node, other, second, uplink, .. } = names(v6);
    let who = |from: &Namespace, to: &IpAddr, port| stack.who_is(from, None, to, port);
    assert_eq!(who(&stack.uplink(), &node, KEPT)?, uplink, "from outside");
    assert_eq!(who(&stack.second(), &other, KEPT)?, second, "from another node");
    assert_eq!(who(&stack.node(), &node, KEPT)?, node, "from the node");
    let client = stack.pod("demo/client")?;
    let pod = stack.address("demo/client", v6)?;
    assert_eq!(who(&client, &node, KEPT)?, pod, "from a pod");
    assert_eq!(echoes(stack.uplink(), uplink, node, KEPT + 100)?, Seen::Answered);
    // Nobody here serves: those beyond are left without an answer, and the node is not.
    assert!(who(&stack.uplink(), &node, KEPT_FAR).is_err());
    assert_eq!(who(&stack.node(), &node, KEPT_FAR)?, other);
    assert_eq!(who(&client, &node, KEPT_FAR)?, pod);
    Ok(())
}

pub(super) fn began_before(stack: &Stack, v6: bool) -> Outcome {
    let Names { node, uplink, .. } = names(v6);
    let plan = stack.plan(true)?;
    let mut without = plan.clone();
    without.node_ports.clear();
    stack.apply(&without)?;
    let open = || -> std::io::Result<UdpSocket> {
        let socket = UdpSocket::bind(SocketAddr::new(uplink, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(300)))?;
        Ok(socket)
    };
    let socket = stack.uplink().enter(open)??;
    let asks = |port: u16| -> std::io::Result<bool> {
        socket.send_to(b"who?", SocketAddr::new(node, port))?;
        Ok(socket.recv(&mut [0; 64]).is_ok())
    };
    let (port, other) = (FAR + 100, FAR + 900);
    assert!(!asks(port)? && !asks(other)?, "nobody serves");
    let changed = stack.apply(&plan)?;
    assert_eq!(changed.flows_forgotten, 1, "the one to the node port, and none to another");
    assert!((0..10).any(|_| asks(port).unwrap_or(false)), "it is led to the Service");
    Ok(())
}

pub(super) fn own_network(stack: &Stack, v6: bool) -> Outcome {
    let Names { node, other, second, uplink, .. } = names(v6);
    let who = |from: &Namespace, to: &IpAddr, port| stack.who_is(from, None, to, port);
    assert_eq!(who(&stack.uplink(), &node, OWN_KEPT)?, uplink, "from outside");
    assert_eq!(who(&stack.second(), &other, OWN_KEPT)?, second, "from another node");
    assert_eq!(who(&stack.uplink(), &node, OWN)?, node, "as the node");
    let client = stack.pod("demo/client")?;
    let pod = stack.address("demo/client", v6)?;
    let of_cluster =
        |last: u8| ip(&if v6 { format!("fd96:7::{last}") } else { format!("10.96.7.{last}") });
    for (port, of_cluster) in [(OWN_KEPT, of_cluster(5)), (OWN, of_cluster(6))] {
        assert_eq!(who(&stack.node(), &node, port)?, node, "from the node at {port}");
        assert_eq!(who(&stack.node(), &of_cluster, 80)?, node, "from the node at {of_cluster}");
        assert_eq!(who(&client, &node, port)?, pod, "from a pod at {port}");
        assert_eq!(who(&client, &of_cluster, 80)?, pod, "from a pod at {of_cluster}");
        assert_eq!(echoes(stack.uplink(), uplink, node, port + 100)?, Seen::Answered, "{port}");
        assert_eq!(echoes(stack.node(), node, of_cluster, ECHO)?, Seen::Answered, "{port}");
    }
    Ok(())
}

/// A sender of datagrams that never pauses follows its port: to the Service and away from it.
pub(super) fn goes_on_after(stack: &Stack, v6: bool) -> Outcome {
    let Names { node, uplink, .. } = names(v6);
    let plan = stack.plan(true)?;
    stack.apply(&plan)?;
    let port = FAR + 100;
    let open = || UdpSocket::bind(SocketAddr::new(uplink, 0));
    let socket = stack.uplink().enter(open)??;
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    let asks = || -> std::io::Result<bool> {
        socket.send_to(b"who?", SocketAddr::new(node, port))?;
        Ok(socket.recv(&mut [0; 64]).is_ok())
    };
    assert!((0..10).any(|_| asks().unwrap_or(false)), "the Service answers");
    let server = stack.node().enter(|| UdpSocket::bind(SocketAddr::new(node, port)))??;
    server.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut without = plan.clone();
    without.node_ports.retain(|own| (own.number, own.v6) != (port, v6));
    assert_eq!(stack.apply(&without)?.flows_forgotten, 1);
    asks()?;
    server
        .recv(&mut [0; 64])
        .map_err(|error| format!("the port's new owner heard nothing: {error}"))?;
    drop(server);
    assert_eq!(stack.apply(&plan)?.flows_forgotten, 1);
    assert!((0..10).any(|_| asks().unwrap_or(false)), "the Service answers again");
    Ok(())
}
