//! Blocks of addresses, read from text (NP-30, NP-31, NP-34).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block: an address with its host bits as written, and the length of its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    length: u32,
}

impl Cidr {
    /// Reads `address/length`. Leading zeros in an IPv4 byte and IPv4-mapped IPv6 are refused
    /// rather than guessed at (NP-31).
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let address: IpAddr = address.parse().ok()?;
        let length: u32 = length.parse().ok()?;
        if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
            return None;
        }
        (length <= width(address)).then_some(Self { address, length })
    }

    /// Whether the address is in the block. Families never meet: `0.0.0.0/0` has no IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let free = width(self.address) - self.length;
        self.address.is_ipv4() == address.is_ipv4()
            && bits(self.address).checked_shr(free) == bits(address).checked_shr(free)
    }

    /// Whether `other` is a strict part of this block: inside it, with a longer mask.
    #[must_use]
    pub fn has_strictly(&self, other: &Self) -> bool {
        other.length > self.length && self.contains(other.address)
    }

    /// The addresses on and just beyond both edges of the block.
    #[must_use]
    pub fn boundaries(&self) -> Vec<IpAddr> {
        let free = width(self.address) - self.length;
        let ones = 1_u128.checked_shl(free).map_or(u128::MAX, |end| end - 1);
        let first = bits(self.address) & !ones;
        let last = first | ones;
        let edges = [first.checked_sub(1), Some(first), Some(last), last.checked_add(1)];
        edges.into_iter().flatten().filter_map(|edge| self.address_of(edge)).collect()
    }

    fn address_of(self, bits: u128) -> Option<IpAddr> {
        match self.address {
            IpAddr::V4(_) => u32::try_from(bits).ok().map(|bits| Ipv4Addr::from(bits).into()),
            IpAddr::V6(_) => Some(Ipv6Addr::from(bits).into()),
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
