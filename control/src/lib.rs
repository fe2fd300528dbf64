//! The node agent: manifests and cluster objects in, snapshots and metrics out.
//!
//! ```text
//! directory: text -> manifest -> inventory -> resolve -> [Ruleset] -> dataplane's compile
//! API server: watch -> cluster ----^  |                                    |
//!                                  explain                               matrix
//! ```
//!
//! Everything on this picture is pure but `manifest::read_dir`, which reads a directory once, and
//! `watch`, which asks the API server. `run` joins them; `attachments` has what a container runtime
//! attached, `outfit` what the node is given.

#![forbid(unsafe_code)]
// A problem says a lot and is told to people; nothing hot returns one.
#![allow(clippy::result_large_err)]

pub mod applied;
pub mod args;
pub mod ask;
pub mod attach;
pub mod attachments;
pub mod cluster;
pub mod cni;
pub mod dataplane;
pub mod explain;
pub mod expression;
#[cfg(test)]
mod fake;
pub mod files;
pub mod handover;
pub mod host;
pub mod http;
pub mod interfaces;
pub mod inventory;
pub mod last_good;
pub mod lint;
pub mod lock;
pub mod log;
pub mod manifest;
pub mod matrix;
pub mod metrics;
pub mod offline;
pub mod outfit;
pub mod paths;
pub mod policy;
pub mod ports;
pub mod preflight;
pub mod privileges;
pub mod proc_sys;
pub mod report;
pub mod resolve;
pub mod resolver;
pub mod run;
#[cfg(test)]
mod sample;
pub mod selector;
pub mod services;
pub mod settings;
pub mod show;
pub mod socket;
pub mod source;
pub mod survivors;
pub mod switch;
pub mod sync;
pub mod sysdump;
pub mod uninstall;
pub mod validate;
pub mod watch;
pub mod watch_dir;
