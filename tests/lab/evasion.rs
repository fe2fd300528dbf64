//! The evasion corpus over raw sockets: whole frames, as a pod with every right would send them.
//!
//! The three pods are bare wires: no address, no IPv6, no stack that answers or makes noise. So
//! every frame that arrives and every count that moves is of the entry that was just sent.

#![allow(clippy::cast_precision_loss)] // counts of packets are small

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::TcpFlags;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_tests::corpus::{Entry, Host, Outcome, Scene, entries};
use lockgate_tests::lab::namespace::{Namespace, run};
use lockgate_tests::lab::seat::Seat;
use lockgate_tests::lab::sniffer::Sniffer;
use lockgate_tests::lab::switch::{SwitchProcess, sum};
use lockgate_tests::lab::{Lab, LabError};
use lockgate_tests::packets::{Ends, segment};

use super::fixture::{Directory, NODE, World, ingress, namespace, pod, shape};
use super::{Case, Outcome as Ended};

pub(crate) const CASES: &[Case] = &[
    ("every entry of the evasion corpus ends as written over real sockets", every_entry),
    ("a VLAN tag beside the bytes hides nothing: what is inside is judged", tag_beside_the_bytes),
    ("a reset out of the window ends no connection, an exact one does", resets),
];

/// How long an entry's fate may take to show: it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// The pods: who sends, who receives, who is impersonated.
const PODS: [&str; 3] = ["client", "server", "other"];

fn every_entry() -> Ended {
    let mut bench = Bench::build()?;
    // What is let through leaves connections, to which later segments would belong.
    let leaves_none = |entry: &&Entry| matches!(entry.outcome, Outcome::Dropped(_));
    let (first, then): (Vec<_>, Vec<_>) =
        entries().filter(|entry| entry.unsent.is_none()).partition(leaves_none);
    let mut failures = String::new();
    for entry in first.into_iter().chain(then) {
        if let Some(wrong) = bench.try_entry(entry)? {
            let _ = writeln!(failures, "{}: {wrong}", entry.id);
        }
    }
    assert!(bench.sent > 300, "only {} frames were sent", bench.sent);
    // The test of the test: what is let through is seen when it may not be.
    bench.shut()?;
    for entry in entries().filter(|entry| entry.unsent.is_none() && is_judged(entry)) {
        if bench.try_entry(entry)?.is_none() {
            let _ = writeln!(failures, "{} is let in by a policy that lets nothing in", entry.id);
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.into()) }
}

/// Hardware, and veth, keep a tag beside the frame; no raw socket can say so, a program on the way
/// out can. The switch sees what is inside.
fn tag_beside_the_bytes() -> Ended {
    let mut bench = Bench::build()?;
    bench.tag_what_leaves()?;
    for id in ["tcp-syn", "ipv6-options", "ipv4-of-another", "mac-of-another", "vlan-tag", "ra"] {
        let entry = entry(id)?;
        assert_eq!(bench.try_entry(entry)?, None, "{id}");
    }
    bench.shut()?;
    let denied = vec![(DropReason::IngressDenied, 3)];
    assert_eq!(
        bench.fate(entry("other-udp-tunnels")?)?.drops,
        vec![(DropReason::IngressDenied, 4)]
    );
    assert_eq!(bench.fate(entry("icmp-requests")?)?.drops, denied);
    Ok(())
}

/// A connection of segments made by hand, both ends of it.
fn resets() -> Ended {
    let bench = Bench::build()?;
    let there = bench.scene.v4();
    let back = Ends {
        source_mac: bench.scene.target.mac,
        target_mac: GATEWAY_MAC,
        source: there.target,
        target: there.source,
    };
    let says = |seat: usize, flags, numbers| {
        let (ends, ports) = if seat == 0 { (there, (40_000, 80)) } else { (back, (80, 40_000)) };
        bench.seats[seat].send_frame(&segment(ends, ports, flags, numbers))?;
        bench.await_frames(1 - seat, 1)
    };
    says(0, TcpFlags::SYN, (1000, 0))?;
    says(1, TcpFlags::SYN.with(TcpFlags::ACK), (5000, 1001))?;
    says(0, TcpFlags::ACK, (1001, 5001))?;
    let in_state = |state: &str, wanted: f64| {
        let label = format!("state=\"{state}\"");
        let is_it =
            |text: &str| (sum(text, "lockgate_connections", &[&label]) - wanted).abs() < 0.5;
        bench.await_metrics(&format!("{wanted} connections {state}"), is_it)
    };
    in_state("established", 1.0)?;
    for far in [0_u32, 1000, 1002, 1001 + 0xffff, 1001 + (1 << 31)] {
        says(0, TcpFlags::RST, (far, 0))?;
        says(1, TcpFlags::RST, (far, 0))?;
    }
    in_state("established", 1.0)?;
    in_state("closed", 0.0)?;
    says(0, TcpFlags::RST, (1001, 0))?;
    in_state("closed", 1.0)?;
    Ok(())
}

