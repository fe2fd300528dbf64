//! The rules and routes of the namespace as the kernel has them, for people: everybody's, in every
//! table. What stands in no column of `ip` is shown as the crate names it, and nothing is left out
//! but ages.

use std::fmt::{Display, Write as _};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::{Stream, TryStreamExt};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::IpVersion;

use super::namespace::here;
use super::routes::of_family;

/// The rules of a family in the order in which they are asked, as `ip rule show` has them, and
/// no more than this many bytes and one line.
///
/// # Errors
/// Where the kernel does not tell.
pub fn rules_told(v6: bool, most: usize) -> io::Result<String> {
    let version = if v6 { IpVersion::V6 } else { IpVersion::V4 };
    here(async |there| gather(there.handle.rule().get(version).execute(), rule, most).await)?
}

/// The routes of a family, those of every table and of every kind, and no more than this many bytes
/// and one line. An interface is told by its number.
///
/// # Errors
/// Where the kernel does not tell.
pub fn routes_told(v6: bool, most: usize) -> io::Result<String> {
    here(async |there| {
        let told = there.handle.route().get(of_family(v6)).execute();
        gather(told, |message| route(message, v6), most).await
    })?
}

/// A line for each message, until there are enough.
async fn gather<M>(
    told: impl Stream<Item = Result<M, rtnetlink::Error>>,
    line: impl Fn(&M) -> String,
    most: usize,
) -> io::Result<String> {
    let mut told = std::pin::pin!(told);
    let mut text = String::new();
    while let Some(message) = told.try_next().await.map_err(io::Error::other)? {
        text += &line(&message);
        text.push('\n');
        if text.len() > most {
            break;
        }
    }
    Ok(text)
}

/// `7600: iif PEER goto 7602 proto 76`.
fn rule(message: &RuleMessage) -> String {
    let header = &message.header;
    let (mut priority, mut table, mut words) = (0, u32::from(header.table), String::new());
    if header.flags.contains(RuleFlags::Invert) {
        words += " not";
    }
    for attribute in &message.attributes {
        let mut add = |what: &str, value: &dyn Display| add(&mut words, what, value);
        match attribute {
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Source(address) => add("from", &net(*address, header.src_len)),
            RuleAttribute::Destination(address) => add("to", &net(*address, header.dst_len)),
            RuleAttribute::Iifname(name) => add("iif", name),
            RuleAttribute::Oifname(name) => add("oif", name),
            RuleAttribute::FwMark(mark) => add("fwmark", &format!("{mark:#x}")),
            RuleAttribute::IpProtocol(number) => add("ipproto", &u8::from(*number)),
            RuleAttribute::DestinationPortRange(ports) if ports.start == ports.end => {
                add("dport", &ports.start);
            }
            RuleAttribute::Goto(next) => add("goto", next),
            RuleAttribute::Protocol(by) => add("proto", &u8::from(*by)),
            // Of a rule that passes over no route.
            RuleAttribute::SuppressPrefixLen(u32::MAX) => {}
            other => add("and", &format!("{other:?}")),
        }
    }
    match header.action {
        RuleAction::ToTable => add(&mut words, "lookup", &table),
        RuleAction::Goto => {}
        other => add(&mut words, "then", &format!("{other:?}")),
    }
    format!("{priority}:{words}")
}

/// `table 254 Unicast 10.0.0.0/8 via 192.0.2.1 dev 7 proto 76 scope Universe`.
fn route(message: &RouteMessage, v6: bool) -> String {
    let header = &message.header;
    let any: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    // One byte holds no larger number: then an attribute says it.
    let (mut table, mut to, mut words) = (u32::from(header.table), any, String::new());
    for attribute in &message.attributes {
        let mut add = |what: &str, value: &dyn Display| add(&mut words, what, value);
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => to = (*v4).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => to = (*v6).into(),
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => add("via", v4),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => add("via", v6),
            RouteAttribute::PrefSource(RouteAddress::Inet(v4)) => add("src", v4),
            RouteAttribute::PrefSource(RouteAddress::Inet6(v6)) => add("src", v6),
            RouteAttribute::Oif(number) => add("dev", number),
            RouteAttribute::Priority(number) => add("metric", number),
            RouteAttribute::CacheInfo(_) | RouteAttribute::Preference(_) => {}
            other => add("and", &format!("{other:?}")),
        }
    }
    add(&mut words, "proto", &u8::from(header.protocol));
    add(&mut words, "scope", &format!("{:?}", header.scope));
    if !header.flags.is_empty() {
        add(&mut words, "flags", &format!("{:?}", header.flags));
    }
    let to = net(to, header.destination_prefix_length);
    format!("table {table} {:?} {to}{words}", header.kind)
}

