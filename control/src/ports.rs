//! The ports of this node, kept to what the manifests and the kernel say.
//!
//! ```text
//!   named by a pod --> closed --> held (a port) --> leaving --> closed
//!                        | ^                    interface or pod gone, or it fits no more
//!                        `-'  refused: tried again each second
//! ```
//!
//! A pod's interface that has no port is closed: it drops, and is down. One that no pod names any
//! more is left as it is, and drops. A port is added before the snapshot that uses it, and removed
//! when the first snapshot without it is in force. An interface whose port is leaving waits for
//! that, also under another name.

mod host;
mod leaving;
mod prepared;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_dataplane::endpoint::{Attachment, OwnNode};
use lockgate_dataplane::ids::{Mac, PortRef};
use tracing::{debug, info, warn};

use crate::attach::{AttachError, HostPortPlan, InterfaceName, Link, Probed};
use crate::dataplane::Dataplane;
use crate::interfaces::Interfaces;
use crate::manifest::{INTERFACE_FIELD, Problem, Severity};
use crate::resolve::PodView;

pub use host::Host;
use leaving::Leaving;

/// How long ports are added, or removed, before what there is is published and everybody else gets a
/// turn: the kernel takes 4 to 14 ms for each.
pub const BUDGET: Duration = Duration::from_millis(100);

/// Receive queues of a pod's interface: one socket, one worker.
const POD_QUEUES: u32 = 1;

/// What is fixed while the agent runs.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The host port, where there shall be one.
    pub host: Option<HostPortPlan>,
    /// How many workers there are, each with a queue of the host port.
    pub workers: u8,
    /// Addresses of this node; empty: those of its Node object, or those its pods name.
    pub addresses: Vec<IpAddr>,
    /// Its name in the cluster, where that is known.
    pub name: Option<Arc<str>>,
    /// Whether what it sends to its own pods is judged.
    pub own_node: OwnNode,
    /// The most pod ports.
    pub ports_max: usize,
    /// The most policies that metrics name; 0: what policies do is not counted.
    pub policy_metrics_max: usize,
}

impl Node {
    /// Whether an interface is one end of the host port.
    fn has(&self, interface: &InterfaceName) -> bool {
        self.host.as_ref().is_some_and(|plan| {
            plan.interface == *interface || plan.netns.is_none() && plan.peer == *interface
        })
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

/// Why there is no port.
#[derive(Debug)]
struct Refused {
    tried: Instant,
    problem: Problem,
}

/// What there is in one round, and who can change it.
struct Round<'a, I, D> {
    node: &'a Node,
    links: BTreeMap<String, Link>,
    interfaces: &'a mut I,
    dataplane: &'a mut D,
}

/// The ports of pods, and the host port.
#[derive(Debug, Default)]
pub struct Ports {
    held: BTreeMap<String, Held>,
    host: Option<Host>,
    leaving: Leaving,
    /// What a predecessor serves yet, by interface.
    prepared: BTreeMap<String, Probed>,
    refused: BTreeMap<String, Refused>,
    /// The interfaces there were.
    seen: BTreeSet<u32>,
    has_more: bool,
    look_closely: bool,
}

impl Ports {
    /// In the next round, asks of every interface also what no event tells: its queues, and the
    /// MAC of its far end.
    pub fn look_closely(&mut self) {
        self.look_closely = true;
    }

    /// One round: lets ports go that are not wanted or fit no more, and adds those that can be
    /// had. Stops adding at [`BUDGET`], see [`Ports::has_more`].
    ///
    /// # Errors
    /// Where the interfaces cannot be listed: then nothing is changed.
    pub async fn reconcile<D: Dataplane>(
        &mut self,
        pods: &[PodView],
        node: &Node,
        interfaces: &mut impl Interfaces,
        dataplane: &mut D,
    ) -> Result<(), AttachError> {
        let links = interfaces.links().await?;
        let wanted: BTreeMap<&str, &PodView> =
            pods.iter().filter_map(|pod| Some((pod.interface.as_deref()?, pod))).collect();
        let mut round = Round { node, links, interfaces, dataplane };
        self.sweep(&round);
        let closely = std::mem::take(&mut self.look_closely);
        self.keep_host(&mut round, closely).await;
        self.let_go(&wanted, &round, closely).await;
        self.add_missing(&wanted, &mut round).await;
        Ok(())
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

    /// The pods' ports, by interface.
    #[must_use]
    pub fn held(&self) -> &BTreeMap<String, Held> {
        &self.held
    }

    /// Why some pods, or the host, have none.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.refused.values().map(|refused| &refused.problem)
    }

