//! Packets: bytes in, headers out; and back.
//!
//! In reading order: `headers` is what can be read in a packet (hot), `flow` names whom it
//! belongs to (hot), `parse` reads (hot), `rewrite` changes what is forwarded (hot), with
//! `checksum` (hot), `translate` gives it other ends (hot); `answer` makes the packets that the switch itself sends (cold).
//!
//! Everything here is a function of bytes: no state, no clock, no allocation, no panic.

mod bytes;
mod headers;

pub mod answer;
pub mod checksum;
pub mod flow;
pub mod parse;
pub mod rewrite;
#[cfg(test)]
mod sample;
pub mod translate;

pub use flow::{Address, FlowKey, Protocol};
pub(crate) use headers::SCTP_INIT;
pub use headers::{Arp, Family, Headers, Kind, Neighbour, Packet, TcpFlags, TcpHeader};
pub use parse::parse;
