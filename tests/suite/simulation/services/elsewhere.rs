//! What comes in by the host port for a Service: to backends of this node with its source, and out
//! again to those elsewhere as the switch itself, so that the answer comes back.

use std::net::IpAddr;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_dataplane::packet::{Kind, Packet, parse};
use lockgate_tests::packets::{self, Ends, fragments, has_right_checksums, joined, unfinished};
use lockgate_tests::world::{HOST, World};

use super::super::{ack, dropped, syn, syn_ack};
use super::{A, B, NODES, answer_to, ip, key_of, sent, start, to};

const CLIENT: &str = "198.51.100.1";
const CLIENT_V6: &str = "2001:db8::1";

/// From outside to an address.
pub(super) fn outside(world: &World, target: &str) -> Ends {
    let target = ip(target);
    let source = ip(if target.is_ipv6() { CLIENT_V6 } else { CLIENT });
    Ends { source_mac: world.mac(HOST), target_mac: GATEWAY_MAC, source, target }
}

/// Injects on a queue of the host port, and gives what leaves by it.
fn again(world: &mut World, queue: u8, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    for frame in frames {
        world.inject_at(HOST, queue, frame).unwrap();
        world.settle();
    }
    world.received(HOST)
}

fn one(world: &mut World, queue: u8, frame: Vec<u8>) -> Vec<u8> {
    let mut arrived = again(world, queue, &[frame]);
    assert_eq!(arrived.len(), 1, "{:?}", world.drops());
    assert!(has_right_checksums(&arrived[0]));
    arrived.remove(0)
}

#[test]
fn what_comes_in_by_the_host_port_keeps_its_source_towards_this_nodes_backends() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let web = outside(&world, "10.96.0.1");
        for port in 20_000..20_020 {
            let (at, arrived) = sent(&mut world, HOST, &syn(web, port, 80));
            let key = key_of(&arrived);
            assert_eq!(IpAddr::from(key.source), web.source, "its source stays");
            let back = answer_to(&world, at, &key);
            let (client, answered) = sent(&mut world, at, &syn_ack(back, 8080, port));
            assert_eq!((client, IpAddr::from(key_of(&answered).source)), (HOST, web.target));
            assert_eq!(key_of(&answered).source_port, 80);
        }
    }
}

#[test]
fn a_backend_elsewhere_is_asked_by_the_switch_and_its_answer_is_the_services() {
    for (workers, is_late) in NODES {
        for target in ["10.96.0.3", "fd96::3"] {
            let mut world = start(workers, is_late);
            let far = outside(&world, target);
            let mut seen = std::collections::BTreeSet::new();
            for (port, queues) in (20_000..20_024).zip(queues(workers)) {
                conversation(&mut world, far, port, queues, &mut seen);
            }
            assert_eq!(seen.len(), 24, "two clients look alike to the backend");
        }
    }
}

/// Each queue for what goes there with each for what comes back.
fn queues(workers: u8) -> impl Iterator<Item = (u8, u8)> {
    (0..workers).flat_map(move |there| (0..workers).map(move |back| (there, back))).cycle()
}

fn conversation(
    world: &mut World,
    far: Ends,
    port: u16,
    (there, back): (u8, u8),
    seen: &mut std::collections::BTreeSet<u16>,
) {
    let asked = key_of(&one(world, there, unfinished(syn(far, port, 80))));
    let own = if far.target.is_ipv6() { "fd4c:6f63:6b67::3" } else { "169.254.1.3" };
    let backend = if far.target.is_ipv6() { "fd09::1" } else { "10.9.0.1" };
    assert_eq!(IpAddr::from(asked.source), ip(own));
    assert_eq!((IpAddr::from(asked.target), asked.target_port), (ip(backend), 8080));
    seen.insert(asked.source_port);
    let answer = answer_to(world, HOST, &asked);
    let reply = unfinished(syn_ack(answer, 8080, asked.source_port));
    let heard = key_of(&one(world, back, reply));
    assert_eq!((IpAddr::from(heard.source), heard.source_port), (far.target, 80));
    assert_eq!((IpAddr::from(heard.target), heard.target_port), (far.source, port));
    let on = key_of(&one(world, there, ack(far, port, 80)));
    assert_eq!(on, asked, "a connection has one backend");
}

