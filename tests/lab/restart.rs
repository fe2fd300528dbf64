//! Connections over a crash: real sockets go on talking when the switch is killed and started again,
//! if policy lets them, and not one packet passes that it forbids.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lockgate_tests::lab::LabError;
use lockgate_tests::lab::flood::{Flood, Limit};
use lockgate_tests::lab::namespace::wait_for;
use lockgate_tests::lab::probe::{Seen, Speech};
use lockgate_tests::lab::sniffer::{Sniffer, between};
use lockgate_tests::lab::steady::{Course, Steady};
use lockgate_tests::lab::switch::{Options, SwitchProcess};

use super::fixture::{FROM_CLIENT, NODE, OUTSIDE, World, ingress, with_three_pods};
use super::handover::hand_over;
use super::services::{self, SERVER, service};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("connections go on after kill -9, one worker", || go_on(1)),
    ("connections go on after kill -9, two workers", || go_on(2)),
    ("connections go on after kill -9 with another number of workers", fewer_workers),
    ("after kill -9 a connection that policy denies by now is cut", denied_by_now),
    ("after kill -9 without files, what either end may open is picked up", picked_up),
    ("where there is no room for files connections end with the switch, which says so", no_room),
    ("a connection by a Service that went goes on after kill -9 and a hand-over", departed),
    ("killed again and again under load: connections go on, nothing forbidden passes", again),
];

/// How long a connection may be silent over a restart: TCP waits longer each time it sends again.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a connection is watched afterwards.
const WATCH: Duration = Duration::from_millis(500);

/// Times that the last case kills the switch, unless `RESTARTS` says another number.
const RESTARTS: u32 = 20;

/// Who talks to whom: on the node and past it, each way.
const TALKS: [(&str, &str); 5] = [
    ("demo/client", "demo/server"),
    ("demo/server", "demo/client"),
    ("demo/other", "demo/client"),
    (NODE, "demo/other"),
    (OUTSIDE, "demo/client"),
];

/// Three pods, of which only `client` may call `server`.
fn build() -> Result<World, LabError> {
    let directory = with_three_pods(&[("rule.yaml", ingress("rule", &[FROM_CLIENT]))])?;
    World::build(directory, 1500)
}

fn talk(world: &World, from: &str, to: &str) -> Result<Steady, LabError> {
    patient(world, (from, to), PATIENCE)
}

fn patient(
    world: &World,
    (from, to): (&str, &str),
    patience: Duration,
) -> Result<Steady, LabError> {
    let target = (world.address(to, false)?, 80).into();
    Steady::patient(&world.lab.place(from)?, target, patience)
}

fn talks(world: &World, patience: Duration) -> Result<Vec<(String, Steady)>, LabError> {
    let begin = |(from, to): (&str, &str)| {
        Ok((format!("{from} to {to}"), patient(world, (from, to), patience)?))
    };
    let mut all = TALKS.into_iter().map(begin).collect::<Result<Vec<_>, LabError>>()?;
    let outside: IpAddr = OUTSIDE.parse().map_err(|_| LabError::Unknown(OUTSIDE.to_owned()))?;
    let outside = (outside, 443).into();
    let steady = Steady::patient(&world.lab.place("demo/client")?, outside, patience)?;
    all.push(("demo/client to outside".to_owned(), steady));
    Ok(all)
}

/// Kills the switch and starts another.
fn killed(world: &World, switch: SwitchProcess, workers: u8) -> Result<SwitchProcess, LabError> {
    switch.kill()?;
    let options = Options { workers, restart: "grace = 0\n".to_owned(), ..world.options()? };
    let mut switch = SwitchProcess::spawn(&world.lab, &options)?;
    switch.await_ready(Duration::from_secs(20))?;
    Ok(switch)
}

