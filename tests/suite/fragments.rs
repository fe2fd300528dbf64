//! The table of fragments against a model that keeps every byte.

use lockgate_dataplane::packet::parse::Fragment;
use lockgate_tests::fragments::{Coming, Twin};
use proptest::prelude::*;

/// One of a few datagrams of one port: they meet.
fn any_coming() -> impl Strategy<Value = Coming> {
    let place = (0..4_u32, 0..8_u16, 1..4_u16, prop::bool::weighted(0.7));
    (place, prop::bool::weighted(0.8)).prop_map(
        |((identification, offset, units, more), passes)| {
            let (offset, odd) = (offset * 8, if more { 0 } else { 3 });
            let end = offset + units * 8 - odd;
            Coming { port: 0, passes, fragment: Fragment { identification, offset, end, more } }
        },
    )
}

/// The second or a later piece of a datagram.
fn later(port: u16, identification: u32, offset: u16) -> Coming {
    let (end, more) = (offset + 8, true);
    Coming { port, passes: true, fragment: Fragment { identification, offset, end, more } }
}

fn first(port: u16, identification: u32) -> Coming {
    later(port, identification, 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn the_table_does_as_a_model_that_keeps_every_byte(
        steps in prop::collection::vec(any_coming(), 1..60),
    ) {
        let mut twin = Twin::default();
        for coming in steps {
            twin.come(coming);
        }
        twin.finish();
    }
}

#[test]
fn a_port_with_all_that_may_wait_loses_the_oldest_of_which_any_waits() {
    // Datagrams whose firsts have passed have nothing that waits: to lose them makes no room.
    let mut twin = Twin::default();
    for identification in 0..63 {
        twin.come(first(0, identification));
    }
    for at in 1..300 {
        twin.come(later(0, 100, at * 8));
    }
    twin.come(first(0, 100));
    twin.finish();
}

#[test]
fn a_table_with_all_that_may_wait_loses_the_oldest() {
    let mut twin = Twin::default();
    for port in 0..5 {
        for at in 1..128 {
            twin.come(later(port, u32::from(port), at * 8));
        }
    }
    twin.finish();
}
