//! The product's agent over a crash: connections are taken over, judged anew, and given to whoever owns
//! them now; what is not who it was gets nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use lockgate_control::attach::{InterfaceName, Probed};
use lockgate_control::files::Files;
use lockgate_control::metrics::ApplyLatency;
use lockgate_control::source::News;
use lockgate_control::survivors::Survivors;
use lockgate_control::sync::{Node, Sync};
use lockgate_control::watch_dir::{Changed, Settled};
use lockgate_dataplane::compiler::Compiler;
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::endpoint::Topology;
use lockgate_dataplane::ids::Mac;
use lockgate_dataplane::packet::answer::GATEWAY_MAC;
use lockgate_dataplane::packet::{FlowKey, TcpFlags};
use lockgate_dataplane::policy::delta::Delta;
use lockgate_dataplane::worker::Established;
use lockgate_tests::packets::{self, Ends, fragments, joined};
use lockgate_tests::world::{Fate, HOST, HOST_MAC, Links, Shape, Switch, World, at_once};

use super::services::{SERVICES, key_of};
use super::{ack, shape, syn, syn_ack};

mod departed;

fn dropped(reason: DropReason) -> Fate {
    Fate::Dropped(reason)
}

/// The interfaces of pods a, b and c.
const WIRES: [&str; 4] = ["veth-a", "veth-b", "veth-c", "veth-s"];
const A: (&str, &str) = ("veth-a", "10.0.0.1");
const B: (&str, &str) = ("veth-b", "10.0.0.2");
const C: (&str, &str) = ("veth-c", "10.0.0.3");
const OUTSIDE: (&str, &str) = (HOST, "198.51.100.1");
/// The Service of b and c.
const WEB: &str = "10.96.0.1";
/// The Service of a alone.
const SELF: &str = "10.96.0.2";

/// A pod that is before all others: with it these have other numbers, ports and workers.
const FIRST: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: '0', annotations: \
                     {lockgate.dev/interface: veth-0}}\nstatus: {podIPs: [{ip: 10.0.0.9}]}\n";

/// A machine: its manifests, its interfaces, its memory, and the switch that runs now.
struct Machine {
    directory: tempfile::TempDir,
    memory: tempfile::TempDir,
    links: Links,
    sync: Option<Sync<Switch>>,
    starts: u64,
    /// Seconds for which TCP is picked up.
    grace: u32,
    /// Whether the next one takes over from one that has handed over.
    is_given: bool,
    established: Established,
}

