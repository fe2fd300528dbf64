//! Policy: what people meant, and the tables that packets are judged by.
//!
//! `ruleset` is the meaning: policies over resolved sets of addresses. `judge` answers questions
//! to it by reading every rule (cold, the obvious twin). `compile` turns it into a `table` (cold),
//! which answers the same questions in two cells (hot), with `ports` for the last step. `tally`
//! counts its verdicts, so that control can tell which policy denies. `asked` has the numbers by which
//! addresses and pods are known to a table, `tier` the order in which policies are asked.

mod asked;
pub mod compile;
pub mod delta;
pub mod judge;
mod ports;
pub mod ruleset;
mod shared;
pub mod table;
mod tally;
mod tier;

pub use compile::kept::{Counted, Kept, Out, Resident, Update};
pub use compile::{Classes, Compiled, compile};
pub use table::{Audit, ClassId, Decision, PolicySetId, PolicyTable, Query, Sets, VerdictId};
