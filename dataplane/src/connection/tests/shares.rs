//! Pods against each other: who fills the table meets itself.

use super::*;
use crate::limits::SWEEP_PER_TURN;

const CAPACITY: u32 = 4096;

fn pod(n: u32) -> Holder {
    let seat = Seat(u16::try_from(n).expect("a seat"));
    Holder { endpoint: EndpointId(n), seat, opens: true }
}

/// The `n`th connection of a pod.
fn of(pod: u32, n: u32) -> FlowKey {
    let client = Address::from_v4((0x0a00_0000 + pod).to_be_bytes());
    let server = Address::from_v4((0x0b00_0000 + n / 50_000).to_be_bytes());
    key(17, (client, u16::try_from(n % 50_000).expect("16 bits") + 1024), (server, 53))
}

fn ask(table: &mut Connections, who: u32, n: u32) -> Result<ConnectionId, DropReason> {
    open_as(table, pod(who), &headers(of(who, n), Kind::Udp), Tick(0))
}

/// Asked and answered.
fn speak(table: &mut Connections, who: u32, n: u32) -> Result<(), DropReason> {
    let id = ask(table, who, n)?;
    table.touch(id, Way::Reply, &headers(of(who, n).reversed(), Kind::Udp), Tick(0));
    Ok(())
}

fn knows(table: &Connections, who: u32, n: u32) -> bool {
    find_udp(table, of(who, n)).is_some()
}

fn new() -> Connections {
    bounded(CAPACITY as usize, Bounds { turnover_per_ms: u32::MAX, ..Bounds::of(CAPACITY) })
}

/// The first so many pods have conversations, as many as find room.
fn talked_full(pods: u32) -> Connections {
    let mut table = new();
    for n in 0..CAPACITY {
        for who in 0..pods {
            let _ = speak(&mut table, who, n);
        }
    }
    table
}

#[test]
fn a_flood_evicts_the_flooder_and_nobody_else() {
    let mut table = new();
    for who in 1..200 {
        speak(&mut table, who, 0).expect("room");
        ask(&mut table, who, 1).expect("room");
    }
    for n in 0..4 * CAPACITY {
        ask(&mut table, 0, n).expect("its own oldest gives way");
    }
    for who in 1..200 {
        assert!(knows(&table, who, 0) && knows(&table, who, 1), "{who}");
        ask(&mut table, who, 2).expect("one of the flooder's gives way");
    }
    let kept = (0..4 * CAPACITY).filter(|&n| knows(&table, 0, n)).collect::<Vec<_>>();
    assert_eq!(kept.len(), CAPACITY as usize / 4, "a quarter and no more");
    assert!(kept.iter().all(|&n| n >= 3 * CAPACITY), "the youngest");
    check(&table);
}

#[test]
fn pods_that_flood_together_evict_each_other() {
    let mut table = new();
    let quiet = 100..300;
    quiet.clone().for_each(|who| {
        ask(&mut table, who, 0).expect("room");
    });
    for n in 0..CAPACITY {
        (0..8).for_each(|who| {
            ask(&mut table, who, n).expect("one of theirs gives way");
        });
    }
    for who in quiet {
        assert!(knows(&table, who, 0), "{who}");
    }
    let evictable = table.shares.totals().2;
    assert_eq!(evictable, CAPACITY / 2, "the other half stays free for what is answered");
    check(&table);
}

#[test]
fn pods_that_fill_the_table_with_conversations_leave_each_other_pod_its_part() {
    let mut table = talked_full(8);
    assert_eq!(table.shares.totals().1, CAPACITY / 8 * 7, "the last eighth is nobody's yet");
    assert_eq!(ask(&mut table, 0, CAPACITY), Err(DropReason::ConnectionsFull));
    // An eighth in 256 parts: two for each that comes.
    for who in 8..256 {
        for n in 0..2 {
            speak(&mut table, who, n).expect("its part");
        }
        assert_eq!(ask(&mut table, who, 2), Err(DropReason::ConnectionsFull), "{who}");
    }
    check(&table);
}

#[test]
fn the_reserve_is_there_for_who_comes_last() {
    let mut table = new();
    for who in 0..255 {
        let _ = (0..CAPACITY).find(|&n| speak(&mut table, who, n).is_err());
    }
    for n in 0..2 {
        speak(&mut table, 255, n).expect("its part");
    }
    check(&table);
}

