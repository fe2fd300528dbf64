//! What this node is given, from the cluster's objects: the routes and the table of its own stack, the
//! CNI plugin with the networks that its pods get addresses from, and ports at which load balancers
//! hear of its Services.
//!
//! Looked at each second, done when it differs, and done again now and then to mend what somebody
//! removed. The plugin's configuration is what tells a kubelet that the node can have pods, so it
//! comes last: when a snapshot is in force.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::task::JoinHandle;
use tracing::info;

use crate::attach::{Attacher, HostPortPlan};
use crate::cni::install::{Network, Places, beside_agent};
use crate::dataplane::Dataplane;
use crate::host::{self, Changed, HostPlan, NodeNets};
use crate::http::HealthPorts;
use crate::inventory::Inventory;
use crate::manifest::{Problem, Severity};
use crate::resolve::PodView;
use crate::services::{BalancedPort, Here, balanced_ports, healths, node_ports, ports_by_node};
use crate::settings::{ClusterPlan, CniPlan};
use crate::sync::Sync;

/// How often what is done already is done again.
const AGAIN: Duration = Duration::from_secs(30);
/// The same where somebody else's route stands in the way: it may go.
const SOON: Duration = Duration::from_secs(5);
/// How long one operation of the plugin may take, in seconds: kubelets wait two minutes.
const PLUGIN_SECONDS: u64 = 30;
/// What the network is called.
const NETWORK: &str = "lockgate";
/// Runtimes take the first configuration by name.
const NUMBER: u8 = 10;

/// What is wrong with the plugin's places, or why it could not be installed.
type Installing = JoinHandle<Result<Vec<Problem>, String>>;

/// What the node was given.
#[derive(Debug)]
pub struct Outfit {
    plan: ClusterPlan,
    host_port: Option<HostPortPlan>,
    /// The addresses of the pods that are attached.
    attached: Vec<IpAddr>,
    /// What the node's stack is, the number of the interface that it is led to the switch by, and when
    /// that is looked at again.
    done: Option<(HostPlan, Option<u32>, Instant)>,
    of_host: Vec<Problem>,
    installed: Option<(Network, Instant)>,
    /// What is being installed: whole programs are compared, and the agent does not wait for that.
    installing: Option<(Network, Installing)>,
    of_cni: Vec<Problem>,
    health: HealthPorts,
}

impl Outfit {
    /// With nothing given yet.
    #[must_use]
    pub fn new(plan: &ClusterPlan, host_port: Option<&HostPortPlan>) -> Self {
        Self {
            plan: plan.clone(),
            host_port: host_port.cloned(),
            attached: Vec::new(),
            done: None,
            of_host: Vec::new(),
            installed: None,
            installing: None,
            of_cni: Vec::new(),
            health: HealthPorts::default(),
        }
    }

    /// Gives what is missing; what is wrong with it.
    pub async fn keep<D: Dataplane>(
        &mut self,
        sync: &mut Sync<D>,
        attacher: &Attacher,
    ) -> Vec<Problem> {
        let is_ready = sync.is_ready();
        let inventory = sync.source().inventory();
        self.attached = attached(sync.resolver().local()).collect();
        let own = match own_nets(inventory, &self.plan.node) {
            Ok(own) => own,
            // Before the nodes were read nothing is known of this one.
            Err(_) if !sync.source().is_whole() => return Vec::new(),
            Err(problem) => {
                // Who is attached keeps his way, though the node has no network for others.
                if let Some(node) = inventory.node(&self.plan.node)
                    && node.pod_cidrs.is_empty()
                    && !self.attached.is_empty()
                {
                    self.keep_host(&nets(node), inventory, sync.node_addresses(), attacher).await;
                }
                let strangers = strangers(sync.resolver().local(), &[]);
                return std::iter::once(problem).chain(strangers).collect();
            }
        };
        self.keep_host(&own, inventory, sync.node_addresses(), attacher).await;
        let healths = healths(inventory, &here(&self.plan));
        let of_health = self.health.keep(healths, is_ready).await;
        if is_ready {
            self.keep_cni(&own).await;
        }
        let strangers = strangers(sync.resolver().local(), &own.pod_cidrs);
        let told = self.of_host.iter().chain(&self.of_cni).cloned();
        told.chain(strangers).chain(of_health).collect()
    }

