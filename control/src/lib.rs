//! The node agent: manifests in, snapshots down to the switch, counters and answers out.

#![forbid(unsafe_code)]

pub mod ask;
pub mod attach;
pub mod dataplane;
pub mod http;
pub mod lock;
pub mod log;
pub mod metrics;
pub mod settings;
pub mod socket;
pub mod watch_dir;
