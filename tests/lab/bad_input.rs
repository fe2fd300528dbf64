//! What bad input gets when it takes root to give it: a message that says what to do.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use lockgate_tests::lab::namespace::wait_for;
use lockgate_tests::lab::probe::{Seen, Speech};
use lockgate_tests::lab::switch::{METRICS, Options, SwitchProcess};

use super::fixture::{Directory, World, pod};
use super::{Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("a missing capability is named", missing_capability),
    ("a lock or a socket on a full or read-only disk is named with what to do", full_or_read_only),
    ("no bpffs: the message has the mount command", no_bpffs),
    ("a memlock limit that is too low is named where it bites", memlock),
    ("a port in use is named", port_in_use),
    ("a manifest that is not YAML refuses the start and is named", not_yaml),
    ("a core that does not exist is named", no_such_core),
    ("an interface with more queues than sockets is refused with the ethtool command", queues),
    ("an interface with an MTU above one frame is refused with the ip command", mtu),
    ("an interface that is missing is told, and the other pods work", missing_interface),
];

/// How long a refusal may take.
const SOON: Duration = Duration::from_secs(10);

/// Starts a switch that must refuse, and looks for words in what it says.
fn refused(change: impl FnOnce(&World, &mut Options), words: &[&str]) -> Outcome {
    let world = World::build(Directory::with_three_pods()?, 1500)?;
    let mut options = world.options()?;
    change(&world, &mut options);
    let mut switch = SwitchProcess::spawn(&world.lab, &options)?;
    let status = switch.await_end(SOON)?;
    let log = switch.log();
    assert!(!status.success(), "it ended well: {log}");
    for word in words {
        assert!(log.contains(word), "{word:?} is not in: {log}");
    }
    // A start that was refused has changed nothing: no anchors, no host port, no pins.
    let node = world.lab.node();
    assert!(!node.has_interface("lockgate-w0") && !node.has_interface("lg-host"), "left behind");
    Ok(())
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn missing_capability() -> Outcome {
    for (dropped, name) in [("net_admin", "CAP_NET_ADMIN"), ("net_raw", "CAP_NET_RAW")] {
        let wrapper = words(&format!("setpriv --bounding-set=-{dropped}"));
        refused(|_, options| options.wrapper = wrapper, &[name, "root"])?;
    }
    let both = words("setpriv --bounding-set=-bpf,-sys_admin");
    refused(|_, options| options.wrapper = both, &["CAP_BPF", "root"])
}

/// The disk is there for the switch alone: in a mount namespace that ends with it.
fn full_or_read_only() -> Outcome {
    let full = "mount -t tmpfs -o size=4k full DISK && head -c 4096 /dev/zero > DISK/filler";
    let read_only = "mount -t tmpfs -o ro closed DISK";
    for (script, setting, remedy) in [
        (full, "lock", "make room in DISK, or change the setting lock"),
        (read_only, "lock", "mount DISK writable, or change the setting lock"),
        (read_only, "socket", "mount DISK writable, or change the setting socket"),
    ] {
        let world = World::build(Directory::with_three_pods()?, 1500)?;
        let disk = world.lab.state().join("disk");
        std::fs::create_dir_all(&disk)?;
        let at_disk = |text: &str| text.replace("DISK", &disk.display().to_string());
        let mut options = world.options()?;
        let line = at_disk(&format!("{script} && exec \"$0\" \"$@\""));
        options.wrapper = ["unshare", "--mount", "sh", "-c", &line].map(str::to_owned).to_vec();
        options.arguments = vec![format!("--{setting}"), at_disk(&format!("DISK/{setting}"))];
        let mut switch = SwitchProcess::spawn(&world.lab, &options)?;
        assert!(!switch.await_end(SOON)?.success(), "{setting}: it began: {}", switch.log());
        assert!(switch.log().contains(&at_disk(remedy)), "{remedy}: {}", switch.log());
    }
    Ok(())
}

fn no_bpffs() -> Outcome {
    let bpffs = |world: &World, options: &mut Options| {
        options.bpffs = Some(world.lab.state().join("plain/lockgate"));
    };
    refused(bpffs, &["BPF file system", "mount -t bpf"])
}

fn memlock() -> Outcome {
    let wrapper = "prlimit --memlock=65536:65536 setpriv --bounding-set=-ipc_lock,-sys_resource";
    refused(|_, options| options.wrapper = words(wrapper), &["locked memory", "ulimit -l"])
}

fn port_in_use() -> Outcome {
    // Held until the case ends: the listener lives in the node's namespace.
    let mut held: Option<TcpListener> = None;
    refused(
        |world, _| {
            held = world.lab.node().enter(|| TcpListener::bind(METRICS)).ok().and_then(Result::ok);
        },
        &["127.0.0.1:9790", "in use"],
    )?;
    assert!(held.is_some(), "the port was not held");
    Ok(())
}

fn not_yaml() -> Outcome {
    let world = World::build(Directory::with_three_pods()?, 1500)?;
    world.directory.put("90-broken.yaml", "kind: [\n")?;
    let mut switch = SwitchProcess::spawn(&world.lab, &world.options()?)?;
    assert!(!switch.await_end(SOON)?.success());
    assert!(switch.log().contains("90-broken.yaml"), "{}", switch.log());
    Ok(())
}

fn no_such_core() -> Outcome {
    refused(|_, options| "cores = [4711]\n".clone_into(&mut options.settings), &["4711", "cores"])
}

/// Adds a pod on an interface made by `line` of `ip`; expects words in the log while others work.
fn not_attached(interface: &str, line: Option<&str>, expected: &[&str]) -> Outcome {
    let (world, switch) = World::switched(1)?;
    if let Some(line) = line {
        world.lab.node().ip(&[line.to_owned()])?;
    }
    let name = interface.trim_end_matches('0');
    world.directory.put(&format!("20-{name}.yaml"), &pod(name, 9))?;
    wait_for(&format!("the log to name {interface}"), SOON, || switch.log().contains(interface))?;
    let socket: PathBuf = lockgate_tests::lab::switch::socket(&world.lab, "switch");
    let ask = ["ports", "--socket", &socket.display().to_string()].map(str::to_owned);
    let ask: Vec<&str> = ask.iter().map(String::as_str).collect();
    let ports = lockgate_tests::lab::switch::ask(&world.options()?.binary, &ask)?.to_string();
    for word in expected {
        assert!(ports.contains(word), "{word:?} is not in: {ports}");
    }
    assert_eq!(world.probe(Speech::Tcp, "demo/client", "demo/server", 80)?, Seen::Answered);
    Ok(())
}

fn queues() -> Outcome {
    let line = "link add many0 numrxqueues 4 numtxqueues 4 type veth peer name many1";
    not_attached("many0", Some(line), &["many0", "ethtool -L"])
}

fn mtu() -> Outcome {
    let line = "link add big0 mtu 9000 type veth peer name big1 mtu 9000";
    not_attached("big0", Some(line), &["big0", "9000", "ip link set"])
}

fn missing_interface() -> Outcome {
    not_attached("absent0", None, &["absent0", "does not exist"])
}
