//! What a packet belongs to: addresses, ports, protocol. Hot path.
//!
//! A *flow* is one direction; both directions together are a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 address in one shape: IPv4 is kept as `::ffff:a.b.c.d`.
///
/// The parser drops IPv6 packets that bear IPv4-mapped addresses, so the two never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    high: u64,
    low: u64,
}

const MAPPED: u64 = 0xffff_0000_0000;

impl Address {
    /// From the four bytes of an IPv4 header, in network order.
    #[inline]
    #[must_use]
    pub const fn from_v4(bytes: [u8; 4]) -> Self {
        Self { high: 0, low: MAPPED | u32::from_be_bytes(bytes) as u64 }
    }

    /// From the sixteen bytes of an IPv6 header, in network order.
    #[inline]
    #[must_use]
    pub const fn from_v6(bytes: [u8; 16]) -> Self {
        let all = u128::from_be_bytes(bytes);
        #[allow(clippy::cast_possible_truncation)] // the halves are what is wanted
        Self { high: (all >> 64) as u64, low: all as u64 }
    }

    /// Whether this is an IPv4 address.
    #[inline]
    #[must_use]
    pub const fn is_v4(self) -> bool {
        self.high == 0 && self.low >> 32 == 0xffff
    }

    /// The IPv4 address as a number, most significant byte first; meaningless for IPv6.
    #[inline]
    #[must_use]
    pub const fn to_v4_bits(self) -> u32 {
        (self.low & 0xffff_ffff) as u32
    }

    /// The upper and lower halves of the 128 bits.
    #[inline]
    #[must_use]
    pub const fn to_halves(self) -> (u64, u64) {
        (self.high, self.low)
    }

    /// A number that is another one where an address is kept otherwise in memory.
    pub(crate) const LAYOUT: usize = size_of::<Self>() << 16
        | std::mem::offset_of!(Self, high) << 8
        | std::mem::offset_of!(Self, low);

    /// From the words that it has in memory, as they stand there.
    #[must_use]
    pub(crate) const fn from_memory([one, other]: [u64; 2]) -> Self {
        let is_high_first = std::mem::offset_of!(Self, high) == 0;
        let (high, low) = if is_high_first { (one, other) } else { (other, one) };
        Self { high, low }
    }

    /// A hash under a secret, for tables that nobody who lacks it can fill on purpose.
    #[inline]
    #[must_use]
    pub(crate) const fn mix(self, seed: [u64; 2]) -> u64 {
        fold(fold(self.high ^ seed[0], seed[1]) ^ self.low, 0x9e37_79b9_7f4a_7c15)
    }

    /// The 128 bits.
    #[inline]
    #[must_use]
    pub const fn to_bits(self) -> u128 {
        ((self.high as u128) << 64) | self.low as u128
    }
}

/// Both halves of the 128-bit product, so that every bit of each factor reaches every bit.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    #[allow(clippy::cast_possible_truncation)] // the halves are what is wanted
    let folded = product as u64 ^ (product >> 64) as u64;
    folded
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::from_v4(v4.octets()),
            IpAddr::V6(v6) => Self::from_v6(v6.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        if address.is_v4() {
            Self::V4(Ipv4Addr::from(address.to_v4_bits()))
        } else {
            Self::V6(Ipv6Addr::from(address.to_bits()))
        }
    }
}

/// What policy can tell apart: the protocols that have rules of their own, and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// TCP, 6.
    Tcp,
    /// UDP, 17.
    Udp,
    /// SCTP, 132.
    Sctp,
    /// ICMP, 1, of IPv4.
    Icmp,
    /// `ICMPv6`, 58, of IPv6.
    IcmpV6,
    /// Every other IP protocol, those two in the other version of IP among them.
    Other,
}

impl Protocol {
    /// Every protocol, in the order of its number here.
    pub const ALL: [Self; 6] =
        [Self::Tcp, Self::Udp, Self::Sctp, Self::Icmp, Self::IcmpV6, Self::Other];

    /// Whether its packets have ports.
    #[must_use]
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::Tcp | Self::Udp | Self::Sctp)
    }

    /// Whether its packets are messages with a type and a code.
    #[must_use]
    pub const fn has_messages(self) -> bool {
        matches!(self, Self::Icmp | Self::IcmpV6)
    }
}

/// Five values, one direction.
///
/// What has no ports has something else in their place, so that policy finds in `target_port` what
/// it tells packets of the protocol apart by:
///
/// | packet | source | target |
/// |---|---|---|
/// | ICMP echo or timestamp request | identifier | its [message](Self::message) |
/// | the reply to it | the request's message | identifier |
/// | other messages of ICMP | 0 | the message |
/// | what is neither | the protocol's number | the same |
///
/// A reply is the reversed key of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Who sent it.
    pub source: Address,
    /// Whom it is for.
    pub target: Address,
    /// The source port, or what stands for it.
    pub source_port: u16,
    /// The target port, or what stands for it.
    pub target_port: u16,
    /// The protocol number of the IP header (IANA), so that GRE and ESP stay apart.
    pub number: u8,
    /// The same as policy sees it.
    pub protocol: Protocol,
}

impl FlowKey {
    /// A message of ICMP as one number.
    #[inline]
    #[must_use]
    pub const fn message(kind: u8, code: u8) -> u16 {
        u16::from_be_bytes([kind, code])
    }

    /// The same connection seen from the other end.
    #[inline]
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.target,
            target: self.source,
            source_port: self.target_port,
            target_port: self.source_port,
            number: self.number,
            protocol: self.protocol,
        }
    }
}