/// Pods that have no port for a minute are taken to be gone, and the node is no pod.
#[test]
fn what_the_node_asks_elsewhere_outlives_the_grace_of_pods() {
    let mut world = start(2, false);
    let far = outside(&world, "10.96.0.3");
    let asked = key_of(&one(&mut world, 0, packets::udp(far, (5000, 53), b"who?")));
    let answer = answer_to(&world, HOST, &asked);
    for _ in 0..10 {
        world.advance_ms(20_000);
        let reply = packets::udp(answer, (5353, asked.source_port), b"them");
        let heard = key_of(&one(&mut world, 1, reply));
        assert_eq!((IpAddr::from(heard.target), heard.target_port), (far.source, 5000));
        let again = one(&mut world, 0, packets::udp(far, (5000, 53), b"who?"));
        assert_eq!(key_of(&again), asked);
    }
}

#[test]
fn two_clients_of_one_port_are_two_to_the_backend() {
    let mut world = start(2, false);
    let far = outside(&world, "10.96.0.3");
    let other = Ends { source: ip("198.51.100.2"), ..far };
    let first = key_of(&one(&mut world, 0, syn(far, 20_000, 80)));
    let second = key_of(&one(&mut world, 0, syn(other, 20_000, 80)));
    let third = key_of(&one(&mut world, 1, syn(other, 20_001, 80)));
    assert_eq!(first.target, second.target);
    assert!(first.source_port != second.source_port && second.source_port != third.source_port);
}

#[test]
fn a_datagram_in_pieces_goes_elsewhere_and_its_answer_comes_back_to_any_worker() {
    for (workers, is_late) in NODES {
        for (target, (there, back)) in ["10.96.0.3", "fd96::3"].into_iter().flat_map(|target| {
            queues(workers).take(usize::from(workers).pow(2)).map(move |queues| (target, queues))
        }) {
            let mut world = start(workers, is_late);
            let far = outside(&world, target);
            let payload = [7; 4000];
            let parts = fragments(&packets::udp(far, (5000, 53), &payload), 7, 1400);
            let arrived = again(&mut world, there, &parts);
            assert_eq!(arrived.len(), parts.len(), "{:?}", world.drops());
            let key = key_of(&arrived[0]);
            assert_eq!(key.target_port, 5353);
            let answer = answer_to(&world, HOST, &key);
            let whole = packets::udp(answer, (5353, key.source_port), &payload);
            let mut parts = fragments(&whole, 8, 1400);
            parts.rotate_left(1);
            let heard = again(&mut world, back, &parts);
            assert_eq!(heard.len(), parts.len(), "{target} {there} {back} {:?}", world.drops());
            assert_eq!(IpAddr::from(key_of(&heard[0]).source), far.target);
            let at = if far.source.is_ipv6() { 54 } else { 34 };
            let wanted = packets::udp(far.reversed(), (53, 5000), &payload).split_off(at);
            assert_eq!(joined(&heard), Some(wanted));
        }
    }
}

#[test]
fn an_error_about_what_the_switch_asked_is_told_to_the_client_as_about_what_it_wrote() {
    for (workers, is_late) in NODES {
        for back in 0..workers {
            let mut world = start(workers, is_late);
            let far = outside(&world, "10.96.0.3");
            let asked = one(&mut world, 0, packets::udp(far, (5000, 53), b"hello"));
            let router =
                Ends { source: ip("192.0.2.99"), ..answer_to(&world, HOST, &key_of(&asked)) };
            let told = one(&mut world, back, packets::icmp_error(router, 3, 4, &asked));
            let Ok(Packet::Ip(headers)) = parse(&told) else { panic!() };
            assert_eq!(IpAddr::from(headers.key.source), far.target, "as conntrack has it");
            assert_eq!(IpAddr::from(headers.key.target), far.source);
            let Kind::IcmpError { inner } = headers.kind else { panic!() };
            assert_eq!((IpAddr::from(inner.target), inner.target_port), (far.target, 53));
            assert_eq!((IpAddr::from(inner.source), inner.source_port), (far.source, 5000));
        }
    }
}

