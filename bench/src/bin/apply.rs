//! How long a changed directory takes to be in force on all workers: from the settled file event,
//! by the switch's own metric; and to the first packet with the new verdict, as a pod sees it.

use std::error::Error;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lockgate_bench::tell;
use lockgate_tests::lab::switch::{Options, SwitchProcess};
use lockgate_tests::lab::{Lab, Place, Shape};

/// Changes, half of them openings.
const CHANGES: u32 = 40;
const PREFIX: &str = "lgb";
const METRIC: &str = "lockgate_apply_latency_seconds";

fn main() -> ExitCode {
    tell("apply", measure())
}

fn measure() -> Result<String, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let binaries = program.parent().map_or_else(PathBuf::new, Path::to_owned);
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/cluster.yaml"))?;
    let directory = std::env::temp_dir().join(format!("lockgate-apply-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let file = directory.join("cluster.yaml");
    fs::write(&file, &text)?;
    let lab = Lab::build(&directory, Shape { prefix: PREFIX.to_owned(), ..Shape::default() })?;
    let switch = SwitchProcess::start(&lab, &Options::new(&binaries.join("lockgate"), &directory))?;
    let (source, sink) = (lab.place("default/source")?, lab.place("default/sink")?);
    let mut inside = Vec::new();
    let mut seen = Vec::new();
    for change in 0..CHANGES {
        // The port that is open changes with every write, so each write opens one.
        let port = 10 + u16::try_from(change % 2)?;
        let before = (sum(&switch, "sum")?, sum(&switch, "count")?);
        let begun = Instant::now();
        fs::write(&file, text.replace("port: 9}", &format!("port: {port}}}")))?;
        until_open(&source, &sink, port)?;
        seen.push(begun.elapsed().as_secs_f64() * 1000.0);
        let after = (sum(&switch, "sum")?, sum(&switch, "count")?);
        inside.push((after.0 - before.0) / (after.1 - before.1).max(1.0) * 1000.0);
    }
    drop(switch);
    drop(lab);
    fs::remove_dir_all(&directory)?;
    Ok(format!(
        "| from a change of the directory | ms, median | least | most |\n|---|---|---|---|\n{}\n{}",
        row("settled file event to in force on all workers", &mut inside),
        row("write to the first packet let through (10 ms of quiet included)", &mut seen),
    ))
}

fn sum(switch: &SwitchProcess, end: &str) -> Result<f64, Box<dyn Error>> {
    Ok(switch.metric(&format!("{METRIC}_{end}"), &[])?)
}

/// Sends datagrams until one arrives.
fn until_open(source: &Place, sink: &Place, port: u16) -> Result<(), Box<dyn Error>> {
    let to = SocketAddr::new(sink.address(false).ok_or("the sink has no address")?, port);
    let from = source.namespace.enter(|| UdpSocket::bind("0.0.0.0:0"))??;
    let server = sink.namespace.enter(|| UdpSocket::bind(("0.0.0.0", port)))??;
    server.set_read_timeout(Some(Duration::from_millis(1)))?;
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        from.send_to(b"open?", to)?;
        if server.recv(&mut [0; 16]).is_ok() {
            return Ok(());
        }
    }
    Err(format!("port {port} was not open after 5 s").into())
}

fn row(name: &str, times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    let (least, most) = (times[0], times[times.len() - 1]);
    format!("| {name} | {:.1} | {least:.1} | {most:.1} |", times[times.len() / 2])
}
