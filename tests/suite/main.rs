//! One binary for all tests that need no root.

// Functions that only tests call fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]

mod allocation;
mod captures;
mod cases;
mod definitions;
mod deploy;
mod evasion;
mod fragments;
mod frames;
mod incremental;
mod lint;
mod memory;
mod properties;
mod scale;
mod seeds;
mod semantics;
mod simulation;
mod staged;
mod threats;
mod tidy;
mod tiers;

#[global_allocator]
static ALLOCATOR: lockgate_tests::allocator::Counting = lockgate_tests::allocator::Counting;
