//! How many frames a port may hold, and how many it holds. Hot path.

use super::RING_FRAMES;
use crate::limits::{BATCH_MAX, ETHERNET_BYTES};

/// The most frames a port's fill ring, or its transmit side, may hold.
pub const CREDIT_MAX: u32 = RING_FRAMES;

/// The fewest that are enough to work: one batch.
pub const CREDIT_MIN: u32 = 64;

const _: () = assert!(CREDIT_MIN as usize == BATCH_MAX);

/// The most frames that a quiet port's fill ring holds: what a pod sends in one burst before its
/// worker has looked.
pub const QUIET_MAX: u32 = 256;

/// How often a turn fills a port. A turn takes one batch: with one to put in its place a fill ring
/// would never grow under load.
pub const FILLS_PER_TURN: usize = 2;

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

/// The frames of a pool of `frames` that fill rings may take beyond their least share, with
/// `available` at home: the least shares of all ports that there can be stay behind.
///
/// The kernel keeps what is in a fill ring until a packet comes, so a quiet port gives nothing
/// back. Without this the first ports of a worker would take all, and later ones receive nothing.
#[inline]
#[must_use]
pub(super) fn spare(frames: u32, available: usize) -> u32 {
    let shared = frames.saturating_sub(frames / 8);
    u32::try_from(available).unwrap_or(u32::MAX).saturating_sub(shared / 2)
}

/// A port's frames: the bound of each side, what is wanted in the fill ring, and what is there.
///
/// A fill ring begins small and grows while packets use most of it up between two turns, or come in
/// whole batches, so that a quiet port holds few of the frames that a busy one can use.
#[derive(Debug)]
pub(super) struct Holding {
    credit: u32,
    wanted: u32,
    fill: u32,
    transmit: u32,
}

impl Holding {
    pub(super) fn new() -> Self {
        Self { credit: CREDIT_MIN, wanted: CREDIT_MIN, fill: 0, transmit: 0 }
    }

    pub(super) fn set_credit(&mut self, frames: u32) {
        self.credit = frames.clamp(CREDIT_MIN, CREDIT_MAX);
        // Half of its share while it is quiet, for there may be more ports soon.
        let quiet = (self.credit / 2).clamp(CREDIT_MIN, QUIET_MAX);
        self.wanted = self.wanted.clamp(quiet, self.credit);
    }

    #[inline]
    pub(super) fn fill(&self) -> u32 {
        self.fill
    }

    #[inline]
    pub(super) fn transmit(&self) -> u32 {
        self.transmit
    }

    /// What the fill ring lacks, at most a batch: its least share always, more only of what is
    /// [`spare`].
    #[inline]
    pub(super) fn missing(&self, spare: u32) -> u32 {
        let least = CREDIT_MIN.saturating_sub(self.fill);
        let more = self.wanted.saturating_sub(self.fill).min(spare);
        least.max(more).min(CREDIT_MIN)
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
        // A whole batch: more may wait in the ring, where their frames are in nobody's reach.
        if self.fill < self.wanted / 2 || count(frames) >= CREDIT_MIN {
            self.wanted = self.wanted.saturating_mul(2).min(self.credit);
        }
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
    fn quiet_ports_leave_the_frames_to_those_that_come_and_to_busy_ones() {
        let (frames, ports) = (8192_u32, 56);
        let mut available = frames;
        for number in 1..=ports {
            let mut quiet = Holding::new();
            quiet.set_credit(fair_credit(frames, number).expect("enough frames"));
            for _ in 0..100 {
                let filled = quiet.missing(spare(frames, available as usize)).min(available);
                quiet.filled(filled as usize);
                available -= filled;
            }
            assert!((CREDIT_MIN..=QUIET_MAX).contains(&quiet.fill()), "port {number}");
        }
        assert!(available > frames / 8);
    }

    #[test]
    fn busy_ports_grow_and_leave_the_least_share_of_all_others() {
        let frames = 8192_u32;
        let mut available = frames;
        let mut busy: Vec<Holding> = (0..8).map(|_| Holding::new()).collect();
        for _ in 0..200 {
            for port in &mut busy {
                port.set_credit(CREDIT_MAX);
                let came = port.fill().min(64);
                port.received(came as usize);
                available += came;
                for _ in 0..FILLS_PER_TURN {
                    let filled = port.missing(spare(frames, available as usize));
                    assert!(filled <= available, "the pool is empty");
                    port.filled(filled as usize);
                    available -= filled;
                }
            }
        }
        let most = busy.iter().map(Holding::fill).max().unwrap();
        assert!(most > 4 * CREDIT_MIN, "the busiest holds {most}");
        let others = 56 - 8;
        assert!(available >= others * CREDIT_MIN, "{available} are left for {others} ports");
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
