//! What threads meet by in `publish`, `handoff` and `doorbell`, behind one name: `tests/loom` has
//! the same names for types that its model checker sees into, and includes those files with them.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

pub(crate) use crossbeam::queue::ArrayQueue;
