//! The longest match against reading every prefix.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// The longest that covers, the last of equal ones; 0 where none does.
fn by_reading(prefixes: &[(IpNet, u32)], address: IpAddr) -> u32 {
    let covering = prefixes.iter().filter(|(net, _)| net.contains(&address));
    covering.max_by_key(|(net, _)| net.prefix_len()).map_or(0, |(_, value)| *value)
}

/// Addresses whose bytes are few values each, so that prefixes nest and touch.
fn any_v4() -> impl Strategy<Value = u32> {
    let byte = || prop::sample::select(vec![0u8, 1, 2, 127, 128, 255]);
    (byte(), byte(), byte(), byte()).prop_map(|(a, b, c, d)| u32::from_be_bytes([a, b, c, d]))
}

fn any_v6() -> impl Strategy<Value = u128> {
    // All in the bits below and at /16, /32, /64, /96 and /128; 0xffff at bits 32..48 would be
    // IPv4-mapped only where all above is 0, which the first word excludes.
    let word = || prop::sample::select(vec![0u32, 1, 0x8000_0000, u32::MAX]);
    let first = prop::sample::select(vec![1u32, 0xfd00_0000, 0x8000_0000, u32::MAX]);
    (first, word(), word(), word()).prop_map(|(a, b, c, d)| {
        u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d)
    })
}

fn any_prefix() -> impl Strategy<Value = IpNet> {
    let v4 = (any_v4(), 0..=32u8)
        .prop_map(|(bits, length)| IpNet::new(Ipv4Addr::from_bits(bits).into(), length));
    let v6 = (any_v6(), prop_oneof![0..=128u8, Just(128)])
        .prop_map(|(bits, length)| IpNet::new(Ipv6Addr::from_bits(bits).into(), length));
    prop_oneof![v4, v6].prop_map(|net| net.unwrap().trunc())
}

fn edges(net: IpNet) -> Vec<IpAddr> {
    let (first, last) = (net.network(), net.broadcast());
    let near = |address: IpAddr, up: bool| match address {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits();
            Ipv4Addr::from_bits(if up { bits.wrapping_add(1) } else { bits.wrapping_sub(1) }).into()
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            IpAddr::V6(Ipv6Addr::from_bits(if up {
                bits.wrapping_add(1)
            } else {
                bits.wrapping_sub(1)
            }))
        }
    };
    vec![first, last, near(first, false), near(last, true)]
}

proptest! {
    #[test]
    fn the_longest_prefix_is_found(
        nets in prop::collection::vec(any_prefix(), 0..24), v4 in any_v4(), v6 in any_v6()
    ) {
        let prefixes: Vec<(IpNet, u32)> = nets.into_iter().zip(1..).collect();
        let lpm = Lpm::build(&prefixes);
        let others = [Ipv4Addr::from_bits(v4).into(), Ipv6Addr::from_bits(v6).into()];
        let asked = prefixes.iter().flat_map(|(net, _)| edges(*net)).chain(others);
        for address in asked {
            // The parser drops those; as an `Address` they would be IPv4.
            if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
                continue;
            }
            prop_assert_eq!(
                lpm.find(address.into()), by_reading(&prefixes, address), "{}", address
            );
        }
    }
}

#[test]
fn a_hundred_thousand_pods_are_found_in_a_megabyte_and_nobody_else_is() {
    // 400 nodes with 250 pods each, in both families.
    let addresses = |i: u32| {
        let (node, slot) = (i / 250, i % 250);
        let v4 = Ipv4Addr::from_bits(0x0a00_0000 + node * 256 + slot);
        let v6 = Ipv6Addr::from_bits(0xfd00u128 << 112 | u128::from(node) << 64 | u128::from(slot));
        [IpAddr::from(v4), IpAddr::from(v6)]
    };
    let pods = (0..100_000).flat_map(addresses);
    let prefixes: Vec<(IpNet, u32)> = pods.map(IpNet::from).zip(1..).collect();
    let lpm = Lpm::build(&prefixes);
    for (net, value) in &prefixes {
        assert_eq!(lpm.find(net.addr().into()), *value);
    }
    for node in 0..400u32 {
        let absent = [250, 255].map(|slot| Ipv4Addr::from_bits(0x0a00_0000 + node * 256 + slot));
        assert!(absent.iter().all(|address| lpm.find(IpAddr::from(*address).into()) == 0));
        let v6 = 0xfd00u128 << 112 | u128::from(node) << 64 | 0xfa;
        assert_eq!(lpm.find(IpAddr::from(Ipv6Addr::from_bits(v6)).into()), 0);
    }
    assert!(lpm.v4.memory_bytes() < 1 << 20, "{} bytes", lpm.v4.memory_bytes());
}

#[test]
fn few_prefixes_take_little_memory() {
    let lpm = Lpm::build(&[("10.0.0.1/32".parse().unwrap(), 1)]);
    assert!(lpm.memory_bytes() < 300_000, "{} bytes", lpm.memory_bytes());
}