    /// Why an interface has none.
    #[must_use]
    pub fn refusal(&self, interface: &str) -> Option<&Problem> {
        self.refused.get(interface).map(|refused| &refused.problem)
    }

    /// Whether an interface has a port, be it on its way out.
    #[must_use]
    pub fn has(&self, interface: &str) -> bool {
        self.held.contains_key(interface) || self.leaving.has(interface, 0)
    }

    /// Whether time ran out before every port was tried.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Removes what interfaces have left that are gone.
    fn sweep<I: Interfaces, D>(&mut self, round: &Round<'_, I, D>) {
        let seen: BTreeSet<u32> = round.links.values().map(|link| link.index).collect();
        let is_gone = self.seen.difference(&seen).next().is_some();
        self.seen = seen;
        if is_gone && let Err(error) = round.interfaces.sweep() {
            warn!(%error, "a pin of an interface that has gone is left");
        }
    }

    /// Marks the pods' ports that nobody wants, and those whose interface has gone, is another
    /// now, or fits no more.
    async fn let_go<I: Interfaces, D>(
        &mut self,
        wanted: &BTreeMap<&str, &PodView>,
        round: &Round<'_, I, D>,
        closely: bool,
    ) {
        for (name, mut held) in std::mem::take(&mut self.held) {
            let fits = match wanted.get(name.as_str()) {
                Some(pod) => {
                    still_fits(&mut held.probed, POD_QUEUES, pod.mac, round, closely).await
                }
                None => false,
            };
            if fits {
                self.held.insert(name, held);
            } else {
                info!(interface = name, port = held.at.port.0, "port leaves");
                self.leaving.add(&name, held.at.port, held.probed.ifindex);
            }
        }
    }

    /// Adds what is missing: first what was never tried, then what waits the longest.
    async fn add_missing<I: Interfaces, D: Dataplane>(
        &mut self,
        wanted: &BTreeMap<&str, &PodView>,
        round: &mut Round<'_, I, D>,
    ) {
        self.refused.retain(|name, _| wanted.contains_key(name.as_str()) || name == host::REFUSED);
        let mut missing: Vec<(&str, &PodView)> =
            wanted.iter().map(|(&name, &pod)| (name, pod)).collect();
        missing.retain(|(name, _)| !self.held.contains_key(*name));
        missing.sort_by_key(|(name, _)| self.refused.get(*name).map(|refused| refused.tried));
        let begun = Instant::now();
        self.has_more = false;
        for (name, pod) in missing {
            if begun.elapsed() > BUDGET {
                self.has_more = !self.refused.contains_key(name);
                break;
            }
            let closed = self.close(name, round).await;
            let ifindex = round.links.get(name).map_or(0, |link| link.index);
            if self.leaving.has(name, ifindex) {
                continue;
            }
            let added = match closed {
                Ok((interface, link)) => self.add(&interface, &link, pod, round).await,
                Err(refused) => Err(refused),
            };
            let object = format!("Pod {}/{}", pod.namespace, pod.name);
            self.note(name, &object, INTERFACE_FIELD, "the pod is not attached", added);
        }
    }

