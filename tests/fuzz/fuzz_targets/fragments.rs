//! Fragments of many datagrams from a few ports, as time passes: the table as its model.
//!
//! A datagram is judged by its first; what overlaps or contradicts spoils it; nothing waits beyond
//! what a port and a worker may have; everything held is given back in time.

#![no_main]
#![allow(clippy::cast_possible_truncation, missing_docs)]

use libfuzzer_sys::fuzz_target;
use lockgate_dataplane::packet::parse::Fragment;
use lockgate_tests::fragments::{Coming, OUTSIDE, Twin};
use lockgate_tests::worlds::Choices;

/// Steps of one input, and fragments of one step.
const STEPS_MAX: usize = 200;
const ROW_MAX: usize = 160;
const PORTS: usize = 40;

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::from_bytes(bytes);
    let mut twin = Twin::default();
    for _ in 0..STEPS_MAX.min(bytes.len() / 4) {
        match choices.below(8) {
            // One fragment of one of a few datagrams: they meet.
            0..=4 => {
                let identification = choices.below(6) as u32;
                let (offset, units) = (choices.below(12) as u16, 1 + choices.below(4) as u16);
                twin.come(coming(&mut choices, identification, (offset, units)));
            }
            // Many of one datagram, or one each of many: there is a bound to both.
            5 => {
                let template = coming(&mut choices, 0, (1, 1));
                let (first, step) = (choices.below(256) as u32, choices.below(2) as u32);
                for at in 0..choices.below(ROW_MAX) as u16 {
                    let offset = if step == 0 { 8 * (at + 1) } else { 8 };
                    let identification = 1000 + first * 256 + step * u32::from(at);
                    let end = offset + 8;
                    let fragment = Fragment { identification, offset, end, ..template.fragment };
                    twin.come(Coming { fragment, ..template });
                }
            }
            // As far as a datagram goes.
            6 => {
                let offset = 8 * (8191 - choices.below(4) as u16);
                let fragment = coming(&mut choices, 0, (0, 1)).fragment;
                let (port, end) = (port(&mut choices), offset + 7);
                let fragment = Fragment { offset, end, more: false, ..fragment };
                twin.come(Coming { port, fragment, passes: true });
            }
            _ => {
                let ms = choices.pick(&[1, 5_000, 14_999, 15_000]);
                twin.pass(ms, choices.below(4));
            }
        }
    }
    twin.finish();
});

/// Every other one is from outside.
fn port(choices: &mut Choices) -> u16 {
    let any = choices.below(PORTS) as u16;
    any / 2 + any % 2 * OUTSIDE
}

/// A fragment at so many units of eight bytes, of so many.
fn coming(choices: &mut Choices, identification: u32, (offset, units): (u16, u16)) -> Coming {
    let (port, passes) = (port(choices), !choices.chance(20));
    let (more, odd) = if choices.chance(30) { (false, choices.below(8) as u16) } else { (true, 0) };
    let end = (offset + units) * 8 - odd;
    let says = offset == 0 && more && choices.chance(30);
    let udp_end = if says { choices.below(64) as u16 } else { 0 };
    let fragment = Fragment { identification, offset: offset * 8, end, more, udp_end };
    Coming { port, passes, fragment }
}
