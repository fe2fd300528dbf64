//! What passes between the worker and its fragments. Hot path.

use std::num::NonZeroU32;

use crate::counters::DropReason;
use crate::frame::Frame;
use crate::ids::PortRef;
use crate::packet::{FlowKey, Headers, Protocol};

/// A datagram under way, by its place and serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(super) place: u16,
    pub(super) serial: NonZeroU32,
}

/// What is to be done with a fragment that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is judged, under the flow that its first fragment has, and
    /// [`Fragments::judged`](super::Fragments::judged) is told.
    Judge(Ticket, Flow),
    /// It waits: the frame goes to [`Fragments::wait`](super::Fragments::wait).
    Wait(Ticket),
    /// It is dropped.
    Drop(DropReason),
}

/// What a first fragment says of its datagram, beside the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The source port, or the echo identifier, or 0.
    pub source_port: u16,
    /// The target port, or the echo identifier, or 0.
    pub target_port: u16,
    /// The protocol number.
    pub number: u8,
    /// The same as policy sees it.
    pub protocol: Protocol,
}

impl Flow {
    /// What a packet with this key says.
    #[must_use]
    pub fn of(key: &FlowKey) -> Self {
        let FlowKey { source_port, target_port, number, protocol, .. } = *key;
        Self { source_port, target_port, number, protocol }
    }

    /// Gives a later fragment the flow of its first.
    #[inline]
    pub fn write(self, key: &mut FlowKey) {
        let Self { source_port, target_port, number, protocol } = self;
        *key = FlowKey { source_port, target_port, number, protocol, ..*key };
    }
}

/// A frame that waited, or that need not wait any more.
#[derive(Debug)]
pub struct Waited {
    /// The fragment.
    pub frame: Frame,
    /// Where it came in.
    pub from: PortRef,
    /// Whether it was for a Service, and was translated where it came in.
    pub translated: bool,
    /// What was read of it.
    pub headers: Headers,
}
