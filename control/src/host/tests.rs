use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::attach::InterfaceName;
use crate::services::{BalancedPort, NodePort};

const PEER: u32 = 7;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn node(cidrs: &[&str], addresses: &[&str]) -> NodeNets {
    NodeNets {
        pod_cidrs: cidrs.iter().map(|text| net(text)).collect(),
        addresses: addresses.iter().map(|text| address(text)).collect(),
    }
}

fn own() -> NodeNets {
    node(&["10.42.1.0/24", "fd42:1::/64"], &["198.51.100.1", "172.31.0.1", "fd31::1"])
}

pub(super) fn plan() -> HostPlan {
    let other = node(&["10.42.0.0/24", "fd42:2::/64"], &["172.31.0.2", "fd31::2"]);
    let services = [net("10.96.0.0/12")];
    let peer = InterfaceName::new("lg-far").unwrap();
    HostPlan::new(peer, &own(), [&own(), &other], &services, true).unwrap()
}

pub(super) fn here() -> Vec<IpAddr> {
    ["127.0.0.1", "172.31.0.1", "fd31::1"].map(address).to_vec()
}

fn route(destination: &str, gateway: &str, source: &str) -> Route {
    Route {
        destination: net(destination),
        gateway: gateway.parse().ok(),
        interface: PEER,
        source: source.parse().ok(),
        protocol: PROTOCOL,
        table: MAIN_TABLE,
    }
}

#[test]
fn the_networks_of_all_nodes_are_joined_and_each_address_is_there_once() {
    let plan = plan();
    assert_eq!(
        plan.cluster_pod_cidrs,
        [net("10.42.0.0/23"), net("fd42:1::/64"), net("fd42:2::/64")]
    );
    assert_eq!(plan.all_node_addresses.len(), 5);
    assert_eq!(plan.node_addresses, own().addresses, "in the Node's order");
}

#[test]
fn pods_and_services_are_routed_and_the_source_is_an_address_that_is_here() {
    let wanted = [
        route("169.254.1.1/32", "", "172.31.0.1"),
        route("10.42.1.0/24", "169.254.1.1", "172.31.0.1"),
        route("10.96.0.0/12", "169.254.1.1", "172.31.0.1"),
        route("169.254.1.2/32", "169.254.1.1", "172.31.0.1"),
        route("169.254.1.3/32", "169.254.1.1", "172.31.0.1"),
        route("fd42:1::/64", "fe80::1", "fd31::1"),
        route("fd4c:6f63:6b67::2/128", "fe80::1", "fd31::1"),
        route("fd4c:6f63:6b67::3/128", "fe80::1", "fd31::1"),
    ];
    assert_eq!(plan().routes(PEER, &here()), wanted);
}

#[test]
fn a_node_without_addresses_of_a_family_has_routes_without_a_source() {
    let own = node(&["fd42:1::/64"], &["172.31.0.1"]);
    let peer = InterfaceName::new("lg-far").unwrap();
    let plan = HostPlan::new(peer, &own, [], &[], true).unwrap();
    let wanted = ["fd42:1::/64", "fd4c:6f63:6b67::2/128", "fd4c:6f63:6b67::3/128"];
    assert_eq!(plan.routes(PEER, &here()), wanted.map(|net| route(net, "fe80::1", "")));
    assert!(has_source(&plan, Family::V6, &here()).is_ok());
}

#[test]
fn a_node_whose_addresses_are_nowhere_here_is_told_so() {
    let error = has_source(&plan(), Family::V4, &[address("10.0.0.9")]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("198.51.100.1, 172.31.0.1"), "{text}");
    assert!(text.contains("status.addresses"), "{text}");
}

