//! From what the source of objects and the kernel say to what the workers judge by.
//!
//! ```text
//! Source -> Resolver -> Compiler -> Ports (ports that are missing are added)
//!                                    -> publish -> in force with every worker
//!                                         -> ports that are no longer used are removed
//! ```
//!
//! The first change after quiet is published at once; what comes while a publication is under way
//! is gathered into the next. The epoch moves only when some verdict can have changed: a port
//! that only moved, or got another MTU, does not make connections be judged again.
//!
//! What changed is resolved and compiled at once, and noted, before anything is waited for: nothing
//! is lost if whoever waits gives up. The first compilation of a cluster of 100 000 pods holds the
//! agent for a second or two; a change holds it for what the change costs.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lockgate_dataplane::compiler::Compiler;
use lockgate_dataplane::endpoint::Topology;
use lockgate_dataplane::ids::{Epoch, Generation};
use lockgate_dataplane::policy::delta::Delta;
use tracing::{info, warn};

use crate::applied::InForce;
use crate::attach::Probed;
use crate::dataplane::Dataplane;
use crate::interfaces::Interfaces;
use crate::inventory::Effect;
use crate::manifest::{Problem, Severity};
use crate::metrics::{ApplyLatency, PolicyCounts};
pub use crate::ports::Node;
use crate::ports::Ports;
use crate::resolve::Resolved;
use crate::resolver::Resolver;
use crate::source::{News, Source};
use crate::survivors::Survivors;

mod asked;
mod attached;
mod inherited;
mod taken;
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

/// How often all objects may be looked at for problems.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Problems of objects that were told.
#[derive(Debug)]
struct Told {
    problems: Vec<Problem>,
    at: Option<Instant>,
    /// There may be others.
    is_stale: bool,
}

/// The agent's state: everything between the source of objects and the switch.
#[derive(Debug)]
pub struct Sync<D: Dataplane> {
    node: Node,
    source: Source,
    resolver: Resolver,
    compiler: Compiler,
    /// Everything resolved from nothing, once somebody asks.
    resolved: OnceCell<Resolved>,
    ports: Ports,
    dataplane: D,
    epoch: Epoch,
    published: Generation,
    pending: Option<Pending>,
    /// Something may differ from what was published.
    dirty: bool,
    /// The settled event of the oldest file change that is not published yet.
    settled: Option<Instant>,
    /// Rules differ from those published, and so may some verdict.
    rules_differ: bool,
    verdicts_differ: bool,
    told: Told,
    latency: ApplyLatency,
    policy_counts: PolicyCounts,
    /// What of the cluster is in force.
    applied: InForce,
    /// What is wrong with netlink.
    trouble: Option<Problem>,
    /// What is wrong with what the node is given.
    of_node: Vec<Problem>,
    /// Connections of a predecessor.
    survivors: Survivors,
    /// How long TCP is picked up from the first snapshot on, in milliseconds.
    grace_ms: u64,
}

impl<D: Dataplane> Sync<D> {
    /// With nothing published yet; the first [`Sync::advance`] publishes.
    #[must_use]
    pub fn new(node: Node, source: impl Into<Source>, dataplane: D, latency: ApplyLatency) -> Self {
        let source = source.into();
        let told = Told { problems: source.problems(), at: None, is_stale: false };
        let workers = if node.policy_metrics_max == 0 { 0 } else { node.workers };
        Self {
            policy_counts: PolicyCounts::new(node.policy_metrics_max),
            resolver: Resolver::of_node(node.name.clone()),
            node,
            source,
            compiler: Compiler::counted_by(workers),
            resolved: OnceCell::new(),
            ports: Ports::default(),
            dataplane,
            epoch: Epoch(0),
            published: Generation(0),
            pending: None,
            dirty: true,
            settled: None,
            rules_differ: true,
            verdicts_differ: true,
            told,
            latency,
            applied: InForce::default(),
            trouble: None,
            of_node: Vec::new(),
            survivors: Survivors::default(),
            grace_ms: 0,
        }
    }

    /// Takes the host port's interface into service before the first snapshot.
    ///
    /// # Errors
    /// Where the switch gives it no port.
    pub fn add_host(&mut self, probed: Probed) -> Result<(), D::Error> {
        self.ports.add_host(probed, &mut self.dataplane)
    }