impl Machine {
    fn new(workers: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("all.yaml"), SERVICES).unwrap();
        let mut links = Links::default();
        for name in WIRES {
            links.make(name);
        }
        let memory = tempfile::tempdir().unwrap();
        let (starts, grace, is_given, sync) = (0, 0, false, None);
        let established = Established::Recheck;
        let mut machine =
            Self { directory, memory, links, sync, starts, grace, is_given, established };
        machine.start(workers);
        machine
    }

    /// The switch is killed, if it runs, and started.
    fn start(&mut self, workers: u8) {
        self.begin(workers);
        self.advance();
    }

    fn begin(&mut self, workers: u8) {
        drop(self.sync.take());
        self.starts += 1;
        let shape = Shape { established: self.established, ..shape(workers) };
        let world = World::kept(shape, self.memory.path(), self.starts);
        let switch = Switch::new(world, self.starts);
        let node = Node { ports_max: 60, workers, ..Node::default() };
        let files = Files::read(self.directory.path()).unwrap();
        let mut sync = Sync::new(node, files, switch, ApplyLatency::new().unwrap());
        let memory = Some(self.memory.path().to_owned());
        if self.is_given {
            sync.inherit_given(memory, self.grace);
        } else {
            sync.inherit(memory);
            sync.pick_up_for(self.grace);
        }
        let interface = InterfaceName::new("lg-host").unwrap();
        let host = Probed { interface, ifindex: u32::MAX, mac: HOST_MAC, mtu: 1500 };
        sync.add_host(host).unwrap();
        self.sync = Some(sync);
    }

    fn advance(&mut self) {
        let sync = self.sync.as_mut().unwrap();
        sync.links_changed();
        for _ in 0..20 {
            at_once(sync.advance(&mut self.links));
        }
        self.world().settle();
    }

    fn write(&mut self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).unwrap();
    }

    /// Writes a file, or removes it, while the switch runs.
    fn put_in_force(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.write(name, text),
            None => fs::remove_file(self.directory.path().join(name)).unwrap(),
        }
        let changed = Changed::Files([name.to_owned()].into());
        let sync = self.sync.as_mut().unwrap();
        sync.learn(News::Settled(Settled { changed, at: Instant::now() }));
        self.advance();
    }

    fn world(&mut self) -> &mut World {
        self.sync.as_mut().unwrap().dataplane().world()
    }

    fn ends(&mut self, from: (&str, &str), to: (&str, &str)) -> Ends {
        let source_mac = if from.0 == HOST { HOST_MAC } else { self.world().mac(from.0) };
        let (source, target) = (from.1.parse().unwrap(), to.1.parse().unwrap());
        Ends { source_mac, target_mac: GATEWAY_MAC, source, target }
    }

    fn fate(&mut self, from: (&str, &str), to: (&str, &str), frame: &[u8]) -> Fate {
        self.world().fate(from.0, to.0, frame)
    }

    /// What leaves by the host port of a frame that comes in by a queue of it.
    fn again(&mut self, queue: u8, frame: &[u8]) -> FlowKey {
        let world = self.world();
        world.inject_at(HOST, queue, frame).unwrap();
        world.settle();
        let arrived = world.received(HOST).pop();
        key_of(&arrived.unwrap_or_else(|| panic!("nothing left: {:?}", world.drops())))
    }

    /// The datagram that leaves by the host port of pieces that come in by some of its queues in turn.
    fn pieces(&mut self, parts: &[Vec<u8>], queues: u8) -> Option<Vec<u8>> {
        let world = self.world();
        for (part, queue) in parts.iter().zip((0..queues).cycle()) {
            world.inject_at(HOST, queue, part).unwrap();
            world.settle();
        }
        joined(&world.received(HOST))
    }

    /// At which pod that arrives which comes in by a queue of the host port, and how.
    fn asked(&mut self, queue: u8, frame: &[u8]) -> (&'static str, FlowKey) {
        let world = self.world();
        world.inject_at(HOST, queue, frame).unwrap();
        world.settle();
        let mut frames = WIRES.into_iter().map(|wire| (wire, world.received(wire)));
        let found = frames.find_map(|(wire, mut frames)| Some((wire, key_of(&frames.pop()?))));
        found.unwrap_or_else(|| panic!("it arrived nowhere: {:?}", world.drops()))
    }

    /// From the next start on there is a pod before all others.
    fn add_first(&mut self) {
        self.write("0.yaml", FIRST);
        self.links.make("veth-0");
    }

    /// Opens a TCP connection to a backend's port.
    fn open(&mut self, from: (&str, &str), to: (&str, &str), port: u16) {
        let (there, back) = (self.ends(from, to), self.ends(to, from));
        assert!(self.fate(from, to, &syn(there, port, 8080)).is_sent());
        assert!(self.fate(to, from, &syn_ack(back, 8080, port)).is_sent());
        assert!(self.fate(from, to, &ack(there, port, 8080)).is_sent());
    }

    /// What becomes of a segment of it each way.
    fn talk(&mut self, from: (&str, &str), to: (&str, &str), port: u16) -> [Fate; 2] {
        let (there, back) = (self.ends(from, to), self.ends(to, from));
        let first = self.fate(to, from, &ack(back, 8080, port));
        [first, self.fate(from, to, &ack(there, port, 8080))]
    }

    fn goes_on(&mut self, from: (&str, &str), to: (&str, &str), port: u16) {
        let fates = self.talk(from, to, port);
        assert!(fates.iter().all(Fate::is_sent), "{from:?} to {to:?}: {fates:?}");
    }

    fn left(&self) -> usize {
        let old = |name: &str| !name.starts_with(&format!("{:016x}", self.starts));
        names(self.memory.path()).iter().filter(|name| old(name)).count()
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

const CLOSED: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: closed}\n\
                      spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]}\n";

