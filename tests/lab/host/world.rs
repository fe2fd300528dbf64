//! The world of these cases: the node's stack, an uplink beyond it, and a second node.
//!
//! ```text
//!   pods ~~ switch ~~ lg-far   PREFIX-outside   up0 ------ 172.31.7.254   PREFIX-uplink
//!   10.77.0.0/24               the node's stack            198.51.100.7 on lo
//!                              172.31.7.1       up2 ------ 172.31.8.2     PREFIX-second
//!                                                          10.77.1.5 on lo, a pod of its
//! ```
//!
//! Everyone serves at port `WHO` and answers with the address of who called. Both neighbours know a
//! way back to the pods, so a pod that calls by its own address is told so, and not left waiting.

#![expect(clippy::unused_self, reason = "what the world gives is asked of it")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use lockgate_control::attach::{InterfaceName, Netlink};
use lockgate_control::host::{self, Changed, HostError, HostPlan, NodeNets};
use lockgate_tests::lab::probe::{self, Seen};
use lockgate_tests::lab::serve::Servers;
use lockgate_tests::lab::switch::{FAR_END, SwitchProcess};
use lockgate_tests::lab::{Lab, LabError, Namespace, Place, Shape};
use socket2::{Domain, Protocol, Socket, Type};

use super::super::fixture::{
    Directory, NODE, OUTSIDE, PREFIX, SETTLE, World, ingress, namespace, pod,
};
use super::{ip, shell};

/// The node's address of IPv6.
pub(super) const NODE_V6: &str = "fd31:7::1";
/// An address of the node that is on no interface, as a cloud has it.
pub(super) const NODE_NOWHERE: &str = "203.0.113.77";
/// Another address on an interface of the node, which is none of the Node object's.
pub(super) const NODE_OTHER: &str = "172.31.8.1";
/// The world outside, IPv6.
pub(super) const OUTSIDE_V6: &str = "2001:db8:51::7";
/// The second node.
pub(super) const SECOND: &str = "172.31.8.2";
/// The second node, IPv6.
pub(super) const SECOND_V6: &str = "fd31:8::2";
/// A pod of the second node.
pub(super) const SECOND_POD: &str = "10.77.1.5";
/// A pod of the second node, IPv6.
pub(super) const SECOND_POD_V6: &str = "fd00:77:1::5";
/// Where everyone says who called.
pub(super) const WHO: u16 = 9100;
/// The port of the node that leads to that of the pod `demo/other`.
pub(super) const HOST_PORT_NUMBER: u16 = 18080;

/// Where the echo server outside is.
const ECHO: u16 = 9200;
/// How often a server looks whether somebody calls, or it should end.
const LOOK: Duration = Duration::from_millis(10);
/// How long a caller waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// The stack of a node, a switch, and what is around.
#[derive(Debug)]
pub(super) struct Stack {
    _switch: SwitchProcess,
    _servers: Servers,
    tellers: Tellers,
    world: World,
}

