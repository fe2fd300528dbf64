//! A real Kubernetes: its own programs, in network namespaces that nothing joins to the machine's.
//!
//! [`programs`] builds them, [`certificates`] says who is who, [`network`] makes the namespaces,
//! [`control_plane`] starts etcd, the API server, the controllers and the scheduler, [`node`] a
//! kubelet on containerd, with [`images`] made here and [`mounts`], [`cgroups`] and [`sysctls`] of
//! its own; [`leftovers`] takes everything away. Everything is found again by [`Layout`] alone: a cluster that one process
//! started is asked, stopped and removed by any other (`scripts/cluster`).

pub mod agent;
pub mod certificates;
pub mod cgroups;
pub mod conformance;
pub mod control_plane;
pub mod deployed;
pub mod images;
pub mod layout;
pub mod leftovers;
pub mod mounts;
pub mod network;
pub mod node;
pub mod process;
pub mod programs;
pub mod sysctls;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::LabError;
use crate::lab::namespace::{run, wait_for};

pub use control_plane::ControlPlane;
pub use layout::{Layout, NODES_MAX};
pub use node::Node;
pub use process::Process;
pub use programs::Programs;

/// How long what the control plane is to do may take. Busy machines need a part of it.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a cluster is made of.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Nodes with a kubelet. None: the control plane alone.
    pub nodes: u8,
    /// What gives pods their interfaces.
    pub network: Network,
}

/// What gives pods their interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Nothing: no node is ready.
    #[default]
    None,
    /// The switch, as a process on each node.
    Switch,
    /// Debian's plugins, which know no policy: for proving only.
    Plain,
}

/// A cluster. Dropping it takes it down, unless it was left.
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    programs: Programs,
    left: bool,
}

impl Cluster {
    /// Starts what does not run yet, and waits until all of it answers.
    ///
    /// # Errors
    /// When a part does not come up: with the end of its log. What did come up is taken down.
    pub fn up(layout: &Layout, options: &Options) -> Result<Self, LabError> {
        let _alone = alone(layout)?;
        let programs = Programs::find()?;
        let cluster = Self { layout: layout.clone(), programs, left: false };
        let control_plane = cluster.control_plane();
        if !control_plane.runs() {
            // What is left of another one has other certificates.
            cluster.remove()?;
            control_plane::make_state(layout.state())?;
            control_plane.start()?;
        }
        for number in 0..options.nodes.min(NODES_MAX) {
            cluster.start_node(number, options.network)?;
        }
        Ok(cluster)
    }

    /// One that is there, whoever started it. Dropping it leaves it.
    ///
    /// # Errors
    /// When its programs can't be found.
    pub fn find(layout: &Layout) -> Result<Self, LabError> {
        Ok(Self { layout: layout.clone(), programs: Programs::find()?, left: true })
    }