#[test]
fn connections_go_on_whoever_owns_them_now() {
    for (before, after) in [(1, 1), (2, 2), (3, 1), (1, 3), (2, 3)] {
        let mut machine = Machine::new(before);
        machine.open(A, B, 1000);
        machine.open(OUTSIDE, B, 1001);
        machine.open(A, OUTSIDE, 1002);
        // Its owner is the worker of who was asked.
        machine.open(B, A, 1004);
        machine.start(after);
        machine.goes_on(A, B, 1000);
        machine.goes_on(OUTSIDE, B, 1001);
        machine.goes_on(A, OUTSIDE, 1002);
        machine.goes_on(B, A, 1004);
        assert_eq!(machine.world().connections(), 4, "{before} to {after}");
        let unknown = machine.talk(A, B, 1003);
        assert_eq!(unknown, [dropped(DropReason::NoConnection), dropped(DropReason::NoConnection)]);
        assert_eq!(machine.left(), 0, "files of the dead are left");
        // And over one more, by the files that the second wrote.
        machine.start(before);
        machine.goes_on(A, B, 1000);
    }
}

#[test]
fn who_has_another_number_and_another_worker_now_has_its_connections() {
    for workers in [1, 2, 3] {
        let mut machine = Machine::new(workers);
        machine.open(A, B, 1000);
        machine.open(OUTSIDE, B, 1001);
        machine.open(A, OUTSIDE, 1002);
        machine.add_first();
        machine.start(workers);
        machine.goes_on(A, B, 1000);
        machine.goes_on(OUTSIDE, B, 1001);
        machine.goes_on(A, OUTSIDE, 1002);
        assert_eq!(machine.world().connections(), 3, "{workers} workers");
    }
}

#[test]
fn what_policy_denies_by_now_is_cut_both_ways() {
    let mut machine = Machine::new(2);
    machine.open(A, B, 1000);
    machine.open(OUTSIDE, B, 1001);
    machine.write("closed.yaml", CLOSED);
    machine.start(2);
    let denied = dropped(DropReason::EgressDenied);
    assert_eq!(machine.talk(A, B, 1000), [denied.clone(), denied]);
    machine.goes_on(OUTSIDE, B, 1001);
    // It is as a connection that was denied while the switch ran: a later policy revives it.
    machine.put_in_force("closed.yaml", None);
    machine.goes_on(A, B, 1000);
}

#[test]
fn what_is_kept_over_a_policy_change_is_judged_by_the_next_start_all_the_same() {
    let mut machine = Machine::new(2);
    machine.established = Established::Keep;
    machine.start(2);
    machine.open(A, B, 1000);
    machine.put_in_force("closed.yaml", Some(CLOSED));
    machine.goes_on(A, B, 1000);
    machine.open(OUTSIDE, B, 1001);
    machine.start(2);
    // Whoever closed this while no switch ran, or another process's rules were, is heard.
    let denied = dropped(DropReason::EgressDenied);
    assert_eq!(machine.talk(A, B, 1000), [denied.clone(), denied]);
    machine.goes_on(OUTSIDE, B, 1001);
    // Once it was judged here it is kept as any other.
    let closed = SERVICES.replace("{port: 8080}, {port: 5353", "{port: 8081}, {port: 5353");
    machine.put_in_force("all.yaml", Some(&closed));
    machine.goes_on(OUTSIDE, B, 1001);
}

