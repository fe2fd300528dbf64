//! What became of a packet in a simulated node.

use lockgate_dataplane::counters::DropReason;

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
