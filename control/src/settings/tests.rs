use std::path::Path;

use super::raw::RawHostPort;
use super::*;

fn machine() -> Machine {
    Machine { cores: vec![0, 1, 4, 5] }
}

fn new(raw: Raw) -> Result<Settings, String> {
    let raw = raw.over(Raw { manifests: Some("/m".into()), ..Raw::default() });
    Settings::new(raw, &machine()).map_err(|error| error.to_string())
}

fn toml(text: &str) -> Result<Settings, String> {
    new(read("lockgate.toml", text)?)
}

fn read(name: &str, text: &str) -> Result<Raw, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    Raw::read(&path).map_err(|error| error.to_string())
}

#[test]
fn nothing_but_the_directory_must_be_set() {
    let settings = toml("").unwrap();
    assert_eq!(settings.cores, [5]);
    assert_eq!((settings.frames_per_worker, settings.ports_max), (8192, 56));
    assert_eq!((settings.capacity, settings.per_pod), (131_072, 32_768));
    assert_eq!(settings.policy_metrics_max, 1000);
    assert_eq!(settings.established, Established::Recheck);
    assert_eq!(settings.denied, Denial::Drop);
    assert_eq!(settings.polling, Polling::Adaptive);
    assert_eq!(settings.listen, LISTEN.parse().unwrap());
    assert!(settings.listen.ip().is_loopback());
    assert_eq!(settings.host_port, None);
    let paths = [&settings.socket, &settings.lock, &settings.bpffs].map(|path| path.to_str());
    assert_eq!(paths, [Some(SOCKET), Some(LOCK), Some(BPFFS)]);
    let error = Settings::new(Raw::default(), &machine()).unwrap_err().to_string();
    assert!(error.starts_with("there is nothing to judge by: give --manifests"), "{error}");
}

#[test]
fn every_number_out_of_bounds_names_itself_its_value_and_its_bounds() {
    let seconds = (1, 604_800);
    for (option, (low, high)) in [
        ("workers", (1, 16)),
        ("frames_per_worker", (256, 262_144)),
        ("ports_max", (1, 256)),
        ("policy_metrics_max", (0, 100_000)),
        ("connections.capacity", (1024, 16_777_216)),
        ("connections.per_pod", (16, 131_072)),
        ("connections.timeouts.tcp_syn", seconds),
        ("connections.timeouts.tcp_established", seconds),
        ("connections.timeouts.tcp_fin", seconds),
        ("connections.timeouts.tcp_time_wait", seconds),
        ("connections.timeouts.tcp_close", seconds),
        ("connections.timeouts.udp_unreplied", seconds),
        ("connections.timeouts.udp_stream", seconds),
        ("connections.timeouts.icmp", seconds),
        ("connections.timeouts.sctp_opening", seconds),
        ("connections.timeouts.sctp_established", seconds),
        ("connections.timeouts.sctp_closed", seconds),
        ("connections.timeouts.other", seconds),
        ("connections.timeouts.fragments", seconds),
        ("host_port.mtu", (1280, 3826)),
        ("restart.grace", (0, 300)),
    ] {
        for value in [low - 1, high + 1, -1, i64::MAX] {
            let error = toml(&format!("{option} = {value}")).unwrap_err();
            let expected = format!("{option} is {value}: it must be from {low} to {high}");
            assert_eq!(error, expected);
        }
        for value in [low, high] {
            let outcome = toml(&format!("{option} = {value}"));
            let refused = outcome.err().is_some_and(|error| error.contains("must be from"));
            assert!(!refused, "{option} = {value} is in bounds");
        }
    }
}

#[test]
fn what_a_file_says_holds_where_no_flag_does() {
    let numbers = [
        "workers",
        "frames_per_worker",
        "ports_max",
        "policy_metrics_max",
        "connections.capacity",
        "connections.per_pod",
        "connections.timeouts.tcp_syn",
        "connections.timeouts.tcp_established",
        "connections.timeouts.tcp_fin",
        "connections.timeouts.tcp_time_wait",
        "connections.timeouts.tcp_close",
        "connections.timeouts.udp_unreplied",
        "connections.timeouts.udp_stream",
        "connections.timeouts.icmp",
        "connections.timeouts.sctp_opening",
        "connections.timeouts.sctp_established",
        "connections.timeouts.sctp_closed",
        "connections.timeouts.other",
        "connections.timeouts.fragments",
        "host_port.mtu",
        "restart.grace",
    ];
    let words = [
        "established",
        "denied",
        "polling",
        "node",
        "own_node",
        "listen",
        "log.level",
        "log.format",
    ];
    let numbers = numbers.map(|name| format!("{name} = 7"));
    let words = words.map(|name| format!("{name} = \"word\""));
    let of_cluster = [
        "kubeconfig",
        "cni_socket",
        "attachments",
        "last_good",
        "cni_bin_dir",
        "cni_conf_dir",
        "ipam_dir",
    ];
    let of_cluster = of_cluster.map(|name| format!("cluster.{name} = \"/word\""));
    let others =
        ["in_cluster = true", "cni_install = false", "masquerade = false", "node_routes = false"];
    let others = others.map(|line| format!("cluster.{line}"));
    let list = ["cluster.service_cidrs = [\"10.96.0.0/12\"]".to_owned()];
    let cluster = of_cluster.iter().chain(&others).chain(&list);
    for line in numbers.iter().chain(&words).chain(cluster) {
        let file = read("lockgate.toml", line).unwrap();
        assert_ne!(file, Raw::default(), "{line}");
        assert_eq!(Raw::default().over(file.clone()), file, "{line}");
    }
}

