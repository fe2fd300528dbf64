//! One binary for all tests that need no root.

mod cases;
mod product;
mod properties;