fn add(words: &mut String, what: &str, value: &dyn Display) {
    let _fits = write!(words, " {what} {value}");
}

fn net(address: IpAddr, bits: u8) -> String {
    format!("{address}/{bits}")
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::route::{RouteProtocol, RouteScope, RouteType};
    use netlink_packet_route::rule::RulePortRange;

    use super::*;

    fn rule_of(action: RuleAction, attributes: Vec<RuleAttribute>) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = AddressFamily::Inet;
        (message.header.action, message.attributes) = (action, attributes);
        message
    }

    #[test]
    fn a_rule_is_told_with_all_that_it_asks() {
        let proto = || RuleAttribute::Protocol(RouteProtocol::from(76));
        let first = |priority| vec![RuleAttribute::Priority(priority), proto()];
        let with = |priority, more: Vec<RuleAttribute>| [first(priority), more].concat();
        let name = |name: &str| RuleAttribute::Iifname(name.to_owned());
        let from = with(7600, vec![name("lg-far"), RuleAttribute::Goto(7602)]);
        assert_eq!(rule(&rule_of(RuleAction::Goto, from)), "7600: proto 76 iif lg-far goto 7602");
        let table = RuleAttribute::Table(0x4c00_0000);
        let mut others = rule_of(RuleAction::ToTable, with(7601, vec![name("lo"), table.clone()]));
        others.header.flags = RuleFlags::Invert;
        assert_eq!(rule(&others), "7601: not proto 76 iif lo lookup 1275068416");
        let port = RuleAttribute::DestinationPortRange(RulePortRange { start: 443, end: 443 });
        let protocol = RuleAttribute::IpProtocol(6.into());
        let of_port = with(7602, vec![protocol, port, table]);
        assert_eq!(
            rule(&rule_of(RuleAction::ToTable, of_port)),
            "7602: proto 76 ipproto 6 dport 443 lookup 1275068416"
        );
        let ports = RuleAttribute::DestinationPortRange(RulePortRange { start: 1, end: 9 });
        let address = RuleAttribute::Source([10, 0, 0, 0].into());
        let mut odd = rule_of(RuleAction::Prohibit, with(1, vec![address, ports]));
        odd.header.src_len = 8;
        let told = rule(&odd);
        assert!(told.starts_with("1: proto 76 from 10.0.0.0/8 and Destination"), "{told}");
        assert!(told.contains("start: 1, end: 9") && told.ends_with("then Prohibit"), "{told}");
    }

    #[test]
    fn a_route_is_told_with_its_table_whatever_its_kind() {
        let mut message = RouteMessage::default();
        message.header.kind = RouteType::Unicast;
        message.header.scope = RouteScope::Universe;
        message.header.protocol = RouteProtocol::from(76);
        message.header.destination_prefix_length = 32;
        message.header.table = 252;
        message.attributes = vec![
            RouteAttribute::Table(0x4c00_0000),
            RouteAttribute::Destination(RouteAddress::Inet(Ipv4Addr::new(203, 0, 113, 1))),
            RouteAttribute::Gateway(RouteAddress::Inet(Ipv4Addr::new(169, 254, 1, 1))),
            RouteAttribute::Oif(7),
        ];
        assert_eq!(
            route(&message, false),
            "table 1275068416 Unicast 203.0.113.1/32 via 169.254.1.1 dev 7 proto 76 scope Universe"
        );
        message.header.kind = RouteType::BlackHole;
        message.header.destination_prefix_length = 0;
        message.attributes = vec![RouteAttribute::Priority(9), RouteAttribute::Mark(3)];
        let told = route(&message, true);
        assert_eq!(told, "table 252 BlackHole ::/0 metric 9 and Mark(3) proto 76 scope Universe");
    }

    #[test]
    fn there_are_no_more_lines_than_were_asked_for() {
        let all = rules_told(false, usize::MAX).unwrap();
        assert!(all.lines().count() >= 3, "local, main and default: {all}");
        assert_eq!(rules_told(false, 1).unwrap().lines().count(), 1);
    }
}
