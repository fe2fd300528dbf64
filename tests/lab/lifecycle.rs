//! Ports come and go, the switch stops and starts: what each leaves behind.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use lockgate_tests::lab::namespace::{run, wait_for};
use lockgate_tests::lab::probe::{Seen, Speech};
use lockgate_tests::lab::steady::Steady;
use lockgate_tests::lab::switch::{self, FAR_END, HOST_PORT, Options, SwitchProcess};

use super::fixture::{SETTLE, World, pod, with_three_pods};
use super::{Case, Outcome};

/// About when a change of the directory is on its way to the workers.
const LEAVING: Duration = Duration::from_millis(12);

pub(crate) const CASES: &[Case] = &[
    ("the first-added pod is removed and another added, one worker", || come_and_go(1)),
    ("the first-added pod is removed and another added, two workers", || come_and_go(2)),
    ("a pod whose interface comes late is attached when it comes", late_interface),
    ("the switch's side of a wire is inert", inert),
    ("SIGTERM removes what was made and leaves what was found dropping", sigterm),
    ("--detach sets down and gives back every interface that has a pin", detach),
    ("after SIGTERM a start keeps its own programs, exchanges others and judges", restart_after),
    ("workers have no capabilities and a filter, the agent what changes need", privileges),
    ("a second start says that the switch runs already", twice),
    (
        "uninstall is refused while a switch runs, and leaves nothing of one that was killed",
        removed,
    ),
    ("status, ports, connections and policies are answered in JSON", answers),
];

fn come_and_go(workers: u8) -> Outcome {
    let (mut world, switch) = World::switched(workers)?;
    let target = (world.address("demo/other", false)?, 80).into();
    let steady = Steady::start(&world.lab.place("demo/server")?, target)?;
    for turn in 0..5_u8 {
        // The pod that was added first goes, and a new one comes: with its address, in the end.
        let first = world.lab.pods().first().map(|pod| pod.name.clone()).unwrap_or_default();
        let (gone, name) =
            if turn == 0 { (first, "new0") } else { (format!("demo/new{}", turn - 1), "new") };
        let name = if turn == 0 { name.to_owned() } else { format!("{name}{turn}") };
        let file = gone.trim_start_matches("demo/").to_owned();
        world.directory.delete(&format!("20-{file}.yaml"))?;
        world.lab.remove_pod(&gone)?;
        world.add_pod(&name, 1)?;
        let full = format!("demo/{name}");
        let asked = (full.as_str(), "demo/server", 80);
        assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered, "{name}");
        assert_eq!(world.probe(Speech::Tcp, "demo/other", &full, 80)?, Seen::Answered, "{name}");
    }
    let course = steady.end();
    assert!(!course.is_cut, "a connection of others was cut: {course:?}");
    let ports = world.ask("ports")?;
    let count = ports["ports"].as_array().map_or(0, Vec::len);
    assert_eq!(count, 4, "three pods and the host port, not {ports}");
    switch.stop()?;
    Ok(())
}

fn late_interface() -> Outcome {
    let (mut world, switch) = World::switched(1)?;
    let text = pod("late", 9);
    world.directory.put("20-late.yaml", &text)?;
    wait_for("the log to name the interface", SETTLE, || switch.log().contains("late0"))?;
    let ports = world.ask("ports")?.to_string();
    assert!(ports.contains("late0"), "`ports` is silent about it: {ports}");
    world.add_pod("late", 9)?;
    let asked = ("demo/late", "demo/server", 80);
    assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);
    Ok(())
}

fn inert() -> Outcome {
    let (world, _switch) = World::switched(1)?;
    for interface in ["client0", "server0", HOST_PORT] {
        for (key, wanted) in [("ipv6", ("disable_ipv6", "1")), ("ipv4", ("forwarding", "0"))] {
            let path = format!("/proc/sys/net/{key}/conf/{interface}/{}", wanted.0);
            let value = world.lab.node().enter(|| fs::read_to_string(&path))??;
            assert_eq!(value.trim(), wanted.1, "{path}");
        }
        let mut command = world.lab.node().command("ip");
        let output = run(command.args(["-o", "addr", "show", "dev", interface]))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.trim().is_empty(), "{interface} has an address: {text}");
    }
    Ok(())
}

