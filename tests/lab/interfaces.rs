//! Pods' interfaces that are refused, that change, are renamed or vanish: what passes meanwhile,
//! and how each comes back without a restart.
//!
//! As in `fail_closed`, the node's kernel is made to forward, and the pod addresses its packets to
//! the interface itself: what the switch leaves open is seen in the target's namespace.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use lockgate_tests::lab::LabError;
use lockgate_tests::lab::flood::{Flood, Limit};
use lockgate_tests::lab::namespace::{Namespace, run, wait_for};
use lockgate_tests::lab::probe::{Seen, Speech};
use lockgate_tests::lab::sniffer::{Sniffer, between};
use lockgate_tests::lab::switch::{FAR_END, HOST_PORT};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::fixture::{NODE, OUTSIDE, SETTLE, World, ingress, pod, with_three_pods};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("a refused interface with too large an MTU is closed, and attached when mended", || {
        refused_is_closed("ip link set odd0 mtu 9000", "ip link set odd0 mtu 1500")
    }),
    ("a refused interface with too many queues is closed, and attached when mended", || {
        refused_is_closed("ethtool -L odd0 rx 2 tx 2", "ethtool -L odd0 rx 1 tx 1")
    }),
    ("a refused interface that takes no program is set down", takes_no_program),
    ("what is no veth is told and never touched", no_veth),
    ("an MTU, a MAC or a queue count that changes while attached is noticed", changed),
    ("an interface renamed while attached stays closed, and is attached by its new name", renamed),
    ("a host port that vanishes is made anew without a restart", host_port_vanishes),
];

/// How long is watched for packets that must not come.
const WATCH: Duration = Duration::from_millis(1500);

/// The port that leaks are sent to.
const LEAK: u16 = 9003;

/// Three pods and a fourth, `demo/odd`, whose interface is up as a CNI plugin leaves it.
fn with_odd(spoil: &str) -> Result<World, LabError> {
    let world = World::build(with_three_pods(&[("20-odd.yaml", pod("odd", 9))])?, 1500)?;
    in_node(&world, spoil)?;
    in_node(&world, "ip link set odd0 up")?;
    Ok(world)
}

/// Runs a command in the switch's namespace; gives what it wrote.
fn in_node(world: &World, line: &str) -> Result<String, LabError> {
    within(world.lab.node(), line)
}

