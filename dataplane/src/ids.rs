//! Names of things, as types: nothing here is a bare number.
//!
//! `PortId` and `EndpointId` are never used twice in one process (house D12), so that a stale
//! name finds nothing instead of somebody else. `PortSlot` is a place in a worker's array: it is
//! used again, and is therefore always checked against the `PortId` found there.

/// A pod as policy and connections know it. Never reused in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

impl EndpointId {
    /// Stands for the node where somebody must be named: no pod has it before 2^32 have been made.
    pub const NODE: Self = Self(u32::MAX);
}

/// One socket binding: a pod's interface, or the host port. Never reused in a process.
///
/// The order of ports decides who owns a connection: the worker of the lower id (house D3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u32);

/// A worker: one core, its ports, its connections. Below [`crate::limits::WORKERS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u8);

impl WorkerId {
    /// The worker's place in per-worker arrays.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A place in a worker's port array. Below [`crate::limits::PORTS_MAX`]; reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSlot(pub u16);

impl PortSlot {
    /// The slot's place in the worker's port array.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Where a port is: who polls it, in which slot, and the id that must be found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRef {
    /// The port.
    pub port: PortId,
    /// The worker that polls it.
    pub worker: WorkerId,
    /// Its place with that worker.
    pub slot: PortSlot,
}

/// The number of the rules in force. Moves only when some verdict can have changed (house D13):
/// a cached verdict is used only while its epoch is the snapshot's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// The number of a published snapshot. Moves with every publication, rules changed or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}