fn sigterm() -> Outcome {
    let (world, switch) = World::switched(2)?;
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Answered);
    switch.stop()?;
    let node = world.lab.node();
    assert!(!node.has_interface(HOST_PORT), "{HOST_PORT} is still there");
    assert!(!node.has_interface("lockgate-w0"), "an anchor is still there");
    assert!(!world.lab.outside().has_interface(FAR_END), "{FAR_END} is still there");
    assert!(node.has_interface("client0"), "the pod's interface was not ours to remove");
    // The node's kernel would forward now, if the program let it see a packet.
    world.lab.forward_by_kernel()?;
    world.lab.bypass_gateway("demo/client")?;
    world.lab.bypass_gateway("demo/server")?;
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Silent);
    // The test of the test: without the pins the same probe passes.
    fs::remove_dir_all(world.lab.state().join("bpf/lockgate"))?;
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Answered);
    Ok(())
}

fn detach() -> Outcome {
    // Attached, left by a pod that is gone, refused, and one whose pod goes in this moment.
    let directory = with_three_pods(&[("20-odd.yaml", pod("odd", 9))])?;
    let world = World::build(directory, 1500)?;
    world.lab.node().ip(&["link set odd0 mtu 9000 up".to_owned()])?;
    let options = Options { arguments: vec!["--detach".to_owned()], ..world.options()? };
    let switch = SwitchProcess::start(&world.lab, &options)?;
    world.directory.delete("20-client.yaml")?;
    wait_for("the port to go", SETTLE, || {
        world.ask("ports").is_ok_and(|ports| !ports.to_string().contains("client0"))
    })?;
    world.directory.delete("20-server.yaml")?;
    sleep(LEAVING);
    switch.stop()?;
    for interface in ["client0", "server0", "other0", "odd0"] {
        let link = link(&world, interface)?;
        let flags = link["flags"].to_string();
        assert!(!flags.contains("\"UP\""), "{interface} is up: {flags}");
        assert!(link["xdp"].is_null(), "{interface} still has a program: {}", link["xdp"]);
    }
    let left: Vec<_> = fs::read_dir(world.lab.state().join("bpf/lockgate"))?.flatten().collect();
    assert!(left.is_empty(), "pins are left: {left:?}");
    Ok(())
}

/// What the node's kernel knows of an interface.
fn link(world: &World, interface: &str) -> Result<serde_json::Value, Box<dyn Error>> {
    let output = run(world.lab.node().command("ip").args(["-j", "-d", "link", "show", interface]))?;
    let mut links: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(links[0].take())
}

/// The kernel's number of the program on an interface.
fn program_of(world: &World, interface: &str) -> Result<u64, Box<dyn Error>> {
    let link = link(world, interface)?;
    Ok(link["xdp"]["prog"]["id"].as_u64().ok_or_else(|| format!("no program: {link}"))?)
}

fn restart_after() -> Outcome {
    let (world, switch) = World::switched(2)?;
    let before = [program_of(&world, "server0")?, program_of(&world, "client0")?];
    switch.stop()?;
    // What is not known to be our version's is exchanged, as after an upgrade.
    let pins = world.lab.state().join("bpf/lockgate");
    let client = link(&world, "client0")?["ifindex"].to_string();
    fs::remove_file(pins.join(client).join("program"))?;
    let switch = world.start(1)?;
    assert_eq!(program_of(&world, "server0")?, before[0], "our own program was exchanged");
    assert_ne!(program_of(&world, "client0")?, before[1], "another's program was kept");
    for (speech, port) in [(Speech::Tcp, 80), (Speech::Udp, 53), (Speech::Icmp, 0)] {
        let seen = world.probe(speech, "demo/client", "demo/server", port)?;
        assert_eq!(seen, Seen::Answered, "{speech}");
    }
    assert_eq!(world.probe(Speech::Tcp, super::fixture::NODE, "demo/server", 80)?, Seen::Answered);
    switch.stop()?;
    Ok(())
}

/// Of each thread: its name, the capabilities that it has in force and that it may put in force, and
/// how its calls are filtered.
fn threads(switch: &SwitchProcess) -> Result<Vec<[String; 4]>, Box<dyn Error>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", switch.id()))?;
    let mut found = Vec::new();
    for task in tasks {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let line = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_default().trim().to_owned()
        };
        found.push(["Name:", "CapEff:", "CapPrm:", "Seccomp:"].map(line));
    }
    Ok(found)
}

