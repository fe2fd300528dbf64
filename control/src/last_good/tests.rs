use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use tempfile::TempDir;

use super::entry::{Said, append};
use super::keeper::note;
use super::log::Log;
use super::*;
use crate::cluster::Cluster;
use crate::manifest::{Object, ObjectKey, ObjectKind, Problem, read_text};
use crate::watch::{Heard, PodFacts, RESOURCES, There, What};

const NODE: &str = "here";
const BOOT: &str = "a-start";

/// Something of every kind, and some of it broken.
const ALL: &str = include_str!("tests/all.yaml");

fn stamp() -> Stamp {
    Stamp::new(NODE, BOOT)
}

/// What is written, as an API server would tell it.
fn told(text: &str) -> Vec<(ObjectKind, There)> {
    let read = read_text("", text).unwrap();
    let problems = read.problems;
    let said = |object: &Object| -> Vec<Problem> {
        let name = object.metadata().key.to_string();
        problems.iter().filter(|problem| problem.object == name).cloned().collect()
    };
    let there = |mut object: Object| {
        // Each comes alone.
        (object.metadata_mut().origin.index, object.metadata_mut().origin.line) = (0, 0);
        let facts = PodFacts { node: NODE.to_owned(), born: 7, ..PodFacts::default() };
        let is_pod = object.metadata().key.kind == ObjectKind::Pod;
        let facts = if is_pod { facts } else { PodFacts::default() };
        let problems = said(&object);
        (object.metadata().key.kind, There { object, problems, facts, version: "12".to_owned() })
    };
    read.objects.into_iter().map(there).collect()
}

struct Bench {
    directory: TempDir,
    log: Log,
    cluster: Cluster,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::new(&directory.path().join("kept"), stamp());
        Self { directory, log, cluster: Cluster::new(NODE) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("kept")
    }

    fn hear(&mut self, kind: ObjectKind, what: What) -> std::io::Result<()> {
        let (mut acts, mut frames) = (Vec::new(), Vec::new());
        note(kind, &what, &mut acts, &mut frames).unwrap();
        let _ = self.cluster.take(Heard::Of(kind, what), SystemTime::UNIX_EPOCH);
        self.log.take(&acts, &frames)
    }

    /// Every resource is listed, and holds this.
    fn list(&mut self, text: &str) {
        let all = told(text);
        for resource in RESOURCES {
            let kind = resource.kind;
            let version = kind.versions()[0];
            self.hear(kind, What::Begun(version)).unwrap();
            for (_, there) in all.iter().filter(|(of, _)| *of == kind) {
                self.hear(kind, What::There(Box::new(there.clone()))).unwrap();
            }
            self.hear(kind, What::Whole).unwrap();
        }
    }

    fn put(&mut self, text: &str) {
        for (kind, there) in told(text) {
            self.hear(kind, What::There(Box::new(there))).unwrap();
        }
    }

    fn read(&self) -> Result<Recalled, Refused> {
        read(&self.path(), &stamp())
    }

    fn refusal(&self) -> String {
        self.read().unwrap_err().to_string()
    }

    /// What is read back is what is known.
    fn assert_same(&self) {
        let read = self.read().unwrap().cluster;
        let inventory = self.cluster.inventory();
        assert_eq!(read.inventory().objects(), inventory.objects());
        let said = |cluster: &Cluster| cluster.problems();
        assert_eq!(said(&read), said(&self.cluster));
    }
}

fn key(kind: ObjectKind, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(kind, namespace, name)
}

fn deny(name: &str) -> String {
    crate::sample::policy(&format!("x/{name}"), "podSelector: {}")
}

fn namespace(phase: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: x}}\nstatus: {{phase: {phase}}}\n---\n"
    )
}

#[test]
fn what_is_read_back_is_what_was_told_of_every_kind_and_with_what_is_wrong() {
    let mut bench = Bench::new();
    assert!(bench.refusal().contains("there is no last good state"), "{}", bench.refusal());
    bench.list(ALL);
    let kinds: std::collections::BTreeSet<_> = told(ALL).into_iter().map(|one| one.0).collect();
    assert!(kinds.len() >= 16, "{kinds:?}");
    assert!(bench.cluster.problems().len() > 1);
    bench.assert_same();
    let text = fs::read(bench.path()).unwrap();
    assert!(!text.windows(7).any(|part| part == b"planted"), "an environment is written");
    let read = bench.read().unwrap().cluster;
    assert_eq!(read.versions(), bench.cluster.versions());
    assert!(read.has_pod(&key(ObjectKind::Pod, "x", "a"), "a-uid"), "it is of this node");
}

