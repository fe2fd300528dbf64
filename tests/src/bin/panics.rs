//! `lockgate-panics`: reads a disassembly on stdin, reports panics that the packet path reaches.
//!
//! Arguments: a file of permits, then names of root functions. Ends with 0 if every finding is
//! permitted, every permit is needed, and every root was there.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::ExitCode;

use lockgate_tests::panics::{Graph, permits};

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            say(&report.text);
            if report.clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            say(&format!("panics: {message}"));
            ExitCode::FAILURE
        }
    }
}

struct Report {
    text: String,
    clean: bool,
}

fn run() -> Result<Report, String> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: lockgate-panics PERMITS ROOT...")?;
    let list = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let permits = permits(&list).map_err(|error| format!("{file}: {error}"))?;
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| format!("stdin: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let graph = Graph::read(&text);

    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    let mut lines = Vec::new();
    for root in arguments {
        let walk = graph.walk(&root, &permits);
        if walk.roots == 0 {
            return Err(format!("no function ends in {root:?}: was it inlined or renamed?"));
        }
        findings.extend(walk.findings);
        used.extend(walk.used);
    }
    // One call that several roots reach is one thing to mend.
    findings.sort();
    findings.dedup_by(|one, other| (&one.caller, &one.target) == (&other.caller, &other.target));
    for finding in &findings {
        let path = finding.path.join("\n      ");
        lines.push(format!("REACHED {}\n   by {path}", finding.target));
    }
    let idle = permits.iter().enumerate().filter(|(number, _)| !used.contains(number));
    let idle: Vec<_> = idle.map(|(_, permit)| permit).collect();
    lines.extend(idle.iter().map(|permit| {
        format!("IDLE permit, take it out of {file}: {} -> {}", permit.caller, permit.target)
    }));
    lines.push(format!(
        "{} calls reached that no permit covers, {} permits, {} of them idle",
        findings.len(),
        permits.len(),
        idle.len()
    ));
    Ok(Report { text: lines.join("\n"), clean: findings.is_empty() && idle.is_empty() })
}

fn say(text: &str) {
    // Where no one reads, no one misses it.
    let _ = writeln!(std::io::stdout(), "{text}");
}
