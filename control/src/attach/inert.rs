//! Makes the switch's side of a veth inert: the host stack must not speak there (house D11).
//!
//! Written through `/proc/sys/net`, which is of the network namespace of whoever opens it.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::interface::InterfaceName;
use crate::proc_sys;

/// What is switched off: family, key, value.
///
/// `forwarding` off is the one that matters when `ip_forward` is on for the node: a packet that
/// should ever come up the stack here ends here. `arp_ignore` 8 answers no ARP for any address.
const OFF: [(&str, &str, &str); 10] = [
    ("ipv6", "disable_ipv6", "1"),
    ("ipv6", "forwarding", "0"),
    ("ipv6", "accept_ra", "0"),
    ("ipv6", "accept_redirects", "0"),
    ("ipv4", "forwarding", "0"),
    ("ipv4", "accept_local", "0"),
    ("ipv4", "accept_redirects", "0"),
    ("ipv4", "accept_source_route", "0"),
    ("ipv4", "route_localnet", "0"),
    ("ipv4", "arp_ignore", "8"),
];

/// A key that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write {value} to {}: {source}", path.display())]
pub struct InertError {
    /// The file.
    pub path: PathBuf,
    /// What should be in it.
    pub value: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

/// Switches off what the host stack would do on an interface. Call before it is set up.
///
/// # Errors
/// [`InertError`] where a key cannot be written; a kernel without IPv6 has no keys for it.
pub(super) fn make_inert(interface: &InterfaceName) -> Result<(), InertError> {
    for (family, key, value) in OFF {
        let path = proc_sys::net().join(format!("{family}/conf/{interface}/{key}"));
        match std::fs::write(&path, value) {
            Err(source) if family == "ipv6" && source.kind() == ErrorKind::NotFound => {}
            other => other.map_err(|source| InertError { path, value, source })?,
        }
    }
    Ok(())
}