/// Each answers a question that was asked from now on. TCP waits about as long again as it was
/// silent; whoever kills the next switch in that wait has it wait for ever longer.
fn all_answer(talks: &[(String, Steady)]) -> Outcome {
    let before: Vec<u64> = talks.iter().map(|(_, steady)| steady.exchanges()).collect();
    let is_heard = |((_, steady), before): (&(String, Steady), &u64)| {
        // The next answer may be to a question that was asked before.
        steady.exchanges() >= before + 2
    };
    let all = || talks.iter().zip(&before).all(is_heard);
    wait_for("every connection to go on", PATIENCE, all).map_err(|error| {
        let silent = talks.iter().zip(&before).filter(|&pair| !is_heard(pair));
        let names: Vec<&String> = silent.map(|((name, _), _)| name).collect();
        format!("{error}: {names:?}").into()
    })
}

fn all_went_on(talks: Vec<(String, Steady)>) -> Vec<Course> {
    let ended: Vec<(String, Course)> =
        talks.into_iter().map(|(name, steady)| (name, steady.end())).collect();
    for (name, course) in &ended {
        assert!(!course.is_cut, "{name} was cut: {ended:?}");
        assert!(course.exchanges > 50, "{name} hardly spoke: {course:?}");
    }
    ended.into_iter().map(|(_, course)| course).collect()
}

fn go_on(workers: u8) -> Outcome {
    let world = build()?;
    let mut switch = world.start(workers)?;
    let talks = talks(&world, PATIENCE)?;
    sleep(WATCH);
    for _ in 0..2 {
        switch = killed(&world, switch, workers)?;
        // One that waits long to send again is not to be killed in its wait.
        sleep(Duration::from_secs(2));
    }
    all_went_on(talks);
    let log = switch.log();
    assert!(log.contains("connections taken over"), "{log}");
    switch.stop()?;
    Ok(())
}

fn fewer_workers() -> Outcome {
    let world = build()?;
    let mut switch = world.start(2)?;
    // What came from outside through the second worker is as well the first one's now.
    let talks = talks(&world, PATIENCE)?;
    sleep(WATCH);
    for workers in [1, 2] {
        switch = killed(&world, switch, workers)?;
        world.lab.connect_outside(lockgate_tests::lab::switch::FAR_END)?;
        sleep(Duration::from_secs(3));
    }
    all_went_on(talks);
    switch.stop()?;
    Ok(())
}

fn denied_by_now() -> Outcome {
    let world = build()?;
    let switch = world.start(1)?;
    let (client, server) =
        (world.address("demo/client", false)?, world.address("demo/server", false)?);
    let cut = talk(&world, "demo/client", "demo/server")?;
    let kept = talk(&world, "demo/other", "demo/client")?;
    sleep(WATCH);
    switch.kill()?;
    world.directory.put("rule.yaml", &ingress("rule", &[]))?;
    // Whatever the dead switch had sent has arrived.
    sleep(Duration::from_millis(200));
    let target = world.lab.place("demo/server")?.namespace;
    let sniffer = Sniffer::start(&target, between(client, server, None))?;
    let options = Options { restart: "grace = 0\n".to_owned(), ..world.options()? };
    let mut switch = SwitchProcess::spawn(&world.lab, &options)?;
    switch.await_ready(Duration::from_secs(20))?;
    sleep(Duration::from_secs(3));
    assert_eq!(sniffer.count(), 0, "packets reached a pod that denies them");
    let course = kept.end();
    assert!(!course.is_cut, "another's connection was cut: {course:?}");
    wait_for("the denied connection to be cut", PATIENCE * 2, || cut.is_cut())?;
    switch.stop()?;
    Ok(())
}

fn picked_up() -> Outcome {
    let world = build()?;
    let nobody = ingress("nobody", &[]).replace("app: server", "app: client");
    world.directory.put("nobody.yaml", &nobody)?;
    let mut switch = world.start(1)?;
    let cut = talk(&world, "demo/client", "demo/server")?;
    let talks = vec![("outside to other".to_owned(), talk(&world, OUTSIDE, "demo/other")?)];
    sleep(WATCH);
    switch.kill()?;
    std::fs::remove_dir_all(world.lab.state().join("memory/connections"))?;
    // Nobody may call `client`; anybody may call `other`, which may call anybody.
    switch = SwitchProcess::spawn(&world.lab, &world.options()?)?;
    switch.await_ready(Duration::from_secs(20))?;
    sleep(Duration::from_secs(3));
    assert!(switch.metric("lockgate_connections_picked_up_total", &[])? >= 1.0);
    all_went_on(talks);
    wait_for("the connection that one side alone may open to be cut", PATIENCE * 2, || {
        cut.is_cut()
    })?;
    switch.stop()?;
    Ok(())
}

