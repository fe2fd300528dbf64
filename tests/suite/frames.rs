//! Packets of every sort, whole, damaged and made of nothing: all that must be true of any frame.
//!
//! What `tests/fuzz` looks for without end, for a moment in every run.

use lockgate_tests::frames::{Frames, hold, resum, sorts};
use lockgate_tests::packets;
use lockgate_tests::shop::{CLUSTER, scene};
use lockgate_tests::world::World;
use lockgate_tests::worlds::Choices;
use proptest::prelude::*;

use crate::simulation::shape;

fn scene_of_shop() -> lockgate_tests::corpus::Scene {
    scene(&World::of(shape(1), CLUSTER))
}

#[test]
fn both_read_every_sample() {
    for (name, bytes) in sorts(&scene_of_shop()) {
        assert_eq!(hold(&bytes), name != "ARP", "{name}");
    }
}

#[test]
fn all_that_holds_of_any_frame_holds_of_the_corpus() {
    let frames = Frames::of(&scene_of_shop());
    let read = frames.all().iter().filter(|frame| hold(frame)).count();
    assert!(read > 50, "only {read} were read by both");
}

/// A few changed bytes, most of them in the headers.
fn edits() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((prop_oneof![4 => 12..64_usize, 1 => 0..200_usize], any::<u8>()), 0..4)
}

#[test]
fn a_mutated_packet_is_read_alike_by_both_or_dropped() {
    let frames = Frames::of(&scene_of_shop());
    let mut read = 0;
    for seed in 0..20_000 {
        read += u32::from(hold(&frames.damaged(&mut Choices::from_seed(seed))));
    }
    assert!(read > 1000, "only {read} were read by both");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn an_edited_packet_is_read_alike_by_both_or_dropped(
        edits in edits(),
        length in prop::option::of(0..120_usize),
        padding in 0..20_usize,
    ) {
        thread_local!(static SORTS: Vec<(String, Vec<u8>)> = sorts(&scene_of_shop()));
        for (_, mut bytes) in SORTS.with(Clone::clone) {
            bytes.resize(bytes.len() + padding, 0);
            for &(at, value) in &edits {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(length.unwrap_or(usize::MAX));
            hold(&bytes);
            resum(&mut bytes);
            hold(&bytes);
        }
    }

    #[test]
    fn any_chain_of_next_headers_is_read_alike_by_both_or_dropped(
        first: u8,
        chain in prop::collection::vec(
            (prop_oneof![Just(60_u8), Just(0), Just(17), Just(6), Just(51), any::<u8>()], 0..3_u8),
            0..6,
        ),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        thread_local!(static ENDS: packets::Ends = scene_of_shop().v6());
        let mut payload = Vec::new();
        for (number, units) in chain {
            payload.extend([number, units]);
            payload.extend([1, 4 + units * 8]);
            payload.resize(payload.len() + 4 + usize::from(units) * 8, 0);
        }
        payload.extend(tail);
        for first in [first, 0, 60] {
            hold(&packets::ip(ENDS.with(|ends| *ends), first, &payload));
        }
    }

    #[test]
    fn random_bytes_do_not_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in prop::sample::select(vec![0x45_u8, 0x46, 0x60]),
    ) {
        hold(&bytes);
        for ether_type in [0x0800_u16, 0x86dd, 0x0806] {
            if bytes.len() > 14 {
                bytes[12..14].copy_from_slice(&ether_type.to_be_bytes());
                bytes[14] = version;
            }
            hold(&bytes);
            resum(&mut bytes);
            hold(&bytes);
        }
    }
}
