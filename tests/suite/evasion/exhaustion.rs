//! Tables filled on purpose: who fills them hurts itself.
//!
//! What the promises are about, on the simulated node: nothing established is lost, and at least
//! 99 of 100 new connections of other pods succeed. What a flood costs in time is the bench
//! `flood`'s to say.

use std::fmt::Write as _;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::event::Outcome;
use lockgate_dataplane::packet::TcpFlags;
use lockgate_tests::packets::{self, segment};
use lockgate_tests::world::{HOST, Shape, World};

use crate::simulation::{shape, syn, v4};

/// Connections of each worker.
const CAPACITY: u16 = 1024;
const FLOODER: &str = "default/flooder";
const SERVER: &str = "default/server";
/// The node's own address.
const NODE: &str = "10.9.0.1";
/// Others, which open and hold connections.
const OTHERS: usize = 8;

/// The flooder, a server, others; no policy isolates anyone.
fn cluster() -> String {
    let mut text = String::new();
    let others = (0..OTHERS).map(|n| format!("other-{n}"));
    for (n, name) in ["flooder", "server"].map(str::to_owned).into_iter().chain(others).enumerate()
    {
        let at = n + 1;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: default\n  \
             annotations: {{lockgate.dev/interface: if{at}}}\n\
             status: {{phase: Running, hostIP: {NODE}, podIPs: [{{ip: 10.0.0.{at}}}]}}\n"
        );
    }
    text
}

fn other(n: usize) -> String {
    format!("default/other-{n}")
}

fn world(workers: u8) -> World {
    let shape = Shape { connections: CAPACITY.into(), frames: 8192, ..shape(workers) };
    World::of(shape, &cluster())
}

/// A handshake; whether all of it passed.
fn opens(world: &mut World, from: &str, to: &str, port: u16) -> bool {
    opens_beside(world, (from, to, port), |_| {})
}

/// The same, with something else going on before each answer.
fn opens_beside(
    world: &mut World,
    (from, to, port): (&str, &str, u16),
    mut meanwhile: impl FnMut(&mut World),
) -> bool {
    let (there, back) = (world.ends(from, to, v4()), world.ends(to, from, v4()));
    let syn = segment(there, (port, 80), TcpFlags::SYN, (1000, 0));
    let syn_ack = segment(back, (80, port), TcpFlags::SYN.with(TcpFlags::ACK), (5000, 1001));
    let mut passes = world.fate(from, to, &syn).is_sent();
    meanwhile(world);
    passes &= world.fate(to, from, &syn_ack).is_sent();
    meanwhile(world);
    passes && speaks(world, from, to, port)
}

/// Whether both sides hear each other on a connection that was opened.
fn speaks(world: &mut World, from: &str, to: &str, port: u16) -> bool {
    let (there, back) = (world.ends(from, to, v4()), world.ends(to, from, v4()));
    let said = segment(there, (port, 80), TcpFlags::ACK, (1001, 5001));
    let answered = segment(back, (80, port), TcpFlags::ACK, (5001, 1001));
    world.fate(from, to, &said).is_sent() && world.fate(to, from, &answered).is_sent()
}

/// A connection that stood comes to its end from both sides.
fn ends(world: &mut World, from: &str, to: &str, port: u16) {
    let (there, back) = (world.ends(from, to, v4()), world.ends(to, from, v4()));
    let fin = TcpFlags::FIN.with(TcpFlags::ACK);
    assert!(world.fate(from, to, &segment(there, (port, 80), fin, (1001, 5001))).is_sent());
    assert!(world.fate(to, from, &segment(back, (80, port), fin, (5001, 1002))).is_sent());
    assert!(
        world.fate(from, to, &segment(there, (port, 80), TcpFlags::ACK, (1002, 5002))).is_sent()
    );
}

/// SYNs from one port after the other, so many in each millisecond.
struct Flood {
    from: &'static str,
    per_ms: u16,
    next: u32,
}

impl Flood {
    /// At a rate at which each may push out another, and at one that a port can have.
    fn both() -> [Self; 2] {
        [32, 1024].map(|per_ms| Self { from: FLOODER, per_ms, next: 0 })
    }

