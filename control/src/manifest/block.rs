//! Addresses and CIDRs as written, in the many ways they have been.
//!
//! Host bits are masked off and leading zeros read as decimal, as the API server always did
//! (NP-31); neither is ever read as octal (CVE-2021-29923), and what could mean two things is
//! refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The bits in front of an IPv4 address in an IPv6 one.
const MAPPED_BITS: u8 = 96;

/// What is said of host bits.
pub(crate) const HOST_BITS: &str = "has bits set beyond its length, which are ignored";

const MAPPED: &str = "is IPv4 written as IPv6 and is read as IPv4";

/// A CIDR and what is odd about how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Masked to its length; IPv4-mapped ones are IPv4.
    pub(crate) cidr: IpNet,
    /// Why a warning is due.
    pub(crate) oddities: Vec<&'static str>,
}

/// Reads `address/length`.
pub(crate) fn cidr(text: &str) -> Option<Written> {
    let (address, length) = text.split_once('/')?;
    let length = decimal(length).filter(|_| length == "0" || !length.starts_with('0'))?;
    let mut oddities = Vec::new();
    let full = match address.parse::<Ipv6Addr>() {
        Ok(v6) => v6_net(v6, length, &mut oddities)?,
        Err(_) => IpNet::V4(Ipv4Net::new(v4(address, &mut oddities)?, length).ok()?),
    };
    let cidr = full.trunc();
    if cidr != full {
        oddities.push(HOST_BITS);
    }
    Some(Written { cidr, oddities })
}

fn v6_net(address: Ipv6Addr, length: u8, oddities: &mut Vec<&'static str>) -> Option<IpNet> {
    match address.to_ipv4_mapped() {
        None => Ipv6Net::new(address, length).ok().map(IpNet::V6),
        Some(v4) => {
            oddities.push(MAPPED);
            Ipv4Net::new(v4, length.checked_sub(MAPPED_BITS)?).ok().map(IpNet::V4)
        }
    }
}

/// Reads an address; an IPv4-mapped one is IPv4.
pub(crate) fn address(text: &str) -> Option<(IpAddr, Vec<&'static str>)> {
    let mut oddities = Vec::new();
    let address = match text.parse::<Ipv6Addr>() {
        Ok(v6) => {
            oddities.extend(v6.to_ipv4_mapped().map(|_| MAPPED));
            IpAddr::V6(v6).to_canonical()
        }
        Err(_) => IpAddr::V4(v4(text, &mut oddities)?),
    };
    Some((address, oddities))
}

fn v4(text: &str, oddities: &mut Vec<&'static str>) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        *octet = decimal(part)?;
        if part.len() > 1 && part.starts_with('0') {
            oddities.push("has leading zeros, which are read as decimal");
        }
    }
    oddities.dedup();
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

/// Up to three digits and nothing else: no sign, no space.
fn decimal(text: &str) -> Option<u8> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits && (1..=3).contains(&text.len()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn np_31_a_cidr_is_masked_and_never_read_as_octal() {
        for (text, wanted, oddities) in [
            ("10.0.0.0/8", "10.0.0.0/8", 0),
            ("13.108.14.15/24", "13.108.14.0/24", 1),
            ("010.0.0.1/8", "10.0.0.0/8", 2),
            ("010.000.0.0/8", "10.0.0.0/8", 1),
            ("0.0.0.0/0", "0.0.0.0/0", 0),
            ("::/0", "::/0", 0),
            ("2001:db8::1/64", "2001:db8::/64", 1),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", 1),
            ("::ffff:0:0/96", "0.0.0.0/0", 1),
            ("::ffff:10.0.0.1/128", "10.0.0.1/32", 1),
        ] {
            let seen = cidr(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(seen.cidr.to_string(), wanted, "{text}");
            assert_eq!(seen.oddities.len(), oddities, "{text}: {:?}", seen.oddities);
        }
    }

    #[test]
    fn np_31_what_is_no_cidr_or_could_mean_two_is_refused() {
        for text in [
            "10.0.0.1",
            "10.0.0/8",
            "10.0.0.0/33",
            "10.0.0.256/8",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            " 10.0.0.0/8",
            "10.0.0.0/8 ",
            "0x0a.0.0.0/8",
            "10.0.0.0.0/8",
            "::/129",
            "/8",
            "",
            "10.0.0.0/",
            "::ffff:10.0.0.0/8",
            "fe80::1%eth0/64",
            "0010.0.0.0/8",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(cidr(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_is_read_in_its_own_family() {
        let parsed = |text| address(text).map(|(address, _)| address.to_string());
        assert_eq!(parsed("::ffff:10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(parsed("010.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(parsed("fd00::1").as_deref(), Some("fd00::1"));
        assert_eq!(parsed("web"), None);
    }
}