    async fn keep_host(
        &mut self,
        own: &NodeNets,
        inventory: &Inventory,
        let_in: &[IpAddr],
        attacher: &Attacher,
    ) {
        // With a far end in another namespace the stack is somebody else's.
        let Some(port) = self.host_port.as_ref().filter(|port| port.netns.is_none()) else {
            return;
        };
        let all: Vec<NodeNets> = inventory.nodes().map(nets).collect();
        let (cidrs, masquerade) = (&self.plan.service_cidrs, self.plan.masquerade);
        let mut plan = match HostPlan::new(port.peer.clone(), own, &all, cidrs, masquerade) {
            Ok(plan) => plan,
            Err(error) => return self.of_host = vec![of_node(&self.plan.node, "", &error, "")],
        };
        plan.keep_attached(self.attached.iter().copied());
        plan.node_ports = node_ports(inventory.services());
        plan.by_node = ports_by_node(inventory, &here(&self.plan), let_in);
        plan.is_asked_by_loopback = inventory
            .pods()
            .any(|pod| pod.interface.is_some() && !pod.host_ports.is_empty() && !pod.host_network);
        plan.let_in = let_in.to_vec();
        if !self.plan.node_routes {
            plan.other_nodes.clear();
        }
        let refused = plan.lead_balanced(services_beyond(inventory, &all));
        // Made anew it has the name of the old one, and none of its routes. Where it is not told of, it
        // is gone, or the kernel does not answer: then that is told by what follows.
        let peer = attacher.netlink().link(&plan.peer).await.ok().flatten();
        let peer = peer.map(|link| link.index);
        let is_done = |(done, was, due): &(HostPlan, Option<u32>, Instant)| {
            *done == plan && *was == peer && Instant::now() < *due
        };
        if self.done.as_ref().is_some_and(is_done) {
            return;
        }
        let applied = host::apply(&plan, attacher.netlink()).await;
        // What failed is tried again with the next second.
        self.done = applied.as_ref().ok().map(|changed| {
            let again = if changed.routes_taken.is_empty() { AGAIN } else { SOON };
            (plan, peer, Instant::now() + again)
        });
        let mut told = match applied {
            Ok(changed) => self.told_of(&changed),
            Err(error) => vec![of_node(&self.plan.node, "", &error, "")],
        };
        told.extend(refused.iter().map(|error| self.warning(error, "")));
        self.of_host = told;
    }

    /// What is to be known of the node's stack as it is by now.
    fn told_of(&self, changed: &Changed) -> Vec<Problem> {
        tell(changed);
        let drops = changed.forward_drops.iter();
        let drops = drops.map(|drop| of_node(&self.plan.node, "", drop, ""));
        let far = changed.nodes_off_link.iter().map(|node| self.off_link(*node));
        let remedy = "remove that route, or what makes it (another network plugin?), and it is \
                      routed to the switch";
        let taken = changed.routes_taken.iter().map(|taken| self.warning(taken, remedy));
        drops.chain(far).chain(taken).collect()
    }

    fn warning(&self, message: &impl ToString, remedy: &str) -> Problem {
        let object = format!("Node {}", self.plan.node);
        let (severity, place) = (Severity::Warning, (None, None));
        Problem::of_object(severity, place, &object, "", &message.to_string(), remedy)
    }

    /// What is to be known of a node to whose pods there is no route of ours.
    fn off_link(&self, node: IpAddr) -> Problem {
        let message = format!(
            "the node of address {node} is on no link of this one: its pods are reached as the \
             network between them routes"
        );
        let remedy = "let the network route spec.podCIDRs, and set cluster.node_routes to false";
        self.warning(&message, remedy)
    }

