//! The demo: an ETL application under default deny, with one port range forgotten.
//!
//! The story: every permission that the application needs is written down, as policies of Calico in
//! two tiers beside some of Kubernetes, and all of them are seen to hold; but the engine's calls back
//! to the core, ports 42000 to 43000, were forgotten. The switch shows who denies them and which rule
//! came nearest. The policy is replaced while a connection runs, and the calls pass; the connection
//! never noticed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::error::LabError;
use super::node::{Lab, Shape};
use super::probe::{self, Seen, Speech};
use super::server::Server;
use super::steady::Steady;
use super::switch::{self, Options, SwitchProcess};
use super::table::{self, Row};

/// A customer of the front end.
const CUSTOMER: &str = "198.51.100.7";

/// One from the network that is barred.
const BARRED: &str = "198.51.100.77";

/// Where nobody has business.
const DATA: &str = "203.0.113.10";

/// The node itself: its kubelet probes the pods.
const NODE: &str = "192.168.50.1";

/// How long the change of the policy may take to be seen: ten times the promise.
const CHANGE: Duration = Duration::from_millis(500);

/// How long the connection runs before and after the change.
const AROUND: Duration = Duration::from_millis(500);

/// The ports served outside.
pub const OUTSIDE_PORTS: &[(&str, u16)] = &[("TCP", 443), ("UDP", 53)];

/// The lab that the demo's manifests need.
#[must_use]
pub fn shape(prefix: &str) -> Shape {
    let outside = [CUSTOMER, BARRED, DATA].iter().filter_map(|word| word.parse().ok()).collect();
    Shape { prefix: prefix.to_owned(), outside, ..Shape::default() }
}

/// Runs the demo on the manifests of a directory; with `keep`, leaves the lab standing.
///
/// Gives whether every row was as expected.
///
/// # Errors
/// When a step fails; the lab is taken down.
pub fn run(manifests: &Path, prefix: &str, keep: bool) -> Result<bool, LabError> {
    let binary = switch::binary()?;
    say("Building a node of network namespaces, one for each pod …");
    let mut lab = Lab::build(manifests, shape(prefix))?;
    let directory = lab.state().join("manifests");
    copy(manifests, &directory)?;
    let server = Server::start(&lab, &directory)?;
    let mut switch = SwitchProcess::start(&lab, &Options::new(&binary, &directory))?;
    say("The switch runs; its packets are real. The application under default deny:\n");

    let mut story = Story { lab: &lab, binary: &binary, directory: &directory, all_well: true };
    story.rows(BEFORE)?;
    say(
        "\nThe engine's calls back to the core were forgotten. Who denied them, from the switch:\n",
    );
    story.denied()?;
    say("\nThe policy `engine` is replaced while a connection engine → core runs:\n");
    story.change(&manifests.join("later/engine.yaml"))?;
    story.rows(AFTER)?;
    let all_well = story.all_well;

    say(&format!(
        "\nmetrics: http://{}/metrics (an address of this machine, not of the lab)",
        server.metrics()
    ));
    if keep {
        say(&format!(
            "\nThe lab runs on. Pods: `ip netns list`. The switch: `{} status --socket {}`.\n\
             Policies: edit {} and try again.\nTo stop: `scripts/lab down`.",
            binary.display(),
            switch::socket(&lab, "switch").display(),
            directory.display()
        ));
        switch.leave();
        server.leave();
        lab.keep();
    } else {
        switch.stop()?;
    }
    say(if all_well { "\nEvery row is as expected." } else { "\nNOT every row is as expected." });
    Ok(all_well)
}

/// Copies the manifests of a directory, without its sub-directories, for the switch to watch.
///
/// # Errors
/// When a file can't be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<(), LabError> {
    let what = || LabError::io(format!("copy manifests to {}", to.display()));
    fs::create_dir_all(to).map_err(what())?;
    for entry in fs::read_dir(from).map_err(what())? {
        let path = entry.map_err(what())?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, to.join(name)).map_err(what())?;
        }
    }
    Ok(())
}

const fn row(
    from: &'static str,
    to: &'static str,
    speech: Speech,
    port: u16,
    expected: Seen,
) -> Row {
    Row { from, to, speech, port, v6: false, expected }
}

const fn row6(from: &'static str, to: &'static str, port: u16, expected: Seen) -> Row {
    Row { from, to, speech: Speech::Tcp, port, v6: true, expected }
}

const ALLOWED: Seen = Seen::Answered;
const DENIED: Seen = Seen::Silent;

const BEFORE: &[Row] = &[
    row(CUSTOMER, "fme/web", Speech::Tcp, 8080, ALLOWED),
    row(BARRED, "fme/web", Speech::Tcp, 8080, DENIED),
    row(CUSTOMER, "fme/postgresql", Speech::Tcp, 5432, DENIED),
    row("fme/web", "fme/core", Speech::Tcp, 7070, ALLOWED),
    row("fme/web", "fme/queue", Speech::Tcp, 6379, DENIED),
    row("fme/web", "fme/postgresql", Speech::Tcp, 5432, DENIED),
    row("fme/core", "fme/engine", Speech::Tcp, 7500, ALLOWED),
    row("fme/core", "fme/queue", Speech::Tcp, 6379, ALLOWED),
    row("fme/core", "fme/postgresql", Speech::Tcp, 5432, ALLOWED),
    row("fme/engine", "fme/core", Speech::Tcp, 7070, ALLOWED),
    row("fme/engine", "fme/postgresql", Speech::Tcp, 5432, ALLOWED),
    row("fme/engine", "fme/queue", Speech::Tcp, 6379, DENIED),
    row("fme/engine", DATA, Speech::Tcp, 443, DENIED),
    row("fme/engine", DATA, Speech::Udp, 53, DENIED),
    row("fme/core", DATA, Speech::Udp, 53, DENIED),
    row("fme/engine", CUSTOMER, Speech::Tcp, 443, DENIED),
    row("ops/probe", "fme/core", Speech::Icmp, 0, ALLOWED),
    row("fme/engine", "fme/core", Speech::Icmp, 0, DENIED),
    row6("fme/engine", "fme/core", 7070, ALLOWED),
    row6("fme/web", "fme/postgresql", 5432, DENIED),
    row(NODE, "fme/queue", Speech::Tcp, 6379, ALLOWED),
    row("fme/engine", "fme/core", Speech::Tcp, 42001, DENIED),
];

