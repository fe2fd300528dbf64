//! Connections that outlive the process, as the agent's state has them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use lockgate_dataplane::endpoint::{Endpoints, Topology};
use lockgate_dataplane::ids::EndpointId;
use tracing::warn;

use super::Sync;
use crate::dataplane::Dataplane;
use crate::manifest::{Problem, Severity};
use crate::survivors::{Identity, Names};

impl<D: Dataplane> Sync<D> {
    /// Takes over what predecessors left in this directory, and writes there for a successor. To be
    /// called once no worker of a predecessor runs any more: at the start, or when it has handed over.
    /// Gives whether all that the last one had was read.
    pub fn inherit(&mut self, directory: Option<PathBuf>) -> bool {
        if let Some(trouble) = self.dataplane.kept_trouble() {
            warn!(%trouble, "connections end with this process");
        }
        self.survivors.keep(directory, self.dataplane.stamp());
        let is_all = match self.dataplane.left() {
            Ok(left) => self.survivors.inherit(left),
            Err(error) => {
                warn!(%error, "no connection of a predecessor is taken over");
                false
            }
        };
        // Where a snapshot is in force already, they have ports by that.
        self.rules_differ |= self.survivors.has_waiting();
        self.dirty |= self.survivors.has_waiting();
        is_all
    }

    /// Takes over what a predecessor had that has handed over. It had every connection there is, so
    /// TCP of which nothing is known is picked up only where that could not be read: then for so long,
    /// as after a crash.
    pub fn inherit_given(&mut self, directory: Option<PathBuf>, seconds: u32) {
        self.survivors.await_word();
        if !self.inherit(directory) {
            warn!(seconds, "no connections were handed on: TCP is picked up for a while");
            self.pick_up_for(seconds);
        }
    }

    /// Names the directory in which connections are kept: where nothing is ever published, nothing is
    /// left there.
    pub fn keep_in(&mut self, directory: Option<PathBuf>) {
        self.survivors.keep(directory, self.dataplane.stamp());
    }

    /// The predecessor was told that all is taken: it does not go on, and what it left may go.
    pub fn taken(&mut self) {
        self.survivors.taken(Instant::now());
    }

    /// From the first snapshot on, TCP of which nothing is known is picked up for so long.
    pub fn pick_up_for(&mut self, seconds: u32) {
        self.grace_ms = u64::from(seconds) * 1000;
    }

    /// Before tables are made: tells the compiler where a predecessor's clients ask, for what is no
    /// Service's there has departed. By then the services of today are known to it.
    pub(super) fn look_back(&mut self, topology: &Topology) {
        let asked = self.survivors.take_asked();
        if !asked.is_empty() {
            self.compiler.inherit(asked, topology);
        }
    }

    /// Before a snapshot is published: names its pods for a successor, and gives workers what they own
    /// of a predecessor's connections.
    pub(super) fn hand_down(&mut self, topology: &Topology, endpoints: &Endpoints) {
        self.survivors.name(self.names(topology));
        let (workers, now) = (self.node.workers, Instant::now());
        if let Err(error) = self.survivors.adopt(endpoints, workers, now, &mut self.dataplane) {
            warn!(%error, "connections of a predecessor were not taken over");
        }
        let grace_ms = std::mem::take(&mut self.grace_ms);
        if grace_ms > 0
            && let Err(error) = self.dataplane.pick_up_for(grace_ms)
        {
            warn!(%error, "TCP of which nothing is known is not picked up");
        }
    }

    /// Who the pods are that have ports.
    fn names(&self, topology: &Topology) -> Names {
        let placed: BTreeSet<EndpointId> =
            topology.attachments.iter().map(|attachment| attachment.endpoint).collect();
        let pods = self.resolver.local().iter().filter(|pod| placed.contains(&pod.endpoint));
        let named = pods.filter_map(|pod| {
            let held = self.ports.held().get(pod.interface.as_deref()?)?;
            let object = self.source.inventory().pod(&pod.namespace, &pod.name)?;
            let identity = Identity {
                namespace: pod.namespace.to_string(),
                name: pod.name.to_string(),
                uid: object.metadata.uid.as_ref().map(ToString::to_string),
                ifindex: held.probed.ifindex,
            };
            Some((pod.endpoint.0, identity))
        });
        named.collect()
    }

    /// Why connections end with this process, where they should not.
    pub(super) fn kept_problem(&self) -> Option<Problem> {
        let of_switch = self.dataplane.kept_trouble().map(ToString::to_string);
        let reason = of_switch.or_else(|| self.survivors.trouble().map(str::to_owned))?;
        let message = format!("connections end with this process: {reason}");
        let remedy = "name a directory in memory (tmpfs) with room, or set restart.keep to false";
        let (object, field) = ("lockgate", "restart.directory");
        let severity = Severity::Warning;
        Some(Problem::of_object(severity, (None, None), object, field, &message, remedy))
    }
}
