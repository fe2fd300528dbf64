//! What can go wrong when packet memory or a port is made, and the limits to raise before.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{FRAME_BYTES, MTU_MAX};

/// Open files a switch with many ports needs: a socket and two pins per port, workers, clients.
const OPEN_FILES: u64 = 65_536;

/// Why packet memory or a port could not be had. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// Fewer frames than one batch, or more than a ring entry can name.
    #[error("{frames} frames per worker: it must be a number from {least} to {most}")]
    Frames {
        /// As asked for.
        frames: u32,
        /// The fewest.
        least: u32,
        /// The most.
        most: u32,
    },
    /// The process lacks a capability.
    #[error(
        "AF_XDP sockets on {interface} are not permitted: run as root, or with CAP_NET_RAW, \
         CAP_NET_ADMIN and CAP_BPF"
    )]
    NotPermitted {
        /// Where a socket was wanted.
        interface: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel was built without `AF_XDP`.
    #[error("this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS)")]
    NoAfXdp {
        /// What the kernel answered.
        source: io::Error,
    },
    /// The memlock limit is too low, and the process may not raise it.
    #[error(
        "{bytes} bytes of packet memory ({frames} frames) are above the memlock limit of {limit} \
         bytes: give the process CAP_IPC_LOCK, raise the limit (`ulimit -l unlimited`, systemd \
         LimitMEMLOCK=infinity), or set fewer frames per worker"
    )]
    LockedMemory {
        /// As asked for.
        frames: u32,
        /// What they take.
        bytes: u64,
        /// `RLIMIT_MEMLOCK`.
        limit: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// No memory for the frames.
    #[error("no memory for {frames} frames ({bytes} bytes): set fewer frames per worker")]
    NoMemory {
        /// As asked for.
        frames: u32,
        /// What they take.
        bytes: u64,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The process has as many open files as it may.
    #[error(
        "no file descriptor left for a socket on {interface}: raise the open files limit \
         (`ulimit -n`, systemd LimitNOFILE=)"
    )]
    OpenFiles {
        /// Where a socket was wanted.
        interface: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// There is no such interface in this network namespace.
    #[error("interface {interface} does not exist: see `ip link show`")]
    NoInterface {
        /// As asked for.
        interface: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The interface has no such queue.
    #[error(
        "interface {interface} has no queue {queue}: see `ethtool -l {interface}`, and set more \
         with `ethtool -L {interface} combined N`"
    )]
    NoQueue {
        /// The interface.
        interface: String,
        /// As asked for.
        queue: u32,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Somebody else has the queue, still after some waiting.
    #[error(
        "queue {queue} of {interface} is taken by another AF_XDP socket: stop the program that \
         holds it"
    )]
    QueueTaken {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The anchor's interface is gone; no port can be added to its worker any more.
    #[error(
        "no port can be added ({interface}): the worker's anchor interface was deleted; restart \
         the switch"
    )]
    AnchorGone {
        /// Where a socket was wanted.
        interface: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Any other refusal.
    #[error("an AF_XDP socket could not be bound to queue {queue} of {interface}")]
    Bind {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Packets of this interface could be longer than a frame, and would vanish silently.
    #[error(
        "interface {interface} has an MTU of {mtu}, more than one frame takes: \
         `ip link set dev {interface} mtu {MTU_MAX}`, at its other end too"
    )]
    Mtu {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu: u32,
    },
}

/// Checks that the longest packet of an interface fits one frame.
///
/// # Errors
///
/// [`PortError::Mtu`], with the command that sets it right.
pub fn check_mtu(interface: &str, mtu: u32) -> Result<(), PortError> {
    if usize::try_from(mtu).is_ok_and(|mtu| mtu <= MTU_MAX) {
        Ok(())
    } else {
        Err(PortError::Mtu { interface: interface.to_owned(), mtu })
    }
}

/// Raises the limits that sockets and packet memory run into, as far as this process may:
/// locked memory, open files. What could not be raised shows when it is missed.
pub(super) fn raise_limits() {
    let unlimited = Rlimit { current: None, maximum: None };
    if setrlimit(Resource::Memlock, unlimited).is_err() {
        raise_to_hard(Resource::Memlock);
    }
    let open = getrlimit(Resource::Nofile);
    let enough = open.maximum.is_none_or(|hard| hard >= OPEN_FILES);
    let more = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
    if enough || setrlimit(Resource::Nofile, more).is_err() {
        raise_to_hard(Resource::Nofile);
    }
}

fn raise_to_hard(resource: Resource) {
    let hard = getrlimit(resource).maximum;
    // It can fail only if the limit was lowered in between: then it stays.
    let _ = setrlimit(resource, Rlimit { current: hard, maximum: hard });
}

/// Why a UMEM of `frames` frames could not be made for a worker whose anchor is `interface`.
pub(super) fn memory_error(interface: &str, frames: u32, source: io::Error) -> PortError {
    let bytes = u64::from(frames).saturating_mul(FRAME_BYTES as u64);
    match Errno::from_io_error(&source) {
        // The kernel's answer where the pages to be locked are above the limit.
        Some(Errno::NOBUFS) => {
            let limit = getrlimit(Resource::Memlock).current;
            let limit = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
            PortError::LockedMemory { frames, bytes, limit, source }
        }
        Some(Errno::NOMEM) => PortError::NoMemory { frames, bytes, source },
        _ => bind_error(interface, 0, source),
    }
}

/// Why a socket could not be made or bound.
pub(super) fn bind_error(interface: &str, queue: u32, source: io::Error) -> PortError {
    let interface = interface.to_owned();
    match Errno::from_io_error(&source) {
        Some(Errno::PERM | Errno::ACCESS) => PortError::NotPermitted { interface, source },
        Some(Errno::AFNOSUPPORT) => PortError::NoAfXdp { source },
        Some(Errno::MFILE | Errno::NFILE) => PortError::OpenFiles { interface, source },
        Some(Errno::NODEV | Errno::NXIO) => PortError::NoInterface { interface, source },
        // Flags and rings are ours and right: what is left is the number of the queue.
        Some(Errno::INVAL) => PortError::NoQueue { interface, queue, source },
        Some(Errno::BUSY) => PortError::QueueTaken { interface, queue, source },
        Some(Errno::BADF) => PortError::AnchorGone { interface, source },
        _ => PortError::Bind { interface, queue, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mtu_above_one_frame_is_refused_with_the_command_to_run() {
        let most = u32::try_from(MTU_MAX).expect("small");
        assert!(check_mtu("lg0", 1500).is_ok());
        assert!(check_mtu("lg0", most).is_ok());
        let message = check_mtu("lg0", most + 1).expect_err("too big").to_string();
        assert!(message.contains(&format!("ip link set dev lg0 mtu {most}")), "{message}");
    }
}
