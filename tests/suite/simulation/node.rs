//! What a node sends to its own pods: it always comes in, or it is judged, as the node is set.

use lockgate_dataplane::counters::DropReason::IngressDenied;
use lockgate_dataplane::endpoint::OwnNode;
use lockgate_tests::world::{HOST, Shape, World};

use super::{CLIENT, dropped, shape, syn, syn_ack};

/// The node's own address.
const NODE: [u8; 4] = [192, 168, 0, 1];
/// A pod of which the node may reach one port.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, annotations: {lockgate.dev/interface: lgclient}}
spec: {}
status: {podIPs: [{ip: 10.0.0.1}], hostIP: 192.168.0.1, phase: Running}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{ipBlock: {cidr: 192.168.0.1/32}}]
    ports: [{port: 80}]
";

#[test]
fn cnp_14_the_own_node_is_judged_where_it_is_set_so() {
    for (own_node, workers) in [(OwnNode::Exempt, 1), (OwnNode::Judged, 1), (OwnNode::Judged, 2)] {
        let mut world = World::of(Shape { own_node, ..shape(workers) }, POD);
        let to_pod = world.ends(HOST, CLIENT, NODE.into());
        assert!(world.fate(HOST, CLIENT, &syn(to_pod, 40_000, 80)).is_sent(), "{own_node:?}");
        // Its connection is one as any.
        let back = world.ends(CLIENT, HOST, NODE.into());
        assert!(world.fate(CLIENT, HOST, &syn_ack(back, 80, 40_000)).is_sent(), "{own_node:?}");
        let other = syn(to_pod, 40_001, 81);
        match own_node {
            OwnNode::Exempt => assert!(world.fate(HOST, CLIENT, &other).is_sent()),
            OwnNode::Judged => {
                assert_eq!(dropped(&mut world, HOST, CLIENT, &other), IngressDenied);
            }
        }
        // What the pod says to the node is judged in either case.
        let opening = syn(back, 40_002, 80);
        assert!(!world.fate(CLIENT, HOST, &opening).is_sent(), "{own_node:?}");
    }
}
