//! The command line as typed. The only place that knows clap; `settings` says what it means.

mod ask;
mod node;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use lockgate_dataplane::endpoint::OwnNode;

use crate::explain::{AskedProtocol, Family, Subject, parse_protocol};
use crate::settings::{
    Raw, RawCluster, RawConnections, RawHostPort, RawLog, RawRestart, parse_own_node,
};

pub use ask::{AskArguments, ConnectionsArguments, ReadyArguments, StatusArguments};
pub use node::{SysdumpArguments, UninstallArguments};

/// A userspace virtual switch: pods' packets reach it over AF_XDP, and what the network policies of
/// a directory of manifests do not allow does not pass.
#[derive(Clone, Debug, Parser)]
#[command(name = "lockgate", version, max_term_width = 100, after_help = DEFAULTS_HELP)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const DEFAULTS_HELP: &str = "\
Unless set (`lockgate run --help` lists all settings):
  socket that the other commands ask     /run/lockgate/lockgate.sock
  lock file                              /run/lockgate/lockgate.lock
  pinned programs, on a BPF file system  /sys/fs/bpf/lockgate
  /metrics, /livez and /readyz           127.0.0.1:9790
The directory /run/lockgate is made, mode 0700, if it is missing; any other must be there.";

/// What `lockgate` does.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the switch: needs root, or the capabilities that it names when they are missing.
    Run(Box<RunArguments>),
    /// Say whether a packet would be allowed, and by what. Offline, no root.
    Explain(ExplainArguments),
    /// The verdict between all pods of a directory. Offline, no root.
    Matrix(MatrixArguments),
    /// Every problem of a directory of manifests. Offline, no root. Exit code 1 if one is an error.
    Validate(ValidateArguments),
    /// What of the policies of a directory is hardly meant: what selects nothing, never matches or is
    /// decided elsewhere. Offline, no root. Exit code 1 if anything is found, 2 if it cannot be read.
    Lint(LintArguments),
    /// The running switch: workers, snapshots, problems. With --cluster, which nodes of a cluster
    /// have what is in it in force; exit code 1 where some has not.
    Status(StatusArguments),
    /// Whether the running switch is of this container and ready: exit code 1 where it is not. What a
    /// readiness probe asks, for in a hand-over another container's switch may answer on the socket.
    Ready(ReadyArguments),
    /// The ports of the running switch and what they counted.
    Ports(AskArguments),
    /// The connections of the running switch.
    Connections(ConnectionsArguments),
    /// The policies in force and the pods they select.
    Policies(AskArguments),
    /// The last denied packets that were sampled.
    Denied(AskArguments),
    /// The last packets that rules record, or that what is staged would decide on.
    Audit(AskArguments),
    /// One archive with everything a maintainer needs and no secrets; without a running switch, with
    /// what the machine says.
    Sysdump(SysdumpArguments),
    /// Take away what a switch leaves on its node on purpose: interfaces of its own, programs, routes,
    /// its table of `nf_tables`, CNI plugin and configuration, files. Refused while one runs; needs
    /// root. Exit code 1 if something is left.
    Uninstall(UninstallArguments),
}

