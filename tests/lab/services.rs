//! Services asked by real stacks in pods and on the node: who is reached, and what the client hears.

use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use lockgate_tests::lab::namespace::run;
use lockgate_tests::lab::probe::{self, Seen, Speech};
use lockgate_tests::lab::switch::SwitchProcess;
use lockgate_tests::lab::{LabError, Place, bulk, serve};

use super::fixture::{CHANGE, NODE, World, with_three_pods};
use super::path_mtu::behind;
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("TCP and UDP reach a Service's backend, and the client hears the Service, one worker", || {
        asked(1)
    }),
    (
        "TCP and UDP reach a Service's backend, and the client hears the Service, two workers",
        || asked(2),
    ),
    ("a datagram in pieces crosses a Service both ways, one worker", || pieces(1)),
    ("a datagram in pieces crosses a Service both ways, two workers", || pieces(2)),
    ("a pod asks its own Service, and hears itself", hairpin),
    ("a Service that nobody serves refuses at once", refused),
    ("a client sticks to one backend of a Service with affinity", affinity),
    ("datagrams to a Service go to another backend when theirs goes", moved),
    ("a real TCP connection through a Service finds the MTU of its path", narrow),
    ("the node asks a Service by the host port", from_the_node),
];

/// A port that no server of the lab has.
pub(super) const OWN: u16 = 7000;
/// Where a Service leads it.
const BEHIND: u16 = 7001;
const PATIENCE: Duration = Duration::from_millis(1500);
/// Longer than the link.
const LONG: usize = 4000;
pub(super) const SERVER: [&str; 2] = ["10.77.0.2", "fd00:77::2"];
const OTHER: [&str; 2] = ["10.77.0.3", "fd00:77::3"];

/// Pods, and a Service `web` of these backends, of each family, with more in its `spec`.
pub(super) fn manifest(backends: &[[&str; 2]], more: &str) -> String {
    let mut text = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: web, namespace: demo}}
spec:
  clusterIPs: [10.96.8.1, 'fd96:8::1']
  {more}
  ports:
  - {{name: http, port: 8080, targetPort: 80}}
  - {{name: dns, port: 5353, protocol: UDP, targetPort: 53}}
  - {{name: tcp, port: {OWN}}}
  - {{name: udp, port: {OWN}, protocol: UDP}}
"
    );
    for (at, family) in ["IPv4", "IPv6"].into_iter().enumerate() {
        let all: Vec<String> = backends
            .iter()
            .filter_map(|addresses| addresses.get(at))
            .map(|address| format!("{{addresses: ['{address}'], nodeName: here}}"))
            .collect();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-{at}, namespace: demo, labels: {{kubernetes.io/service-name: web}}}}
addressType: {family}
endpoints: [{}]
ports:
- {{name: http, port: 80}}
- {{name: dns, port: 53, protocol: UDP}}
- {{name: tcp, port: {OWN}}}
- {{name: udp, port: {BEHIND}, protocol: UDP}}
",
            all.join(", ")
        );
    }
    text
}

fn start(workers: u8, backends: &[[&str; 2]]) -> Result<(World, SwitchProcess), LabError> {
    let directory = with_three_pods(&[("web.yaml", manifest(backends, ""))])?;
    let world = World::build(directory, 1500)?;
    let switch = world.start(workers)?;
    Ok((world, switch))
}

pub(super) fn service(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::new(0xfd96, 8, 0, 0, 0, 0, 0, 1).into() } else { [10, 96, 8, 1].into() }
}

pub(super) fn ask(
    world: &World,
    from: &str,
    speech: Speech,
    port: u16,
    v6: bool,
) -> Result<Seen, LabError> {
    let to = SocketAddr::new(service(v6), port);
    probe::probe(speech, &world.lab.place(from)?, to, probe::PATIENCE)
}

const SPEECHES: [(Speech, u16); 2] = [(Speech::Tcp, 8080), (Speech::Udp, 5353)];

fn asked(workers: u8) -> Outcome {
    let (world, switch) = start(workers, &[SERVER, OTHER])?;
    for v6 in [false, true] {
        for (speech, port) in SPEECHES {
            for _ in 0..8 {
                let seen = ask(&world, "demo/client", speech, port, v6)?;
                assert_eq!(seen, Seen::Answered, "{speech} v6={v6}");
            }
        }
        // Nobody serves there; nor is a Service pinged.
        assert_eq!(ask(&world, "demo/client", Speech::Tcp, 9, v6)?, Seen::Refused);
    }
    switch.stop()?;
    Ok(())
}

fn hairpin() -> Outcome {
    for workers in [1, 2] {
        let (world, switch) = start(workers, &[SERVER])?;
        for v6 in [false, true] {
            for (speech, port) in SPEECHES {
                let seen = ask(&world, "demo/server", speech, port, v6)?;
                assert_eq!(seen, Seen::Answered, "{speech} v6={v6} workers {workers}");
            }
        }
        switch.stop()?;
    }
    Ok(())
}

fn refused() -> Outcome {
    let (world, switch) = start(2, &[])?;
    for v6 in [false, true] {
        for (speech, port) in SPEECHES {
            let begun = Instant::now();
            let seen = ask(&world, "demo/client", speech, port, v6)?;
            assert_eq!(seen, Seen::Refused, "{speech} v6={v6}");
            assert!(begun.elapsed() < Duration::from_millis(800), "{:?}", begun.elapsed());
        }
    }
    let told = ["reason=\"no_backend\""];
    assert!(switch.metric("lockgate_dropped_packets_total", &told)? >= 4.0);
    switch.stop()?;
    Ok(())
}

