//! Load and baselines for Lockgate's benches.

#![forbid(unsafe_code)]

pub mod bare;
