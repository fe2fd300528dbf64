//! The pure middle of a node's agent, wired as `sync` wires it: objects in, tables out. Its edges,
//! files, ports and workers, are whoever's it is.

use std::collections::BTreeSet;
use std::time::Duration;

use lockgate_control::inventory::{Change, Effect, Inventory};
use lockgate_control::manifest::ObjectKey;
use lockgate_control::resolver::Resolver;
use lockgate_dataplane::compiler::{Compiler, Counted, Tables};
use lockgate_dataplane::endpoint::Topology;
use lockgate_dataplane::policy::delta::Delta;
use nix::time::ClockId;

use crate::cluster::Size;

/// What slices call the node.
pub const NODE: &str = "here";

/// Inventory, resolver and compiler of one node.
#[derive(Debug, Default)]
pub struct Agent {
    /// What there is. May be changed between calls.
    pub inventory: Inventory,
    resolver: Resolver,
    compiler: Compiler,
    /// Workers that its tables count for.
    workers: u8,
    /// Objects that the resolver has not been told of.
    unread: BTreeSet<ObjectKey>,
}

impl Agent {
    /// One that has been told of a whole cluster and has compiled nothing; two workers will count.
    #[must_use]
    pub fn told_of(size: Size) -> Self {
        let mut agent = Self::counted_by(2);
        for object in size.objects() {
            let _: Effect = agent.inventory.apply(Change::Set(object));
        }
        agent
    }

    /// One that has read everything and has compiled nothing, for so many workers.
    #[must_use]
    pub fn of(inventory: Inventory, workers: u8) -> Self {
        let pods = inventory.pods().map(|pod| &pod.metadata);
        let namespaces = inventory.namespaces().map(|namespace| &namespace.metadata);
        let policies = inventory.policies().map(|policy| &policy.metadata);
        let services = inventory.services().map(|service| &service.metadata);
        let slices = inventory.slices().map(|slice| &slice.metadata);
        let all = pods.chain(namespaces).chain(policies).chain(services).chain(slices);
        let unread = all.map(|metadata| metadata.key.clone()).collect();
        Self { inventory, unread, ..Self::counted_by(workers) }
    }

    /// One whose tables count for so many workers.
    #[must_use]
    pub fn counted_by(workers: u8) -> Self {
        let resolver = Resolver::of_node(Some(NODE.into()));
        Self { compiler: Compiler::counted_by(workers), resolver, workers, ..Self::default() }
    }

    /// One that begins anew and has read nothing: it knows who had which identity.
    #[must_use]
    pub fn successor(&self) -> Self {
        Self { inventory: self.inventory.successor(), ..Self::counted_by(self.workers) }
    }

    /// Resolves what has changed.
    pub fn resolve(&mut self) -> Delta {
        let mut changes = self.inventory.take_changes();
        changes.append(&mut self.unread);
        let delta = self.resolver.apply(&self.inventory, &changes);
        self.compiler.serve(self.resolver.take_served());
        delta
    }

    /// Compiles what was resolved.
    pub fn compile(&mut self, delta: Delta, topology: &Topology) -> Tables {
        self.compiler.apply(delta, topology)
    }

    /// Brings the tables up to date.
    pub fn apply(&mut self, topology: &Topology) -> Tables {
        let delta = self.resolve();
        self.compile(delta, topology)
    }

    /// Builds the tables anew.
    pub fn rebuild(&mut self) -> Tables {
        self.compiler.rebuild()
    }

    /// How often that was done, asked for or not.
    #[must_use]
    pub fn rebuilds(&self) -> u64 {
        self.compiler.rebuilds()
    }

    /// What workers have counted for policies since the last call.
    pub fn take_counted(&mut self) -> Vec<Counted> {
        self.compiler.take_counted()
    }

    /// What was resolved last.
    #[must_use]
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }
}

/// Milliseconds that this thread has been on a core.
#[must_use]
pub fn cpu_ms() -> f64 {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from);
    time.unwrap_or_default().as_secs_f64() * 1e3
}