    /// Begins to install what is missing, or takes in how that went.
    async fn keep_cni(&mut self, own: &NodeNets) {
        if let Some((network, task)) = self.installing.take_if(|(_, task)| task.is_finished()) {
            let done = task.await.unwrap_or_else(|error| Err(error.to_string()));
            self.installed = done.is_ok().then(|| (network, Instant::now()));
            self.of_cni = done.unwrap_or_else(|why| vec![of_node(&self.plan.node, "", &why, "")]);
        }
        let Some(cni) = &self.plan.cni else { return };
        let mtu = self.host_port.as_ref().map_or(1500, |port| port.mtu);
        let network = network(&self.plan, cni, own, mtu);
        let is_done = |(done, at): &(Network, Instant)| *done == network && at.elapsed() < AGAIN;
        if self.installing.is_some() || self.installed.as_ref().is_some_and(is_done) {
            return;
        }
        let (cni, wanted) = (cni.clone(), network.clone());
        let task = tokio::task::spawn_blocking(move || install(&cni, &wanted));
        self.installing = Some((network, task));
    }
}

/// Where this is, as slices speak of it; of zones nothing is asked.
fn here(plan: &ClusterPlan) -> Here {
    Here { node: Some(plan.node.as_str().into()), zone: None }
}

/// The ports of load balancers' addresses, but of those that are a node's: they are led to the switch.
/// Who may write `externalIPs` could lead the node's own packets astray, so those are not
/// (CVE-2020-8554).
fn services_beyond(inventory: &Inventory, nodes: &[NodeNets]) -> Vec<BalancedPort> {
    let is_nodes = |address: &IpAddr| nodes.iter().any(|node| node.addresses.contains(address));
    let mut all = balanced_ports(inventory.services());
    all.retain(|own| !is_nodes(&own.address) && !own.address.is_loopback());
    all
}

fn network(plan: &ClusterPlan, cni: &CniPlan, own: &NodeNets, mtu: u16) -> Network {
    Network {
        name: NETWORK.to_owned(),
        socket: plan.cni_socket.clone(),
        mtu,
        timeout_seconds: PLUGIN_SECONDS,
        data_dir: cni.ipam_dir.clone(),
        pod_cidrs: own.pod_cidrs.clone(),
    }
}

/// Puts plugin and configuration in place; what is to be known of it.
fn install(cni: &CniPlan, network: &Network) -> Result<Vec<Problem>, String> {
    let program = beside_agent().map_err(|error| error.to_string())?;
    let (bin_dir, conf_dir) = (cni.bin_dir.clone(), cni.conf_dir.clone());
    let places = Places { program, bin_dir, conf_dir, number: NUMBER };
    let installed = places.install(network).map_err(|error| error.to_string())?;
    if installed.is_program_new {
        info!(directory = %places.bin_dir.display(), "CNI plugin installed");
    }
    if installed.is_config_new {
        info!(file = %places.config().display(), pod_cidrs = ?network.pod_cidrs, "CNI configured");
    }
    let warn = |path: &std::path::PathBuf| {
        let message = format!(
            "{} comes before ours: the container runtime attaches pods by it, and policy does not \
             reach them",
            path.display()
        );
        let remedy = "remove it when the pods that it attached are gone";
        Problem::of_object(Severity::Warning, (None, None), "CNI", "", &message, remedy)
    };
    Ok(installed.before_ours.iter().map(warn).collect())
}

/// What the Node object of this node says.
fn own_nets(inventory: &Inventory, name: &str) -> Result<NodeNets, Problem> {
    let wrong =
        |field: &str, message: &str, remedy: &str| Err(of_node(name, field, &message, remedy));
    let Some(node) = inventory.node(name) else {
        return wrong(
            "",
            "the cluster has no node of this name, and so no network for its pods: what it was \
             given before stays as it is",
            "name this node as `kubectl get nodes` does, with --node; the kubelet registers it",
        );
    };
    let own = nets(node);
    let has_two =
        |is_v4: bool| own.pod_cidrs.iter().filter(|net| net.addr().is_ipv4() == is_v4).count() > 1;
    if own.pod_cidrs.is_empty() {
        return wrong(
            "spec.podCIDRs",
            "the node has no network for its pods: who is attached stays so, and others get \
             addresses of the network that it had last, if it had one",
            "run kube-controller-manager with --allocate-node-cidrs and --cluster-cidr",
        );
    }
    if has_two(true) || has_two(false) {
        let message = "a node has one network of each family";
        return wrong("spec.podCIDRs", message, "leave one of each");
    }
    Ok(own)
}

