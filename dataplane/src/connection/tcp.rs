//! What a TCP segment does to a connection. Pure: a function of track and header. Hot path.
//!
//! ```text
//!          SYN            SYN-ACK (or SYN)        ACK
//!   (none) ---> SynSent -----------------> SynReceived ---> Established
//!                                                               | FIN, in order
//!                            both FINs acknowledged             v
//!                 TimeWait <--------------------------------- FinWait
//!                                     RST, exact
//!   SynSent, SynReceived, Established, FinWait ---> Closed
//! ```
//!
//! The switch is no end of the connection: whatever it is shown passes once the connection is
//! known and allowed. What is decided here is only when a connection *is* and when it is *over*,
//! since to be over is to lose the record. So the question is always: can somebody who does not
//! see the stream make us believe it has ended?
//!
//! # What is believed
//!
//! Of each side we keep `end`, the highest sequence number it has used; `next`, up to where its
//! stream is unbroken or acknowledged; `acked`, the highest acknowledgment it has sent.
//!
//! | segment | counts when |
//! |---|---|
//! | ACK, data | it acknowledges something between what its sender acknowledged before (less [`STALE_BYTES`], for reordering) and what the other side has sent; and begins at most 1 GiB, the largest window there is, beyond `next` |
//! | FIN | as above; and takes effect once the stream before it is unbroken, or the other side has acknowledged it |
//! | RST | its number is exactly what the other side expects (`acked`), or where its sender's stream stands (`next`) |
//! | RST to a SYN | it acknowledges the SYN |
//! | SYN-ACK | it acknowledges the SYN |
//!
//! An RST inside the window that is not exact gets a challenge ACK from a modern end (RFC 5961)
//! and leaves the connection alive; a switch that ended it then would cut a living connection. The
//! true reset that follows a challenge is exact. Window scaling is no matter: no rule reads the
//! window, which a switch that missed the SYN options would misread.
//!
//! A segment that does not count changes nothing but still passes, and still shows that the
//! connection is in use. Should a track go astray, the record outlives the connection
//! until its timeout: the harm is to memory, not to traffic.
//!
//! # A SYN on a living connection
//!
//! An end that lost its memory opens again with the same ports. Its SYN is remembered
//! (`offered`) and no more: the other end, if alive, answers with a challenge ACK and is reset by
//! the exact rule. If it is gone too, its successor's SYN-ACK acknowledges the offer, and both sides begin
//! anew. A SYN when the connection is over is the worker's matter: see `Connections::is_over`.

use super::slab::bytes::{Odd, field};
use super::{State, Way};
use crate::packet::{TcpFlags, TcpHeader};

/// How far behind the newest acknowledgment a segment's may be, in bytes: reordering on the way
/// to us. What is older changes nothing, and need not.
const STALE_BYTES: i32 = 1 << 16;
/// How far beyond the unbroken stream a segment may begin, in bytes: the largest window that TCP
/// can offer (RFC 7323), for where segments were lost before they reached us.
const GAP_BYTES: i32 = 1 << 30;

/// One side's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Side {
    /// One past the highest sequence number sent.
    pub(super) end: u32,
    /// One past the last sequence number that is unbroken or acknowledged.
    pub(super) next: u32,
    /// The highest acknowledgment sent; before the first, the least that it can be.
    pub(super) acked: u32,
}

impl Side {
    const BLANK: Self = Self { end: 0, next: 0, acked: 0 };
}

/// Both sides, and what has happened between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Track {
    /// By way: opening, reply.
    pub(super) sides: [Side; 2],
    /// The number of a SYN from the opener while the connection was alive.
    offered: u32,
    /// Bits: see below.
    marks: u32,
}

/// A side has acknowledged something; shifted by the way.
const HEARD: u32 = 0b01;
/// A side has sent its FIN, which ends at `end`; shifted by the way.
const FIN: u32 = 0b01_00;
/// Both sides.
const BOTH: u32 = 0b11;
/// `offered` holds a number.
const OFFERED: u32 = 0b01_00_00;

/// What one segment came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The state now.
    pub(super) state: State,
    /// Whether the timeout begins again.
    pub(super) is_alive: bool,
}

/// Whether the segment may begin a connection: SYN alone.
#[inline]
pub(super) const fn is_opening(header: &TcpHeader) -> bool {
    header.flags.0 & (TcpFlags::SYN.0 | TcpFlags::ACK.0 | TcpFlags::FIN.0 | TcpFlags::RST.0)
        == TcpFlags::SYN.0
}

/// The track that a SYN begins.
pub(super) fn open(header: &TcpHeader) -> Track {
    let mut track = Track::BLANK;
    track.sides[0] = begin(header, 0);
    track.sides[1].acked = header.sequence.wrapping_add(1);
    track
}

/// Whether a segment may be of a connection that began unseen: it acknowledges, and neither begins
/// nor resets.
pub(super) const fn is_amid(header: &TcpHeader) -> bool {
    header.flags.0 & (TcpFlags::SYN.0 | TcpFlags::ACK.0 | TcpFlags::RST.0) == TcpFlags::ACK.0
}

