//! Endpoints come and go while connections to a Service stand.

use lockgate_control::inventory::Change;
use lockgate_control::manifest::{ObjectKey, ObjectKind};
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::{Packet, TcpFlags, parse};
use lockgate_tests::packets;
use lockgate_tests::world::{Fate, World};

use super::super::{ack, shape, syn, syn_ack};
use super::{A, B, C, SERVICES, answer_to, key_of, sent, to};

/// The slice of Service web with these endpoints.
fn slice(endpoints: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: moving, labels: {{kubernetes.io/service-name: moving}}}}
addressType: IPv4
endpoints: [{endpoints}]
ports: [{{name: t, port: 8080}}, {{name: u, port: 5353, protocol: UDP}}]
---
apiVersion: v1
kind: Service
metadata: {{name: moving}}
spec:
  clusterIP: 10.96.1.1
  ports: [{{name: t, port: 80}}, {{name: u, port: 53, protocol: UDP}}]
"
    )
}

const B_READY: &str = "{addresses: [10.0.0.2]}";
const C_READY: &str = "{addresses: [10.0.0.3]}";
const B_UNREADY: &str = "{addresses: [10.0.0.2], conditions: {ready: false, serving: false}}";
const B_ENDING: &str =
    "{addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}";

fn world(endpoints: &str) -> World {
    let mut world = World::of(shape(2), SERVICES);
    world.set_file("moving.yaml", &slice(endpoints));
    world
}

fn udp(world: &mut World, port: u16) -> &'static str {
    let there = to(world, "10.96.1.1");
    sent(world, A, &packets::udp(there, (port, 53), b"x")).0
}

fn open(world: &mut World, port: u16) -> &'static str {
    let there = to(world, "10.96.1.1");
    let (at, arrived) = sent(world, A, &syn(there, port, 80));
    let back = answer_to(world, at, &key_of(&arrived));
    sent(world, at, &syn_ack(back, 8080, port));
    sent(world, A, &ack(there, port, 80));
    at
}

#[test]
fn a_udp_flow_whose_backend_goes_is_given_another() {
    let mut world = world(B_READY);
    assert_eq!(udp(&mut world, 5000), B);
    world.set_file("moving.yaml", &slice(C_READY));
    assert_eq!(udp(&mut world, 5000), C, "no stale flow");
    world.set_file("moving.yaml", &slice(&format!("{B_READY}, {C_READY}")));
    assert_eq!(udp(&mut world, 5000), C, "it stays");
}

#[test]
fn a_udp_flow_leaves_who_does_not_serve_and_stays_with_who_ends() {
    let mut world = world(B_READY);
    assert_eq!(udp(&mut world, 5000), B);
    world.set_file("moving.yaml", &slice(&format!("{B_ENDING}, {C_READY}")));
    assert_eq!(udp(&mut world, 5000), B);
    assert_eq!(udp(&mut world, 5001), C, "new ones go to who is ready");
    world.set_file("moving.yaml", &slice(&format!("{B_UNREADY}, {C_READY}")));
    assert_eq!(udp(&mut world, 5000), C);
}

#[test]
fn where_none_is_ready_who_serves_while_ending_is_asked() {
    let mut world =
        world(&format!("{B_ENDING}, {{addresses: [10.0.0.3], conditions: {{ready: false}}}}"));
    for port in 5000..5010 {
        assert_eq!(udp(&mut world, port), B);
    }
}

#[test]
fn a_tcp_connection_outlives_a_failed_probe_and_not_its_backend() {
    let mut world = world(B_READY);
    assert_eq!(open(&mut world, 20_000), B);
    let there = to(&world, "10.96.1.1");
    world.set_file("moving.yaml", &slice(&format!("{B_UNREADY}, {C_READY}")));
    assert_eq!(sent(&mut world, A, &ack(there, 20_000, 80)).0, B);
    assert_eq!(open(&mut world, 20_001), C);
    world.set_file("moving.yaml", &slice(C_READY));
    assert_eq!(sent(&mut world, A, &ack(there, 20_000, 80)).0, B, "out of rotation is not gone");
    world.apply(vec![Change::Remove(ObjectKey::new(ObjectKind::Pod, "default", "b"))]);
    let Fate::Both(told, reason) = world.fate(A, A, &ack(there, 20_000, 80)) else {
        panic!("its client is not told")
    };
    assert_eq!(reason, DropReason::BackendGone);
    let Ok(Packet::Ip(headers)) = parse(&told) else { panic!("{told:?}") };
    let lockgate_dataplane::packet::Kind::Tcp(tcp) = headers.kind else { panic!() };
    assert!(tcp.flags.has(TcpFlags::RST));
    assert_eq!(std::net::IpAddr::from(headers.key.source), there.target, "by the Service");
}

#[test]
fn what_begins_anew_from_the_same_port_goes_to_who_is_listed() {
    let mut world = world(B_READY);
    assert_eq!(open(&mut world, 20_000), B);
    world.set_file("moving.yaml", &slice(C_READY));
    let there = to(&world, "10.96.1.1");
    assert_eq!(sent(&mut world, A, &ack(there, 20_000, 80)).0, B, "out of rotation is not gone");
    assert_eq!(open(&mut world, 20_000), C);
    assert_eq!(sent(&mut world, A, &ack(there, 20_000, 80)).0, C, "and stays there");
}

#[test]
fn churn_moves_no_connection_and_leaves_none_behind() {
    let mut world = world(&format!("{B_READY}, {C_READY}"));
    let at: Vec<_> = (20_000..20_100).map(|port| (port, udp(&mut world, port))).collect();
    let stream = open(&mut world, 20_000);
    let there = to(&world, "10.96.1.1");
    for round in 0..20 {
        let extra = format!("{{addresses: [10.9.9.{round}]}}");
        world.set_file("moving.yaml", &slice(&format!("{extra}, {B_READY}, {C_READY}")));
        for (port, backend) in &at {
            assert_eq!(udp(&mut world, *port), *backend);
        }
        assert_eq!(sent(&mut world, A, &ack(there, 20_000, 80)).0, stream);
    }
    world.advance_ms(40_000);
    assert_eq!((world.connections(), world.translations()), (0, 0));
}

#[test]
fn a_service_that_goes_takes_its_address_along() {
    let mut world = world(B_READY);
    assert_eq!(udp(&mut world, 5000), B);
    world.remove_file("moving.yaml");
    let there = to(&world, "10.96.1.1");
    let (at, arrived) = sent(&mut world, A, &packets::udp(there, (5001, 53), b"x"));
    assert_eq!(at, lockgate_tests::world::HOST);
    assert_eq!(std::net::IpAddr::from(key_of(&arrived).target), there.target, "an address as any");
}
