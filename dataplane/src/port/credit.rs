//! How many frames a port may hold, and how many it holds. Hot path.

use super::RING_FRAMES;
use crate::limits::{BATCH_MAX, ETHERNET_BYTES};

/// The most frames a port's fill ring, or its transmit side, may hold.
pub const CREDIT_MAX: u32 = RING_FRAMES;

/// The fewest that are enough to work: one batch.
pub const CREDIT_MIN: u32 = 64;

const _: () = assert!(CREDIT_MIN as usize == BATCH_MAX);

/// The credit that each of `ports` ports of a worker may have, so that all of them at their
/// bounds leave an eighth of the frames in the pool:
/// `ports × (fill + transmit) + pool <= frames`, with `fill = transmit = credit`.
///
/// `None` where not even [`CREDIT_MIN`] is left for each.
#[must_use]
pub fn fair_credit(frames: u32, ports: u32) -> Option<u32> {
    let shared = frames.saturating_sub(frames / 8);
    let credit = shared.checked_div(ports.saturating_mul(2)).unwrap_or(CREDIT_MAX);
    (credit >= CREDIT_MIN).then_some(credit.min(CREDIT_MAX))
}

/// A port's frames: the bound of each side, and what is there.
#[derive(Debug)]
pub(super) struct Holding {
    credit: u32,
    fill: u32,
    transmit: u32,
}

impl Holding {
    pub(super) fn new() -> Self {
        Self { credit: CREDIT_MIN, fill: 0, transmit: 0 }
    }

    pub(super) fn set_credit(&mut self, frames: u32) {
        self.credit = frames.clamp(CREDIT_MIN, CREDIT_MAX);
    }

    #[inline]
    pub(super) fn fill(&self) -> u32 {
        self.fill
    }

    #[inline]
    pub(super) fn transmit(&self) -> u32 {
        self.transmit
    }

    /// What the fill ring lacks, at most a batch.
    #[inline]
    pub(super) fn missing(&self) -> u32 {
        self.credit.saturating_sub(self.fill).min(CREDIT_MIN)
    }

    /// Whether a packet of `length` bytes may be queued. The kernel skips one without an
    /// Ethernet header and never gives its frame back.
    #[inline]
    pub(super) fn may_send(&self, length: u16) -> bool {
        self.transmit < self.credit && usize::from(length) >= ETHERNET_BYTES
    }

    #[inline]
    pub(super) fn filled(&mut self, frames: usize) {
        self.fill = self.fill.saturating_add(count(frames));
    }

    #[inline]
    pub(super) fn received(&mut self, frames: usize) {
        debug_assert!(self.fill >= count(frames), "received more than was filled");
        self.fill = self.fill.saturating_sub(count(frames));
    }

    #[inline]
    pub(super) fn queued(&mut self) {
        self.transmit = self.transmit.saturating_add(1);
    }

    #[inline]
    pub(super) fn reclaimed(&mut self, frames: usize) {
        debug_assert!(self.transmit >= count(frames), "reclaimed more than was sent");
        self.transmit = self.transmit.saturating_sub(count(frames));
    }
}

#[inline]
fn count(frames: usize) -> u32 {
    u32::try_from(frames).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_ample_for_few_ports_and_fair_for_many() {
        assert_eq!(fair_credit(8192, 1), Some(CREDIT_MAX));
        assert_eq!(fair_credit(8192, 3), Some(1194));
        assert_eq!(fair_credit(8192, 56), Some(CREDIT_MIN));
        assert_eq!(fair_credit(8192, 57), None);
        assert_eq!(fair_credit(8192, 0), Some(CREDIT_MAX));
        for (frames, ports) in [(8192, 7), (65_536, 250), (4096, 3)] {
            let credit = fair_credit(frames, ports).expect("enough frames");
            assert!(ports * 2 * credit <= frames - frames / 8, "{ports} ports of {frames} frames");
        }
    }

    #[test]
    fn credit_stays_between_a_batch_and_a_ring() {
        let mut holding = Holding::new();
        holding.set_credit(0);
        assert_eq!(holding.credit, CREDIT_MIN);
        holding.set_credit(u32::MAX);
        assert_eq!(holding.credit, CREDIT_MAX);
    }
}
