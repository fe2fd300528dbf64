//! Fail closed: the process dies under load, and from then on no packet passes.
//!
//! The node's kernel is made to forward between the pods, past every inert setting, and one pod
//! addresses its packets to the interface itself: whatever the program lets through arrives, and
//! a sniffer in the target's namespace sees it. The same lab with the pins removed must leak, or
//! the silence before would prove nothing.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lockgate_tests::lab::LabError;
use lockgate_tests::lab::flood::{Flood, Limit};
use lockgate_tests::lab::namespace::wait_for;
use lockgate_tests::lab::probe::{Seen, Speech};
use lockgate_tests::lab::sniffer::{Sniffer, between};
use lockgate_tests::lab::switch::{Options, SwitchProcess};

use super::fixture::{Directory, FROM_CLIENT, World, ingress, pod, with_three_pods};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("kill -9 under load: no packet passes, and without the pins some do", || killed(1)),
    ("kill -9 under load with two workers: no packet passes", || killed(2)),
    ("a start after kill -9 judges new connections within a second", restart),
    ("a start after kill -9 judges those of twenty pods within a second", restart_of_twenty),
];

/// How long a restarted switch is waited for, to tell slow from broken.
const WAIT: Duration = Duration::from_secs(20);

/// How long the dead switch is watched.
const WATCH: Duration = Duration::from_secs(2);

/// How long packets that the dead switch had already sent may be under way in the kernel.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// A load that passes the switch, and one that goes around it where it can.
struct Load {
    through: (Flood, Sniffer),
    around: (Flood, Sniffer),
}

impl Load {
    fn start(world: &World) -> Result<Self, LabError> {
        let limit = Limit { packets: u64::MAX, time: Duration::from_mins(1) };
        let target = world.lab.place("demo/server")?.namespace;
        let to = world.address("demo/server", false)?;
        let load = |from: &str, port: u16| -> Result<(Flood, Sniffer), LabError> {
            let place = world.lab.place(from)?;
            let address = world.address(from, false)?;
            let sniffer = Sniffer::start(&target, between(address, to, Some(port)))?;
            Ok((Flood::start(&place, (to, port).into(), limit)?, sniffer))
        };
        world.lab.forward_by_kernel()?;
        world.lab.bypass_gateway("demo/other")?;
        Ok(Self { through: load("demo/client", 9001)?, around: load("demo/other", 9002)? })
    }
}

fn killed(workers: u8) -> Outcome {
    let (world, switch) = World::switched(workers)?;
    let Load { through, around } = Load::start(&world)?;
    wait_for("a load", Duration::from_secs(5), || through.1.count() > 1000)?;
    switch.kill()?;
    sleep(UNDER_WAY);
    // The sniffer may still be busy with what arrived before.
    let settled = settle(&through.1)?;
    let sent = (through.0.sent(), around.0.sent());
    sleep(WATCH);
    assert!(through.0.sent() > sent.0 + 1000, "the load stopped by itself");
    assert!(around.0.sent() > sent.1 + 1000, "the load around stopped by itself");
    assert_eq!(through.1.count(), settled, "packets passed a dead switch");
    assert_eq!(around.1.count(), 0, "packets passed around the switch");
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Silent);

    fs::remove_dir_all(world.lab.state().join("bpf/lockgate"))?;
    let leaks = wait_for("a leak", Duration::from_secs(5), || around.1.count() > 0);
    assert!(leaks.is_ok(), "no packet passed even without the pins: this test sees nothing");
    Ok(())
}

/// Waits until a sniffer's count stands still for a moment; gives the count.
fn settle(sniffer: &Sniffer) -> Result<u64, LabError> {
    let mut last = (sniffer.count(), Instant::now());
    wait_for("the dead switch's last packets", Duration::from_secs(2), || {
        let count = sniffer.count();
        if count != last.0 {
            last = (count, Instant::now());
        }
        last.1.elapsed() > UNDER_WAY
    })?;
    Ok(last.0)
}

fn restart() -> Outcome {
    let directory = with_three_pods(&[("rule.yaml", ingress("rule", &[FROM_CLIENT]))])?;
    let world = World::build(directory, 1500)?;
    let mut switch = world.start(2)?;
    // A pod that asked a dead switch for the gateway's MAC asks again a second later: the time of
    // its own stack. So every pod knows it before.
    for from in ["demo/client", super::fixture::NODE] {
        let seen = world.probe_until(Seen::Answered, (from, "demo/server", 80), WAIT)?;
        assert_eq!(seen, Seen::Answered, "{from}");
    }
    let mut times = Vec::new();
    for _ in 0..5 {
        switch.kill()?;
        let start = Instant::now();
        switch = SwitchProcess::spawn(&world.lab, &super::fixture::two_workers(&world)?)?;
        let asked = ("demo/client", "demo/server", 80);
        let seen = world.probe_until(Seen::Answered, asked, WAIT)?;
        assert_eq!(seen, Seen::Answered, "{}", switch.log());
        times.push(start.elapsed());
        assert_eq!(world.probe(Speech::Tcp, "demo/other", "demo/server", 80)?, Seen::Silent);
        // The host port was taken over as it was: its far end needs no new routes.
        let node = world.probe(Speech::Tcp, super::fixture::NODE, "demo/server", 80)?;
        assert_eq!(node, Seen::Answered);
    }
    times.sort();
    eprintln!("       from start to first judged connection: {times:?}");
    // The median: one start may meet a machine that is busy with something else.
    assert!(times[2] < Duration::from_secs(1), "{times:?}");
    Ok(())
}

fn restart_of_twenty() -> Outcome {
    let directory = Directory::empty("twenty")?;
    let names: Vec<String> = (1..=20).map(|number| format!("p{number:02}")).collect();
    for (name, number) in names.iter().zip(1..) {
        directory.put(&format!("20-{name}.yaml"), &pod(name, number))?;
    }
    let world = World::build(directory, 1500)?;
    // Frames enough for what eleven idle ports of a worker keep in their fill rings.
    let settings = "frames_per_worker = 16384\n".to_owned();
    let options = Options { settings, ..super::fixture::two_workers(&world)? };
    let mut switch = SwitchProcess::start(&world.lab, &options)?;
    let asked = [("demo/p20", "demo/p01", 80), ("demo/p01", "demo/p20", 80)];
    for asked in asked {
        let seen = world.probe_until(Seen::Answered, asked, WAIT)?;
        assert_eq!(seen, Seen::Answered, "{}", switch.log());
    }
    let mut times = Vec::new();
    for _ in 0..3 {
        switch.kill()?;
        let start = Instant::now();
        switch = SwitchProcess::spawn(&world.lab, &options)?;
        // The first and the last: ports are added in the order of their names.
        for asked in asked {
            let seen = world.probe_until(Seen::Answered, asked, WAIT)?;
            assert_eq!(seen, Seen::Answered, "{}", switch.log());
        }
        times.push(start.elapsed());
    }
    times.sort();
    eprintln!("       from start to the last of twenty ports: {times:?}");
    assert!(times[1] < Duration::from_secs(1), "{times:?}");
    Ok(())
}