fn entry(id: &str) -> Result<&'static Entry, LabError> {
    entries().find(|entry| entry.id == id).ok_or_else(|| LabError::Unknown(id.to_owned()))
}

fn is_judged(entry: &Entry) -> bool {
    matches!(entry.outcome, Outcome::Judged | Outcome::Portless)
}

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
struct Fate {
    sent: usize,
    arrived: usize,
    elsewhere: u64,
    drops: Vec<(DropReason, usize)>,
}

struct Bench {
    seats: Vec<Seat>,
    /// Frames that the switch has sent to the world outside.
    outside: Sniffer,
    scene: Scene,
    switch: SwitchProcess,
    /// Held last: it takes the namespaces away.
    world: World,
    sent: usize,
}

impl Bench {
    fn build() -> Result<Self, LabError> {
        let directory = Directory::empty("evasion")?;
        directory.put("10-namespace.yaml", &namespace("demo"))?;
        directory.put("rule.yaml", &ingress("rule", &["{}"]))?;
        let world = World::build_bare(directory, shape(1500))?;
        let seats = seats(&world.lab)?;
        for (number, name) in (1_u8..).zip(PODS) {
            let text = pod(name, number);
            let seat = &seats[usize::from(number) - 1].interface;
            let bound = text.replace(&format!("{name}0}}"), &format!("{seat}}}"));
            world.directory.put(&format!("20-{name}.yaml"), &bound)?;
        }
        // Its far end is the node's stack, which would tell routers that it is there.
        world.lab.outside().sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        let outside =
            Sniffer::start(world.lab.outside(), |f| f.get(6..12) == Some(&GATEWAY_MAC.0))?;
        let switch = world.start(2)?;
        let host = |at: u8| Host {
            mac: seats[usize::from(at)].mac(),
            v4: std::net::Ipv4Addr::new(10, 77, 0, at + 1),
            v6: std::net::Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, u16::from(at) + 1),
        };
        let node = NODE.parse().map_err(|_| LabError::Unknown(NODE.to_owned()))?;
        let (sender, target, other) = (host(0), host(1), host(2));
        let scene = Scene { sender, target, other, node, datagram: 0 };
        let mut bench = Self { seats, outside, scene, switch, world, sent: 0 };
        bench.await_ports()?;
        Ok(bench)
    }

    /// Puts a policy in force that lets nothing in.
    fn shut(&mut self) -> Result<(), LabError> {
        let of = |metrics: &str, name: &str| sum(metrics, name, &[]);
        let before = self.switch.metric("lockgate_snapshot_generation", &[])?;
        self.world.directory.put("rule.yaml", &ingress("rule", &[]))?;
        let is_there = |metrics: &str| {
            let published = of(metrics, "lockgate_snapshot_generation");
            let in_force = of(metrics, "lockgate_snapshot_generation_in_force");
            published > before && (in_force - published).abs() < 0.5
        };
        self.await_metrics("a policy that lets nothing in", is_there)
    }

    /// Waits until every wire is a port, the host's too.
    fn await_ports(&mut self) -> Result<(), LabError> {
        let per_port = "lockgate_port_dropped_packets_total{";
        let count = |text: &str| text.lines().filter(|line| line.starts_with(per_port)).count();
        self.await_metrics("every port", |text| count(text) == PODS.len() + 1)
    }

    fn await_metrics(&self, what: &str, holds: impl Fn(&str) -> bool) -> Result<(), LabError> {
        let start = Instant::now();
        while !holds(&self.switch.metrics()?) {
            if start.elapsed() > PATIENCE {
                return Err(LabError::Waited { what: what.to_owned(), patience: PATIENCE });
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Has every frame of the sender tagged with VLAN 5, beside its bytes.
    fn tag_what_leaves(&self) -> Result<(), LabError> {
        let program = self.world.lab.state().join("vlan.o");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/vlan.bpf.c");
        run(Command::new("clang")
            .args(["-O2", "-target", "bpf", "-c"])
            .arg(source)
            .arg("-o")
            .arg(&program))?;
        let sender = namespace_of(&self.world.lab, &self.seats[0]);
        run(sender.command("tc").args(["qdisc", "add", "dev", "eth0", "clsact"]))?;
        let filter = ["filter", "add", "dev", "eth0", "egress", "bpf", "da", "obj"];
        run(sender.command("tc").args(filter).arg(&program).args(["sec", "tc"])).map(drop)
    }

    /// Sends an entry; what went otherwise than written, if anything did.
    fn try_entry(&mut self, entry: &Entry) -> Result<Option<String>, LabError> {
        let fate = self.fate(entry)?;
        let (arrived, drops) = wanted(entry.outcome, fate.sent);
        let wanted = Fate { sent: fate.sent, arrived, elsewhere: 0, drops };
        Ok((fate != wanted).then(|| format!("{fate:?}")))
    }

    /// Sends an entry; what became of it.
    fn fate(&mut self, entry: &Entry) -> Result<Fate, LabError> {
        self.scene.datagram += 1;
        let frames = entry.frames(&self.scene);
        let (before, outside) = (self.drops()?, self.outside.count());
        for frame in &frames {
            self.seats[0].send_frame(frame)?;
        }
        self.sent += frames.len();
        let start = Instant::now();
        let mut arrived = 0;
        let drops = loop {
            arrived += self.arrived(1);
            let drops = moved(&before, &self.drops()?);
            let dropped = drops.iter().map(|(_, count)| count).sum::<usize>();
            if arrived + dropped >= frames.len() || start.elapsed() > PATIENCE {
                break drops;
            }
        };
        let elsewhere = self.arrived(2) as u64 + self.outside.count() - outside;
        let _answers = self.seats[0].arrived();
        Ok(Fate { sent: frames.len(), arrived, elsewhere, drops })
    }

    /// Waits until so many frames of the switch have come to a pod.
    fn await_frames(&self, seat: usize, count: usize) -> Result<(), LabError> {
        let (start, mut arrived) = (Instant::now(), 0);
        while arrived < count {
            arrived += self.arrived(seat);
            if start.elapsed() > PATIENCE {
                let what = format!("{count} frames at {}", PODS[seat]);
                return Err(LabError::Waited { what, patience: PATIENCE });
            }
        }
        Ok(())
    }

    /// How many frames of the switch have come to a pod.
    fn arrived(&self, seat: usize) -> usize {
        let frames = self.seats[seat].arrived();
        frames.iter().filter(|frame| frame.get(6..12) == Some(&GATEWAY_MAC.0)).count()
    }

    fn drops(&self) -> Result<Vec<f64>, LabError> {
        let metrics = self.switch.metrics()?;
        let of = |reason: &DropReason| {
            let label = format!("reason=\"{}\"", reason.label());
            sum(&metrics, "lockgate_dropped_packets_total", &[&label])
        };
        Ok(DropReason::ALL.iter().map(of).collect())
    }
}

fn namespace_of(lab: &Lab, seat: &Seat) -> Namespace {
    Namespace::named(&format!("{}-{}", lab.shape().prefix, seat.interface))
}

/// The wires of the three pods, silent.
fn seats(lab: &Lab) -> Result<Vec<Seat>, LabError> {
    let silent = |number: usize| {
        let seat = Seat::build(lab, number)?;
        let namespace = namespace_of(lab, &seat);
        namespace.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
        // Its stack objects to options that it gets, whoever they are for, if it has a way back.
        namespace.ip(&["route del default".to_owned()])?;
        Ok(seat)
    };
    (0..PODS.len()).map(silent).collect()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts of packets are small
fn moved(before: &[f64], after: &[f64]) -> Vec<(DropReason, usize)> {
    let counts = before.iter().zip(after).map(|(then, now)| (now - then) as usize);
    DropReason::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0).collect()
}

/// How many frames arrive, and what the others are dropped for.
fn wanted(outcome: Outcome, frames: usize) -> (usize, Vec<(DropReason, usize)>) {
    match outcome {
        Outcome::Dropped(reason) => (0, vec![(reason, frames)]),
        Outcome::Judged | Outcome::Portless => (frames, vec![]),
        Outcome::Parts { arrive, wait, reason } => (arrive, vec![(reason, frames - arrive - wait)]),
    }
}
