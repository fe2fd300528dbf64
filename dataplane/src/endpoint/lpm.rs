//! Any address to the value of the longest prefix that covers it. Hot path.
//!
//! IPv4 is one trie. IPv6 asks for the exact address first, which is what pods have, and for the
//! spans of blocks only then. The families never meet: an IPv6 prefix says nothing of IPv4.

use ipnet::IpNet;

use super::exact::Exact;
use super::spans::Spans;
use super::trie::Trie;
use crate::packet::Address;

/// Prefixes of both families with a value each; addresses in none have 0.
#[derive(Clone, Debug)]
pub(super) struct Lpm {
    v4: Trie,
    v6_exact: Exact,
    v6_spans: Spans,
}

impl Lpm {
    /// Builds from masked prefixes with values from 1 to 2³¹ - 1, in any order. Of equal prefixes
    /// the last counts.
    pub(super) fn build(prefixes: &[(IpNet, u32)]) -> Self {
        let (mut v4, mut exact, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        for &(net, value) in prefixes {
            match net {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.prefix_len(), value)),
                IpNet::V6(net) if net.prefix_len() == 128 => {
                    exact.push((Address::from_v6(net.addr().octets()), value));
                }
                IpNet::V6(net) => spans.push((net.network().to_bits(), net.prefix_len(), value)),
            }
        }
        let v6_exact = Exact::build(&exact);
        Self { v4: Trie::build(&v4), v6_exact, v6_spans: Spans::build(&spans) }
    }

    /// Gives one address a value. One of IPv6 that has 0 is what its prefixes say.
    pub(super) fn set(&mut self, address: Address, value: u32) {
        if address.is_v4() {
            self.v4.set(address.to_v4_bits(), value);
        } else {
            self.v6_exact.set(address, value);
        }
    }

    /// Gives what IPv6 prefixes of more than one address say other values; others are passed over.
    pub(super) fn set_spans(&mut self, prefixes: &[(IpNet, u32)]) {
        let spans = prefixes.iter().filter_map(|&(net, value)| match net {
            IpNet::V6(net) if net.prefix_len() < 128 => {
                Some((net.network().to_bits(), net.prefix_len(), value))
            }
            _ => None,
        });
        self.v6_spans = Spans::build(&spans.collect::<Vec<_>>());
    }

    /// The value of the longest prefix that covers the address; 0 where none does.
    #[inline]
    pub(super) fn find(&self, address: Address) -> u32 {
        if address.is_v4() {
            return self.v4.find(address.to_v4_bits());
        }
        match self.v6_exact.find(address) {
            Some(value) => value,
            None => self.v6_spans.find(address.to_bits()),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes() + self.v6_exact.memory_bytes() + self.v6_spans.memory_bytes()
    }
}

#[cfg(test)]
#[path = "lpm/tests.rs"]
mod tests;
