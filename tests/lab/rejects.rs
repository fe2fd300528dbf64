//! What real stacks make of what the switch tells those whom policy denies.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use lockgate_tests::lab::LabError;
use lockgate_tests::lab::namespace::wait_for;
use lockgate_tests::lab::probe::{self, PATIENCE, Seen};
use lockgate_tests::lab::switch::{Options, SwitchProcess};
use nix::errno::Errno;

use super::fixture::{CHANGE, FROM_CLIENT, OUTSIDE, SETTLE, World, ingress, with_three_pods};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("a denied connection is refused at once where the setting is reject, one worker", || told(1)),
    ("a denied connection is refused at once where the setting is reject, two workers", || told(2)),
    ("a denied connection times out where the setting is drop", untold),
    (
        "an established connection is reset when its permission is revoked and the setting is reject",
        cut,
    ),
];

/// A refusal comes well within this; a connection that is not answered tries again after 1 s.
const AT_ONCE: Duration = Duration::from_millis(500);

fn rejecting(world: &World, workers: u8) -> Result<Options, LabError> {
    let settings = "denied = \"reject\"\n".to_owned();
    Ok(Options { workers, settings, ..world.options()? })
}

fn world() -> Result<World, LabError> {
    World::build(with_three_pods(&[("rule.yaml", ingress("rule", &[FROM_CLIENT]))])?, 1500)
}

/// What a stack tells the program that connects, or sends a datagram and waits; and when.
fn answer(
    world: &World,
    is_tcp: bool,
    (from, to): (&str, SocketAddr),
) -> Result<(Option<Errno>, Duration), LabError> {
    let place = world.lab.place(from)?;
    let own = place.address(to.is_ipv6()).ok_or_else(|| LabError::Unknown(from.to_owned()))?;
    let start = Instant::now();
    let outcome = place.namespace.enter(|| -> io::Result<()> {
        if is_tcp {
            return TcpStream::connect_timeout(&to, PATIENCE).map(drop);
        }
        let socket = UdpSocket::bind(SocketAddr::new(own, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"who")?;
        socket.recv(&mut [0; 64]).map(drop)
    })?;
    let number = outcome.err().map(|error| error.raw_os_error().map_or(Errno::ETIMEDOUT, errno));
    Ok((number, start.elapsed()))
}

fn errno(number: i32) -> Errno {
    // A read that timed out says so in another word.
    match Errno::from_raw(number) {
        Errno::EAGAIN => Errno::ETIMEDOUT,
        other => other,
    }
}

fn told(workers: u8) -> Outcome {
    let world = world()?;
    let switch = SwitchProcess::start(&world.lab, &rejecting(&world, workers)?)?;
    let outside = [OUTSIDE, "2001:db8:51::7"];
    for (v6, prohibited) in [(false, Errno::EHOSTUNREACH), (true, Errno::EACCES)] {
        let server = world.address("demo/server", v6)?;
        for from in ["demo/other", outside[usize::from(v6)]] {
            // What its stack takes for ARP, ND and its own address is not the switch's time.
            let first = SocketAddr::new(server, 81);
            let is_refused = || {
                let answer = answer(&world, true, (from, first));
                answer.is_ok_and(|(error, _)| error == Some(Errno::ECONNREFUSED))
            };
            wait_for("the first refusal", SETTLE, is_refused)?;
            for (is_tcp, port, expected) in
                [(true, 80, Errno::ECONNREFUSED), (false, 53, prohibited)]
            {
                let (error, took) = answer(&world, is_tcp, (from, SocketAddr::new(server, port)))?;
                assert_eq!(error, Some(expected), "from {from}, {port}, after {took:?}");
                assert!(took < AT_ONCE, "from {from}, {port}: {took:?}");
            }
        }
        // What is allowed is as ever.
        let to = SocketAddr::new(server, 80);
        assert_eq!(answer(&world, true, ("demo/client", to))?.0, None);
    }
    let told = switch.metric("lockgate_rejects_total", &["end=\"sent\""])?;
    let denied = switch.metric("lockgate_dropped_packets_total", &["reason=\"ingress_denied\""])?;
    assert!(told >= 12.0 && told <= denied, "{told} of {denied}");
    switch.stop()?;
    Ok(())
}

fn untold() -> Outcome {
    let world = world()?;
    let switch = world.start(2)?;
    for v6 in [false, true] {
        let server = world.address("demo/server", v6)?;
        for (is_tcp, port) in [(true, 80), (false, 53)] {
            let (error, took) = answer(&world, is_tcp, ("demo/other", (server, port).into()))?;
            assert_eq!(error, Some(Errno::ETIMEDOUT), "{port} after {took:?}");
            assert!(took >= PATIENCE, "{took:?}");
        }
    }
    assert!(switch.metric("lockgate_rejects_total", &[])? < 0.5, "somebody was told");
    switch.stop()?;
    Ok(())
}

fn cut() -> Outcome {
    let world = world()?;
    let switch = SwitchProcess::start(&world.lab, &rejecting(&world, 2)?)?;
    for v6 in [false, true] {
        let server = SocketAddr::new(world.address("demo/server", v6)?, 80);
        let mut stream = probe::connect(&world.lab.place("demo/client")?, server, PATIENCE)?;
        assert_eq!(probe::echo(&mut stream, PATIENCE), Seen::Answered);
        world.directory.put("rule.yaml", &ingress("rule", &[]))?;
        let start = Instant::now();
        while probe::echo(&mut stream, Duration::from_millis(50)) == Seen::Answered {
            assert!(start.elapsed() < CHANGE, "the change is not in force");
        }
        let seen = probe::echo(&mut stream, AT_ONCE);
        assert_eq!(seen, Seen::Broken, "v6={v6}: its stack took the reset");
        world.directory.put("rule.yaml", &ingress("rule", &[FROM_CLIENT]))?;
        let allowed = world.probe_until(Seen::Answered, ("demo/client", "demo/server", 80), CHANGE);
        assert_eq!(allowed?, Seen::Answered);
    }
    assert!(switch.metric("lockgate_rejects_total", &["end=\"sent\""])? >= 2.0);
    switch.stop()?;
    Ok(())
}
