//! Lockgate's tests: what they share.
//!
//! `oracle` judges Kubernetes objects by their text; `worlds` makes such objects up; `cases`
//! reads the folders of `tests/cases`.

pub mod cases;
pub mod oracle;
pub mod worlds;
