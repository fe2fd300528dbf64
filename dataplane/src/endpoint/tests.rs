//! Endpoints as a worker asks for them.

use super::*;
use crate::ids::WorkerId;
use crate::policy::compile;
use crate::policy::ruleset::{Action, Block, PeerSet, Peers, Pod, Policy, Ports, Rule, SetId};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn port(port: u32, worker: u8, slot: u16) -> PortRef {
    PortRef { port: PortId(port), worker: WorkerId(worker), slot: PortSlot(slot) }
}

fn attachment(endpoint: u32, at: PortRef) -> Attachment {
    Attachment { endpoint: EndpointId(endpoint), at, mac: Mac([2, 0, 0, 0, 0, 9]), mtu: 1500 }
}

/// Pods 0 (both families, local), 1 (local) and 2 (elsewhere). Pods 0 and 2 are isolated and
/// allow pod 1, 192.0.2.0/24 and `fd00:1::/64`.
fn world() -> (Ruleset, Compiled, Topology) {
    let pod = |endpoint, addresses: &[&str]| Pod {
        endpoint: EndpointId(endpoint),
        addresses: addresses.iter().map(|text| ip(text)).collect(),
    };
    let block = |text: &str| Block { cidr: text.parse().unwrap(), except: vec![] };
    let ruleset = Ruleset {
        pods: vec![
            pod(10, &["10.0.0.1", "fd00::1"]),
            pod(11, &["10.0.0.2"]),
            pod(12, &["10.0.1.1", "fd00::2"]),
        ],
        sets: vec![
            PeerSet { pods: vec![PodIndex(0), PodIndex(2)], blocks: vec![] },
            PeerSet {
                pods: vec![PodIndex(1)],
                blocks: vec![block("192.0.2.0/24"), block("fd00:1::/64")],
            },
        ],
        policies: vec![Policy::isolating(
            "a/a".into(),
            SetId(0),
            Some(Arc::new([Rule {
                index: 0,
                action: Action::Allow,
                subjects: None,
                peers: Peers::Sets(vec![SetId(1)]),
                ports: Ports::Any,
            }])),
            None,
        )],
    };
    let compiled = compile(&ruleset);
    let topology = Topology {
        attachments: vec![attachment(10, port(5, 0, 3)), attachment(11, port(6, 1, 3))],
        host: Some(HostPort {
            port: PortId(1),
            slots: vec![PortSlot(0), PortSlot(0)],
            mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
        }),
        node_addresses: vec![ip("192.0.2.9"), ip("fd00:1::9"), ip("172.16.0.1")],
        own_node: OwnNode::Exempt,
    };
    (ruleset, compiled, topology)
}

fn built() -> (Compiled, Endpoints) {
    let (ruleset, compiled, topology) = world();
    let endpoints = Endpoints::build(&ruleset, &compiled, &topology);
    (compiled, endpoints)
}

#[test]
fn a_local_pods_address_leads_to_its_port_class_and_sets() {
    let (compiled, endpoints) = built();
    for text in ["10.0.0.1", "fd00::1"] {
        let place = endpoints.place(ip(text).into());
        let Kind::Local(index) = place.kind else { panic!("{text} is {place:?}") };
        assert_eq!(endpoints.local(index).endpoint, EndpointId(10));
        assert_eq!(place.class, compiled.classes.of(ip(text)));
        assert_eq!(place.sets, compiled.sets[0]);
        assert_ne!(place.sets, Sets::NONE);
    }
    let place = endpoints.place(ip("10.0.0.2").into());
    assert!(matches!(place.kind, Kind::Local(i) if endpoints.local(i).at == port(6, 1, 3)));
    assert_ne!(place.class, ClassId::NOTHING);
}

#[test]
fn a_pod_elsewhere_is_outside_with_its_own_class_and_judged_there() {
    let (compiled, endpoints) = built();
    let place = endpoints.place(ip("10.0.1.1").into());
    let class = compiled.classes.of(ip("10.0.1.1"));
    assert_eq!(place, Place { class, kind: Kind::Outside, sets: Sets::NONE });
}

