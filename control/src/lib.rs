//! The node agent: manifests in, snapshots down to the switch, counters and answers out.

#![forbid(unsafe_code)]

pub mod attach;
pub mod lock;
pub mod log;
pub mod settings;
pub mod watch_dir;
