//! From what the directory and the kernel say to what the workers judge by.
//!
//! ```text
//! Files -> resolve -> Ports (ports that are missing are added)
//!                       -> publish -> in force with every worker
//!                            -> ports that are no longer used are removed
//! ```
//!
//! The first change after quiet is published at once; what comes while a publication is under way
//! is gathered into the next. The epoch moves only when some verdict can have changed: a port
//! that only moved, or got another MTU, does not make connections be judged again.

use std::time::{Duration, Instant};

use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::endpoint::Topology;
use lockgate_dataplane::ids::{EndpointId, Epoch, Generation};
use lockgate_dataplane::policy::ruleset::Ruleset;
use tracing::{info, warn};

use crate::attach::Probed;
use crate::dataplane::Dataplane;
use crate::files::Files;
use crate::interfaces::Interfaces;
use crate::inventory::Effect;
use crate::manifest::{Problem, Severity};
use crate::metrics::ApplyLatency;
pub use crate::ports::Node;
use crate::ports::Ports;
use crate::resolve::{Resolved, resolve};
use crate::watch_dir::Settled;

#[cfg(test)]
mod tests;

/// How long workers may take to use a snapshot before it is a problem.
pub const STALL: Duration = Duration::from_secs(1);

/// A snapshot that not every worker uses yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    generation: Generation,
    since: Instant,
    /// The settled event of the oldest change in it.
    settled: Option<Instant>,
}

/// The agent's state: everything between the directory and the switch.
#[derive(Debug)]
pub struct Sync<D: Dataplane> {
    node: Node,
    files: Files,
    resolved: Resolved,
    ports: Ports,
    /// The rules last published.
    ruleset: Ruleset,
    topology: Topology,
    dataplane: D,
    epoch: Epoch,
    published: Generation,
    pending: Option<Pending>,
    /// Something may differ from what was published.
    dirty: bool,
    /// The settled event of the oldest file change that is not published yet.
    settled: Option<Instant>,
    /// The inventory has changed since it was last resolved.
    unresolved: bool,
    latency: ApplyLatency,
    /// What is wrong with netlink.
    trouble: Option<Problem>,
}

impl<D: Dataplane> Sync<D> {
    /// With nothing published yet; the first [`Sync::advance`] publishes.
    #[must_use]
    pub fn new(node: Node, files: Files, dataplane: D, latency: ApplyLatency) -> Self {
        Self {
            node,
            files,
            resolved: Resolved::default(),
            ports: Ports::default(),
            ruleset: Ruleset::default(),
            topology: Topology::default(),
            dataplane,
            epoch: Epoch(0),
            published: Generation(0),
            pending: None,
            dirty: true,
            settled: None,
            unresolved: true,
            latency,
            trouble: None,
        }
    }

    /// Takes the host port's interface into service before the first snapshot.
    ///
    /// # Errors
    /// Where the switch gives it no port.
    pub fn add_host(&mut self, probed: Probed) -> Result<(), D::Error> {
        self.ports.add_host(probed, &mut self.dataplane)
    }

    /// Files have changed and are quiet.
    pub fn files_settled(&mut self, settled: &Settled) {
        let before = self.files.problems();
        if self.files.take(&settled.changed) == Effect::Changed {
            let oldest = self.settled.map_or(settled.at, |before| before.min(settled.at));
            self.settled = Some(oldest);
            (self.dirty, self.unresolved) = (true, true);
        }
        for problem in self.files.problems().iter().filter(|problem| !before.contains(problem)) {
            warn!(%problem, "problem in the manifests");
        }
    }

    /// Interfaces may have changed.
    pub fn links_changed(&mut self) {
        self.dirty = true;
    }

    /// Whether a snapshot is on its way to the workers.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// A second has passed: what was refused is tried again, and what no event tells is looked at.
    pub fn tick(&mut self) {
        self.ports.look_closely();
        self.links_changed();
    }

    /// Does what can be done now: takes note of what is in force, removes ports that no snapshot
    /// uses, and publishes if something differs and nothing is under way.
    pub async fn advance(&mut self, interfaces: &mut impl Interfaces) {
        let in_force = self.dataplane.in_force();
        self.settle(in_force);
        if self.ports.remove_unused(in_force, &mut self.dataplane) {
            self.links_changed();
        }
        let stalled = self.pending.is_some_and(|pending| pending.since.elapsed() > STALL);
        if self.dirty && (self.pending.is_none() || stalled) {
            self.dirty = false;
            self.publish(interfaces).await;
        }
    }

