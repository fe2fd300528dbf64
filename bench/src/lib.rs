//! Measurements: the ends that make and count traffic, and the contenders.

pub mod traffic;
