//! `lockgate-cni`: the CNI plugin, started by a container runtime for each operation.
//!
//! The answer, be it an error, is on standard output and nothing else is; an error is told again
//! in one line on standard error.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use lockgate_control::cni;

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
    let finished = cni::run(variable, std::io::stdin().lock());
    let mut output = std::io::stdout().lock();
    if output.write_all(finished.text.as_bytes()).and_then(|()| output.flush()).is_err() {
        // Nobody has heard the answer: an ADD counts as not done, and the next one begins anew.
        return ExitCode::FAILURE;
    }
    if let Some(failure) = &finished.failure {
        let _unread = writeln!(std::io::stderr(), "lockgate-cni: {failure}");
        return ExitCode::FAILURE;
    }
    if let Err(failure) = finished.complete() {
        let _unread = writeln!(std::io::stderr(), "lockgate-cni: {failure}");
    }
    ExitCode::SUCCESS
}
