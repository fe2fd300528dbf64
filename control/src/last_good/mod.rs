//! What the API server last said, kept on this machine for a start that it does not answer.
//!
//! ```text
//!   Heard --> Keeper --(its thread)--> Log --> a file, before what was heard is in force
//!   a start without an API server: the file --> read --> a Cluster that is enforced until
//!                                                        everything was read anew (NP-58)
//! ```
//!
//! A change is written before it is in force: what a predecessor denied, its successor does not
//! admit. Only what is kept in memory is written, never an object as the API server has it, so no
//! environment, no Secret and no token is in it. Nothing is flushed to a disk: what is kept must
//! outlive an agent and no start of the machine, after which pods have other addresses. A file of
//! another start, node or version, and one that is damaged or not whole, is refused by name, and
//! everything is denied until the API server answers. Where the file cannot be written it is removed:
//! rather nothing than what no longer holds.

mod entry;
mod keeper;
mod log;
mod read;
mod recall;
mod store;

#[cfg(test)]
mod tests;

pub use entry::Stamp;
pub use keeper::{Keeper, Kept};
pub use read::{Recalled, Refused, read};
pub use recall::LastGood;

use std::time::Duration;

/// How long a start waits for the API server before it goes by what is kept.
pub const PATIENCE: Duration = Duration::from_secs(2);