/// Those who fill the table are answered at once, so that nothing of theirs may be evicted: what may
/// is others' handshakes.
#[test]
fn conversations_take_no_handshake_of_who_has_its_part_of_the_reserve() {
    let mut table = talked_full(4);
    assert_eq!(table.shares.totals().1, CAPACITY / 8 * 7, "the reserve is left");
    for who in 4..256 {
        for n in 0..2 {
            ask(&mut table, who, n).expect("its part");
            for greedy in 0..4 {
                let more = speak(&mut table, greedy, CAPACITY + 2 * who + n);
                assert_eq!(more, Err(DropReason::ConnectionsFull), "{greedy} {who}");
            }
        }
        for n in 0..2 {
            assert!(knows(&table, who, n), "{who} lost its handshake");
            table.touch(
                find_udp(&table, of(who, n)).expect("there").0,
                Way::Reply,
                &headers(of(who, n).reversed(), Kind::Udp),
                Tick(0),
            );
        }
    }
    check(&table);
}

/// In the reserve, too, who has more than its part gives way.
#[test]
fn in_the_reserve_a_flood_still_meets_itself() {
    let mut table = talked_full(4);
    for n in 0..2 {
        ask(&mut table, 4, n).expect("its part");
    }
    // Its own oldest goes, and nobody else's.
    for n in 2..100 {
        ask(&mut table, 4, n).expect("its own gives way");
        assert_eq!((knows(&table, 4, n - 2), knows(&table, 4, n - 1)), (false, true), "{n}");
    }
    check(&table);
}

#[test]
fn what_policy_cuts_gives_its_room_to_who_asks_for_it() {
    let mut table = new();
    for n in 0..CAPACITY / 4 {
        speak(&mut table, 0, n).expect("its quarter");
    }
    assert_eq!(ask(&mut table, 0, CAPACITY), Err(DropReason::ConnectionsLimit));
    for n in 0..10 {
        let (id, _) = find_udp(&table, of(0, n)).expect("there");
        table.restamp(id, Epoch(2), false);
    }
    check(&table);
    assert!(knows(&table, 0, 0), "it may be allowed again");
    for n in 0..10 {
        ask(&mut table, 0, CAPACITY + n).expect("a denied one gives way");
    }
    assert!((0..10).all(|n| !knows(&table, 0, n)) && knows(&table, 0, 10));
    // One that is allowed again is kept as before.
    let (id, _) = find_udp(&table, of(0, 11)).expect("there");
    table.restamp(id, Epoch(3), false);
    table.restamp(id, Epoch(4), true);
    for n in 0..50 {
        ask(&mut table, 0, 2 * CAPACITY + n).expect("an unanswered one gives way");
    }
    assert!(knows(&table, 0, 11));
    check(&table);
}

#[test]
fn a_burst_of_a_pod_that_floods_nobody_is_not_held_to_the_flooders_bound() {
    let mut table = bounded(CAPACITY as usize, Bounds::of(CAPACITY));
    for n in 0..CAPACITY / 4 {
        (0..2).for_each(|who| {
            ask(&mut table, who, n).expect("room");
        });
    }
    for n in 0..200 {
        ask(&mut table, 2, n).expect("one of the flooders' gives way");
    }
    assert!((0..200).all(|n| knows(&table, 2, n)));
}

#[test]
fn a_pod_that_is_back_in_its_seat_keeps_what_it_opens() {
    let mut table = new();
    (0..1000).for_each(|n| speak(&mut table, 1, n).expect("room"));
    // Its share is visited once in so many turns, and the records swept many times meanwhile.
    let mut all: Vec<u32> = (2..202).collect();
    for &who in &all {
        speak(&mut table, who, 0).expect("room");
    }
    turns(&mut table, 202, 0, &all);
    turns(&mut table, 203, 100_000, &all);
    assert!(table.len() < 1200, "it is being swept out");
    for n in 1000..1100 {
        ask(&mut table, 1, n).expect("room");
    }
    all.push(1);
    turns(&mut table, 100, 100_000, &all);
    assert!((1000..1100).all(|n| knows(&table, 1, n)));
    check(&table);
}