impl Stack {
    /// Three pods, a running switch, both neighbours; nothing of the node's stack is set up, and
    /// its reverse path filters are strict.
    pub(super) fn build() -> Result<Self, LabError> {
        let directory = Directory::empty("host")?;
        directory.put("10-namespace.yaml", &namespace("demo"))?;
        for (number, name) in [(1, "client"), (2, "server"), (3, "other")] {
            let both = format!("[{{ip: {NODE}}}, {{ip: '{NODE_V6}'}}]");
            let text = pod(name, number).replace(&format!("[{{ip: {NODE}}}]"), &both);
            directory.put(&format!("20-{name}.yaml"), &text)?;
        }
        directory.put("30-deny.yaml", &ingress("deny", &[]))?;
        directory.put("40-services.yaml", &super::services::manifests())?;
        directory.put("41-balanced.yaml", &super::balanced::manifests())?;
        let shape = Shape { prefix: PREFIX.to_owned(), mtu: 1500, outside: Vec::new() };
        let world = World::build_bare(directory, shape)?;
        wire(&world.lab)?;
        let mut options = world.options()?;
        options.arguments = ["--node", "here"].map(str::to_owned).to_vec();
        for address in [NODE_NOWHERE, NODE, NODE_V6] {
            options.arguments.extend(["--node-address".to_owned(), address.to_owned()]);
        }
        let mut switch = SwitchProcess::spawn(&world.lab, &options)?;
        switch.await_ready(SETTLE)?;
        world.lab.outside().await_interface(FAR_END, SETTLE)?;
        let servers = Servers::default();
        servers.add(&neighbour("uplink"), "TCP", SocketAddr::new(ip(OUTSIDE), ECHO))?;
        for address in [SECOND_POD, SECOND_POD_V6] {
            servers.add(&neighbour("second"), "UDP", SocketAddr::new(ip(address), 53))?;
        }
        for address in [NODE, NODE_V6] {
            servers.add(world.lab.outside(), "UDP", SocketAddr::new(ip(address), 53))?;
        }
        let tellers = Tellers::default();
        let stack = Self { world, _switch: switch, _servers: servers, tellers };
        for name in ["client", "server", "other"] {
            stack.tellers.add(&stack.pod(&format!("demo/{name}"))?)?;
        }
        for namespace in [stack.node(), stack.uplink(), stack.second()] {
            stack.tellers.add(&namespace)?;
        }
        Ok(stack)
    }

    pub(super) fn node(&self) -> Namespace {
        self.world.lab.outside().clone()
    }

    pub(super) fn uplink(&self) -> Namespace {
        neighbour("uplink")
    }

    pub(super) fn second(&self) -> Namespace {
        neighbour("second")
    }

    pub(super) fn pod(&self, name: &str) -> Result<Namespace, LabError> {
        Ok(self.world.lab.place(name)?.namespace)
    }

    pub(super) fn address(&self, name: &str, v6: bool) -> Result<IpAddr, LabError> {
        self.world.address(name, v6)
    }

    /// The address of the pod that is isolated.
    pub(super) fn server(&self, v6: bool) -> IpAddr {
        ip(if v6 { "fd00:77::2" } else { "10.77.0.2" })
    }

    /// The plan of this node.
    pub(super) fn plan(&self, masquerade: bool) -> Result<HostPlan, LabError> {
        self.plan_of(&["10.77.0.0/24", "fd00:77::/64"], masquerade)
    }

    /// The plan of this node with other pod networks.
    pub(super) fn plan_of(&self, cidrs: &[&str], masquerade: bool) -> Result<HostPlan, LabError> {
        let nets = |cidrs: &[&str], addresses: &[&str]| NodeNets {
            pod_cidrs: cidrs.iter().filter_map(|cidr| cidr.parse::<IpNet>().ok()).collect(),
            addresses: addresses.iter().map(|address| ip(address)).collect(),
        };
        // As a cloud does: the first address is on no interface.
        let own = nets(cidrs, &[NODE_NOWHERE, NODE, NODE_V6]);
        let second = nets(&["10.77.1.0/24", "fd00:77:1::/64"], &[SECOND, SECOND_V6]);
        let wrong = |error: &dyn std::fmt::Display| LabError::Unexpected(error.to_string());
        let peer = InterfaceName::new(FAR_END).map_err(|error| wrong(&error))?;
        let services = super::services::NETS.map(|net| net.parse().ok());
        let services: Vec<IpNet> = services.into_iter().flatten().collect();
        let services = if cidrs.len() > 1 { &services[..] } else { &[] };
        let plan = HostPlan::new(peer, &own, [&second], services, masquerade);
        let plan = plan.map_err(|error| wrong(&error))?;
        let by_node = super::services::ports_by_node();
        Ok(HostPlan { node_ports: super::services::node_ports_of_all(), by_node, ..plan })
    }

