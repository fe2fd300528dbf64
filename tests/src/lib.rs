//! Lockgate's tests: what they share.
//!
//! `oracle` judges Kubernetes objects by their text; `worlds` makes such objects up, and `cluster`
//! many; `cases` reads the folders of `tests/cases`; `world` is a simulated node; `kubernetes` is a real cluster; `lab` makes a node
//! of network namespaces and real sockets; `packets` builds packets, `corpus` those of attackers;
//! `panics` walks the release binary; `allocator` counts. `api` is an API server and what is told of it. `product` is the
//! product in the oracle's words, `agent` its middle from objects to tables, `twins` those tables
//! beside fresh ones. `frames`, `fragments` and `connections` are the parser and the two tables beside
//! models and laws, `watched` is a node all of whose frames are judged, on the pods of `shop`;
//! `captures` keeps frames. They are what `tests/fuzz` and the suite share.

#![deny(unsafe_code)]

pub mod agent;
pub mod allocator;
pub mod api;
pub mod captures;
pub mod cases;
pub mod cluster;
pub mod connections;
pub mod corpus;
pub mod fragments;
pub mod frames;
pub mod kubernetes;
pub mod lab;
pub mod oracle;
pub mod packets;
pub mod panics;
pub mod product;
pub mod scale;
pub mod shop;
pub mod twins;
pub mod watched;
pub mod world;
pub mod worlds;
