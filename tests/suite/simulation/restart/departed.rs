//! Addresses and node ports that were a Service's: what runs there runs on over a start too, which knows
//! them by the connections that it finds.

use std::net::IpAddr;

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::successor;
use lockgate_tests::packets::{self, Ends};
use lockgate_tests::world::{Fate, HOST, World};

use super::super::services::{LB, key_of};
use super::super::{ack, shape, syn, syn_ack};
use super::{A, B, Machine, OUTSIDE, STARTS, dropped};

const A6: (&str, &str) = (A.0, "fd00::1");
const OUTSIDE6: (&str, &str) = (HOST, "2001:db8::1");

/// Who asks, where, at which port.
type Asked = ((&'static str, &'static str), &'static str, u16);

/// Everything that the Service can be asked at.
const FRONTS: [Asked; 14] = [
    (A, "10.96.0.20", 80),
    (A6, "fd96::20", 80),
    (A, "203.0.113.7", 80),
    (A6, "2001:db8:7::7", 80),
    (A, "192.168.0.1", 30_080),
    (A6, "fd00:192::1", 30_080),
    (OUTSIDE, "10.96.0.20", 80),
    (OUTSIDE6, "fd96::20", 80),
    (OUTSIDE, "203.0.113.7", 80),
    (OUTSIDE6, "2001:db8:7::7", 80),
    (OUTSIDE, "169.254.1.2", 30_080),
    (OUTSIDE6, "fd4c:6f63:6b67::2", 30_080),
    // Others, whom other workers translate.
    ((HOST, "198.51.100.2"), "10.96.0.20", 80),
    ((HOST, "2001:db8::2"), "fd96::20", 80),
];

/// The Service with addresses of a load balancer of both families.
fn manifest() -> String {
    LB.replace("{ip: 203.0.113.7}", "{ip: 203.0.113.7}, {ip: '2001:db8:7::7'}")
}

/// The Service afterwards, by what goes of it; `None`: all.
fn ways() -> Vec<Option<String>> {
    let edits = [
        (", \"fd96::20\"", ""),
        ("10.96.0.20, ", ""),
        ("{ip: 203.0.113.7}, {ip: '2001:db8:7::7'}", "{ip: 203.0.113.9}"),
        ("30080", "30081"),
    ];
    let after = edits.map(|(was, is)| {
        let text = manifest().replace(was, is);
        assert_ne!(text, manifest(), "{was}");
        Some(text)
    });
    [None].into_iter().chain(after).collect()
}

/// A machine whose node has an address of each family, with the Service.
fn machine(workers: u8) -> Machine {
    let mut machine = Machine::new(workers);
    let both = "hostIPs: [{ip: 192.168.0.1}, {ip: 'fd00:192::1'}], hostIP: 192.168.0.1";
    let all = super::SERVICES.replace("hostIP: 192.168.0.1", both);
    machine.put_in_force("all.yaml", Some(&all));
    machine.put_in_force("lb.yaml", Some(&manifest()));
    machine
}

/// A TCP connection that runs, to pod b by the Service.
struct Running {
    asked: Asked,
    port: u16,
}

impl Running {
    fn open(machine: &mut Machine, asked: Asked, port: u16) -> Self {
        let (from, target, service) = asked;
        let there = machine.ends(from, ("", target));
        let fate = machine.fate(from, B, &syn(there, port, service));
        assert!(fate.is_sent(), "{asked:?}: {fate:?}");
        let running = Self { asked, port };
        let back = running.back(machine);
        assert!(machine.fate(B, from, &syn_ack(back, 8080, port)).is_sent());
        running.goes_on(machine);
        running
    }

    fn all(machine: &mut Machine) -> Vec<Self> {
        let asked = FRONTS.into_iter().zip(40_000..);
        asked.map(|(asked, port)| Self::open(machine, asked, port)).collect()
    }

    fn back(&self, machine: &mut Machine) -> Ends {
        let client = self.asked.0;
        let own = if client.1.contains(':') { "fd00::2" } else { B.1 };
        machine.ends((B.0, own), client)
    }

    /// A packet there, and one back.
    fn goes_on(&self, machine: &mut Machine) {
        let (from, target, service) = self.asked;
        let there = machine.ends(from, ("", target));
        let fate = machine.fate(from, B, &ack(there, self.port, service));
        let Fate::Sent(frame) = fate else { panic!("{:?} there: {fate:?}", self.asked) };
        assert_eq!(key_of(&frame).target_port, 8080);
        let back = self.back(machine);
        let fate = machine.fate(B, from, &ack(back, 8080, self.port));
        let Fate::Sent(frame) = fate else { panic!("{:?} back: {fate:?}", self.asked) };
        let key = key_of(&frame);
        assert_eq!((IpAddr::from(key.source), key.source_port), (there.target, service));
    }
}

fn all_go_on(machine: &mut Machine, all: &[Running]) {
    for one in all {
        one.goes_on(machine);
    }
}

#[test]
fn what_runs_where_a_service_was_goes_on_over_starts() {
    for (before, after) in STARTS {
        for (way, is_given) in ways().iter().zip([false, true].into_iter().cycle()) {
            let mut machine = machine(before);
            let all = Running::all(&mut machine);
            machine.put_in_force("lb.yaml", way.as_deref());
            all_go_on(&mut machine, &all);
            machine.is_given = is_given;
            machine.start(after);
            all_go_on(&mut machine, &all);
            // And over one more, with other numbers of pods and ports.
            machine.add_first();
            machine.is_given = !is_given;
            machine.start(before);
            all_go_on(&mut machine, &all);
            assert_eq!(machine.world().translations(), all.len());
        }
    }
}

#[test]
fn what_goes_while_no_switch_runs_has_departed_too() {
    for (before, after) in STARTS {
        let mut machine = machine(before);
        let all = Running::all(&mut machine);
        drop(machine.sync.take());
        std::fs::remove_file(machine.directory.path().join("lb.yaml")).unwrap();
        machine.start(after);
        all_go_on(&mut machine, &all);
    }
}

#[test]
fn what_begins_there_after_a_start_goes_as_addressed_and_from_the_host_port_nowhere() {
    for workers in 1..=3 {
        let mut machine = machine(workers);
        let all = Running::all(&mut machine);
        machine.put_in_force("lb.yaml", None);
        machine.start(workers);
        for (from, target, port) in FRONTS {
            let there = machine.ends(from, ("", target));
            for frame in [syn(there, 50_000, port), packets::udp(there, (5001, 53), b"x")] {
                match machine.fate(from, OUTSIDE, &frame) {
                    Fate::Sent(arrived) if from.0 == A.0 => {
                        assert_eq!(key_of(&arrived), key_of(&frame));
                    }
                    fate => {
                        assert_eq!(from.0, HOST, "{target}: {fate:?}");
                        assert_eq!(fate, dropped(DropReason::NoRoute), "{target}");
                    }
                }
            }
        }
        all_go_on(&mut machine, &all);
    }
}

#[test]
fn sctp_goes_on_and_datagrams_do_not() {
    let init = [0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1];
    for (before, after) in STARTS {
        let mut machine = machine(before);
        let there = machine.ends(A, ("", "10.96.0.20"));
        let udp = packets::udp(there, (5000, 53), b"x");
        assert!(machine.fate(A, B, &udp).is_sent());
        assert!(machine.fate(A, B, &packets::sctp(there, (6000, 9), 0, 1, &init)).is_sent());
        let back = machine.ends(B, A);
        assert!(machine.fate(B, A, &packets::sctp(back, (99, 6000), 1, 2, &init)).is_sent());
        machine.put_in_force("lb.yaml", None);
        machine.start(after);
        let data = packets::sctp(there, (6000, 9), 1, 10, &[0; 4]);
        let fate = machine.fate(A, B, &data);
        assert!(fate.is_sent(), "{fate:?}, {before} to {after}");
        let Fate::Sent(frame) = machine.fate(A, OUTSIDE, &udp) else { panic!("it went nowhere") };
        assert_eq!(key_of(&frame), key_of(&udp));
    }
}

#[test]
fn an_address_that_is_somebodys_after_a_start_is_theirs() {
    for workers in 1..=3 {
        let mut machine = machine(workers);
        let all = Running::all(&mut machine);
        machine.put_in_force("lb.yaml", None);
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: d}\nstatus: {podIPs: [{ip: \
                   203.0.113.7}]}\n";
        machine.write("pod.yaml", pod);
        machine.start(workers);
        let there = machine.ends(A, ("", "203.0.113.7"));
        let fate = machine.fate(A, OUTSIDE, &ack(there, all[2].port, 80));
        assert_eq!(fate, dropped(DropReason::NoConnection), "a pod's");
        machine.put_in_force("pod.yaml", None);
        all_go_on(&mut machine, &all);
        let other = manifest().replace("name: lb", "name: other").replace("10.0.0.2", "10.0.0.3");
        machine.write("other.yaml", &other);
        machine.start(workers);
        all_go_on(&mut machine, &all);
        let frame = syn(there, 50_000, 80);
        assert!(machine.fate(A, super::C, &frame).is_sent(), "a Service's");
        machine.put_in_force("other.yaml", None);
        all_go_on(&mut machine, &all);
    }
}

#[test]
fn of_where_clients_ask_the_last_spoken_to_is_last_and_datagrams_count_for_nothing() {
    let mut machine = machine(2);
    // The first once more, after all others.
    for (asked, port) in FRONTS.into_iter().chain([FRONTS[0]]).zip(40_000..) {
        machine.world().advance_ms(10);
        Running::open(&mut machine, asked, port);
    }
    let there = machine.ends(A, ("", "10.96.0.20"));
    assert!(machine.fate(A, B, &packets::udp(there, (5000, 53), b"x")).is_sent());
    let directory = machine.memory.path().to_owned();
    drop(machine.sync.take());
    let mut next = World::kept(shape(1), &directory, 9);
    // Later than all of that: nothing is read as seen after now.
    next.advance_ms(10_000);
    let left = next.left().remove(0);
    let asked = successor::asked(&left.survivors);
    let told: Vec<(String, u16)> =
        asked.iter().map(|key| (IpAddr::from(key.address).to_string(), key.port)).collect();
    // Each once, though others asked there earlier.
    let order = [4, 5, 8, 9, 10, 11, 13, 0].map(|at| FRONTS[at]);
    assert_eq!(told, order.map(|(_, target, port)| (target.to_owned(), port)));
}
