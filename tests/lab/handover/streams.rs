//! TCP over hand-overs: data both ways goes on, byte for byte, because its connections are handed on
//! and not because they are picked up afresh.

use std::net::{IpAddr, SocketAddr};

use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::TcpFlags;
use lockgate_tests::lab::LabError;
use lockgate_tests::lab::duplex::{Duplex, Way};
use lockgate_tests::lab::namespace::wait_for;
use lockgate_tests::lab::sniffer::{Sniffer, between};
use lockgate_tests::lab::stream::Stream;
use lockgate_tests::lab::switch::SwitchProcess;
use lockgate_tests::packets::{Ends, segment};
use socket2::{Domain, Protocol, Socket, Type};

use super::super::fixture::{NODE, OUTSIDE, SETTLE, World, ingress, with_three_pods};
use super::super::{Outcome, services};
use super::{AROUND, Error, hand_over};

/// Hand-overs of a case.
const ROUNDS: usize = 4;

/// The ports that servers of these streams have.
const FIRST: u16 = 7200;

/// Who talks to whom: pods of one worker and of two, the node, the world outside.
const TALKS: [(&str, &str); 6] = [
    ("demo/client", "demo/server"),
    ("demo/server", "demo/client"),
    ("demo/other", "demo/client"),
    (NODE, "demo/other"),
    (OUTSIDE, "demo/client"),
    ("demo/client", OUTSIDE),
];

/// The port of `server` to which `other` sends all the time, and may not.
const FORBIDDEN: u16 = 9001;

/// Beyond the TCP headers that a frame begins with, IPv4.
const TCP_AT: usize = 14 + 20;

pub(super) fn go_on(workers: u8) -> Outcome {
    let from_client = format!(
        "{{from: [{{podSelector: {{matchLabels: {{app: client}}}}}}], ports: [{{port: {FIRST}}}, \
         {{port: {}}}]}}",
        services::OWN
    );
    let files = [
        ("rule.yaml", ingress("rule", &[&from_client])),
        ("web.yaml", services::manifest(&[services::SERVER], "")),
    ];
    let world = World::build(with_three_pods(&files)?, 1500)?;
    let mut switch = world.start(workers)?;
    // Nor does the very first one, which has no predecessor.
    picks_up_nothing(&world, &switch)?;
    let streams = begin(&world)?;
    let (other, server) = (world.lab.place("demo/other")?, world.lab.place("demo/server")?);
    let pair = (world.address("demo/other", false)?, world.address("demo/server", false)?);
    let sniffer = Sniffer::start(&server.namespace, between(pair.0, pair.1, None))?;
    let denied = Stream::start(&other, &server, FORBIDDEN)?;
    std::thread::sleep(AROUND);
    for round in 0..ROUNDS {
        switch = hand_over(&world, switch, &format!("next{round}"), workers)?;
        std::thread::sleep(AROUND);
        is_handed_on(&world, &switch, streams.len())?;
    }
    let denied = denied.end();
    assert!(denied.sent > 1000 && denied.received == 0, "{denied:?}");
    let ended: Vec<(String, [Way; 2])> =
        streams.into_iter().map(|(name, stream)| (name, stream.end())).collect();
    let is_whole = |(_, ways): &(String, [Way; 2])| ways.iter().all(Way::is_whole);
    assert!(ended.iter().all(is_whole), "{ended:#?}");
    assert_eq!(sniffer.count(), 0, "a forbidden packet arrived");
    switch.stop()?;
    Ok(())
}

/// All streams, by what they are called.
fn begin(world: &World) -> Result<Vec<(String, Duplex)>, Error> {
    let mut all = Vec::new();
    for ((from, to), port) in TALKS.into_iter().zip(FIRST..) {
        let (place, server) = (world.lab.place(from)?, world.lab.place(to)?);
        let target = SocketAddr::new(world.address(to, false)?, port);
        let stream = Duplex::start(&place, target, (&server.namespace, port))?;
        all.push((format!("{from} to {to}"), stream));
    }
    let (place, server) = (world.lab.place("demo/client")?, world.lab.place("demo/server")?);
    let target = SocketAddr::new(services::service(false), services::OWN);
    let stream = Duplex::start(&place, target, (&server.namespace, services::OWN))?;
    all.push(("demo/client to a Service".to_owned(), stream));
    Ok(all)
}

/// The switch has these connections by its predecessor: it opened none, picked none up, missed
/// none. And it picks up no other that comes along.
fn is_handed_on(world: &World, switch: &SwitchProcess, streams: usize) -> Outcome {
    let count = |name: &str, label: &str| -> Result<f64, LabError> {
        switch.metric(&format!("lockgate_{name}"), &[label])
    };
    let seen = [
        count("connections", "state=\"established\"")?,
        count("connections_opened_total", "")?,
        count("connections_picked_up_total", "")?,
        count("dropped_packets_total", "reason=\"no_connection\"")?,
    ];
    #[expect(clippy::cast_precision_loss, reason = "streams are few")]
    let wanted = [streams as f64, 0.0, 0.0, 0.0];
    let is_so = seen.iter().zip(wanted).all(|(seen, wanted)| (seen - wanted).abs() < 0.5);
    assert!(is_so, "established, opened, picked up, unknown: {seen:?}\n{}", switch.log());
    picks_up_nothing(world, switch)
}

/// A segment that comes along in the middle of a connection that nobody knows is dropped.
fn picks_up_nothing(world: &World, switch: &SwitchProcess) -> Outcome {
    let dropped = || switch.metric("lockgate_dropped_packets_total", &["reason=\"no_connection\""]);
    stray(world, ("demo/client", "demo/other"))?;
    wait_for("a stray segment to be dropped", SETTLE, || dropped().is_ok_and(|all| all > 0.5))?;
    let picked_up = switch.metric("lockgate_connections_picked_up_total", &[])?;
    assert!(picked_up < 0.5, "a stray segment was picked up");
    Ok(())
}

/// Sends a segment of the middle of a connection that nobody knows, which policy allows either way.
fn stray(world: &World, (from, to): (&str, &str)) -> Result<(), Error> {
    let (source, target): (IpAddr, IpAddr) =
        (world.address(from, false)?, world.address(to, false)?);
    let mac = Mac::default();
    let ends = Ends { source_mac: mac, target_mac: mac, source, target };
    let frame = segment(ends, (40_000, 80), TcpFlags::ACK, (1000, 5000));
    let socket = world
        .lab
        .place(from)?
        .namespace
        .enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)))??;
    socket.send_to(&frame[TCP_AT..], &SocketAddr::new(target, 0).into())?;
    Ok(())
}
