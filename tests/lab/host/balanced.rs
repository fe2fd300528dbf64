//! Load balancers' addresses, which the node's stack leads to the switch by address and port.
//!
//! The uplink has them too, as an API server that is reached by the address of a Service would be.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use lockgate_control::attach::{routes_told, rules_told};
use lockgate_control::host::{self, HostPlan};
use lockgate_control::services::{BalancedPort, PortByNode};
use lockgate_tests::lab::probe::Seen;
use lockgate_tests::lab::{LabError, Namespace};

use super::super::Outcome;
use super::super::fixture::NODE;
use super::ip;
use super::services::{BULK, echoes};
use super::world::{NODE_OTHER, NODE_V6, SECOND, SECOND_V6, Stack, WHO};

/// The address, of either family.
pub(super) const BALANCED: [&str; 2] = ["203.0.113.80", "2001:db8:80::1"];
/// Another, of a Service that wants to know who calls, and is served in the node's own network.
const BALANCED_OWN: [&str; 2] = ["203.0.113.82", "2001:db8:82::1"];
/// A port of it that is a Service's, of TCP, and one of UDP.
const ASKED: u16 = 80;
const ECHO: u16 = 53;
/// A port of UDP at whose pod nobody listens.
const DEAF: u16 = 5999;
/// A port that nobody serves.
pub(super) const NOBODYS: u16 = 81;

/// TCP is for a pod here but what carries much, UDP for one of the second node but what nobody hears.
pub(super) fn manifests() -> String {
    let mut text = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: balanced, namespace: demo}}
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: false
  clusterIPs: [10.96.7.9, 'fd96:7::9']
  ports:
  - {{name: who, port: {ASKED}}}
  - {{name: echo, port: {ECHO}, protocol: UDP}}
  - {{name: deaf, port: {DEAF}, protocol: UDP}}
  - {{name: bulk, port: {BULK}}}
  - {{name: nobodys, port: {NOBODYS}}}
status: {{loadBalancer: {{ingress: [{{ip: '{}'}}, {{ip: '{}'}}]}}}}
",
        BALANCED[0], BALANCED[1]
    );
    for (family, here, second) in
        [("IPv4", "10.77.0.3", "10.77.1.5"), ("IPv6", "fd00:77::3", "fd00:77:1::5")]
    {
        for (what, address, node, port, protocol) in [
            ("who", here, "here", WHO, "TCP"),
            ("echo", second, "second", ECHO, "UDP"),
            ("deaf", here, "here", DEAF, "UDP"),
            ("bulk", second, "second", BULK, "TCP"),
        ] {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: balanced-{what}-{}
  namespace: demo
  labels: {{kubernetes.io/service-name: balanced}}
addressType: {family}
endpoints: [{{addresses: ['{address}'], nodeName: {node}}}]
ports: [{{name: {what}, port: {port}, protocol: {protocol}}}]
",
                family.to_lowercase()
            );
        }
    }
    text + &manifests_of_own()
}

/// It lets in the second node alone.
fn manifests_of_own() -> String {
    let [v4, v6] = BALANCED_OWN;
    let mut text = format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: balanced-own, namespace: demo}}
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: false
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [{SECOND}/32, '{SECOND_V6}/128']
  clusterIPs: [10.96.7.10, 'fd96:7::10']
  ports: [{{name: who, port: {ASKED}}}]
status: {{loadBalancer: {{ingress: [{{ip: '{v4}'}}, {{ip: '{v6}'}}]}}}}
"
    );
    for (family, address) in [("IPv4", NODE), ("IPv6", NODE_V6)] {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: balanced-own-{}
  namespace: demo
  labels: {{kubernetes.io/service-name: balanced-own}}
addressType: {family}
endpoints: [{{addresses: ['{address}'], nodeName: here}}]
ports: [{{name: who, port: {WHO}}}]
",
            family.to_lowercase()
        );
    }
    text
}