    /// Notes that the pending snapshot is in force, and how long that took.
    fn settle(&mut self, in_force: Generation) {
        let Some(pending) = self.pending.filter(|pending| pending.generation <= in_force) else {
            return;
        };
        self.pending = None;
        if let Some(settled) = pending.settled {
            let latency = settled.elapsed();
            self.latency.observe(latency);
            let ms = latency.as_secs_f64() * 1e3;
            info!(generation = in_force.0, epoch = self.epoch.0, latency_ms = ms, "in force");
        }
    }

    async fn publish(&mut self, interfaces: &mut impl Interfaces) {
        let settled = self.settled.take();
        let is_new = std::mem::take(&mut self.unresolved);
        let resolved = if is_new {
            resolve(self.files.inventory())
        } else {
            std::mem::take(&mut self.resolved)
        };
        self.reconcile(&resolved, interfaces).await;
        let topology = self.topology(&resolved);
        let is_first = self.published == Generation(0);
        let rules_differ = is_first
            || is_new && resolved.ruleset != self.ruleset
            || who(&topology) != who(&self.topology)
            || topology.node_addresses != self.topology.node_addresses;
        if rules_differ || topology != self.topology {
            self.epoch = Epoch(self.epoch.0 + u64::from(rules_differ));
            self.published = self.dataplane.publish(self.epoch, &resolved.ruleset, &topology);
            self.ports.published(self.published);
            let (generation, since) = (self.published, Instant::now());
            self.pending = Some(Pending { generation, since, settled });
            info!(
                generation = generation.0,
                epoch = self.epoch.0,
                pods = resolved.pods.len(),
                attached = topology.attachments.len(),
                policies = resolved.ruleset.policies.len(),
                "snapshot published"
            );
            self.ruleset.clone_from(&resolved.ruleset);
            self.topology = topology;
        }
        self.resolved = resolved;
        if self.ports.has_more() {
            self.links_changed();
        }
    }

    /// Adds the ports that are missing, and sees what the kernel has lost.
    async fn reconcile(&mut self, resolved: &Resolved, interfaces: &mut impl Interfaces) {
        let (pods, dataplane) = (&resolved.pods, &mut self.dataplane);
        let done = self.ports.reconcile(pods, &self.node, interfaces, dataplane).await;
        self.trouble = done.err().map(|error| {
            own_problem(&format!("interfaces cannot be listed: {error}"), &error.remedy())
        });
    }

    fn topology(&self, resolved: &Resolved) -> Topology {
        let set = &self.node.addresses;
        let addresses = if set.is_empty() { &resolved.node_addresses } else { set };
        Topology {
            attachments: self.ports.attachments(&resolved.pods),
            host: self.ports.host().map(|host| host.place.clone()),
            node_addresses: addresses.clone(),
        }
    }

    /// Everything to be said.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.files.problems();
        problems.extend(self.ports.problems().chain(&self.trouble).cloned());
        if let Some(pending) = self.pending.filter(|pending| pending.since.elapsed() > STALL) {
            problems.push(own_problem(
                &format!("snapshot {} is not in force with every worker", pending.generation.0),
                "a worker hangs: see lockgate_worker_turns_total, and restart the switch",
            ));
        }
        if !self.dataplane.is_alive() {
            problems.push(own_problem("a worker has ended", "restart the switch"));
        }
        problems.sort();
        problems
    }

    /// Whether every worker judges by what the directory said at some time.
    #[must_use]
    pub fn is_ready(&mut self) -> bool {
        self.dataplane.in_force() > Generation(0)
    }

    /// The switch.
    pub fn dataplane(&mut self) -> &mut D {
        &mut self.dataplane
    }

    /// Ends the agent; gives the switch.
    #[must_use]
    pub fn into_dataplane(self) -> D {
        self.dataplane
    }

    /// What the directory says.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What was last resolved.
    #[must_use]
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// The pods' ports.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// What was last published about places.
    #[must_use]
    pub fn placed(&self) -> &Topology {
        &self.topology
    }

    /// The rules in force or on their way, and the newest snapshot.
    #[must_use]
    pub fn numbers(&self) -> (Epoch, Generation) {
        (self.epoch, self.published)
    }

    /// Now, as samples of denied packets count time.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.dataplane.now()
    }

    /// How long changes took.
    #[must_use]
    pub fn latency(&self) -> &ApplyLatency {
        &self.latency
    }
}

/// The pods that are attached: what can change a verdict about them (their own side is judged
/// here), unlike where exactly they are.
fn who(topology: &Topology) -> Vec<EndpointId> {
    topology.attachments.iter().map(|attachment| attachment.endpoint).collect()
}

fn own_problem(message: &str, remedy: &str) -> Problem {
    Problem::of_object(Severity::Error, (None, None), "lockgate", "", message, remedy)
}