fn no_room() -> Outcome {
    let world = build()?;
    let directory = world.lab.state().join("memory/connections");
    let directory = directory.display();
    // The mount is of the switch alone, and goes with it.
    let full = format!(
        "mkdir -p '{directory}' && mount -t tmpfs -o size=1m none '{directory}' \
         && exec \"$0\" \"$@\""
    );
    let wrapper = ["unshare", "--mount", "sh", "-c", &full].map(str::to_owned).to_vec();
    let switch = SwitchProcess::start(&world.lab, &Options { wrapper, ..world.options()? })?;
    let status = world.ask("status")?.to_string();
    assert!(status.contains("connections end with this process"), "{status}");
    let mut left = Vec::new();
    for file in std::fs::read_dir(format!("/proc/{}/root{directory}", switch.id()))? {
        left.push(file?.file_name().into_string().unwrap_or_default());
    }
    assert!(!left.is_empty(), "no names of pods either");
    assert!(!left.iter().any(|name| name.ends_with(".connections")), "half a file: {left:?}");
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Answered);
    switch.stop()?;
    Ok(())
}

fn departed() -> Outcome {
    let directory = with_three_pods(&[("web.yaml", services::manifest(&[SERVER], ""))])?;
    let world = World::build(directory, 1500)?;
    let mut switch = world.start(2)?;
    let mut talks = Vec::new();
    for v6 in [false, true] {
        for from in ["demo/client", "demo/other"] {
            let to = (service(v6), 8080).into();
            let steady = Steady::patient(&world.lab.place(from)?, to, PATIENCE)?;
            talks.push((format!("{from}, v6={v6}"), steady));
        }
    }
    world.directory.delete("web.yaml")?;
    let is_gone = || {
        let seen = services::ask(&world, "demo/client", Speech::Tcp, 8080, false);
        seen.is_ok_and(|seen| seen != Seen::Answered)
    };
    wait_for("the Service to be gone", PATIENCE, is_gone)?;
    all_answer(&talks)?;
    for workers in [2, 1] {
        switch = killed(&world, switch, workers)?;
        all_answer(&talks)?;
    }
    for name in ["next", "last"] {
        switch = hand_over(&world, switch, name, 1)?;
        all_answer(&talks)?;
    }
    all_went_on(talks);
    switch.stop()?;
    Ok(())
}

fn again() -> Outcome {
    let times = std::env::var("RESTARTS").ok().and_then(|text| text.parse().ok());
    let world = build()?;
    let mut switch = world.start(2)?;
    let talks = talks(&world, PATIENCE)?;
    let (other, server) =
        (world.address("demo/other", false)?, world.address("demo/server", false)?);
    let target = world.lab.place("demo/server")?.namespace;
    let sniffer = Sniffer::start(&target, between(other, server, None))?;
    let limit = Limit { packets: u64::MAX, time: Duration::from_mins(30) };
    let flood = Flood::start(&world.lab.place("demo/other")?, (server, 9001).into(), limit)?;
    let (begun, times) = (Instant::now(), times.unwrap_or(RESTARTS));
    for _ in 0..times {
        switch = killed(&world, switch, 2)?;
        let sent = flood.sent();
        all_answer(&talks)?;
        wait_for("the load to go on", PATIENCE, || flood.sent() > sent + 100)?;
    }
    assert_eq!(sniffer.count(), 0, "a forbidden packet arrived");
    let courses = all_went_on(talks);
    let longest = courses.iter().map(|course| course.longest).max();
    super::say(&format!("{times} kills in {:?}, silent for at most {longest:?}", begun.elapsed()));
    let status = world.ask("ports")?;
    assert_eq!(status["ports"].as_array().map_or(0, Vec::len), 4, "{status}");
    switch.stop()?;
    Ok(())
}
