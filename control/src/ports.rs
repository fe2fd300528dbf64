//! Which pods of this node have a port, kept to what the manifests and the kernel say.
//!
//! A port is added before the snapshot that uses it, and removed when the first snapshot without
//! it is in force. An interface that was made anew under its old name waits until the old one's
//! port is gone, so that two programs never want one pin.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::{Duration, Instant};

use lockgate_dataplane::endpoint::Attachment;
use lockgate_dataplane::ids::{Generation, Mac, PortId, PortRef};
use lockgate_dataplane::runtime::Detach;
use tracing::{info, warn};

use crate::attach::{AttachError, Attacher, InterfaceName, Probed};
use crate::dataplane::Dataplane;
use crate::manifest::{Problem, Severity};
use crate::resolve::PodView;

/// Where a pod says which interface is its own.
const FIELD: &str = "metadata.annotations[lockgate.dev/interface]";

/// How long ports are added before what there is is published and everybody else gets a turn.
pub const ADD_BUDGET: Duration = Duration::from_millis(100);

/// Interfaces as ports need them: netlink, or what a test pretends.
pub trait Interfaces {
    /// The numbers of all interfaces, by name.
    fn indexes(&self) -> impl Future<Output = Result<BTreeMap<String, u32>, AttachError>>;

    /// Checks a pod's interface and makes it ready.
    fn probe(
        &self,
        interface: &InterfaceName,
        mac: Option<Mac>,
    ) -> impl Future<Output = Result<Probed, AttachError>>;
}

impl Interfaces for Attacher {
    async fn indexes(&self) -> Result<BTreeMap<String, u32>, AttachError> {
        Ok(self.links().await?.into_iter().map(|link| (link.name, link.index)).collect())
    }

    async fn probe(
        &self,
        interface: &InterfaceName,
        mac: Option<Mac>,
    ) -> Result<Probed, AttachError> {
        self.pod(interface, mac).await
    }
}

/// A pod's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The interface it is on.
    pub probed: Probed,
    /// Where it is.
    pub at: PortRef,
}

/// A port on its way out.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    port: PortId,
    detach: Detach,
    /// The first snapshot without it, once there is one.
    without: Option<Generation>,
}

/// The ports of pods.
#[derive(Debug, Default)]
pub struct Ports {
    held: BTreeMap<String, Held>,
    leaving: BTreeMap<String, Leaving>,
    problems: BTreeMap<String, Problem>,
    has_more: bool,
}

impl Ports {
    /// Adds the ports that are wanted and can be had, and marks those that are not for removal.
    /// Stops at [`ADD_BUDGET`], see [`Ports::has_more`]. Gives the interfaces that there are.
    ///
    /// # Errors
    /// Where the interfaces cannot be listed: then nothing is changed.
    pub async fn reconcile<D: Dataplane>(
        &mut self,
        pods: &[PodView],
        interfaces: &impl Interfaces,
        dataplane: &mut D,
        ports_max: usize,
    ) -> Result<BTreeMap<String, u32>, AttachError> {
        let there = interfaces.indexes().await?;
        let wanted: BTreeMap<&str, &PodView> =
            pods.iter().filter_map(|pod| Some((pod.interface.as_deref()?, pod))).collect();
        self.retire(&wanted, &there);
        let begun = Instant::now();
        self.has_more = false;
        let mut problems = BTreeMap::new();
        for (&name, &pod) in &wanted {
            if begun.elapsed() > ADD_BUDGET {
                self.has_more = true;
                break;
            }
            if self.held.contains_key(name) || self.leaving.contains_key(name) {
                continue;
            }
            let failed = if self.held.len() >= ports_max {
                let message = format!("the switch bears {ports_max} ports and has as many");
                Some((message, "raise ports_max".to_owned()))
            } else {
                self.add(name, pod, interfaces, dataplane).await.err()
            };
            if let Some((message, remedy)) = failed {
                let object = format!("Pod {}/{}", pod.namespace, pod.name);
                let problem = Problem::of_object(
                    Severity::Error,
                    (None, None),
                    &object,
                    FIELD,
                    &format!("the pod is not attached: {message}"),
                    &remedy,
                );
                if self.problems.get(name) != Some(&problem) {
                    warn!(pod = %object, interface = name, reason = %message, "pod not attached");
                }
                problems.insert(name.to_owned(), problem);
            }
        }
        self.problems = problems;
        Ok(there)
    }

