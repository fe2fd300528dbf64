//! How long a scrape of the metrics takes where as many ports are attached as a node is made for,
//! each with its own interface and socket, seen by who asks over HTTP.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lockgate_bench::tell;
use lockgate_tests::lab::switch::{Options, SwitchProcess, ask, socket};
use lockgate_tests::lab::{Lab, Shape};

const PORTS: u32 = 250;
const SCRAPES: u32 = 60;
const PREFIX: &str = "lgb";
/// Attaching them all.
const READY_MAX: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    tell("scrape", measure())
}

fn measure() -> Result<String, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let binaries = program.parent().map_or_else(PathBuf::new, Path::to_owned);
    let directory = std::env::temp_dir().join(format!("lockgate-scrape-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("cluster.yaml"), pods()?)?;
    let lab = Lab::build(&directory, Shape { prefix: PREFIX.to_owned(), ..Shape::default() })?;
    let binary = binaries.join("lockgate");
    let mut options = Options::new(&binary, &directory);
    // What one worker needs for so many ports; with four workers the defaults are enough.
    options.settings = format!("ports_max = {PORTS}\nframes_per_worker = 65536\n");
    let switch = SwitchProcess::start(&lab, &options)?;
    let socket = socket(&lab, &options.instance).to_string_lossy().into_owned();
    let end = Instant::now() + READY_MAX;
    while ask(&binary, &["ports", "--socket", &socket])?["ports"].as_array().map_or(0, Vec::len)
        < PORTS as usize
    {
        if Instant::now() > end {
            return Err("not all ports are attached in time".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut times = Vec::new();
    let mut size = 0;
    for _ in 0..SCRAPES {
        let begun = Instant::now();
        size = switch.metrics()?.len();
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    drop(switch);
    drop(lab);
    fs::remove_dir_all(&directory)?;
    times.sort_by(f64::total_cmp);
    let (least, most) = (times[0], times[times.len() - 1]);
    let median = times[times.len() / 2];
    Ok(format!(
        "| ports | bytes | ms, median | least | most |\n|---|---|---|---|---|\n\
         | {PORTS} | {size} | {median:.1} | {least:.1} | {most:.1} |"
    ))
}

fn pods() -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for number in 1..=PORTS {
        writeln!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}, annotations: \
             {{lockgate.dev/interface: {PREFIX}-p{number}}}}}\nstatus: {{podIPs: [{{ip: \
             10.77.1.{number}}}]}}"
        )?;
    }
    Ok(text)
}
