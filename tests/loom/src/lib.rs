//! The dataplane's meeting points of threads, with types that a model checker sees into.
//!
//! `publish.rs`, `handoff.rs` and `doorbell.rs` are the product's own files, included as they are;
//! what they name in `crate::sync` is the checker's here (`sync.rs`), and bounds and tables are as
//! small as they can be, so that every order of events is tried. The models are in
//! `tests/loom/tests/`.

#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports)] // the files have more than the models use

mod sync;

#[path = "../../../dataplane/src/counters.rs"]
pub mod counters;
#[path = "../../../dataplane/src/doorbell.rs"]
pub mod doorbell;
#[path = "../../../dataplane/src/handoff.rs"]
pub mod handoff;
#[path = "../../../dataplane/src/ids.rs"]
pub mod ids;
#[path = "../../../dataplane/src/publish.rs"]
pub mod publish;

/// Bounds so small that a ring is soon full.
pub mod limits {
    /// Packets of one parcel.
    pub const BATCH_MAX: usize = 2;
    /// Packet bytes of one parcel.
    pub const PARCEL_BYTES: usize = 8;
    /// Parcels that circulate.
    pub const PARCELS_PER_PAIR: usize = 2;
    /// Ports of one worker.
    pub const PORTS_MAX: usize = 2;
    /// Workers of one switch.
    pub const WORKERS_MAX: usize = 16;
}

/// What an errand has of connections.
pub mod connection {
    /// Datagrams in pieces.
    pub mod fragment {
        /// Nothing: the models look at the rings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Flow;
    }
}

/// What a snapshot has of endpoints.
pub mod endpoint {
    /// Nothing: the models look at the policy.
    #[derive(Debug)]
    pub struct Endpoints;
}

/// What a snapshot has of policy.
pub mod policy {
    /// The compiled policy.
    pub mod table {
        use loom::cell::UnsafeCell;
        use loom::thread::{self, ThreadId};

        /// A table that knows who may free it, and that the checker sees read and freed.
        #[derive(Debug)]
        pub struct PolicyTable {
            bytes: UnsafeCell<()>,
            owner: ThreadId,
        }

        impl PolicyTable {
            /// A table that only this thread may free.
            #[must_use]
            pub fn of_this_thread() -> Self {
                Self { bytes: UnsafeCell::new(()), owner: thread::current().id() }
            }

            /// Reads it, as a worker does for each packet.
            pub fn read(&self) {
                self.bytes.with(|_| ());
            }
        }

        impl Drop for PolicyTable {
            fn drop(&mut self) {
                self.bytes.with_mut(|_| ());
                assert_eq!(thread::current().id(), self.owner, "a worker freed a snapshot");
            }
        }
    }
}

pub use sync::Arc;
