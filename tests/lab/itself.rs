//! The lab itself, with the kernel in the switch's place: a probe that could not see a packet
//! pass, or saw one that did not, would make every other case worthless.

use std::time::Duration;

use lockgate_tests::lab::flood::{Flood, Limit};
use lockgate_tests::lab::probe::{Seen, Speech};
use lockgate_tests::lab::sniffer::{Sniffer, between};
use lockgate_tests::lab::{Lab, LabError, bulk, leftovers, namespace, node, remove};

use super::fixture::{Directory, NODE, OUTSIDE, PREFIX, World, shape};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("lab: probes see what the kernel forwards, and silence where it does not", probes),
    ("lab: bulk both ways arrives intact through the kernel", bulk_is_intact),
    ("lab: the sniffer counts a flood, and the flood keeps its limits", flood_is_counted),
    ("lab: nothing is left after a lab, nor after one whose making failed", nothing_is_left),
];

fn probes() -> Outcome {
    let world = World::build(Directory::with_three_pods()?, 1500)?;
    kernel_as_switch(&world.lab)?;
    for v6 in [false, true] {
        for (speech, port) in [(Speech::Tcp, 80), (Speech::Udp, 53), (Speech::Icmp, 0)] {
            let seen = world.probe_family(speech, "demo/client", "demo/server", port, v6)?;
            assert_eq!(seen, Seen::Answered, "{speech} v6={v6}");
        }
    }
    let tcp = |from, to, port| world.probe(Speech::Tcp, from, to, port);
    assert_eq!(tcp("demo/client", "demo/server", 9)?, Seen::Refused);
    assert_eq!(tcp("demo/client", OUTSIDE, 443)?, Seen::Answered);
    assert_eq!(tcp(OUTSIDE, "demo/server", 80)?, Seen::Answered);
    assert_eq!(tcp(NODE, "demo/server", 80)?, Seen::Answered);
    assert_eq!(world.probe(Speech::Udp, "demo/client", OUTSIDE, 53)?, Seen::Answered);
    world.lab.node().sysctl("ipv4/ip_forward", "0")?;
    for (speech, port) in [(Speech::Tcp, 80), (Speech::Udp, 53), (Speech::Icmp, 0)] {
        let seen = world.probe(speech, "demo/client", "demo/server", port)?;
        assert_eq!(seen, Seen::Silent, "{speech} without forwarding");
    }
    Ok(())
}

fn bulk_is_intact() -> Outcome {
    let world = World::build(Directory::with_three_pods()?, 1500)?;
    kernel_as_switch(&world.lab)?;
    let (client, server) = (world.lab.place("demo/client")?, world.lab.place("demo/server")?);
    let report = bulk::both_ways(&client, &server, 7000, false, 64 << 20)?;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.forth.1.bytes, report.back.1.bytes), (64 << 20, 64 << 20));
    assert_ne!(report.forth.0.hash, report.back.0.hash, "both directions carry the same bytes");
    Ok(())
}

fn flood_is_counted() -> Outcome {
    let world = World::build(Directory::with_three_pods()?, 1500)?;
    kernel_as_switch(&world.lab)?;
    let (from, to) = (world.address("demo/client", false)?, world.address("demo/server", false)?);
    let place = world.lab.place("demo/client")?;
    let sniffer =
        Sniffer::start(&world.lab.place("demo/server")?.namespace, between(from, to, Some(5353)))?;
    let limit = Limit { packets: 1000, time: Duration::from_secs(5) };
    let flood = Flood::start(&place, (to, 5353).into(), limit)?;
    namespace::wait_for("the flood's end", limit.time * 2, || !flood.is_running())?;
    assert_eq!(flood.sent(), 1000);
    // The first packets wait for ARP in a queue that the kernel bounds.
    namespace::wait_for("the flood's packets", limit.time, || sniffer.count() > 500)?;
    let limit = Limit { packets: u64::MAX, time: Duration::from_millis(200) };
    let flood = Flood::start(&place, (to, 5354).into(), limit)?;
    namespace::wait_for("the flood's end in time", limit.time * 5, || !flood.is_running())?;
    assert!(sniffer.count() <= 1000, "packets to another port were counted");
    Ok(())
}

fn nothing_is_left() -> Outcome {
    let directory = Directory::with_three_pods()?;
    drop(Lab::build(directory.path(), shape(1500))?);
    assert_eq!(namespace::list(PREFIX), Vec::<String>::new());
    assert!(!leftovers::state(PREFIX).exists());
    // Two pods on one interface name can't be wired: the second fails half way through.
    let twice = super::fixture::pod("client", 9).replace("name: client\n", "name: twin\n");
    directory.put("30-twin.yaml", &twice)?;
    let error = Lab::build(directory.path(), shape(1500)).err();
    assert!(matches!(error, Some(LabError::Command { .. })), "{error:?}");
    assert_eq!(namespace::list(PREFIX), Vec::<String>::new());
    // A lab that was kept is found and removed by its name alone.
    directory.delete("30-twin.yaml")?;
    Lab::build(directory.path(), shape(1500))?.keep();
    assert_eq!(namespace::list(PREFIX).len(), 5);
    remove(PREFIX)?;
    assert_eq!(namespace::list(PREFIX), Vec::<String>::new());
    Ok(())
}

/// Makes the node's kernel the pods' gateway, and joins the outside to it.
fn kernel_as_switch(lab: &Lab) -> Result<(), LabError> {
    let (near, far) = ("kernel0", "kernel1");
    lab.node().ip(&[format!(
        "link add {near} type veth peer name {far} netns {}",
        lab.outside().name()
    )])?;
    let mut interfaces: Vec<&str> = lab.pods().iter().map(|pod| pod.interface.as_str()).collect();
    interfaces.push(near);
    for interface in interfaces {
        lab.node().ip(&[
            format!("link set {interface} up"),
            format!("addr add {}/32 dev {interface}", node::GATEWAY_V4),
            format!("addr add {}/64 dev {interface} nodad", node::GATEWAY_V6),
        ])?;
    }
    for pod in lab.pods() {
        for address in &pod.addresses {
            lab.node().ip(&[format!("route add {address} dev {}", pod.interface)])?;
        }
    }
    for address in lab.shape().outside.iter().chain(lab.node_addresses()) {
        lab.node().ip(&[format!("route add {address} dev {near}")])?;
    }
    lab.connect_outside(far)?;
    lab.node().sysctl("ipv4/conf/all/rp_filter", "0")?;
    lab.node().sysctl("ipv4/ip_forward", "1")?;
    lab.node().sysctl("ipv6/conf/all/forwarding", "1")
}
