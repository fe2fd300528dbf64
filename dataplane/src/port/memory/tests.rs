use proptest::prelude::*;

use super::*;
use crate::frame::Census;
use crate::port::{CREDIT_MIN, FILLS_PER_TURN, QUIET_MAX};

const FRAMES: u32 = 256;

/// A worker in small with two ports.
struct Worker {
    memory: HeapMemory,
    pool: FramePool,
    ports: [Option<(MemoryPort, FarEnd)>; 2],
    hand: Batch,
}

impl Worker {
    fn new() -> Self {
        let (memory, pool) = HeapMemory::new(FRAMES);
        let ports = [0, 1].map(|slot| Some(port(&memory, PortSlot(slot))));
        Self { memory, pool, ports, hand: Batch::new() }
    }

    fn port(&mut self, at: usize) -> (&mut MemoryPort, &mut FarEnd, &mut HeapMemory) {
        let (port, far) = self.ports[at].as_mut().expect("open");
        (port, far, &mut self.memory)
    }

    fn send(&mut self, at: usize, packet: &[u8]) -> bool {
        let Some(mut frame) = self.pool.take() else { return false };
        self.memory.room_mut(&mut frame)[..packet.len()].copy_from_slice(packet);
        frame.set_length(u16::try_from(packet.len()).expect("short"));
        let (port, _) = self.ports[at].as_mut().expect("open");
        port.send(&mut self.pool, frame).map_err(|frame| self.pool.put(frame)).is_ok()
    }
}

#[test]
fn a_packet_comes_in_is_changed_and_goes_out_elsewhere() {
    let (mut memory, mut pool) = HeapMemory::new(FRAMES);
    let (mut out, mut far_out) = port(&memory, PortSlot(1));
    let (mut port, mut far) = port(&memory, PortSlot(0));
    assert_eq!(far.inject(&mut memory, &[7; 60]), Err(Refused::FillEmpty));
    assert_eq!(port.fill(&mut pool), 64);
    assert_eq!(far.room(), 64);
    far.inject(&mut memory, &[7; 60]).expect("room");
    let mut batch = Batch::new();
    assert_eq!(port.receive(&mut pool, &mut batch), 1);
    assert_eq!(port.in_fill(), 63);
    let mut frame = batch.pop().expect("received");
    memory.bytes_mut(&mut frame)[0] = 8;
    assert_eq!(memory.bytes(&frame).len(), 60);

    out.send(&mut pool, frame).expect("room");
    assert_eq!(far_out.sent(), 0, "queued, not flushed");
    out.flush();
    let packet = far_out.take(&memory).expect("sent");
    assert_eq!((packet[0], &packet[1..]), (8, &[7; 59][..]));
    assert_eq!(
        pool.census(),
        Census { pool: FRAMES - 64, hand: 0, held: 0, fill: 63, transmit: 1 }
    );
    assert_eq!(out.reclaim(&mut pool), 1);
    assert_eq!(
        pool.census(),
        Census { pool: FRAMES - 63, hand: 0, held: 0, fill: 63, transmit: 0 }
    );
}

#[test]
fn the_far_end_refuses_what_the_kernel_would() {
    let mut worker = Worker::new();
    let (port, far) = worker.ports[0].as_mut().expect("open");
    port.fill(&mut worker.pool);
    let (mut other, _) = HeapMemory::new(1);
    assert_eq!(far.inject(&mut other, &[0; 60]), Err(Refused::OtherMemory));
    let long = vec![0; PACKET_BYTES_MAX + 1];
    assert_eq!(far.inject(&mut worker.memory, &long), Err(Refused::TooLong));
    assert_eq!(far.inject(&mut worker.memory, &long[1..]), Ok(()));
    assert_eq!(far.take(&other), None);
}