    /// Sees to it that nothing passes by an interface, whatever comes of it.
    async fn close<I: Interfaces, D>(
        &self,
        name: &str,
        round: &Round<'_, I, D>,
    ) -> Result<(InterfaceName, Link), (String, String)> {
        let interface = InterfaceName::new(name)
            .map_err(|error| (error.to_string(), "name the pod's interface".to_owned()))?;
        let link = round.links.get(name).cloned();
        let link = link.ok_or_else(|| refusal(&AttachError::Missing(interface.clone())))?;
        if round.node.has(&interface) {
            return Err(refusal(&AttachError::Own(interface)));
        }
        let closed = round.interfaces.close(&interface, &link).await;
        closed.map_err(|error| refusal(&error))?;
        Ok((interface, link))
    }

    async fn add<I: Interfaces, D: Dataplane>(
        &mut self,
        interface: &InterfaceName,
        link: &Link,
        pod: &PodView,
        round: &mut Round<'_, I, D>,
    ) -> Result<(), (String, String)> {
        let opened = self.open(interface, link, pod, round).await;
        if opened.is_err()
            && let Err(error) = round.interfaces.set_up(link, false).await
        {
            warn!(%interface, %error, "not set down; it drops");
        }
        let held = opened?;
        info!(
            pod = %format!("{}/{}", pod.namespace, pod.name),
            %interface,
            port = held.at.port.0,
            worker = held.at.worker.0,
            mac = %held.probed.mac,
            mtu = held.probed.mtu,
            "port added"
        );
        self.held.insert(interface.to_string(), held);
        Ok(())
    }

    /// Opens a closed interface: for the sockets of its port, and nobody else.
    async fn open<I: Interfaces, D: Dataplane>(
        &self,
        interface: &InterfaceName,
        link: &Link,
        pod: &PodView,
        round: &mut Round<'_, I, D>,
    ) -> Result<Held, (String, String)> {
        let most = round.node.ports_max;
        if self.held.len() >= most {
            let message = format!("the switch bears {most} ports and has as many");
            return Err((message, "raise ports_max".to_owned()));
        }
        let checked = round.interfaces.check(interface, link, POD_QUEUES, pod.mac).await;
        let probed = checked.map_err(|error| refusal(&error))?;
        let set = round.interfaces.set_up(link, true).await;
        set.map_err(|error| refusal(&error))?;
        let at = round.dataplane.add_pod_port(&probed).map_err(|e| again(e.to_string()))?;
        Ok(Held { probed, at })
    }

    /// Remembers why there is no port, or that there is one.
    fn note(
        &mut self,
        name: &str,
        object: &str,
        field: &str,
        what: &str,
        added: Result<(), (String, String)>,
    ) {
        let before = self.refused.remove(name);
        let Err((message, remedy)) = added else { return };
        let text = format!("{what}: {message}");
        let problem =
            Problem::of_object(Severity::Error, (None, None), object, field, &text, &remedy);
        if before.is_none_or(|before| before.problem != problem) {
            warn!(%object, interface = name, reason = %message, %remedy, "{what}");
        }
        self.refused.insert(name.to_owned(), Refused { tried: Instant::now(), problem });
    }
}

fn refusal(error: &AttachError) -> (String, String) {
    (error.to_string(), error.remedy())
}

fn again(message: String) -> (String, String) {
    (message, "it is tried again each second".to_owned())
}

/// Whether the interface of a port is what it was, and still fits; takes note of its MTU and MAC.
async fn still_fits<I: Interfaces, D>(
    probed: &mut Probed,
    queues: u32,
    mac: Option<Mac>,
    round: &Round<'_, I, D>,
    closely: bool,
) -> bool {
    let link = round.links.get(probed.interface.as_str());
    let Some(link) = link.filter(|link| link.index == probed.ifindex) else { return false };
    if !closely && link.mtu == u32::from(probed.mtu) {
        return true;
    }
    match round.interfaces.check(&probed.interface, link, queues, mac).await {
        Ok(now) => {
            if now != *probed {
                info!(interface = %now.interface, mac = %now.mac, mtu = now.mtu, "port changed");
            }
            *probed = now;
            true
        }
        Err(AttachError::Mtu { .. } | AttachError::Queues { .. }) => false,
        // What cannot be seen for a moment has not changed.
        Err(error) => {
            debug!(interface = %probed.interface, %error, "not looked at");
            true
        }
    }
}
