//! What the sender of a dropped packet hears. Cold.
//!
//! Time exceeded and too big come out of the port's answers. Rejects have as many of their own, by
//! pod: who floods what is denied loses nothing else by it, neither ARP nor the errors that path
//! MTU discovery needs, and takes no reject from another pod.

use super::Path;
use super::admit::Admitted;
use super::forward::Sent;
use super::mailbox::Limiter;
use crate::counters::DropReason;
use crate::frame::{Frame, Memory};
use crate::ids::PortRef;
use crate::packet::answer::{self, GATEWAY_MAC};
use crate::port::Port;
use crate::seat::Seat;

/// What the sender of a packet hears when policy denies it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denial {
    /// Nothing: as if nobody were there.
    #[default]
    Drop,
    /// A TCP reset, or an ICMP error "administratively prohibited".
    Reject,
}

/// How many rejects each pod may still cause, by its seat, whichever worker polls its port: by what
/// it sends, and apart from that by what is sent to it from outside, for anyone may send that. Who
/// has the seat next inherits what is left of a second.
#[derive(Debug)]
pub(super) struct Rejects {
    from: Box<[Limiter]>,
    outside_to: Box<[Limiter]>,
}

impl Rejects {
    /// None caused yet.
    pub(super) fn new() -> Self {
        let all = || Seat::all().map(|_| Limiter::default()).collect();
        Self { from: all(), outside_to: all() }
    }

    /// The limit that a packet counts for.
    fn of(&mut self, packet: &Admitted) -> Option<&mut Limiter> {
        let is_pods = packet.route.source.endpoint.is_some();
        let limiters = if is_pods { &mut self.from } else { &mut self.outside_to };
        limiters.get_mut(packet.route.holder().seat.index())
    }
}

impl<P: Port, M: Memory> Path<P, M> {
    /// Tells the sender of `frame` why it is dropped, where it may be told.
    #[cold]
    pub(super) fn tell(&mut self, frame: &Frame, packet: &Admitted, reason: DropReason) {
        let is_reject = matches!(reason, DropReason::EgressDenied | DropReason::IngressDenied);
        let from = packet.route.from;
        let may = if is_reject { self.may_reject(packet) } else { self.may_answer(from) };
        if !may {
            return;
        }
        let Some(mut letter) = self.pool.take() else {
            self.counters.rejects_withheld.add(u64::from(is_reject));
            return;
        };
        let (room, quoted) = self.memory.room_beside(&mut letter, frame);
        let (headers, mtu) = (&packet.headers, packet.route.exit.mtu);
        let length = match reason {
            DropReason::TtlExpired => answer::time_exceeded(room, quoted, headers, GATEWAY_MAC),
            DropReason::TooBig => answer::too_big(room, quoted, headers, GATEWAY_MAC, mtu),
            _ => answer::reject(room, quoted, headers, GATEWAY_MAC),
        };
        let Some(length) = length.and_then(|length| u16::try_from(length).ok()) else {
            return self.pool.put(letter);
        };
        letter.set_length(length);
        self.counters.originated.add(1);
        self.counters.rejects_sent.add(u64::from(is_reject));
        match self.emit(letter, from) {
            Ok(Sent::Here) => self.counters.sent.add(1),
            Ok(Sent::Over) => self.counters.handed_out.add(1),
            Err((reason, letter)) => self.drop_frame(letter, reason),
        }
    }

    /// Whether a packet that came in there may have an answer, or an error that is no reject.
    pub(super) fn may_answer(&mut self, from: PortRef) -> bool {
        let now = self.now;
        match self.attached(from) {
            Some(attached) => attached.answers.take(now),
            None => self.answers.take(now),
        }
    }

    /// Whether the packet may be rejected; what is never said takes nothing from what may be. It
    /// counts for the pod that sent it; from the host port, for the pod it is for, so that one who
    /// is scanned from outside leaves the others' callers their resets, and has its own.
    fn may_reject(&mut self, packet: &Admitted) -> bool {
        if !answer::may_reject(&packet.headers) {
            return false;
        }
        let now = self.now;
        let may = self.rejects.of(packet).is_some_and(|limiter| limiter.take(now));
        self.counters.rejects_withheld.add(u64::from(!may));
        may
    }
}
