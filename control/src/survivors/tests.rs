use std::fs;

use lockgate_dataplane::compiler::Compiler;
use lockgate_dataplane::endpoint::Topology;
use lockgate_dataplane::policy::delta::Delta;

use super::*;
use crate::fake::FakeSwitch;

const OWN: u64 = 8;
const OLD: u64 = 7;

struct Bench {
    directory: tempfile::TempDir,
    survivors: Survivors,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut survivors = Survivors::default();
        survivors.keep(Some(directory.path().to_owned()), OWN);
        Self { directory, survivors, now: Instant::now() }
    }

    /// A file of connections of a start.
    fn file(&self, stamp: u64) -> PathBuf {
        let path = self.directory.path().join(format!("{stamp:016x}-0.connections"));
        fs::write(&path, "").unwrap();
        path
    }

    fn publish(&mut self) {
        let mut compiler = Compiler::counted_by(1);
        let endpoints = compiler.apply(Delta::default(), &Topology::default()).endpoints;
        self.survivors.adopt(&endpoints, 1, self.now, &mut FakeSwitch::quick()).unwrap();
    }
}

fn names() -> Names {
    let (namespace, name) = ("demo".to_owned(), "a".to_owned());
    [(3, Identity { namespace, name, uid: None, ifindex: 9 })].into()
}

/// As the dataplane tells of a start.
fn left(file: &Path, has_published: bool, is_read: bool) -> Left {
    let files = vec![file.to_owned()];
    Left { stamp: OLD, has_published, is_read, files, ..Left::default() }
}

#[test]
fn files_of_who_gives_stay_until_it_was_told_that_all_is_taken() {
    let mut bench = Bench::new();
    let file = bench.file(OLD);
    bench.survivors.await_word();
    bench.survivors.inherit(vec![left(&file, true, true)]);
    bench.publish();
    bench.survivors.tick(bench.now + PATIENCE * 2);
    assert!(file.exists(), "it may go on, and would have no file");
    bench.survivors.taken(bench.now);
    assert!(!file.exists() && !bench.survivors.has_waiting());
    // Whoever died gives nothing: nobody is waited for.
    let mut bench = Bench::new();
    let file = bench.file(OLD);
    bench.survivors.inherit(vec![left(&file, true, true)]);
    bench.publish();
    assert!(!file.exists());
}

#[test]
fn a_start_that_was_not_read_is_never_all_and_one_that_published_nothing_is_none() {
    for (has_published, is_read, is_all) in
        [(true, true, true), (true, false, false), (false, false, false)]
    {
        let mut bench = Bench::new();
        let file = bench.file(OLD);
        names::write(bench.directory.path(), OLD, &names()).unwrap();
        let lefts = vec![left(&file, has_published, is_read)];
        assert_eq!(bench.survivors.inherit(lefts), is_all, "{has_published} {is_read}");
        bench.publish();
        assert!(!file.exists(), "it would be in the way for ever");
    }
}

#[test]
fn whoever_ends_without_having_published_leaves_no_file() {
    let mut bench = Bench::new();
    let (own, other) = (bench.file(OWN), bench.file(OLD));
    drop(std::mem::take(&mut bench.survivors));
    assert!(!own.exists() && other.exists());
    let mut bench = Bench::new();
    let own = bench.file(OWN);
    bench.survivors.name(names());
    drop(std::mem::take(&mut bench.survivors));
    assert!(own.exists(), "its connections are there for the next");
}

#[test]
fn whoever_goes_on_is_believed_and_not_its_successor_that_died() {
    let mut bench = Bench::new();
    let [old, own, dead, prepares] = [OLD, OWN, 9, 10].map(|stamp| bench.file(stamp));
    for stamp in [OLD, OWN, 9] {
        names::write(bench.directory.path(), stamp, &names()).unwrap();
    }
    bench.survivors.name(names());
    bench.survivors.go_on();
    let names = |stamp| names::path(bench.directory.path(), stamp).exists();
    assert!(!dead.exists() && !names(9), "the next start would read it first");
    assert!(old.exists() && own.exists() && names(OLD) && names(OWN));
    assert!(prepares.exists(), "it has published nothing, and may be alive");
}

#[test]
fn a_successor_that_ends_before_it_said_that_all_is_taken_leaves_no_file() {
    for (is_told, is_left) in [(false, false), (true, true)] {
        let mut bench = Bench::new();
        let (own, theirs) = (bench.file(OWN), bench.file(OLD));
        bench.survivors.await_word();
        bench.survivors.inherit(vec![left(&theirs, true, true)]);
        bench.survivors.name(names());
        bench.publish();
        if is_told {
            bench.survivors.taken(bench.now);
        }
        drop(std::mem::take(&mut bench.survivors));
        let has_names = names::path(bench.directory.path(), OWN).exists();
        assert_eq!((own.exists(), has_names, theirs.exists()), (is_left, is_left, !is_left));
    }
}

#[test]
fn names_that_could_not_be_written_are_tried_again() {
    let mut bench = Bench::new();
    let memory = bench.directory.path().join("memory");
    bench.survivors.keep(Some(memory.clone()), OWN);
    bench.survivors.name(names());
    assert!(bench.survivors.trouble().is_some());
    bench.survivors.tick(bench.now);
    assert!(bench.survivors.trouble().is_some(), "nothing has changed");
    fs::create_dir(&memory).unwrap();
    bench.survivors.tick(bench.now);
    assert_eq!(bench.survivors.trouble(), None);
    assert_eq!(names::read(&memory, OWN), names());
}

#[test]
fn names_without_connections_are_removed_by_the_next_start_and_nothing_else_is() {
    let mut bench = Bench::new();
    let at = |name: &str| bench.directory.path().join(name);
    let others = ["notes.pods", "7.pods", "0000000000000005.text"].map(at);
    let half = at("0000000000000006.new");
    for path in others.iter().chain([&half]) {
        fs::write(path, "").unwrap();
    }
    let held = bench.file(OLD);
    for stamp in [5, OLD, OWN] {
        names::write(bench.directory.path(), stamp, &names()).unwrap();
    }
    bench.survivors.inherit(vec![left(&held, true, true)]);
    let has = |stamp| names::path(bench.directory.path(), stamp).exists();
    assert!(!has(5) && !half.exists(), "their connections are gone");
    assert!(has(OLD) && has(OWN), "one has connections, and the other is our own");
    assert!(others.iter().all(|path| path.exists()), "somebody else's");
}