    /// Applies a plan in the node's stack.
    pub(super) fn apply(&self, plan: &HostPlan) -> Result<Changed, HostError> {
        self.within(async |netlink| host::apply(plan, &netlink).await)
    }

    /// Removes what plans made.
    pub(super) fn remove(&self) -> Result<Changed, HostError> {
        self.within(async |netlink| host::remove(&netlink).await)
    }

    fn within<T: Send>(
        &self,
        work: impl AsyncFnOnce(Netlink) -> Result<T, HostError> + Send,
    ) -> Result<T, HostError> {
        let inside = self.node().enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(HostError::Thread)?;
            runtime.block_on(async { work(Netlink::connect().map_err(HostError::Thread)?).await })
        });
        inside.unwrap_or_else(|error| Err(HostError::Thread(std::io::Error::other(error))))
    }

    /// Runs a line of shell in the node's stack.
    pub(super) fn sh(&self, line: &str) -> Result<(), LabError> {
        self.show(line).map(drop)
    }

    /// What a line of shell writes in the node's stack.
    pub(super) fn show(&self, line: &str) -> Result<String, LabError> {
        shell(&self.node(), line)
    }

    /// The routes of the node's stack that somebody made, and all tables.
    pub(super) fn all(&self) -> Result<String, LabError> {
        self.show("ip route; ip -6 route; ip rule; nft list ruleset")
    }

    /// Calls, and gives the address that the other end saw.
    pub(super) fn who_is(
        &self,
        from: &Namespace,
        source: Option<IpAddr>,
        to: &IpAddr,
        port: u16,
    ) -> Result<IpAddr, LabError> {
        let to = SocketAddr::new(*to, port);
        let call = || -> std::io::Result<String> {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
            if let Some(source) = source {
                socket.bind(&SocketAddr::new(source, 0).into())?;
            }
            socket.connect_timeout(&to.into(), PATIENCE)?;
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        let text = from.enter(call)?.map_err(LabError::io(format!("call {to}")))?;
        text.parse().map_err(|_| LabError::Unexpected(format!("{to} said {text:?}")))
    }

    /// A connection from a pod to the echo server outside.
    pub(super) fn echo_to_outside(&self) -> Result<TcpStream, LabError> {
        let place = Place {
            namespace: self.pod("demo/client")?,
            addresses: vec![self.address("demo/client", false)?],
        };
        probe::connect(&place, SocketAddr::new(ip(OUTSIDE), ECHO), PATIENCE)
    }

    pub(super) fn echoes(&self, stream: &mut TcpStream) -> Seen {
        probe::echo(stream, PATIENCE)
    }

    /// Calls the standard portmap plugin as a runtime does, chained after ours.
    pub(super) fn port_map(&self, command: &str) -> Result<(), LabError> {
        let plugin = "/usr/lib/cni/portmap";
        let pod = self.pod("demo/other")?;
        let address = self.address("demo/other", false)?;
        let config = format!(
            r#"{{"cniVersion": "1.0.0", "name": "lockgate", "type": "portmap", "snat": true,
            "capabilities": {{"portMappings": true}}, "runtimeConfig": {{"portMappings": [
              {{"hostPort": {HOST_PORT_NUMBER}, "containerPort": {WHO}, "protocol": "tcp"}}]}},
            "prevResult": {{"cniVersion": "1.0.0",
              "interfaces": [{{"name": "eth0", "sandbox": "{}"}}],
              "ips": [{{"address": "{address}/32", "interface": 0}}]}}}}"#,
            pod.path().display()
        );
        let mut call = self.node().command(plugin);
        call.env("CNI_COMMAND", command).env("CNI_CONTAINERID", "lockgate-lab-other");
        call.env("CNI_NETNS", pod.path()).env("CNI_IFNAME", "eth0");
        call.env("CNI_PATH", "/usr/lib/cni");
        fed(call, &config)
    }
}

