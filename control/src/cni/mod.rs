//! The CNI plugin `lockgate-cni`: how a container runtime attaches pods to the switch.
//!
//! ```text
//! runtime --CNI_ variables, configuration--> Plugin --> IPAM plugin: addresses
//!                                              |------> kernel: veth, pod's end
//!         <-------- result, or failure --------'------> agent: port, policy in force
//! ```
//!
//! [`protocol`] is what the plugin and the agent say to each other. [`plugin`] says when an
//! address may be given back, [`record`] how a crash is mended, [`add`] in which order a pod is
//! attached. Nothing here runs in the agent.

pub mod add;
pub mod agent;
pub mod check;
pub mod config;
pub mod environment;
pub mod failure;
pub mod gc;
pub mod install;
pub mod ipam;
pub mod names;
pub mod outcome;
pub mod plugin;
pub mod protocol;
pub mod record;
mod run;
pub mod version;
pub mod wires;

pub use run::{Finished, run};
