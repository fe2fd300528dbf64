//! The cluster suite: a real Kubernetes, started and taken away by each case. Needs root.
//!
//! Cases wait more than they work, so two run at once, each in a lane with a cluster of its own.
//!
//! `scripts/test --cluster` runs it. Run by plain `cargo test` it says that it did not run, and
//! why; with `REQUIRE_CLUSTER=1` it runs or fails. Words choose the cases whose names hold one.

mod applied;
mod control_plane;
mod conversation;
mod deploy;
mod names;
mod nodes;
mod refused;
mod restarts;
mod rollout;
mod switch;
mod upstream;

use std::cell::Cell;
use std::collections::VecDeque;
use std::error::Error;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use lockgate_tests::kubernetes::{Layout, leftovers, sysctls};
use lockgate_tests::lab::LabError;

/// How a case ends.
type Outcome = Result<(), Box<dyn Error>>;

/// A case: a sentence, and what tries it.
type Case = (&'static str, fn() -> Outcome);

/// The longest first, so that no lane ends long before the other.
const CASES: &[&[Case]] = &[
    upstream::CASES,
    refused::CASES,
    applied::CASES,
    switch::CASES,
    rollout::CASES,
    deploy::CASES,
    restarts::CASES,
    names::CASES,
    nodes::CASES,
    control_plane::CASES,
];

/// The first part of the names in each lane's cluster.
const LANES: [&str; 2] = ["lgct", "lgcu"];

thread_local! {
    /// The lane of the cases that this thread runs.
    static LANE: Cell<&'static str> = const { Cell::new(LANES[0]) };
}

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let chosen: Vec<&Case> =
        CASES.iter().copied().flatten().filter(|(name, _)| is_chosen(name)).collect();
    if std::env::var_os("REQUIRE_CLUSTER").is_none() {
        say(&format!(
            "cluster: {} cases NOT run: they need root; run `scripts/test --cluster`",
            chosen.len()
        ));
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        say("cluster: the cases need root: run `sudo scripts/test --cluster`");
        return ExitCode::FAILURE;
    }
    let failed = match run_all(&chosen) {
        Ok(failed) => failed,
        Err(error) => {
            say(&format!("cluster: {error}"));
            return ExitCode::FAILURE;
        }
    };
    for name in &failed {
        // Again, because what a case said stands far above by now.
        say(&format!("failed: {name}"));
    }
    let passed = chosen.len() - failed.len();
    say(&format!("test result: cluster. {passed} passed; {} failed", failed.len()));
    // Words that choose nothing are a mistake, and no success.
    if failed.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all cases, lane beside lane; the names of those that fail.
fn run_all(chosen: &[&Case]) -> Result<Vec<&'static str>, LabError> {
    // A cluster notes what its kubelets change of the machine, and one that begins beside another
    // would take that for what was there before.
    let note = inside("cluster-suite");
    std::fs::create_dir_all(&note).map_err(LabError::io("make a directory"))?;
    sysctls::note(&note)?;
    let waiting = Mutex::new(chosen.iter().copied().collect::<VecDeque<_>>());
    // Taken in a statement of its own, so that nobody holds the lock while a case runs.
    let next = || waiting.lock().ok()?.pop_front();
    let lane = |name: &'static str| {
        LANE.set(name);
        let mut failed = Vec::new();
        while let Some(case) = next() {
            if !run(case) {
                failed.push(case.0);
            }
        }
        failed
    };
    let failed = thread::scope(|scope| {
        let lanes = LANES.map(|name| scope.spawn(move || lane(name)));
        lanes.map(|lane| lane.join().unwrap_or_else(|_| vec!["a lane"])).concat()
    });
    sysctls::restore(&note)?;
    std::fs::remove_dir_all(&note).map_err(LabError::io("remove what was noted"))?;
    Ok(failed)
}

/// Runs one case; says how it went. A cluster that it leaves is taken down when it is dropped.
fn run((name, case): &Case) -> bool {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(case));
    let took = start.elapsed().as_secs_f64();
    let problem = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("panicked, see above".to_owned()),
    };
    match &problem {
        None => say(&format!("ok     {took:5.1} s  {name}")),
        Some(problem) => say(&format!("FAILED {took:5.1} s  {name}\n{problem}")),
    }
    problem.is_none()
}

fn say(line: &str) {
    // Where no one reads, no one misses it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The lane's own cluster: one that somebody keeps may stand beside it.
fn layout() -> std::io::Result<Layout> {
    let lane = LANE.get();
    Layout::new(lane, &inside(&format!("cluster-{lane}")))
}

fn inside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Nothing of a cluster is there: no namespace, mount, cgroup or file, and none of `processes`.
fn assert_gone(layout: &Layout, processes: &[i32]) -> Outcome {
    let left = leftovers::list(layout)?;
    assert!(left.is_empty(), "left behind: {left:?}");
    // Of one that has ended and is not mourned yet there is no program to be read.
    let alive = |id: &&i32| std::fs::read_link(format!("/proc/{id}/exe")).is_ok();
    let alive: Vec<&i32> = processes.iter().filter(alive).collect();
    assert!(alive.is_empty(), "still running: {alive:?}");
    Ok(())
}

/// Asks again and again for something, for a bounded time.
fn until<T>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let end = Instant::now() + patience;
    loop {
        let answer = ask();
        if let Ok(Some(answer)) = answer {
            return Ok(answer);
        }
        if Instant::now() > end {
            let why = answer.err().map_or_else(String::new, |error| format!(": {error}"));
            return Err(format!("waited {patience:?} in vain for {what}{why}").into());
        }
        thread::sleep(Duration::from_millis(50));
    }
}
