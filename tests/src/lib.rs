//! What tests share: builders, worlds, oracles.

pub mod packets;
