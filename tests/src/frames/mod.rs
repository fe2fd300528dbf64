//! What must be true of any frame whatever: what reads it, and what is written in its place.
//!
//! In reading order: `parser` sets our parser beside etherparse, `changes` reads again what the
//! switch made of a packet, `sorts` and `mutate` make frames. The suite tries all of it on packets
//! of every sort and on captures, `tests/fuzz` on whatever libFuzzer thinks of.

// What does not hold fails by panicking: the input that shows it is what is looked for.
#![allow(clippy::panic, clippy::missing_panics_doc)]
// Whether both read a frame is of use to who counts; all others ask only that nothing fails.
#![allow(clippy::must_use_candidate)]

pub mod changes;
mod mutate;
pub mod parser;
mod sorts;

pub use mutate::{Frames, resum};
pub use sorts::sorts;

/// All that must be true of a frame; says whether both parsers read it.
pub fn hold(bytes: &[u8]) -> bool {
    let is_read_by_both = parser::agree(bytes);
    parser::stays_inside(bytes);
    parser::no_part_is_read(bytes);
    changes::hold(bytes);
    is_read_by_both
}
