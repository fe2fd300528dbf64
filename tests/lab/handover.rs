//! A planned hand-over: a new agent takes the ports of the one that runs, under load, again and
//! again, and with one of the two dying at each step.
//!
//! How long nothing passes is bounded here with slack for a busy machine; the figures are in decision
//! 23, from `measured`, which runs only where `LOCKGATE_HANDOVERS` says how often.

mod streams;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;

use lockgate_tests::lab::LabError;
use lockgate_tests::lab::namespace::{processes, run, wait_for};
use lockgate_tests::lab::probe::{Seen, Speech};
use lockgate_tests::lab::sniffer::{Sniffer, between};
use lockgate_tests::lab::stream::{Flow, Stream};
use lockgate_tests::lab::switch::{HOST_PORT, Options, SwitchProcess};

use super::fixture::{Directory, FROM_CLIENT, SETTLE, World, ingress, pod, with_three_pods};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("a hand-over is hardly noticed, one worker", || hardly_noticed(1)),
    ("a hand-over is hardly noticed, two workers", || hardly_noticed(2)),
    ("TCP goes on over hand-overs, each byte in its place, one worker", || streams::go_on(1)),
    ("TCP goes on over hand-overs, each byte in its place, two workers", || streams::go_on(2)),
    ("nothing forbidden passes in a hand-over", forbidden),
    ("ten hand-overs in a row leave nothing behind", ten),
    ("a successor that dies while it prepares is not missed", dies_preparing),
    ("a successor that dies when all was given gives it back", dies_taking),
    ("a successor that says nothing more but holds the lock is the switch", holds_the_lock),
    ("a hand-over from a switch that dies is a start", predecessor_dies),
    ("a hand-over to another number of workers makes the host port anew", other_workers),
    ("a hand-over of 2 and of 60 pods is told with what it takes", measured),
];

/// The longest that nothing may pass: five times the promise, for a machine that others use too.
const OUTAGE: Duration = Duration::from_millis(250);

/// How long a hand-over may take in all.
const WHOLE: Duration = Duration::from_secs(20);

/// How long the stream runs before and after.
const AROUND: Duration = Duration::from_millis(300);

/// Where no server listens: a stream's own port.
const PORT: u16 = 7100;

type Error = Box<dyn std::error::Error>;

/// A switch that takes over from the one that runs. `name` sets its log apart.
fn successor(world: &World, name: &str, workers: u8) -> Result<SwitchProcess, LabError> {
    let arguments = vec!["--take-over".to_owned()];
    let instance = name.to_owned();
    let options = Options { arguments, instance, workers, ..world.options()? };
    SwitchProcess::spawn(&world.lab, &options)
}

/// Hands over, and gives the new switch when the old one has ended by itself.
pub(super) fn hand_over(
    world: &World,
    mut old: SwitchProcess,
    name: &str,
    workers: u8,
) -> Result<SwitchProcess, Error> {
    let mut new = successor(world, name, workers)?;
    let ended = old.await_end(WHOLE);
    let status = ended.map_err(|error| format!("{error}\n{}", new.log()))?;
    assert!(status.success(), "the old one ended with {status}:\n{}", old.log());
    new.await_ready(SETTLE)?;
    assert!(new.log().contains("taken over"), "{}", new.log());
    Ok(new)
}

/// Two streams between two pods, one each way.
fn both_ways(world: &World, [one, two]: [&str; 2]) -> Result<[Stream; 2], LabError> {
    let (one, two) = (world.lab.place(one)?, world.lab.place(two)?);
    Ok([Stream::start(&one, &two, PORT)?, Stream::start(&two, &one, PORT)?])
}

fn hardly_noticed(workers: u8) -> Outcome {
    let (world, old) = World::switched(workers)?;
    let streams = both_ways(&world, ["demo/client", "demo/server"])?;
    std::thread::sleep(AROUND);
    let new = hand_over(&world, old, "next", workers)?;
    std::thread::sleep(AROUND);
    for flow in streams.map(Stream::end) {
        assert!(flow.received > 0 && flow.outage < OUTAGE, "{flow:?}");
    }
    for (speech, port) in [(Speech::Tcp, 80), (Speech::Udp, 53), (Speech::Icmp, 0)] {
        let seen = world.probe(speech, "demo/other", "demo/server", port)?;
        assert_eq!(seen, Seen::Answered, "{speech}");
    }
    assert_eq!(world.probe(Speech::Tcp, super::fixture::NODE, "demo/server", 80)?, Seen::Answered);
    new.stop()?;
    Ok(())
}