    /// Sends so many.
    fn run(&mut self, world: &mut World, count: u16) {
        for _ in 0..count {
            self.next += 1;
            let [.., high, low] = self.next.to_be_bytes();
            let outside = [198, 51, high, low].into();
            let ends =
                world.ends(self.from, SERVER, if self.from == HOST { outside } else { v4() });
            let port = 1024 + u16::try_from(self.next % 60_000).unwrap();
            world.inject(self.from, &syn(ends, port, 80)).unwrap();
            if self.next.is_multiple_of(32) {
                world.settle();
                world.discard(SERVER);
            }
            if self.next.is_multiple_of(self.per_ms.into()) {
                world.pass_ms(1);
            }
        }
    }
}

#[test]
fn a_syn_flood_of_the_table_within_each_handshake_costs_others_nothing() {
    for (workers, mut flood) in [1, 2].into_iter().flat_map(|n| Flood::both().map(|f| (n, f))) {
        let mut world = world(workers);
        let stands = 20_000..20_010;
        for n in 0..OTHERS {
            stands.clone().for_each(|port| assert!(opens(&mut world, &other(n), SERVER, port)));
        }
        let (asked, mut opened) = (100, 0);
        for n in 0..asked {
            let who = other(usize::from(n) % OTHERS);
            let wants = (who.as_str(), SERVER, 30_000 + n);
            let beside = |world: &mut World| flood.run(world, CAPACITY);
            opened += u16::from(opens_beside(&mut world, wants, beside));
        }
        assert!(opened * 100 >= asked * 99, "{opened} of {asked} opened");
        for n in 0..OTHERS {
            for port in stands.clone() {
                assert!(speaks(&mut world, &other(n), SERVER, port), "an established one was lost");
            }
        }
        let evicted = world.total(|cells| cells.evicted.load());
        let least = if flood.per_ms < 64 { 100 * u64::from(CAPACITY) } else { 5000 };
        assert!(evicted > least, "{evicted}: the flood never turned it over");
    }
}

/// It has as many connections as it may, each of which is over: for every new one another must go,
/// or begins anew on the same ports. So has any client of short connections.
#[test]
fn a_pod_with_many_short_connections_is_served_beside_a_flood() {
    for (mut flood, is_renewed) in Flood::both().into_iter().zip([false, true]) {
        let (mut world, me) = (world(1), other(0));
        let ports = 2000..2000 + CAPACITY / 4;
        for port in ports.clone() {
            assert!(opens(&mut world, &me, SERVER, port));
            ends(&mut world, &me, SERVER, port);
        }
        world.pass_ms(1);
        flood.run(&mut world, 4 * CAPACITY);
        // Sixteen in a millisecond: 16,000 a second.
        for port in ports.clone().take(160) {
            let port = if is_renewed { port } else { port + 10_000 };
            assert!(opens(&mut world, &me, SERVER, port), "{port}");
            ends(&mut world, &me, SERVER, port);
            flood.run(&mut world, flood.per_ms / 16);
        }
    }
}

#[test]
fn a_flood_from_outside_leaves_the_pod_what_it_opens_itself() {
    let mut world = world(1);
    let mut flood = Flood { from: HOST, per_ms: 1024, next: 0 };
    flood.run(&mut world, 8 * CAPACITY);
    for n in 0..100 {
        let beside = |world: &mut World| flood.run(world, 256);
        assert!(opens_beside(&mut world, (SERVER, &other(0), 30_000 + n), beside), "{n}");
    }
}

/// Its probes say whether a pod lives: a flood from outside to the pod must not have it killed.
#[test]
fn a_flood_from_outside_leaves_the_node_its_probes() {
    let mut world = world(1);
    let mut flood = Flood { from: HOST, per_ms: 1024, next: 0 };
    flood.run(&mut world, 8 * CAPACITY);
    let node = NODE.parse().unwrap();
    let (there, back) = (world.ends(HOST, SERVER, node), world.ends(SERVER, HOST, node));
    for port in 30_000..30_100 {
        let probe = segment(there, (port, 80), TcpFlags::SYN, (1000, 0));
        assert!(world.fate(HOST, SERVER, &probe).is_sent(), "{port}");
        flood.run(&mut world, 256);
        let flags = TcpFlags::SYN.with(TcpFlags::ACK);
        let answer = segment(back, (80, port), flags, (5000, 1001));
        assert!(world.fate(SERVER, HOST, &answer).is_sent(), "{port}");
        flood.run(&mut world, 256);
    }
}

