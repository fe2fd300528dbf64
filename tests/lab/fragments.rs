//! Datagrams longer than the link: taken apart by one real stack, put together by another.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use lockgate_tests::lab::LabError;

use super::fixture::{FROM_CLIENT, OUTSIDE, World, ingress, with_three_pods};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("a datagram of 60,000 bytes crosses in fragments by policy, one worker", || by_policy(1)),
    ("a datagram of 60,000 bytes crosses in fragments by policy, two workers", || by_policy(2)),
];

const BYTES: usize = 60_000;
const PATIENCE: Duration = Duration::from_millis(500);

fn by_policy(workers: u8) -> Outcome {
    let rule = FROM_CLIENT.replace("80", "7000, protocol: UDP");
    let directory = with_three_pods(&[("rule.yaml", ingress("rule", &[&rule]))])?;
    let world = World::build(directory, 1500)?;
    let switch = world.start(workers)?;
    for v6 in [false, true] {
        assert!(crosses(&world, "demo/client", "demo/server", 7000, v6)?, "v6={v6}");
        // The way back passes by the connection that the way there has opened.
        assert!(crosses(&world, "demo/server", "demo/other", 7000, v6)?, "v6={v6}");
    }
    assert!(crosses(&world, "demo/other", OUTSIDE, 7000, false)?);
    assert!(crosses(&world, OUTSIDE, "demo/other", 7000, false)?);
    let drops = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        switch.metric("lockgate_dropped_packets_total", &[&label])
    };
    for reason in ["fragment", "fragment_tiny", "fragment_overlap", "fragment_limit", "send_full"] {
        assert!(drops(reason)? < 0.5, "{reason} {}", drops(reason)?);
    }
    let before = drops("ingress_denied")?;
    assert!(!crosses(&world, "demo/other", "demo/server", 7000, false)?);
    assert!(!crosses(&world, "demo/client", "demo/server", 7001, true)?);
    // Each fragment of both is denied, and says so.
    let denied = drops("ingress_denied")? - before;
    assert!(denied > 80.0, "{denied}");
    switch.stop()?;
    Ok(())
}

/// Whether a datagram arrives, byte for byte, and its answer.
fn crosses(world: &World, from: &str, to: &str, port: u16, v6: bool) -> Result<bool, LabError> {
    let (source, target) = (socket(world, from, 0, v6)?, socket(world, to, port, v6)?);
    let load: Vec<u8> = (0..BYTES).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
    let exchange = || -> io::Result<bool> {
        let mut room = vec![0; BYTES + 1];
        source.send_to(&load, target.local_addr()?)?;
        let (length, asker) = match target.recv_from(&mut room) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let is_whole = room.get(..length) == Some(&load[..]);
        target.send_to(&load, asker)?;
        let length = source.recv(&mut room)?;
        Ok(is_whole && room.get(..length) == Some(&load[..]))
    };
    exchange().map_err(LabError::io(format!("send {BYTES} bytes from {from} to {to}")))
}

fn socket(world: &World, name: &str, port: u16, v6: bool) -> Result<UdpSocket, LabError> {
    let place = world.lab.place(name)?;
    let address: IpAddr =
        place.address(v6).ok_or_else(|| LabError::Unknown(format!("an address of {name}")))?;
    let bound = place.namespace.enter(|| -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(SocketAddr::new(address, port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    })?;
    bound.map_err(LabError::io(format!("open a socket in {name}")))
}