#[test]
fn an_interface_made_anew_is_another_pods_and_inherits_nothing() {
    let mut machine = Machine::new(1);
    machine.open(A, B, 1000);
    machine.open(OUTSIDE, B, 1001);
    machine.open(A, OUTSIDE, 1002);
    machine.links.make("veth-b");
    machine.start(1);
    for from in [A, OUTSIDE] {
        let port = if from == A { 1000 } else { 1001 };
        let fates = machine.talk(from, B, port);
        let none = dropped(DropReason::NoConnection);
        assert_eq!(fates, [none.clone(), none], "{from:?}");
    }
    machine.goes_on(A, OUTSIDE, 1002);
}

#[test]
fn a_pod_of_another_name_with_the_same_interface_and_address_inherits_nothing() {
    let mut machine = Machine::new(1);
    machine.open(A, B, 1000);
    machine.write("all.yaml", &SERVICES.replace("{name: b,", "{name: bb,"));
    machine.start(1);
    let none = dropped(DropReason::NoConnection);
    assert_eq!(machine.talk(A, B, 1000), [none.clone(), none]);
}

#[test]
fn a_pod_of_another_uid_inherits_nothing() {
    let with = |uid: &str| SERVICES.replace("{name: b,", &format!("{{name: b, uid: {uid},"));
    let mut machine = Machine::new(1);
    machine.write("all.yaml", &with("one"));
    machine.start(1);
    machine.open(A, B, 1000);
    machine.start(1);
    machine.goes_on(A, B, 1000);
    machine.write("all.yaml", &with("two"));
    machine.start(1);
    let none = dropped(DropReason::NoConnection);
    assert_eq!(machine.talk(A, B, 1000), [none.clone(), none]);
}

#[test]
fn pods_that_exchanged_their_addresses_inherit_nothing() {
    let mut machine = Machine::new(1);
    machine.open(A, C, 1000);
    let exchanged = SERVICES.replace("{ip: 10.0.0.1}", "{ip: old}");
    let exchanged = exchanged.replace("{ip: 10.0.0.2}", "{ip: 10.0.0.1}");
    machine.write("all.yaml", &exchanged.replace("{ip: old}", "{ip: 10.0.0.2}"));
    machine.start(1);
    assert_eq!(machine.world().connections(), 0);
    let none = dropped(DropReason::NoConnection);
    assert_eq!(machine.talk((B.0, A.1), C, 1000), [none.clone(), none]);
}

#[test]
fn an_address_that_a_pod_got_meanwhile_takes_nothing_over() {
    let mut machine = Machine::new(1);
    machine.open(A, OUTSIDE, 1002);
    let (name, address) = ("veth-n", OUTSIDE.1);
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: n, annotations: {{lockgate.dev/interface: \
         {name}}}}}\nstatus: {{podIPs: [{{ip: {address}}}]}}\n"
    );
    machine.write("n.yaml", &pod);
    machine.links.make(name);
    machine.start(1);
    assert_eq!(machine.world().connections(), 0);
    let none = dropped(DropReason::NoConnection);
    assert_eq!(machine.talk(A, (name, address), 1002), [none.clone(), none]);
}

#[test]
fn a_pod_whose_port_comes_late_has_its_connections_then() {
    let mut machine = Machine::new(2);
    machine.open(A, B, 1000);
    machine.open(OUTSIDE, A, 1001);
    let link = machine.links.take("veth-b");
    machine.start(2);
    machine.goes_on(OUTSIDE, A, 1001);
    assert!(machine.left() > 0, "what b's connections are in is gone");
    // The switch dies once more before that.
    machine.start(2);
    machine.goes_on(OUTSIDE, A, 1001);
    machine.links.put(link);
    machine.advance();
    machine.goes_on(A, B, 1000);
    assert_eq!(machine.left(), 0, "files of the dead are left");
}