fn forbidden() -> Outcome {
    let world =
        World::build(with_three_pods(&[("30-p.yaml", ingress("p", &[FROM_CLIENT]))])?, 1500)?;
    let mut switch = world.start(2)?;
    world.lab.forward_by_kernel()?;
    // One addresses its packets to the interface itself: past the program they would arrive.
    world.lab.bypass_gateway("demo/other")?;
    let (from, to) = (world.address("demo/other", false)?, world.address("demo/server", false)?);
    let target = world.lab.place("demo/server")?;
    let sniffer = Sniffer::start(&target.namespace, between(from, to, Some(PORT)))?;
    let around = Stream::start(&world.lab.place("demo/other")?, &target, PORT)?;
    for round in 0..3 {
        switch = hand_over(&world, switch, &format!("next{round}"), 2)?;
    }
    assert_eq!(around.end().received, 0);
    assert_eq!(sniffer.count(), 0, "forbidden packets arrived");
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Answered);
    assert_eq!(world.probe(Speech::Tcp, "demo/other", "demo/server", 80)?, Seen::Silent);
    switch.stop()?;
    Ok(())
}

/// Everything of the node that a hand-over could leave: interfaces, pins, files, processes. Names,
/// for numbers and times differ.
fn remains(world: &World) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let links = run(world.lab.node().command("ip").args(["-j", "link", "show"]))?;
    let links: serde_json::Value = serde_json::from_slice(&links.stdout)?;
    for link in links.as_array().into_iter().flatten() {
        found.push(format!("link {}", link["ifname"]).replace("lockgate-x", "lockgate-w"));
    }
    for pins in fs::read_dir(world.lab.state().join("bpf/lockgate"))? {
        for pin in fs::read_dir(pins?.path())? {
            found.push(format!("pin {}", pin?.path().display()));
        }
    }
    for file in fs::read_dir(world.lab.state())? {
        let path = file?.path();
        // Logs and settings are the lab's own, and each instance has its socket.
        if !path.extension().is_some_and(|end| end == "log" || end == "toml" || end == "sock") {
            found.push(format!("file {}", path.display()));
        }
    }
    found.push(format!("{} processes", processes(world.lab.node().name()).len()));
    found.sort();
    Ok(found)
}

/// Waits until what the last one leaves on its way out has gone.
fn await_remains(world: &World, wanted: &[String]) -> Outcome {
    let _settled = wait_for("the old anchors to go", SETTLE, || {
        remains(world).is_ok_and(|left| left == wanted)
    });
    assert_eq!(remains(world)?, wanted);
    Ok(())
}

fn sockets(world: &World) -> usize {
    let files = fs::read_dir(world.lab.state()).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|end| end == "sock")).count()
}

fn ten() -> Outcome {
    let (world, mut switch) = World::switched(2)?;
    let before = remains(&world)?;
    for round in 0..10 {
        switch = hand_over(&world, switch, &format!("next{round}"), 2)?;
    }
    await_remains(&world, &before)?;
    assert_eq!(sockets(&world), 1, "each removes its own");
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Answered);
    switch.stop()?;
    assert!(!world.lab.node().has_interface(HOST_PORT), "{HOST_PORT} is still there");
    Ok(())
}

fn dies_preparing() -> Outcome {
    let (world, old) = World::switched(1)?;
    let before = remains(&world)?;
    let new = successor(&world, "next", 1)?;
    wait_for("the successor to ask", WHOLE, || old.log().contains("a successor prepares"))?;
    new.kill()?;
    wait_for("that to be heard", WHOLE, || old.log().contains("takes nothing over"))?;
    let streams = both_ways(&world, ["demo/client", "demo/server"])?;
    // Its anchors are left, as after any kill; the next one has the same names.
    let next = hand_over(&world, old, "after", 1)?;
    for flow in streams.map(Stream::end) {
        assert!(flow.received > 0 && flow.outage < OUTAGE, "{flow:?}");
    }
    await_remains(&world, &before)?;
    next.stop()?;
    Ok(())
}

/// Where the switch of a lab is asked for a hand-over.
fn door(world: &World) -> PathBuf {
    world.lab.state().join("lockgate.lock.handover-of-directory")
}

/// Speaks as a successor does, until all is given.
fn be_given(world: &World) -> Result<UnixStream, Error> {
    let mut stream = UnixStream::connect(door(world))?;
    stream.set_read_timeout(Some(WHOLE))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"lockgate hand-over 1\n")?;
    assert_eq!(lines.next().transpose()?.as_deref(), Some("ready w"));
    stream.write_all(b"give\n")?;
    assert_eq!(lines.next().transpose()?.as_deref(), Some("given"));
    Ok(stream)
}

/// What a successor leaves that published and was killed: files as the switch's own, and newer.
fn leave_newer(world: &World) -> Result<Vec<PathBuf>, Error> {
    let mut newer = Vec::new();
    for file in fs::read_dir(world.lab.state().join("memory/connections"))? {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let copy = path.with_file_name(format!("{}{}", "f".repeat(16), &name[16..]));
        fs::copy(&path, &copy)?;
        newer.push(copy);
    }
    assert!(newer.len() >= 2, "{newer:?}");
    Ok(newer)
}

