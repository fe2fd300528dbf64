use super::*;

const FRAMES: u32 = 1200;
const FIRST: PortSlot = PortSlot(0);
const LAST: PortSlot = PortSlot(255);
const _: () = assert!(PORTS_MAX == 256);

fn pool() -> FramePool {
    FramePool::new(FRAMES, MemoryId::next())
}

#[test]
fn every_frame_is_given_once_and_then_none() {
    let mut pool = pool();
    let frames: Vec<Frame> = std::iter::from_fn(|| pool.take()).collect();
    let mut numbers: Vec<u32> = frames.iter().map(Frame::index).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..FRAMES).collect::<Vec<_>>());
    assert_eq!(pool.census(), Census { hand: FRAMES, ..Census::default() });
    for frame in frames {
        pool.put(frame);
    }
    assert_eq!(pool.census(), Census { pool: FRAMES, ..Census::default() });
}

#[test]
fn the_frame_used_last_is_the_first_to_be_used_again() {
    let mut pool = pool();
    let (one, other) = (pool.take().expect("free"), pool.take().expect("free"));
    let number = one.index();
    pool.put(other);
    pool.put(one);
    assert_eq!(pool.take().map(|frame| frame.index()), Some(number));
}

#[test]
fn a_frame_goes_round_by_way_of_two_ports() {
    let mut pool = pool();
    let number = pool.lend(FIRST).expect("free");
    assert_eq!(pool.census_of(FIRST), Census { fill: 1, ..Census::default() });
    let frame = pool.receive(number, 60, FIRST).expect("lent");
    assert_eq!((frame.index(), frame.length()), (number, 60));
    assert_eq!(pool.census().hand, 1);
    assert_eq!(pool.send(frame, LAST).expect("in hand"), number);
    assert_eq!(pool.census_of(FIRST).total(), 0);
    assert_eq!(pool.census_of(LAST), Census { transmit: 1, ..Census::default() });
    assert!(pool.reclaim(number, LAST));
    assert_eq!(pool.census(), Census { pool: FRAMES, ..Census::default() });
}

/// What a release build does where a debug build stops.
#[cfg(not(debug_assertions))]
#[test]
fn a_ring_is_not_believed_that_gives_what_it_was_never_given() {
    let mut pool = pool();
    let number = pool.lend(FIRST).expect("free");
    assert!(pool.receive(number, 60, LAST).is_none(), "another port's");
    assert!(!pool.reclaim(number, FIRST), "lent to receive, not sent");
    assert!(pool.receive(FRAMES, 60, FIRST).is_none(), "no such frame");
    let frame = pool.receive(number, 60, FIRST).expect("lent");
    assert!(pool.receive(number, 60, FIRST).is_none(), "given twice");
    pool.put(frame);
    assert_eq!(pool.census(), Census { pool: FRAMES, ..Census::default() });
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "was not in the fill ring")]
fn a_frame_that_a_ring_gives_twice_is_a_broken_invariant() {
    let mut pool = pool();
    let number = pool.lend(FIRST).expect("free");
    let _frame = pool.receive(number, 60, FIRST);
    let _again = pool.receive(number, 60, FIRST);
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "was not in a hand of this pool")]
fn a_frame_of_another_memory_is_a_broken_invariant() {
    let frame = pool().take().expect("free");
    pool().put(frame);
}

#[test]
fn the_frames_of_a_closed_port_come_home_and_no_others() {
    let mut pool = pool();
    for slot in [FIRST, LAST] {
        (0..300).for_each(|_| assert!(pool.lend(slot).is_some()));
        for _ in 0..200 {
            let frame = pool.take().expect("free");
            pool.send(frame, slot).expect("in hand");
        }
    }
    let held = pool.take().expect("free");

    let mut closed = Closed::new(FIRST, pool.memory);
    let (mut home, mut calls) = (0, 0);
    while !pool.is_home(&closed) {
        home += pool.bring_home(&mut closed);
        calls += 1;
    }
    assert_eq!((home, calls), (500, FRAMES as usize / BRING_HOME_MAX + 1));
    assert_eq!(pool.census_of(FIRST).total(), 0);
    assert_eq!(pool.census_of(LAST), Census { fill: 300, transmit: 200, ..Census::default() });
    assert_eq!(pool.census(), Census { pool: 699, hand: 1, held: 0, fill: 300, transmit: 200 });
    assert_eq!(pool.bring_home(&mut closed), 0, "twice brings nothing");
    pool.put(held);
}

#[test]
fn a_length_beyond_the_room_of_a_frame_is_cut() {
    let mut pool = pool();
    let number = pool.lend(FIRST).expect("free");
    let frame = pool.receive(number, u16::MAX, FIRST).expect("lent");
    assert_eq!(frame.length(), LENGTH_MAX);
    pool.put(frame);
}