#[test]
fn a_packet_that_comes_before_the_snapshot_with_the_late_port_takes_nothing_away() {
    for workers in [1, 2] {
        let mut machine = Machine::new(workers);
        machine.open(A, B, 1000);
        let link = machine.links.take("veth-b");
        machine.start(workers);
        machine.links.put(link);
        // Taken in by then, of a pod that is nobody yet by the snapshot in force.
        let there = machine.ends((A.0, A.1), (HOST, B.1));
        let early = ack(there, 1000, 8080);
        machine.sync.as_mut().unwrap().dataplane().before_next(A.0, early);
        let before = machine.world().dropped(DropReason::NoConnection);
        machine.advance();
        assert_eq!(machine.world().dropped(DropReason::NoConnection), before + 1, "{workers}");
        machine.goes_on(A, B, 1000);
        assert_eq!(machine.world().connections(), 1);
    }
}

#[test]
fn a_connection_to_a_service_stays_with_its_backend() {
    let cases =
        [(1, 1, false), (2, 2, false), (3, 2, false), (2, 3, false), (2, 2, true), (3, 3, true)];
    for (before, after, is_moved) in cases {
        let mut machine = Machine::new(before);
        let web = ("", WEB);
        let mut backends = Vec::new();
        for port in 2000..2008 {
            let there = machine.ends(A, web);
            let before = machine.world().drops();
            machine.world().inject(A.0, &syn(there, port, 80)).unwrap();
            machine.world().settle();
            let found = WIRES.into_iter().find_map(|wire| {
                let frame = machine.world().received(wire).pop()?;
                Some((wire, key_of(&frame)))
            });
            assert_eq!(machine.world().drops(), before);
            let (wire, key) = found.expect("a backend");
            let address = std::net::IpAddr::from(key.target).to_string();
            let back = machine.ends((wire, &address), A);
            assert!(machine.fate((wire, ""), A, &syn_ack(back, 8080, port)).is_sent());
            assert!(machine.fate(A, (wire, ""), &ack(there, port, 80)).is_sent());
            backends.push((port, wire, address));
        }
        if is_moved {
            machine.add_first();
        }
        machine.start(after);
        for (port, wire, address) in backends {
            let (there, back) = (machine.ends(A, web), machine.ends((wire, &address), A));
            let Fate::Sent(frame) = machine.fate((wire, ""), A, &ack(back, 8080, port)) else {
                panic!("a reply from {wire} did not come back, {before} to {after}");
            };
            assert_eq!(std::net::IpAddr::from(key_of(&frame).source).to_string(), WEB);
            let fate = machine.fate(A, (wire, ""), &ack(there, port, 80));
            assert!(fate.is_sent(), "{fate:?} to {wire}, {before} to {after}");
        }
        assert_eq!(machine.world().translations(), 8);
    }
}

#[test]
fn who_asked_itself_by_a_service_goes_on() {
    let families = [(A, SELF), ((A.0, "fd00::1"), "fd96::2")];
    for (workers, (own, service)) in [1, 2].into_iter().flat_map(|n| families.map(|one| (n, one))) {
        let mut machine = Machine::new(workers);
        let there = machine.ends(own, ("", service));
        machine.world().inject(A.0, &syn(there, 2000, 80)).unwrap();
        machine.world().settle();
        let key = key_of(&machine.world().received(A.0).pop().expect("what it asked itself"));
        // It sees the switch in its place.
        let switch = std::net::IpAddr::from(key.source).to_string();
        let (back, port) = (machine.ends(own, ("", &switch)), key.source_port);
        assert!(machine.fate(A, A, &syn_ack(back, 8080, port)).is_sent());
        assert!(machine.fate(A, A, &ack(there, 2000, 80)).is_sent());
        machine.start(workers);
        assert_eq!((machine.world().connections(), machine.world().translations()), (1, 1));
        let back = machine.fate(A, A, &ack(back, 8080, port));
        assert!(back.is_sent(), "{back:?}");
        assert!(machine.fate(A, A, &ack(there, 2000, 80)).is_sent());
    }
}

