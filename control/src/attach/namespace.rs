//! Work inside another network namespace, or in this one apart from whatever the caller runs.
//!
//! A namespace is a thread's, so this takes a thread, which ends with the work: no thread of the
//! caller's ever changes its own. What is made inside stays there, a socket as well.

use std::fs::File;
use std::io;

use nix::sched::{CloneFlags, setns};

use super::netlink::Netlink;

/// Runs `work` inside a namespace, with a connection to the kernel there. Blocks until it is done.
///
/// # Errors
/// Where the namespace cannot be entered, or has no netlink.
pub(super) fn inside<T: Send>(
    netns: &File,
    work: impl AsyncFnOnce(Netlink) -> T + Send,
) -> io::Result<T> {
    apart(|| Ok(setns(netns, CloneFlags::CLONE_NEWNET)?), work)
}

/// Runs `work` in the caller's namespace, with a connection to the kernel. Blocks until it is done.
///
/// # Errors
/// Where there is no netlink.
pub(super) fn here<T: Send>(work: impl AsyncFnOnce(Netlink) -> T + Send) -> io::Result<T> {
    apart(|| Ok(()), work)
}

fn apart<T: Send>(
    enter: impl FnOnce() -> io::Result<()> + Send,
    work: impl AsyncFnOnce(Netlink) -> T + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            enter()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { Ok(work(Netlink::connect()?).await) })
        });
        entered.join().unwrap_or_else(|_| Err(io::Error::other("its thread died")))
    })
}
