//! A set in `nf_tables`: of networks, sorted bounds, which a packet's address is looked up between;
//! or of protocols with a port each, which are looked up as they are.
//!
//! A bound is where a range begins, or the first address after one. Ranges that touch become one,
//! for the kernel would meet an end and a beginning at the same address.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::attribute::{Attribute, find, number_of, read};
use super::family::Family;

/// Bounds in one message: a list's length is sixteen bits, and a bound takes up to 36 bytes.
const BOUNDS_PER_MESSAGE: usize = 1000;

const ELEMENTS: u16 = 3;
const KEY: u16 = 1;
const VALUE: u16 = 1;
const FLAGS: u16 = 3;
const INTERVAL_END: u32 = 1;
/// `NFT_SET_INTERVAL`.
const INTERVALS: u32 = 4;
/// The numbers that `nft` knows the types of protocols and ports by, one after the other: as its
/// `inet_proto . inet_service`. Each takes four bytes.
const PROTOCOL_AND_PORT: u32 = (0xc << 6) | 0xd;

/// A named set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Set {
    /// Its name in its table.
    pub name: String,
    /// The number that `nft` knows the type of its keys by, to show them.
    pub key_type: u32,
    /// How long a key is.
    pub key_bytes: u32,
    /// `NFT_SET_*`.
    pub flags: u32,
    bounds: Vec<Bound>,
}

/// A key: an address, and whether a range ends before it; or a protocol and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bound {
    address: Vec<u8>,
    is_end: bool,
}

impl Set {
    /// The networks of a family, of some of both.
    pub(in crate::host) fn new<'a>(
        name: String,
        family: Family,
        nets: impl IntoIterator<Item = &'a IpNet>,
    ) -> Self {
        let own: Vec<IpNet> = nets.into_iter().filter(|net| family.has(net)).copied().collect();
        let mut ranges: Vec<(u128, u128)> = Vec::new();
        let mut sorted: Vec<(u128, u128)> =
            own.iter().map(|net| (number(net.network()), number(net.broadcast()))).collect();
        sorted.sort_unstable();
        for (first, last) in sorted {
            match ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => ranges.push((first, last)),
            }
        }
        let bounds = ranges.into_iter().flat_map(|(first, last)| bounds(family, first, last));
        let (key_type, key_bytes) = (family.set_type(), family.address_bytes());
        Self { name, key_type, key_bytes, flags: INTERVALS, bounds: bounds.collect() }
    }

    /// These ports, each with the number of its protocol.
    pub(in crate::host) fn of_ports(
        name: String,
        ports: impl IntoIterator<Item = (u8, u16)>,
    ) -> Self {
        let bound = |(protocol, port): (u8, u16)| {
            let [high, low] = port.to_be_bytes();
            let address = vec![protocol, 0, 0, 0, high, low, 0, 0];
            Bound { address, is_end: false }
        };
        let bounds = ports.into_iter().map(bound).collect();
        Self { name, key_type: PROTOCOL_AND_PORT, key_bytes: 8, flags: 0, bounds }
    }

    /// Whether there is nothing in it.
    pub(in crate::host) fn is_empty(&self) -> bool {
        self.bounds.is_empty()
    }

    /// Its bounds, in as many lists as messages are needed.
    pub(in crate::host) fn lists(&self) -> Vec<Attribute> {
        let list = |bounds: &[Bound]| {
            Attribute::list(ELEMENTS, bounds.iter().map(Bound::attributes).collect())
        };
        self.bounds.chunks(BOUNDS_PER_MESSAGE).map(list).collect()
    }

    /// Whether what the kernel told of a set is exactly this.
    pub(in crate::host) fn is_told<'a>(&self, told: impl Iterator<Item = &'a [u8]>) -> bool {
        let lists = told.filter_map(|message| find(message, ELEMENTS));
        let found: BTreeSet<Bound> =
            lists.flat_map(read).filter_map(|(_, element)| Bound::read(element)).collect();
        found.len() == self.bounds.len() && self.bounds.iter().all(|bound| found.contains(bound))
    }
}