#[test]
fn a_port_whose_packets_nobody_takes_keeps_no_more_than_its_credit() {
    let mut worker = Worker::new();
    let sent = (0..100).filter(|_| worker.send(0, &[1; 60])).count();
    assert_eq!(sent, 64);
    let (port, far, memory) = worker.port(0);
    assert_eq!(port.in_transmit(), 64);
    port.flush();
    assert!(far.take(memory).is_some());
    assert!(!worker.send(0, &[1; 60]), "taken, but not reclaimed");
    let (port, _) = worker.ports[0].as_mut().expect("open");
    assert_eq!(port.reclaim(&mut worker.pool), 1);
    assert!(worker.send(0, &[1; 60]));
}

#[test]
fn a_packet_without_an_ethernet_header_is_refused() {
    let mut worker = Worker::new();
    assert!(!worker.send(0, &[]));
    assert!(!worker.send(0, &[1; 13]));
    assert!(worker.send(0, &[1; 14]));
}

#[test]
fn a_busy_port_is_filled_more_and_more_up_to_its_credit_and_nothing_is_taken_away() {
    let (mut memory, mut pool) = HeapMemory::new(8192);
    let (mut port, mut far) = port(&memory, PortSlot(3));
    let mut batch = Batch::new();
    port.set_credit(1000);
    while port.fill(&mut pool) > 0 {}
    assert_eq!(port.in_fill(), QUIET_MAX, "a quiet port holds no more");
    for _ in 0..100 {
        (0..BATCH_MAX).for_each(|_| far.inject(&mut memory, &[1; 60]).expect("there is room"));
        port.receive(&mut pool, &mut batch);
        batch.drain().for_each(|frame| pool.put(frame));
        for _ in 0..FILLS_PER_TURN {
            port.fill(&mut pool);
        }
    }
    assert!(port.in_fill() > 1000 - CREDIT_MIN, "it has {}", port.in_fill());
    let held = port.in_fill();
    port.set_credit(100);
    assert_eq!((port.fill(&mut pool), port.in_fill()), (0, held));
}

#[test]
fn one_frame_is_written_while_another_is_read() {
    let (mut memory, mut pool) = HeapMemory::new(2);
    let (mut to, mut from) = (pool.take().expect("free"), pool.take().expect("free"));
    from.set_length(20);
    memory.bytes_mut(&mut from).fill(9);
    let (room, packet) = memory.room_beside(&mut to, &from);
    assert_eq!((room.len(), packet.len()), (PACKET_BYTES_MAX, 20));
    room[..20].copy_from_slice(packet);
    to.set_length(20);
    assert_eq!(memory.bytes(&to), [9; 20]);
    pool.put(to);
    pool.put(from);
}

#[test]
#[should_panic(expected = "halves of different ports")]
fn two_halves_of_different_ports_do_not_close() {
    let (memory, _) = HeapMemory::new(2);
    let (one, _) = port(&memory, PortSlot(0));
    let (_, far) = port(&memory, PortSlot(0));
    let _ = one.close(far);
}

/// What a test does next, and at which port.
#[derive(Clone, Debug)]
enum Move {
    Fill(usize),
    Inject(usize, u8),
    Receive(usize),
    Forward(usize),
    Discard,
    Make(usize),
    Flush(usize),
    Take(usize),
    Reclaim(usize),
    Reopen(usize),
    Credit(usize, u32),
}

fn any_move() -> impl Strategy<Value = Move> {
    let at = || 0..2_usize;
    prop_oneof![
        at().prop_map(Move::Fill),
        (at(), any::<u8>()).prop_map(|(at, mark)| Move::Inject(at, mark)),
        (at(), any::<u8>()).prop_map(|(at, mark)| Move::Inject(at, mark)),
        at().prop_map(Move::Receive),
        at().prop_map(Move::Forward),
        Just(Move::Discard),
        at().prop_map(Move::Make),
        at().prop_map(Move::Flush),
        at().prop_map(Move::Take),
        at().prop_map(Move::Reclaim),
        at().prop_map(Move::Reopen),
        (at(), 0..200_u32).prop_map(|(at, credit)| Move::Credit(at, credit)),
    ]
}

