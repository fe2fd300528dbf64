//! What is in force, told to the cluster: where an operator asks whether a policy is applied, every
//! node has answered already.
//!
//! ```text
//!   Sync --InForce--> report --newest only--> writer --> LockgateNode (its status)
//!     `----problems-------------------------> poster --> Event on the policy
//!
//!   lockgate status --cluster: LockgateNodes, Nodes, the policy --> question --> text or JSON
//! ```
//!
//! The agent's loop composes and goes on; tasks of their own talk to the API server, each with the
//! newest report only. A server that fails or hangs delays what is told, and nothing else.

mod answer;
mod event;
mod in_force;
mod node;
mod pace;
mod poster;
mod question;
mod report;
mod reporter;
mod time;
mod trouble;
mod writer;

pub use answer::{Answer, NodeAnswer, Standing};
pub use in_force::{InForce, Times, Versions};
pub use node::{
    EnforcementTimes, LockgateNode, LockgateNodeStatus, NodeCondition, ObjectError, ResourceStatus,
    definition,
};
pub use question::{PolicyName, QuestionError, ask};
pub use reporter::Reporter;