fn affinity() -> Outcome {
    let stick = manifest(&[SERVER, OTHER], "sessionAffinity: ClientIP");
    let world = World::build(with_three_pods(&[("web.yaml", stick)])?, 1500)?;
    let switch = world.start(2)?;
    let listeners = [tcp(&world, "demo/server")?, tcp(&world, "demo/other")?];
    let client = world.lab.place("demo/client")?;
    let mut seen = [0, 0];
    for _ in 0..16 {
        let _stream = probe::connect(&client, SocketAddr::new(service(false), OWN), PATIENCE)?;
        count(&listeners, &mut seen);
    }
    assert!(seen == [16, 0] || seen == [0, 16], "{seen:?}");
    world.directory.put("web.yaml", &manifest(&[SERVER, OTHER], ""))?;
    let mut seen = [0, 0];
    let begun = Instant::now();
    while seen.contains(&0) && begun.elapsed() < PATIENCE {
        let _stream = probe::connect(&client, SocketAddr::new(service(false), OWN), PATIENCE)?;
        count(&listeners, &mut seen);
    }
    assert!(!seen.contains(&0), "without affinity both serve: {seen:?}");
    switch.stop()?;
    Ok(())
}

/// Counts who of two was called: the last of a handshake may be on its way still.
fn count(listeners: &[TcpListener; 2], seen: &mut [u32; 2]) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        for (listener, count) in listeners.iter().zip(&mut *seen) {
            if listener.accept().is_ok() {
                *count += 1;
                return;
            }
        }
    }
}

/// A listener in a pod that does not wait.
fn tcp(world: &World, pod: &str) -> Result<TcpListener, LabError> {
    let at = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), OWN);
    let listener = world.lab.place(pod)?.namespace.enter(|| {
        let listener = serve::listen(at)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    })?;
    listener.map_err(LabError::io(format!("listen in {pod}")))
}

/// A socket of UDP in a pod.
fn udp(world: &World, pod: &str, port: u16, v6: bool) -> Result<UdpSocket, LabError> {
    let place = world.lab.place(pod)?;
    let address = world.address(pod, v6)?;
    let bound = place.namespace.enter(|| -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(SocketAddr::new(address, port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    })?;
    bound.map_err(LabError::io(format!("open a socket in {pod}")))
}

fn pieces(workers: u8) -> Outcome {
    let (world, switch) = start(workers, &[SERVER])?;
    for v6 in [false, true] {
        let (client, server) =
            (udp(&world, "demo/client", 0, v6)?, udp(&world, "demo/server", BEHIND, v6)?);
        client.connect(SocketAddr::new(service(v6), OWN))?;
        let load: Vec<u8> = (0..LONG).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
        let mut room = vec![0; LONG + 1];
        client.send(&load)?;
        let (length, asker) = server.recv_from(&mut room)?;
        assert_eq!(room.get(..length), Some(&load[..]), "v6={v6}");
        assert_eq!(asker.ip(), world.address("demo/client", v6)?);
        server.send_to(&load, asker)?;
        // A connected socket hears the Service alone.
        let length = client.recv(&mut room)?;
        assert_eq!(room.get(..length), Some(&load[..]), "back, v6={v6}");
    }
    switch.stop()?;
    Ok(())
}

fn moved() -> Outcome {
    let (world, switch) = start(2, &[SERVER])?;
    let (first, second) =
        (udp(&world, "demo/server", BEHIND, false)?, udp(&world, "demo/other", BEHIND, false)?);
    let client = udp(&world, "demo/client", 0, false)?;
    client.connect(SocketAddr::new(service(false), OWN))?;
    let mut room = [0; 8];
    client.send(b"one")?;
    first.recv_from(&mut room)?;
    world.directory.put("web.yaml", &manifest(&[OTHER], ""))?;
    second.set_read_timeout(Some(Duration::from_millis(50)))?;
    let begun = Instant::now();
    let heard = loop {
        client.send(b"two")?;
        match second.recv_from(&mut room) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && begun.elapsed() < PATIENCE => {}
            heard => break heard?,
        }
    };
    assert!(begun.elapsed() < CHANGE * 2, "{:?}", begun.elapsed());
    assert_eq!(heard.1.ip(), world.address("demo/client", false)?);
    second.send_to(b"back", heard.1)?;
    assert_eq!(client.recv(&mut room)?, 4);
    switch.stop()?;
    Ok(())
}

fn narrow() -> Outcome {
    let far = [["192.0.2.9", "2001:db8:9::9"]];
    let (world, switch) = start(2, &far)?;
    let far = behind(&world)?;
    let client = world.lab.place("demo/client")?;
    for v6 in [false, true] {
        let asked = Place { addresses: vec![service(v6)], ..far.clone() };
        let report = bulk::both_ways(&client, &asked, OWN, v6, 4 << 20)?;
        assert!(report.is_intact(), "v6={v6}: {report:?}");
        let target = service(v6).to_string();
        let output = run(client.namespace.command("ip").args(["route", "get", &target]))?;
        let learned = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(learned.contains("mtu 1300"), "the pod was not told of the Service: {learned}");
    }
    switch.stop()?;
    Ok(())
}

fn from_the_node() -> Outcome {
    for workers in [1, 2] {
        let (world, switch) = start(workers, &[SERVER, OTHER])?;
        world.lab.outside().ip(&[
            format!("route add 10.96.8.0/24 via 169.254.1.1 dev lg-far onlink src {NODE}"),
            "route add fd96:8::/112 via fe80::1 dev lg-far".to_owned(),
        ])?;
        for (speech, port) in SPEECHES {
            for _ in 0..8 {
                let seen = ask(&world, NODE, speech, port, false)?;
                assert_eq!(seen, Seen::Answered, "{speech}, {workers} workers");
            }
        }
        switch.stop()?;
    }
    Ok(())
}