/// How an answer looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Arguments of `run`. Each wins over the same setting in the file.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = FILE_HELP)]
pub struct RunArguments {
    /// Directory of manifests (pods, namespaces, network policies); watched while running.
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// Watch the cluster of this kubeconfig instead of a directory.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Watch the cluster that this is a pod of, as its service account.
    #[arg(long)]
    pub in_cluster: bool,
    /// What the cluster calls this node: its pods are those of this name, and endpoint slices say by
    /// it who serves here [default: the machine's host name; in a cluster it must be given].
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Unix socket that the CNI plugin asks, mode 0600 [default: /run/lockgate/cni.sock].
    #[arg(long, value_name = "PATH")]
    pub cni_socket: Option<PathBuf>,
    /// Directory that remembers what is attached until the machine starts anew
    /// [default: /run/lockgate/attachments].
    #[arg(long, value_name = "PATH")]
    pub attachments: Option<PathBuf>,
    /// File that remembers what the API server said, for a start that it does not answer
    /// [default: /run/lockgate/last-good].
    #[arg(long, value_name = "PATH")]
    pub last_good: Option<PathBuf>,
    /// Install the CNI plugin and its configuration [default: true].
    #[arg(long, value_name = "BOOL")]
    pub cni_install: Option<bool>,
    /// Directory of CNI plugins [default: /opt/cni/bin].
    #[arg(long, value_name = "PATH")]
    pub cni_bin_dir: Option<PathBuf>,
    /// Directory of their configurations [default: /etc/cni/net.d].
    #[arg(long, value_name = "PATH")]
    pub cni_conf_dir: Option<PathBuf>,
    /// Directory that remembers which addresses are taken [default: /run/lockgate/ipam].
    #[arg(long, value_name = "PATH")]
    pub ipam_dir: Option<PathBuf>,
    /// Give what pods send out of the cluster an address of this node [default: true].
    #[arg(long, value_name = "BOOL")]
    pub masquerade: Option<bool>,
    /// Route to the pods of other nodes that are on a link of this one [default: true].
    #[arg(long, value_name = "BOOL")]
    pub node_routes: Option<bool>,
    /// Addresses of services that the node itself reaches through the switch; may be repeated
    /// [default: none].
    #[arg(long = "service-cidr", value_name = "CIDR", action = ArgAction::Append)]
    pub service_cidrs: Vec<String>,
    /// Configuration file, .toml or .yaml; none is read unless given.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// At the end, set the interfaces down and give them back, instead of leaving the program
    /// that drops on them.
    #[arg(long)]
    pub detach: bool,
    /// Where another switch runs, take over from it, with its ports, instead of being refused.
    #[arg(long)]
    pub take_over: bool,
    /// How many workers, 1 to 16 [default: 1].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number)]
    pub workers: Option<i64>,
    /// The core of each worker, as 0,1 [default: the last ones there are].
    #[arg(long, value_name = "CORES", value_delimiter = ',', value_parser = number)]
    pub cores: Option<Vec<i64>>,
    /// Frames of 4096 bytes per worker, 256 to 262144 [default: 8192].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number)]
    pub frames_per_worker: Option<i64>,
    /// The most pod ports there shall be [default: as many as the frames allow].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number)]
    pub ports_max: Option<i64>,
    /// The most policies that metrics name, 0 to 100000; 0 counts none [default: 1000].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number)]
    pub policy_metrics_max: Option<i64>,
    /// Connections per worker, 1024 to 16777216 [default: 131072].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number)]
    pub connections: Option<i64>,
    /// What a policy change does to established connections: recheck or keep [default: recheck].
    #[arg(long, value_name = "WORD")]
    pub established: Option<String>,
    /// What the sender of a denied packet hears: drop (nothing) or reject (a TCP reset, or an ICMP
    /// error, at most 1000 a second for each pod) [default: drop].
    #[arg(long, value_name = "WORD")]
    pub denied: Option<String>,
    /// What idle workers do: adaptive or busy [default: adaptive].
    #[arg(long, value_name = "WORD")]
    pub polling: Option<String>,
    /// Address of this node; may be repeated [default: the hostIPs of its pods].
    #[arg(long = "node-address", value_name = "IP", action = ArgAction::Append)]
    pub node_addresses: Vec<String>,
    /// What the node sends to its own pods: exempt (it always comes in) or judged, by the policies of
    /// the pod [default: exempt].
    #[arg(long, value_name = "WORD")]
    pub own_node: Option<String>,
    /// Switch side of the host port, a veth that is made if it is not there [default: no host port].
    #[arg(long, value_name = "NAME")]
    pub host_interface: Option<String>,
    /// The far end of the host port, in the node's stack.
    #[arg(long, value_name = "NAME")]
    pub host_peer: Option<String>,
    /// Named network namespace (`ip netns`) of the far end [default: this one].
    #[arg(long, value_name = "NAME")]
    pub host_netns: Option<String>,
    /// MTU of the host port, 1280 to 3826 [default: 1500].
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = number)]
    pub host_mtu: Option<i64>,
    /// Address of /metrics, /livez and /readyz [default: 127.0.0.1:9790].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Unix socket that the other commands ask, mode 0600, in a directory that is there
    /// [default: /run/lockgate/lockgate.sock].
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Lock file, in a directory that is there [default: /run/lockgate/lockgate.lock].
    #[arg(long, value_name = "PATH")]
    pub lock: Option<PathBuf>,
    /// Directory on a BPF file system for pinned programs [default: /sys/fs/bpf/lockgate].
    #[arg(long, value_name = "PATH")]
    pub bpffs: Option<PathBuf>,
    /// error, warn, info, debug or trace [default: info].
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json, on stderr [default: text].
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

