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

pub mod explain;
pub mod inventory;
pub mod manifest;
pub mod matrix;
pub mod resolve;
pub mod selector;
pub mod validate;
