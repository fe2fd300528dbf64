//! Ports taken over from a predecessor: looked at and prepared while that serves them, then added
//! one after the other, with nothing in between but the binding of their sockets.
//!
//! Only what the predecessor serves is prepared: closed, up, and as a port wants it. Whatever is
//! missing, or is another interface by then, is left to the first round of [`Ports::reconcile`].

use std::collections::BTreeMap;

use tracing::{debug, warn};

use super::{Held, Node, POD_QUEUES, Ports};
use crate::attach::{InterfaceName, Link, Probed};
use crate::dataplane::Dataplane;
use crate::interfaces::Interfaces;
use crate::resolve::PodView;

impl Ports {
    /// Prepares the ports of pods whose interfaces a predecessor serves.
    pub async fn prepare<D: Dataplane>(
        &mut self,
        pods: &[PodView],
        node: &Node,
        interfaces: &impl Interfaces,
        dataplane: &mut D,
    ) {
        let links = match interfaces.links().await {
            Ok(links) => links,
            Err(error) => return warn!(%error, "no interface is looked at before it is taken"),
        };
        for pod in pods {
            let Some(name) = &pod.interface else { continue };
            let looked = look(name, pod, &links, node, interfaces).await;
            let Some(probed) = looked.filter(|_| self.prepared.len() < node.ports_max) else {
                continue;
            };
            match dataplane.prepare_port(&probed, POD_QUEUES) {
                Ok(()) => drop(self.prepared.insert(name.clone(), probed)),
                Err(error) => debug!(interface = name, %error, "not prepared"),
            }
        }
    }

    /// Adds the ports that were prepared and are wanted, and tells how many.
    pub fn add_prepared<D: Dataplane>(
        &mut self,
        pods: &[PodView],
        links: &BTreeMap<String, Link>,
        dataplane: &mut D,
    ) -> usize {
        for name in pods.iter().filter_map(|pod| pod.interface.as_ref()) {
            let Some(probed) = self.prepared.remove(name) else { continue };
            if links.get(name).is_none_or(|link| link.index != probed.ifindex) {
                continue;
            }
            match dataplane.add_pod_port(&probed) {
                Ok(at) => drop(self.held.insert(name.clone(), Held { probed, at })),
                Err(error) => warn!(interface = name, %error, "not taken over at once"),
            }
        }
        self.prepared.clear();
        self.held.len()
    }

    /// Forgets all ports, for they were given away.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// What an interface's port needs to know, where a predecessor serves it.
async fn look(
    name: &str,
    pod: &PodView,
    links: &BTreeMap<String, Link>,
    node: &Node,
    interfaces: &impl Interfaces,
) -> Option<Probed> {
    let interface = InterfaceName::new(name).ok().filter(|one| !node.has(one))?;
    let link = links.get(name).filter(|link| interfaces.is_served(&interface, link))?;
    match interfaces.check(&interface, link, POD_QUEUES, pod.mac).await {
        Ok(probed) => Some(probed),
        Err(error) => {
            debug!(%interface, %error, "not prepared");
            None
        }
    }
}