#[test]
fn a_pod_at_its_limit_is_told_so_and_others_are_not() {
    let mut table = new();
    for n in 0..CAPACITY / 4 {
        speak(&mut table, 0, n).expect("its quarter");
    }
    assert_eq!(ask(&mut table, 0, CAPACITY), Err(DropReason::ConnectionsLimit));
    assert!((0..CAPACITY / 4).all(|n| knows(&table, 0, n)), "nothing answered has gone");
    speak(&mut table, 1, 0).expect("room");
    let id = find_udp(&table, of(0, 7)).expect("there").0;
    table.remove(id);
    ask(&mut table, 0, CAPACITY).expect("one less, one more");
    ask(&mut table, 0, CAPACITY + 1).expect("its own unanswered one gives way");
    assert!(!knows(&table, 0, CAPACITY));
    check(&table);
}

#[test]
fn a_pod_pushes_out_no_more_in_a_window_than_its_bound_and_the_next_is_new() {
    let mut table = bounded(CAPACITY as usize, Bounds::of(CAPACITY));
    (0..CAPACITY / 4).for_each(|n| {
        ask(&mut table, 0, n).expect("its quarter");
    });
    let mut next = CAPACITY;
    let mut flood = |table: &mut Connections, now| {
        let outcomes = (0..500).map(|_| {
            next += 1;
            let packet = headers(of(0, next), Kind::Udp);
            open_as(table, pod(0), &packet, Tick(now)).map(|_| ())
        });
        outcomes.collect::<Vec<_>>()
    };
    for now in [0, 4, 8] {
        let outcomes = flood(&mut table, now);
        assert!(outcomes[..256].iter().all(Result::is_ok), "{now}");
        assert!(outcomes[256..].iter().all(|o| *o == Err(DropReason::ConnectionsLimit)), "{now}");
    }
    assert_eq!(table.evicted(), 3 * 256);
    ask(&mut table, 1, 0).expect("others open as ever");
    check(&table);
}

#[test]
fn pods_that_flood_together_share_what_gives_way_in_equal_parts() {
    let mut table = bounded(CAPACITY as usize, Bounds::of(CAPACITY));
    let flood = |table: &mut Connections, who, first: u32, count, now: u32| {
        let opened = |n: &u32| {
            let packet = headers(of(who, *n), Kind::Udp);
            open_as(table, pod(who), &packet, Tick(now.into())).is_ok()
        };
        (first..first + count).filter(opened).count()
    };
    for who in 0..2 {
        assert_eq!(
            flood(&mut table, who, 0, CAPACITY / 4, 0),
            CAPACITY as usize / 4,
            "its quarter"
        );
    }
    for (now, shares) in [(4, [256, 128]), (8, [128, 128]), (12, [128, 128])] {
        for (who, share) in (0..).zip(shares) {
            assert_eq!(flood(&mut table, who, (now + 1) * CAPACITY, 400, now), share);
        }
    }
    check(&table);
}

#[test]
fn what_comes_from_outside_leaves_the_pod_its_own_part() {
    let mut table = bounded(CAPACITY as usize, Bounds::of(CAPACITY));
    let outside = Holder { opens: false, ..pod(0) };
    let flood = |table: &mut Connections, holder, first: u32, now| {
        let opened =
            |n: &u32| open_as(table, holder, &headers(of(0, *n), Kind::Udp), Tick(now)).is_ok();
        (first..first + 1000).filter(opened).count()
    };
    for (first, now) in [(0, 0), (1000, 0), (2000, 4)] {
        flood(&mut table, outside, first, now);
    }
    for now in [8_u32, 12, 16] {
        assert_eq!(flood(&mut table, outside, 5000 * now, now.into()), 128, "half as much");
        assert_eq!(flood(&mut table, pod(0), 5000 * now + 1000, now.into()), 256);
    }
    check(&table);
}

#[test]
fn a_pod_begins_no_more_connections_anew_in_a_window_than_may_give_way() {
    let mut table = bounded(CAPACITY as usize, Bounds::of(CAPACITY));
    let key = FlowKey { number: 6, protocol: Protocol::Tcp, ..of(0, 1) };
    let (syn, reset) = (tcp(TcpFlags::SYN, 99, 0), tcp(TcpFlags::RST, 100, 0));
    let open_and_end = |table: &mut Connections, now| {
        let id = open_as(table, pod(0), &headers(key, syn), now).expect("room");
        table.touch(id, Way::Opening, &headers(key, reset), now);
        assert!(table.is_over(id));
    };
    open_and_end(&mut table, Tick(0));
    for now in [Tick(4), Tick(8)] {
        for _ in 0..256 {
            let (id, _) = find(&table, &headers(key, syn)).expect("it is over, and there");
            table.renew(id, pod(0), now).expect("one of as many as may");
            open_and_end(&mut table, now);
        }
        let (id, _) = find(&table, &headers(key, syn)).expect("it is over, and there");
        assert_eq!(table.renew(id, pod(0), now), Err(DropReason::ConnectionsLimit));
        assert!(table.is_over(id) && find(&table, &headers(key, syn)).is_some());
    }
    check(&table);
}

