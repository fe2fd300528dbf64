//! Measurements: the ends that make and count traffic, the contenders, and made-up clusters.

#![forbid(unsafe_code)]

pub mod bare;
pub mod cluster;
pub mod contender;
pub mod traffic;