/// Numbers of workers before and after a start: with others, others translate.
const STARTS: [(u8, u8); 7] = [(1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3), (3, 2)];

/// What comes in by the host port and goes out by it again, to a backend of another node.
#[test]
fn who_is_elsewhere_goes_on_with_a_backend_elsewhere() {
    for (before, after) in STARTS {
        for (clients, far, backend) in
            [("198.51.100.", "10.96.0.3", "10.9.0.1"), ("2001:db8::", "fd96::3", "fd09::1")]
        {
            let mut machine = Machine::new(before);
            let mut open = Vec::new();
            for (port, queue) in (2000..2012).zip((0..before).cycle()) {
                let client = format!("{clients}{}", port - 1999);
                let there = machine.ends((HOST, &client), ("", far));
                let asked = machine.again(queue, &syn(there, port, 80));
                let own = asked.source_port;
                let own_address = std::net::IpAddr::from(asked.source).to_string();
                let back = machine.ends((HOST, backend), ("", &own_address));
                machine.again(queue, &syn_ack(back, 8080, own));
                machine.again(queue, &ack(there, port, 80));
                open.push((port, there, own, back));
            }
            machine.start(after);
            for (port, there, own, back) in open {
                for queue in 0..after {
                    let heard = machine.again(queue, &ack(back, 8080, own));
                    assert_eq!((heard.source_port, heard.target_port), (80, port));
                    let asked = machine.again(queue, &ack(there, port, 80));
                    assert_eq!((asked.source_port, asked.target_port), (own, 8080));
                }
            }
            let world = machine.world();
            assert_eq!((world.connections(), world.translations()), (12, 12));
        }
    }
}

/// What is said in pieces, and what is said of it, where the worker that translates is not the one that
/// the switch's port names.
#[test]
fn pieces_and_errors_go_on_too_under_another_number_of_workers() {
    for (before, after) in STARTS {
        let mut machine = Machine::new(before);
        let mut open = Vec::new();
        for (port, queue) in (2000..2012).zip((0..before).cycle()) {
            let client = format!("198.51.100.{}", port - 1999);
            let there = machine.ends((HOST, &client), ("", "10.96.0.3"));
            let own = machine.again(queue, &packets::udp(there, (port, 53), b"x")).source_port;
            let back = machine.ends((HOST, "10.9.0.1"), ("", "169.254.1.3"));
            machine.again(queue, &packets::udp(back, (5353, own), b"y"));
            open.push((port, there, own, back));
        }
        machine.start(after);
        for (port, there, own, back) in open {
            let whole = packets::udp(there, (port, 53), &[7; 4000]);
            let asked = machine.pieces(&fragments(&whole, 7, 1400), after);
            let ends = back.reversed();
            let wanted = packets::udp(ends, (own, 5353), &[7; 4000]).split_off(34);
            assert_eq!(asked, Some(wanted), "{before} to {after}");
            let whole = packets::udp(back, (5353, own), &[8; 4000]);
            // One stack sends the pieces of an answer by one queue.
            let heard = machine.pieces(&fragments(&whole, 8, 1400), 1);
            let ends = there.reversed();
            let wanted = packets::udp(ends, (53, port), &[8; 4000]).split_off(34);
            assert_eq!(heard, Some(wanted), "{before} to {after}");
            let answer = packets::udp(there.reversed(), (53, port), b"y");
            let error = packets::icmp_error(there, 3, 3, &answer);
            let told = machine.again(after - 1, &error);
            assert_eq!(std::net::IpAddr::from(told.target).to_string(), "10.9.0.1");
        }
    }
}

