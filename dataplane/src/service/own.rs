//! Addresses of the switch's own, beyond its host port: the node's stack leads them there.
//!
//! - What comes to a *node port*, at any address of the node, the node's stack sends on to
//!   [`NODE_PORTS_V4`] or [`NODE_PORTS_V6`], at the same port: the fronts of node ports are there.
//! - What comes in by the host port and is given a backend elsewhere leaves by the host port again,
//!   from [`ASKING_V4`] or [`ASKING_V6`], so that the answer comes back to the switch. The node's
//!   stack lets it bear an address of the node on its way.
//! - What the switch tells those beyond the host port is from [`telling`].
//!
//! Any worker may receive such an answer, so its port says which one asked: workers take turns.
//! Those of IPv6 are not of the link's scope, for a stack forwards nothing that is: the network is
//! a unique local one (RFC 4193), whose forty bits of its own spell `Lockg`.

use crate::ids::WorkerId;
use crate::packet::Address;
use crate::packet::answer::GATEWAY_V4;

/// Where fronts of node ports are, IPv4: 169.254.1.2.
pub const NODE_PORTS_V4: Address = Address::from_v4([169, 254, 1, 2]);
/// Where fronts of node ports are, IPv6: `fd4c:6f63:6b67::2`.
pub const NODE_PORTS_V6: Address = own_v6(2);
/// As whom the switch asks backends elsewhere, IPv4: 169.254.1.3.
pub const ASKING_V4: Address = Address::from_v4([169, 254, 1, 3]);
/// As whom the switch asks backends elsewhere, IPv6: `fd4c:6f63:6b67::3`.
pub const ASKING_V6: Address = own_v6(3);

const fn own_v6(last: u8) -> Address {
    Address::from_v6([0xfd, 0x4c, 0x6f, 0x63, 0x6b, 0x67, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
}

/// Whether fronts of node ports are there.
#[must_use]
pub fn is_node_ports(address: Address) -> bool {
    address == NODE_PORTS_V4 || address == NODE_PORTS_V6
}

/// Whether it is an address as which the switch asks.
#[must_use]
pub fn is_asking(address: Address) -> bool {
    address == ASKING_V4 || address == ASKING_V6
}

/// The address as which the switch asks in the family of a client.
#[must_use]
pub const fn asking(client: Address) -> Address {
    if client.is_v4() { ASKING_V4 } else { ASKING_V6 }
}

/// As whom a pod sees itself that asked a Service and is its backend: IPv4's is the gateway. IPv6's
/// gateway is of the link's scope, and to such a stack answers from such an address, which is no
/// backend's.
#[must_use]
pub const fn as_itself(client: Address) -> Address {
    if client.is_v4() { GATEWAY_V4 } else { ASKING_V6 }
}

/// As whom the switch tells somebody beyond its host port what became of a packet: IPv4's is the
/// gateway. From IPv6's the node's stack forwards nothing, for it is of the link's scope.
#[must_use]
pub const fn telling(asker: Address) -> Address {
    if asker.is_v4() { GATEWAY_V4 } else { ASKING_V6 }
}

/// Which of so many workers asked from this port.
#[must_use]
pub fn asker(port: u16, workers: u16) -> WorkerId {
    let worker = port.checked_rem(workers).unwrap_or(0);
    WorkerId(u8::try_from(worker).unwrap_or(u8::MAX))
}

/// The port next to this one that is a worker's.
#[must_use]
pub fn port_of(asker: WorkerId, workers: u16, port: u16) -> u16 {
    let first = port.saturating_sub(port.checked_rem(workers).unwrap_or(0));
    let place = u16::from(asker.0);
    let last = || first.saturating_sub(workers).saturating_add(place);
    first.checked_add(place).unwrap_or_else(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_beyond_the_host_port_is_from_no_address_of_a_links_scope() {
        let [v4, v6] = [ASKING_V4, NODE_PORTS_V6].map(telling);
        assert!(v4.is_v4() && !v6.is_v4());
        assert_ne!(v6.to_halves().0 >> 54, 0xfe80 >> 6);
    }

    #[test]
    fn a_port_says_which_worker_asked_from_it() {
        for workers in 1..=16 {
            for worker in 0..workers {
                let worker = WorkerId(u8::try_from(worker).unwrap());
                for port in (1024..=1060).chain(65_500..=65_535) {
                    let own = port_of(worker, workers, port);
                    assert_eq!(asker(own, workers), worker, "{port} of {workers}");
                    assert!(own.abs_diff(port) < 16, "{own} is not next to {port}");
                }
            }
        }
    }
}