const FILE_HELP: &str = "\
Settings of the configuration file (flags win over it):
  cluster: kubeconfig, in_cluster, cni_socket, attachments, last_good, cni_install,
    cni_bin_dir, cni_conf_dir, ipam_dir, masquerade, node_routes, service_cidrs
  manifests, workers, cores, frames_per_worker, ports_max, policy_metrics_max, established,
  denied, polling, node, node_addresses, own_node, listen, socket, lock, bpffs
  connections.capacity, connections.per_pod (most of one pod, of each worker's; a quarter)
  connections.timeouts: tcp_syn 30, tcp_established 86400, tcp_fin 30, tcp_time_wait 45,
    tcp_close 10, udp_unreplied 30, udp_stream 120, icmp 30, sctp_opening 30,
    sctp_established 600, sctp_closed 10, other 600, fragments 15 (seconds, 1 to 604800)
  host_port: interface, peer, netns, mtu; log: level, format
  restart: keep true, directory /run/lockgate/connections (in memory), grace 10 (seconds, 0 to 300)

A pod is bound to an interface of this network namespace by the annotation
lockgate.dev/interface, its MAC is asked of the kernel unless lockgate.dev/mac says it.
Signals: SIGTERM and SIGINT stop cleanly, SIGHUP reads the directory anew.";

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArguments {
    /// Directory of manifests.
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// Who sends: NAMESPACE/POD or an IP address.
    #[arg(long, value_name = "NS/POD|IP")]
    pub from: Subject,
    /// Who receives: NAMESPACE/POD or an IP address.
    #[arg(long, value_name = "NS/POD|IP")]
    pub to: Subject,
    /// The protocol: TCP, UDP, SCTP, ICMP, or a number of the IP header, 0 to 255.
    #[arg(long, value_parser = parse_protocol)]
    pub protocol: AskedProtocol,
    /// The target port, 1 to 65535; needed for TCP, UDP and SCTP.
    #[arg(long, value_parser = parse_port, allow_negative_numbers = true)]
    pub port: Option<u16>,
    /// The source port, 1 to 65535 [default: 65535].
    #[arg(long, value_parser = parse_port, allow_negative_numbers = true)]
    pub source_port: Option<u16>,
    /// ICMP type, with protocol ICMP only [default: that of an echo request].
    #[arg(long)]
    pub icmp_type: Option<u8>,
    /// ICMP code [default: 0].
    #[arg(long, requires = "icmp_type")]
    pub icmp_code: Option<u8>,
    /// IP family, 4 or 6 [default: the first that both have].
    #[arg(long)]
    pub family: Option<Family>,
    /// As the setting of the switch: what the node sends to its own pods is exempt or judged
    /// [default: exempt].
    #[arg(long, value_name = "WORD", value_parser = parse_own_node)]
    pub own_node: Option<OwnNode>,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Arguments of `matrix`.
#[derive(Clone, Debug, Args)]
pub struct MatrixArguments {
    /// Directory of manifests.
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// The protocol: TCP, UDP, SCTP, ICMP (an echo request), or a number of the IP header.
    #[arg(long, value_parser = parse_protocol)]
    pub protocol: AskedProtocol,
    /// The target port, 1 to 65535; needed for TCP, UDP and SCTP.
    #[arg(long, value_parser = parse_port, allow_negative_numbers = true)]
    pub port: Option<u16>,
    /// IP family, 4 or 6 [default: the first that both have].
    #[arg(long)]
    pub family: Option<Family>,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Arguments of `validate`.
#[derive(Clone, Debug, Args)]
pub struct ValidateArguments {
    /// Directory of manifests.
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Arguments of `lint`.
#[derive(Clone, Debug, Args)]
pub struct LintArguments {
    /// Directory of manifests.
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Reads a port that packets can be sent to.
fn parse_port(text: &str) -> Result<u16, &'static str> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write 1 to 65535"),
        Ok(port) => Ok(port),
    }
}

impl Arguments {
    /// Reads the process's command line; ends the process where it is wrong, or asks for help.
    #[must_use]
    pub fn of_process() -> Self {
        Self::parse()
    }
}

impl RunArguments {
    /// The settings among them, as written.
    #[must_use]
    pub fn to_raw(&self) -> Raw {
        let all = self.clone();
        Raw {
            manifests: all.manifests,
            workers: all.workers,
            cores: all.cores,
            frames_per_worker: all.frames_per_worker,
            ports_max: all.ports_max,
            policy_metrics_max: all.policy_metrics_max,
            established: all.established,
            denied: all.denied,
            polling: all.polling,
            node_addresses: Some(all.node_addresses).filter(|list| !list.is_empty()),
            node: all.node,
            own_node: all.own_node,
            listen: all.listen,
            socket: all.socket,
            lock: all.lock,
            bpffs: all.bpffs,
            cluster: RawCluster {
                kubeconfig: all.kubeconfig,
                in_cluster: all.in_cluster.then_some(true),
                cni_socket: all.cni_socket,
                attachments: all.attachments,
                last_good: all.last_good,
                cni_install: all.cni_install,
                cni_bin_dir: all.cni_bin_dir,
                cni_conf_dir: all.cni_conf_dir,
                ipam_dir: all.ipam_dir,
                masquerade: all.masquerade,
                node_routes: all.node_routes,
                service_cidrs: Some(all.service_cidrs).filter(|list| !list.is_empty()),
            },
            connections: RawConnections { capacity: all.connections, ..Default::default() },
            host_port: RawHostPort {
                interface: all.host_interface,
                peer: all.host_peer,
                netns: all.host_netns,
                mtu: all.host_mtu,
            },
            restart: RawRestart::default(),
            log: RawLog { level: all.log_level, format: all.log_format },
        }
    }
}

/// A whole number; its bounds are the settings' affair.
fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "write a whole number, as 2".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use lockgate_dataplane::runtime::Polling;
    use lockgate_dataplane::worker::{Denial, Established};

    use super::*;
    use crate::paths::DIRECTORY;
    use crate::settings::{self, BPFFS, LISTEN, LOCK, Machine, SOCKET, Settings};

    fn run(line: &str) -> RunArguments {
        match Arguments::try_parse_from(line.split(' ')).unwrap().command {
            Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn clap_finds_no_fault_with_the_commands() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_states_the_default_paths_and_the_address() {
        let mut command = Arguments::command();
        let run = command.find_subcommand_mut("run").unwrap().render_long_help().to_string();
        for stated in [LISTEN, SOCKET, LOCK, BPFFS, "default: 8192", "131072"] {
            assert!(run.contains(stated), "{stated}");
        }
        for asker in ["status", "ports", "connections", "policies", "denied", "audit"] {
            let help = command.find_subcommand_mut(asker).unwrap().render_help().to_string();
            assert!(help.contains(SOCKET), "{asker}");
        }
    }

    #[test]
    fn the_help_of_all_states_the_defaults_and_nothing_that_is_not_there() {
        let help = Arguments::command().render_long_help().to_string();
        for stated in [LISTEN, SOCKET, LOCK, BPFFS, DIRECTORY, "lockgate run --help"] {
            assert!(help.contains(stated), "{stated}: {help}");
        }
        assert!(help.contains("virtual switch"), "{help}");
    }

    #[test]
    fn a_cluster_is_asked_of_a_policy_and_not_of_a_socket() {
        let read = |line: &str| Arguments::try_parse_from(format!("lockgate {line}").split(' '));
        let line = "status --cluster --kubeconfig f --policy networkpolicy/demo/web -o json";
        let Command::Status(status) = read(line).unwrap().command else { panic!() };
        assert!(status.cluster && status.policy.is_some());
        assert_eq!(status.ask.output, Output::Json);
        assert!(read("status --policy networkpolicy/demo/web").is_err());
        assert!(read("status --cluster --socket s").is_err());
        let said = read("status --cluster --policy web").unwrap_err().to_string();
        assert!(said.contains("KIND/NAMESPACE/NAME"), "{said}");
    }

    #[test]
    fn a_port_that_is_none_is_refused_with_its_bounds() {
        for command in ["explain --from a --to b", "matrix"] {
            for port in ["0", "65536", "-1", "http"] {
                let line =
                    format!("lockgate {command} --manifests /m --protocol TCP --port={port}");
                let error = Arguments::try_parse_from(line.split(' ')).unwrap_err().to_string();
                assert!(error.contains("--port") && error.contains("write 1 to 65535"), "{error}");
            }
        }
    }

    #[test]
    fn every_flag_of_run_reaches_its_setting() {
        let raw =
            run("lockgate run --manifests /m --workers 2 --cores 0,1 --frames-per-worker 4096 \
             --ports-max 10 --policy-metrics-max 7 --connections 2048 --established keep --denied reject --polling busy \
             --node-address 10.0.0.1 --node-address fd00::1 --node n1 --own-node judged --host-interface h0 --host-peer h1 \
             --host-netns outside --host-mtu 1400 --listen [::1]:1 --socket /s --lock /l \
             --bpffs /b --log-level warn --log-format json")
            .to_raw();
        let settings = Settings::new(raw, &Machine { cores: vec![0, 1] }).unwrap();
        let host = settings.host_port.unwrap();
        assert_eq!((host.interface.as_str(), host.peer.as_str(), host.mtu), ("h0", "h1", 1400));
        assert_eq!(host.netns.as_deref(), Some("outside"));
        assert_eq!((settings.cores, settings.ports_max), (vec![0, 1], 10));
        assert_eq!(settings.policy_metrics_max, 7);
        assert_eq!((settings.frames_per_worker, settings.capacity), (4096, 2048));
        assert_eq!(settings.established, Established::Keep);
        assert_eq!(settings.denied, Denial::Reject);
        assert_eq!(settings.polling, Polling::Busy);
        assert_eq!(settings.node_addresses.len(), 2);
        assert_eq!(settings.node.as_deref(), Some("n1"));
        assert_eq!(settings.own_node, OwnNode::Judged);
        assert_eq!(settings.listen.to_string(), "[::1]:1");
        assert_eq!(settings.source, settings::SourcePlan::Directory("/m".into()));
        let paths = [settings.socket, settings.lock, settings.bpffs];
        assert_eq!(paths, ["/s", "/l", "/b"].map(PathBuf::from));
        assert_eq!(settings.log_level, tracing::Level::WARN);
        assert_eq!(settings.log_format, settings::LogFormat::Json);
    }

    #[test]
    fn the_cluster_is_named_by_its_kubeconfig_or_is_the_own_one() {
        let source = |line: &str| {
            let settings = Settings::new(run(line).to_raw(), &Machine { cores: vec![0] });
            settings.map(|settings| settings.source).map_err(|error| error.to_string())
        };
        let plan = |line: &str| match source(line) {
            Ok(settings::SourcePlan::Cluster(plan)) => *plan,
            other => panic!("{other:?}"),
        };
        let most = plan("lockgate run --in-cluster --node n1");
        assert_eq!((most.kubeconfig, most.node.as_str()), (None, "n1"));
        let paths = [most.cni_socket, most.attachments, most.last_good];
        let defaults = [settings::CNI_SOCKET, settings::ATTACHMENTS, settings::LAST_GOOD];
        assert_eq!(paths, defaults.map(PathBuf::from));
        let cni = most.cni.unwrap();
        let paths = [cni.bin_dir, cni.conf_dir, cni.ipam_dir];
        let defaults = [settings::CNI_BIN_DIR, settings::CNI_CONF_DIR, settings::IPAM_DIR];
        assert_eq!((paths, most.masquerade), (defaults.map(PathBuf::from), true));
        let set = plan(
            "lockgate run --kubeconfig /k --node n1 --cni-socket /c --attachments /a --last-good /g \
             --cni-bin-dir /b --cni-conf-dir /d --ipam-dir /i --masquerade false --service-cidr 10.96.0.0/12",
        );
        assert_eq!(set.kubeconfig, Some("/k".into()));
        let paths = [set.cni_socket, set.attachments, set.last_good];
        assert_eq!(paths, ["/c", "/a", "/g"].map(PathBuf::from));
        let cni = set.cni.unwrap();
        let paths = [cni.bin_dir, cni.conf_dir, cni.ipam_dir];
        assert_eq!((paths, set.masquerade), (["/b", "/d", "/i"].map(PathBuf::from), false));
        assert_eq!(set.service_cidrs, ["10.96.0.0/12".parse().unwrap()]);
        let none = plan("lockgate run --in-cluster --node n1 --cni-install false");
        assert_eq!(none.cni, None);
        let refused = |line: &str| source(line).unwrap_err();
        assert!(refused("lockgate run").contains("nothing to judge by"));
        assert!(refused("lockgate run --in-cluster").contains("give --node"));
        assert!(refused("lockgate run --in-cluster --node a/b").contains("not the name of a node"));
        for flag in ["--last-good /g", "--cni-socket /c", "--masquerade true"] {
            let error = refused(&format!("lockgate run --manifests /m {flag}"));
            assert!(error.contains("is set, and objects come from a directory"), "{error}");
        }
        assert!(refused("lockgate run --manifests /m --in-cluster").contains("from one place"));
    }

    #[test]
    fn a_negative_number_reaches_the_check_that_names_its_bounds() {
        let raw = run("lockgate run --manifests /m --workers -1").to_raw();
        let error = Settings::new(raw, &Machine { cores: vec![0] }).unwrap_err().to_string();
        assert_eq!(error, "workers is -1: it must be from 1 to 16");
    }

    #[test]
    fn every_setting_has_its_row_in_operating_with_its_default() {
        use clap::CommandFactory;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATING.md");
        let text = std::fs::read_to_string(path).unwrap();
        let row = |begin: &str| text.lines().find(|line| line.contains(begin)).map(str::to_owned);
        let command = Arguments::command();
        let run = command.find_subcommand("run").unwrap();
        for argument in run.get_arguments().filter(|one| one.get_id() != "help") {
            let flag = format!("--{}", argument.get_long().unwrap());
            let row = row(&format!("| `{flag}` |")).unwrap_or_else(|| panic!("no row of {flag}"));
            let help = argument.get_help().unwrap().to_string();
            let default = help.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
            let default = default.map_or("unset", |(default, _)| default);
            assert!(row.ends_with(&format!("| {default} |")), "{flag} is {default}: {row}");
            let first = help.split(['.', ';', '[']).next().unwrap().trim();
            assert!(row.contains(first), "{flag} is {first:?}: {row}");
        }
        let timeouts = FILE_HELP.split_once("connections.timeouts: ").unwrap().1;
        let timeouts = timeouts.split_once(" (seconds").unwrap().0.split(',');
        for (name, default) in timeouts.filter_map(|one| one.trim().split_once(' ')) {
            let row = row(&format!("| `connections.timeouts.{name}` |")).unwrap();
            assert!(row.ends_with(&format!("| {default} |")), "{row}");
        }
    }
}