fn within(namespace: &Namespace, line: &str) -> Result<String, LabError> {
    let mut words = line.split(' ');
    let output = run(namespace.command(words.next().unwrap_or_default()).args(words))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn is_up(world: &World, interface: &str) -> Result<bool, LabError> {
    let shown = in_node(world, &format!("ip -o link show {interface}"))?;
    Ok(shown.contains(",UP") || shown.contains("<UP"))
}

fn has_program(world: &World, interface: &str) -> Result<bool, LabError> {
    Ok(in_node(world, &format!("ip -o -d link show {interface}"))?.contains("prog/xdp"))
}

/// Waits until `lockgate ports` gives every word as part of why a pod has no port.
fn await_refusal(world: &World, words: &[&str]) -> Result<(), LabError> {
    wait_for(&format!("`lockgate ports` to say {words:?}"), SETTLE, || {
        let refused = world.ask("ports").map(|ports| ports["not_attached"].to_string());
        refused.is_ok_and(|text| words.iter().all(|word| text.contains(word)))
    })
}

/// Waits until a pod's port shows a value.
fn await_port(world: &World, interface: &str, key: &str, value: &Value) -> Result<(), LabError> {
    wait_for(&format!("{interface} to have {key} {value}"), SETTLE, || {
        let ports = world.ask("ports").unwrap_or_default();
        let rows = ports["ports"].as_array().cloned().unwrap_or_default();
        rows.iter().any(|row| row["interface"] == interface && row[key] == *value)
    })
}

/// A pod that sends to the server past the gateway, over an interface that somebody has set up,
/// while the node's kernel forwards what it gets.
struct Leak {
    seen: Sniffer,
    flood: Flood,
}

impl Leak {
    fn start(world: &World, pod: &str, interface: &str) -> Result<Self, LabError> {
        in_node(world, &format!("ip link set {interface} up"))?;
        world.lab.forward_by_kernel()?;
        world.lab.bypass_gateway(pod)?;
        let place = world.lab.place(pod)?;
        let (from, to) = (world.address(pod, false)?, world.address("demo/server", false)?);
        let target = world.lab.place("demo/server")?.namespace;
        let seen = Sniffer::start(&target, between(from, to, Some(LEAK)))?;
        let limit = Limit { packets: u64::MAX, time: Duration::from_mins(1) };
        Ok(Self { seen, flood: Flood::start(&place, (to, LEAK).into(), limit)? })
    }

    /// Packets that arrived by the end of the watch.
    fn watch(&self) -> u64 {
        let before = self.flood.sent();
        sleep(WATCH);
        assert!(self.flood.sent() > before + 1000, "the flood stopped by itself");
        self.seen.count()
    }
}

fn refused_is_closed(spoil: &str, mend: &str) -> Outcome {
    let world = with_odd(spoil)?;
    let switch = world.start(1)?;
    await_refusal(&world, &["odd0", "not attached"])?;
    assert!(!is_up(&world, "odd0")?, "the refused interface is up");
    // Nobody sets it down again now: what drops is the program alone.
    switch.signal(Signal::SIGSTOP)?;
    let leak = Leak::start(&world, "demo/odd", "odd0")?;
    assert_eq!(leak.watch(), 0, "packets of a refused interface passed");
    drop(leak);
    assert!(has_program(&world, "odd0")?, "the refused interface has no program");
    switch.signal(Signal::SIGCONT)?;
    wait_for("it to be set down again", SETTLE, || is_up(&world, "odd0").is_ok_and(|up| !up))?;

    // Mended, it is a pod as any other.
    in_node(&world, mend)?;
    within(&world.lab.place("demo/odd")?.namespace, "ip neigh del 169.254.1.1 dev eth0")?;
    let asked = ("demo/odd", "demo/server", 80);
    assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);

    // The test of the test: refused again, without a switch and without pins it leaks.
    switch.kill()?;
    fs::remove_dir_all(world.lab.state().join("bpf/lockgate"))?;
    in_node(&world, spoil)?;
    let leak = Leak::start(&world, "demo/odd", "odd0")?;
    let leaks = wait_for("a leak", SETTLE, || leak.seen.count() > 0);
    assert!(leaks.is_ok(), "no packet passed even without the pins: this test sees nothing");
    Ok(())
}

fn takes_no_program() -> Outcome {
    // The kernel gives no program to an end with fewer queues than its far end sends on.
    let world = with_odd("true")?;
    within(&world.lab.place("demo/odd")?.namespace, "ethtool -L eth0 tx 2")?;
    let _switch = world.start(1)?;
    await_refusal(&world, &["odd0", "set down"])?;
    assert!(!is_up(&world, "odd0")? && !has_program(&world, "odd0")?);
    in_node(&world, "ip link set odd0 up")?;
    wait_for("it to be set down again", SETTLE, || is_up(&world, "odd0").is_ok_and(|up| !up))?;
    within(&world.lab.place("demo/odd")?.namespace, "ethtool -L eth0 tx 1")?;
    let asked = ("demo/odd", "demo/server", 80);
    assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);
    Ok(())
}

fn no_veth() -> Outcome {
    let (world, _switch) = World::switched(1)?;
    for line in [
        "ip link add bridge0 type bridge",
        "ip addr add 192.0.2.77/24 dev bridge0",
        "ip link set bridge0 up",
    ] {
        in_node(&world, line)?;
    }
    world.directory.put("20-bridge.yaml", &pod("bridge", 9))?;
    await_refusal(&world, &["bridge0", "not one end of a veth pair"])?;
    sleep(WATCH);
    assert!(is_up(&world, "bridge0")? && !has_program(&world, "bridge0")?);
    assert!(in_node(&world, "ip addr show bridge0")?.contains("192.0.2.77"));
    // Nor one of our own.
    let own = pod("own", 10).replace("own0", HOST_PORT);
    world.directory.put("20-own.yaml", &own)?;
    await_refusal(&world, &[HOST_PORT, "the switch's own"])?;
    assert_eq!(world.probe(Speech::Tcp, "demo/client", OUTSIDE, 443)?, Seen::Answered);
    Ok(())
}

