//! The routes that a pod's end came with, found again: one to each of its addresses, one to the link
//! of its gateway, and everything by the gateway over this very interface. Pure.
//!
//! | route | made by | without it |
//! |---|---|---|
//! | `local` to each address | the kernel, with the address | the pod takes nothing that is for it |
//! | `fe80::/64` over the interface, where the pod has IPv6 | the kernel, as it was set up | the gateway is on no link; IPv4 has it there by the route's own word (`onlink`) |
//! | everything by the gateway over the interface, before any other such route | ADD | the pod reaches nobody by the switch |
//!
//! Others are not looked at: plugins later in the list may make some, and everything once more by an
//! interface of their own, to be asked after ours.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};

use super::pod_end::gateway;
use super::routes::MAIN_TABLE;

/// The number of the table of the machine's own addresses.
const LOCAL_TABLE: u32 = 255;

/// The link-local addresses of IPv6, as the kernel routes them over each link.
const LINK: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64);

/// A route in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    kind: RouteType,
    table: u32,
    to: IpNet,
    gateway: Option<IpAddr>,
    /// 0 where it leads to several, or to none.
    interface: u32,
    /// The lesser is asked first.
    metric: u32,
}

/// A route that is not as it was made: what it is, how it is, how it was made.
pub(super) type Lack = (String, String, String);

impl Way {
    /// A route as the kernel tells it.
    pub(super) fn read(message: &RouteMessage, v6: bool) -> Option<Self> {
        let any: IpAddr =
            if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let (mut to, mut gateway, mut interface, mut metric) = (any, None, 0, 0);
        // One byte holds no larger number: then an attribute says it.
        let mut table = u32::from(message.header.table);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(told) => to = address_of(told)?,
                RouteAttribute::Gateway(told) => gateway = address_of(told),
                RouteAttribute::Oif(number) => interface = *number,
                RouteAttribute::Priority(number) => metric = *number,
                RouteAttribute::Table(number) => table = *number,
                _ => {}
            }
        }
        let to = IpNet::new(to, message.header.destination_prefix_length).ok()?;
        Some(Self { kind: message.header.kind, table, to, gateway, interface, metric })
    }

    fn is_main(&self) -> bool {
        self.table == MAIN_TABLE
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, gateway, interface, .. } = self;
        if *kind != RouteType::Unicast {
            return write!(f, "{}", format!("{kind:?}").to_lowercase());
        }
        match gateway {
            Some(gateway) => write!(f, "{gateway}")?,
            None => write!(f, "no gateway")?,
        }
        write!(f, " over interface number {interface}")
    }
}

/// What of these routes of an address's family is not as it was made, where the pod's end has this
/// number.
pub(super) fn lacks(ways: &[Way], link: u32, address: IpAddr) -> Vec<Lack> {
    let v6 = address.is_ipv6();
    let own = IpNet::from(address);
    let local = |way: &&Way| {
        let is_of_table = way.table == LOCAL_TABLE;
        way.kind == RouteType::Local && is_of_table && way.to == own
    };
    let on_link = |way: &&Way| {
        let is_over = way.interface == link && way.gateway.is_none();
        way.kind == RouteType::Unicast && way.is_main() && is_over && way.to == LINK.into()
    };
    let mut lacks = Vec::new();
    let mut lack = |what: String, found: String, wanted: &str| {
        lacks.push((what, found, wanted.to_owned()));
    };
    if !ways.iter().any(|way| local(&way)) {
        lack(format!("the route to its own address {own}"), String::new(), "local");
    }
    if v6 && !ways.iter().any(|way| on_link(&way)) {
        lack(format!("the route to its gateway's link {LINK}"), String::new(), "over it");
    }
    let wanted = gateway(v6).to_string();
    let found = defaults(ways, link, gateway(v6));
    if found != wanted {
        lack("its default route".to_owned(), found, &wanted);
    }
    lacks
}

