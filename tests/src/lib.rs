//! Lockgate's tests: what they share.
//!
//! `oracle` judges Kubernetes objects by their text; `worlds` makes such objects up; `cases`
//! reads the folders of `tests/cases`; `lab` builds a node of network namespaces; `panics` walks
//! the release binary's disassembly.

#![deny(unsafe_code)]

pub mod cases;
pub mod lab;
pub mod oracle;
pub mod panics;
pub mod worlds;
