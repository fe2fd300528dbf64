//! Measurements: the ends that make and count traffic, and the contenders.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::process::ExitCode;

pub mod bare;
pub mod contender;
pub mod traffic;

/// What the `main` of a bench does: its table on standard output, or why there is none.
#[allow(clippy::print_stdout)] // a bench's only output
pub fn tell<E: Display>(bench: &str, table: Result<String, E>) -> ExitCode {
    match table {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{bench}: {error}");
            ExitCode::FAILURE
        }
    }
}
