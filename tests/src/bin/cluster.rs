//! `lockgate-cluster`: a real Kubernetes in namespaces of its own, from the command line.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand, ValueEnum};

use lockgate_tests::kubernetes::{
    Cluster, Layout, NODES_MAX, Network, Options, Programs, conformance, programs,
};
use lockgate_tests::lab::LabError;

/// A real Kubernetes: its own programs, in network namespaces that nothing joins to the machine's.
#[derive(Debug, Parser)]
#[command(name = "lockgate-cluster")]
struct Arguments {
    /// The first part of the names of its namespaces and cgroups.
    #[arg(long, default_value = "lgc")]
    prefix: String,
    /// The directory of its files: certificates, logs, what it stores.
    #[arg(long, default_value = "target/cluster")]
    state: PathBuf,
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Builds what is missing, once for each set of versions.
    Build {
        /// What is to be built.
        #[arg(value_enum, default_value_t = What::All)]
        what: What,
    },
    /// Starts what does not run yet, and waits until it answers.
    Up {
        /// No kubelet, no containers.
        #[arg(long)]
        control_plane: bool,
        /// How many nodes there are.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(NODES_MAX)))]
        nodes: u8,
        /// Pods get their interfaces from Debian's plugins, which know no policy: for proving
        /// only that nodes work.
        #[arg(long)]
        plain_plugins: bool,
        /// No pod gets an interface before somebody installs what gives them: no node is ready.
        #[arg(long, conflicts_with = "plain_plugins")]
        bare: bool,
    },
    /// Runs kubectl as the administrator.
    #[command(disable_help_flag = true)]
    Kubectl {
        /// What kubectl is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Runs a command on a node, with KUBECONFIG set: in its network, and with its own /run/netns,
    /// /etc/cni, /opt/cni, /sys/fs/bpf … if a kubelet has been started there.
    Run {
        /// Which node.
        #[arg(long, default_value = "node-a")]
        node: String,
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Runs the upstream end-to-end tests of policies in a cluster of two nodes, which it starts
    /// and takes down.
    Conformance {
        /// Runs the cases alone whose names hold this.
        #[arg(default_value = "")]
        words: String,
        /// Where its log and its report are written.
        #[arg(long, default_value = "target/conformance")]
        report: PathBuf,
    },
    /// Prints KUBECONFIG and the names of the namespaces, for a shell.
    Env,
    /// Stops everything and takes away all that it left.
    Down,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// All that `up` needs.
    All,
    /// What `up --control-plane` needs.
    ControlPlane,
    /// The upstream end-to-end tests.
    E2e,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), LabError> {
    let layout = Layout::new(&arguments.prefix, &arguments.state)
        .map_err(LabError::io(format!("find {}", arguments.state.display())))?;
    if !matches!(arguments.order, Order::Build { .. } | Order::Env) {
        needs_root()?;
    }
    match &arguments.order {
        Order::Build { what } => build(*what),
        Order::Up { control_plane, nodes, plain_plugins, bare } => {
            let nodes = if *control_plane { 0 } else { *nodes };
            let network = match (plain_plugins, bare) {
                (true, _) => Network::Plain,
                (_, true) => Network::None,
                _ => Network::Switch,
            };
            let options = Options { nodes, network };
            let cluster = Cluster::up(&layout, &options)?;
            if network == Network::Switch && nodes > 0 {
                cluster.start_names()?;
            }
            cluster.leave();
            Ok(())
        }
        Order::Kubectl { arguments } => {
            let cluster = running(&layout)?;
            become_it(cluster.kubectl_command().args(arguments))
        }
        Order::Run { node, command } => on_node(&running(&layout)?, node, command),
        Order::Conformance { words, report } => conforms(&layout, words, report),
        Order::Env => env(&layout),
        Order::Down => Cluster::find(&layout)?.down(),
    }
}

fn needs_root() -> Result<(), LabError> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(LabError::Unexpected("it makes network namespaces: run it as root".to_owned()))
}

fn build(what: What) -> Result<(), LabError> {
    let programs = Programs::find()?;
    match what {
        What::ControlPlane => programs.build(programs::CONTROL_PLANE)?,
        What::E2e => programs.build(&[programs::E2E])?,
        What::All => {
            programs.build(programs::CONTROL_PLANE)?;
            programs.build(programs::NODE)?;
        }
    }
    say(&programs.directory().display().to_string());
    Ok(())
}

fn conforms(layout: &Layout, words: &str, directory: &Path) -> Result<(), LabError> {
    Programs::find()?.build(&[programs::E2E])?;
    let cluster = Cluster::up(layout, &Options { nodes: 2, network: Network::Switch })?;
    let directory = std::path::absolute(directory)
        .map_err(LabError::io(format!("find {}", directory.display())))?;
    say(&format!("running; what the tests say is in {}", directory.join("e2e.log").display()));
    let report = conformance::run(&cluster, words, &directory)?;
    let path = directory.join("report.txt");
    std::fs::write(&path, format!("{report}\n"))
        .map_err(LabError::io(format!("write {}", path.display())))?;
    say(&report.to_string());
    if report.failed() > 0 || report.passed() == 0 {
        return Err(LabError::Unexpected(format!("not all passed, see {}", path.display())));
    }
    cluster.down()
}

fn running(layout: &Layout) -> Result<Cluster, LabError> {
    let cluster = Cluster::find(layout)?;
    if cluster.control_plane().runs() {
        return Ok(cluster);
    }
    let state = layout.state().display();
    Err(LabError::Unexpected(format!(
        "no cluster runs in {state}, or not all of it: run `scripts/cluster up`"
    )))
}

fn on_node(cluster: &Cluster, name: &str, command: &[OsString]) -> Result<(), LabError> {
    let nodes = (0..NODES_MAX).map(|number| cluster.node(number));
    let node = nodes
        .into_iter()
        .find(|node| node.place().name == name && node.place().namespace.path().exists());
    let node = node.ok_or_else(|| {
        LabError::Unexpected(format!("there is no node {name}: `scripts/cluster env` lists them"))
    })?;
    let mut within = node.command(&command[0].to_string_lossy());
    become_it(within.args(&command[1..]).env("KUBECONFIG", cluster.kubeconfig()))
}

/// Becomes a command: its end is this process's own.
fn become_it(command: &mut Command) -> Result<(), LabError> {
    Err(LabError::Io { what: format!("start {command:?}"), source: command.exec() })
}

fn env(layout: &Layout) -> Result<(), LabError> {
    let cluster = Cluster::find(layout)?;
    say(&format!("KUBECONFIG={}", cluster.kubeconfig().display()));
    say(&format!("CLUSTER_WIRE={}", layout.wire().name()));
    for number in 0..NODES_MAX {
        let node = layout.node(number);
        if node.namespace.path().exists() {
            let letter =
                node.namespace.name().rsplit('-').next().unwrap_or_default().to_uppercase();
            say(&format!("CLUSTER_NODE_{letter}={}", node.namespace.name()));
        }
    }
    Ok(())
}

fn say(line: &str) {
    // Where no one reads, no one misses it.
    let _ = writeln!(std::io::stdout(), "{line}");
}