/// A change of an object's fields that leaves [`entry::LAYOUT`] as it is would be read wrongly.
#[test]
fn the_bytes_of_a_sample_belong_to_the_number_of_the_layout() {
    let mut frames = Vec::new();
    for (kind, there) in told(ALL) {
        append(&mut frames, &Said::There(kind, &there)).unwrap();
    }
    let form = (entry::LAYOUT, frames.len(), crc32fast::hash(&frames));
    assert_eq!(form, FORM, "raise LAYOUT, and write what the sample has now");
}

const FORM: (u32, usize, u32) = (3, 2978, 3_581_971_798);

#[test]
fn what_changes_is_there_at_once_and_what_goes_is_not() {
    let mut bench = Bench::new();
    bench.list(&(namespace("Active") + &deny("one")));
    bench.put(&deny("two"));
    bench.assert_same();
    bench.hear(ObjectKind::Policy, What::Gone(key(ObjectKind::Policy, "x", "one"))).unwrap();
    bench.assert_same();
    let policies = bench.read().unwrap().cluster.inventory().policies().count();
    assert_eq!(policies, 1);
    // A list that shows nothing new writes nothing; one that lacks something removes it.
    let before = fs::metadata(bench.path()).unwrap().len();
    bench.list(&(namespace("Active") + &deny("two")));
    assert_eq!(fs::metadata(bench.path()).unwrap().len(), before);
    bench.list(&namespace("Active"));
    bench.assert_same();
    assert_eq!(bench.read().unwrap().cluster.inventory().policies().count(), 0);
}

#[test]
fn what_is_staged_takes_the_place_of_what_was_enforced() {
    let mut bench = Bench::new();
    bench.list(&(namespace("Active") + &deny("one")));
    let staged =
        deny("one").replace("name: one", "name: one, annotations: {lockgate.dev/staged: \"true\"}");
    let (_, there) = told(&staged).remove(0);
    assert_ne!(there.object.metadata().key.kind, ObjectKind::Policy);
    bench.hear(ObjectKind::Policy, What::There(Box::new(there))).unwrap();
    assert_eq!(bench.cluster.inventory().policies().count(), 0);
    bench.assert_same();
}

#[test]
fn a_resource_that_goes_takes_its_objects_along() {
    let mut bench = Bench::new();
    bench.list(ALL);
    let kind = told(ALL).into_iter().find(|one| matches!(one.0, ObjectKind::Ordered(_))).unwrap().0;
    bench.hear(kind, What::Absent).unwrap();
    bench.assert_same();
    // It is installed again, and its list has not ended yet.
    bench.hear(kind, What::Begun(kind.versions()[0])).unwrap();
    let (_, there) = told(ALL).into_iter().find(|one| one.0 == kind).unwrap();
    bench.hear(kind, What::There(Box::new(there))).unwrap();
    bench.assert_same();
    bench.log.write_anew().unwrap();
    bench.assert_same();
}

#[test]
fn a_policy_that_goes_before_its_namespace_isolates_after_a_start_too() {
    let mut bench = Bench::new();
    let pod = crate::sample::pod("x/a", "10.0.0.1", "app: a");
    bench.list(&(namespace("Terminating") + &pod + &deny("one")));
    bench.hear(ObjectKind::Policy, What::Gone(key(ObjectKind::Policy, "x", "one"))).unwrap();
    let isolates = |bench: &Bench| bench.read().unwrap().cluster.inventory().policies().count();
    assert_eq!((bench.cluster.inventory().policies().count(), isolates(&bench)), (1, 1));
    bench.log.write_anew().unwrap();
    assert_eq!(isolates(&bench), 1, "written anew");
    bench.hear(ObjectKind::Pod, What::Gone(key(ObjectKind::Pod, "x", "a"))).unwrap();
    bench.hear(ObjectKind::Namespace, What::Gone(key(ObjectKind::Namespace, "", "x"))).unwrap();
    assert_eq!(isolates(&bench), 0);
    bench.assert_same();
}

