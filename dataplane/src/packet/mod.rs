//! Packets: bytes in, headers out; and back.
//!
//! `parse` reads (hot), `flow` names what was read (hot), `rewrite` changes what is forwarded
//! (hot), `answer` makes the packets that the switch itself sends (cold).

pub mod flow;

pub use flow::{Address, FlowKey, Protocol};
