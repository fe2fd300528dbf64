//! A small lab: a namespace for the switch, two pods with a veth pair each, and an anchor.
//!
//! ```text
//!   namespace S (the switch)                      namespaces A, B (pods)
//!   lga 10.77.1.1/24, MAC 02:…:01:01  <-- veth --> eth0 10.77.1.2/24, MAC 02:…:01:02
//!   lgb 10.77.2.1/24, MAC 02:…:02:01  <-- veth --> eth0 10.77.2.2/24, MAC 02:…:02:02
//!   lgan <-- veth --> lganp                        default routes to .1, neighbours static
//! ```
//!
//! The switch's side has addresses, forwarding and neighbours on purpose: were a packet to
//! pass our program, the kernel would carry it to the other pod. A leak shows.

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) const ANCHOR: &str = "lgan";
pub(crate) const A: &str = "lga";
pub(crate) const B: &str = "lgb";
pub(crate) const POD_A: &str = "10.77.1.2";
pub(crate) const POD_B: &str = "10.77.2.2";
pub(crate) const HOST_A: &str = "10.77.1.1";

/// Runs a command; its failure is the test's.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a command");
    let output = Command::new(program).args(words).output().expect(command);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "`{command}`: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes the calling thread one of a namespace.
pub(crate) fn enter(namespace: &str) {
    let path = format!("/run/netns/{namespace}");
    let file = File::open(&path).expect(&path);
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
}

pub(crate) struct Lab {
    pub(crate) switch: String,
    pods: [String; 2],
    pub(crate) pin_dir: PathBuf,
    owned: bool,
}

impl Lab {
    /// Builds the lab and moves the calling thread into the switch's namespace.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "the port lab needs root: it makes network namespaces; run it as `sudo -E cargo test \
             -p lockgate-dataplane --test port_lab`"
        );
        mount_bpffs();
        let name = format!("lgp{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let lab = Self {
            switch: format!("{name}s"),
            pods: [format!("{name}a"), format!("{name}b")],
            pin_dir: Path::new("/sys/fs/bpf").join(&name),
            owned: true,
        };
        lab.namespaces().for_each(|namespace| {
            run(&format!("ip netns add {namespace}"));
            run(&format!("ip -n {namespace} link set lo up"));
            quieten(namespace.clone());
        });
        enter(&lab.switch);
        run(&format!("ip link add {ANCHOR} type veth peer name lganp"));
        run(&format!("ip link set {ANCHOR} up"));
        lab.add_pod(0, A);
        lab.add_pod(1, B);
        // /proc/sys/net is that of whoever opens it: this thread is in the switch.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("ip_forward");
        lab
    }

    /// The lab as the child process of a test sees it: it is the parent's to take down.
    pub(crate) fn of_parent(switch: String, pin_dir: PathBuf) -> Self {
        Self { switch, pods: [String::new(), String::new()], pin_dir, owned: false }
    }

    fn namespaces(&self) -> impl Iterator<Item = &String> {
        self.pods.iter().chain([&self.switch])
    }

    /// Makes the veth pair of pod 0 or 1, up, with addresses and neighbours on both sides.
    pub(crate) fn add_pod(&self, pod: usize, interface: &str) {
        let (namespace, n) = (&self.pods[pod], pod + 1);
        let (host, peer) = (format!("02:00:00:00:0{n}:01"), format!("02:00:00:00:0{n}:02"));
        run(&format!(
            "ip link add {interface} address {host} type veth peer name eth0 address {peer} \
             netns {namespace}"
        ));
        run(&format!("ip address add 10.77.{n}.1/24 dev {interface}"));
        run(&format!("ip link set {interface} up"));
        run(&format!("ip neighbour replace 10.77.{n}.2 lladdr {peer} dev {interface}"));
        run(&format!("ip -n {namespace} address add 10.77.{n}.2/24 dev eth0"));
        run(&format!("ip -n {namespace} link set eth0 up"));
        run(&format!("ip -n {namespace} neighbour replace 10.77.{n}.1 lladdr {host} dev eth0"));
        run(&format!("ip -n {namespace} route add default via 10.77.{n}.1"));
    }

    /// Sets the MTU of both ends of a pod's pair.
    pub(crate) fn set_mtu(&self, pod: usize, interface: &str, mtu: u32) {
        run(&format!("ip link set {interface} mtu {mtu}"));
        run(&format!("ip -n {} link set eth0 mtu {mtu}", self.pods[pod]));
    }

    /// A UDP socket of pod 0 or 1.
    pub(crate) fn pod_socket(&self, pod: usize) -> UdpSocket {
        self.pod_socket_at(pod, 7000)
    }

    /// A UDP socket of pod 0 or 1 at a port.
    pub(crate) fn pod_socket_at(&self, pod: usize, port: u16) -> UdpSocket {
        socket_in(self.pods[pod].clone(), [POD_A, POD_B][pod], port)
    }

    /// A UDP socket of the switch's own stack, at the address next to pod A.
    pub(crate) fn host_socket(&self) -> UdpSocket {
        socket_in(self.switch.clone(), HOST_A, 7000)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        for namespace in self.namespaces() {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
        let _ = Command::new("rm").arg("-rf").arg(&self.pin_dir).status();
    }
}

fn mount_bpffs() {
    let mounted = std::fs::read_to_string("/proc/mounts").expect("/proc/mounts");
    if !mounted.lines().any(|line| line.contains(" /sys/fs/bpf bpf ")) {
        run("mount -t bpf bpf /sys/fs/bpf");
    }
}

/// No IPv6: its router solicitations would be counted among the packets of a test.
fn quieten(namespace: String) {
    let done = thread::spawn(move || {
        enter(&namespace);
        for scope in ["all", "default"] {
            let setting = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
            std::fs::write(&setting, "1").expect(&setting);
        }
    });
    done.join().expect("a thread");
}

/// A socket belongs to the namespace it was made in, wherever it is used.
fn socket_in(namespace: String, address: &'static str, port: u16) -> UdpSocket {
    let made = thread::spawn(move || {
        enter(&namespace);
        UdpSocket::bind((address, port)).expect(address)
    });
    let socket = made.join().expect("a thread");
    socket.set_nonblocking(true).expect("nonblocking");
    socket
}

/// Makes a veth pair whose far end nobody uses.
pub(crate) fn add_wire(interface: &str) {
    run(&format!("ip link add {interface} type veth peer name {interface}p"));
    run(&format!("ip link set {interface} up"));
}

/// The index of an interface of the calling thread's namespace.
pub(crate) fn ifindex(interface: &str) -> u32 {
    let shown = run(&format!("ip -o link show dev {interface}"));
    shown.split(':').next().and_then(|n| n.parse().ok()).expect("an index")
}

/// Sends to port 7000 of an address.
pub(crate) fn send(from: &UdpSocket, to: &str, payload: &[u8]) {
    let to: SocketAddr = format!("{to}:7000").parse().expect("an address");
    // A full queue on the way is a lost packet, as on any wire.
    let _ = from.send_to(payload, to);
}

/// What a socket has received by now.
pub(crate) fn received(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut room = [0; 4096];
    while let Ok(length) = socket.recv(&mut room) {
        packets.push(room[..length].to_vec());
    }
    packets
}

/// Asks again until it is so, for as long as a busy machine may take.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "never came: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Long enough for a packet to arrive that arrives at all.
pub(crate) fn settle() {
    thread::sleep(Duration::from_millis(100));
}
