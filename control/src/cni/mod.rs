//! The CNI plugin `lockgate-cni`: how a container runtime attaches pods to the switch.
//!
//! [`protocol`] is what the plugin and the agent say to each other.

pub mod config;
pub mod environment;
pub mod failure;
pub mod names;
pub mod outcome;
pub mod protocol;
pub mod version;
