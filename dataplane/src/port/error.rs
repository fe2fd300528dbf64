//! What can go wrong when packet memory, a port or a program is made: each error names the
//! interface and says what to do.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use aya::maps::MapError;
use aya::programs::links::LinkError;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::limits::{FRAME_BYTES, MTU_MAX};

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

/// Why an interface could not be given our program. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The pin directory is not on a bpf file system.
    #[error(
        "pin directory {} is not on a bpf file system: `mount -t bpf bpf /sys/fs/bpf`",
        path.display()
    )]
    NoBpffs {
        /// The directory as asked for.
        path: PathBuf,
    },
    /// A file or directory of the pins could not be made or removed.
    #[error("pin of {interface}: cannot {action} {}", path.display())]
    Pin {
        /// The interface.
        interface: String,
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
    /// The process lacks a capability.
    #[error(
        "an XDP program for {interface} is not permitted: run as root, or with CAP_BPF and \
         CAP_NET_ADMIN"
    )]
    NotPermitted {
        /// The interface.
        interface: String,
        /// The answer.
        source: io::Error,
    },
    /// The kernel refused the program or its map.
    #[error("the kernel refused the XDP program for {interface}")]
    Load {
        /// The interface.
        interface: String,
        /// The answer.
        source: Box<aya::EbpfError>,
    },
    /// Another program is there, and not as our pin.
    #[error(
        "interface {interface} has another XDP program: see `ip link show dev {interface}`, \
         remove it with `ip link set dev {interface} xdp off` or by stopping its owner"
    )]
    Taken {
        /// The interface.
        interface: String,
    },
    /// The interface is gone, or was never there.
    #[error("interface {interface} (index {ifindex}) does not exist: see `ip link show`")]
    NoInterface {
        /// The interface.
        interface: String,
        /// Its index.
        ifindex: u32,
        /// The answer.
        source: io::Error,
    },
    /// The driver has no native XDP, or not with this MTU or these offloads.
    #[error(
        "interface {interface} takes no XDP program in its driver: see `dmesg`; its MTU, LRO or \
         the driver itself may not allow it"
    )]
    NotNative {
        /// The interface.
        interface: String,
        /// The answer.
        source: io::Error,
    },
    /// The kernel gives no program to an end that receives on fewer queues than the other sends.
    #[error(
        "interface {interface} takes no XDP program: its far end has more transmit queues than it \
         has receive queues; run `ethtool -L IFACE tx 1` at the far end"
    )]
    FarQueues {
        /// The interface.
        interface: String,
    },
    /// Any other refusal.
    #[error("the XDP program could not be attached to {interface}")]
    Attach {
        /// The interface.
        interface: String,
        /// The answer.
        source: Box<aya::programs::ProgramError>,
    },
    /// The pinned link is not ours, or could not be read.
    #[error("the pinned link of {interface} is not one of XDP: remove {}", path.display())]
    Link {
        /// The interface.
        interface: String,
        /// The pin.
        path: PathBuf,
        /// The answer.
        source: LinkError,
    },
    /// A socket could not be put in the map.
    #[error("queue {queue} of {interface} could not be given its socket")]
    Socket {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// The answer.
        source: MapError,
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

/// No right to the program of `interface`.
pub(super) fn not_permitted(interface: &str, number: i32) -> ProgramError {
    let source = io::Error::from_raw_os_error(number);
    ProgramError::NotPermitted { interface: interface.to_owned(), source }
}

/// Why the program could not be attached.
pub(super) fn attach_error(
    interface: &str,
    ifindex: u32,
    cause: aya::programs::ProgramError,
) -> ProgramError {
    let number = errno(&cause);
    let source = io::Error::from_raw_os_error(number.unwrap_or(0));
    let interface = interface.to_owned();
    match number {
        Some(number @ (libc::EPERM | libc::EACCES)) => not_permitted(&interface, number),
        Some(libc::EBUSY | libc::EEXIST) => ProgramError::Taken { interface },
        Some(libc::ENOSPC) => ProgramError::FarQueues { interface },
        Some(libc::ENODEV | libc::ENOLINK) => {
            ProgramError::NoInterface { interface, ifindex, source }
        }
        Some(libc::EOPNOTSUPP | libc::ERANGE) => ProgramError::NotNative { interface, source },
        _ => ProgramError::Attach { interface, source: Box::new(cause) },
    }
}

/// The kernel's answer at the root of an error of aya.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let chain = std::iter::successors(Some(error), |&cause| cause.source());
    chain.filter_map(|cause| cause.downcast_ref::<io::Error>()).find_map(io::Error::raw_os_error)
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