fn changed() -> Outcome {
    let (world, _switch) = World::switched(1)?;
    let asked = ("demo/client", "demo/server", 80);
    assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);
    in_node(&world, "ip link set client0 mtu 1400")?;
    await_port(&world, "client0", "mtu", &1400.into())?;
    assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);

    for (spoil, mend, words) in [
        ("ip link set client0 mtu 9000", "ip link set client0 mtu 1500", "MTU 9000"),
        ("ethtool -L client0 rx 2 tx 2", "ethtool -L client0 rx 1 tx 1", "2 receive queues"),
    ] {
        in_node(&world, spoil)?;
        await_refusal(&world, &["client0", words])?;
        assert!(has_program(&world, "client0")?, "{spoil}: the program is gone");
        assert_eq!(world.probe(Speech::Tcp, asked.0, asked.1, asked.2)?, Seen::Silent, "{spoil}");
        in_node(&world, mend)?;
        let seen = world.probe_until(Seen::Answered, asked, SETTLE)?;
        assert_eq!(seen, Seen::Answered, "{mend}");
    }
    await_port(&world, "client0", "mtu", &1500.into())?;

    // The far end's MAC: what the pod sends bears it from now on.
    let mac = "02:00:00:00:00:77";
    within(&world.lab.place("demo/client")?.namespace, &format!("ip link set eth0 address {mac}"))?;
    await_port(&world, "client0", "mac", &mac.into())?;
    assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);
    let back = world.probe(Speech::Tcp, "demo/server", "demo/client", 80)?;
    assert_eq!(back, Seen::Answered, "packets to the pod bear its old MAC");
    Ok(())
}

fn renamed() -> Outcome {
    let (mut world, switch) = World::switched(1)?;
    in_node(&world, "ip link set client0 down")?;
    in_node(&world, "ip link set client0 name renamed0")?;
    in_node(&world, "ip link set renamed0 up")?;
    await_refusal(&world, &["client0", "does not exist"])?;
    sleep(WATCH);
    assert!(has_program(&world, "renamed0")?, "its program went with its name");
    world.directory.put("20-client.yaml", &pod("client", 1).replace("client0", "renamed0"))?;
    let asked = ("demo/client", "demo/server", 80);
    assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);

    // Another interface takes the old name: the one that had it stays closed.
    world.directory.delete("20-client.yaml")?;
    wait_for("the port to go", SETTLE, || {
        world.ask("ports").is_ok_and(|ports| !ports.to_string().contains("renamed0"))
    })?;
    in_node(&world, "ip link set renamed0 down")?;
    in_node(&world, "ip link set renamed0 name aside0")?;
    world.add_pod("renamed", 8)?;
    let asked = ("demo/renamed", "demo/server", 80);
    assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);
    assert!(has_program(&world, "aside0")?, "the program of a renamed interface was taken off");
    switch.stop()?;
    Ok(())
}

fn host_port_vanishes() -> Outcome {
    let directory = with_three_pods(&[("deny.yaml", ingress("deny", &[]))])?;
    let world = World::build(directory, 1500)?;
    let switch = world.start(2)?;
    let asked = |from| world.probe(Speech::Tcp, from, "demo/server", 80);
    assert_eq!(asked(NODE)?, Seen::Answered);
    for turn in 0..3 {
        in_node(&world, &format!("ip link del {HOST_PORT}"))?;
        wait_for("the host port", SETTLE, || {
            world.lab.outside().has_interface(FAR_END) && world.lab.node().has_interface(HOST_PORT)
        })?;
        // Its far end is a new interface: its addresses and routes are the operator's to give.
        world.lab.connect_outside(FAR_END)?;
        let seen = world.probe_until(Seen::Answered, ("demo/other", OUTSIDE, 443), SETTLE)?;
        assert_eq!(seen, Seen::Answered, "turn {turn}");
        assert_eq!(asked(NODE)?, Seen::Answered, "the own node");
        assert_eq!(asked(OUTSIDE)?, Seen::Silent, "policy holds through the new host port");
    }
    assert!(switch.log().contains("host port"), "nothing was said");
    switch.stop()?;
    assert!(!world.lab.node().has_interface(HOST_PORT), "{HOST_PORT} is left");
    let pins = fs::read_dir(world.lab.state().join("bpf/lockgate"))?.flatten().count();
    assert_eq!(pins, 3, "pins of interfaces that are gone are left");
    Ok(())
}
