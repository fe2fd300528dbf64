//! What the tests share: the lab of network namespaces, the walk for panics.

pub mod lab;
pub mod panics;
