//! Ports of a simulated node: plugged in and taken out as control does it.

use std::sync::Arc;

use lockgate_dataplane::counters::PortCounters;
use lockgate_dataplane::ids::{Mac, PortId, PortRef, PortSlot, WorkerId};
use lockgate_dataplane::port::memory;
use lockgate_dataplane::worker::mailbox::{Attached, Command, Limiter, PortKind, Reply};

use super::{Seat, TURNS_MAX, Wire, World};

impl World {
    /// Throws away everything that was sent to a pod, without allocating; how many packets.
    pub fn discard(&mut self, name: &str) -> usize {
        let mut room = [0; 64];
        let mut count = 0;
        let Some(wire) = self.wires.get_mut(name) else { return 0 };
        for (at, end) in &mut wire.ends {
            let memory = self.seats[at.worker.index()].worker.memory_mut();
            while end.take_into(memory, &mut room).is_some() {
                count += 1;
            }
        }
        count
    }

    pub(super) fn least_loaded(&self) -> u8 {
        let load = |seat: &Seat| seat.slots.iter().filter(|&&taken| taken).count();
        (0..self.shape.workers).min_by_key(|&w| load(&self.seats[usize::from(w)])).unwrap_or(0)
    }

    pub(super) fn plug(&mut self, name: &str, kind: PortKind, mac: Mac, workers: &[usize]) {
        let port = PortId(self.next_port);
        self.next_port += 1;
        let mut ends = Vec::new();
        for &worker in workers {
            let seat = &mut self.seats[worker];
            let free = seat.slots.iter().position(|&taken| !taken).expect("a free slot");
            seat.slots[free] = true;
            let slot = PortSlot(u16::try_from(free).expect("few slots"));
            let worker = WorkerId(u8::try_from(worker).expect("few workers"));
            let at = PortRef { port, worker, slot };
            let (memory_port, far) = memory::port(seat.worker.memory_mut(), slot);
            let attached = Attached {
                at,
                kind,
                port: memory_port,
                counters: Arc::new(PortCounters::default()),
                answers: Limiter::default(),
            };
            let pushed = seat.mailbox.commands.push(Command::Add(Box::new(attached)));
            assert!(pushed.is_ok(), "the mailbox is empty between turns");
            ends.push((at, far));
            seat.worker.turn(self.now);
        }
        self.wires.insert(name.to_owned(), Wire { port, mac, ends });
    }

    pub(super) fn unplug(&mut self, name: &str) {
        let wire = self.wires.remove(name).unwrap_or_else(|| panic!("no wire {name}"));
        for (at, far) in wire.ends {
            let seat = &mut self.seats[at.worker.index()];
            assert!(seat.mailbox.commands.push(Command::Remove(at.slot)).is_ok());
            seat.worker.turn(self.now);
            let Some(Reply::Removed(attached)) = seat.mailbox.replies.pop() else {
                panic!("{name} was not given back");
            };
            let closed = attached.port.close(far);
            assert!(seat.mailbox.commands.push(Command::Closed(closed)).is_ok());
            for _ in 0..TURNS_MAX {
                seat.worker.turn(self.now);
                if let Some(reply) = seat.mailbox.replies.pop() {
                    assert!(matches!(reply, Reply::Home(slot) if slot == at.slot));
                    break;
                }
            }
            seat.slots[at.slot.index()] = false;
            let census = seat.worker.pool().census_of(at.slot);
            assert_eq!(census.total(), 0, "frames of a removed port stayed out");
        }
    }
}
