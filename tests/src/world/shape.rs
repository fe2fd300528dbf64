//! How a simulated node is made.

use lockgate_dataplane::endpoint::OwnNode;
use lockgate_dataplane::worker::{Denial, Established};

/// How a world is made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Workers, at least 1.
    pub workers: u8,
    /// Frames of each.
    pub frames: u32,
    /// Connections of each.
    pub connections: usize,
    /// MTU of every port.
    pub mtu: u16,
    /// What a policy change does to established connections.
    pub established: Established,
    /// What the sender of a denied packet hears.
    pub denial: Denial,
    /// Which pods are on this node.
    pub local: Local,
    /// Whether what the node sends to them is judged.
    pub own_node: OwnNode,
}

/// Which living pods are on a simulated node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// Those bound to an interface, as on a real node.
    Bound,
    /// Every one, bound to an interface or not.
    Every,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            workers: 1,
            frames: 4096,
            connections: 4096,
            mtu: 1500,
            established: Established::Recheck,
            denial: Denial::Drop,
            local: Local::Bound,
            own_node: OwnNode::Exempt,
        }
    }
}