/// The plan of the node with the address that is served in its own network.
fn plan_of_own(stack: &Stack) -> Result<HostPlan, LabError> {
    let mut plan = stack.plan(true)?;
    let ports =
        BALANCED_OWN.map(|text| BalancedPort { address: ip(text), protocol: 6, port: ASKED });
    assert_eq!(plan.lead_balanced(ports.to_vec()), []);
    for (at, to, from) in [(0, NODE, SECOND), (1, NODE_V6, SECOND_V6)] {
        plan.by_node.push(PortByNode {
            address: Some(ip(BALANCED_OWN[at])),
            protocol: 6,
            port: ASKED,
            sources: Some(vec![IpNet::from(ip(from))]),
            to: SocketAddr::new(ip(to), WHO),
        });
    }
    Ok(plan)
}

pub(super) fn own_network(stack: &Stack, v6: bool) -> Outcome {
    let plan = plan_of_own(stack)?;
    stack.apply(&plan)?;
    let again = stack.apply(&plan)?;
    assert!(!again.is_any(), "{again:?}");
    let at = usize::from(v6);
    let balanced = ip(BALANCED_OWN[at]);
    let who = |from: &Namespace| stack.who_is(from, None, &balanced, ASKED);
    assert_eq!(who(&stack.second())?, ip([SECOND, SECOND_V6][at]), "whom it lets in");
    let route =
        ["ip route add 203.0.113.82 via 172.31.7.1", "ip route add 2001:db8:82::1 via fd31:7::1"];
    super::shell(&stack.uplink(), route[at])?;
    assert!(who(&stack.uplink()).is_err(), "whom it does not let in");
    let by_node = plan.by_node.into_iter().map(|own| PortByNode { sources: None, ..own }).collect();
    let open = HostPlan { by_node, ..plan };
    stack.apply(&open)?;
    who(&stack.uplink()).map(drop)?;
    Ok(())
}

/// The plan of the node with these addresses.
fn plan(stack: &Stack) -> Result<HostPlan, LabError> {
    plan_of(stack, &[(6, ASKED), (17, ECHO), (17, DEAF)])
}

/// The same where these are the ports of load balancers' addresses.
pub(super) fn plan_of(stack: &Stack, ports: &[(u8, u16)]) -> Result<HostPlan, LabError> {
    let mut plan = stack.plan(true)?;
    let all = BALANCED.iter().flat_map(|text| {
        let own = move |&(protocol, port)| BalancedPort { address: ip(text), protocol, port };
        ports.iter().map(own)
    });
    assert_eq!(plan.lead_balanced(all.collect()), []);
    Ok(plan)
}

pub(super) fn ports(stack: &Stack, v6: bool) -> Outcome {
    stack.apply(&stack.plan(true)?)?;
    for address in [format!("{} dev lo", BALANCED[0]), format!("{} dev lo nodad", BALANCED[1])] {
        super::shell(&stack.uplink(), &format!("ip addr replace {address}"))?;
    }
    let either = |v4: &str, of_v6: &str| ip(if v6 { of_v6 } else { v4 });
    let balanced = either(BALANCED[0], BALANCED[1]);
    let (node, second) = (either(NODE, NODE_V6), either(SECOND, SECOND_V6));
    let client = stack.pod("demo/client")?;
    let who = |from: &Namespace, port| stack.who_is(from, None, &balanced, port);
    let before = who(&stack.node(), ASKED);
    assert!(before.is_err(), "nobody leads it to the switch, and the uplink has no such port");
    stack.apply(&plan(stack)?)?;
    // Where the Service is asked.
    assert_eq!(who(&stack.node(), ASKED)?, node, "from the node");
    assert_eq!(who(&stack.second(), ASKED)?, second, "from outside");
    assert_eq!(who(&client, ASKED)?, stack.address("demo/client", v6)?, "from a pod");
    let echo = |from: Namespace, source: IpAddr, port| echoes(from, source, balanced, port);
    assert_eq!(echo(stack.node(), either(NODE_OTHER, "fd31:8::1"), ECHO)?, Seen::Answered);
    assert_eq!(echo(stack.second(), second, ECHO)?, Seen::Answered);
    // An error bears the address and no port.
    assert_eq!(echo(stack.second(), second, DEAF)?, Seen::Refused, "from outside");
    // And where it is not: who had it before has it still, for the node and for what pods send there.
    assert_eq!(who(&stack.node(), WHO)?, node, "another port, from the node");
    assert_eq!(who(&client, WHO)?, node, "another port, from a pod");
    assert!(
        who(&stack.second(), WHO).is_err(),
        "another port, from outside: it is the switch's here"
    );
    Ok(())
}

