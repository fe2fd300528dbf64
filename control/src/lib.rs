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
// A problem says a lot and is told to people; nothing hot returns one.
#![allow(clippy::result_large_err)]

pub mod explain;
pub mod inventory;
pub mod manifest;
pub mod matrix;
pub mod resolve;
#[cfg(test)]
mod sample;
pub mod selector;
pub mod validate;