impl Bound {
    fn attributes(&self) -> Vec<Attribute> {
        let key = Attribute::nest(KEY, [Attribute::bytes(VALUE, self.address.clone())]);
        if self.is_end { vec![key, Attribute::number(FLAGS, INTERVAL_END)] } else { vec![key] }
    }

    fn read(element: &[u8]) -> Option<Self> {
        let address = find(find(element, KEY)?, VALUE)?.to_vec();
        let flags = number_of(element, FLAGS).unwrap_or(0);
        Some(Self { address, is_end: flags & INTERVAL_END != 0 })
    }
}

/// Where a range begins and, unless it is the last of all, where it has ended.
fn bounds(family: Family, first: u128, last: u128) -> impl Iterator<Item = Bound> {
    let highest = if family == Family::V4 { u128::from(u32::MAX) } else { u128::MAX };
    let after = (last < highest).then(|| last.saturating_add(1));
    let bound = move |number, is_end| Bound { address: octets(family, number), is_end };
    [Some(bound(first, false)), after.map(|number| bound(number, true))].into_iter().flatten()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn octets(family: Family, number: u128) -> Vec<u8> {
    match family {
        // Only numbers of IPv4 addresses come here.
        Family::V4 => {
            Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).octets().to_vec()
        }
        Family::V6 => Ipv6Addr::from_bits(number).octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(family: Family, nets: &[&str]) -> Set {
        let nets: Vec<IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
        Set::new("x".to_owned(), family, &nets)
    }

    fn shown(set: &Set) -> Vec<(Vec<u8>, bool)> {
        set.bounds.iter().map(|bound| (bound.address.clone(), bound.is_end)).collect()
    }

    #[test]
    fn networks_that_touch_are_one_range_and_families_are_apart() {
        let nets = ["10.0.2.0/25", "10.0.0.0/23", "10.0.9.9/32", "fd00::/64"];
        let wanted = [
            (vec![10, 0, 0, 0], false),
            (vec![10, 0, 2, 128], true),
            (vec![10, 0, 9, 9], false),
            (vec![10, 0, 9, 10], true),
        ];
        assert_eq!(shown(&set(Family::V4, &nets)), wanted);
        assert_eq!(set(Family::V6, &nets).bounds.len(), 2);
    }

    #[test]
    fn a_range_to_the_end_of_all_addresses_has_no_end() {
        assert_eq!(
            shown(&set(Family::V4, &["255.255.255.0/24"])),
            [(vec![255, 255, 255, 0], false)]
        );
        assert_eq!(set(Family::V6, &["ffff::/16"]).bounds.len(), 1);
    }

    #[test]
    fn a_set_is_told_by_exactly_its_bounds_in_any_order() {
        let own = set(Family::V4, &["10.0.0.0/24", "10.2.0.0/24"]);
        let message = |bounds: &[Bound]| {
            let mut out = Vec::new();
            let list = bounds.iter().map(Bound::attributes).collect();
            Attribute::list(ELEMENTS, list).write(&mut out);
            out
        };
        let mut turned = own.bounds.clone();
        turned.reverse();
        let (all, less) = (message(&turned), message(&turned[1..]));
        assert!(own.is_told([all.as_slice()].into_iter()));
        assert!(!own.is_told([less.as_slice()].into_iter()));
        let more = message(&set(Family::V4, &["10.3.0.0/24"]).bounds);
        assert!(!own.is_told([all.as_slice(), more.as_slice()].into_iter()));
    }

    #[test]
    fn a_large_set_is_sent_in_lists_that_sixteen_bits_hold() {
        let nets: Vec<IpNet> = (0..3000_u32)
            .map(|number| IpNet::from(IpAddr::from(Ipv6Addr::from_bits(u128::from(number) << 16))))
            .collect();
        let lists = Set::new("x".to_owned(), Family::V6, &nets).lists();
        assert_eq!(lists.len(), 6);
        for list in lists {
            let mut out = Vec::new();
            list.write(&mut out);
            assert!(out.len() < usize::from(u16::MAX), "{}", out.len());
        }
    }
}