#[test]
fn in_full_buckets_the_heaviest_pods_gives_way_first() {
    let mut table = seeded(384, SEED);
    let keys = colliding(&table, 17);
    for (n, &key) in keys[..16].iter().enumerate() {
        // The first is pod 1's, and the oldest; of pod 2 there are more.
        let who = if n == 0 { 1 } else { 2 };
        open_as(&mut table, pod(who), &headers(key, Kind::Udp), Tick(n as u64)).expect("a lane");
    }
    open_as(&mut table, pod(3), &headers(keys[16], Kind::Udp), Tick(20)).expect("room");
    assert!(find_udp(&table, keys[0]).is_some());
    assert_eq!(find_udp(&table, keys[1]), None);
}

#[test]
fn the_heaviest_of_many_is_found_within_a_round_of_glances() {
    let mut table = bounded(1 << 16, Bounds { evictable_max: 30_000, ..Bounds::NONE });
    let pods = 1000;
    // Number 700 had most, and most of its are answered now; number 300 is next.
    for who in 0..pods {
        let some = if who == 700 {
            2000
        } else if who == 300 {
            1900
        } else {
            20
        };
        (0..some).for_each(|n| {
            ask(&mut table, who, n).expect("room");
        });
    }
    for n in 0..1999 {
        let (id, _) = find_udp(&table, of(700, n)).expect("there");
        table.touch(id, Way::Reply, &headers(of(700, n).reversed(), Kind::Udp), Tick(0));
    }
    for n in 0..15_000 {
        ask(&mut table, 1, 20 + n).expect("room");
    }
    let lost = |table: &Connections, who: u32, some: u32| {
        (0..some).filter(|&n| !knows(table, who, n)).count()
    };
    let others: usize =
        (2..pods).filter(|&who| who != 300 && who != 700).map(|who| lost(&table, who, 20)).sum();
    assert_eq!(others, 0, "nobody light loses one");
    check(&table);
}

/// A hundred pods with one each, but these with so many, in a table that has just as many that may be
/// evicted as it may; the answered ones of the first are not among them.
fn crowd(some: &[(u32, u32)], answered: u32) -> Connections {
    let all: u32 = some.iter().map(|&(_, n)| n - 1).sum::<u32>() + 100;
    let bounds = Bounds { evictable_max: all, ..Bounds::NONE };
    let mut table = bounded(1 << 12, bounds);
    for who in 0..100 {
        let has = some.iter().find(|one| one.0 == who).map_or(1, |one| one.1);
        (0..has).for_each(|n| {
            ask(&mut table, who, n).expect("room");
        });
    }
    let first = some[0].0;
    for n in 0..answered {
        let (id, _) = find_udp(&table, of(first, n)).expect("there");
        table.touch(id, Way::Reply, &headers(of(first, n).reversed(), Kind::Udp), Tick(0));
    }
    // Room for those again, four for each of many.
    for n in 0..answered {
        ask(&mut table, 20 + n / 8, 1000 + n).expect("room");
    }
    table
}

#[test]
fn who_was_the_heaviest_loses_no_more_than_a_round_of_glances() {
    // Number 3 had most; of what is left of it 20 may be evicted. Number 77 is next.
    let mut table = crowd(&[(3, 420), (77, 300)], 400);
    for n in 0..100 {
        ask(&mut table, 99, 5000 + n).expect("one gives way");
    }
    let lost = (400..420).filter(|&n| !knows(&table, 3, n)).count();
    assert!(lost <= 100 / 8 + 1, "{lost} of 20");
    let lost = (0..300).filter(|&n| !knows(&table, 77, n)).count();
    assert!(lost >= 100 - 100 / 8 - 1, "{lost} of 300");
    check(&table);
}

