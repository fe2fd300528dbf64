//! Ports on their way out: each is removed when the first snapshot without it is in force.

use std::collections::BTreeMap;
use std::time::Instant;

use lockgate_dataplane::ids::{Generation, PortId};
use tracing::{info, warn};

use super::{BUDGET, Ports};
use crate::dataplane::Dataplane;

/// Those of all interfaces.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    ports: BTreeMap<String, Port>,
    has_unused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Port {
    id: PortId,
    ifindex: u32,
    /// The first snapshot without it, once there is one.
    without: Option<Generation>,
}

impl Leaving {
    pub(super) fn add(&mut self, name: &str, port: PortId, ifindex: u32) {
        self.ports.insert(name.to_owned(), Port { id: port, ifindex, without: None });
    }

    /// Whether the port of an interface is among them, also under another name.
    pub(super) fn has(&self, name: &str, ifindex: u32) -> bool {
        self.ports.iter().any(|(old, port)| old == name || port.ifindex == ifindex)
    }
}

impl Ports {
    /// A snapshot was published: ports marked before it are not in it.
    pub fn published(&mut self, generation: Generation) {
        for port in self.leaving.ports.values_mut() {
            port.without.get_or_insert(generation);
        }
    }

    /// Whether time ran out before every port was removed that no snapshot uses.
    #[must_use]
    pub fn has_unused(&self) -> bool {
        self.leaving.has_unused
    }

    /// Removes the ports that no snapshot in force uses. True when one was removed. Stops at
    /// [`BUDGET`], see [`Ports::has_unused`].
    pub fn remove_unused<D: Dataplane>(&mut self, in_force: Generation, dataplane: &mut D) -> bool {
        let (mut removed, begun) = (false, Instant::now());
        let mut has_unused = false;
        self.leaving.ports.retain(|interface, leaving| {
            if leaving.without.is_none_or(|without| without > in_force) {
                return true;
            }
            if begun.elapsed() > BUDGET {
                has_unused = true;
                return true;
            }
            match dataplane.remove_port(leaving.id) {
                Ok(()) => info!(interface, port = leaving.id.0, "port removed"),
                Err(error) => warn!(interface, port = leaving.id.0, %error, "port not removed"),
            }
            removed = true;
            false
        });
        self.leaving.has_unused = has_unused;
        removed
    }
}