#[test]
fn nobody_reaches_anybody_by_the_address_as_which_the_switch_asks() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let own = outside(&world, "169.254.1.3");
        for port in [80, 20_000, 20_001] {
            let frame = syn(own, 20_000, port);
            assert_eq!(dropped(&mut world, HOST, B, &frame), DropReason::NotForUs);
            let frame = ack(own, 20_000, port);
            assert_eq!(dropped(&mut world, HOST, B, &frame), DropReason::NoConnection);
        }
        assert_eq!(world.connections(), 0);
    }
}

/// A Service with a node port, of pod b and of one elsewhere.
const NODE_PORT: &str = "apiVersion: v1
kind: Service
metadata: {name: np}
spec: {type: NodePort, clusterIP: 10.96.0.20, externalTrafficPolicy: Cluster, ports: [{port: 80, nodePort: 30080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: np, labels: {kubernetes.io/service-name: np}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.2], nodeName: here}, {addresses: [10.9.0.1], nodeName: there}]
ports: [{port: 8080}]
";

#[test]
fn a_node_port_leads_to_any_backend_or_from_beyond_to_this_nodes_alone() {
    let node = "192.168.0.1";
    for policy in ["Cluster", "Local"] {
        let mut world = start(2, false);
        world.set_file(
            "np.yaml",
            &NODE_PORT.replace("Policy: Cluster", &format!("Policy: {policy}")),
        );
        let beyond = outside(&world, "169.254.1.2");
        let own = Ends { source: ip(node), ..beyond };
        let mut here = [0, 0];
        for port in 20_000..20_040 {
            for (ends, here) in [beyond, own].into_iter().zip(&mut here) {
                let (at, arrived) = sent(&mut world, HOST, &syn(ends, port, 30_080));
                *here += u32::from(at == B);
                let back = answer_to(&world, at, &key_of(&arrived));
                let reply = syn_ack(back, 8080, key_of(&arrived).source_port);
                let (_, heard) = sent(&mut world, at, &reply);
                assert_eq!(IpAddr::from(key_of(&heard).source), beyond.target);
                assert_eq!(key_of(&heard).source_port, 30_080);
            }
        }
        let all = if policy == "Local" { 40 } else { here[0].min(39) };
        assert_eq!(here[0], all, "{policy}: from beyond");
        assert!((5..35).contains(&here[1]), "{policy}: from the node {here:?}");
    }
}

/// Pod a asks its own node: the Service answers as the node, and policy judges pod a.
#[test]
fn a_pod_that_asks_a_node_port_of_its_node_is_translated_where_it_sends() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        world.set_file(
            "np.yaml",
            &NODE_PORT.replace(", {addresses: [10.9.0.1], nodeName: there}", ""),
        );
        let node = to(&world, "192.168.0.1");
        let (at, arrived) = sent(&mut world, A, &syn(node, 40_000, 30_080));
        let key = key_of(&arrived);
        assert_eq!((at, IpAddr::from(key.source), key.target_port), (B, node.source, 8080));
        let back = answer_to(&world, at, &key);
        let (client, heard) = sent(&mut world, at, &syn_ack(back, 8080, 40_000));
        assert_eq!((client, IpAddr::from(key_of(&heard).source)), (A, node.target));
        assert_eq!(key_of(&heard).source_port, 30_080);
        // Any other port is the node's own.
        let (at, arrived) = sent(&mut world, A, &syn(node, 40_001, 30_081));
        assert_eq!((at, key_of(&arrived).target_port), (HOST, 30_081));
        let shut = NODE_PORT
            .replace("10.0.0.2", "10.0.0.5")
            .replace(", {addresses: [10.9.0.1], nodeName: there}", "");
        world.set_file("np.yaml", &shut);
        let frame = syn(node, 40_002, 30_080);
        assert_eq!(dropped(&mut world, A, "default/shut", &frame), DropReason::IngressDenied);
    }
}

