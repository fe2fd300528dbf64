//! The lab: a node of network namespaces, made from a directory of manifests.
//!
//! ```text
//!   lg-fme-web        lg-node                          lg-outside
//!  +-----------+     +-------------------------+      +------------------------+
//!  | eth0 -----+-----+- web0    the switch     |      | the node's stack, and  |
//!  +-----------+     |         (AF_XDP on each |      | the world behind it:   |
//!   lg-fme-core      |          interface)  .--+------+- far end of host port  |
//!  +-----------+     |                      |  |      | addresses on lo        |
//!  | eth0 -----+-----+- core0            host  |      +------------------------+
//!  +-----------+     +-------------------------+
//! ```
//!
//! A pod has a /32 (a /128) and a default route to 169.254.1.1 (`fe80::1`), as the switch expects.
//! Everything bears one prefix (`lg` unless told), so two labs can stand side by side, and
//! [`remove`] takes a lab away by name alone: after a normal end, a failure, a panic, a signal,
//! or a kill that left it behind.
//!
//! Nothing here judges packets: [`probe`] says what was seen, its caller what was expected.

pub mod bulk;
pub mod demo;
pub mod duplex;
pub mod error;
pub mod flood;
pub mod http;
pub mod leftovers;
pub mod manifests;
pub mod namespace;
pub mod node;
pub mod probe;
pub mod seat;
pub mod serve;
pub mod server;
pub mod signals;
pub mod sniffer;
pub mod steady;
pub mod stream;
pub mod switch;
pub mod table;

pub use error::LabError;
pub use leftovers::remove;
pub use namespace::Namespace;
pub use node::{Lab, Place, Shape};
