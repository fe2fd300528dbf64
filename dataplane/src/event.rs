//! What control is told about single packets: denials, sampled. Hot path.
//!
//! A bounded ring per worker, written by the worker, drained by control. When it is full the
//! sample is counted as lost: samples never slow a packet down.

use crossbeam::queue::ArrayQueue;

use crate::clock::Tick;
use crate::counters::DropReason;
use crate::ids::{EndpointId, Generation};
use crate::packet::FlowKey;

/// Samples that wait for control.
pub const EVENTS_WAITING: usize = 256;

/// Samples that one turn may give, so that a flood of denied packets leaves room for others.
pub const EVENTS_PER_TURN: usize = 2;

/// A denied packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// When.
    pub at: Tick,
    /// The flow that was judged: the direction that would open, or did open, the connection.
    pub key: FlowKey,
    /// `EgressDenied` or `IngressDenied`.
    pub reason: DropReason,
    /// The pod that would open the connection, if it is on this node.
    pub source: Option<EndpointId>,
    /// The pod it would be opened to, if it is on this node.
    pub target: Option<EndpointId>,
    /// The snapshot under which it was denied.
    pub generation: Generation,
}

/// Samples on their way to control.
pub type Events = ArrayQueue<Denied>;

/// A ring of [`EVENTS_WAITING`] places.
#[must_use]
pub fn events() -> Events {
    ArrayQueue::new(EVENTS_WAITING)
}