#[test]
fn a_network_that_would_lead_the_node_astray_is_refused() {
    let peer = || InterfaceName::new("lg-far").unwrap();
    let refused = |own: &NodeNets, services: &[IpNet]| {
        HostPlan::new(peer(), own, [&node(&[], &["172.31.0.2"])], services, true)
            .unwrap_err()
            .to_string()
    };
    // Told as what it is, and not as whichever address of the node is found in it first.
    for (cidrs, all) in [
        (&["0.0.0.0/0"][..], "0.0.0.0/0"),
        (&["::/0"], "::/0"),
        (&["0.0.0.0/1", "128.0.0.0/1"], "0.0.0.0/0"),
    ] {
        let pods = refused(&node(cidrs, &[]), &[]);
        assert!(pods.starts_with(&format!("the pod network {all} holds every address")), "{pods}");
        let nets: Vec<IpNet> = cidrs.iter().map(|text| net(text)).collect();
        let text = refused(&own(), &nets);
        let said = format!("the service network {all} holds every address");
        assert!(text.starts_with(&said) && text.contains("give a longer prefix"), "{text}");
    }
    let nodes = refused(&own(), &[net("172.16.0.0/12")]);
    assert!(nodes.contains("the service network 172.16.0.0/12 holds 172.31.0."), "{nodes}");
    for cidr in ["169.254.0.0/16", "fe80::/10", "127.0.0.0/8", "169.254.1.3/32", "fd4c::/16"] {
        let text = refused(&node(&[cidr], &[]), &[]);
        assert!(text.contains(cidr), "{text}");
    }
}

#[test]
fn routes_that_are_as_wanted_need_no_step_and_those_of_others_are_left() {
    let wanted = plan().routes(PEER, &here());
    let mut found = wanted.clone();
    found.push(Route { protocol: 3, ..route("0.0.0.0/0", "172.31.0.254", "") });
    assert_eq!(routes::steps(&wanted, &found), routes::Steps::default());
    let all_ours = routes::steps(&[], &found);
    assert_eq!(all_ours.remove, wanted);
}

#[test]
fn a_route_that_is_gone_or_other_is_set_and_one_too_many_is_removed() {
    let wanted = plan().routes(PEER, &here());
    let stale = route("10.43.0.0/24", "169.254.1.1", "");
    let other = Route { source: None, ..wanted[1].clone() };
    let found = [&[wanted[0].clone(), other, stale.clone()], &wanted[3..]].concat();
    let steps = routes::steps(&wanted, &found);
    assert_eq!(steps.remove, [stale]);
    assert_eq!(steps.set, wanted[1..3]);
}

#[test]
fn a_route_of_somebody_else_to_our_pods_is_named_and_holds_up_no_other() {
    let wanted = plan().routes(PEER, &here());
    let theirs = Route { protocol: 12, interface: 3, ..route("10.42.1.0/24", "172.31.0.9", "") };
    let steps = routes::steps(&wanted, std::slice::from_ref(&theirs));
    let told: Vec<String> = steps.taken.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("10.42.1.0/24 via 172.31.0.9 on interface number 3"), "{told:?}");
    assert_eq!(steps.set.len(), wanted.len() - 1);
    assert!(steps.set.iter().all(|route| route.destination != theirs.destination));
    // In a table of ours nobody else's counts.
    let own = Route { table: 76, ..wanted[1].clone() };
    assert_eq!(routes::steps(std::slice::from_ref(&own), &[theirs]).set, [own]);
}

#[test]
fn a_load_balancers_address_that_is_not_the_switchs_to_take_holds_up_no_other() {
    let mut plan = plan();
    let of = |text: &str, port| BalancedPort { address: address(text), protocol: 6, port };
    let ports = [("169.254.1.2", 80), ("169.254.1.2", 443), ("172.31.0.2", 80), ("192.0.2.1", 80)];
    let refused = plan.lead_balanced(ports.map(|(text, port)| of(text, port)).to_vec());
    let told: Vec<String> = refused.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("the load balancer's address 169.254.1.2/32"), "{told:?}");
    assert!(told[1].contains("172.31.0.2, which is a node's"), "{told:?}");
    assert_eq!(plan.balanced, [of("192.0.2.1", 80)]);
}

