//! Blocks of addresses, read from text (NP-30, NP-31, NP-34).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block: an address with its host bits as written, and the length of its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    length: u32,
}

impl Cidr {
    /// Reads `address/length`, with what the API server always let pass (NP-31): host bits,
    /// leading zeros in a byte, which are decimal, and IPv4 written as `::ffff:a.b.c.d`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || (length.len() > 1 && length.starts_with('0')) {
            return None;
        }
        let length: u32 = length.parse().ok()?;
        let (address, length) = match address.parse().ok() {
            None => (without_zeros(address)?.parse().ok()?, length),
            Some(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
                Some(v4) => (IpAddr::V4(v4), length.checked_sub(96)?),
                None => (IpAddr::V6(v6), length),
            },
            Some(address) => (address, length),
        };
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

/// Dotted bytes of one to three digits, less their leading zeros.
fn without_zeros(dotted: &str) -> Option<String> {
    let mut bytes = Vec::new();
    for byte in dotted.split('.') {
        let stripped = byte.trim_start_matches('0');
        if byte.is_empty() || byte.len() > 3 || !byte.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        bytes.push(if stripped.is_empty() { "0" } else { stripped });
    }
    Some(bytes.join("."))
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
