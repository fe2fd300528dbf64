//! The cluster suite: a real Kubernetes, started and taken away by each case. Needs root.
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

use std::error::Error;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lockgate_tests::kubernetes::{Layout, leftovers};

/// How a case ends.
type Outcome = Result<(), Box<dyn Error>>;

/// A case: a sentence, and what tries it.
type Case = (&'static str, fn() -> Outcome);

const CASES: &[&[Case]] = &[
    applied::CASES,
    control_plane::CASES,
    deploy::CASES,
    names::CASES,
    nodes::CASES,
    refused::CASES,
    restarts::CASES,
    rollout::CASES,
    switch::CASES,
    upstream::CASES,
];

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
    let failed: Vec<&Case> = chosen.iter().copied().filter(|case| !run(case)).collect();
    for (name, _) in &failed {
        // Again, because what a case said stands far above by now.
        say(&format!("failed: {name}"));
    }
    let passed = chosen.len() - failed.len();
    say(&format!("test result: cluster. {passed} passed; {} failed", failed.len()));
    // Words that choose nothing are a mistake, and no success.
    if failed.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// The suite's own cluster: one that somebody keeps may stand beside it.
fn layout() -> std::io::Result<Layout> {
    let inside = Path::new(env!("CARGO_TARGET_TMPDIR"));
    Layout::new("lgct", &inside.join("cluster-suite"))
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
        std::thread::sleep(Duration::from_millis(50));
    }
}
