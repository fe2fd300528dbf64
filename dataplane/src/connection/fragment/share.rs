//! What each port may have of the places for fragments. Hot path.

use super::list::{Ends, NONE};
use crate::connection::Holder;
use crate::seat::Seat;

/// Datagrams under way, of one worker.
pub const DATAGRAMS_MAX: usize = 1024;
/// Datagrams under way, of one port.
pub const PER_PORT: u16 = 64;
/// Fragments that wait for their first, of one worker.
pub const WAITING_MAX: usize = 1024;
/// Fragments that wait for their first, of one port: the longest datagram in IPv6's smallest packets,
/// 54 of them, in reverse order.
pub const WAITING_PER_PORT: u16 = 64;
/// What a port may have of datagrams, and of fragments that wait, where a quarter of the places or
/// less is left: some ports that take what they can leave many others enough.
pub const PART: u16 = 4;
/// The quarter.
const RESERVED: usize = 4;

const _: () = assert!(DATAGRAMS_MAX < NONE as usize);
const _: () = assert!(2 * Seat::COUNT as usize <= u16::MAX as usize);
const _: () = assert!(WAITING_MAX < NONE as usize);

/// What one port has under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) datagrams: u16,
    pub(super) waiting: u16,
    pub(super) oldest_first: Ends,
}

/// What pods have under way together, or all who are outside.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Side {
    pub(super) datagrams: u16,
    pub(super) waiting: u16,
    pub(super) by_age: Ends,
    /// Those of which any fragment waits, in the order in which that began.
    pub(super) that_wait: Ends,
}

/// Places that are left for a port's side, and so many of them that none need fear for its own.
#[derive(Clone, Copy)]
pub(super) struct Room {
    left: usize,
    reserved: usize,
}

impl Room {
    /// Of so many places, and so many that are free, where the port's side has some. Outside has at
    /// most half of all, and nothing of the last quarter.
    pub(super) fn of(port: u16, all: usize, free: usize, side_has: u16) -> Self {
        if side_of(port) == 0 {
            return Self { left: free, reserved: all / RESERVED };
        }
        let half = all / 2;
        let left = free.saturating_sub(all / RESERVED).min(half.saturating_sub(side_has.into()));
        Self { left, reserved: half / RESERVED }
    }

    /// Whether one that has so many may have one more.
    pub(super) fn has_for(self, has: u16, most: u16) -> bool {
        self.left > 0 && has < if self.left > self.reserved { most } else { PART }
    }
}

/// A holder's place in `shares`.
pub(super) fn share_of(holder: Holder) -> Option<u16> {
    let outside = if holder.opens { 0 } else { Seat::COUNT };
    holder.seat.0.checked_add(outside)
}

/// The place in `sides` of a place in `shares`.
pub(super) fn side_of(port: u16) -> usize {
    usize::from(port >= Seat::COUNT)
}

/// A port's share, and its side.
pub(super) fn of_port<'a>(
    shares: &'a mut [Share],
    sides: &'a mut [Side],
    port: u16,
) -> Option<(&'a mut Share, &'a mut Side)> {
    Some((shares.get_mut(usize::from(port))?, sides.get_mut(side_of(port))?))
}
