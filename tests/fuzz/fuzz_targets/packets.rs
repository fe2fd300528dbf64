//! One frame: the bytes themselves, or a packet of some sort damaged as the bytes choose.
//!
//! The parser never panics, reads what etherparse reads where both accept, stays inside the frame
//! and takes no part of a packet for a packet; what is rewritten and answered is valid and inside.
//!
//! `CAPTURE=FILE` keeps the frames of an input.

#![no_main]
#![allow(missing_docs)]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lockgate_tests::captures;
use lockgate_tests::frames::{Frames, hold, resum};
use lockgate_tests::shop::{CLUSTER, scene};
use lockgate_tests::world::{Shape, World};
use lockgate_tests::worlds::Choices;

static FRAMES: LazyLock<Frames> =
    LazyLock::new(|| Frames::of(&scene(&World::of(Shape::default(), CLUSTER))));

fuzz_target!(|bytes: &[u8]| {
    let Some((mode, rest)) = bytes.split_first() else { return };
    let frames = if mode % 2 == 0 {
        let mut right = rest.to_vec();
        resum(&mut right);
        vec![rest.to_vec(), right]
    } else {
        vec![FRAMES.damaged(&mut Choices::from_bytes(rest))]
    };
    captures::keep(&frames);
    for frame in &frames {
        hold(frame);
    }
});