#[test]
fn every_word_that_is_none_of_those_allowed_names_them() {
    for (option, allowed) in [
        ("established", "recheck, keep"),
        ("denied", "drop, reject"),
        ("polling", "adaptive, busy"),
        ("own_node", "exempt, judged"),
        ("log.level", "error, warn, info, debug, trace"),
        ("log.format", "text, json"),
    ] {
        let error = toml(&format!("{option} = \"INFO\"")).unwrap_err();
        assert_eq!(error, format!("{option} is \"INFO\": it must be one of {allowed}"));
        for word in allowed.split(", ") {
            toml(&format!("{option} = {word:?}")).unwrap();
        }
    }
}

#[test]
fn texts_that_mean_nothing_are_refused_with_the_setting() {
    for (line, expected) in [
        (
            "listen = \"9790\"",
            "listen is \"9790\": it must be ADDRESS:PORT; write 127.0.0.1:9790 or [::1]:9790",
        ),
        (
            "listen = \"localhost:9790\"",
            "listen is \"localhost:9790\": it must be ADDRESS:PORT; write 127.0.0.1:9790",
        ),
        (
            "node_addresses = [\"10.0.0\"]",
            "node_addresses is \"10.0.0\": it is not an IP address; write one as 192.0.2.1 or fd00::1",
        ),
        ("socket = \"s\"", "socket is \"s\": it must be an absolute path"),
        ("lock = \"l\"", "lock is \"l\": it must be an absolute path"),
        ("bpffs = \"b\"", "bpffs is \"b\": it must be an absolute path"),
        ("host_port.peer = \"x\"", "host_port.peer is \"x\": it needs host_port.interface"),
        ("host_port.netns = \"x\"", "host_port.netns is \"x\": it needs host_port.interface"),
        ("host_port.interface = \"x\"", "host_port.peer is not set: give --host-peer or"),
        (
            "host_port = {interface = \"a/b\", peer = \"x\"}",
            "host_port.interface is \"a/b\": it may hold letters",
        ),
        (
            "host_port = {interface = \"x\", peer = \"x\"}",
            "host_port.peer is \"x\": it is host_port.interface too",
        ),
        (
            "host_port = {interface = \"x\", peer = \"y\", netns = \"../etc\"}",
            "host_port.netns is \"../etc\": it must be a name that `ip netns` lists",
        ),
    ] {
        let error = toml(line).unwrap_err();
        assert!(error.starts_with(expected), "{line}: {error}");
    }
    let long = format!("socket = \"/{}\"", "s".repeat(107));
    assert!(toml(&long).unwrap_err().contains("longer than the 107 bytes"));
    let many = format!("node_addresses = [{}]", "\"10.0.0.1\",".repeat(65));
    assert_eq!(toml(&many).unwrap_err(), "node_addresses is 65: it must be from 0 to 64");
}

#[test]
fn a_core_that_is_not_there_names_the_setting_and_the_cores_there_are() {
    for core in [2, 99, -1] {
        let error = toml(&format!("cores = [{core}]")).unwrap_err();
        let there = "this process may use cores [0, 1, 4, 5]";
        assert_eq!(error, format!("cores names core {core}, which is not there: {there}"));
    }
    assert_eq!(toml("cores = [5, 0]").unwrap().cores, [5, 0]);
}

#[test]
fn workers_and_cores_must_agree_and_fit_the_machine() {
    assert_eq!(toml("workers = 2").unwrap().cores, [4, 5]);
    let error = toml("workers = 5").unwrap_err();
    assert!(error.contains("5 workers do not fit: this process may use cores [0, 1, 4, 5]"));
    assert!(toml("workers = 1\ncores = [0, 1]").unwrap_err().contains("one core for each"));
    assert!(toml("cores = [0, 0]").unwrap_err().contains("names one core twice"));
    assert_eq!(toml("cores = []").unwrap_err(), "workers is 0: it must be from 1 to 16");
}