const AFTER: &[Row] = &[
    row("fme/engine", "fme/core", Speech::Tcp, 42001, ALLOWED),
    row("fme/engine", "fme/core", Speech::Tcp, 43001, DENIED),
    row("fme/web", "fme/core", Speech::Tcp, 42001, DENIED),
];

/// The demo as it goes on.
struct Story<'a> {
    lab: &'a Lab,
    binary: &'a Path,
    directory: &'a Path,
    all_well: bool,
}

impl Story<'_> {
    fn rows(&mut self, rows: &[Row]) -> Result<(), LabError> {
        say(&table::head());
        for result in table::try_all(self.lab, self.binary, self.directory, rows)? {
            self.all_well &= result.is_expected();
            say(&table::text(&result));
        }
        Ok(())
    }

    /// Shows what the running switch says of the forgotten port; it must say something.
    fn denied(&mut self) -> Result<(), LabError> {
        let socket = switch::socket(self.lab, "switch").display().to_string();
        let answer = switch::ask(self.binary, &["denied", "--socket", &socket])?;
        let engine = self.address("fme/engine")?;
        let core = self.address("fme/core")?;
        let ours = mentions(&answer, &[&engine, &core, "42001"]);
        if let Some(event) = ours {
            say(&format!("  {event}"));
        } else {
            self.all_well = false;
            say(&format!("  NOTHING of {engine} → {core} : TCP 42001: {answer}"));
        }
        Ok(())
    }

    /// Moves the new policy into place while a connection runs, and waits until it is in force.
    fn change(&mut self, policy: &Path) -> Result<(), LabError> {
        let core = self.lab.place("fme/core")?.address(false);
        let core = core.ok_or_else(|| LabError::Unknown("fme/core".to_owned()))?;
        let engine = self.lab.place("fme/engine")?;
        let steady = Steady::start(&engine, (core, 7070).into())?;
        thread::sleep(AROUND);
        let beside = self.directory.join(".engine.yaml.new");
        fs::copy(policy, &beside).map_err(LabError::io("copy the new policy"))?;
        let place = self.directory.join("engine.yaml");
        fs::rename(&beside, &place).map_err(LabError::io("move the new policy into place"))?;
        let start = Instant::now();
        // A SYN that is denied is sent again after a second only: ask anew all the time.
        while start.elapsed() < CHANGE {
            let soon = Duration::from_millis(20);
            if probe::probe(Speech::Tcp, &engine, (core, 42001).into(), soon)? == ALLOWED {
                break;
            }
        }
        let took = start.elapsed();
        thread::sleep(AROUND);
        let course = steady.end();
        self.all_well &= !course.is_cut;
        say(&format!(
            "  seen in force after {} ms; the connection meanwhile: {} exchanges, {}, the slowest {:.1} ms\n",
            took.as_millis(),
            course.exchanges,
            if course.is_cut { "CUT" } else { "none lost" },
            course.longest.as_secs_f64() * 1000.0
        ));
        Ok(())
    }

    fn address(&self, pod: &str) -> Result<String, LabError> {
        let address = self.lab.place(pod)?.address(false);
        address.map(|address| address.to_string()).ok_or_else(|| LabError::Unknown(pod.to_owned()))
    }
}

/// The smallest object in an answer whose text holds all of some words.
fn mentions<'a>(answer: &'a serde_json::Value, words: &[&str]) -> Option<&'a serde_json::Value> {
    let text = answer.to_string();
    if !words.iter().all(|word| text.contains(word)) {
        return None;
    }
    let parts: Vec<&serde_json::Value> = match answer {
        serde_json::Value::Array(items) => items.iter().collect(),
        serde_json::Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    let inner = parts.into_iter().filter(|part| part.is_array() || part.is_object());
    inner.into_iter().find_map(|part| mentions(part, words)).or(Some(answer))
}

/// Writes a line for the user; where no one reads, the demo goes on.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_among_many_is_found_by_its_words() {
        let answer = serde_json::json!({"denied": [
            {"source": "10.0.0.1", "target": "10.0.0.2", "port": 1},
            {"source": "10.0.0.1", "target": "10.0.0.2", "port": 42001},
        ]});
        let found = mentions(&answer, &["10.0.0.1", "10.0.0.2", "42001"]);
        assert_eq!(found, Some(&answer["denied"][1]));
        assert_eq!(mentions(&answer, &["10.0.0.3"]), None);
    }

    #[test]
    fn every_row_starts_and_ends_at_a_pod_of_the_manifests_or_an_address() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo");
        let pods = super::super::manifests::pods(&directory).unwrap();
        for row in BEFORE.iter().chain(AFTER) {
            for word in [row.from, row.to] {
                let known = pods.iter().any(|pod| pod.name == word);
                assert!(known || word.parse::<std::net::IpAddr>().is_ok(), "{word}");
            }
        }
    }
}