/// Runs a command with a text to read.
fn fed(mut command: Command, text: &str) -> Result<(), LabError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.get_program().to_owned();
    let what = || format!("run {}", program.display());
    let mut child = command.spawn().map_err(LabError::io(what()))?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(text.as_bytes()).map_err(LabError::io(what()))?;
    }
    let output = child.wait_with_output().map_err(LabError::io(what()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(LabError::Unexpected(String::from_utf8_lossy(&said).into_owned()))
}

fn neighbour(name: &str) -> Namespace {
    Namespace::named(&format!("{PREFIX}-{name}"))
}

/// Makes both neighbours and their wires. The lab takes them away by their names.
fn wire(lab: &Lab) -> Result<(), LabError> {
    let (node, uplink, second) = (
        lab.outside(),
        Namespace::create(neighbour("uplink").name())?,
        Namespace::create(neighbour("second").name())?,
    );
    for name in ["all", "default"] {
        node.sysctl(&format!("ipv4/conf/{name}/rp_filter"), "1")?;
    }
    let lines = |lines: &[&str]| -> Vec<String> { lines.iter().map(|&line| line.into()).collect() };
    node.ip(&[
        format!("link add up2 type veth peer name eth0 netns {}", second.name()),
        format!("link add up0 type veth peer name eth0 netns {}", uplink.name()),
    ])?;
    // No node has its address there, and the kernel would choose it for whatever is masqueraded:
    // so it chooses that of the first interface, which is not the Node object's.
    node.ip(&lines(&[
        "addr del 172.31.7.1/32 dev lo",
        "link set up0 up",
        "link set up2 up",
        "addr add 172.31.7.1/24 dev up0",
        "addr add 172.31.8.1/24 dev up2",
        "addr add fd31:7::1/64 dev up0 nodad",
        "addr add fd31:8::1/64 dev up2 nodad",
        "route add default via 172.31.7.254",
        "route add ::/0 via fd31:7::fe",
        "route add 10.77.1.0/24 via 172.31.8.2",
        "route add fd00:77:1::/64 via fd31:8::2",
    ]))?;
    uplink.ip(&lines(&[
        "link set eth0 up",
        "addr add 172.31.7.254/24 dev eth0",
        "addr add fd31:7::fe/64 dev eth0 nodad",
        "addr add 198.51.100.7 dev lo",
        "addr add 2001:db8:51::7 dev lo nodad",
        "route add 10.77.0.0/16 via 172.31.7.1",
        "route add fd00:77::/48 via fd31:7::1",
    ]))?;
    second.ip(&lines(&[
        "link set eth0 up",
        "addr add 172.31.8.2/24 dev eth0",
        "addr add fd31:8::2/64 dev eth0 nodad",
        "addr add 10.77.1.5 dev lo",
        "addr add fd00:77:1::5 dev lo nodad",
        "route add default via 172.31.8.1",
        "route add ::/0 via fd31:8::1",
    ]))
}

/// Servers that tell each caller by what address it called, until this is dropped: a socket that
/// stays would keep its namespace.
#[derive(Debug, Default)]
struct Tellers(Arc<AtomicBool>);

impl Tellers {
    fn add(&self, namespace: &Namespace) -> Result<(), LabError> {
        let listen = || -> std::io::Result<TcpListener> {
            let listener = TcpListener::bind(("::", WHO))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = namespace.enter(listen)?;
        let listener = listener.map_err(LabError::io(format!("serve in {}", namespace.name())))?;
        let ended = Arc::clone(&self.0);
        thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                if let Ok((mut stream, peer)) = listener.accept() {
                    // Who has gone in the meantime hears nothing.
                    let _ = stream.write_all(peer.ip().to_canonical().to_string().as_bytes());
                } else {
                    thread::sleep(LOOK);
                }
            }
        });
        Ok(())
    }
}

impl Drop for Tellers {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        thread::sleep(LOOK);
    }
}
