use super::*;
use crate::clock::Tick;
use crate::connection::translation::Translations;
use crate::connection::{Bounds, Connections, Settings, Timeouts};
use crate::counters::{Counters, PortCounters};
use crate::doorbell::Doorbell;
use crate::event::events;
use crate::frame::Census;
use crate::handoff;
use crate::ids::WorkerId;
use crate::port::memory::{self, FarEnd, HeapMemory, MemoryPort};
use crate::publish::Publisher;
use crate::worker::mailbox::{Limiter, PortKind};
use crate::worker::{Denial, Established, Parts, Worker};

impl Half for FarEnd {
    type Port = MemoryPort;

    fn close(self, port: MemoryPort) -> Closed {
        port.close(self)
    }
}

/// A desk and its worker, which answers when the test turns it.
struct Office {
    desk: Desk<FarEnd>,
    worker: Worker<MemoryPort, HeapMemory>,
    next_port: u32,
}

impl Office {
    fn new() -> Self {
        let (memory, pool) = HeapMemory::new(1024);
        let mailbox = Arc::new(Mailbox::default());
        let bells = [Arc::new(Doorbell::silent())];
        let (bounds, timeouts) = (Bounds::NONE, Timeouts::default());
        let settings = Settings { capacity: 16, bounds, seed: [1, 2], timeouts };
        let worker = Worker::new(Parts {
            id: WorkerId(0),
            memory,
            pool,
            ends: handoff::connect(&bells).pop().unwrap(),
            connections: Connections::new(&settings),
            translations: Translations::new(&settings),
            subscriber: Publisher::new(1).1.pop().unwrap(),
            mailbox: Arc::clone(&mailbox),
            counters: Arc::new(Counters::default()),
            events: Arc::new(events()),
            established: Established::default(),
            denial: Denial::default(),
        });
        Self { desk: Desk::new(mailbox), worker, next_port: 1 }
    }

    /// Hands out a queue, which its program sees or does not.
    fn hand_out(&mut self, shown: bool) -> Result<(PortRef, FarEnd), NotHandedOut<()>> {
        let slot = self.desk.take_slot().expect("a free slot");
        let at = PortRef { port: PortId(self.next_port), worker: WorkerId(0), slot };
        self.next_port += 1;
        let (port, far) = memory::port(self.worker.memory_mut(), slot);
        let attached = Attached {
            at,
            kind: PortKind::Pod,
            port,
            counters: Arc::new(PortCounters::default()),
            answers: Limiter::default(),
        };
        let show = |_: &FarEnd| if shown { Ok(()) } else { Err(()) };
        self.desk.hand_out(attached, far, show).map(|far| (at, far))
    }

    fn turn(&mut self) {
        self.worker.turn(Tick(1));
        self.desk.settle();
    }

    fn frames_of(&self, slot: PortSlot) -> Census {
        self.worker.pool().census_of(slot)
    }

    /// Turns until a port is home, as often as that may take.
    fn until_home(&mut self, port: PortId) {
        for _ in 0..200 {
            if self.desk.is_home(port) {
                return;
            }
            self.turn();
        }
        panic!("{port:?} does not come home: {:?}", self.desk);
    }
}