#[test]
fn a_plan_without_pods_has_no_table_and_one_without_masquerade_keeps_the_node_known() {
    let names = |plan: &HostPlan| {
        let table = table::wanted(plan, &here())?;
        Some(table.sets.into_iter().map(|set| set.name).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        names(&plan()).as_deref(),
        Some("node4 own4 pods4 inside4 node6 own6 pods6 inside6")
    );
    let mut plan = plan();
    plan.masquerade = false;
    assert_eq!(names(&plan).as_deref(), Some("node4 own4 node6 own6"));
    (plan.pod_cidrs, plan.service_cidrs) = (vec![], vec![]);
    assert_eq!(names(&plan), None);
}

#[test]
fn node_ports_of_a_family_are_in_its_sets_and_those_that_keep_the_source_in_another() {
    let mut plan = plan();
    plan.masquerade = false;
    let port = |number, v6, keeps_source| NodePort { protocol: 6, number, v6, keeps_source };
    plan.node_ports = vec![port(30_001, false, false), port(30_002, false, true)];
    let table = table::wanted(&plan, &here()).unwrap();
    let names: Vec<_> = table.sets.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["ports4", "loopback4", "pods4", "kept4", "node4", "own4", "node6", "own6"]);
    let chains: Vec<_> = table.chains.iter().map(|chain| (chain.name, chain.rules.len())).collect();
    assert_eq!(
        chains,
        [("prerouting", 1), ("input", 2), ("forward", 6), ("output", 1), ("postrouting", 5)]
    );
    plan.node_ports = vec![port(30_001, true, false)];
    let table = table::wanted(&plan, &here()).unwrap();
    assert!(table.sets.iter().all(|set| set.name != "ports4" && !set.name.starts_with("kept")));
    assert!(table.sets.iter().any(|set| set.name == "ports6"));
}

proptest! {
    /// Small numbers on purpose, so that networks touch and overlap.
    #[test]
    fn joined_networks_hold_the_same_addresses(
        nets in prop::collection::vec((0..64_u8, 26..=32_u8), 0..8),
        asked in 0..64_u8,
    ) {
        let at = |last: u8| IpAddr::from([10, 0, 0, last]);
        let nets: Vec<IpNet> =
            nets.into_iter().map(|(last, bits)| IpNet::new(at(last), bits).unwrap()).collect();
        let own = NodeNets { pod_cidrs: nets.clone(), addresses: vec![] };
        let peer = InterfaceName::new("lg-far").unwrap();
        let plan = HostPlan::new(peer, &own, [], &[], true).unwrap();
        let holds = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&at(asked)));
        prop_assert_eq!(holds(&plan.cluster_pod_cidrs), holds(&nets));
        prop_assert!(plan.cluster_pod_cidrs.is_sorted());
    }
}

#[test]
fn attached_pods_whose_network_the_node_lost_keep_a_route_of_their_own() {
    let mut plan = plan();
    let attached = ["10.42.1.7", "10.41.0.7", "fd41::7", "10.41.0.7", "172.31.0.2", "10.96.0.9"];
    plan.keep_attached(attached.map(address));
    // Neither one that has a way already, nor a node's, nor a Service's.
    assert_eq!(plan.strays, [net("10.41.0.7/32"), net("fd41::7/128")]);
    plan.check().unwrap();
    let routes = plan.routes(PEER, &here());
    assert!(routes.contains(&route("10.41.0.7/32", "169.254.1.1", "172.31.0.1")), "{routes:?}");
    assert!(routes.contains(&route("fd41::7/128", "fe80::1", "fd31::1")), "{routes:?}");
    let table = table::wanted(&plan, &here()).unwrap();
    for name in ["pods4", "inside4", "pods6", "inside6"] {
        let before = table::wanted(&self::plan(), &here()).unwrap();
        let set = |table: &Table| table.sets.iter().find(|set| set.name == name).cloned();
        assert_ne!(set(&table), set(&before), "{name}");
    }
    // What the node begins reaches them though it has no network for pods at all.
    (plan.pod_cidrs, plan.service_cidrs) = (vec![], vec![]);
    let routes = plan.routes(PEER, &here());
    assert!(routes.contains(&route("169.254.1.1/32", "", "172.31.0.1")), "{routes:?}");
}