#[test]
fn who_becomes_the_heaviest_gives_way_at_once() {
    let mut table = crowd(&[(3, 30), (77, 25)], 0);
    ask(&mut table, 99, 5000).expect("one gives way");
    // Each of number 3 that gives way makes number 77 one more, until that has most.
    for n in 0..3 {
        ask(&mut table, 77, 5000 + n).expect("one gives way");
    }
    assert!(!knows(&table, 3, 3) && knows(&table, 3, 4), "{:?}", table.shares.totals());
    ask(&mut table, 99, 5001).expect("one gives way");
    assert!(!knows(&table, 77, 0) && knows(&table, 3, 4), "no glance has come to it yet");
    check(&table);
}

/// Turns of a worker whose pods are these.
fn turns(table: &mut Connections, count: usize, now: u64, here: &[u32]) {
    for _ in 0..count {
        table.settle(Tick(now), |seat| {
            here.contains(&u32::from(seat.0)).then_some(EndpointId(u32::from(seat.0)))
        });
    }
}

#[test]
fn a_pod_that_is_gone_leaves_nothing_after_a_minute_and_one_that_comes_back_everything() {
    let mut table = new();
    for who in [1, 2, 3] {
        (0..1000).for_each(|n| speak(&mut table, who, n).expect("room"));
    }
    let all = CAPACITY as usize / SWEEP_PER_TURN + 8;
    turns(&mut table, all, 0, &[1, 2, 3]);
    turns(&mut table, all, 1000, &[1]);
    turns(&mut table, all, 60_999, &[1, 2]);
    assert_eq!(table.len(), 3000, "a minute is not over");
    turns(&mut table, all, 61_000, &[1, 2]);
    turns(&mut table, all, 200_000, &[1, 2]);
    assert_eq!(table.len(), 2000);
    assert!((0..1000).all(|n| knows(&table, 1, n) && knows(&table, 2, n)));
    assert_eq!(table.shares.totals().0, 2, "its share is free");
    check(&table);
}

#[test]
fn a_pod_that_moved_to_another_seat_keeps_its_connections_and_its_count() {
    let mut table = new();
    (0..CAPACITY / 4).for_each(|n| speak(&mut table, 1, n).expect("room"));
    let moved = Holder { seat: Seat(9), ..pod(1) };
    let packet = headers(of(1, CAPACITY), Kind::Udp);
    assert_eq!(open_as(&mut table, moved, &packet, Tick(0)), Err(DropReason::ConnectionsLimit));
    // Another one in its old seat begins with nothing.
    let heir = Holder { endpoint: EndpointId(2), ..pod(1) };
    let packet = headers(of(2, 0), Kind::Udp);
    open_as(&mut table, heir, &packet, Tick(0)).expect("its own count");
    // Nor does a pod lose them that moved and has not spoken since.
    let quiet = |seat: Seat| (seat == Seat(77)).then_some(EndpointId(1));
    for now in [0, 60_000, 120_000, 180_000] {
        (0..200).for_each(|_| table.settle(Tick(now), quiet));
    }
    assert!((0..CAPACITY / 4).all(|n| knows(&table, 1, n)));
    assert!(!knows(&table, 2, 0), "the heir has no port any more");
    check(&table);
}

#[test]
fn a_turn_sweeps_no_more_records_than_its_bound() {
    let mut table = new();
    (0..1000).for_each(|n| speak(&mut table, 1, n).expect("room"));
    turns(&mut table, 2, 0, &[]);
    let mut before = table.len();
    for _ in 0..100 {
        turns(&mut table, 1, 100_000, &[]);
        assert!(before - table.len() <= SWEEP_PER_TURN);
        before = table.len();
    }
    assert_eq!(before, 0);
}

#[test]
fn when_every_share_is_taken_a_new_pod_is_denied_and_nothing_is_evicted() {
    let mut table = bounded(1 << 14, Bounds::NONE);
    let share_count = u32::from(Seat::COUNT) + 1024;
    for who in 0..share_count {
        let holder = Holder { endpoint: EndpointId(who), seat: Seat(5), opens: true };
        let packet = headers(of(who, 0), Kind::Udp);
        open_as(&mut table, holder, &packet, Tick(0)).expect("a share");
    }
    let late = Holder { endpoint: EndpointId(share_count), seat: Seat(6), opens: true };
    let packet = headers(of(share_count, 0), Kind::Udp);
    assert_eq!(open_as(&mut table, late, &packet, Tick(0)), Err(DropReason::ConnectionsFull));
    assert_eq!((table.len(), table.evicted()), (share_count as usize, 0));
}
