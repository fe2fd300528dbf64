//! Every order in which a worker that hands packets over, and one that sleeps, can meet.

use loom::thread;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use lockgate_loom::Arc;
use lockgate_loom::doorbell::Doorbell;
use lockgate_loom::handoff::{Errand, Inbound, Outbound, connect};
use lockgate_loom::ids::{PortId, PortRef, PortSlot, WorkerId};

/// The two ends of the ring from worker 0 to worker 1, and the bell of worker 1.
fn ring() -> (Outbound, Inbound, Arc<Doorbell>) {
    let bells = [0, 1].map(|_| Arc::new(Doorbell::new().expect("an eventfd")));
    let mut ends = connect(&bells);
    let inbound = ends[1].inbound[0].take().expect("an end");
    let outbound = ends[0].outbound[1].take().expect("an end");
    let [_, bell] = bells;
    (outbound, inbound, bell)
}

fn errand() -> Errand {
    let to = PortRef { port: PortId(1), worker: WorkerId(1), slot: PortSlot(0) };
    Errand::Send { to, back: None }
}

/// One packet for each of `numbers`, each a parcel of its own: those that found room.
fn hand_over(outbound: &mut Outbound, numbers: std::ops::Range<u8>) -> Vec<u8> {
    let mut taken = Vec::new();
    for number in numbers {
        if outbound.push(errand(), &[number; 4]).is_ok() {
            taken.push(number);
        }
        outbound.close();
    }
    taken
}

/// Takes one parcel and gives it back: the numbers in it.
fn take(inbound: &Inbound) -> Option<Vec<u8>> {
    let parcel = inbound.take()?;
    let number = |packet: &[u8]| {
        assert_eq!(packet, [packet[0]; 4], "it is whole");
        packet[0]
    };
    let numbers = parcel.packets().map(|(_, packet)| number(packet)).collect();
    inbound.give_back(parcel);
    Some(numbers)
}

#[test]
fn what_found_room_arrives_once_and_in_order_and_parcels_circulate() {
    loom::model(|| {
        let (mut outbound, inbound, _bell) = ring();
        let sender = thread::spawn(move || {
            let taken = hand_over(&mut outbound, 0..4);
            (outbound, taken)
        });
        let mut arrived: Vec<u8> = (0..3).filter_map(|_| take(&inbound)).flatten().collect();
        let (mut outbound, taken) = sender.join().unwrap();
        arrived.extend(std::iter::from_fn(|| take(&inbound)).flatten());
        assert_eq!(arrived, taken);
        assert!(taken.len() >= 2, "there are two parcels");
        // All parcels are home: as many as were made find room, and not one more.
        assert_eq!(hand_over(&mut outbound, 10..13), [10, 11]);
    });
}

/// Whether the bell was rung.
fn is_rung(bell: &Doorbell) -> bool {
    let mut event = [PollFd::from_borrowed_fd(bell.event().expect("an eventfd"), PollFlags::IN)];
    poll(&mut event, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(1)
}

/// Sleeps as the worker's thread does; a sleep without an end is one branch too many for loom.
fn sleep(bell: &Doorbell, has_work: impl Fn() -> bool) {
    bell.about_to_sleep();
    if !has_work() {
        while !is_rung(bell) {
            thread::yield_now();
        }
    }
    bell.awake();
}

/// Takes parcels, and sleeps where there is none, until so many packets have arrived.
fn receive(count: usize, inbound: &Inbound, bell: &Doorbell) -> Vec<u8> {
    let mut arrived = Vec::new();
    while arrived.len() < count {
        match take(inbound) {
            Some(numbers) => arrived.extend(numbers),
            None => sleep(bell, || inbound.has_parcel()),
        }
    }
    arrived
}

#[test]
fn a_worker_that_goes_to_sleep_is_woken_for_every_parcel() {
    loom::model(|| {
        let (mut outbound, inbound, bell) = ring();
        let sender = thread::spawn(move || hand_over(&mut outbound, 0..2));
        assert_eq!(receive(2, &inbound, &bell), sender.join().unwrap());
    });
}

#[test]
fn a_thin_parcel_leaves_when_the_other_worker_has_caught_up() {
    let mut builder = loom::model::Builder::new();
    // Without a bound it takes minutes: both sides spin.
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let (mut outbound, inbound, bell) = ring();
        let sender = thread::spawn(move || {
            for number in 0..3 {
                assert!(outbound.push(errand(), &[number; 4]).is_ok(), "two parcels hold it");
                outbound.flush();
            }
            // A worker with an open parcel does not sleep: it turns again.
            while outbound.has_open() {
                thread::yield_now();
                outbound.flush();
            }
        });
        assert_eq!(receive(3, &inbound, &bell), [0, 1, 2]);
        sender.join().unwrap();
    });
}