    /// Where it lives.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    fn start_node(&self, number: u8, network: Network) -> Result<(), LabError> {
        let node = self.node(number);
        sysctls::note(self.layout.state())?;
        network::make(&self.layout, number + 1)?;
        if !node.runs() {
            node.start()?;
        }
        let name = node.place().name.clone();
        match network {
            Network::None => return Ok(()),
            Network::Switch => node.start_agent(&self.layout.kubeconfig(agent::CLIENT))?,
            Network::Plain => {
                // The controllers give each node its part of the pods' addresses.
                let ranges =
                    self.awaited(&["get", "node", &name, "-o", "jsonpath={.spec.podCIDRs[*]}"])?;
                node.prove_with_plain_plugins(&ranges.split(' ').collect::<Vec<_>>())?;
            }
        }
        self.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "node", &name])?;
        Ok(())
    }

    /// What kubectl says, as soon as that is something.
    fn awaited(&self, arguments: &[&str]) -> Result<String, LabError> {
        let mut said = String::new();
        wait_for(&format!("`kubectl {}`", arguments.join(" ")), PATIENCE, || {
            said = self.kubectl(arguments).unwrap_or_default();
            !said.is_empty()
        })?;
        Ok(said)
    }

    /// A node by its number, running or not.
    #[must_use]
    pub fn node(&self, number: u8) -> Node {
        Node::of(&self.layout, &self.programs, number)
    }

    /// Its control plane.
    #[must_use]
    pub fn control_plane(&self) -> ControlPlane {
        ControlPlane::of(&self.layout, &self.programs)
    }

    /// Where clients find the API server, as its administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig(certificates::ADMIN)
    }

    /// A command that will run in the first node's network, as the administrator.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.layout.first().namespace.command(program);
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// kubectl, as the administrator.
    #[must_use]
    pub fn kubectl_command(&self) -> Command {
        self.command(&self.programs.path(programs::KUBECTL).display().to_string())
    }

    /// What kubectl says.
    ///
    /// # Errors
    /// When it fails: with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, LabError> {
        let output = run(self.kubectl_command().args(arguments))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Makes the objects of a manifest what it says.
    ///
    /// # Errors
    /// When kubectl refuses it: with what it said.
    pub fn apply(&self, manifest: &str) -> Result<String, LabError> {
        let mut command = self.kubectl_command();
        command.args(["apply", "--filename", "-"]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(LabError::io("start kubectl"))?;
        let written = child.stdin.take().map_or(Ok(()), |mut to| to.write_all(manifest.as_bytes()));
        let Output { status, stdout, stderr } =
            child.wait_with_output().map_err(LabError::io("wait for kubectl"))?;
        if !status.success() {
            let output = String::from_utf8_lossy(&stderr).into_owned();
            return Err(LabError::Command { command: "kubectl apply".to_owned(), output });
        }
        written.map_err(LabError::io("write to kubectl"))?;
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    /// Starts what answers for names in the cluster, and waits until it does.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_names(&self) -> Result<(), LabError> {
        self.apply(include_str!("../../cluster/dns.yaml"))?;
        let rollout = ["rollout", "status", "deployment/coredns", "--timeout=90s"];
        self.kubectl(&[&["--namespace", "kube-system"], &rollout[..]].concat()).map(drop)
    }

    /// The API server says nothing any more, and keeps its connections open.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause_api_server(&self) -> Result<(), LabError> {
        self.control_plane().api_server().signal(Signal::SIGSTOP)
    }

    /// The API server goes on where it was paused.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume_api_server(&self) -> Result<(), LabError> {
        self.control_plane().api_server().signal(Signal::SIGCONT)
    }

    /// The API server is gone on the spot, with its connections.
    ///
    /// # Errors
    /// When it can't be killed.
    pub fn kill_api_server(&self) -> Result<(), LabError> {
        self.control_plane().api_server().kill()
    }

    /// The API server is back, with all that it knew.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn start_api_server(&self) -> Result<(), LabError> {
        self.control_plane().start_api_server()
    }

    /// Lets it run on when this is dropped.
    pub fn leave(mut self) {
        self.left = true;
    }

    /// Ends it, and takes away all that it left.
    ///
    /// # Errors
    /// When something can't be removed.
    pub fn down(mut self) -> Result<(), LabError> {
        self.left = true;
        let _alone = alone(&self.layout)?;
        self.remove()
    }

    fn remove(&self) -> Result<(), LabError> {
        for number in 0..NODES_MAX {
            let node = self.node(number);
            // Without a binary there is none that runs.
            node.agent().map_or(Ok(()), |agent| agent.stop())?;
            node.kubelet().stop()?;
            node.containerd().stop()?;
        }
        for process in self.control_plane().processes() {
            process.stop()?;
        }
        leftovers::remove(&self.layout)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // Somebody gave up on it: what its programs said may be why.
        match leftovers::keep_logs(&self.layout) {
            Ok(kept) => eprintln!("cluster: taken down; its logs are in {}", kept.display()),
            Err(error) => eprintln!("cluster: {error}"),
        }
        if let Err(error) = self.remove() {
            eprintln!("cluster: {error}; run `scripts/cluster down`");
        }
    }
}

/// Waits until nobody else starts or ends this cluster. The lock goes when it is dropped.
fn alone(layout: &Layout) -> Result<File, LabError> {
    let path = layout.state().with_added_extension("lock");
    let what = || format!("lock {}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(LabError::io(what()))?;
    }
    let file = File::create(&path).map_err(LabError::io(what()))?;
    file.lock().map_err(LabError::io(what()))?;
    Ok(file)
}
