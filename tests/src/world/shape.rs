//! How a simulated node is made.

use lockgate_dataplane::worker::Established;

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
    /// Every living pod is on this node, bound to an interface or not.
    pub all_local: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            workers: 1,
            frames: 4096,
            connections: 4096,
            mtu: 1500,
            established: Established::Recheck,
            all_local: false,
        }
    }
}
