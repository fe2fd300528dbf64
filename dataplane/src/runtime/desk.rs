//! Control's end of one worker's mailbox: queues handed out and taken back, pages asked for. Cold.
//!
//! Nothing here waits. What cannot be told now is told by a later [`Desk::settle`], and an answer
//! that comes late finds its place, because none is paired by its order: each says what it is
//! about ([`Reply`]). So a worker that was slow, and for which control no longer waits, costs
//! time and nothing else: its half of the socket, its frames and its slot come home whenever it
//! answers, and until then the slot is given to nobody.
//!
//! ```text
//!   slot:  free ── hand_out ──> in use ── take_back ──> leaving ────────────────────> free
//!                                                       Remove ─> Removed: the socket is closed
//!                                                                 Closed ─> Home
//! ```
//!
//! Where all ports are given away together ([`Desk::hold`]), a queue that is back stays open until
//! [`Desk::take_open`]: the kernel lets one socket go as slowly as a hundred, so they are closed
//! side by side.
//!
//! Generic over the port, so that tests play the worker or turn a real one by hand.

use std::sync::Arc;

use crate::clock::Tick;
use crate::connection::{Adoptions, Page};
use crate::frame::Closed;
use crate::ids::{PortId, PortRef, PortSlot};
use crate::limits::PORTS_MAX;
use crate::port::xsk::XskPort;
use crate::port::{Port, SocketHandle};
use crate::worker::mailbox::{AskId, Attached, Command, Mailbox, Reply};

/// Control's half of a port.
pub(super) trait Half {
    /// The worker's half.
    type Port: Port + std::fmt::Debug;

    /// Closes both halves of one port: the kernel lets go of its frames.
    fn close(self, port: Self::Port) -> Closed;
}

impl Half for SocketHandle {
    type Port = XskPort;

    fn close(self, port: XskPort) -> Closed {
        Self::close(self, port)
    }
}

/// What control holds of one worker's ports.
#[derive(Debug)]
pub(super) struct Desk<H: Half> {
    mailbox: Arc<Mailbox<H::Port>>,
    /// By slot.
    taken: Vec<bool>,
    leaving: Vec<Leaving<H>>,
    /// Whether queues that come back stay open.
    holds: bool,
    /// The newest question for a page, and its answer.
    asked: AskId,
    copied: Option<Copied>,
    adopting: Adopting,
}

/// Pages of a predecessor's connections.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Adopting {
    /// Those that the worker has.
    under_way: usize,
    /// What became of all that it had: taken in, no room for them, there already, or over.
    pub(super) became: [u64; 4],
}

/// A page of connections, and where to go on.
pub(super) type Copied = (Box<Page>, Option<u32>);

/// A queue that is back, and both halves of its socket.
pub(super) type Open<H> = (PortRef, H, <H as Half>::Port);

/// A queue on its way home.
#[derive(Debug)]
struct Leaving<H: Half> {
    at: PortRef,
    step: Step<H>,
}

#[derive(Debug)]
enum Step<H: Half> {
    /// The worker is yet to be told.
    Served(H),
    /// It is told, and has its half yet.
    Asked(H),
    /// It has given its half back, and the socket is to be closed with others.
    Open(H, H::Port),
    /// The socket is closed, of which the worker is yet to be told.
    Closed(Closed),
    /// It is told, and takes the frames home.
    Homing,
}

/// Why a queue was not handed out.
#[derive(Debug)]
pub(super) enum NotHandedOut<E> {
    /// The mailbox is full; nothing has happened.
    NoRoom,
    /// The worker has it, but it could not be shown to the program: it is being taken back.
    NotShown(E),
}

impl<H: Half> Desk<H> {
    pub(super) fn new(mailbox: Arc<Mailbox<H::Port>>) -> Self {
        let taken = vec![false; PORTS_MAX];
        Self {
            mailbox,
            taken,
            leaving: Vec::new(),
            holds: false,
            asked: AskId(0),
            copied: None,
            adopting: Adopting::default(),
        }
    }

    /// Slots in use, or not yet free again.
    pub(super) fn load(&self) -> usize {
        self.taken.iter().filter(|&&taken| taken).count()
    }

    /// Takes a free slot; the caller gives it back or hands out a queue in it.
    pub(super) fn take_slot(&mut self) -> Option<PortSlot> {
        let free = self.taken.iter().position(|&taken| !taken)?;
        *self.taken.get_mut(free)? = true;
        u16::try_from(free).ok().map(PortSlot)
    }

    /// Gives back a slot that the worker has not heard of.
    pub(super) fn free_slot(&mut self, slot: PortSlot) {
        if let Some(taken) = self.taken.get_mut(slot.index()) {
            *taken = false;
        }
    }

    /// Whether the worker can be told something now.
    pub(super) fn has_room(&self) -> bool {
        !self.mailbox.commands.is_full()
    }

    /// Gives the worker a queue, in a slot that was taken for it; only then lets `show` tell the
    /// program of its socket.
    ///
    /// # Errors
    /// See [`NotHandedOut`]. The slot is freed here, at once or when the worker has given it back.
    pub(super) fn hand_out<E>(
        &mut self,
        attached: Attached<H::Port>,
        half: H,
        show: impl FnOnce(&H) -> Result<(), E>,
    ) -> Result<H, NotHandedOut<E>> {
        let at = attached.at;
        if self.mailbox.commands.push(Command::Add(Box::new(attached))).is_err() {
            self.free_slot(at.slot);
            return Err(NotHandedOut::NoRoom);
        }
        match show(&half) {
            Ok(()) => Ok(half),
            Err(error) => {
                self.take_back(at, half);
                Err(NotHandedOut::NotShown(error))
            }
        }
    }