#[test]
fn addresses_of_nobody_have_the_class_of_their_block() {
    let (compiled, endpoints) = built();
    for text in
        ["192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0", "fd00:1::", "fd00:2::", "0.0.0.0"]
    {
        let class = compiled.classes.of(ip(text));
        let want = Place { class, kind: Kind::Outside, sets: Sets::NONE };
        assert_eq!(endpoints.place(ip(text).into()), want, "{text}");
    }
    assert_ne!(endpoints.place(ip("192.0.2.0").into()).class, ClassId::NOTHING);
    assert_eq!(endpoints.place(ip("192.0.3.0").into()).class, ClassId::NOTHING);
}

#[test]
fn an_address_of_the_node_is_the_nodes_with_the_class_of_its_block() {
    let (compiled, endpoints) = built();
    for text in ["192.0.2.9", "fd00:1::9", "172.16.0.1"] {
        let class = compiled.classes.of(ip(text));
        let want = Place { class, kind: Kind::Node(OwnNode::Exempt), sets: Sets::NONE };
        assert_eq!(endpoints.place(ip(text).into()), want, "{text}");
    }
    assert_ne!(endpoints.place(ip("fd00:1::9").into()).class, ClassId::NOTHING);
}

#[test]
fn a_pods_address_is_never_the_nodes() {
    let (ruleset, compiled, mut topology) = world();
    topology.node_addresses = ["10.0.0.1", "10.0.1.1", "fd00::2"].map(ip).to_vec();
    let endpoints = Endpoints::build(&ruleset, &compiled, &topology);
    for text in ["10.0.0.1", "10.0.1.1", "fd00::2"] {
        assert_ne!(endpoints.place(ip(text).into()).kind, Kind::Node(OwnNode::Exempt), "{text}");
    }
}

#[test]
fn a_sender_is_known_by_its_port_and_not_by_another_in_its_slot() {
    let (_, endpoints) = built();
    let endpoint = |at| endpoints.sender(at).map(|local| local.endpoint);
    assert_eq!(endpoint(port(5, 0, 3)), Some(EndpointId(10)));
    assert_eq!(endpoint(port(6, 1, 3)), Some(EndpointId(11)));
    let strangers =
        [port(7, 0, 3), port(6, 0, 3), port(5, 1, 3), port(5, 0, 4), port(5, 15, 3), port(1, 0, 0)];
    for stranger in strangers {
        assert_eq!(endpoint(stranger), None, "{stranger:?}");
    }
    // Beyond the slots of a worker is not the next worker's.
    assert_eq!(endpoint(port(6, 0, 259)), None);
}

#[test]
fn only_a_pods_own_addresses_pass_its_spoof_check() {
    let (compiled, endpoints) = built();
    let local = endpoints.sender(port(5, 0, 3)).unwrap();
    for text in ["10.0.0.1", "fd00::1"] {
        let class = compiled.classes.of(ip(text));
        assert_eq!(endpoints.class_of_own(local, ip(text).into()), Some(class));
    }
    for text in ["10.0.0.2", "10.0.1.1", "fd00::2", "::", "0.0.0.0", "fd00:1::1", "192.0.2.9"] {
        assert_eq!(endpoints.class_of_own(local, ip(text).into()), None, "{text}");
    }
}

#[test]
fn an_attachment_of_no_known_pod_has_no_sender() {
    let (ruleset, compiled, mut topology) = world();
    topology.attachments.push(attachment(99, port(8, 0, 4)));
    let endpoints = Endpoints::build(&ruleset, &compiled, &topology);
    assert!(endpoints.sender(port(8, 0, 4)).is_none());
    assert_eq!(endpoints.locals().count(), 2);
}

#[test]
fn the_host_port_is_known_and_is_no_pods() {
    let (_, endpoints) = built();
    assert!(endpoints.is_host(PortId(1)) && !endpoints.is_host(PortId(5)));
    assert_eq!(endpoints.host().map(|host| host.mtu), Some(1500));
    assert!(
        !Endpoints::build(&Ruleset::default(), &compile(&Ruleset::default()), &Topology::default())
            .is_host(PortId(1))
    );
}
