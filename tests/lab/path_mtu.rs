//! Path-MTU discovery: a link far behind the host port is narrower than a pod's own.
//!
//! ```text
//!     pod --1500-- switch --1500-- outside --1300-- router --1500-- far
//! ```
//!
//! Both ends believe in 1500. What the pod sends is too long for the link in the middle, and only
//! the ICMP error from `outside`, which no policy of the pod lets in, tells it so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lockgate_tests::lab::namespace::{Namespace, run};
use lockgate_tests::lab::node::Place;
use lockgate_tests::lab::{LabError, bulk};

use super::fixture::{PREFIX, World, with_three_pods};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[(
    "a real TCP connection finds the MTU of its path through a policy that lets nothing in",
    narrow,
)];

const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9));
const BYTES: u64 = 16 << 20;
const PORT: u16 = 7000;

/// Isolates the client in both directions, and lets it speak to the far end alone.
const SHUT: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut, namespace: demo}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Ingress, Egress]
  egress:
  - to: [{ipBlock: {cidr: 192.0.2.9/32}}, {ipBlock: {cidr: '2001:db8:9::9/128'}}]
    ports: [{port: 7000}]
";

fn narrow() -> Outcome {
    let world = World::build(with_three_pods(&[("shut.yaml", SHUT.to_owned())])?, 1500)?;
    let switch = world.start(2)?;
    let far = behind(&world)?;
    let client = world.lab.place("demo/client")?;
    for v6 in [false, true] {
        let report = bulk::both_ways(&client, &far, PORT, v6, BYTES)?;
        assert!(report.is_intact(), "v6={v6}: {report:?}");
        let target = far.address(v6).map(|address| address.to_string()).unwrap_or_default();
        let output = run(client.namespace.command("ip").args(["route", "get", &target]))?;
        let learned = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(learned.contains("mtu 1300"), "the pod was not told: {learned}");
    }
    let denied = |reason: &str| {
        switch.metric("lockgate_dropped_packets_total", &[&format!("reason=\"{reason}\"")])
    };
    assert!(denied("ingress_denied")? < 0.5 && denied("egress_denied")? < 0.5);
    switch.stop()?;
    Ok(())
}

/// Two namespaces behind `outside`, joined to it by a link of 1300 bytes.
pub(crate) fn behind(world: &World) -> Result<Place, LabError> {
    let name = |rest: &str| format!("{PREFIX}-{rest}");
    let (router, far) = (Namespace::create(&name("router"))?, Namespace::create(&name("far"))?);
    let outside = world.lab.outside();
    outside.ip(&[
        format!(
            "link add narrow mtu 1300 type veth peer name narrow mtu 1300 netns {}",
            router.name()
        ),
        "addr add 192.0.2.1/30 dev narrow".to_owned(),
        "addr add 2001:db8:8::1/64 dev narrow nodad".to_owned(),
        "link set narrow up".to_owned(),
    ])?;
    router.ip(&[
        format!("link add wide type veth peer name wide netns {}", far.name()),
        "addr add 192.0.2.2/30 dev narrow".to_owned(),
        "addr add 2001:db8:8::2/64 dev narrow nodad".to_owned(),
        "addr add 192.0.2.10/30 dev wide".to_owned(),
        "addr add 2001:db8:9::1/64 dev wide nodad".to_owned(),
        "link set narrow up".to_owned(),
        "link set wide up".to_owned(),
        "route add default via 192.0.2.1".to_owned(),
        "route add ::/0 via 2001:db8:8::1".to_owned(),
    ])?;
    far.ip(&[
        "addr add 192.0.2.9/30 dev wide".to_owned(),
        "addr add 2001:db8:9::9/64 dev wide nodad".to_owned(),
        "link set wide up".to_owned(),
        "route add default via 192.0.2.10".to_owned(),
        "route add ::/0 via 2001:db8:9::1".to_owned(),
    ])?;
    for namespace in [outside, &router] {
        namespace.sysctl("ipv4/ip_forward", "1")?;
        namespace.sysctl("ipv6/conf/all/forwarding", "1")?;
    }
    outside.ip(&[
        "route add 192.0.2.8/30 via 192.0.2.2".to_owned(),
        "route add 2001:db8:9::/64 via 2001:db8:8::2".to_owned(),
    ])?;
    Ok(Place { namespace: far, addresses: vec![FAR_V4, FAR_V6] })
}
