//! `lockgate-panics`: reads a disassembly on stdin, reports panics that the packet path reaches.
//!
//! Arguments: a file of permits, then names of root functions. Ends with 0 if every finding is
//! permitted, every permit is needed, and every root was there.

use std::io::{Read, Write};
use std::process::ExitCode;

use lockgate_tests::panics::{Graph, judge, permits};

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
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let permits = permits(&text).map_err(|error| format!("{file}: {error}"))?;
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| format!("stdin: {error}"))?;
    let graph = Graph::read(&String::from_utf8_lossy(&bytes));

    let mut findings = Vec::new();
    let mut lines = Vec::new();
    for root in arguments {
        let (roots, found) = graph.walk(&root);
        if roots == 0 {
            return Err(format!("no function ends in {root:?}: was it inlined or renamed?"));
        }
        lines.push(format!("{roots} × {root}: {} calls to look at", found.len()));
        findings.extend(found);
    }
    // One call that several roots reach is one thing to mend.
    findings.sort();
    findings.dedup_by(|one, other| (&one.caller, &one.target) == (&other.caller, &other.target));
    let (open, idle) = judge(&findings, &permits);
    for finding in &open {
        let path = finding.path.join("\n      ");
        lines.push(format!("REACHED {}\n   by {path}", finding.target));
    }
    lines.extend(idle.iter().map(|permit| {
        format!("IDLE permit, take it out of {file}: {} -> {}", permit.caller, permit.target)
    }));
    lines.push(format!("{} not permitted, {} permits idle", open.len(), idle.len()));
    Ok(Report { text: lines.join("\n"), clean: open.is_empty() && idle.is_empty() })
}

fn say(text: &str) {
    // Where no one reads, no one misses it.
    let _ = writeln!(std::io::stdout(), "{text}");
}