    /// Begins to take a queue back; [`Desk::is_home`] says when it is done.
    pub(super) fn take_back(&mut self, at: PortRef, half: H) {
        self.leaving.push(Leaving { at, step: Step::Served(half) });
        self.settle();
    }

    /// From now on queues that come back stay open, until [`Desk::take_open`].
    pub(super) fn hold(&mut self) {
        self.holds = true;
    }

    /// The queues that are back and open, once all are back; closes them one by one from then on.
    pub(super) fn take_open(&mut self) -> Option<Vec<Open<H>>> {
        let is_out =
            |leaving: &Leaving<H>| matches!(leaving.step, Step::Served(_) | Step::Asked(_));
        if self.leaving.iter().any(is_out) {
            return None;
        }
        self.holds = false;
        let mut open = Vec::new();
        for leaving in std::mem::take(&mut self.leaving) {
            match leaving.step {
                Step::Open(half, port) => open.push((leaving.at, half, port)),
                step => self.leaving.push(Leaving { at: leaving.at, step }),
            }
        }
        Some(open)
    }

    /// A queue that was taken open is closed: its worker is told next.
    pub(super) fn closed(&mut self, at: PortRef, closed: Closed) {
        self.leaving.push(Leaving { at, step: Step::Closed(closed) });
    }

    /// Whether nothing of a port is on its way any more.
    pub(super) fn is_home(&self, port: PortId) -> bool {
        self.leaving.iter().all(|leaving| leaving.at.port != port)
    }

    /// Asks for connections, from `cursor` on; false where the mailbox is full.
    pub(super) fn ask_page(&mut self, page: Box<Page>, cursor: u32) -> bool {
        self.asked = AskId(self.asked.0 + 1);
        self.copied = None;
        self.mailbox.commands.push(Command::Copy(page, cursor, self.asked)).is_ok()
    }

    /// The answer to the newest question, once it is there.
    pub(super) fn take_page(&mut self) -> Option<Copied> {
        self.copied.take()
    }

    /// Tells the worker until when to pick TCP up; not where the mailbox is full.
    pub(super) fn pick_up(&mut self, until: Tick) {
        let _full = self.mailbox.commands.push(Command::PickUp(until));
    }

    /// Gives the worker a page of a predecessor's connections.
    ///
    /// # Errors
    /// The page, where the mailbox is full.
    pub(super) fn adopt(&mut self, page: Box<Adoptions>) -> Result<(), Box<Adoptions>> {
        if let Err(Command::Adopt(page)) = self.mailbox.commands.push(Command::Adopt(page)) {
            return Err(page);
        }
        self.adopting.under_way += 1;
        Ok(())
    }

    /// What became of the pages, once the worker has none any more.
    pub(super) fn adopted(&self) -> Option<[u64; 4]> {
        (self.adopting.under_way == 0).then_some(self.adopting.became)
    }

    /// Takes in what the worker has answered, and tells it what it is yet to be told.
    pub(super) fn settle(&mut self) {
        while let Some(reply) = self.mailbox.replies.pop() {
            self.take_in(reply);
        }
        for leaving in std::mem::take(&mut self.leaving) {
            let step = self.tell(leaving.at.slot, leaving.step);
            self.leaving.push(Leaving { at: leaving.at, step });
        }
    }

    fn take_in(&mut self, reply: Reply<H::Port>) {
        match reply {
            Reply::Removed(attached) => self.close(*attached),
            Reply::Home(slot) => {
                self.leaving.retain(|leaving| leaving.at.slot != slot);
                self.free_slot(slot);
            }
            Reply::Page(page, next, asked) if asked == self.asked => {
                self.copied = Some((page, next));
            }
            // The answer to a question that nobody waits for any more.
            Reply::Page(..) => {}
            Reply::Adopted(page) => {
                let Adopting { under_way, became } = &mut self.adopting;
                *under_way = under_way.saturating_sub(1);
                for (all, of_page) in became.iter_mut().zip(page.became()) {
                    *all = all.saturating_add(of_page);
                }
            }
            // Commands keep their order, so it was there. If not, its frames may be anywhere: the
            // slot is given to nobody.
            Reply::NotThere(_) => debug_assert!(false, "a worker lost a port"),
        }
    }

    /// Closes a socket whose other half has come back.
    fn close(&mut self, attached: Attached<H::Port>) {
        let asked = |leaving: &Leaving<H>| leaving.at == attached.at;
        let Some(place) = self.leaving.iter().position(asked) else { return };
        let Leaving { at, step } = self.leaving.swap_remove(place);
        let step = match step {
            Step::Asked(half) if self.holds => Step::Open(half, attached.port),
            Step::Asked(half) => Step::Closed(half.close(attached.port)),
            other => other,
        };
        self.leaving.push(Leaving { at, step });
    }

    /// Tells the worker the next step of a queue's way home, if it is our turn.
    fn tell(&self, slot: PortSlot, step: Step<H>) -> Step<H> {
        if !self.has_room() {
            return step;
        }
        // There is room, and nobody else writes to this mailbox.
        let tell = |command| {
            let told = self.mailbox.commands.push(command);
            debug_assert!(told.is_ok(), "somebody else writes here");
        };
        match step {
            Step::Served(half) => {
                tell(Command::Remove(slot));
                Step::Asked(half)
            }
            Step::Closed(closed) => {
                tell(Command::Closed(closed));
                Step::Homing
            }
            Step::Asked(_) | Step::Open(..) | Step::Homing => step,
        }
    }
}

#[cfg(test)]
mod tests;