/// Pods at ports of their node, as the pods that call them there see it: policy judges the two pods,
/// and the node answers.
#[test]
fn a_pod_reaches_another_at_a_port_of_their_node() {
    let hosting = |name: &str, last: u8, interface: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}, \
             annotations: {{lockgate.dev/interface: {interface}}}}}\nspec: {{containers: [{{name: c, \
             image: i, ports: [{{containerPort: 8080, hostPort: 9090}}]}}]}}\nstatus: {{podIPs: [{{ip: \
             10.0.0.{last}}}]}}\n"
        )
    };
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let node = to(&world, "192.168.0.1");
        // Nobody is there: the node itself answers.
        assert_eq!(sent(&mut world, A, &syn(node, 40_000, 9090)).0, HOST);
        world.set_file("hosting.yaml", &hosting("d", 9, "veth-d"));
        let (at, arrived) = sent_to(&mut world, "default/d", A, &syn(node, 40_001, 9090));
        let key = key_of(&arrived);
        assert_eq!((at, IpAddr::from(key.source), key.target_port), (true, node.source, 8080));
        let back = answer_to(&world, "default/d", &key);
        let (client, heard) = sent(&mut world, "default/d", &syn_ack(back, 8080, 40_001));
        assert_eq!((client, IpAddr::from(key_of(&heard).source)), (A, node.target));
        assert_eq!(key_of(&heard).source_port, 9090);
        // What is for others is none of the pod's.
        let others = to(&world, "203.0.113.9");
        let (at, arrived) = sent(&mut world, A, &syn(others, 40_004, 9090));
        assert_eq!((at, key_of(&arrived).target_port), (HOST, 9090));
        // Itself too, which hears the switch; and who is shut is shut there.
        let own = Ends { source: ip("10.0.0.9"), source_mac: world.mac("default/d"), ..node };
        let (at, arrived) = sent_to(&mut world, "default/d", "default/d", &syn(own, 40_002, 9090));
        assert_eq!((at, IpAddr::from(key_of(&arrived).source)), (true, ip("169.254.1.1")));
        let policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: \
                      d}\nspec: {podSelector: {matchLabels: {app: d}}}\n";
        world.set_file("hosting.yaml", &(hosting("d", 9, "veth-d") + policy));
        let frame = syn(node, 40_003, 9090);
        assert_eq!(dropped(&mut world, A, "default/d", &frame), DropReason::IngressDenied);
    }
}

/// Injects a frame, and gives whether it arrived at this pod, and how.
fn sent_to(world: &mut World, pod: &str, from: &str, frame: &[u8]) -> (bool, Vec<u8>) {
    world.inject(from, frame).unwrap();
    world.settle();
    let mut arrived = world.received(pod);
    (arrived.len() == 1, arrived.pop().unwrap_or_default())
}

#[test]
fn a_datagram_in_pieces_to_a_node_port_of_a_pods_own_node_arrives_whole() {
    for (workers, is_late) in NODES {
        let mut world = start(workers, is_late);
        let udp = NODE_PORT.replace(", {addresses: [10.9.0.1], nodeName: there}", "");
        let udp =
            udp.replace("port: 80, nodePort: 30080", "port: 53, nodePort: 30053, protocol: UDP");
        world.set_file("np.yaml", &udp.replace("{port: 8080}", "{port: 5353, protocol: UDP}"));
        let node = to(&world, "192.168.0.1");
        let payload = [7; 4000];
        let mut parts = fragments(&packets::udp(node, (5000, 30_053), &payload), 7, 1400);
        parts.rotate_left(1);
        for frame in &parts {
            world.inject(A, frame).unwrap();
            world.settle();
        }
        let arrived = world.received(B);
        assert_eq!(arrived.len(), parts.len(), "{:?}", world.drops());
        assert_eq!(key_of(&arrived[0]).target_port, 5353);
    }
}
