//! The frame budget: whether every port gets its share of a worker's packet memory.

use std::fmt;

use lockgate_dataplane::limits::{FRAME_BYTES, PORTS_MAX};
use lockgate_dataplane::port::{CREDIT_MIN, fair_credit};

/// What the kernel keeps for each frame of a UMEM and socket on it, in bytes.
const KERNEL_BYTES_PER_FRAME_AND_SOCKET: u64 = 128;

/// The budget of the worker with the most ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameBudget {
    /// Frames of the worker.
    pub frames: u32,
    /// Ports that share them: its pods', and its queue of the host port.
    pub ports: u32,
}

impl FrameBudget {
    /// The budget of a node's busiest worker.
    #[must_use]
    pub fn new(frames: u32, ports_max: u16, workers: u8, has_host: bool) -> Self {
        let pods = u32::from(ports_max).div_ceil(u32::from(workers.max(1)));
        Self { frames, ports: pods + u32::from(has_host) }
    }

    /// The most pod ports that `workers` workers of so many frames can bear.
    #[must_use]
    pub fn ports_that_fit(frames: u32, workers: u8, has_host: bool) -> u16 {
        let slots = PORTS_MAX.saturating_sub(usize::from(has_host));
        let each = (0..=slots).rev().find_map(|pods| {
            let pods = u16::try_from(pods).ok()?;
            Self::new(frames, pods, 1, has_host).fits().then_some(pods)
        });
        each.unwrap_or(0).saturating_mul(u16::from(workers))
    }

    /// Sockets on the worker's memory: its ports' and its anchor.
    #[must_use]
    pub fn sockets(&self) -> u32 {
        self.ports + 1
    }

    /// Whether every port gets its least share: the dataplane's own rule.
    #[must_use]
    pub fn fits(&self) -> bool {
        fair_credit(self.frames, self.ports).is_some()
    }

    /// Frames that the ports need at least, with an eighth left over for the pool.
    #[must_use]
    pub fn needed(&self) -> u64 {
        (u64::from(self.ports) * 2 * u64::from(CREDIT_MIN) * 8).div_ceil(7)
    }

    /// Bytes of one worker: frames, and what the kernel keeps for them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let kernel = u64::from(self.sockets()) * KERNEL_BYTES_PER_FRAME_AND_SOCKET;
        u64::from(self.frames) * (FRAME_BYTES as u64 + kernel)
    }
}

impl fmt::Display for FrameBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ports × ({CREDIT_MIN} fill + {CREDIT_MIN} outstanding) and an eighth for the pool \
             need {} frames, there are {} ({} MiB with the kernel's part)",
            self.ports,
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
        let budget = FrameBudget::new(9 * 1024 + 512, 250, 4, true);
        assert_eq!(budget.ports, 64);
        assert!(budget.fits(), "{budget}");
        assert!(4 * budget.bytes() <= 512 << 20, "{budget}");
    }

    #[test]
    fn what_is_needed_is_what_the_dataplane_asks_for() {
        for ports in 1..200 {
            let needed = FrameBudget { frames: 0, ports }.needed();
            let frames = u32::try_from(needed).unwrap();
            assert!(FrameBudget { frames, ports }.fits(), "{ports} ports");
            // The dataplane rounds the eighth down, so it may do with a frame or two less.
            assert!(!FrameBudget { frames: frames - 3, ports }.fits(), "{ports} ports");
        }
    }

    #[test]
    fn as_many_ports_as_fit_do_fit_and_one_more_does_not() {
        let most = FrameBudget::ports_that_fit(8192, 1, true);
        assert_eq!(most, 55);
        assert!(FrameBudget::new(8192, most, 1, true).fits());
        assert!(!FrameBudget::new(8192, most + 1, 1, true).fits());
        assert_eq!(FrameBudget::ports_that_fit(1 << 18, 2, true), 510);
    }

    #[test]
    fn a_budget_that_does_not_add_up_is_told_in_full() {
        let budget = FrameBudget::new(1024, 20, 2, true);
        assert!(!budget.fits());
        assert_eq!(
            budget.to_string(),
            "11 ports × (64 fill + 64 outstanding) and an eighth for the pool need 1610 frames, \
             there are 1024 (6 MiB with the kernel's part)"
        );
    }
}
