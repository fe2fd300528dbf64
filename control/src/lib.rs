//! The node agent: manifests and cluster objects in, snapshots and metrics out.
//!
//! ```text
//! text -> manifest -> inventory -> resolve -> [Ruleset] -> dataplane's compile
//!                         |                                    |
//!                      explain                               matrix
//! ```
//!
//! Everything on this picture is pure but `manifest::read_dir`, which reads a directory once.

#![forbid(unsafe_code)]

pub mod ask;
pub mod attach;
pub mod dataplane;
pub mod http;
pub mod lock;
pub mod log;
pub mod manifest;
pub mod metrics;
pub mod selector;
pub mod settings;
pub mod socket;
pub mod watch_dir;
pub mod files;
pub mod ports;
pub mod report;
pub mod sync;
