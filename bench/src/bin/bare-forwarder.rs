//! Runs the bare forwarder between two interfaces for some seconds.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use lockgate_bench::bare::{BareError, Forwarder, Report};

const USAGE: &str = "usage: bare-forwarder IF IF ANCHOR PINS SECONDS\n\
    joins two interfaces at queue 0, as root; pin it to a core with taskset;\n\
    PINS is a directory on a bpffs, made if it is not there";

fn run(
    interfaces: [&str; 2],
    anchor: &str,
    pins: &Path,
    seconds: u64,
) -> Result<Report, BareError> {
    let mut forwarder = Forwarder::new(interfaces, anchor, pins)?;
    let report = forwarder.run(Duration::from_secs(seconds));
    forwarder.close()?;
    Ok(report)
}

#[allow(clippy::print_stdout)] // its only output
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [first, other, anchor, pins, seconds] = words.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Ok(seconds) = seconds.parse() else {
        eprintln!("{seconds}: not a number of seconds\n{USAGE}");
        return ExitCode::from(2);
    };
    match run([first, other], anchor, Path::new(pins), seconds) {
        Ok(report) => {
            let (forwarded, dropped) = (report.forwarded, report.dropped);
            println!("forwarded={forwarded} dropped={dropped} kpps={}", report.kpps());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bare-forwarder: {error}");
            ExitCode::FAILURE
        }
    }
}