/// The track of a connection that is seen from the middle on. Of the other side nothing is known but
/// what this one acknowledges, so it may acknowledge anything within the largest window.
pub(super) fn amid(header: &TcpHeader) -> Track {
    let (at, acked) = (header.sequence, header.acknowledgment);
    let mut track = Track::BLANK;
    let least = at.wrapping_sub(GAP_BYTES.unsigned_abs());
    track.sides =
        [Side { end: at, next: at, acked }, Side { end: acked, next: acked, acked: least }];
    track.note(Way::Opening, header);
    track
}

/// Takes one segment in.
pub(super) fn step(state: State, track: &mut Track, way: Way, header: &TcpHeader) -> Step {
    if header.flags.has(TcpFlags::RST) {
        return reset(state, track, way, header);
    }
    if state.is_over() {
        // Only a FIN, sent again because its acknowledgment was lost, prolongs the wait.
        let is_alive = state == State::TimeWait && header.flags.has(TcpFlags::FIN);
        return Step { state, is_alive };
    }
    match (header.flags.has(TcpFlags::SYN), header.flags.has(TcpFlags::ACK)) {
        (true, false) => syn(state, track, way, header),
        (true, true) => syn_ack(state, track, way, header),
        (false, true) => segment(state, track, way, header),
        // No end sends neither.
        (false, false) => Step { state, is_alive: false },
    }
}

/// An RST: ends the connection where it is exact.
fn reset(state: State, track: &Track, way: Way, header: &TcpHeader) -> Step {
    let (own, peer) = track.pair(way);
    let is_exact = match (state, way) {
        _ if state.is_over() => false,
        (State::SynSent, Way::Reply) => {
            header.flags.has(TcpFlags::ACK) && acknowledges(header, own.acked, peer.end)
        }
        _ => {
            header.sequence == own.next
                || track.has(HEARD, way.other()) && header.sequence == peer.acked
        }
    };
    Step { state: if is_exact { State::Closed } else { state }, is_alive: is_exact }
}

/// A SYN without ACK: the first again, a simultaneous open, or an offer to begin anew.
fn syn(state: State, track: &mut Track, way: Way, header: &TcpHeader) -> Step {
    let [opener, reply] = &mut track.sides;
    match (state, way) {
        (State::SynSent, Way::Opening) => {
            // The same SYN again, or the next attempt from the same port.
            *track = open(header);
            Step { state, is_alive: true }
        }
        (State::SynSent, Way::Reply) => {
            *reply = begin(header, reply.acked);
            opener.acked = header.sequence.wrapping_add(1);
            Step { state: State::SynReceived, is_alive: true }
        }
        (_, Way::Opening) if !is_repeated(header, opener) => {
            track.offered = header.sequence;
            track.marks |= OFFERED;
            Step { state, is_alive: false }
        }
        _ => Step { state, is_alive: false },
    }
}

/// A SYN-ACK: the answer to the SYN, to an offer, or its own repetition.
fn syn_ack(state: State, track: &mut Track, way: Way, header: &TcpHeader) -> Step {
    let offered = track.offered.wrapping_add(1);
    let [opener, reply] = &mut track.sides;
    match (state, way) {
        (_, Way::Reply) if track.marks & OFFERED != 0 && header.acknowledgment == offered => {
            *opener = Side { end: offered, next: offered, acked: header.sequence.wrapping_add(1) };
            *reply = begin(header, offered);
            track.marks = HEARD << Way::Reply.index();
            Step { state: State::SynReceived, is_alive: true }
        }
        (State::SynSent | State::SynReceived, Way::Reply)
            if acknowledges(header, reply.acked, opener.end)
                && (state == State::SynSent || !is_repeated(header, reply)) =>
        {
            // In `SynReceived`: a SYN cookie of another minute, or another attempt.
            *reply = begin(header, header.acknowledgment);
            opener.acked = header.sequence.wrapping_add(1);
            track.marks = HEARD << Way::Reply.index();
            Step { state: State::SynReceived, is_alive: true }
        }
        (State::SynReceived, _) => segment(state, track, way, header),
        _ => Step { state, is_alive: false },
    }
}

/// Everything after the handshake's first two segments.
fn segment(state: State, track: &mut Track, way: Way, header: &TcpHeader) -> Step {
    if state == State::SynSent {
        // The challenge of an end that still waits for an older connection to die.
        return Step { state, is_alive: false };
    }
    if track.counts(way, header) {
        track.note(way, header);
    }
    let state = match state {
        State::SynReceived => track.opened(),
        _ => state,
    };
    let state = match state {
        State::Established | State::FinWait => track.ended(),
        _ => state,
    };
    Step { state, is_alive: true }
}