/// What comes in by the host port for a Service of pods: its backend speaks first, and who translates
/// may be another than the owner's record said.
#[test]
fn who_is_elsewhere_goes_on_with_a_backend_here() {
    for (before, after) in STARTS {
        let mut machine = Machine::new(before);
        let mut open = Vec::new();
        for (last, queue) in (1..=12).zip((0..before).cycle()) {
            let client = format!("198.51.100.{last}");
            let there = machine.ends((HOST, &client), ("", WEB));
            let (wire, key) = machine.asked(queue, &syn(there, 2000, 80));
            let backend = std::net::IpAddr::from(key.target).to_string();
            let back = machine.ends((wire, &backend), ("", &client));
            assert!(machine.fate((wire, ""), OUTSIDE, &syn_ack(back, 8080, 2000)).is_sent());
            machine.asked(queue, &ack(there, 2000, 80));
            open.push((there, wire, back));
        }
        machine.start(after);
        for (there, wire, back) in open {
            let fate = machine.fate((wire, ""), OUTSIDE, &ack(back, 8080, 2000));
            let Fate::Sent(frame) = fate else { panic!("{fate:?}, {before} to {after}") };
            assert_eq!(std::net::IpAddr::from(key_of(&frame).source).to_string(), WEB);
            for queue in 0..after {
                assert_eq!(machine.asked(queue, &ack(there, 2000, 80)).0, wire);
            }
        }
        let world = machine.world();
        assert_eq!((world.connections(), world.translations()), (12, 12));
    }
}

/// A switch that finds nothing of its predecessor, and has ten seconds of grace.
fn bereft(open: impl FnOnce(&mut Machine)) -> Machine {
    let mut machine = Machine::new(2);
    open(&mut machine);
    machine.grace = 10;
    for name in names(machine.memory.path()) {
        fs::remove_file(machine.memory.path().join(name)).unwrap();
    }
    machine
}

#[test]
fn what_either_end_may_open_is_picked_up_in_the_middle_for_a_while() {
    let none = dropped(DropReason::NoConnection);
    let mut machine = bereft(|machine| machine.open(A, B, 1000));
    machine.start(2);
    assert_eq!(machine.world().connections(), 0);
    machine.goes_on(A, B, 1000);
    machine.goes_on(OUTSIDE, B, 1001);
    assert_eq!(machine.world().total(|cells| cells.picked_up.load()), 2);
    // A handshake is none that began before, and a reset ends what is not there.
    let (there, back) = (machine.ends(A, B), machine.ends(B, A));
    assert_eq!(machine.fate(B, A, &syn_ack(back, 8080, 1002)), none);
    let reset = TcpFlags::RST.with(TcpFlags::ACK);
    let reset = packets::tcp(there, (1002, 8080), reset, &[]);
    assert_eq!(machine.fate(A, B, &reset), none);
    machine.world().pass_ms(10_001);
    assert_eq!(machine.talk(A, B, 1003), [none.clone(), none]);
    // Both sides have spoken: it is established, and lasts.
    machine.world().pass_ms(60_000);
    machine.world().advance_ms(2_000);
    machine.goes_on(A, B, 1000);
}

#[test]
fn who_was_given_all_connections_picks_up_no_other() {
    let none = dropped(DropReason::NoConnection);
    let mut machine = Machine::new(2);
    machine.open(A, B, 1000);
    (machine.grace, machine.is_given) = (10, true);
    for _ in 0..2 {
        machine.start(2);
        machine.goes_on(A, B, 1000);
        assert_eq!(machine.talk(A, B, 1003), [none.clone(), none.clone()]);
        assert_eq!(machine.world().total(|cells| cells.picked_up.load()), 0);
        // A successor that dies while it prepares leaves tables, and has nobody's names.
        machine.starts += 1;
        drop(World::kept(shape(2), machine.memory.path(), machine.starts));
    }
}

