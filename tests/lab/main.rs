//! The lab suite: real AF_XDP sockets on veth pairs, real stacks in the pods. Needs root.
//!
//! `scripts/lab test [WORD …]` runs the cases whose names hold one of the words. Run by plain
//! `cargo test` it says that it did not run, and why; with `REQUIRE_LAB=1` it runs or fails.
//!
//! Each case builds its own lab and takes it down, one after the other: they share the machine's
//! cores and would disturb each other's times. A case ends in `Ok`, in an error or in a panic;
//! the last two fail it and show the switch's log.

mod bad_input;
mod cases;
mod cni;
mod evasion;
mod exhaustion;
mod fail_closed;
mod fixture;
mod fragments;
mod handover;
mod host;
mod interfaces;
mod itself;
mod leaks;
mod lifecycle;
mod log;
mod path_mtu;
mod policy;
mod rejects;
mod restart;
mod services;
mod traffic;

use std::error::Error;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use lockgate_tests::lab::{remove, signals};

/// How a case ends.
type Outcome = Result<(), Box<dyn Error>>;

/// A case: a sentence, and what tries it.
type Case = (&'static str, fn() -> Outcome);

/// Every case, in the order they run: the lab itself first.
const CASES: &[&[Case]] = &[
    itself::CASES,
    traffic::CASES,
    fragments::CASES,
    path_mtu::CASES,
    evasion::CASES,
    policy::CASES,
    rejects::CASES,
    services::CASES,
    cases::CASES,
    lifecycle::CASES,
    handover::CASES,
    log::CASES,
    interfaces::CASES,
    host::CASES,
    fail_closed::CASES,
    restart::CASES,
    leaks::CASES,
    exhaustion::CASES,
    bad_input::CASES,
    cni::CASES,
];

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen: Vec<&Case> = CASES
        .iter()
        .copied()
        .flatten()
        .filter(|(name, _)| {
            words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
        })
        .collect();
    if std::env::var_os("REQUIRE_LAB").is_none() {
        say(&format!(
            "lab: {} cases NOT run: they need root; run `scripts/lab test`",
            chosen.len()
        ));
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        say("lab: the cases need root: run `sudo scripts/lab test`");
        return ExitCode::FAILURE;
    }
    if let Err(error) = signals::take_down_at_the_end(fixture::PREFIX) {
        say(&format!("lab: {error}"));
        return ExitCode::FAILURE;
    }
    let failed: Vec<&Case> = chosen.iter().copied().filter(|case| !run(case)).collect();
    for (name, _) in &failed {
        // Again, because what a case said stands far above by now.
        say(&format!("failed: {name}"));
    }
    let passed = chosen.len() - failed.len();
    say(&format!("test result: lab. {passed} passed; {} failed", failed.len()));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one case; says how it went.
fn run((name, case): &Case) -> bool {
    let start = Instant::now();
    // What an earlier case left is not this case's.
    fixture::take_logs();
    let outcome = catch_unwind(AssertUnwindSafe(case));
    let took = start.elapsed().as_secs_f64();
    let problem = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("panicked, see above".to_owned()),
    };
    match &problem {
        None => say(&format!("ok     {took:5.1} s  {name}")),
        Some(problem) => {
            say(&format!("FAILED {took:5.1} s  {name}\n{problem}\n{}", fixture::take_logs()));
        }
    }
    // A case that panicked may have left its lab; the next one must find a clean table.
    if let Err(error) = remove(fixture::PREFIX) {
        say(&format!("lab: {error}"));
    }
    problem.is_none()
}

pub(crate) fn say(line: &str) {
    // Where no one reads, no one misses it.
    let _ = writeln!(std::io::stdout(), "{line}");
}
