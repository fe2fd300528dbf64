//! The host port: found or made at start, and made anew when its interface vanishes.

use lockgate_dataplane::endpoint::HostPort;
use tracing::{info, warn};

use super::{Ports, Round, again, refusal, still_fits};
use crate::attach::Probed;
use crate::dataplane::Dataplane;
use crate::interfaces::Interfaces;

/// Under which name it stands why there is no host port: no interface can have it, so that a pod
/// which names the host port's interface is told of apart.
pub(super) const REFUSED: &str = "(host port)";

/// The host port.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its interface.
    pub probed: Probed,
    /// Its place.
    pub place: HostPort,
}

impl Ports {
    /// The host port.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Takes the host port's interface, found or made, into service.
    ///
    /// # Errors
    /// Where the switch gives it no port.
    pub fn add_host<D: Dataplane>(
        &mut self,
        probed: Probed,
        dataplane: &mut D,
    ) -> Result<(), D::Error> {
        let added = dataplane.add_host_port(&probed)?;
        let (port, mac, mtu) = (added.port, probed.mac, probed.mtu);
        info!(interface = %probed.interface, port = port.0, %mac, mtu, "host port added");
        let place = HostPort { port, slots: added.slots, mac, mtu };
        self.host = Some(Host { probed, place });
        Ok(())
    }

    /// Makes the host port anew where its interface has gone.
    pub(super) async fn keep_host<I: Interfaces, D: Dataplane>(
        &mut self,
        round: &mut Round<'_, I, D>,
        closely: bool,
    ) {
        let Some(plan) = &round.node.host else { return };
        let name = plan.interface.as_str();
        if let Some(mut host) = self.host.take() {
            let queues = u32::from(round.node.workers);
            if still_fits(&mut host.probed, queues, None, round, closely).await {
                (host.place.mac, host.place.mtu) = (host.probed.mac, host.probed.mtu);
                self.host = Some(host);
                return;
            }
            warn!(interface = name, port = host.place.port.0, "the host port leaves");
            self.leaving.add(name, host.place.port, host.probed.ifindex);
        }
        let ifindex = round.links.get(name).map_or(0, |link| link.index);
        if self.leaving.has(name, ifindex) {
            return;
        }
        let added = match round.interfaces.host_port(plan, round.node.workers).await {
            Ok(probed) => {
                self.add_host(probed, round.dataplane).map_err(|error| again(error.to_string()))
            }
            Err(error) => Err(refusal(&error)),
        };
        self.note(REFUSED, "lockgate", "host_port", "the host port is not attached", added);
    }
}