/// The worker's side of a mailbox, played by hand: the next question for a page.
fn question(desk: &Desk<FarEnd>) -> (Box<Page>, AskId) {
    match desk.mailbox.commands.pop() {
        Some(Command::Copy(page, _, asked)) => (page, asked),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_late_page_is_not_taken_for_the_answer_to_the_next_question() {
    let mut desk = Desk::<FarEnd>::new(Arc::default());
    assert!(desk.ask_page(Box::default(), 0));
    let (late, first) = question(&desk);
    desk.settle();
    assert!(desk.take_page().is_none(), "control goes away without an answer");
    assert!(desk.ask_page(Box::default(), 0));
    let (page, second) = question(&desk);
    assert!(desk.mailbox.replies.push(Reply::Page(late, Some(7), first)).is_ok());
    desk.settle();
    assert!(desk.take_page().is_none(), "it answers what nobody asks any more");
    assert!(desk.mailbox.replies.push(Reply::Page(page, Some(9), second)).is_ok());
    desk.settle();
    assert_eq!(desk.take_page().map(|(_, next)| next), Some(Some(9)));
    assert!(desk.take_page().is_none(), "once");
}

#[test]
fn a_port_given_back_late_is_closed_and_its_frames_and_slot_come_home() {
    let mut office = Office::new();
    let (at, far) = office.hand_out(true).unwrap();
    office.turn();
    assert!(office.frames_of(at.slot).total() > 0, "the port holds frames");
    // The worker does not answer, and control goes on with something else.
    office.desk.take_back(at, far);
    assert!(!office.desk.is_home(at.port));
    assert!(office.desk.ask_page(Box::default(), 0));
    let (other, other_far) = office.hand_out(true).unwrap();
    assert_ne!(other.slot, at.slot, "a slot is free when its frames are home");
    // Two commands a turn: it gives the port back, and with it comes the page.
    office.turn();
    assert!(office.desk.take_page().is_some(), "the late port is not taken for the page");
    office.until_home(at.port);
    assert_eq!(office.frames_of(at.slot).total(), 0);
    assert_eq!(office.desk.load(), 1, "the other one serves");
    assert_eq!(office.hand_out(true).unwrap().0.slot, at.slot, "free again");
    office.desk.take_back(other, other_far);
    office.until_home(other.port);
    assert_eq!(office.frames_of(other.slot).total(), 0);
}

#[test]
fn a_queue_that_its_program_refuses_leaves_the_worker_before_its_slot_is_free() {
    let mut office = Office::new();
    assert!(matches!(office.hand_out(false), Err(NotHandedOut::NotShown(()))));
    let (port, slot) = (PortId(1), PortSlot(0));
    assert_eq!(office.desk.load(), 1, "the worker has it");
    let (next, _far) = office.hand_out(true).unwrap();
    assert_ne!(next.slot, slot);
    office.until_home(port);
    assert_eq!(office.frames_of(slot).total(), 0, "its frames are home");
    assert_eq!(office.desk.load(), 1, "and its slot is free");
}

#[test]
fn what_finds_no_room_in_the_mailbox_is_told_later() {
    let mut office = Office::new();
    let (at, far) = office.hand_out(true).unwrap();
    office.turn();
    while office.desk.has_room() {
        assert!(office.desk.ask_page(Box::default(), 0));
    }
    assert!(!office.desk.ask_page(Box::default(), 0));
    assert!(matches!(office.hand_out(true), Err(NotHandedOut::NoRoom)));
    assert_eq!(office.desk.load(), 1, "what was not told holds no slot");
    office.desk.take_back(at, far);
    office.until_home(at.port);
    assert_eq!(office.desk.load(), 0);
    assert_eq!(office.worker.pool().census().pool, 1024);
}

#[test]
fn queues_that_are_held_are_back_together_and_open() {
    let mut office = Office::new();
    let held: Vec<_> = (0..3).map(|_| office.hand_out(true).unwrap()).collect();
    office.turn();
    office.desk.hold();
    let mut waited = false;
    for (at, far) in held {
        office.desk.take_back(at, far);
    }
    let open = loop {
        if let Some(open) = office.desk.take_open() {
            break open;
        }
        waited = true;
        office.turn();
    };
    assert!(waited, "the worker had them");
    assert_eq!(open.len(), 3);
    for (at, far, port) in open {
        assert!(office.frames_of(at.slot).total() > 0, "the ring has them until it is closed");
        office.desk.closed(at, far.close(port));
        office.until_home(at.port);
        assert_eq!(office.frames_of(at.slot).total(), 0);
    }
    assert_eq!(office.desk.load(), 0, "every slot is free");
    // Later ones are closed one by one again.
    let (at, far) = office.hand_out(true).unwrap();
    office.desk.take_back(at, far);
    office.until_home(at.port);
}
