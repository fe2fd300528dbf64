//! What the agent's state is asked.

use lockgate_dataplane::clock::Tick;
use lockgate_dataplane::endpoint::Topology;
use lockgate_dataplane::ids::{Epoch, Generation};

use super::Sync;
use crate::dataplane::Dataplane;
use crate::metrics::{ApplyLatency, PolicyCounts};
use crate::ports::Ports;
use crate::resolve::{Resolved, resolve};
use crate::resolver::Resolver;
use crate::source::Source;

impl<D: Dataplane> Sync<D> {
    /// Whether every worker judges by what the source of objects has said to this agent.
    #[must_use]
    pub fn is_ready(&mut self) -> bool {
        let is_stale = self.source.cluster().is_some_and(|one| one.stale_since().is_some());
        self.dataplane.in_force() > Generation(0) && !is_stale
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

    /// What is known of objects.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Everything resolved from nothing, for whoever asks about all of it: on demand, for it
    /// costs the whole inventory.
    #[must_use]
    pub fn resolved(&self) -> &Resolved {
        self.resolved.get_or_init(|| resolve(self.source.inventory()))
    }

    /// What changed last, resolved and kept.
    #[must_use]
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// The pods' ports.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// What was last published about places.
    #[must_use]
    pub fn placed(&self) -> &Topology {
        self.compiler.topology()
    }

    /// The rules in force or on their way, and the newest snapshot.
    #[must_use]
    pub fn numbers(&self) -> (Epoch, Generation) {
        (self.epoch, self.published)
    }

    /// Now, as samples of packets count time.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.dataplane.now()
    }

    /// Takes in what workers have counted for policies.
    pub fn count_policies(&mut self) {
        let counted = self.compiler.take_counted();
        self.policy_counts.add(counted, self.compiler.ruleset());
    }

    /// What policies did, as last taken in.
    #[must_use]
    pub fn policy_counts(&self) -> &PolicyCounts {
        &self.policy_counts
    }

    /// How long changes took.
    #[must_use]
    pub fn latency(&self) -> &ApplyLatency {
        &self.latency
    }
}
