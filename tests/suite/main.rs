//! One binary for all tests that need no root.

mod allocation;
mod cases;
mod product;
mod properties;
mod simulation;
mod tidy;

#[global_allocator]
static ALLOCATOR: lockgate_tests::allocator::Counting = lockgate_tests::allocator::Counting;