pub(super) fn kept() -> Outcome {
    let stack = Stack::build()?;
    let plan = plan(&stack)?;
    let bare = ways(&stack)?;
    stack.apply(&stack.plan(true)?)?;
    let without = ways(&stack)?;
    let first = stack.apply(&plan)?;
    // Of each family: two rules, one for each port, and one for errors.
    assert_eq!(first.rules, 12, "{first:?}");
    assert_eq!(first.routes_set.len(), 8, "each address in a table of all and one of each port");
    let with = ways(&stack)?;
    for fault in [
        "ip rule del priority 7600",
        "ip -6 rule del priority 7601",
        "ip rule del priority 7602 ipproto udp dport 53",
        "ip rule add priority 7602 ipproto udp dport 55 lookup 76 protocol 76",
        "ip rule add priority 7000 fwmark 1 lookup main protocol 76",
        "ip route flush table 1275068416",
        "ip -6 route add 2001:db8:81::1 via fe80::1 dev lg-far table 1275068416 proto 76",
    ] {
        stack.sh(fault)?;
        assert!(stack.apply(&plan)?.is_any(), "{fault}: nothing was mended");
        let again = stack.apply(&plan)?;
        assert!(!again.is_any(), "{fault}: {again:?}");
        assert_eq!(ways(&stack)?, with, "{fault}");
    }
    let gone = stack.apply(&stack.plan(true)?)?;
    assert_eq!((gone.rules, gone.routes_removed.len()), (12, 8), "{gone:?}");
    assert_eq!(ways(&stack)?, without);
    stack.apply(&plan)?;
    assert_eq!(stack.remove()?.rules, 12);
    assert_eq!(ways(&stack)?, bare);
    Ok(())
}

pub(super) fn told() -> Outcome {
    let stack = Stack::build()?;
    stack.apply(&plan(&stack)?)?;
    for (v6, address) in [(false, BALANCED[0]), (true, BALANCED[1])] {
        let family = if v6 { "-6" } else { "-4" };
        let shown = |what: &str| stack.show(&format!("ip {family} {what}"));
        let rules = stack.node().enter(|| rules_told(v6, usize::MAX))??;
        assert_eq!(rules.lines().count(), shown("rule")?.lines().count(), "{rules}");
        let port = format!(" dport {ASKED} ");
        // A kernel tells what it knows in an order of its own.
        for ours in [
            &["7600:", " proto 76", " iif lg-far", " goto 7602"][..],
            &["7601: not", " proto 76", " iif lo", " lookup 1275068416"],
            &["7602:", " proto 76", " ipproto 6", &port, " lookup 1275461712"],
        ] {
            let is_told = |line: &str| ours.iter().all(|word| line.contains(word));
            assert!(rules.lines().any(is_told), "{ours:?}: {rules}");
        }
        let routes = stack.node().enter(|| routes_told(v6, usize::MAX))??;
        let all = shown("route show table all")?;
        assert_eq!(routes.lines().count(), all.lines().count(), "{routes}\n{all}");
        for table in [1_275_068_416, 1_275_461_712] {
            let ours = format!("table {table} Unicast {address}/{}", if v6 { 128 } else { 32 });
            assert!(routes.contains(&ours), "{ours}: {routes}");
        }
    }
    let table = stack.node().enter(host::described)??;
    let hex = |bytes: &[u8]| {
        let octets: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        octets.concat()
    };
    let (octets, counter) = (hex(&[172, 31, 7, 1]), hex(b"counter"));
    assert!(table.lines().any(|line| line.starts_with("rule ") && line.contains(&counter)));
    assert!(table.lines().any(|line| line.starts_with("elements ") && line.contains(&octets)));
    Ok(())
}

/// Every rule, and every route of ours; in no order, for rules of one priority have none.
fn ways(stack: &Stack) -> Result<Vec<String>, LabError> {
    let told = stack.show(
        "for family in -4 -6; do
        ip $family rule; ip $family route show table all proto 76; done",
    )?;
    let mut lines: Vec<String> = told.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}
