//! Every folder of `tests/cases` over real sockets: one lab, one switch, the cases in turn.
//!
//! A packet's fate is read from the sink of the wire it should leave by and from the switch's
//! drop counters. A case is judged once for every node that its pods are on: the pods there have
//! wires, all others are beyond the host port. `CASE=word` runs only those whose name has the word.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lockgate_dataplane::counters::DropReason;
use lockgate_tests::cases::{Action, Case as Folder, Judge, Send, frame};
use lockgate_tests::lab::seat::Seat;
use lockgate_tests::lab::sniffer::between;
use lockgate_tests::lab::switch::{SwitchProcess, sum};
use lockgate_tests::lab::{Lab, LabError};
use lockgate_tests::nodes::homes;
use lockgate_tests::oracle::{Cluster, End};
use serde_json::{Value, json};

use super::fixture::{Directory, shape};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] =
    &[("every case of tests/cases comes out as written over real sockets", every_case)];

/// How long a packet's fate may take to show: it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Drops that no case is about: what the namespaces' own stacks say on their wires.
const OF_STACKS: [DropReason; 1] = [DropReason::NotForUs];

fn every_case() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut folders = Folder::read_all(&root)?;
    if let Ok(word) = std::env::var("CASE") {
        folders.retain(|folder| folder.name.contains(&word));
    }
    let mut bench = Bench::build(folders.iter().map(pods_most).max().unwrap_or(0))?;
    let mut failures = String::new();
    for folder in folders.iter().filter(|folder| folder.has(Judge::Lab)) {
        for home in all_homes(folder) {
            bench.run(folder, home, &mut failures)?;
        }
    }
    assert!(bench.sent > folders.len(), "only {} packets of cases were sent", bench.sent);
    if failures.is_empty() { Ok(()) } else { Err(failures.into()) }
}

/// The nodes that pods of the folder are ever on.
fn all_homes(folder: &Folder) -> Vec<Option<IpAddr>> {
    let mut all: Vec<_> = texts(folder).flat_map(homes).collect();
    all.sort();
    all.dedup();
    all
}

/// The most pods that the folder ever has.
fn pods_most(folder: &Folder) -> usize {
    texts(folder).map(|text| Cluster::from_text(text).map_or(0, |one| one.pods().count())).sum()
}

fn texts(folder: &Folder) -> impl Iterator<Item = &str> {
    let later = folder.steps.iter().filter_map(|step| match &step.action {
        Action::Set(text) => Some(text.as_str()),
        _ => None,
    });
    later.chain([folder.cluster.as_str()])
}

/// The lab, and what is on its wires.
struct Bench {
    directory: Directory,
    seats: Vec<Seat>,
    outside: Seat,
    switch: SwitchProcess,
    /// Held last: it takes the namespaces away.
    _lab: Lab,
    written: u16,
    sent: usize,
    /// Drops by reason, as last read.
    drops: Vec<f64>,
}

impl Bench {
    fn build(seats: usize) -> Result<Self, LabError> {
        let directory = Directory::empty("cases")?;
        directory.put("case.yaml", &marker(0))?;
        let lab = Lab::build(directory.path(), shape(1500))?;
        let seats: Vec<Seat> =
            (0..seats).map(|number| Seat::build(&lab, number)).collect::<Result<_, _>>()?;
        let binary = lockgate_tests::lab::switch::binary()?;
        let mut options = lockgate_tests::lab::switch::Options::new(&binary, directory.path());
        options.workers = 2;
        let switch = SwitchProcess::start(&lab, &options)?;
        let outside = Seat::outside(&lab)?;
        let drops = Vec::new();
        Ok(Self { directory, seats, outside, switch, _lab: lab, written: 0, sent: 0, drops })
    }