fn nets(node: &crate::manifest::Node) -> NodeNets {
    NodeNets { pod_cidrs: node.pod_cidrs.clone(), addresses: node.addresses.clone() }
}

/// The addresses of the pods that are attached here.
fn attached(pods: &[PodView]) -> impl Iterator<Item = IpAddr> {
    let there = pods.iter().filter(|pod| pod.interface.is_some());
    there.flat_map(|pod| pod.addresses.iter().copied())
}

/// Pods that were attached with addresses that the node's networks do not have any more.
fn strangers(pods: &[PodView], nets: &[IpNet]) -> Vec<Problem> {
    let is_outside = |address: &&IpAddr| !nets.iter().any(|net| net.contains(*address));
    let pods = pods.iter();
    pods.filter_map(|pod| {
        let address = pod.addresses.iter().find(is_outside)?;
        let object = format!("Pod {}/{}", pod.namespace, pod.name);
        let message = format!(
            "its address {address} is in none of the node's networks any more: this node still \
             reaches it, other nodes may not"
        );
        let remedy = "delete the pod: its successor gets an address of spec.podCIDRs";
        let (severity, place) = (Severity::Error, (None, None));
        Some(Problem::of_object(severity, place, &object, "status.podIPs", &message, remedy))
    })
    .collect()
}

fn of_node(name: &str, field: &str, message: &impl ToString, remedy: &str) -> Problem {
    let object = format!("Node {name}");
    let (severity, place) = (Severity::Error, (None, None));
    Problem::of_object(severity, place, &object, field, &message.to_string(), remedy)
}

fn tell(changed: &Changed) {
    if changed.is_any() {
        info!(
            routes = changed.routes_set.len(),
            routes_removed = changed.routes_removed.len(),
            rules = changed.rules,
            keys = changed.keys.len(),
            table = changed.table,
            "the node's own stack is as it must be"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn said(node: &str) -> Result<Vec<String>, String> {
        let inventory = sample::inventory(node);
        let own = own_nets(&inventory, "n1").map_err(|problem| problem.to_string())?;
        Ok(own.pod_cidrs.iter().map(ToString::to_string).collect())
    }

    fn node(name: &str, nets: &str) -> String {
        format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{{nets}}}\n")
    }

    #[test]
    fn a_node_that_is_unknown_or_has_no_networks_is_named_with_the_field_and_what_to_do() {
        let nets = "podCIDRs: [10.0.0.0/24, 'fd00::/64']";
        assert_eq!(said(&node("n1", nets)).unwrap(), ["10.0.0.0/24", "fd00::/64"]);
        for (text, words) in [
            (node("n2", nets), ["Node n1: the cluster has no node of this name", "--node"]),
            (node("n1", ""), ["Node n1: spec.podCIDRs: the node has no", "--allocate-node-cidrs"]),
            (
                node("n1", "podCIDRs: [10.0.0.0/24, 10.0.1.0/24]"),
                ["Node n1: spec.podCIDRs: a node has one network", "leave one of each"],
            ),
        ] {
            let error = said(&text).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    #[test]
    fn a_pod_whose_address_the_node_lost_is_named_with_what_to_do() {
        let resolved = crate::resolve::resolve(&sample::inventory(&sample::small()));
        let nets = |text: &str| vec![text.parse::<IpNet>().unwrap()];
        assert_eq!(strangers(&resolved.pods, &nets("10.0.0.0/16")), []);
        let problems = strangers(&resolved.pods, &nets("10.0.1.0/24"));
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].starts_with("error: Pod y/a: status.podIPs: its address 10.0.2.1"),
            "{said:?}"
        );
        assert!(said[0].contains("delete the pod"), "{said:?}");
    }
}
