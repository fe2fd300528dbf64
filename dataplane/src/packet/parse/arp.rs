//! ARP for IPv4 over Ethernet (RFC 826). Hot path.

use super::after_ethernet;
use crate::counters::DropReason;
use crate::ids::Mac;
use crate::packet::headers::Arp;

/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Reads the ARP packet of a frame. Who may say what is the worker's to judge.
pub(super) fn read(bytes: &[u8], source_mac: Mac, target_mac: Mac) -> Result<Arp, DropReason> {
    let arp: &[u8; 28] = after_ethernet(bytes)?.first_chunk().ok_or(DropReason::Truncated)?;
    let &[o0, o1, m0, m1, m2, m3, m4, m5, s0, s1, s2, s3, .., t0, t1, t2, t3] = arp
        .strip_prefix(&ETHERNET_IPV4)
        .and_then(<[u8]>::first_chunk::<22>)
        .ok_or(DropReason::Malformed)?;
    Ok(Arp {
        source_mac,
        target_mac,
        operation: u16::from_be_bytes([o0, o1]),
        sender_mac: Mac([m0, m1, m2, m3, m4, m5]),
        sender: [s0, s1, s2, s3],
        target: [t0, t1, t2, t3],
    })
}
