//! What control asks of a worker, and what the worker gives back. Cold, but for the empty look.
//!
//! Sockets are made and closed by control (house D12); a worker only receives and gives back what
//! polls them. Boxes travel, nothing is copied, allocated or freed on the worker's side.
//!
//! A reply says what it is about, so that one that comes late is not taken for the answer to
//! something else: ports by their name, slots by their number (which is not used again before it
//! is `Home`), pages by the number of the question.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::clock::Tick;
use crate::connection::{Adoptions, Page};
use crate::counters::PortCounters;
use crate::frame::Closed;
use crate::ids::{PortRef, PortSlot};
use crate::limits::ANSWERS_PER_SECOND;

/// What hangs on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortKind {
    /// One pod: what it sends must bear its own addresses.
    Pod,
    /// The node's own stack, and through it everything that is no local pod (house D10).
    Host,
}

/// A port as its worker holds it.
#[derive(Debug)]
pub struct Attached<P> {
    /// Its name and place.
    pub at: PortRef,
    /// What hangs on it.
    pub kind: PortKind,
    /// The rings.
    pub port: P,
    /// Its cells.
    pub counters: Arc<PortCounters>,
    /// How many answers it may still have.
    pub answers: Limiter,
}

/// At most [`ANSWERS_PER_SECOND`] in each second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limiter {
    since: Tick,
    used: u32,
}

impl Limiter {
    /// Takes one; false when this second's are used up.
    #[inline]
    pub fn take(&mut self, now: Tick) -> bool {
        if now.since_ms(self.since) >= 1000 {
            *self = Self { since: now, used: 0 };
        }
        let free = self.used < ANSWERS_PER_SECOND;
        self.used = self.used.saturating_add(u32::from(free));
        free
    }
}

/// One question for a page, among all that control ever asked of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskId(pub u64);

/// Control to worker.
#[derive(Debug)]
pub enum Command<P> {
    /// Poll this port from now on. Its slot is free.
    Add(Box<Attached<P>>),
    /// Stop polling the port in this slot and give it back.
    Remove(PortSlot),
    /// The socket of a slot is closed: its frames belong to nobody, take them home.
    Closed(Closed),
    /// Copy connections, from this cursor on, into this page, and say which question it answers.
    Copy(Box<Page>, u32, AskId),
    /// Until then, pick TCP up of which nothing is known.
    PickUp(Tick),
    /// Take in these connections of a predecessor.
    Adopt(Box<Adoptions>),
}

/// Worker to control.
#[derive(Debug)]
pub enum Reply<P> {
    /// The port is not polled any more; close it.
    Removed(Box<Attached<P>>),
    /// Nothing was in that slot.
    NotThere(PortSlot),
    /// All frames of the slot are home; it may be used again.
    Home(PortSlot),
    /// A page of connections, the next cursor, `None` at the end, and the question.
    Page(Box<Page>, Option<u32>, AskId),
    /// What became of connections of a predecessor.
    Adopted(Box<Adoptions>),
}

/// Letters in each direction that may wait.
const LETTERS: usize = 64;

/// The two queues between control and one worker.
#[derive(Debug)]
pub struct Mailbox<P> {
    /// Control writes, the worker reads.
    pub commands: ArrayQueue<Command<P>>,
    /// The worker writes, control reads.
    pub replies: ArrayQueue<Reply<P>>,
}

impl<P> Default for Mailbox<P> {
    fn default() -> Self {
        Self { commands: ArrayQueue::new(LETTERS), replies: ArrayQueue::new(LETTERS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limiter_gives_its_number_each_second_and_no_more() {
        let mut limiter = Limiter::default();
        let taken =
            |limiter: &mut Limiter, now| (0..5000).filter(|_| limiter.take(Tick(now))).count();
        assert_eq!(taken(&mut limiter, 5_000), ANSWERS_PER_SECOND as usize);
        assert_eq!(taken(&mut limiter, 5_999), 0);
        assert_eq!(taken(&mut limiter, 6_000), ANSWERS_PER_SECOND as usize);
    }
}
