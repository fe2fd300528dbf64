//! Every folder of `tests/cases` over real sockets: one lab, one switch, the cases in turn.
//!
//! A packet's fate is read from the sink of the wire it should leave by and from the switch's
//! drop counters. A case is judged once for every node that its pods are on: the pods there have
//! wires, all others are beyond the host port. `CASE=word` runs only those whose name has the word.

#![allow(clippy::cast_precision_loss)] // counts of packets are small

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::ids::Mac;
use lockgate_tests::cases::{Action, Case as Folder, Judge, Send, frame};
use lockgate_tests::lab::seat::Seat;
use lockgate_tests::lab::sniffer::flow;
use lockgate_tests::lab::switch::{SwitchProcess, sum};
use lockgate_tests::lab::{Lab, LabError};
use lockgate_tests::oracle::{Cluster, End};
use lockgate_tests::packets::Ends;
use serde_json::{Value, json};

use super::fixture::{Directory, shape};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] =
    &[("every case of tests/cases comes out as written over real sockets", every_case)];

/// How long a packet's fate may take to show: it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Packets of a table that are on their way together: fewer than any queue holds.
const AT_ONCE: usize = 64;

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

/// The nodes of the pods of a manifest, `None` for those that name none.
fn homes(text: &str) -> Vec<Option<IpAddr>> {
    let cluster = Cluster::from_text(text).unwrap_or_default();
    let home = |pod: &Value| {
        let status = pod.get("status")?;
        let first = status.pointer("/hostIPs/0/ip").or_else(|| status.get("hostIP"))?;
        first.as_str()?.parse().ok()
    };
    cluster.pods().map(home).collect()
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

/// A pod's place on a wire.
struct Wire {
    namespace: String,
    name: String,
    addresses: Vec<IpAddr>,
    seat: usize,
}

/// A packet that meets the node.
struct Packet {
    frame: Vec<u8>,
    target: IpAddr,
    /// The wires it comes from and would leave by; `None` is the host port.
    from: Option<usize>,
    to: Option<usize>,
    wanted: String,
}

impl Packet {
    /// Where it is seen, and as what, if it is sent.
    fn arrival(&self) -> (Option<usize>, (IpAddr, IpAddr, u8, u16)) {
        (self.to, flow(&self.frame).expect("cases send IP packets"))
    }
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
    /// Of the last packet: none shares a connection with another.
    number: usize,
    /// The last packet from one address to another.
    last: BTreeMap<(IpAddr, IpAddr), Vec<u8>>,
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
        Ok(Self {
            directory,
            seats,
            outside,
            switch,
            _lab: lab,
            written: 0,
            sent: 0,
            number: 0,
            last: BTreeMap::new(),
            drops,
        })
    }

    fn run(
        &mut self,
        folder: &Folder,
        home: Option<IpAddr>,
        failures: &mut String,
    ) -> Result<(), LabError> {
        let mut cluster = Cluster::default();
        let set = |cluster: &mut Cluster, text: &str| {
            cluster.set_text(text).map_err(LabError::Unexpected)
        };
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
                Action::Restart | Action::Sync => {
                    let (name, line) = (&folder.name, step.line);
                    let what = format!("{name}/traffic.txt:{line}: one switch serves all cases");
                    return Err(LabError::Unexpected(what + ": write `without lab: …`"));
                }
                Action::Send(send) => {
                    let cells = [(step.line, send.as_ref().clone())];
                    self.cells(folder, home, (&cluster, &wires), &cells, failures)?;
                }
                Action::Table(cells) => {
                    for cells in cells.chunks(AT_ONCE) {
                        self.cells(folder, home, (&cluster, &wires), cells, failures)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Tries lines of a folder at once.
    fn cells(
        &mut self,
        folder: &Folder,
        home: Option<IpAddr>,
        (cluster, wires): (&Cluster, &[Wire]),
        cells: &[(usize, Send)],
        failures: &mut String,
    ) -> Result<(), LabError> {
        let (mut packets, mut lines) = (Vec::new(), Vec::new());
        for cell in cells {
            self.number += 1;
            if let Some(packet) = self.packet(&cell.1, cluster, wires, self.number)? {
                packets.push(packet);
                lines.push(cell);
            }
        }
        for (place, what) in self.try_packets(&packets)? {
            let ((line, send), name) = (lines[place], &folder.name);
            let _ =
                writeln!(failures, "{name}/traffic.txt:{line} at node {home:?}: {send}: {what}");
        }
        Ok(())
    }

    /// Puts the objects in force, the pods of the node on wires. Which pod is on which wire.
    fn write(&mut self, cluster: &Cluster, home: Option<IpAddr>) -> Result<Vec<Wire>, LabError> {
        self.written += 1;
        let mut wires = Vec::new();
        let mut text = marker(self.written);
        let mut free = 0..;
        for object in cluster.written() {
            let mut object = object.clone();
            let (namespace, name) = name_of(&object);
            let addresses = cluster.addresses(&namespace, &name);
            let is_here = homes(&object.to_string()).contains(&home);
            if object["kind"] == "Pod" && is_here && !addresses.is_empty() {
                let seat = free.next().unwrap_or_default();
                let interface = &self.seats[seat].interface;
                object["metadata"]["annotations"]["lockgate.dev/interface"] = json!(interface);
                wires.push(Wire { namespace, name, addresses, seat });
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

    /// A packet as it meets this node; `None` where it does not.
    fn packet(
        &mut self,
        send: &Send,
        cluster: &Cluster,
        wires: &[Wire],
        number: usize,
    ) -> Result<Option<Packet>, LabError> {
        let question = send.question(cluster).map_err(LabError::Unexpected)?;
        let address = |end: &End| cluster.address_of(end, question.family).ok();
        let (Some(source), Some(target)) = (address(&question.source), address(&question.target))
        else {
            return Ok(None);
        };
        let seat = |end: &End, address| {
            let mut fitting = wires.iter().filter(|wire| match end {
                End::Pod(namespace, name) => (namespace, name) == (&wire.namespace, &wire.name),
                End::Address(_) => wire.addresses.contains(&address),
            });
            fitting.next().map(|wire| wire.seat)
        };
        let (from, to) = (seat(&question.source, source), seat(&question.target, target));
        let mut pods = cluster.living().into_iter();
        let of_pod = pods.any(|(ns, name)| cluster.addresses(&ns, &name).contains(&source));
        let wanted = match (from, to) {
            // A pod of another node, whose egress was judged there.
            (None, Some(_)) if of_pod && send.outcome == "egress_denied" => return Ok(None),
            (Some(_), None) if send.outcome == "ingress_denied" => "sent".to_owned(),
            (None, None) => return Ok(None),
            (Some(from), Some(to)) if from == to => return Ok(None),
            _ => send.outcome.clone(),
        };
        let macs = (Mac([2; 6]), Mac([2; 6])); // the wire puts its own in their place
        let claimed = send.claimed.unwrap_or(source);
        let ends = Ends { source_mac: macs.0, target_mac: macs.1, source: claimed, target };
        let last = self.last.get(&(target, source)).map(Vec::as_slice);
        let frame = frame(send, ends, number, last);
        self.last.insert((source, target), frame.clone());
        Ok(Some(Packet { frame, target, from, to, wanted }))
    }

    /// Sends packets at once; for each that did not end as written, what happened.
    ///
    /// What arrived is known one by one. What was dropped is known by reason only, so the counts
    /// of all must be right beside it.
    fn try_packets(&mut self, packets: &[Packet]) -> Result<Vec<(usize, String)>, LabError> {
        for packet in packets {
            self.seat(packet.from).send(&packet.frame, packet.target)?;
        }
        self.sent += packets.len();
        let start = Instant::now();
        let mut arrived = Vec::new();
        let drops = loop {
            for (wire, seat) in self.all_seats() {
                arrived.extend(seat.arrived().iter().filter_map(|f| Some((wire, flow(f)?))));
            }
            let drops = self.read_drops()?;
            let dropped: f64 = drops.iter().zip(&self.drops).map(|(now, then)| now - then).sum();
            let seen = packets.iter().filter(|one| arrived.contains(&one.arrival())).count();
            if seen as f64 + dropped >= packets.len() as f64 || start.elapsed() > PATIENCE {
                break drops;
            }
        };
        let mut wrong = Vec::new();
        for (place, packet) in packets.iter().enumerate() {
            let has_arrived = arrived.contains(&packet.arrival());
            if has_arrived != (packet.wanted == "sent") {
                let seen = if has_arrived { "it arrived" } else { "it did not arrive" };
                wrong.push((place, format!("written {}, {seen}", packet.wanted)));
            }
        }
        for (reason, (now, then)) in reasons().zip(drops.iter().zip(&self.drops)) {
            let wanted = packets.iter().filter(|one| one.wanted == reason.label()).count();
            if (now - then - wanted as f64).abs() > 0.5 {
                let seen = now - then;
                wrong.push((0, format!("{} counted {seen}, written {wanted}", reason.label())));
            }
        }
        self.drops = drops;
        Ok(wrong)
    }

    fn seat(&self, wire: Option<usize>) -> &Seat {
        wire.map_or(&self.outside, |seat| &self.seats[seat])
    }

    fn all_seats(&self) -> impl Iterator<Item = (Option<usize>, &Seat)> {
        let seats = self.seats.iter().enumerate().map(|(number, seat)| (Some(number), seat));
        seats.chain([(None, &self.outside)])
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
