//! Policy that changes while the switch runs: the directory is the truth, at once.

use std::thread::sleep;
use std::time::{Duration, Instant};

use lockgate_tests::lab::namespace::wait_for;
use lockgate_tests::lab::probe::{self, PATIENCE, Seen, Speech};
use lockgate_tests::lab::steady::Steady;

use super::fixture::{CHANGE, FROM_CLIENT, World, ingress, with_three_pods};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("an established connection is cut when its permission is revoked", revoked_is_cut),
    ("an established connection revives when its permission comes back", revived),
    ("a permission that is added is in force within ten times the promise", added),
    ("a change that concerns others does not disturb a connection", undisturbed),
    ("a file that becomes unreadable keeps its last good policy", last_good),
    ("a policy that is deleted isolates no more", deleted),
];

/// The case's question.
const ASKED: (&str, &str, u16) = ("demo/client", "demo/server", 80);

fn revoked_is_cut() -> Outcome {
    let directory = with_three_pods(&[("rule.yaml", ingress("rule", &[FROM_CLIENT]))])?;
    let world = World::build(directory, 1500)?;
    let switch = world.start(2)?;
    let target = (world.address("demo/server", false)?, 80).into();
    let steady = Steady::start(&world.lab.place("demo/client")?, target)?;
    sleep(Duration::from_millis(200));
    assert!(!steady.is_cut(), "it did not even begin");
    world.directory.put("rule.yaml", &ingress("rule", &[]))?;
    wait_for("the connection's cut", CHANGE + PATIENCE, || steady.is_cut())?;
    let course = steady.end();
    assert!(course.exchanges > 10, "{course:?}");
    let rejudged = switch.metric("lockgate_connections_rejudged_total", &[])?;
    assert!(rejudged >= 1.0, "it was cut, but by nobody's judgement");
    Ok(())
}

fn revived() -> Outcome {
    let allow = ingress("rule", &[FROM_CLIENT]);
    let world = World::build(with_three_pods(&[("rule.yaml", allow.clone())])?, 1500)?;
    let _switch = world.start(1)?;
    let target = (world.address("demo/server", false)?, 80).into();
    let mut stream = probe::connect(&world.lab.place("demo/client")?, target, PATIENCE)?;
    assert_eq!(probe::echo(&mut stream, PATIENCE), Seen::Answered);
    world.directory.put("rule.yaml", &ingress("rule", &[]))?;
    assert_eq!(world.probe_until(Seen::Silent, ASKED, CHANGE)?, Seen::Silent);
    assert_eq!(probe::echo(&mut stream, Duration::from_millis(300)), Seen::Silent);
    world.directory.put("rule.yaml", &allow)?;
    // The stack sends again what was not acknowledged; TCP's own clock sets the pace.
    let mut back = Vec::new();
    let start = Instant::now();
    while back != b"lockgate-lab-probe" && start.elapsed() < Duration::from_secs(10) {
        use std::io::Read;
        let mut room = [0; 18];
        if let Ok(length) = stream.read(&mut room) {
            back.extend_from_slice(&room[..length]);
        }
    }
    assert_eq!(back, b"lockgate-lab-probe", "the connection did not come back");
    assert_eq!(probe::echo(&mut stream, PATIENCE), Seen::Answered);
    Ok(())
}

fn added() -> Outcome {
    let world = World::build(with_three_pods(&[("rule.yaml", ingress("rule", &[]))])?, 1500)?;
    let switch = world.start(2)?;
    assert_eq!(world.probe(Speech::Tcp, ASKED.0, ASKED.1, ASKED.2)?, Seen::Silent);
    let before = switch.metric("lockgate_policy_epoch", &[])?;
    world.directory.put("rule.yaml", &ingress("rule", &[FROM_CLIENT]))?;
    assert_eq!(world.probe_until(Seen::Answered, ASKED, CHANGE)?, Seen::Answered);
    assert!(switch.metric("lockgate_policy_epoch", &[])? > before, "the epoch did not move");
    let applied = switch.metric("lockgate_apply_latency_seconds_count", &[])?;
    let seconds = switch.metric("lockgate_apply_latency_seconds_sum", &[])?;
    assert!(applied >= 1.0 && seconds / applied < CHANGE.as_secs_f64(), "{seconds} / {applied}");
    Ok(())
}

fn undisturbed() -> Outcome {
    let directory = with_three_pods(&[("rule.yaml", ingress("rule", &[FROM_CLIENT]))])?;
    let world = World::build(directory, 1500)?;
    let _switch = world.start(2)?;
    let target = (world.address("demo/server", false)?, 80).into();
    let steady = Steady::start(&world.lab.place("demo/client")?, target)?;
    for turn in 0..10 {
        let other = ingress(&format!("other-{turn}"), &[]).replace("app: server", "app: other");
        world.directory.put("other.yaml", &other)?;
        sleep(Duration::from_millis(50));
    }
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/other", 80)?, Seen::Silent);
    let course = steady.end();
    assert!(!course.is_cut && course.exchanges > 50, "{course:?}");
    Ok(())
}

fn last_good() -> Outcome {
    let directory = with_three_pods(&[("rule.yaml", ingress("rule", &[FROM_CLIENT]))])?;
    let world = World::build(directory, 1500)?;
    let switch = world.start(1)?;
    for broken in ["", "kind: [", "\u{0}\u{1}"] {
        world.directory.put("rule.yaml", broken)?;
        wait_for("the log to name the file", CHANGE, || switch.log().contains("rule.yaml"))?;
        assert_eq!(world.probe(Speech::Tcp, ASKED.0, ASKED.1, ASKED.2)?, Seen::Answered);
        assert_eq!(world.probe(Speech::Tcp, "demo/other", ASKED.1, ASKED.2)?, Seen::Silent);
    }
    Ok(())
}

fn deleted() -> Outcome {
    let world = World::build(with_three_pods(&[("rule.yaml", ingress("rule", &[]))])?, 1500)?;
    let _switch = world.start(1)?;
    assert_eq!(world.probe(Speech::Tcp, ASKED.0, ASKED.1, ASKED.2)?, Seen::Silent);
    world.directory.delete("rule.yaml")?;
    assert_eq!(world.probe_until(Seen::Answered, ASKED, CHANGE)?, Seen::Answered);
    Ok(())
}
