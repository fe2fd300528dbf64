//! Who forwards: the switch, the bare forwarder, the kernel. Each between the same two veths.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockgate_tests::lab::namespace::run;
use lockgate_tests::lab::node::Lab;
use lockgate_tests::lab::switch::{Options, SwitchProcess};

use crate::traffic::TrafficError;

/// The interfaces on the node's side, from `bench/manifests`.
pub const INTERFACES: [&str; 2] = ["lgb-source", "lgb-sink"];

/// The bare forwarder's third interface, which carries nothing.
const ANCHOR: &str = "lgb-anchor";

/// A way of forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// `lockgate run`, policy and connections on, one worker.
    Lockgate,
    /// The bare `AF_XDP` loop: no policy, no connections, nothing read.
    Bare,
    /// Linux routing with nft and conntrack, the same policy as rules.
    Kernel,
}

/// A contender at work; dropping it ends it.
#[derive(Debug)]
pub struct Running {
    switch: Option<SwitchProcess>,
    child: Option<Child>,
}

impl Running {
    /// Whether it is still at work: one that has ended has measured nothing.
    ///
    /// # Errors
    /// When it has ended; it has told why on stderr.
    pub fn check(&mut self) -> Result<(), TrafficError> {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => Err(format!("the bare forwarder has ended: {status}").into()),
            Some(Err(cause)) => Err(cause.into()),
            Some(Ok(None)) | None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.switch.take());
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Contender {
    /// All, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Lockgate, Self::Bare, Self::Kernel];

    /// Its name in the table.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Lockgate => "lockgate",
            Self::Bare => "bare AF_XDP loop",
            Self::Kernel => "Linux routing, nft ct",
        }
    }

    /// The MAC that the source must address, so that this contender takes the frame.
    ///
    /// # Errors
    /// When an interface is not there.
    pub fn target_mac(self, lab: &Lab) -> Result<[u8; 6], TrafficError> {
        match self {
            Self::Lockgate => Ok(lockgate_dataplane::packet::answer::GATEWAY_MAC.0),
            Self::Bare => mac(&lab.place("default/sink")?.namespace.mac("eth0")?),
            Self::Kernel => mac(&lab.node().mac(INTERFACES[0])?),
        }
    }

    /// Starts it on core 0 and waits until it forwards.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        self,
        lab: &Lab,
        binaries: &Path,
        time: Duration,
    ) -> Result<Running, TrafficError> {
        if self != Self::Lockgate {
            lab.node().ip(&INTERFACES.map(|interface| format!("link set {interface} up")))?;
        }
        match self {
            Self::Lockgate => {
                let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
                let mut options = Options::new(&binaries.join("lockgate"), &manifests);
                "cores = [0]\npolling = \"busy\"\n".clone_into(&mut options.settings);
                let switch = SwitchProcess::start(lab, &options)?;
                Ok(Running { switch: Some(switch), child: None })
            }
            Self::Bare => {
                lab.node().ip(&[
                    format!("link add {ANCHOR} type veth peer name {ANCHOR}-far"),
                    format!("link set {ANCHOR} up"),
                    format!("link set {ANCHOR}-far up"),
                ])?;
                let mut command = lab.node().command("taskset");
                command.args(["-c", "0"]).arg(binaries.join("bare-forwarder"));
                // The lab's own bpffs: a bare machine has none mounted.
                command.args(INTERFACES).arg(ANCHOR).arg(lab.state().join("bpf/bare"));
                command.arg((time.as_secs() + 5).to_string());
                let child = command.stdout(Stdio::null()).spawn()?;
                std::thread::sleep(Duration::from_millis(500));
                Ok(Running { switch: None, child: Some(child) })
            }
            Self::Kernel => {
                lab.forward_by_kernel()?;
                route_with_conntrack(lab)?;
                Ok(Running { switch: None, child: None })
            }
        }
    }
}

/// The policy of `bench/manifests` as rules of nft.
fn route_with_conntrack(lab: &Lab) -> Result<(), TrafficError> {
    for interface in INTERFACES {
        // A frame redirected into a veth needs NAPI at its far end: generic receive offload has it.
        run(lab.node().command("ethtool").args(["-K", interface, "gro", "on"]))?;
    }
    let rules = "table ip lgbench {\n chain forward {\n\
        type filter hook forward priority 0; policy drop;\n\
        ct state established,related accept\n\
        ip saddr 10.77.0.1 ip daddr 10.77.0.2 udp dport 9 ct state new accept\n}\n}\n";
    let file = lab.state().join("rules.nft");
    fs::write(&file, rules)?;
    run(lab.node().command("nft").arg("-f").arg(&file))?;
    Ok(())
}

fn mac(text: &str) -> Result<[u8; 6], TrafficError> {
    let mut bytes = [0; 6];
    for (byte, digits) in bytes.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(digits, 16)?;
    }
    Ok(bytes)
}

/// Pins the calling thread: the generator has a core of its own.
///
/// # Errors
/// When there is no such core.
pub fn pin(core: usize) -> Result<(), TrafficError> {
    let mut set = nix::sched::CpuSet::new();
    set.set(core)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)?;
    Ok(())
}

/// Whether `taskset` is there, said once and early.
///
/// # Errors
/// When it is not.
pub fn check_tools() -> Result<(), TrafficError> {
    for (tool, package) in [("taskset", "util-linux"), ("nft", "nftables"), ("ethtool", "ethtool")]
    {
        let found = Command::new(tool).arg("--version").output();
        if found.is_err() {
            return Err(format!("`{tool}` is missing: apt-get install {package}").into());
        }
    }
    Ok(())
}

/// Waits for an instant.
pub fn wait_until(instant: Instant) {
    std::thread::sleep(instant.saturating_duration_since(Instant::now()));
}