#[test]
fn a_pod_that_holds_all_it_may_is_refused_by_name_and_others_are_not() {
    let mut world = world(1);
    let quarter = CAPACITY / 4;
    (0..quarter).for_each(|n| assert!(opens(&mut world, FLOODER, SERVER, 1024 + n)));
    let ends = world.ends(FLOODER, SERVER, v4());
    let before = world.dropped(DropReason::ConnectionsLimit);
    for n in quarter..2 * quarter {
        assert!(!world.fate(FLOODER, SERVER, &syn(ends, 1024 + n, 80)).is_sent());
    }
    assert_eq!(world.dropped(DropReason::ConnectionsLimit) - before, u64::from(quarter));
    assert_eq!(world.dropped(DropReason::ConnectionsFull), 0);
    let told = world.samples();
    assert!(
        told.iter().any(|one| one.outcome == Outcome::Dropped(DropReason::ConnectionsLimit)),
        "{told:?}"
    );
    (0..quarter).for_each(|n| assert!(speaks(&mut world, FLOODER, SERVER, 1024 + n)));
    (0..OTHERS).for_each(|n| assert!(opens(&mut world, &other(n), SERVER, 1024)));
}

#[test]
fn a_flood_from_outside_counts_for_the_pod_it_is_aimed_at() {
    let mut world = world(1);
    for n in 0..OTHERS {
        assert!(opens(&mut world, &other(n), SERVER, 20_000));
    }
    let mut flood = Flood { from: HOST, per_ms: 32, next: 0 };
    for n in 0..256 {
        flood.run(&mut world, 16);
        let (from, to) = (other(1 + usize::from(n) % (OTHERS - 1)), other(0));
        assert!(opens(&mut world, &from, &to, 30_000 + n));
    }
    for n in 0..OTHERS {
        assert!(speaks(&mut world, &other(n), SERVER, 20_000), "an established one was lost");
    }
}

#[test]
fn what_stands_from_outside_counts_for_the_pod_that_it_stands_with() {
    let mut world = world(1);
    let quarter = CAPACITY / 4;
    (0..quarter).for_each(|n| assert!(opens(&mut world, HOST, SERVER, 1024 + n)));
    let before = world.dropped(DropReason::ConnectionsLimit);
    for (from, to) in [(HOST, SERVER), (SERVER, FLOODER)] {
        let next = syn(world.ends(from, to, v4()), 9, 80);
        assert!(!world.fate(from, to, &next).is_sent(), "{from} to {to}");
    }
    assert_eq!(world.dropped(DropReason::ConnectionsLimit) - before, 2);
    (0..OTHERS).for_each(|n| assert!(opens(&mut world, HOST, &other(n), 1024)));
}

#[test]
fn a_pod_that_is_gone_for_a_minute_leaves_no_connection() {
    let mut world = world(1);
    (0..50).for_each(|n| assert!(opens(&mut world, &other(0), SERVER, 1024 + n)));
    (0..7).for_each(|n| assert!(opens(&mut world, &other(1), SERVER, 1024 + n)));
    assert_eq!(world.connections(), 57);
    let left: String = cluster()
        .split("---\n")
        .filter(|one| !one.contains("other-0"))
        .collect::<Vec<_>>()
        .join("---\n");
    world.set_file("cluster.yaml", &left);
    world.advance_ms(59_000);
    assert_eq!(world.connections(), 57, "it may be back in a moment");
    world.advance_ms(3_000);
    assert_eq!(world.connections(), 7);
    assert!(speaks(&mut world, &other(1), SERVER, 1024));
}

/// Whatever stands in the ports and addresses of a flood that policy denies, it leaves no trace.
#[test]
fn a_flood_of_denied_packets_leaves_no_state_whatever_it_says() {
    let mut world = world(1);
    let deny = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: shut\n  \
                namespace: default\nspec:\n  podSelector: {}\n  policyTypes: [Ingress]\n";
    world.set_file("policy.yaml", deny);
    let ends = world.ends(FLOODER, SERVER, v4());
    for n in 0..4 * CAPACITY {
        let (from, to) = (n.wrapping_mul(40_503), n.wrapping_mul(30_011));
        let frame = match n % 3 {
            0 => syn(ends, from, to),
            1 => packets::udp(ends, (from, to), &[0; 8]),
            _ => packets::tcp(ends, (from, to), TcpFlags::ACK, &[]),
        };
        assert!(!world.fate(FLOODER, SERVER, &frame).is_sent());
        assert_eq!(world.connections(), 0);
    }
}
