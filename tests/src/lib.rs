//! What the tests share: the lab of network namespaces.

pub mod lab;
