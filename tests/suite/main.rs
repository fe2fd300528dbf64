//! One binary for all tests that need no root.

mod cases;
mod properties;
mod tidy;
