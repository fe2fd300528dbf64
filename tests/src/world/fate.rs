//! What became of a packet in a simulated node.

use lockgate_dataplane::counters::DropReason;

use super::World;

/// Drops by reason.
pub type Drops = [u64; DropReason::COUNT];

/// What became of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrived; the frame as it did.
    Sent(Vec<u8>),
    /// It was dropped.
    Dropped(DropReason),
    /// Something arrived and something was dropped.
    Both(Vec<u8>, DropReason),
    /// The port had no frame for it.
    Refused,
    /// Nothing arrived and nothing was counted: never right.
    Lost,
}

impl Fate {
    /// Whether it arrived, and nothing else happened.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        matches!(self, Self::Sent(_))
    }
}

impl World {
    /// What became of the one packet that was on its way since these were the drops: its target
    /// may have lost its wire meanwhile.
    pub fn fate_since(&mut self, before: &Drops, to: &str) -> Fate {
        let has_wire = self.wires.contains_key(to);
        let arrived = if has_wire { self.received(to) } else { Vec::new() };
        let mut dropped =
            DropReason::ALL.iter().copied().filter(|&r| self.dropped(r) > before[r as usize]);
        match (arrived.into_iter().next(), dropped.next()) {
            (Some(frame), None) => Fate::Sent(frame),
            (None, Some(reason)) => Fate::Dropped(reason),
            (Some(frame), Some(reason)) => Fate::Both(frame, reason),
            (None, None) => Fate::Lost,
        }
    }
}
