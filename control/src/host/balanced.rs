//! How load balancers' addresses are led to the switch: by rules and tables of their own. Pure.
//!
//! Of such an address only the Services' ports are theirs. The rest is whoever's it was: the API
//! server may stand behind it. So a route in the main table would take too much, and who asks decides:
//!
//! | who | what is led to the switch |
//! |---|---|
//! | who is beyond the node | all that is for the address: nobody else has it here |
//! | the node itself, and its pods, whom the switch lets by | what is for a port of a Service |
//!
//! ```text
//! 7600: from all iif PEER goto 7602
//! 7601: not from all iif lo lookup ALL
//! 7602: from all ipproto tcp dport 443 lookup ALL + 6 << 16 + 443
//! ```
//!
//! For each protocol and port that some address has there is a table, which holds those addresses: so
//! there are as many rules as there are ports that differ, however many addresses have them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::netfilter::Family;
use super::plan::{HostPlan, PROTOCOL, gateway};
use crate::attach::{Packets, Route, Rule, Then};
use crate::services::BalancedPort;

/// The table of every such address: [`PROTOCOL`] in the highest byte. Those of ports are behind it.
const ALL: u32 = 0x4c00_0000;
/// Before the main table's rule, which is 32766, and after those that choose another for interfaces
/// of a kind (1000).
const FROM_SWITCH: u32 = 7600;
const FROM_BEYOND: u32 = 7601;
const FOR_PORTS: u32 = 7602;

const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// The routes in tables of their own, where the peer has this number and the node these addresses.
pub(super) fn routes(plan: &HostPlan, peer: u32, here: &[IpAddr]) -> Vec<Route> {
    let places =
        plan.balanced.iter().flat_map(|own| [(ALL, own.address), (table(own), own.address)]);
    let places: BTreeSet<(u32, IpAddr)> = places.collect();
    let route = |(table, address)| Route {
        destination: IpNet::from(address),
        gateway: Some(gateway(Family::of(address))),
        interface: peer,
        source: plan.source(Family::of(address), here),
        protocol: PROTOCOL,
        table,
    };
    places.into_iter().map(route).collect()
}

/// The rules that lead there; none of a family without such addresses.
pub(super) fn rules(plan: &HostPlan) -> Vec<Rule> {
    let mut rules = Vec::new();
    for family in Family::BOTH {
        let own = plan.balanced.iter().filter(|own| Family::of(own.address) == family);
        let ports: BTreeSet<(u8, u16, u32)> =
            own.map(|own| (own.protocol, own.port, table(own))).collect();
        if ports.is_empty() {
            continue;
        }
        let v6 = family == Family::V6;
        let mut add = |priority, packets, then| rules.push(Rule { v6, priority, packets, then });
        let peer = plan.peer.as_str().to_owned();
        add(FROM_SWITCH, Packets::From(peer), Then::GoOn(FOR_PORTS));
        add(FROM_BEYOND, Packets::NotFrom("lo".to_owned()), Then::LookUp(ALL));
        for (protocol, port, table) in ports {
            add(FOR_PORTS, Packets::For(protocol, port), Then::LookUp(table));
        }
        // What the node's stack says of a Service's answer, as that its way back is narrow, bears the
        // address and no port. And a reverse path filter, which IPv4 has, asks the way back of what
        // comes by the peer, as the node itself would ask: errors of a Service's pods have no port.
        let errors = if v6 { ICMP_V6 } else { ICMP };
        add(FOR_PORTS, Packets::Of(errors), Then::LookUp(ALL));
    }
    rules
}

fn table(own: &BalancedPort) -> u32 {
    ALL + (u32::from(own.protocol) << 16) + u32::from(own.port)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{address, here, plan};
    use super::*;

    fn with(ports: &[(&str, u8, u16)]) -> HostPlan {
        let own = |(text, protocol, port): &(&str, u8, u16)| BalancedPort {
            address: address(text),
            protocol: *protocol,
            port: *port,
        };
        HostPlan { balanced: ports.iter().map(own).collect(), ..plan() }
    }

    #[test]
    fn addresses_that_have_a_port_share_its_table_and_its_rule() {
        let plan =
            with(&[("203.0.113.1", 6, 443), ("203.0.113.2", 6, 443), ("2001:db8::1", 17, 53)]);
        let tables = |text: &str| -> Vec<u32> {
            let routes = routes(&plan, 7, &here());
            let own = routes.iter().filter(|route| route.destination.addr() == address(text));
            own.map(|route| route.table).collect()
        };
        let of_port = 0x4c06_0000 + 443;
        assert_eq!(tables("203.0.113.1"), [ALL, of_port]);
        assert_eq!(tables("203.0.113.2"), [ALL, of_port]);
        assert_eq!(tables("2001:db8::1"), [ALL, 0x4c11_0000 + 53]);
        let rules = rules(&plan);
        let told: Vec<(bool, u32)> = rules.iter().map(|rule| (rule.v6, rule.priority)).collect();
        let of = |v6, ports: usize| -> Vec<(bool, u32)> {
            let all = [vec![FROM_SWITCH, FROM_BEYOND], vec![FOR_PORTS; ports + 1]].concat();
            all.into_iter().map(|priority| (v6, priority)).collect()
        };
        assert_eq!(told, [of(false, 1), of(true, 1)].concat());
        assert_eq!(rules[2].packets, Packets::For(6, 443));
        assert_eq!(rules[2].then, Then::LookUp(of_port));
    }

    #[test]
    fn who_asks_decides_what_is_led_to_the_switch() {
        let all = rules(&with(&[("203.0.113.1", 6, 443), ("2001:db8::1", 6, 443)]));
        let of_port = Then::LookUp(0x4c06_0000 + 443);
        let wanted = |v6| {
            let rule = |priority, packets, then| Rule { v6, priority, packets, then };
            let icmp = if v6 { 58 } else { 1 };
            let errors = rule(7602, Packets::Of(icmp), Then::LookUp(0x4c00_0000));
            let first = [
                // Else what pods send by the switch would be led back to it, whatever its port.
                rule(7600, Packets::From("lg-far".to_owned()), Then::GoOn(7602)),
                rule(7601, Packets::NotFrom("lo".to_owned()), Then::LookUp(0x4c00_0000)),
                rule(7602, Packets::For(6, 443), of_port),
            ];
            first.into_iter().chain([errors])
        };
        assert_eq!(all, wanted(false).chain(wanted(true)).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_routed_so_goes_by_the_gateway_of_its_family_from_a_node_address() {
        let routes = routes(&with(&[("203.0.113.1", 6, 80), ("2001:db8::1", 6, 80)]), 7, &here());
        let told: Vec<String> = routes.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("203.0.113.1/32 via 169.254.1.1 on interface"), "{told:?}");
        assert!(told[1].starts_with("2001:db8::1/128 via fe80::1 on interface"), "{told:?}");
        assert!(routes.iter().all(|route| here().contains(&route.source.unwrap())));
        let is_ours = |route: &Route| (route.interface, route.protocol) == (7, 76);
        assert!(routes.iter().all(is_ours), "{told:?}");
    }

    #[test]
    fn without_such_addresses_there_is_no_rule() {
        assert_eq!(rules(&plan()), []);
        assert_eq!(routes(&plan(), 7, &here()), []);
    }
}