#[test]
fn what_was_given_and_cannot_be_read_is_picked_up() {
    let spoil: [fn(&str, &mut Vec<u8>); 2] = [
        // Of another version, with records of another layout; or with names in other words.
        |name, bytes| bytes[8] ^= u8::from(name.ends_with("connections")),
        |name, bytes| bytes[0] ^= u8::from(name.ends_with("pods")),
    ];
    for spoil in spoil {
        let mut machine = Machine::new(2);
        // That one before it can be read does not help.
        for name in names(machine.memory.path()) {
            let path = machine.memory.path().join(&name);
            let before = name.replace(&format!("{:016x}", 1), &format!("{:016x}", 0));
            fs::copy(&path, path.with_file_name(before)).unwrap();
        }
        machine.open(A, B, 1000);
        (machine.grace, machine.is_given) = (10, true);
        let of_last = format!("{:016x}", 1);
        for name in names(machine.memory.path()) {
            if !name.starts_with(&of_last) {
                continue;
            }
            let path = machine.memory.path().join(&name);
            let mut bytes = fs::read(&path).unwrap();
            spoil(&name, &mut bytes);
            fs::write(&path, bytes).unwrap();
        }
        machine.start(2);
        machine.goes_on(A, B, 1000);
        assert_eq!(machine.world().total(|cells| cells.picked_up.load()), 1);
    }
}

#[test]
fn what_one_end_may_not_open_is_not_picked_up() {
    let none = dropped(DropReason::NoConnection);
    let mut machine = bereft(|machine| machine.open(A, B, 1000));
    machine.write("closed.yaml", CLOSED);
    machine.start(2);
    assert_eq!(machine.talk(A, B, 1000), [none.clone(), none.clone()]);
    // Nor is what asks a Service, of which nobody knows the backend.
    let mut machine = bereft(|_| ());
    machine.start(1);
    let there = machine.ends(A, ("", WEB));
    assert_eq!(machine.fate(A, B, &ack(there, 2000, 80)), none);
    assert_eq!(machine.world().connections(), 0);
}

#[test]
fn who_is_gone_for_good_is_not_waited_for_twice() {
    let mut machine = Machine::new(1);
    machine.open(A, B, 1000);
    let bytes = fs::read(machine.memory.path().join(format!("{:016x}.pods", 1))).unwrap();
    let path = machine.memory.path().join(format!("{:016x}.pods", 1));
    let mode = fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "names of pods are nobody else's");
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("\"name\":\"b\"") && text.contains("ifindex"), "{text}");
    // Without the names nobody knows whose connections these were.
    fs::remove_file(machine.memory.path().join(format!("{:016x}.pods", 1))).unwrap();
    machine.start(1);
    let none = dropped(DropReason::NoConnection);
    assert_eq!(machine.talk(A, B, 1000), [none.clone(), none]);
    assert_eq!(machine.left(), 0);
    let _: Mac = machine.world().mac(A.0);
}

#[test]
fn who_waits_for_a_port_waits_a_minute() {
    let mut machine = Machine::new(1);
    machine.open(A, B, 1000);
    drop(machine.sync.take());
    let directory = machine.memory.path();
    let mut switch = Switch::new(World::kept(shape(1), directory, 2), 2);
    let mut survivors = Survivors::default();
    survivors.keep(Some(directory.to_owned()), 2);
    assert!(survivors.inherit(switch.world().left()));
    // No pod has a port.
    let nobody = Compiler::default().apply(Delta::default(), &Topology::default()).endpoints;
    let begun = Instant::now();
    survivors.adopt(&nobody, 1, begun, &mut switch).unwrap();
    for (seconds, waits) in [(0, true), (59, true), (61, false)] {
        survivors.tick(begun + Duration::from_secs(seconds));
        assert_eq!(survivors.has_waiting(), waits, "after {seconds} s");
        assert_eq!(names(directory).contains(&format!("{:016x}.pods", 1)), waits);
    }
}
