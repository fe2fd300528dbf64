//! Addresses and node ports that were a Service's: what runs there runs on, as with kube-proxy, and
//! what begins goes where it would go had there never been a Service.

use std::net::IpAddr;

use lockgate_dataplane::counters::DropReason;
use lockgate_tests::packets::{self, Ends};
use lockgate_tests::world::{HOST, World};

use super::super::{ack, dropped, syn, syn_ack};
use super::elsewhere::outside;
use super::{A, B, NODES, answer_to, key_of, sent, start_with, to};

/// Service lb of pod b alone, with everything that it can be asked at.
pub(crate) const LB: &str = "apiVersion: v1
kind: Service
metadata: {name: lb}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.20, \"fd96::20\"]
  ports: [{name: t, port: 80, nodePort: 30080}, {name: u, port: 53, nodePort: 30053, protocol: UDP}, {name: s, port: 9, protocol: SCTP}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.7}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: lb-4, labels: {kubernetes.io/service-name: lb}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.2], nodeName: here}]
ports: [{name: t, port: 8080}, {name: u, port: 5353, protocol: UDP}, {name: s, port: 99, protocol: SCTP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: lb-6, labels: {kubernetes.io/service-name: lb}}
addressType: IPv6
endpoints: [{addresses: [\"fd00::2\"]}]
ports: [{name: t, port: 8080}]
";

/// A node, and what its pods ask while [`LB`] is there.
fn with_lb(workers: u8, is_late: bool) -> World {
    start_with(workers, is_late, "lb.yaml", LB)
}

/// A TCP connection that runs, from pod a or by the host port.
#[derive(Clone, Copy)]
struct Running {
    from: &'static str,
    there: Ends,
    port: u16,
}

impl Running {
    fn open(world: &mut World, from: &'static str, there: Ends, port: u16) -> Self {
        let (at, arrived) = sent(world, from, &syn(there, 40_000, port));
        assert_eq!(at, B);
        let back = answer_to(world, at, &key_of(&arrived));
        sent(world, at, &syn_ack(back, 8080, 40_000));
        let running = Self { from, there, port };
        running.goes_on(world);
        running
    }

    /// A packet there, and one back.
    fn goes_on(self, world: &mut World) {
        let (at, arrived) = sent(world, self.from, &ack(self.there, 40_000, self.port));
        let key = key_of(&arrived);
        assert_eq!((at, IpAddr::from(key.source), key.target_port), (B, self.there.source, 8080));
        let back = answer_to(world, B, &key);
        let (at, arrived) = sent(world, B, &ack(back, 8080, 40_000));
        let key = key_of(&arrived);
        assert_eq!(at, self.from);
        assert_eq!((IpAddr::from(key.source), key.source_port), (self.there.target, self.port));
    }

    /// What a pod begins there goes by as it is, TCP and UDP, and so does what follows it.
    fn new_ones_go_by(self, world: &mut World) {
        let Self { there, port, .. } = self;
        let back = |key| Ends { source_mac: world.mac(HOST), ..answer_to(world, HOST, key) };
        let reply = syn_ack(back(&key_of(&syn(there, 41_000, port))), port, 41_000);
        for frame in [syn(there, 41_000, port), packets::udp(there, (5001, 53), b"x")] {
            let (at, arrived) = sent(world, A, &frame);
            assert_eq!((at, key_of(&arrived)), (HOST, key_of(&frame)));
        }
        let (at, arrived) = sent(world, HOST, &reply);
        assert_eq!((at, key_of(&arrived)), (A, key_of(&reply)));
        let (at, arrived) = sent(world, A, &ack(there, 41_000, port));
        assert_eq!((at, key_of(&arrived).target_port), (HOST, port));
    }
}

#[test]
fn what_runs_goes_on_when_its_service_goes_and_what_begins_goes_by() {
    for (workers, is_late) in NODES {
        for target in ["10.96.0.20", "fd96::20", "203.0.113.7"] {
            let mut world = with_lb(workers, is_late);
            let there = to(&world, target);
            let running = Running::open(&mut world, A, there, 80);
            world.remove_file("lb.yaml");
            running.goes_on(&mut world);
            running.new_ones_go_by(&mut world);
            running.goes_on(&mut world);
        }
    }
}

#[test]
fn what_runs_goes_on_when_one_family_or_the_load_balancers_address_is_taken_away() {
    for (workers, is_late) in NODES {
        for (target, was, is) in [
            ("fd96::20", ", \"fd96::20\"", ""),
            ("203.0.113.7", "{ip: 203.0.113.7}", "{ip: 203.0.113.9}"),
        ] {
            let mut world = with_lb(workers, is_late);
            let there = to(&world, target);
            let running = Running::open(&mut world, A, there, 80);
            world.set_file("lb.yaml", &LB.replace(was, is));
            running.goes_on(&mut world);
            running.new_ones_go_by(&mut world);
        }
    }
}

#[test]
fn what_a_pod_asked_at_a_node_port_of_its_node_goes_on_when_that_changes() {
    for (workers, is_late) in NODES {
        let mut world = with_lb(workers, is_late);
        let node = to(&world, "192.168.0.1");
        let running = Running::open(&mut world, A, node, 30_080);
        world.set_file("lb.yaml", &LB.replace("30080", "30081"));
        running.goes_on(&mut world);
        running.new_ones_go_by(&mut world);
        world.remove_file("lb.yaml");
        running.goes_on(&mut world);
        // It is one again: who begins there is given a backend.
        world.set_file("lb.yaml", LB);
        running.goes_on(&mut world);
        assert_eq!(sent(&mut world, A, &syn(node, 42_000, 30_080)).0, B);
    }
}

#[test]
fn what_came_by_the_host_port_goes_on_and_what_begins_there_has_no_way() {
    for (workers, is_late) in NODES {
        for (target, port) in [("10.96.0.20", 80), ("169.254.1.2", 30_080)] {
            let mut world = with_lb(workers, is_late);
            let there = outside(&world, target);
            let running = Running::open(&mut world, HOST, there, port);
            world.remove_file("lb.yaml");
            running.goes_on(&mut world);
            let udp = packets::udp(there, (5000, 53), b"x");
            for frame in [syn(there, 41_000, port), ack(there, 41_000, port), udp] {
                assert_eq!(dropped(&mut world, HOST, HOST, &frame), DropReason::NoRoute);
            }
            running.goes_on(&mut world);
        }
    }
}

#[test]
fn datagrams_do_not_stay_and_sctp_does() {
    for (workers, is_late) in NODES {
        let mut world = with_lb(workers, is_late);
        let there = to(&world, "10.96.0.20");
        let udp = packets::udp(there, (5000, 53), b"x");
        assert_eq!(sent(&mut world, A, &udp).0, B);
        let init = [0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1];
        let (at, arrived) = sent(&mut world, A, &packets::sctp(there, (6000, 9), 0, 1, &init));
        let back = answer_to(&world, at, &key_of(&arrived));
        sent(&mut world, at, &packets::sctp(back, (99, 6000), 1, 2, &init));
        world.remove_file("lb.yaml");
        let (at, arrived) = sent(&mut world, A, &udp);
        assert_eq!((at, key_of(&arrived)), (HOST, key_of(&udp)));
        let data = packets::sctp(there, (6000, 9), 1, 10, &[0; 4]);
        assert_eq!(sent(&mut world, A, &data).0, B);
    }
}

#[test]
fn an_address_that_is_somebodys_again_is_theirs() {
    for (workers, is_late) in NODES {
        let mut world = with_lb(workers, is_late);
        let there = to(&world, "203.0.113.7");
        let running = Running::open(&mut world, A, there, 80);
        world.remove_file("lb.yaml");
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: d}\nstatus: {podIPs: [{ip: \
                   203.0.113.7}]}\n";
        world.set_file("pod.yaml", pod);
        let frame = ack(there, 40_000, 80);
        assert_eq!(dropped(&mut world, A, HOST, &frame), DropReason::NoConnection, "a pod's");
        world.remove_file("pod.yaml");
        running.goes_on(&mut world);
        let other = LB.replace("name: lb", "name: other").replace("10.0.0.2", "10.0.0.3");
        world.set_file("other.yaml", &other);
        running.goes_on(&mut world);
        assert_eq!(sent(&mut world, A, &syn(there, 41_000, 80)).0, super::C, "a Service's");
    }
}
