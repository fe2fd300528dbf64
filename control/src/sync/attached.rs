//! Pods that a container runtime attaches and detaches, as the agent's state has them.

use std::time::Instant;

use lockgate_dataplane::ids::Generation;

use super::Sync;
use crate::cluster::{Attached, Cluster};
use crate::dataplane::Dataplane;
use crate::last_good::{Kept, Recalled};
use crate::manifest::ObjectKey;

impl<D: Dataplane> Sync<D> {
    /// A pod of this node has an interface from now on, where objects are a cluster's.
    pub fn attach(&mut self, pod: &ObjectKey, attached: Attached) {
        let Some(cluster) = self.source.cluster_mut() else { return };
        let effect = cluster.attach(pod, attached);
        self.changed(effect, Instant::now());
    }

    /// A pod has an interface no more.
    pub fn detach(&mut self, pod: &ObjectKey, interface: &str) {
        let Some(cluster) = self.source.cluster_mut() else { return };
        let effect = cluster.detach(pod, interface);
        self.changed(effect, Instant::now());
    }

    /// Goes by what a predecessor had in force, until everything was read.
    pub fn fall_back(&mut self, recalled: Recalled) {
        let Some(cluster) = self.source.cluster_mut() else { return };
        let Recalled { cluster: kept, written } = recalled;
        let effect = cluster.fall_back(kept, written);
        self.changed(effect, Instant::now());
    }

    /// Notes how it stands with what is kept of the cluster.
    pub fn note_kept(&mut self, kept: Kept) {
        if let Some(cluster) = self.source.cluster_mut() {
            cluster.note_kept(kept);
        }
    }

    /// Whether the pod of a name is known, and the one that a container runtime calls so.
    #[must_use]
    pub fn knows_pod(&self, pod: &ObjectKey, uid: &str) -> bool {
        self.source.cluster().is_some_and(|cluster| cluster.has_pod(pod, uid))
    }

    /// Something of the cluster that was not read yet.
    #[must_use]
    pub fn unread(&self) -> Option<String> {
        self.source.cluster().and_then(Cluster::unread)
    }

    /// The newest snapshot, where an interface's port has a place in it.
    #[must_use]
    pub fn placed_at(&self, interface: &str) -> Option<Generation> {
        let at = self.ports.held().get(interface)?.at.port;
        let mut placed = self.compiler.topology().attachments.iter();
        placed.any(|one| one.at.port == at).then_some(self.published)
    }

    /// Whether an interface has a port, or one that is not removed yet.
    #[must_use]
    pub fn has_port(&self, interface: &str) -> bool {
        self.ports.has(interface)
    }
}
