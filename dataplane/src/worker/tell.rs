//! What the sender of a dropped packet hears. Cold.
//!
//! Each kind is limited for each pod, apart from the answers of its port: who floods what is denied
//! or dies on the way loses nothing else by it, neither ARP nor the errors that path MTU discovery
//! needs, and takes nothing from another pod.

use super::Path;
use super::admit::Admitted;
use super::forward::Sent;
use super::mailbox::Limiter;
use crate::clock::Tick;
use crate::connection::Holder;
use crate::connection::fragment::Flow;
use crate::counters::DropReason;
use crate::frame::{Frame, Memory};
use crate::packet::Address;
use crate::packet::answer;
use crate::port::Port;
use crate::seat::Seat;
use crate::service::own::telling;

/// What the sender of a packet hears when policy denies it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denial {
    /// Nothing: as if nobody were there.
    #[default]
    Drop,
    /// A TCP reset, or an ICMP error "administratively prohibited".
    Reject,
}

/// How many errors and rejects each pod may still cause, of each kind, by its seat, whichever worker
/// polls its port: by what it sends, and apart from that by what is sent to it from outside, for
/// anyone may send that. Who has the seat next inherits what is left of a second.
#[derive(Debug)]
pub(super) struct Allowances {
    time_exceeded: [Box<[Limiter]>; 2],
    too_big: [Box<[Limiter]>; 2],
    reject: [Box<[Limiter]>; 2],
}

impl Allowances {
    /// None caused yet.
    pub(super) fn new() -> Self {
        let all = || Seat::all().map(|_| Limiter::default()).collect();
        let both = || [all(), all()];
        Self { time_exceeded: both(), too_big: both(), reject: both() }
    }

    /// Takes one of those that a dropped packet counts for; false where they are used up.
    fn take(&mut self, packet: &Admitted, reason: DropReason, now: Tick) -> bool {
        let [from_outside, from_pods] = match reason {
            DropReason::TtlExpired => &mut self.time_exceeded,
            DropReason::TooBig => &mut self.too_big,
            _ => &mut self.reject,
        };
        let Holder { seat, opens, .. } = packet.route.holder();
        let limiters = if opens { from_pods } else { from_outside };
        limiters.get_mut(seat.index()).is_some_and(|limiter| limiter.take(now))
    }
}

impl<P: Port, M: Memory> Path<P, M> {
    /// Tells the sender of `frame` why it is dropped, where it may be told.
    #[cold]
    pub(super) fn tell(&mut self, frame: &Frame, packet: &Admitted, reason: DropReason) {
        let is_reject = matches!(reason, DropReason::EgressDenied | DropReason::IngressDenied);
        let (from, now) = (packet.route.from, self.now);
        // What is never said takes nothing from what may be.
        let is_of_service = matches!(
            reason,
            DropReason::NoBackend | DropReason::BackendGone | DropReason::PortsTaken
        );
        if (is_reject || is_of_service) && !answer::may_reject(&packet.headers) {
            return;
        }
        if !self.allowances.take(packet, reason, now) {
            self.counters.rejects_withheld.add(u64::from(is_reject));
            return;
        }
        let Some(mut letter) = self.pool.take() else {
            self.counters.rejects_withheld.add(u64::from(is_reject));
            return;
        };
        let (room, quoted) = self.memory.room_beside(&mut letter, frame);
        let (headers, mtu) = (&packet.headers, packet.route.exit.mtu);
        let speaker = speaker(packet, reason);
        let length = match reason {
            DropReason::TtlExpired => answer::time_exceeded(room, quoted, headers, speaker),
            DropReason::TooBig => answer::too_big(room, quoted, headers, speaker, mtu),
            DropReason::NoBackend => answer::unreachable(room, quoted, headers, speaker),
            _ => answer::reject(room, quoted, headers, speaker),
        };
        let Some(length) = length.and_then(|length| u16::try_from(length).ok()) else {
            return self.pool.put(letter);
        };
        letter.set_length(length);
        self.counters.originated.add(1);
        self.counters.rejects_sent.add(u64::from(is_reject));
        // Who asked a Service knows nothing of its backend.
        let asked = packet.route.translator();
        if asked == Some(self.id)
            && self.put_back_unread(&mut letter, Flow::of(&headers.key)).is_err()
        {
            return self.drop_frame(letter, DropReason::NoConnection);
        }
        let back = asked.filter(|worker| *worker != self.id).map(|_| Flow::of(&headers.key));
        match self.emit(letter, from, back) {
            Ok(Sent::Here) => self.counters.sent.add(1),
            Ok(Sent::Over) => self.counters.handed_out.add(1),
            Err((reason, letter)) => self.drop_frame(letter, reason),
        }
    }
}

/// By which address the switch tells the sender of a packet what became of it (RFC 4443 §2.2).
fn speaker(packet: &Admitted, reason: DropReason) -> Address {
    let key = &packet.headers.key;
    // A pod is on the gateway's link; and who asked a Service is told by that once it is put back.
    if packet.route.source.endpoint.is_some() || packet.route.translator().is_some() {
        return answer::gateway(key.source);
    }
    match reason {
        // The Service's own: whoever asks it takes packets from it, and so does all that is between.
        DropReason::NoBackend | DropReason::BackendGone => key.target,
        _ => telling(key.source),
    }
}
