//! Pieces beside what they must not be taken for, and behind what comes before them.

use lockgate_dataplane::counters::DropReason;
use lockgate_dataplane::packet::TcpFlags;
use lockgate_tests::packets::{self, Ends, fragments, joined};
use lockgate_tests::shop::{OPEN, under};
use lockgate_tests::world::{HOST, World};

use super::fragments::{arrive, datagram, upper};
use super::{CLIENT, CLUSTER, WEB, shape, v4, v6};

/// An options header of IPv6 that means nothing, before a header of this number.
fn options(next: u8) -> [u8; 8] {
    [next, 0, 1, 4, 0, 0, 0, 0]
}

/// A fragment of IPv6 behind an options header: what follows its own header, and its place.
fn behind_options(ends: Ends, next: u8, (offset, more): (u16, bool), bytes: &[u8]) -> Vec<u8> {
    let [high, low] = (offset | u16::from(more)).to_be_bytes();
    let own = [next, 0, high, low, 0, 0, 0, 9];
    packets::ip(ends, 60, &[&options(44), &own[..], bytes].concat())
}

#[test]
fn a_denied_packet_of_the_same_turn_spoils_no_datagram_in_pieces() {
    for outside in [v4(), v6()] {
        let mut world = World::of(shape(1), CLUSTER);
        let denied = packets::udp(world.ends(CLIENT, WEB, outside), (5000, 54), b"no");
        let whole = datagram(&world, outside, 4000);
        for (identification, order) in [(1, [0, 1, 2]), (2, [2, 1, 0])] {
            let parts = fragments(&whole, identification, 1448);
            world.inject(CLIENT, &denied).unwrap();
            for at in order {
                world.inject(CLIENT, &parts[at]).unwrap();
                world.inject(CLIENT, &denied).unwrap();
            }
            world.settle();
            assert_eq!(joined(&world.received(WEB)).as_deref(), Some(upper(&whole)), "{order:?}");
        }
        assert_eq!(world.dropped(DropReason::IngressDenied), 8);
    }
}

#[test]
fn datagrams_of_one_number_are_apart_by_protocol_and_by_all_its_32_bits() {
    let mut world = World::of(shape(1), &under(OPEN));
    let ends = world.ends(CLIENT, WEB, v4());
    let udp = packets::udp(ends, (5000, 53), &[1; 4000]);
    let tcp = packets::tcp(ends, (5000, 80), TcpFlags::SYN, &[2; 4000]);
    let six = datagram(&world, v6(), 4000);
    for (one, other) in [
        (fragments(&udp, 7, 1448), fragments(&tcp, 7, 1448)),
        (fragments(&six, 0x0001_0007, 1448), fragments(&six, 0x0002_0007, 1448)),
    ] {
        let mixed: Vec<Vec<u8>> = one.into_iter().zip(other).flat_map(|(a, b)| [a, b]).collect();
        assert_eq!(arrive(&mut world, &mixed).len(), 6);
    }
    assert_eq!(world.drops().iter().sum::<u64>(), 0);
}

/// What waits has come from the host port, and its way is found as from there.
#[test]
fn a_datagram_from_outside_in_pieces_arrives_in_whatever_order_they_come() {
    for (workers, outside) in [(1, v4()), (2, v4()), (1, v6()), (2, v6())] {
        let mut world = World::of(shape(workers), &under(OPEN));
        let whole = packets::udp(world.ends(HOST, WEB, outside), (5000, 53), &[1; 4000]);
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let parts = fragments(&whole, order[0] + 1, 1448);
            for at in order {
                world.inject(HOST, &parts[at as usize]).unwrap();
                world.settle();
            }
            let arrived = joined(&world.received(WEB));
            assert_eq!(arrived.as_deref(), Some(upper(&whole)), "{outside} {workers} {order:?}");
        }
    }
}

/// RFC 8200 §4.5: who asks what the datagram is must pass over both; a later one need not repeat
/// the number that the first has.
#[test]
fn options_on_both_sides_of_a_fragment_header_pass_in_whatever_order_pieces_come() {
    for workers in [1, 2] {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut world = World::of(shape(workers), &under(OPEN));
            let ends = world.ends(CLIENT, WEB, v6());
            let udp = packets::udp(ends, (5000, 53), &[7; 61]);
            let all = [&options(17)[..], upper(&udp)].concat();
            let parts = [
                behind_options(ends, 60, (0, true), &all[..24]),
                behind_options(ends, 60, (24, true), &all[24..48]),
                behind_options(ends, 17, (48, false), &all[48..]),
            ];
            let sent = order.map(|at: usize| parts[at].clone());
            assert_eq!(arrive(&mut world, &sent).len(), 3, "{order:?}");
            assert_eq!(world.drops().iter().sum::<u64>(), 0);
        }
    }
}

#[test]
fn an_sctp_chunk_longer_than_a_frame_crosses_in_pieces() {
    for outside in [v4(), v6()] {
        let mut world = World::of(shape(1), &under(OPEN));
        let ends = world.ends(CLIENT, WEB, outside);
        let init = packets::sctp(ends, (4000, 80), 0, 1, &[0; 16]);
        assert!(world.fate(CLIENT, WEB, &init).is_sent());
        let data = packets::sctp(ends, (4000, 80), 9, 0, &[1; 3000]);
        let mut parts = fragments(&data, 6, 1448);
        parts.swap(0, 2);
        assert_eq!(joined(&arrive(&mut world, &parts)).as_deref(), Some(upper(&data)));
    }
}