/// Where everything goes: by each route over the interface, and by each that is asked before those.
fn defaults(ways: &[Way], link: u32, gateway: IpAddr) -> String {
    let all = ways.iter().filter(|way| way.is_main() && way.to.prefix_len() == 0);
    let mut all: Vec<&Way> = all.collect();
    // What is of one metric keeps its order, which is the kernel's.
    all.sort_by_key(|way| way.metric);
    let first = all.iter().position(|way| way.interface == link).unwrap_or(all.len());
    let told = all.iter().enumerate().filter(|(at, way)| *at < first || way.interface == link);
    let told = told.map(|(_, way)| {
        let is_ours = way.kind == RouteType::Unicast && way.interface == link;
        match way.gateway {
            Some(by) if is_ours && by == gateway => by.to_string(),
            _ => way.to_string(),
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

fn address_of(told: &RouteAddress) -> Option<IpAddr> {
    match told {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK_NUMBER: u32 = 2;
    const OTHER: u32 = 3;

    fn way(to: &str, gateway: &str, interface: u32, metric: u32) -> Way {
        let (kind, table) = (RouteType::Unicast, MAIN_TABLE);
        let (to, gateway) = (to.parse().unwrap(), gateway.parse().ok());
        Way { kind, table, to, gateway, interface, metric }
    }

    fn local(to: &str) -> Way {
        Way { kind: RouteType::Local, table: LOCAL_TABLE, ..way(to, "", LINK_NUMBER, 0) }
    }

    fn v4() -> Vec<Way> {
        vec![way("0.0.0.0/0", "169.254.1.1", LINK_NUMBER, 0), local("10.0.0.5/32")]
    }

    fn v6() -> Vec<Way> {
        vec![
            way("fe80::/64", "", LINK_NUMBER, 256),
            way("::/0", "fe80::1", LINK_NUMBER, 1024),
            local("fd00::5/128"),
        ]
    }

    fn told(ways: &[Way], address: &str) -> String {
        let lacks = lacks(ways, LINK_NUMBER, address.parse().unwrap());
        let lines = lacks.iter().map(|(what, found, wanted)| format!("{what}: {found} / {wanted}"));
        lines.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_was_made_lacks_nothing_and_other_routes_are_not_looked_at() {
        assert_eq!(told(&v4(), "10.0.0.5"), "");
        assert_eq!(told(&v6(), "fd00::5"), "");
        let mut more = v4();
        more.push(way("10.9.0.0/16", "10.9.0.1", OTHER, 0));
        more.push(way("0.0.0.0/0", "10.9.0.1", OTHER, 0));
        more.insert(0, Way { table: 7, ..way("0.0.0.0/0", "10.9.0.1", OTHER, 0) });
        assert_eq!(told(&more, "10.0.0.5"), "", "asked after ours, or in no table that is asked");
    }

    #[test]
    fn each_route_that_is_gone_is_named() {
        for (ways, address, at, said) in [
            (v4(), "10.0.0.5", 0, "its default route:  / 169.254.1.1"),
            (v4(), "10.0.0.5", 1, "the route to its own address 10.0.0.5/32:  / local"),
            (v6(), "fd00::5", 0, "the route to its gateway's link fe80::/64:  / over it"),
            (v6(), "fd00::5", 1, "its default route:  / fe80::1"),
            (v6(), "fd00::5", 2, "the route to its own address fd00::5/128:  / local"),
        ] {
            let mut ways = ways;
            ways.remove(at);
            assert_eq!(told(&ways, address), said);
        }
    }

    #[test]
    fn everything_goes_by_the_interface_to_the_gateway_before_it_goes_elsewhere() {
        let black = Way { kind: RouteType::BlackHole, ..way("::/0", "", 0, 1) };
        let theirs = way("::/0", "fe80::1", OTHER, 1023);
        for (first, said) in [
            (black, "its default route: blackhole, fe80::1 / fe80::1"),
            (theirs, "its default route: fe80::1 over interface number 3, fe80::1 / fe80::1"),
        ] {
            // In no order, as the kernel may tell them.
            assert_eq!(told(&[v6(), vec![first]].concat(), "fd00::5"), said);
        }
        for (wrong, said) in [
            (way("0.0.0.0/0", "169.254.1.1", OTHER, 0), "169.254.1.1 over interface number 3"),
            (way("0.0.0.0/0", "10.0.0.1", LINK_NUMBER, 0), "10.0.0.1 over interface number 2"),
            (way("0.0.0.0/0", "", LINK_NUMBER, 0), "no gateway over interface number 2"),
        ] {
            let ways = [wrong, local("10.0.0.5/32")];
            let said = format!("its default route: {said} / 169.254.1.1");
            assert_eq!(told(&ways, "10.0.0.5"), said);
        }
    }
}
