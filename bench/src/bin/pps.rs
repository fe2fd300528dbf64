//! Packets per second between two pods: 64-byte UDP, 1024 flows, one core each for the generator
//! and for who forwards. Contenders take turns; medians with spread.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lockgate_bench::contender::{Contender, check_tools, pin, wait_until};
use lockgate_bench::tell;
use lockgate_bench::traffic::{Sink, TrafficError, flood};
use lockgate_tests::lab::node::{Lab, Shape};
use nix::net::if_::if_nametoindex;

const ROUNDS: usize = 5;
const WARM: Duration = Duration::from_secs(1);
const COUNTED: Duration = Duration::from_secs(3);
const FLOWS: u32 = 1024;

fn main() -> ExitCode {
    tell("pps", measure())
}

fn measure() -> Result<String, TrafficError> {
    check_tools()?;
    let program = std::env::current_exe()?;
    let binaries = program.parent().map_or_else(PathBuf::new, Path::to_owned);
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); Contender::ALL.len()];
    let rounds = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    for _ in 0..rounds {
        for (contender, rates) in Contender::ALL.into_iter().zip(&mut rates) {
            let rate = one(contender, &binaries)?;
            eprintln!("{}: {rate:.0} kpps", contender.label());
            rates.push(rate);
        }
    }
    Ok(table(&mut rates))
}

/// One contender, once: thousands of packets per second at the sink.
fn one(contender: Contender, binaries: &Path) -> Result<f64, TrafficError> {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let lab = Lab::build(&manifests, Shape { prefix: "lgb".to_owned(), ..Shape::default() })?;
    let time = WARM + COUNTED;
    let mut running = contender.start(&lab, binaries, time)?;
    let (source, sink) = (lab.place("default/source")?, lab.place("default/sink")?);
    let frame = frame(contender.target_mac(&lab)?, &source.namespace.mac("eth0")?)?;
    let counter = sink.namespace.enter(|| Sink::attach(if_nametoindex("eth0")?))??;
    let begun = Instant::now();
    let rate = std::thread::scope(|scope| {
        let generator = scope.spawn(|| {
            source.namespace.enter(|| {
                pin(1)?;
                flood(if_nametoindex("eth0")?, &frame, FLOWS, time + WARM)
            })
        });
        wait_until(begun + WARM);
        let (before, from) = (counter.received(), Instant::now());
        wait_until(begun + time);
        let (after, to) = (counter.received(), Instant::now());
        generator.join().map_err(|_| "the generator ended badly")???;
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        let packets = (after? - before?) as f64;
        Ok::<f64, TrafficError>(packets / (to - from).as_secs_f64() / 1000.0)
    })?;
    running.check()?;
    if rate <= 0.0 {
        return Err(format!("{}: no packet reached the sink", contender.label()).into());
    }
    Ok(rate)
}

/// A UDP packet of 64 bytes on the wire (60 without its check sequence), checksum 0.
fn frame(target: [u8; 6], source: &str) -> Result<Vec<u8>, TrafficError> {
    let mut own = [0; 6];
    for (byte, digits) in own.iter_mut().zip(source.split(':')) {
        *byte = u8::from_str_radix(digits, 16)?;
    }
    let builder = etherparse::PacketBuilder::ethernet2(own, target)
        .ipv4([10, 77, 0, 1], [10, 77, 0, 2], 64)
        .udp(1024, 9);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[0; 18])?;
    // The generator changes the source port, which a checksum would contradict.
    frame[40..42].copy_from_slice(&[0, 0]);
    Ok(frame)
}

fn table(rates: &mut [Vec<f64>]) -> String {
    let mut text =
        "| forwarder | kpps, median | least | most | of bare |\n|---|---|---|---|---|".to_owned();
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let bare = median(&mut rates[1]);
    for (contender, rates) in Contender::ALL.into_iter().zip(rates) {
        let middle = median(rates);
        let (least, most) = (rates[0], rates[rates.len() - 1]);
        let (name, share) = (contender.label(), middle / bare);
        // Writing to a string cannot fail.
        let _ = write!(text, "\n| {name} | {middle:.0} | {least:.0} | {most:.0} | {share:.2} |");
    }
    text
}
