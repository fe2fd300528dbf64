//! The little cluster on which packets are tried: web, client and other on this node, another
//! client elsewhere, and a policy that lets clients and some outside addresses to web.

// What is asked for is there, or the cluster below is wrong.
#![allow(clippy::panic, clippy::missing_panics_doc, clippy::unwrap_used)]

use std::net::IpAddr;

use crate::corpus::{Host, Scene};
use crate::world::World;

/// The cluster.
pub const CLUSTER: &str = include_str!("shop/cluster.yaml");

/// The pod that is isolated.
pub const WEB: &str = "shop/web";
/// The pod that the policy lets to web.
pub const CLIENT: &str = "shop/client";
/// A pod that no policy names.
pub const OTHER: &str = "shop/other";

/// A policy: everything may come in to web.
pub const OPEN: &str = "podSelector: {matchLabels: {app: web}}, ingress: [{}]";
/// Everything that has ports may come in to web, nothing else.
pub const PORTS: &str = "podSelector: {matchLabels: {app: web}},
  ingress: [{ports: [{protocol: TCP}, {protocol: UDP}, {protocol: SCTP}]}]";
/// Nothing may come in to web.
pub const SHUT: &str = "podSelector: {matchLabels: {app: web}}, ingress: []";
/// Nothing may go out of client.
pub const MUTE: &str = "podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]";

/// The cluster under one other policy.
#[must_use]
pub fn under(spec: &str) -> String {
    let objects = CLUSTER.split("---\n").filter(|text| !text.contains("kind: NetworkPolicy"));
    let policy = format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: one, namespace: shop}}
spec: {{{spec}}}
"
    );
    objects.chain([policy.as_str()]).collect::<Vec<_>>().join("---\n")
}

/// Client as the sender, web as the target, other as whom the sender would be.
#[must_use]
pub fn scene(world: &World) -> Scene {
    Scene {
        sender: host(world, CLIENT),
        target: host(world, WEB),
        other: host(world, OTHER),
        node: "10.9.0.1".parse().unwrap(),
        datagram: 0x0be5,
    }
}

fn host(world: &World, name: &str) -> Host {
    let (Some(IpAddr::V4(v4)), Some(IpAddr::V6(v6))) =
        (world.address(name, false), world.address(name, true))
    else {
        panic!("{name} lacks an address")
    };
    Host { mac: world.mac(name), v4, v6 }
}