    /// There is news of objects.
    pub fn learn(&mut self, news: News) {
        let was_whole = self.source.is_whole();
        let (effect, at) = self.source.take(news);
        self.changed(effect, at);
        // What was learned before all was known counts from now on.
        self.dirty |= !was_whole && self.source.is_whole();
    }

    /// Something is known otherwise since a time.
    fn changed(&mut self, effect: Effect, at: Instant) {
        self.told.is_stale = true;
        if effect == Effect::Changed {
            self.settled = Some(self.settled.map_or(at, |before| before.min(at)));
            self.dirty = true;
            self.resolved.take();
        }
    }

    /// Tells of problems that are new. To find them all objects are looked at: not with every
    /// change, and not before what changed is in force.
    fn tell(&mut self) {
        let is_due = self.told.at.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if is_due && self.pending.is_none_or(|pending| pending.since.elapsed() > STALL) {
            self.look_for_problems();
        }
    }

    /// Looks at all objects, unless nothing has changed since that was done.
    fn look_for_problems(&mut self) {
        if !self.told.is_stale {
            return;
        }
        let problems = self.source.problems();
        let known: BTreeSet<&Problem> = self.told.problems.iter().collect();
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            warn!(%problem, "{}", self.source.spoken());
        }
        self.told = Told { problems, at: Some(Instant::now()), is_stale: false };
    }

    /// What is wrong with what the node is given, as of now.
    pub fn tell_of_node(&mut self, problems: Vec<Problem>) {
        for problem in problems.iter().filter(|problem| !self.of_node.contains(problem)) {
            warn!(%problem, "problem with the node");
        }
        self.of_node = problems;
    }

    /// Interfaces may have changed.
    pub fn links_changed(&mut self) {
        self.dirty = true;
    }

    /// Whether a snapshot is on its way to the workers, or ports are yet to be removed.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending.is_some() || self.ports.has_unused()
    }

    /// A second has passed: what was refused is tried again, and what no event tells is looked at.
    pub fn tick(&mut self) {
        self.ports.look_closely();
        self.survivors.tick(Instant::now());
        self.links_changed();
    }

    /// Does what can be done now: takes note of what is in force, removes ports that no snapshot
    /// uses, and publishes if something differs and nothing is under way.
    pub async fn advance(&mut self, interfaces: &mut impl Interfaces) {
        let in_force = self.dataplane.in_force();
        self.settle(in_force);
        let counted = self.compiler.take_settled();
        self.policy_counts.add(counted, self.compiler.ruleset());
        if self.ports.remove_unused(in_force, &mut self.dataplane) {
            self.links_changed();
        }
        let stalled = self.pending.is_some_and(|pending| pending.since.elapsed() > STALL);
        let is_free = self.pending.is_none() || stalled;
        if self.dirty && is_free && self.source.is_whole() {
            self.dirty = false;
            self.publish(interfaces).await;
        }
        if self.pending.is_none() && !self.dirty {
            self.applied.rest(&self.source.versions());
        }
        self.tell();
    }

    /// Notes that the pending snapshot is in force, and how long that took.
    fn settle(&mut self, in_force: Generation) {
        let Some(pending) = self.pending.filter(|pending| pending.generation <= in_force) else {
            return;
        };
        self.pending = None;
        self.applied.settle(self.epoch, in_force);
        if let Some(settled) = pending.settled {
            let latency = settled.elapsed();
            self.applied.took(latency);
            self.latency.observe(latency);
            let ms = latency.as_secs_f64() * 1e3;
            info!(generation = in_force.0, epoch = self.epoch.0, latency_ms = ms, "in force");
        }
    }

    async fn publish(&mut self, interfaces: &mut impl Interfaces) {
        let settled = self.settled.take();
        self.resolve();
        self.reconcile(interfaces).await;
        self.publish_tables(settled);
        if self.ports.has_more() {
            self.links_changed();
        }
    }

    /// Publishes what was resolved and the places there are, if anything differs.
    fn publish_tables(&mut self, settled: Option<Instant>) {
        let topology = self.topology();
        if self.rules_differ || topology != *self.compiler.topology() {
            self.look_back(&topology);
            let tables = self.compiler.apply(Delta::default(), &topology);
            let verdicts_differ = tables.verdicts || self.verdicts_differ;
            (self.rules_differ, self.verdicts_differ) = (false, false);
            self.epoch = Epoch(self.epoch.0 + u64::from(verdicts_differ));
            self.hand_down(&topology, &tables.endpoints);
            self.published = self.dataplane.publish(self.epoch, tables.policy, tables.endpoints);
            self.ports.published(self.published);
            self.applied.publish(self.source.versions());
            let (generation, since) = (self.published, Instant::now());
            self.pending = Some(Pending { generation, since, settled });
            info!(
                generation = generation.0,
                epoch = self.epoch.0,
                pods = self.resolver.pods(),
                attached = topology.attachments.len(),
                policies = self.resolver.policies(),
                rebuilds = self.compiler.rebuilds(),
                "snapshot published"
            );
        }
    }

    /// Takes in what the files say otherwise.
    fn resolve(&mut self) {
        let changes = self.source.take_changes();
        let delta = self.resolver.apply(self.source.inventory(), &changes);
        if !delta.is_empty() {
            let topology = self.compiler.topology().clone();
            self.verdicts_differ |= self.compiler.apply(delta, &topology).verdicts;
            self.rules_differ = true;
        }
        let served = self.resolver.take_served();
        if !served.is_empty() {
            self.compiler.serve(served);
            self.rules_differ = true;
        }
    }

    /// Adds the ports that are missing, and sees what the kernel has lost.
    async fn reconcile(&mut self, interfaces: &mut impl Interfaces) {
        let (pods, dataplane) = (self.resolver.local(), &mut self.dataplane);
        let done = self.ports.reconcile(pods, &self.node, interfaces, dataplane).await;
        self.trouble = done.err().map(|error| {
            own_problem(&format!("interfaces cannot be listed: {error}"), &error.remedy())
        });
    }

    fn topology(&self) -> Topology {
        Topology {
            attachments: self.ports.attachments(self.resolver.local()),
            host: self.ports.host().map(|host| host.place.clone()),
            node_addresses: self.node_addresses().to_vec(),
            own_node: self.node.own_node,
        }
    }

    /// The addresses of this node: those that are set, those that its object has, or those that
    /// its pods name.
    #[must_use]
    pub fn node_addresses(&self) -> &[IpAddr] {
        let set = &self.node.addresses;
        let name = self.node.name.as_deref().filter(|_| self.source.cluster().is_some());
        let object = name.and_then(|name| self.source.inventory().node(name));
        match object.filter(|node| !node.addresses.is_empty()) {
            _ if !set.is_empty() => set,
            Some(object) => &object.addresses,
            None => self.resolver.node_addresses(),
        }
    }

    /// Everything to be said, as of now.
    #[must_use]
    pub fn problems(&mut self) -> Vec<Problem> {
        self.look_for_problems();
        let mut problems = self.told.problems.clone();
        problems.extend(self.own_problems());
        problems.sort();
        problems
    }

    /// Everything to be said, as it was last told: nothing is looked at.
    #[must_use]
    pub fn told(&self) -> Vec<Problem> {
        self.told.problems.iter().cloned().chain(self.own_problems()).collect()
    }

    /// What of the cluster is in force with every worker.
    #[must_use]
    pub fn applied(&self) -> &InForce {
        &self.applied
    }

    /// How many problems of a severity there are. Those of objects are the ones last told, a
    /// second old at most: whoever scrapes often has not all objects looked at.
    #[must_use]
    pub fn problem_count(&self, severity: Severity) -> usize {
        let own = self.own_problems();
        let all = self.told.problems.iter().chain(&own);
        all.filter(|problem| problem.severity == severity).count()
    }

    /// What is wrong with ports, netlink and workers.
    fn own_problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.ports.problems().chain(&self.trouble).chain(&self.of_node).cloned().collect();
        problems.extend(self.kept_problem());
        if let Some(pending) = self.pending.filter(|pending| pending.since.elapsed() > STALL) {
            problems.push(own_problem(
                &format!("snapshot {} is not in force with every worker", pending.generation.0),
                "a worker hangs: see lockgate_worker_turns_total, and restart the switch",
            ));
        }
        if !self.dataplane.is_alive() {
            problems.push(own_problem("a worker has ended", "restart the switch"));
        }
        problems
    }
}

fn own_problem(message: &str, remedy: &str) -> Problem {
    Problem::of_object(Severity::Error, (None, None), "lockgate", "", message, remedy)
}