#[test]
fn a_file_of_another_node_start_or_form_is_refused_by_name() {
    let mut bench = Bench::new();
    bench.list(ALL);
    let refusal = |stamp: &Stamp| read(&bench.path(), stamp).unwrap_err().to_string();
    let other = refusal(&Stamp::new("there", BOOT));
    assert!(other.contains("node here, and this is there: see the setting node"), "{other}");
    let earlier = refusal(&Stamp::new(NODE, "another"));
    assert!(earlier.contains("earlier start of this machine"), "{earlier}");
    let form = refusal(&stamp().of_layout(entry::LAYOUT + 1));
    assert!(form.contains("written by agent") && form.contains("layout 3"), "{form}");
    for text in ["", "something else", "lockgat"] {
        fs::write(bench.path(), text).unwrap();
        assert!(bench.refusal().contains("no last good state of Lockgate"), "{text}");
    }
    let end = "everything is denied until the API server answers";
    assert!(bench.refusal().ends_with(end), "{}", bench.refusal());
}

#[test]
fn whatever_byte_is_changed_the_file_is_refused() {
    let mut bench = Bench::new();
    bench.list(&(namespace("Active") + &deny("one")));
    // And what was appended since: a length that points past the end is no frame that was torn.
    bench.put(&deny("two"));
    bench.put(&deny("three"));
    let whole = fs::read(bench.path()).unwrap();
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 0x20;
        fs::write(bench.path(), &changed).unwrap();
        assert!(bench.read().is_err(), "byte {place}");
    }
}

#[test]
fn half_a_file_is_none_and_a_change_that_was_not_written_whole_was_not_in_force() {
    let mut bench = Bench::new();
    bench.list(&(namespace("Active") + &deny("one")));
    let first = fs::read(bench.path()).unwrap();
    bench.put(&deny("two"));
    let second = fs::read(bench.path()).unwrap();
    for length in 0..first.len() {
        fs::write(bench.path(), &first[..length]).unwrap();
        assert!(bench.read().is_err(), "{length} bytes");
    }
    for length in first.len()..second.len() {
        fs::write(bench.path(), &second[..length]).unwrap();
        let policies = bench.read().unwrap().cluster.inventory().policies().count();
        assert_eq!(policies, 1, "{length} bytes");
    }
}

#[test]
fn what_was_kept_stays_until_everything_was_read_anew() {
    let mut bench = Bench::new();
    bench.list(&(namespace("Active") + &deny("one")));
    let kept = fs::read(bench.path()).unwrap();
    let mut next = Log::new(&bench.path(), stamp());
    std::mem::swap(&mut bench.log, &mut next);
    for resource in &RESOURCES[1..] {
        bench.hear(resource.kind, What::Absent).unwrap();
        assert_eq!(fs::read(bench.path()).unwrap(), kept);
    }
    bench.hear(RESOURCES[0].kind, What::Absent).unwrap();
    assert_eq!(bench.read().unwrap().cluster.inventory().policies().count(), 0);
}

#[test]
fn a_file_that_cannot_be_written_goes_and_comes_back_whole() {
    let mut bench = Bench::new();
    bench.list(ALL);
    // As a disk that is full refuses.
    bench.log.break_file(&bench.path());
    for (kind, there) in told(&deny("two")) {
        assert!(bench.hear(kind, What::There(Box::new(there))).is_err());
    }
    assert!(bench.refusal().contains("there is no last good state"), "{}", bench.refusal());
    fs::create_dir(bench.log.new_path()).unwrap();
    assert!(bench.log.mend().is_err());
    let (kind, there) = told(&deny("three")).remove(0);
    assert!(bench.hear(kind, What::There(Box::new(there))).is_err());
    fs::remove_dir(bench.log.new_path()).unwrap();
    bench.log.mend().unwrap();
    bench.assert_same();
    bench.put(&deny("four"));
    bench.assert_same();
}

#[test]
fn a_file_that_another_agent_replaced_goes_where_ours_cannot_take_its_place() {
    let mut bench = Bench::new();
    bench.list(&(namespace("Active") + &deny("one")));
    // The other agent's file does not know of what comes now.
    let theirs = fs::read(bench.path()).unwrap();
    let mut other = Log::new(&bench.path(), stamp());
    assert_ne!(other.new_path(), bench.log.new_path(), "both would write one file");
    fs::write(other.new_path(), theirs).unwrap();
    fs::rename(other.new_path(), bench.path()).unwrap();
    fs::create_dir(bench.log.new_path()).unwrap();
    let (kind, there) = told(&deny("two")).remove(0);
    assert!(bench.hear(kind, What::There(Box::new(there))).is_err());
    assert!(bench.refusal().contains("there is no last good state"), "{}", bench.refusal());
    fs::remove_dir(bench.log.new_path()).unwrap();
    other.mend().unwrap(); // it has heard of nothing, and writes nothing
    bench.log.mend().unwrap();
    bench.assert_same();
}