    /// The places of those pods that have one.
    #[must_use]
    pub fn attachments(&self, pods: &[PodView]) -> Vec<Attachment> {
        let place = |pod: &PodView| {
            let held = self.held.get(pod.interface.as_deref()?)?;
            // What the operator says wins, also when it is said later.
            let mac = pod.mac.unwrap_or(held.probed.mac);
            let (endpoint, at, mtu) = (pod.endpoint, held.at, held.probed.mtu);
            Some(Attachment { endpoint, at, mac, mtu })
        };
        pods.iter().filter_map(place).collect()
    }

    /// The ports, by interface.
    #[must_use]
    pub fn held(&self) -> &BTreeMap<String, Held> {
        &self.held
    }

    /// Why some pods have none.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values()
    }

    /// Whether time ran out before every port was tried.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Whether something is to be tried again.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        !self.problems.is_empty() || !self.leaving.is_empty()
    }

    /// A snapshot was published: ports marked before it are not in it.
    pub fn published(&mut self, generation: Generation) {
        for leaving in self.leaving.values_mut() {
            leaving.without.get_or_insert(generation);
        }
    }

    /// Removes the ports that no snapshot in force uses. True when one was removed.
    pub fn remove_unused<D: Dataplane>(&mut self, in_force: Generation, dataplane: &mut D) -> bool {
        let mut removed = false;
        self.leaving.retain(|interface, leaving| {
            if leaving.without.is_none_or(|without| without > in_force) {
                return true;
            }
            match dataplane.remove_port(leaving.port, leaving.detach) {
                Ok(()) => info!(interface, port = leaving.port.0, "port removed"),
                Err(error) => warn!(interface, port = leaving.port.0, %error, "port not removed"),
            }
            removed = true;
            false
        });
        removed
    }

    /// Marks ports that nobody wants, and those whose interface has gone or is another now.
    fn retire(&mut self, wanted: &BTreeMap<&str, &PodView>, there: &BTreeMap<String, u32>) {
        let mut out = BTreeSet::new();
        for (name, held) in &self.held {
            let is_there = there.get(name) == Some(&held.probed.ifindex);
            if !is_there || !wanted.contains_key(name.as_str()) {
                out.insert((name.clone(), is_there));
            }
        }
        for (name, is_there) in out {
            let Some(held) = self.held.remove(&name) else { continue };
            // On an interface that is still there the program stays and drops.
            let detach = if is_there { Detach::Leave } else { Detach::Detach };
            info!(interface = name, port = held.at.port.0, is_there, "port leaves");
            self.leaving.insert(name, Leaving { port: held.at.port, detach, without: None });
        }
    }

    async fn add<D: Dataplane>(
        &mut self,
        name: &str,
        pod: &PodView,
        interfaces: &impl Interfaces,
        dataplane: &mut D,
    ) -> Result<(), (String, String)> {
        let interface = InterfaceName::new(name)
            .map_err(|error| (error.to_string(), "name the pod's interface".to_owned()))?;
        let probed = interfaces
            .probe(&interface, pod.mac)
            .await
            .map_err(|error| (error.to_string(), error.remedy()))?;
        let at = dataplane
            .add_pod_port(&probed)
            .map_err(|error| (error.to_string(), "it is tried again each second".to_owned()))?;
        info!(
            pod = %format!("{}/{}", pod.namespace, pod.name),
            interface = name,
            port = at.port.0,
            worker = at.worker.0,
            mac = %probed.mac,
            mtu = probed.mtu,
            "port added"
        );
        self.held.insert(name.to_owned(), Held { probed, at });
        Ok(())
    }
}
