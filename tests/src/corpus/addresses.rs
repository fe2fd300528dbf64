//! Addresses that belong on no wire, groups, and what a link's own services say to them.

use std::net::IpAddr;

use lockgate_dataplane::counters::DropReason::{Martian, NotForUs, SpoofedSource};
use lockgate_dataplane::ids::Mac;

use super::build::udp;
use super::{Entry, Scene};
use crate::packets::{self, Ends};

/// A packet from each address to the target.
fn from(scene: &Scene, sources: &[&str]) -> Vec<Vec<u8>> {
    let of = |text: &&str| {
        let source: IpAddr = text.parse().unwrap();
        udp(Ends { source, ..if source.is_ipv4() { scene.v4() } else { scene.v6() } })
    };
    sources.iter().map(of).collect()
}

/// A packet from the sender to each address, by the gateway.
fn to(scene: &Scene, targets: &[&str]) -> Vec<Vec<u8>> {
    targets.iter().map(|text| udp(ends_to(scene, text))).collect()
}

fn ends_to(scene: &Scene, target: &str) -> Ends {
    let target: IpAddr = target.parse().unwrap();
    Ends { target, ..if target.is_ipv4() { scene.v4() } else { scene.v6() } }
}

/// A datagram to a group or to all, by the MAC that goes with it.
fn by_group(scene: &Scene, target: &str, ports: (u16, u16)) -> Vec<u8> {
    let ends = ends_to(scene, target);
    let target_mac = match ends.target {
        IpAddr::V4(v4) if v4.is_broadcast() => Mac([0xff; 6]),
        IpAddr::V4(v4) => {
            let [_, b, c, d] = v4.octets();
            Mac([1, 0, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            Mac([0x33, 0x33, a, b, c, d])
        }
    };
    packets::udp(Ends { target_mac, ..ends }, ports, b"evasion.")
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry::dropped("martian-source-ipv4", "0/8, 127/8, groups, class E as source", Martian, |s| {
        let never = ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "224.0.0.1"];
        [from(s, &never), from(s, &["240.0.0.1", "255.255.255.255"])].concat()
    }),
    Entry::dropped("martian-target-ipv4", "0/8, 127/8, class E as target", Martian, |s| {
        to(s, &["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.1.2.3", "240.0.0.1"])
    }),
    Entry::dropped("martian-source-ipv6", "::, ::1, groups as source", Martian, |s| {
        from(s, &["::", "::1", "::2", "ff02::1", "ff0e::1"])
    }),
    Entry::dropped("martian-target-ipv6", "::, ::1 as target", Martian, |s| {
        to(s, &["::", "::1", "::2"])
    }),
    Entry::dropped("ipv4-mapped", "IPv4 in disguise: ::ffff:a.b.c.d, ::a.b.c.d", Martian, |s| {
        let mapped = format!("::ffff:{}", s.target.v4);
        let compatible = format!("::{}", s.target.v4);
        let own = format!("::ffff:{}", s.sender.v4);
        [to(s, &[&mapped, &compatible]), from(s, &[&own])].concat()
    }),
    Entry::dropped("broadcast", "to 255.255.255.255, by the gateway's MAC", NotForUs, |s| {
        to(s, &["255.255.255.255"])
    }),
    Entry::dropped("multicast", "to groups of any scope, by the gateway's MAC", NotForUs, |s| {
        to(s, &["224.0.0.251", "239.1.2.3", "ff01::1", "ff02::1", "ff05::2", "ff0e::1"])
    }),
    Entry::dropped("multicast-as-sent", "mDNS, LLMNR, SSDP as stacks send them", NotForUs, |s| {
        vec![
            by_group(s, "224.0.0.251", (5353, 5353)),
            by_group(s, "224.0.0.252", (5355, 5355)),
            by_group(s, "239.255.255.250", (1900, 1900)),
            by_group(s, "ff02::fb", (5353, 5353)),
        ]
    }),
    Entry::dropped("link-local-target", "to IPv6 link-local addresses", NotForUs, |s| {
        to(s, &["fe80::1", "fe80::99", "febf::1"])
    }),
    Entry::dropped("gateway-target", "UDP to the gateway itself", NotForUs, |s| {
        to(s, &["169.254.1.1"])
    }),
    Entry::dropped("dhcp-offer", "a DHCP server's offer to all", NotForUs, |s| {
        vec![by_group(s, "255.255.255.255", (67, 68))]
    }),
    Entry::dropped("dhcp-offer-as-another", "the same, as another pod", SpoofedSource, |s| {
        let ends = Ends { source: s.other.v4.into(), ..ends_to(s, "255.255.255.255") };
        vec![packets::udp(ends, (67, 68), &[2; 240])]
    }),
    Entry::dropped("dhcp-offer-to-one", "a DHCP reply to one pod", NotForUs, |s| {
        vec![packets::udp(s.v4(), (67, 68), &[2; 240]), packets::udp(s.v6(), (547, 546), b"7")]
    }),
    Entry::dropped("dhcp-client", "a DHCP client without an address", Martian, |s| {
        let all = Ends { target_mac: Mac([0xff; 6]), ..ends_to(s, "255.255.255.255") };
        vec![packets::udp(Ends { source: "0.0.0.0".parse().unwrap(), ..all }, (68, 67), &[1; 240])]
    }),
    Entry::dropped("dhcpv6-from-nobody", "DHCPv6 from ::, as client and as server", Martian, |s| {
        let nobody = Ends { source: "::".parse().unwrap(), ..s.v6() };
        vec![packets::udp(nobody, (546, 547), b"1"), packets::udp(nobody, (547, 546), b"2")]
    }),
    Entry::dropped("dhcpv6", "DHCPv6 as client and as server", NotForUs, |s| {
        let local =
            |frame_to: &str| Ends { source: "fe80::99".parse().unwrap(), ..ends_to(s, frame_to) };
        vec![
            packets::udp(local("ff02::1:2"), (546, 547), b"1"),
            packets::udp(local("fe80::98"), (547, 546), b"2"),
            by_group(s, "ff02::1:2", (546, 547)),
        ]
    }),
];
