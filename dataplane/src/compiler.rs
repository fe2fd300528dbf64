//! From a change of rules and places to the next snapshot's tables: what production compiles with
//! (house D13). Cold, pure.
//!
//! It keeps what `policy::compile` and `Endpoints::build` make and drop, and changes what a change
//! touches; those two are its slow twins, and the suite holds it to them after every event
//! (`tests/suite/incremental.rs`). What does not change is shared with the snapshots before.

use crate::endpoint::{Endpoints, KeptEndpoints, Topology};
use crate::ids::EndpointId;
use crate::policy::delta::Delta;
use crate::policy::ruleset::Ruleset;
use crate::policy::{Kept, PolicyTable, Update};
use crate::service;

pub use crate::policy::{Counted, Out};

/// What a snapshot is published with.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Who may send what to whom.
    pub policy: PolicyTable,
    /// Who is where.
    pub endpoints: Endpoints,
    /// Some verdict can differ from those before: the epoch must move.
    pub verdicts: bool,
    /// Why everything was built anew, if it was.
    pub rebuilt: Option<Out>,
}

/// The tables as they are, kept to be changed.
#[derive(Debug, Default)]
pub struct Compiler {
    policy: Kept,
    endpoints: KeptEndpoints,
    topology: Topology,
}

impl Compiler {
    /// Without rules or places yet; this many workers count which policies deny and allow.
    #[must_use]
    pub fn counted_by(workers: u8) -> Self {
        Self { policy: Kept::counted_by(workers), ..Self::default() }
    }

    /// What the workers have counted since this was last asked, by the names that policies had
    /// then; each count once. Walks every verdict there is.
    pub fn take_counted(&mut self) -> Vec<Counted> {
        self.policy.take_counted()
    }

    /// The same, but only of tables built before that no worker judges by any more; what they hold
    /// is freed. To be called now and then, also where nobody asks for counts.
    pub fn take_settled(&mut self) -> Vec<Counted> {
        self.policy.take_settled()
    }

    /// Takes a change of rules in, and places as they are now.
    ///
    /// Who is attached and which addresses are the node's can change verdicts; where exactly
    /// somebody is cannot.
    pub fn apply(&mut self, delta: Delta, topology: &Topology) -> Tables {
        let update = self.policy.apply(delta);
        self.finish(&update, topology)
    }

    /// Takes a change of services in: it is in the tables that [`Compiler::apply`] gives next. No
    /// verdict changes by it, for policy judges who serves, not the Service.
    pub fn serve(&mut self, delta: service::Delta) {
        self.endpoints.serve(delta);
    }

    /// Takes in where a predecessor's clients ask, for the tables that [`Compiler::apply`] gives next
    /// with this topology. To be called once the services of today are known: what is theirs is not
    /// gone.
    pub fn inherit(&mut self, asked: Vec<service::FrontKey>, topology: &Topology) {
        self.endpoints.inherit(asked, &topology.node_addresses);
    }

    /// Builds everything anew from the rules that are kept: what [`Compiler::apply`] does by
    /// itself when that is cheaper.
    pub fn rebuild(&mut self) -> Tables {
        let update = self.policy.build(Out::Asked);
        let topology = self.topology.clone();
        self.finish(&update, &topology)
    }

    /// How often everything was built anew.
    #[must_use]
    pub fn rebuilds(&self) -> u64 {
        self.policy.rebuilds()
    }

    /// The rules as they are.
    #[must_use]
    pub fn ruleset(&self) -> &Ruleset {
        self.policy.ruleset()
    }

    /// Places as they are.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    fn finish(&mut self, update: &Update, topology: &Topology) -> Tables {
        let moved = who(topology) != who(&self.topology)
            || topology.node_addresses != self.topology.node_addresses
            || topology.own_node != self.topology.own_node;
        if self.topology != *topology {
            self.topology.clone_from(topology);
        }
        Tables {
            policy: self.policy.table(),
            endpoints: self.endpoints.apply(&self.policy, update, topology),
            verdicts: update.verdicts || moved,
            rebuilt: update.rebuilt,
        }
    }
}

/// The pods that are attached: their own side is judged here.
fn who(topology: &Topology) -> impl PartialEq {
    topology.attachments.iter().map(|one| one.endpoint).collect::<Vec<EndpointId>>()
}
