//! The switch: everything from a received frame to a sent one.

pub mod clock;
pub mod connection;
pub mod counters;
pub mod ids;
pub mod limits;
pub mod packet;
pub mod policy;
mod prefetch;