impl Track {
    /// From the bytes that it has in memory: all numbers may be, but not all marks.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Odd> {
        let word = |at| field(bytes, at).map(u32::from_ne_bytes);
        let side = |[end, next, acked]: [usize; 3]| {
            Ok(Side { end: word(end)?, next: word(next)?, acked: word(acked)? })
        };
        let sides = [side([0, 4, 8])?, side([12, 16, 20])?];
        let (offered, marks) = (word(24)?, word(28)?);
        let is_known = marks & !((HEARD * BOTH) | (FIN * BOTH) | OFFERED) == 0;
        if is_known { Ok(Self { sides, offered, marks }) } else { Err(Odd) }
    }

    /// Nothing seen.
    pub(super) const BLANK: Self = Self { sides: [Side::BLANK; 2], offered: 0, marks: 0 };

    /// The verification tags of SCTP, which has no track of its own: see `sctp`.
    pub(super) const fn tags(&self) -> [u32; 2] {
        let [opening, reply] = &self.sides;
        [opening.next, reply.next]
    }

    /// Keeps SCTP's verification tags.
    pub(super) const fn set_tags(&mut self, tags: [u32; 2]) {
        let [opening, reply] = &mut self.sides;
        [opening.next, reply.next] = tags;
    }

    /// Whether the segment can belong to the stream: see the table above.
    fn counts(&self, way: Way, header: &TcpHeader) -> bool {
        let (own, peer) = self.pair(way);
        distance(own.acked, header.acknowledgment) >= -STALE_BYTES
            && !is_after(header.acknowledgment, peer.end)
            && distance(own.next, header.sequence) <= GAP_BYTES
    }

    /// Notes what a segment that counts says of both sides.
    fn note(&mut self, way: Way, header: &TcpHeader) {
        let end = header.end();
        let has_fin = header.flags.has(TcpFlags::FIN);
        let [opening, reply] = &mut self.sides;
        let (own, peer) = match way {
            Way::Opening => (opening, reply),
            Way::Reply => (reply, opening),
        };
        let joins = !is_after(header.sequence, own.next) && is_after(end, own.next);
        let extends = is_after(end, own.end);
        if extends {
            own.end = end;
            // Bytes beyond a FIN: it was not this side's.
            self.marks &= !(FIN << way.index());
        }
        if joins {
            own.next = end;
        }
        if has_fin && joins {
            // It ends the stream, so whatever was seen beyond it was not this side's.
            own.end = end;
        }
        if has_fin && (joins || extends) {
            self.marks |= FIN << way.index();
        }
        if !is_after(own.acked, header.acknowledgment) {
            own.acked = header.acknowledgment;
            self.marks |= HEARD << way.index();
        }
        if is_after(header.acknowledgment, peer.next) {
            peer.next = header.acknowledgment;
        }
    }

    /// Established once each side has acknowledged something of the other's.
    fn opened(&self) -> State {
        if self.marks & (HEARD * BOTH) == HEARD * BOTH {
            State::Established
        } else {
            State::SynReceived
        }
    }

    /// How far the ending has come.
    fn ended(&self) -> State {
        let has_ended = |way: Way| {
            let (own, _) = self.pair(way);
            self.has(FIN, way) && own.next == own.end
        };
        let is_known = |way: Way| {
            let (own, peer) = self.pair(way);
            has_ended(way) && peer.acked == own.end
        };
        if is_known(Way::Opening) && is_known(Way::Reply) {
            State::TimeWait
        } else if has_ended(Way::Opening) || has_ended(Way::Reply) {
            State::FinWait
        } else {
            State::Established
        }
    }

    fn has(&self, mark: u32, way: Way) -> bool {
        self.marks & (mark << way.index()) != 0
    }

    /// The sender's side and the other.
    fn pair(&self, way: Way) -> (&Side, &Side) {
        let [opening, reply] = &self.sides;
        match way {
            Way::Opening => (opening, reply),
            Way::Reply => (reply, opening),
        }
    }
}

/// A side that begins with this SYN.
fn begin(header: &TcpHeader, acked: u32) -> Side {
    let end = header.end();
    Side { end, next: end, acked }
}

/// Whether the segment acknowledges at least up to `from` and nothing after `to`.
fn acknowledges(header: &TcpHeader, from: u32, to: u32) -> bool {
    !is_after(from, header.acknowledgment) && !is_after(header.acknowledgment, to)
}

/// Whether a SYN is the one that its side began with: its number is just behind the side's.
fn is_repeated(header: &TcpHeader, side: &Side) -> bool {
    (0..=STALE_BYTES).contains(&distance(header.end(), side.end))
}

/// How far it is from `a` to `b`, in a space that wraps.
#[allow(clippy::cast_possible_wrap)] // the sign is the direction
fn distance(a: u32, b: u32) -> i32 {
    b.wrapping_sub(a) as i32
}

/// Whether `a` is later in the stream than `b`.
fn is_after(a: u32, b: u32) -> bool {
    distance(b, a) > 0
}

#[cfg(test)]
mod tests;