#[test]
fn what_a_dead_agent_had_begun_to_write_is_removed() {
    let mut bench = Bench::new();
    let long_ago = SystemTime::now() - Duration::from_hours(1);
    let (dead, live) = (bench.path().with_extension("0.new"), bench.path().with_extension("1.new"));
    fs::write(&live, "").unwrap();
    fs::File::create(&dead).unwrap().set_modified(long_ago).unwrap();
    bench.list(ALL);
    assert!(live.exists() && !dead.exists());
    bench.assert_same();
}

#[test]
fn what_counts_no_more_is_written_no_more() {
    let mut bench = Bench::new();
    bench.list(&namespace("Active"));
    let text = |number: u32| {
        let block = format!("ingress: [{{ports: [{{port: {}}}]}}]", number % 60_000 + 1);
        crate::sample::policy("x/one", &format!("podSelector: {{}}, {block}"))
    };
    for number in 0..40_000 {
        let (kind, there) = told(&text(number)).remove(0);
        bench.hear(kind, What::There(Box::new(there))).unwrap();
    }
    let length = fs::metadata(bench.path()).unwrap().len();
    assert!(length < 1_100_000, "{length} bytes for one policy");
    assert_eq!(length, bench.log.bytes());
    bench.assert_same();
}

#[tokio::test]
async fn the_keeper_writes_before_it_lets_go_on_and_says_what_it_cannot() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kept");
    let mut keeper = Keeper::start(&path, stamp()).unwrap();
    let absent = |one: &crate::watch::Resource| Heard::Of(one.kind, What::Absent);
    let all: Vec<Heard> = RESOURCES.iter().map(absent).collect();
    keeper.write(&all).await;
    assert!(read(&path, &stamp()).is_ok());
    assert_eq!(keeper.problem(), None);
    assert!(keeper.kept().written.is_some() && keeper.kept().bytes > 0);
    let mut lost = Keeper::start(&directory.path().join("none/kept"), stamp()).unwrap();
    lost.write(&all).await;
    let problem = lost.problem().unwrap().to_string();
    assert!(problem.contains("none/kept cannot be written: No such file"), "{problem}");
    assert!(problem.contains("cluster.last_good"), "{problem}");
    assert_eq!(lost.kept().failures, 1);
}

/// What all of it costs: `cargo test --release -- --ignored --nocapture what_a_large`.
#[test]
#[ignore = "a measurement"]
fn what_a_large_cluster_costs() {
    let mut bench = Bench::new();
    let begun = std::time::Instant::now();
    let pods: Vec<_> = (0..100_000_u32)
        .map(|number| {
            let name = format!("space-{}/pod-{number}-7f8c9d6b5-abcde", number % 2_000);
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + number);
            let labels = format!(
                "app: app-{}, tier: back, version: \"{}\", team: team-{}",
                number % 500,
                number % 9,
                number % 40
            );
            told(&crate::sample::pod(&name, &address.to_string(), &labels)).remove(0).1
        })
        .collect();
    let mut lines = vec![format!("made in {:?}", begun.elapsed())];
    for resource in &RESOURCES {
        bench.hear(resource.kind, What::Begun(resource.kind.versions()[0])).unwrap();
        bench.hear(resource.kind, What::Whole).unwrap();
    }
    let (mut encode, mut write) = (Duration::ZERO, Duration::ZERO);
    let kind = ObjectKind::Pod;
    for chunk in pods.chunks(500) {
        let begun = std::time::Instant::now();
        let (mut acts, mut frames) = (Vec::new(), Vec::new());
        for there in chunk {
            note(kind, &What::There(Box::new(there.clone())), &mut acts, &mut frames).unwrap();
        }
        encode += begun.elapsed();
        let begun = std::time::Instant::now();
        bench.log.take(&acts, &frames).unwrap();
        write += begun.elapsed();
    }
    let bytes = bench.log.bytes();
    lines.push(format!("encoded in {encode:?}, written in {write:?}, {bytes} bytes"));
    let begun = std::time::Instant::now();
    bench.log.write_anew().unwrap();
    lines.push(format!("written anew in {:?}", begun.elapsed()));
    let begun = std::time::Instant::now();
    let read = bench.read().unwrap();
    lines.push(format!(
        "read in {:?}: {} pods",
        begun.elapsed(),
        read.cluster.inventory().pods().count()
    ));
    let mut out = std::io::stderr();
    writeln!(out, "{}", lines.join("\n")).unwrap();
}