    fn run(
        &mut self,
        folder: &Folder,
        home: Option<IpAddr>,
        failures: &mut String,
    ) -> Result<(), LabError> {
        let mut cluster = Cluster::default();
        let set =
            |cluster: &mut Cluster, text: &str| cluster.set(text).map_err(LabError::Unexpected);
        set(&mut cluster, &folder.cluster)?;
        let mut wires = self.write(&cluster, home)?;
        for step in &folder.steps {
            match &step.action {
                Action::Set(text) => {
                    set(&mut cluster, text)?;
                    wires = self.write(&cluster, home)?;
                }
                Action::Remove(kind, namespace, name) => {
                    cluster.remove(kind, namespace, name);
                    wires = self.write(&cluster, home)?;
                }
                Action::Send(send) => {
                    let Some((seen, wanted)) = self.send(send, &cluster, &wires, step.line)? else {
                        continue;
                    };
                    self.sent += 1;
                    if seen != wanted {
                        let (name, line) = (&folder.name, step.line);
                        let _ = writeln!(
                            failures,
                            "{name}/traffic.txt:{line} at node {home:?}: written {wanted}, seen {seen}"
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts the objects in force, the pods of the node on wires. Which address is on which wire.
    fn write(
        &mut self,
        cluster: &Cluster,
        home: Option<IpAddr>,
    ) -> Result<Vec<(IpAddr, usize)>, LabError> {
        self.written += 1;
        let mut wires = Vec::new();
        let mut text = marker(self.written);
        let mut free = 0..;
        for object in &cluster.objects {
            let mut object = object.clone();
            let (namespace, name) = name_of(&object);
            let addresses = cluster.addresses(&namespace, &name);
            let is_here = homes(&object.to_string()).contains(&home);
            if object["kind"] == "Pod" && is_here && !addresses.is_empty() {
                let seat = free.next().unwrap_or_default();
                let interface = &self.seats[seat].interface;
                object["metadata"]["annotations"]["lockgate.dev/interface"] = json!(interface);
                wires.extend(addresses.into_iter().map(|address| (address, seat)));
            }
            let _ = write!(text, "---\n{object}\n");
        }
        let before = self.switch.metric("lockgate_snapshot_generation", &[])?;
        self.directory.put("case.yaml", &text)?;
        self.await_force(before, &text, free.start)?;
        for seat in self.seats.iter().chain([&self.outside]) {
            let _ = seat.arrived();
        }
        self.drops = self.read_drops()?;
        Ok(wires)
    }

    /// Waits until a snapshot newer than `before` is in force, with every port.
    fn await_force(&self, before: f64, text: &str, ports: usize) -> Result<(), LabError> {
        let start = Instant::now();
        loop {
            let metrics = self.switch.metrics()?;
            let of = |name| sum(&metrics, name, &[]);
            let published = of("lockgate_snapshot_generation");
            let in_force = of("lockgate_snapshot_generation_in_force");
            let per_port = "lockgate_port_dropped_packets_total{";
            let have = metrics.lines().filter(|line| line.starts_with(per_port)).count();
            // The host port has one too.
            let is_there = have == ports + 1;
            if published > before && (in_force - published).abs() < 0.5 && is_there {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(LabError::Unexpected(format!(
                    "not in force: generation {published} after {before}, in force {in_force}, \
                     {have} ports for {ports} pods\n{text}\n{}",
                    self.switch.log()
                )));
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// What became of a packet, and what is written; `None` where it does not meet this node.
    fn send(
        &mut self,
        send: &Send,
        cluster: &Cluster,
        wires: &[(IpAddr, usize)],
        number: usize,
    ) -> Result<Option<(String, String)>, LabError> {
        let question = send.question(cluster).map_err(LabError::Unexpected)?;
        let address = |end: &End| cluster.address_of(end, question.family).ok();
        let (Some(source), Some(target)) = (address(&question.source), address(&question.target))
        else {
            return Ok(None);
        };
        let wire = |address| wires.iter().find(|(own, _)| *own == address).map(|(_, seat)| *seat);
        let (from, to) = (wire(source), wire(target));
        let of_pod =
            cluster.living().iter().any(|(ns, name)| cluster.addresses(ns, name).contains(&source));
        let wanted = match (from, to) {
            // A pod of another node, whose egress was judged there.
            (None, Some(_)) if of_pod && send.outcome == "egress_denied" => return Ok(None),
            (Some(_), None) if send.outcome != "egress_denied" => "sent".to_owned(),
            (None, None) => return Ok(None),
            (Some(from), Some(to)) if from == to => return Ok(None),
            _ => send.outcome.clone(),
        };
        let bytes = frame(send, &question, (source, target), number);
        let seat = |wire: Option<usize>| wire.map_or(&self.outside, |seat| &self.seats[seat]);
        seat(from).send(&bytes, target)?;
        let is_it = between(source, target, None);
        let start = Instant::now();
        loop {
            let has_arrived = seat(to).arrived().iter().any(|frame| is_it(frame));
            let drops = self.read_drops()?;
            let dropped = reasons()
                .zip(drops.iter().zip(&self.drops))
                .find(|(_, (now, before))| *now > *before);
            let seen = match (has_arrived, dropped) {
                (true, None) => Some("sent".to_owned()),
                (false, Some((reason, _))) => Some(reason.label().to_owned()),
                (true, Some((reason, _))) => Some(format!("sent, and {}", reason.label())),
                (false, None) if start.elapsed() > PATIENCE => Some("nothing".to_owned()),
                (false, None) => None,
            };
            if let Some(seen) = seen {
                self.drops = drops;
                return Ok(Some((seen, wanted)));
            }
        }
    }

    fn read_drops(&self) -> Result<Vec<f64>, LabError> {
        let metrics = self.switch.metrics()?;
        let of = |reason: DropReason| {
            let label = format!("reason=\"{}\"", reason.label());
            sum(&metrics, "lockgate_dropped_packets_total", &[&label])
        };
        Ok(reasons().map(of).collect())
    }
}

fn reasons() -> impl Iterator<Item = DropReason> {
    DropReason::ALL.iter().copied().filter(|reason| !OF_STACKS.contains(reason))
}

fn name_of(object: &Value) -> (String, String) {
    let of =
        |field: &str, absent: &str| object["metadata"][field].as_str().unwrap_or(absent).to_owned();
    (of("namespace", "default"), of("name", ""))
}

/// A pod of nobody that makes every text another, so that each is published.
fn marker(number: u16) -> String {
    let [high, low] = number.to_be_bytes();
    let marker = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "namespace": "zz-marker", "name": "marker" },
        "status": { "phase": "Running", "podIPs": [{ "ip": format!("100.127.{high}.{low}") }] },
    });
    format!("{marker}\n")
}