fn dies_taking() -> Outcome {
    let (world, old) = World::switched(2)?;
    let before = remains(&world)?;
    for _ in 0..3 {
        let given = be_given(&world)?;
        // Nobody is the switch, and nothing passes.
        assert!(!door(&world).exists() && !old.is_ready());
        assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Silent);
        let newer = leave_newer(&world)?;
        drop(given);
        wait_for("the switch to go on", SETTLE, || old.is_ready())?;
        assert!(newer.iter().all(|path| !path.exists()), "the next start would believe {newer:?}");
        let asked = ("demo/client", "demo/server", 80);
        assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);
    }
    let ports = world.ask("ports")?;
    assert_eq!(ports["ports"].as_array().map_or(0, Vec::len), 4, "{ports}");
    await_remains(&world, &before)?;
    let next = hand_over(&world, old, "next", 2)?;
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Answered);
    next.stop()?;
    Ok(())
}

fn holds_the_lock() -> Outcome {
    let (world, mut old) = World::switched(1)?;
    let given = be_given(&world)?;
    let file = fs::File::options().write(true).open(world.lab.state().join("lockgate.lock"))?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
    drop(given);
    let status = old.await_end(WHOLE)?;
    assert!(!status.success());
    assert!(old.log().contains("already running"), "{}", old.log());
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Silent);
    let node = world.lab.node();
    assert!(!node.has_interface("lockgate-w0") && node.has_interface(HOST_PORT));
    drop(lock);
    let next = world.start(1)?;
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Answered);
    next.stop()?;
    Ok(())
}

fn predecessor_dies() -> Outcome {
    let (world, mut switch) = World::switched(1)?;
    for (round, milliseconds) in [0, 20, 60, 150].into_iter().enumerate() {
        let mut next = successor(&world, &format!("next{round}"), 1)?;
        std::thread::sleep(Duration::from_millis(milliseconds));
        // It may have ended by itself by now.
        let _ = switch.signal(Signal::SIGKILL);
        let _ended = switch.await_end(WHOLE)?;
        let is_serving =
            |next: &SwitchProcess| next.log().contains("\"running\"") || next.is_ready();
        wait_for("the next to serve", WHOLE, || is_serving(&next))
            .map_err(|error| format!("{error}\n{}", next.log()))?;
        next.await_ready(SETTLE)?;
        let asked = ("demo/client", "demo/server", 80);
        assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);
        switch = next;
    }
    switch.stop()?;
    let node = world.lab.node();
    for anchor in ["lockgate-w0", "lockgate-x0", HOST_PORT] {
        assert!(!node.has_interface(anchor), "{anchor} is still there");
    }
    Ok(())
}

fn other_workers() -> Outcome {
    let (world, old) = World::switched(1)?;
    let new = hand_over(&world, old, "next", 2)?;
    let asked = ("demo/client", "demo/server", 80);
    assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);
    world.lab.connect_outside(lockgate_tests::lab::switch::FAR_END)?;
    assert_eq!(world.probe(Speech::Tcp, super::fixture::NODE, "demo/server", 80)?, Seen::Answered);
    new.stop()?;
    Ok(())
}

/// Prints the outage of hand-overs with 2 and with 60 pods: of one, unless `LOCKGATE_HANDOVERS` says
/// another number.
fn measured() -> Outcome {
    let rounds = std::env::var("LOCKGATE_HANDOVERS").map_or(Ok(1), |text| text.parse::<usize>())?;
    for pods in [2_u8, 60] {
        let directory = Directory::empty("many")?;
        directory.put("10-namespace.yaml", &super::fixture::namespace("demo"))?;
        for number in 1..=pods {
            directory.put(&format!("20-{number}.yaml"), &pod(&format!("p{number}"), number))?;
        }
        let world = World::build(directory, 1500)?;
        let mut switch = world.start(2)?;
        let mut flows: Vec<Flow> = Vec::new();
        for round in 0..rounds {
            // The last pod is the last to be bound.
            let streams = both_ways(&world, ["demo/p1", &format!("demo/p{pods}")])?;
            std::thread::sleep(AROUND);
            switch = hand_over(&world, switch, &format!("next{round}"), 2)?;
            std::thread::sleep(AROUND);
            flows.extend(streams.map(Stream::end));
        }
        let mut outages: Vec<Duration> = flows.iter().map(|flow| flow.outage).collect();
        let mut longest: Vec<Duration> = flows.iter().map(|flow| flow.longest).collect();
        outages.sort();
        longest.sort();
        let of = |all: &[Duration]| (all[all.len() / 2], all[all.len() - 1]);
        let (outage, gap) = (of(&outages), of(&longest));
        super::say(&format!("{pods} pods: outage {outage:?}, gap {gap:?} (median, worst)"));
        switch.stop()?;
    }
    Ok(())
}