fn privileges() -> Outcome {
    const NET_ADMIN: u64 = 1 << 12;
    // That, CAP_DAC_READ_SEARCH, CAP_NET_RAW, CAP_SYS_ADMIN and CAP_BPF.
    const RELOAD: u64 = NET_ADMIN | 1 << 2 | 1 << 13 | 1 << 21 | 1 << 39;
    let (mut world, switch) = World::switched(2)?;
    let (mut workers, mut logs) = (0, 0);
    for [name, in_force, permitted, filter] in threads(&switch)? {
        assert_eq!(in_force, permitted, "{name}");
        let capabilities = u64::from_str_radix(&permitted, 16)?;
        if name.starts_with("worker-") {
            assert_eq!((capabilities, filter.as_str()), (0, "2"), "{name}");
            workers += 1;
        } else if name == "log" {
            assert_eq!(capabilities, 0, "{name}");
            logs += 1;
        } else {
            assert_eq!(capabilities & !RELOAD, 0, "{name}: {capabilities:x}");
            assert_eq!(capabilities & NET_ADMIN, NET_ADMIN, "{name}: {capabilities:x}");
        }
    }
    assert_eq!((workers, logs), (2, 1));
    // What is left is enough to add a port.
    world.add_pod("late", 9)?;
    let asked = ("demo/late", "demo/server", 80);
    assert_eq!(world.probe_until(Seen::Answered, asked, SETTLE)?, Seen::Answered);
    switch.stop()?;
    Ok(())
}

fn twice() -> Outcome {
    let (world, _switch) = World::switched(1)?;
    let options = Options { instance: "second".to_owned(), ..world.options()? };
    let mut second = SwitchProcess::spawn(&world.lab, &options)?;
    let status = second.await_end(SETTLE)?;
    assert!(!status.success());
    let log = second.log();
    assert!(log.contains("already running"), "{log}");
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Answered);
    Ok(())
}

/// Settings that name every place: CNI's would else be this machine's.
fn of_the_lab(world: &World) -> Result<PathBuf, Box<dyn Error>> {
    let state = world.lab.state();
    let at = |name: &str| format!("\"{}\"", state.join(name).display());
    let text = format!(
        "socket = {}\nlock = {}\nbpffs = {}\n[restart]\ndirectory = {}\n[host_port]\n\
         interface = \"{HOST_PORT}\"\n[cluster]\ncni_socket = {}\nattachments = {}\n\
         last_good = {}\ncni_bin_dir = {}\ncni_conf_dir = {}\nipam_dir = {}\n",
        at("switch.sock"),
        at("lockgate.lock"),
        at("bpf/lockgate"),
        at("memory/connections"),
        at("cni.sock"),
        at("attachments"),
        at("last-good"),
        at("cni-bin"),
        at("net.d"),
        at("ipam"),
    );
    let path = state.join("uninstall.toml");
    fs::write(&path, text)?;
    Ok(path)
}

fn removed() -> Outcome {
    let (world, switch) = World::switched(2)?;
    let config = of_the_lab(&world)?;
    let binary = switch::binary()?;
    let uninstall = || {
        let mut command = world.lab.node().command(&binary.display().to_string());
        command.arg("uninstall").arg("--config").arg(&config).output()
    };
    let refused = uninstall()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("already running"), "{said}");
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Answered);
    switch.kill()?;
    let done = uninstall()?;
    let [said, left] = [&done.stdout, &done.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(done.status.success(), "{said}{left}");
    for what in [format!("interface {HOST_PORT}"), "interface lockgate-w1".to_owned()] {
        assert!(said.contains(&format!("removed {what}\n")), "{said}");
    }
    for name in [HOST_PORT, FAR_END, "lockgate-w0", "lockgate-w1"] {
        assert!(!world.lab.node().has_interface(name), "{name} is still there");
    }
    for interface in ["client0", "server0", "other0"] {
        let link = link(&world, interface)?;
        assert!(!link["flags"].to_string().contains("\"UP\""), "{interface} is up: {link}");
        assert!(link["xdp"].is_null(), "{interface} still has a program: {link}");
    }
    for path in ["bpf/lockgate", "memory/connections", "lockgate.lock", "switch.sock"] {
        assert!(!world.lab.state().join(path).exists(), "{path} is still there:\n{said}");
    }
    let again = uninstall()?;
    assert_eq!(String::from_utf8_lossy(&again.stdout), "nothing of lockgate is here\n");
    Ok(())
}

fn answers() -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let (world, switch) = World::switched(1)?;
    let target = (world.address("demo/server", false)?, 80).into();
    let _steady = Steady::start(&world.lab.place("demo/client")?, target)?;
    sleep(Duration::from_millis(100));
    let status = world.ask("status")?;
    assert_eq!(status["ready"], true, "{status}");
    assert_eq!(status["pid"], switch.id(), "{status}");
    let connections = world.ask("connections")?.to_string();
    assert!(
        connections.contains("10.77.0.1") && connections.contains("10.77.0.2"),
        "{connections}"
    );
    assert!(world.ask("policies")?.is_object());
    let socket = switch::socket(&world.lab, "switch");
    let mode = fs::metadata(&socket)?.permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{} is {mode:o}", socket.display());
    Ok(())
}
