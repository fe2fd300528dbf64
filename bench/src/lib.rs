//! Measurements: the ends that make and count traffic, and the contenders.

#![forbid(unsafe_code)]

pub mod bare;
pub mod contender;
pub mod traffic;
