//! The switch: everything from a received frame to a sent one.
//!
//! ```text
//!   control ──snapshot──> publish ──> worker <──frames──> port ──> AF_XDP
//!      ^                                │ parse, admit   (packet, endpoint)
//!      └──counters, events──────────────│ judge          (connection, policy)
//!                                       └ forward        (packet::rewrite, handoff)
//! ```
//!
//! In reading order: [`worker`] is the packet path; [`packet`] reads and writes bytes;
//! [`endpoint`] knows who is where; [`connection`] remembers; [`policy`] decides; [`frame`] and
//! [`port`] move memory to and from the kernel; [`handoff`] and [`publish`] are how workers and
//! control meet; [`runtime`] is the switch as control holds it.
//!
//! Invariants: a frame is in exactly one place; every packet ends sent, answered, handed over or
//! in one [`counters::DropReason`]; a connection has one writer; a batch is judged under one
//! snapshot; what no socket takes is dropped by the pinned XDP program.
//!
//! Not here: Kubernetes, files, logs, metrics' format, netlink. They are in `control`.

#![deny(unsafe_code)]

mod block;
pub mod clock;
pub mod compiler;
pub mod connection;
pub mod counters;
pub mod doorbell;
pub mod endpoint;
pub mod event;
pub(crate) mod fair;
pub mod frame;
pub mod handoff;
pub mod ids;
pub mod limits;
pub mod packet;
pub mod policy;
pub mod port;
mod prefetch;
pub mod publish;
pub mod runtime;
pub mod seat;
pub mod service;
pub mod successor;
mod sync;
pub mod worker;
