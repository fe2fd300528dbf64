//! Which capabilities the agent keeps, of those it was given.
//!
//! A switch is often started as root, which may do everything. What it does not need it gives up
//! before its first thread begins, and what only a start needs once the workers turn. Workers keep
//! none at all and are jailed beside (`lockgate_dataplane::runtime`).
//!
//! This narrows what a mistake can do; it does not part the workers from the agent, whose memory
//! they share.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// What adding and removing ports takes: links and programs, sockets, maps, a peer's namespace; and
/// manifests are read whoever they belong to.
const RELOAD: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// What a start takes beyond that: limits are raised, packet memory is locked.
const START: CapabilitySet =
    RELOAD.union(CapabilitySet::SYS_RESOURCE).union(CapabilitySet::IPC_LOCK);

/// Keeps what a start needs, and lets no program that is begun get more. Before any thread is made:
/// those there are would keep theirs.
///
/// # Errors
/// The kernel refuses, which it has no reason to.
pub fn before_start() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    keep(START)
}

/// Keeps what changes need while the switch runs.
///
/// # Errors
/// As [`before_start`].
pub fn after_start() -> io::Result<()> {
    keep(RELOAD)
}

/// Keeps none: for a thread that only writes, and those that it begins.
///
/// # Errors
/// As [`before_start`].
pub fn give_up_all() -> io::Result<()> {
    keep(CapabilitySet::empty())
}

fn keep(set: CapabilitySet) -> io::Result<()> {
    let have = capabilities(None)?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: have.effective & set,
            permitted: have.permitted & set,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_gone_and_never_comes_back() {
        // Capabilities are a thread's.
        let seen = std::thread::spawn(|| {
            let set = |step: fn() -> io::Result<()>| {
                step().unwrap();
                let CapabilitySets { effective, permitted, inheritable } =
                    capabilities(None).unwrap();
                assert_eq!((effective, inheritable), (permitted, CapabilitySet::empty()));
                effective
            };
            [set(before_start), set(after_start), set(before_start), set(give_up_all)]
        });
        let [start, reload, again, none] = seen.join().unwrap();
        assert_eq!(none, CapabilitySet::empty());
        let given = capabilities(None).unwrap().effective;
        assert_eq!([start, reload, again], [given & START, given & RELOAD, given & RELOAD]);
    }
}
