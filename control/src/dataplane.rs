//! The switch as the agent sees it: a narrow trait, so that `sync` is tested without packets.
//!
//! What is above it names pods and rules; what is below it names sockets and tables.

use std::sync::Arc;

use lockgate_dataplane::counters::{Counters, PortCounters};
use lockgate_dataplane::ids::{EndpointId, Epoch, Generation, Mac, PortId, PortRef, PortSlot};
use lockgate_dataplane::packet::FlowKey;
use lockgate_dataplane::policy::ruleset::{Direction, Ruleset};

use crate::attach::Probed;

/// What becomes of an interface whose port is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detach {
    /// The pinned program stays and drops.
    Leave,
    /// The program is taken off: the interface is given back.
    Detach,
}

/// A pod's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The pod.
    pub endpoint: EndpointId,
    /// Its port.
    pub at: PortRef,
    /// The pod's MAC.
    pub mac: Mac,
    /// The interface's MTU, in bytes.
    pub mtu: u16,
}

/// The host port's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlace {
    /// The port.
    pub port: PortId,
    /// Its slot with each worker, by worker.
    pub slots: Vec<PortSlot>,
    /// The MAC of its far end.
    pub mac: Mac,
    /// Its MTU, in bytes.
    pub mtu: u16,
}

/// Who is where on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The pods that have a port.
    pub attachments: Vec<Attachment>,
    /// The host port, where there is one.
    pub host: Option<HostPlace>,
    /// Addresses of this node.
    pub node_addresses: Vec<std::net::IpAddr>,
}

/// A port's cells, for metrics.
#[derive(Clone, Debug)]
pub struct PortSeen {
    /// The port.
    pub port: PortId,
    /// Its interface.
    pub interface: String,
    /// Its workers; one, or all for the host port.
    pub workers: Vec<u8>,
    /// Its cells, one set for each worker.
    pub counters: Vec<Arc<PortCounters>>,
}

/// Every field of the kernel's `xdp_statistics`, over all sockets of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SocketStatistics {
    /// Received and dropped for other reasons than a full ring.
    pub rx_dropped: u64,
    /// Dropped for an invalid descriptor in the fill ring.
    pub rx_invalid_descs: u64,
    /// Not sent for an invalid descriptor in the transmit ring.
    pub tx_invalid_descs: u64,
    /// Dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// Times the fill ring was empty.
    pub rx_fill_ring_empty_descs: u64,
    /// Times the transmit ring was empty.
    pub tx_ring_empty_descs: u64,
}

/// A connection, to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionSeen {
    /// The flow that opened it.
    pub opening: FlowKey,
    /// The pod that opened it, if one of this node did.
    pub source: Option<EndpointId>,
    /// The pod it was opened to, if it is on this node.
    pub target: Option<EndpointId>,
    /// The label of its state.
    pub state: &'static str,
    /// The epoch it was last judged under.
    pub epoch: Epoch,
    /// What that judgement was.
    pub allowed: bool,
}

/// A sampled packet that policy denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeniedSeen {
    /// When, in milliseconds since the switch started.
    pub at_ms: u64,
    /// The flow as judged.
    pub key: FlowKey,
    /// Which side denied.
    pub direction: Direction,
    /// The pod that sent it, if one of this node did.
    pub source: Option<EndpointId>,
    /// The pod it was for, if it is on this node.
    pub target: Option<EndpointId>,
    /// The snapshot it was judged under.
    pub generation: Generation,
}

/// What the agent asks of a switch.
pub trait Dataplane {
    /// Why something did not work; the message names what to do.
    type Error: std::error::Error + 'static;

    /// Gives a pod's interface a port.
    ///
    /// # Errors
    /// Where it cannot have one.
    fn add_pod_port(&mut self, at: &Probed) -> Result<PortRef, Self::Error>;

    /// Gives the host port a socket with every worker; the slots are by worker.
    ///
    /// # Errors
    /// Where it cannot have them.
    fn add_host_port(&mut self, at: &Probed) -> Result<(PortId, Vec<PortSlot>), Self::Error>;

    /// Removes a port that no snapshot in force uses.
    ///
    /// # Errors
    /// Where its program or sockets cannot be removed as asked.
    fn remove_port(&mut self, port: PortId, detach: Detach) -> Result<(), Self::Error>;

    /// Compiles and publishes.
    fn publish(&mut self, epoch: Epoch, ruleset: &Ruleset, topology: &Topology) -> Generation;

    /// The newest snapshot that every worker uses.
    fn in_force(&mut self) -> Generation;

    /// The workers' cells, by worker.
    fn counters(&self) -> Vec<Arc<Counters>>;

    /// The labels of `Counters::connections`, in its order.
    fn connection_states(&self) -> Vec<&'static str>;

    /// The ports' cells.
    fn ports(&self) -> Vec<PortSeen>;

    /// What the kernel counted for a port's sockets; `None` where it does not tell.
    fn statistics(&self, port: PortId) -> Option<SocketStatistics>;

    /// At most `limit` connections.
    ///
    /// # Errors
    /// Where a worker does not answer in time.
    fn connections(&mut self, limit: usize) -> Result<Vec<ConnectionSeen>, Self::Error>;

    /// The samples of denied packets since the last call.
    fn denied(&mut self) -> Vec<DeniedSeen>;

    /// Stops the workers, and leaves or takes off all programs.
    ///
    /// # Errors
    /// Where a program cannot be taken off.
    fn stop(self, detach: Detach) -> Result<(), Self::Error>;
}