#[test]
fn a_frame_budget_that_does_not_add_up_is_printed() {
    let error = toml("frames_per_worker = 1024\nports_max = 20").unwrap_err();
    assert_eq!(
        error,
        "frames_per_worker is too low: 20 ports × (64 fill + 64 outstanding) and an eighth for \
         the pool need 2926 frames, there are 1024 (7 MiB with the kernel's part); raise \
         frames_per_worker or lower ports_max"
    );
    let host = "host_port = {interface = \"x\", peer = \"y\"}\n";
    assert_eq!(toml(&format!("{host}workers = 2")).unwrap().ports_max, 110);
    assert!(toml(&format!("{host}ports_max = 56")).unwrap_err().contains("57 ports"));
    assert!(toml("frames_per_worker = 256\nports_max = 2").is_err());
}

#[test]
fn an_unknown_setting_is_refused_in_both_formats() {
    for (name, text) in [
        ("a.toml", "worker = 1"),
        ("a.toml", "[log]\nlevl = \"info\""),
        ("a.yaml", "worker: 1"),
        ("a.yml", "host_port: {iface: x}"),
    ] {
        let error = read(name, text).unwrap_err();
        assert!(error.contains(name) && error.contains("unknown field"), "{error}");
        assert!(error.contains("`lockgate run --help` lists the settings"), "{error}");
    }
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_refused() {
    assert!(read("a.toml", "workers: 1").unwrap_err().contains("a.toml"));
    assert!(read("a.yaml", "workers: [").unwrap_err().contains("a.yaml"));
    assert!(read("a.yaml", "workers: many").unwrap_err().contains("a.yaml: setting workers: "));
    let deep = read("a.yaml", "connections: {timeouts: {icmp: soon}}").unwrap_err();
    assert!(deep.contains("setting connections.timeouts.icmp: "), "{deep}");
    assert!(read("a.conf", "").unwrap_err().contains("name it .toml, .yaml or .yml"));
    let missing = Raw::read(Path::new("/nonexistent.toml")).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent.toml: No such file"), "{missing}");
}

#[test]
fn toml_and_yaml_say_the_same() {
    let toml = "workers = 2\nlisten = \"[::1]:1\"\n[connections.timeouts]\ntcp_syn = 5\n[host_port]\n\
                interface = \"x\"\npeer = \"y\"\nmtu = 3498\n";
    let yaml = "workers: 2\nlisten: '[::1]:1'\nconnections: {timeouts: {tcp_syn: 5}}\nhost_port:\n  \
                interface: x\n  peer: y\n  mtu: 3498\n";
    assert_eq!(read("a.toml", toml), read("a.yaml", yaml));
    assert_eq!(new(read("a.yaml", yaml).unwrap()).unwrap().timeouts.tcp_syn, 5);
    assert_eq!(read("empty.yaml", "# nothing\n"), Ok(Raw::default()));
}

#[test]
fn each_side_of_a_clusters_host_port_has_its_own_default() {
    for (raw, sides) in [
        (RawHostPort::default(), ["lockgate-host", "lockgate0"]),
        (RawHostPort { interface: Some("x".into()), ..RawHostPort::default() }, ["x", "lockgate0"]),
        (RawHostPort { peer: Some("y".into()), ..RawHostPort::default() }, ["lockgate-host", "y"]),
    ] {
        let raw = raw.or_default(true);
        assert_eq!([raw.interface.as_deref(), raw.peer.as_deref()], sides.map(Some));
    }
    assert_eq!(RawHostPort::default().or_default(false), RawHostPort::default());
}

#[test]
fn flags_win_over_the_file_field_by_field() {
    let file = read("a.toml", "workers = 2\npolling = \"busy\"\n[log]\nformat = \"json\"").unwrap();
    let log = RawLog { level: Some("warn".into()), format: None };
    let flags = Raw { workers: Some(1), log, ..Raw::default() };
    let settings = new(flags.over(file)).unwrap();
    assert_eq!(settings.cores.len(), 1);
    assert_eq!(settings.polling, Polling::Busy);
    assert_eq!(settings.log_level, tracing::Level::WARN);
    assert_eq!(settings.log_format, LogFormat::Json);
}

#[test]
fn the_default_files_are_in_the_directory_that_is_made() {
    for file in [SOCKET, LOCK] {
        let directory = Path::new(file).parent();
        assert_eq!(directory, Some(Path::new(crate::paths::DIRECTORY)), "{file}");
    }
}
