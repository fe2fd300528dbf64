//! The frame budget: whether every socket gets its share of a worker's packet memory.

use std::fmt;

use lockgate_dataplane::limits::{BATCH_MAX, FRAME_BYTES};

/// What a socket must be able to hold in its fill ring, in frames.
const FILL_MIN: u64 = 64;
/// What a socket must be able to have under way in its transmit ring, in frames.
const OUTSTANDING_MIN: u64 = 32;
/// What must be left for batches in hand and packets handed over, in frames.
const POOL_MIN: u64 = 8 * BATCH_MAX as u64;
/// What the kernel keeps for each frame of a UMEM and socket on it, in bytes.
const KERNEL_BYTES_PER_FRAME_AND_SOCKET: u64 = 128;

/// One worker's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameBudget {
    /// Frames of the worker.
    pub frames: u64,
    /// Sockets on them: its pods', the host port's, the anchor.
    pub sockets: u64,
}

impl FrameBudget {
    /// The budget of the worker with the most ports.
    #[must_use]
    pub fn new(frames: u32, ports_max: u16, workers: u8, has_host: bool) -> Self {
        let pods = u64::from(ports_max).div_ceil(u64::from(workers.max(1)));
        Self { frames: u64::from(frames), sockets: pods + u64::from(has_host) + 1 }
    }

    /// Frames that the sockets need at least.
    #[must_use]
    pub fn needed(&self) -> u64 {
        self.sockets * (FILL_MIN + OUTSTANDING_MIN) + POOL_MIN
    }

    /// Whether every socket gets its share.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.needed() <= self.frames
    }

    /// Bytes of one worker: frames, and what the kernel keeps for them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let kernel = self.sockets * KERNEL_BYTES_PER_FRAME_AND_SOCKET;
        self.frames * (FRAME_BYTES as u64 + kernel)
    }
}

impl fmt::Display for FrameBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sockets × ({FILL_MIN} fill + {OUTSTANDING_MIN} outstanding) + {POOL_MIN} pool = \
             {} frames needed, {} there are ({} MiB with the kernel's part)",
            self.sockets,
            self.needed(),
            self.frames,
            self.bytes().div_ceil(1 << 20)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_fifty_ports_on_four_workers_fit_in_512_mib() {
        let budget = FrameBudget::new(8192, 250, 4, true);
        assert_eq!(budget.sockets, 65);
        assert!(budget.fits(), "{budget}");
        assert!(4 * budget.bytes() <= 512 << 20, "{budget}");
    }

    #[test]
    fn a_budget_that_does_not_add_up_is_told_in_full() {
        let budget = FrameBudget::new(1024, 20, 2, true);
        assert!(!budget.fits());
        assert_eq!(
            budget.to_string(),
            "12 sockets × (64 fill + 32 outstanding) + 512 pool = 1664 frames needed, 1024 there \
             are (6 MiB with the kernel's part)"
        );
    }
}
