//! The table of fragments against a model that keeps every byte.

use lockgate_dataplane::connection::fragment::{PART, PER_PORT, WAITING_PER_PORT};
use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::parse::Fragment;
use lockgate_tests::fragments::{Coming, Fate, OUTSIDE, Twin};
use proptest::prelude::*;

/// One of a few datagrams of one port: they meet.
fn any_coming() -> impl Strategy<Value = Coming> {
    let place = (0..4_u32, 0..8_u16, 1..4_u16, prop::bool::weighted(0.7));
    let says = prop::option::weighted(0.5, prop::sample::select(vec![8_u16, 29, 37, 45, 53, 61]));
    (place, prop::bool::weighted(0.8), says).prop_map(
        |((identification, offset, units, more), passes, says)| {
            let (offset, odd) = (offset * 8, if more { 0 } else { 3 });
            let end = offset + units * 8 - odd;
            let udp_end = says.filter(|_| offset == 0 && more).unwrap_or(0);
            let fragment = Fragment { identification, offset, end, more, udp_end };
            Coming { port: 0, passes, fragment }
        },
    )
}

/// The second or a later piece of a datagram.
fn later(port: u16, identification: u32, offset: u16) -> Coming {
    let (end, more) = (offset + 8, true);
    let fragment = Fragment { identification, offset, end, more, udp_end: 0 };
    Coming { port, passes: true, fragment }
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
fn ports_that_leave_all_places_taken_cost_others_nothing() {
    for twice in [1, 2] {
        let mut twin = Twin::default();
        // Each port has as many datagrams as it may, and as many fragments that wait, over and over.
        for at in 1..128 * twice {
            for port in 0..16 {
                twin.come(later(port, u32::from(port) << 8 | u32::from(at % 64), at * 8));
            }
        }
        for port in 100..120 {
            for at in [3, 2, 1] {
                assert_eq!(twin.come(later(port, u32::from(port) << 8, at * 8)), Fate::Waits);
            }
        }
        for port in 100..120 {
            assert_eq!(twin.come(first(port, u32::from(port) << 8)), Fate::Judged);
        }
        twin.finish();
    }
}

/// All of 1024, datagrams or fragments that wait: twelve ports with 64, and 64 ports with the four that
/// each may have then. The port, and which of its own.
fn all_places() -> impl Iterator<Item = (u16, u16)> {
    let some = |port| if port < 12 { PER_PORT } else { PART };
    (0..76).flat_map(move |port| (0..some(port)).map(move |at| (port, at)))
}

const _: () = assert!(PER_PORT == WAITING_PER_PORT);

/// A datagram of a port.
fn numbered(port: u16, at: u16) -> u32 {
    u32::from(port) * 100 + u32::from(at)
}

#[test]
fn where_many_ports_leave_nothing_a_datagram_takes_the_place_of_the_oldest() {
    let mut twin = Twin::default();
    for (port, at) in all_places() {
        assert_eq!(twin.come(later(port, port.into(), (at + 1) * 8)), Fate::Waits);
    }
    assert_eq!(twin.come(later(255, 999, 8)), Fate::Waits);
    assert_eq!(twin.come(first(255, 999)), Fate::Judged);
    assert_eq!(twin.come(later(255, 999, 16)), Fate::Judged);
    twin.finish();
}

#[test]
fn where_many_ports_leave_no_datagram_the_oldest_gives_way_to_a_ports_first() {
    let mut twin = Twin::default();
    for (port, at) in all_places() {
        assert_eq!(twin.come(first(port, numbered(port, at))), Fate::Judged);
    }
    assert_eq!(twin.come(first(255, 99_999)), Fate::Judged);
    assert_eq!(twin.come(later(255, 99_999, 8)), Fate::Judged);
    assert_eq!(twin.come(later(0, 0, 8)), Fate::Waits, "the oldest went, its first with it");
    twin.finish();
}

/// The last piece of a datagram of two.
fn last(port: u16, identification: u32) -> Coming {
    let coming = later(port, identification, 8);
    Coming { fragment: Fragment { more: false, ..coming.fragment }, ..coming }
}

#[test]
fn datagrams_that_came_whole_take_no_place_of_later_ones() {
    for side in [0, OUTSIDE] {
        let mut twin = Twin::default();
        for id in 0..1100 {
            assert_eq!(twin.come(first(side, id)), Fate::Judged);
            assert_eq!(twin.come(last(side, id)), Fate::Judged);
        }
        (2000..2060).for_each(|id| assert_eq!(twin.come(first(side, id)), Fate::Judged));
        (2000..2060).for_each(|id| assert_eq!(twin.come(last(side, id)), Fate::Judged, "{id}"));
        twin.finish();
    }
}

#[test]
fn outside_keeps_a_quarter_of_its_half_for_ports_that_have_few() {
    let mut twin = Twin::default();
    for port in 0..6 {
        for at in 0..64 {
            twin.come(first(OUTSIDE + port, u32::from(port) * 100 + at));
        }
    }
    for port in 6..30 {
        for at in 0..8 {
            twin.come(first(OUTSIDE + port, u32::from(port) * 100 + at));
        }
        for at in 4..8 {
            let piece = last(OUTSIDE + port, u32::from(port) * 100 + at);
            assert_eq!(twin.come(piece), Fate::Judged, "the last four are there");
        }
    }
    twin.finish();
}

#[test]
fn outside_begins_nothing_where_pods_have_all_but_the_last_quarter() {
    let mut twin = Twin::default();
    for (port, at) in all_places().filter(|(port, _)| *port < 12) {
        assert_eq!(twin.come(first(port, numbered(port, at))), Fate::Judged);
    }
    let refused = Fate::Dropped(DropReason::FragmentLimit);
    assert_eq!(twin.come(first(OUTSIDE, 99_999)), refused);
    for (port, at) in all_places().filter(|(port, _)| *port >= 12) {
        assert_eq!(twin.come(first(port, numbered(port, at))), Fate::Judged);
    }
    assert_eq!(twin.come(first(OUTSIDE, 99_999)), refused);
    twin.finish();
}

#[test]
fn outside_takes_nothing_of_what_is_kept_for_ports_that_have_few() {
    let mut twin = Twin::default();
    for port in 0..12 {
        for at in 1..=WAITING_PER_PORT {
            assert_eq!(twin.come(later(port, port.into(), at * 8)), Fate::Waits);
        }
    }
    for port in 0..20 {
        for at in 1..=WAITING_PER_PORT {
            twin.come(later(OUTSIDE + port, 100 + u32::from(port), at * 8));
        }
    }
    for port in 10..40 {
        for id in 0..4 {
            assert_eq!(twin.come(later(port, u32::from(port) * 100 + id, 8)), Fate::Waits);
        }
    }
    // All four of the first one are still there.
    for id in 0..4 {
        assert_eq!(twin.come(first(10, 1000 + id)), Fate::Judged);
        assert_eq!(twin.come(later(10, 1000 + id, 16)), Fate::Judged);
    }
    twin.finish();
}

#[test]
fn who_leaves_many_datagrams_unfinished_outside_keeps_no_other_from_waiting() {
    let mut twin = Twin::default();
    for id in 0..PER_PORT {
        assert_eq!(twin.come(first(OUTSIDE + id % 8, id.into())), Fate::Judged);
    }
    for port in 10..110 {
        for at in 1..5 {
            twin.come(later(OUTSIDE + port, u32::from(port) * 100, at * 8));
        }
    }
    assert_eq!(twin.come(later(OUTSIDE + 255, 99_999, 8)), Fate::Waits, "as the oldest went");
    twin.finish();
}

#[test]
fn all_outside_has_half_of_the_places_and_takes_none_of_ports() {
    let mut twin = Twin::default();
    for port in 0..150 {
        for at in 1..5 {
            twin.come(later(OUTSIDE + port, port.into(), at * 8));
        }
    }
    // A port finds as much as if nobody were outside, up to the other half of the places.
    for at in 1..=WAITING_PER_PORT {
        assert_eq!(twin.come(later(7, 999, at * 8)), Fate::Waits);
    }
    assert_eq!(twin.come(later(OUTSIDE + 255, 1000, 8)), Fate::Waits, "as the oldest went");
    twin.finish();
}
