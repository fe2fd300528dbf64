//! The two families of addresses, and where each keeps them in a packet.

use std::net::IpAddr;

use ipnet::IpNet;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order that everything here has them.
    pub(in crate::host) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub(in crate::host) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Whether a network is of it.
    pub(in crate::host) fn has(self, net: &IpNet) -> bool {
        Self::of(net.addr()) == self
    }

    /// The octets of an address, in network order.
    pub(in crate::host) fn octets(address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        }
    }

    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    pub(super) fn protocol(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// Where a packet has its source, from the start of its network header.
    pub(super) fn source_offset(self) -> u32 {
        match self {
            Self::V4 => 12,
            Self::V6 => 8,
        }
    }

    /// Where it has its target.
    pub(super) fn target_offset(self) -> u32 {
        self.source_offset() + self.address_bytes()
    }

    /// How long an address is.
    pub(in crate::host) fn address_bytes(self) -> u32 {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// The number that `nft` knows the type of addresses by, to show them.
    pub(super) fn set_type(self) -> u32 {
        match self {
            Self::V4 => 7,
            Self::V6 => 8,
        }
    }

    /// Its digit, for names.
    pub(in crate::host) fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }
}