/// Packets that are on their way, by their marks: the model of what must come out.
#[derive(Default)]
struct Expected {
    /// Injected and not received, by port.
    inside: [std::collections::VecDeque<u8>; 2],
    /// In hand.
    hand: std::collections::VecDeque<u8>,
    /// Sent and not taken, by port.
    out: [std::collections::VecDeque<u8>; 2],
}

impl Worker {
    fn step(&mut self, step: &Move, expected: &mut Expected) {
        match *step {
            Move::Fill(at) => {
                let (port, _) = self.ports[at].as_mut().expect("open");
                port.fill(&mut self.pool);
            }
            Move::Inject(at, mark) => {
                let (_, far, memory) = self.port(at);
                if far.inject(memory, &[mark; 60]).is_ok() {
                    expected.inside[at].push_back(mark);
                }
            }
            Move::Receive(at) => {
                let (port, _) = self.ports[at].as_mut().expect("open");
                let count = port.receive(&mut self.pool, &mut self.hand);
                expected.hand.extend(expected.inside[at].drain(..count));
            }
            Move::Forward(at) => self.forward(at, expected),
            Move::Discard => {
                if let Some(frame) = self.hand.pop() {
                    assert_eq!(self.memory.bytes(&frame).first(), expected.hand.front());
                    expected.hand.pop_front();
                    self.pool.put(frame);
                }
            }
            Move::Make(at) => {
                if self.send(at, &[77; 60]) {
                    expected.out[at].push_back(77);
                }
            }
            Move::Flush(at) => self.ports[at].as_mut().expect("open").0.flush(),
            Move::Take(at) => {
                let (_, far, memory) = self.port(at);
                if let Some(packet) = far.take(memory) {
                    assert_eq!(Some(packet[0]), expected.out[at].pop_front());
                }
            }
            Move::Reclaim(at) => {
                let (port, _) = self.ports[at].as_mut().expect("open");
                port.reclaim(&mut self.pool);
            }
            Move::Reopen(at) => self.reopen(at, expected),
            Move::Credit(at, credit) => self.port(at).0.set_credit(credit),
        }
    }

    fn forward(&mut self, at: usize, expected: &mut Expected) {
        let Some(frame) = self.hand.pop() else { return };
        let mark = expected.hand.pop_front().expect("as many");
        assert_eq!(self.memory.bytes(&frame), [mark; 60]);
        let (port, _) = self.ports[at].as_mut().expect("open");
        match port.send(&mut self.pool, frame) {
            Ok(()) => expected.out[at].push_back(mark),
            Err(frame) => self.pool.put(frame),
        }
    }

    fn reopen(&mut self, at: usize, expected: &mut Expected) {
        let (old, far) = self.ports[at].take().expect("open");
        let slot = old.slot();
        let mut closed = old.close(far);
        while !self.pool.is_home(&closed) {
            self.pool.bring_home(&mut closed);
        }
        assert_eq!(self.pool.census_of(slot).total(), 0);
        self.ports[at] = Some(port(&self.memory, slot));
        expected.inside[at].clear();
        expected.out[at].clear();
    }

    /// The laws, after every move.
    fn check(&self) {
        let census = self.pool.census();
        assert_eq!(census.total(), FRAMES, "{census:?}");
        assert_eq!(census.hand as usize, self.hand.len(), "{census:?}");
        for (port, _) in self.ports.iter().flatten() {
            let own = self.pool.census_of(port.slot());
            assert_eq!((own.fill, own.transmit), (port.in_fill(), port.in_transmit()));
        }
    }
}

proptest! {
    /// Two ports, few frames: every shortage comes up.
    #[test]
    fn frames_and_packets_are_kept_through_any_moves(
        moves in prop::collection::vec(any_move(), 1..400)
    ) {
        let (mut worker, mut expected) = (Worker::new(), Expected::default());
        for step in &moves {
            worker.step(step, &mut expected);
            worker.check();
        }
    }
}
