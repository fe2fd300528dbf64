//! A packet's way through the switch: who are its ends, where it leaves. Hot path.

use super::mailbox::PortKind;
use crate::connection::Holder;
use crate::endpoint::OwnNode;
use crate::ids::{EndpointId, Mac, PortRef, WorkerId};
use crate::policy::table::{ClassId, Sets};
use crate::seat::Seat;

/// One end of a packet, as policy and connections see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    /// The local pod; `None` for everyone else.
    pub endpoint: Option<EndpointId>,
    /// What rules see of its address.
    pub class: ClassId,
    /// The policies that judge it; none for everyone who is not a local pod.
    pub sets: Sets,
    /// It is this node itself, seen on the host port (NP-40), and whether it is judged.
    pub node: Option<OwnNode>,
}

/// Where a packet leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    /// The port.
    pub to: PortRef,
    /// Who is at its far end.
    pub mac: Mac,
    /// The longest IP packet that it takes, in bytes.
    pub mtu: u16,
}

/// A packet's way through the switch, and who are its ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    /// Where it came in.
    pub from: PortRef,
    /// What becomes of its checksums.
    pub checksums: Checksums,
    /// Who sent it.
    pub source: Side,
    /// Whom it is for.
    pub target: Side,
    /// Where it would leave.
    pub exit: Exit,
    /// Who owns its connection.
    pub owner: WorkerId,
    /// Whether a Service was asked.
    pub asked: Asked,
}

/// Whether a packet is for a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is for whom it says.
    Plain,
    /// It is a part of a datagram for a Service, and has yet to be translated.
    Service,
    /// It was, until the worker that received it has translated it.
    Translated,
    /// It answers the switch, which asked in the name of a client: a pod, where it asked a Service and
    /// is its backend; or who is elsewhere. It opens nothing.
    Own,
}

/// Where a packet came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entrance {
    /// The port.
    pub from: PortRef,
    /// What hangs on it.
    pub kind: PortKind,
    /// Whether the worker of that port has translated it.
    pub asked: Asked,
}

impl Route {
    /// Who translates the replies, where a Service was asked.
    #[inline]
    pub(super) fn translator(&self) -> Option<WorkerId> {
        (self.asked == Asked::Translated).then_some(self.from.worker)
    }

    /// Whom a connection would count for that opens this way: one of the two ends is a pod here, or it
    /// is the node's, from the host port and out of it again. What
    /// the node asks of a pod is asked as if the pod asked it: no flood from outside may take the
    /// place of its probes.
    #[inline]
    pub(super) fn holder(&self) -> Holder {
        match (self.source.endpoint, self.target.endpoint) {
            (Some(endpoint), _) => Holder { endpoint, seat: Seat::of(self.from), opens: true },
            (None, endpoint) => {
                let endpoint = endpoint.unwrap_or(EndpointId::NODE);
                Holder { endpoint, seat: Seat::of(self.exit.to), opens: self.source.node.is_some() }
            }
        }
    }
}

/// What becomes of a packet's checksums when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksums {
    /// A pod's are always computed: it may have left them to hardware that is not there.
    Finish,
    /// The host's are where they are not yet.
    FinishIfUnfinished,
    /// A part of a datagram has none, or one of bytes that are not all there. Whoever took it apart
    /// has finished it before.
    Leave,
}
