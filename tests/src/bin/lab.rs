//! `lockgate-lab`: the lab and the demo from the command line. Needs root.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use lockgate_tests::lab::probe::{self, Speech};
use lockgate_tests::lab::server::{self, Server};
use lockgate_tests::lab::switch::{self, Options, SwitchProcess};
use lockgate_tests::lab::{Lab, LabError, Shape, demo, remove, signals};

/// A node of network namespaces as pods, made from a directory of manifests.
#[derive(Debug, Parser)]
#[command(name = "lockgate-lab")]
struct Arguments {
    /// The first part of every namespace's name.
    #[arg(long, default_value = "lg", global = true)]
    prefix: String,
    #[command(subcommand)]
    command: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Builds the lab, starts the switch and the pods' servers, and leaves them running.
    Up(Build),
    /// Removes whatever a lab left, whatever ended it.
    Down,
    /// Probes a lab that is up; exits with 0 if the bytes came back.
    Probe {
        #[command(flatten)]
        build: Build,
        /// NAMESPACE/POD, or an address outside.
        #[arg(long)]
        from: String,
        /// NAMESPACE/POD, or an address outside.
        #[arg(long)]
        to: String,
        /// tcp, udp or icmp.
        #[arg(long, default_value = "tcp", value_parser = speech)]
        protocol: Speech,
        /// The target port.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// Over IPv6.
        #[arg(short = '6', long)]
        ipv6: bool,
    },
    /// Tells the story of an application under default deny, with real traffic.
    Demo {
        /// The demo's manifests.
        #[arg(long, default_value = "deploy/demo")]
        manifests: PathBuf,
        /// Leaves everything running at the end.
        #[arg(long)]
        keep: bool,
    },
    /// Serves the pods of a lab that is up, until killed.
    #[command(hide = true)]
    Serve(Build),
}

#[derive(Debug, clap::Args)]
struct Build {
    /// The directory of manifests.
    #[arg(long)]
    manifests: PathBuf,
    /// MTU of the pods' wires.
    #[arg(long, default_value_t = 1500)]
    mtu: u16,
    /// How many workers the switch has.
    #[arg(long, default_value_t = 1)]
    workers: u8,
    /// An address of the world outside; may be given again.
    #[arg(long)]
    outside: Vec<IpAddr>,
}

impl Build {
    fn shape(&self, prefix: &str) -> Shape {
        Shape { prefix: prefix.to_owned(), mtu: self.mtu, outside: self.outside.clone() }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !nix::unistd::geteuid().is_root() {
        return fail("the lab makes network namespaces: run it as root");
    }
    let ended = run(&arguments);
    signals::await_the_end();
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error.to_string()),
    }
}

fn run(arguments: &Arguments) -> Result<bool, LabError> {
    let prefix = arguments.prefix.as_str();
    match &arguments.command {
        Order::Up(build) => up(build, prefix),
        Order::Down => remove(prefix).map(|()| true),
        Order::Probe { build, from, to, protocol, port, ipv6 } => {
            let lab = Lab::find(&build.manifests, build.shape(prefix))?;
            let target = lab.place(to)?.address(*ipv6);
            let target = target.ok_or_else(|| LabError::Unknown(to.clone()))?;
            let place = lab.place(from)?;
            let seen = probe::probe(*protocol, &place, (target, *port).into(), probe::PATIENCE)?;
            say(&seen.to_string());
            Ok(seen == probe::Seen::Answered)
        }
        Order::Demo { manifests, keep } => {
            guard(prefix)?;
            demo::run(manifests, prefix, *keep)
        }
        Order::Serve(build) => {
            let lab = Lab::find(&build.manifests, build.shape(prefix))?;
            server::stay(&lab, demo::OUTSIDE_PORTS).map(|()| true)
        }
    }
}

/// From here on, the lab goes when this process does, unless it is kept.
fn guard(prefix: &str) -> Result<(), LabError> {
    signals::take_down_on_panic(prefix);
    signals::take_down_at_the_end(prefix)
}

fn up(build: &Build, prefix: &str) -> Result<bool, LabError> {
    guard(prefix)?;
    let manifests = absolute(&build.manifests)?;
    let mut lab = Lab::build(&manifests, build.shape(prefix))?;
    let server = Server::start(&lab, &manifests)?;
    let options =
        Options { workers: build.workers, ..Options::new(&switch::binary()?, &manifests) };
    let mut switch = SwitchProcess::start(&lab, &options)?;
    let socket = switch::socket(&lab, "switch");
    say(&format!("up: metrics http://{}/metrics, socket {}", server.metrics(), socket.display()));
    switch.leave();
    server.leave();
    lab.keep();
    Ok(true)
}

fn absolute(path: &Path) -> Result<PathBuf, LabError> {
    path.canonicalize().map_err(LabError::io(format!("find {}", path.display())))
}

fn speech(word: &str) -> Result<Speech, String> {
    match word.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Speech::Tcp),
        "udp" => Ok(Speech::Udp),
        "icmp" => Ok(Speech::Icmp),
        _ => Err("it must be tcp, udp or icmp".to_owned()),
    }
}

fn say(line: &str) {
    // Where no one reads, no one misses it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "lockgate-lab: {message}");
    ExitCode::FAILURE
}
