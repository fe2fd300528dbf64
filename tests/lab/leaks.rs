//! Whatever happens to the switch, a forbidden packet reaches nobody.
//!
//! Two pods flood one that no rule lets them reach, one through the switch and one around it where
//! the node's kernel would forward. Meanwhile the switch is killed, stopped, started, given another
//! policy, and has ports added and removed. A raw socket in the target sees none of it.
//! `LEAK_ROUNDS` says how often (`scripts/soak leak`), 10 if it does not.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use lockgate_tests::lab::LabError;
use lockgate_tests::lab::flood::{Flood, Limit};
use lockgate_tests::lab::namespace::wait_for;
use lockgate_tests::lab::probe::Seen;
use lockgate_tests::lab::sniffer::{Sniffer, between};
use lockgate_tests::lab::switch::{Options, SwitchProcess};

use super::fixture::{FROM_CLIENT, SETTLE, World, ingress, pod, two_workers, with_three_pods};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] =
    &[("a flood of forbidden packets leaks nothing, whatever happens to the switch", leaks)];

/// Packets of each flood that a round must at least see, after what it did.
const PACKETS: u64 = 200;

/// How long nobody turns the workers after a kill or a stop.
const DEAD: Duration = Duration::from_millis(100);

/// A rule for the same pod that opens another port.
const FROM_CLIENT_TOO: &str =
    "{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 80}, {port: 443}]}";

/// What comes from a pod to the server, and what of it arrives.
struct Load {
    flood: Flood,
    sniffer: Sniffer,
}

impl Load {
    fn start(world: &World, from: &str, port: u16) -> Result<Self, LabError> {
        let limit = Limit { packets: u64::MAX, time: Duration::from_mins(20) };
        let (own, to) = (world.address(from, false)?, world.address("demo/server", false)?);
        let target = world.lab.place("demo/server")?.namespace;
        let sniffer = Sniffer::start(&target, between(own, to, None))?;
        let flood = Flood::start(&world.lab.place(from)?, (to, port).into(), limit)?;
        Ok(Self { flood, sniffer })
    }
}

fn leaks() -> Outcome {
    let rounds = std::env::var("LEAK_ROUNDS").ok().map_or(Ok(10), |text| text.parse::<usize>())?;
    let more = [("20-stranger.yaml", pod("stranger", 4))];
    let directory = with_three_pods(&more)?;
    directory.put("rule.yaml", &ingress("rule", &[FROM_CLIENT]))?;
    let mut world = World::build(directory, 1500)?;
    let options = two_workers(&world)?;
    let mut switch = SwitchProcess::start(&world.lab, &options)?;
    world.lab.bypass_gateway("demo/other")?;
    let loads =
        [Load::start(&world, "demo/stranger", 9002)?, Load::start(&world, "demo/other", 9003)?];
    for round in 0..rounds {
        // What a start or a new port made inert forwards again.
        world.lab.forward_by_kernel()?;
        switch = disturb(&mut world, switch, &options, round)?;
        let sent = loads.each_ref().map(|load| load.flood.sent());
        wait_for("the floods", SETTLE, || {
            loads.iter().zip(sent).all(|(load, sent)| load.flood.sent() > sent + PACKETS)
        })?;
        for (load, what) in loads.iter().zip(["through", "around"]) {
            assert_eq!(load.sniffer.count(), 0, "{what} the switch, round {round}");
        }
    }
    // It was a switch that judged, not one that was dead all the time.
    let asked = ("demo/client", "demo/server", 80);
    assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);
    let denied = switch.metric("lockgate_dropped_packets_total", &["ingress_denied"])?;
    assert!(denied > 0.0, "nothing was denied");
    // The test of the test: without the pins the flood around it arrives.
    world.lab.forward_by_kernel()?;
    switch.kill()?;
    fs::remove_dir_all(world.lab.state().join("bpf/lockgate"))?;
    let leaks = wait_for("a leak", SETTLE, || loads[1].sniffer.count() > 0);
    assert!(leaks.is_ok(), "no packet passed even without the pins: this test sees nothing");
    Ok(())
}

/// Does one thing of several to the switch; gives the one that runs then.
fn disturb(
    world: &mut World,
    switch: SwitchProcess,
    options: &Options,
    round: usize,
) -> Result<SwitchProcess, LabError> {
    match round % 5 {
        0 => switch.kill()?,
        1 => switch.stop()?,
        2 => {
            let rules = [FROM_CLIENT, FROM_CLIENT_TOO];
            let rule = rules[(round / 5 + 1) % 2];
            return world.directory.put("rule.yaml", &ingress("rule", &[rule])).map(|()| switch);
        }
        3 => return world.add_pod(&format!("late{round}"), 9).map(|()| switch),
        _ => {
            // The one of the round before.
            let name = format!("late{}", round - 1);
            world.directory.delete(&format!("20-{name}.yaml"))?;
            return world.lab.remove_pod(&format!("demo/{name}")).map(|()| switch);
        }
    }
    sleep(DEAD);
    SwitchProcess::start(&world.lab, options)
}
