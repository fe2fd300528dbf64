//! Rules that say which table a packet's way is looked up in (`ip rule`): kept as wanted.

use futures_util::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{
    RuleAction, RuleAttribute, RuleFlags, RuleMessage, RulePortRange,
};
use rtnetlink::IpVersion;

use super::netlink::{Netlink, NetlinkError, code, refused};

/// No such rule any more.
const ENOENT: i32 = -2;

/// A rule of the routing policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Of IPv6, else of IPv4.
    pub v6: bool,
    /// When it is asked: the lesser first.
    pub priority: u32,
    /// Which packets it is for.
    pub packets: Packets,
    /// What becomes of them.
    pub then: Then,
}

/// Which packets a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packets {
    /// Those that came in by this interface; what the machine itself sends comes by `lo`.
    From(String),
    /// All others than those.
    NotFrom(String),
    /// Those of the protocol of this number.
    Of(u8),
    /// Those of the protocol of this number that are for this port.
    For(u8, u16),
}

/// Where a packet's way is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// In this table, and by the next rules where that knows none.
    LookUp(u32),
    /// By the rules from this priority on.
    GoOn(u32),
}

impl Netlink {
    /// Makes the rules of whoever is numbered so in `rt_protos` those that are wanted, and leaves all
    /// others; says how many differed.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel refuses.
    pub async fn keep_rules(&self, protocol: u8, wanted: &[Rule]) -> Result<usize, NetlinkError> {
        let mut found = Vec::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            let request = self.handle.rule().get(version).execute();
            let told: Vec<RuleMessage> =
                request.try_collect().await.map_err(refused("list rules of", "the node"))?;
            found.extend(told.into_iter().filter(|message| is_by(message, protocol)));
        }
        let is_there = |rule: &&Rule| found.iter().any(|told| read(told).as_ref() == Some(*rule));
        let missing: Vec<&Rule> = wanted.iter().filter(|rule| !is_there(rule)).collect();
        for rule in &missing {
            let mut request = self.handle.rule().add();
            *request.message_mut() = message(rule, protocol);
            request.execute().await.map_err(refused("make a rule for", "the node"))?;
        }
        let is_wanted = |told: &RuleMessage| read(told).is_some_and(|rule| wanted.contains(&rule));
        let stale: Vec<RuleMessage> =
            found.iter().filter(|told| !is_wanted(told)).cloned().collect();
        let differed = missing.len() + stale.len();
        for told in stale {
            match self.handle.rule().del(told).execute().await {
                Err(error) if code(&error) == Some(ENOENT) => {}
                done => done.map_err(refused("remove a rule of", "the node"))?,
            }
        }
        Ok(differed)
    }
}

fn is_by(message: &RuleMessage, protocol: u8) -> bool {
    message.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::from(protocol)))
}

/// A rule as the kernel takes it.
fn message(rule: &Rule, protocol: u8) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let mut add = |attribute| message.attributes.push(attribute);
    add(RuleAttribute::Priority(rule.priority));
    add(RuleAttribute::Protocol(RouteProtocol::from(protocol)));
    match &rule.packets {
        Packets::From(interface) | Packets::NotFrom(interface) => {
            add(RuleAttribute::Iifname(interface.clone()));
        }
        Packets::Of(number) => add(RuleAttribute::IpProtocol((*number).into())),
        Packets::For(number, port) => {
            add(RuleAttribute::IpProtocol((*number).into()));
            let range = RulePortRange { start: *port, end: *port };
            add(RuleAttribute::DestinationPortRange(range));
        }
    }
    match rule.then {
        Then::LookUp(table) => add(RuleAttribute::Table(table)),
        Then::GoOn(priority) => add(RuleAttribute::Goto(priority)),
    }
    message.header.action = match rule.then {
        Then::LookUp(_) => RuleAction::ToTable,
        Then::GoOn(_) => RuleAction::Goto,
    };
    if matches!(rule.packets, Packets::NotFrom(_)) {
        message.header.flags = RuleFlags::Invert;
    }
    message
}

/// A rule as the kernel tells it; `None` of one that asks for anything else.
fn read(message: &RuleMessage) -> Option<Rule> {
    let (mut priority, mut interface, mut number, mut port) = (0, None, None, None);
    let (mut table, mut next) = (u32::from(message.header.table), None);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(told) => priority = *told,
            RuleAttribute::Iifname(told) => interface = Some(told.clone()),
            RuleAttribute::IpProtocol(told) => number = Some(u8::from(*told)),
            RuleAttribute::DestinationPortRange(told) if told.start == told.end => {
                port = Some(told.start);
            }
            RuleAttribute::Table(told) => table = *told,
            RuleAttribute::Goto(told) => next = Some(*told),
            // Told of every rule: who made it, that no route is passed over, and, by kernels that the
            // crate does not know yet, that a port is compared in all its bits.
            RuleAttribute::Protocol(_)
            | RuleAttribute::SuppressPrefixLen(u32::MAX)
            | RuleAttribute::Other(_) => {}
            _ => return None,
        }
    }
    let is_other = message.header.flags.contains(RuleFlags::Invert);
    let packets = match (interface, number, port) {
        (Some(interface), None, None) if is_other => Packets::NotFrom(interface),
        (Some(interface), None, None) => Packets::From(interface),
        (None, Some(number), None) if !is_other => Packets::Of(number),
        (None, Some(number), Some(port)) if !is_other => Packets::For(number, port),
        _ => return None,
    };
    let then = match (message.header.action, next) {
        (RuleAction::ToTable, None) => Then::LookUp(table),
        (RuleAction::Goto, Some(next)) => Then::GoOn(next),
        _ => return None,
    };
    let v6 = message.header.family == AddressFamily::Inet6;
    Some(Rule { v6, priority, packets, then })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Vec<Rule> {
        let rule = |v6, priority, packets, then| Rule { v6, priority, packets, then };
        vec![
            rule(false, 1, Packets::From("a".to_owned()), Then::GoOn(3)),
            rule(true, 2, Packets::NotFrom("lo".to_owned()), Then::LookUp(7)),
            rule(false, 3, Packets::Of(1), Then::LookUp(70_000)),
            rule(true, 3, Packets::For(132, 443), Then::LookUp(70_001)),
        ]
    }

    #[test]
    fn a_rule_that_is_written_is_read_as_it_was() {
        let written: Vec<RuleMessage> = rules().iter().map(|rule| message(rule, 76)).collect();
        let again: Vec<Rule> = written.iter().filter_map(read).collect();
        assert_eq!(again, rules());
        assert!(written.iter().all(|message| is_by(message, 76) && !is_by(message, 77)));
    }

    #[test]
    fn a_rule_that_asks_for_more_than_was_written_is_another() {
        let more = [
            RuleAttribute::FwMark(1),
            RuleAttribute::Oifname("a".to_owned()),
            RuleAttribute::DestinationPortRange(RulePortRange { start: 1, end: 2 }),
        ];
        for attribute in more {
            for rule in rules() {
                let mut message = message(&rule, 76);
                message.attributes.push(attribute.clone());
                assert_eq!(read(&message), None, "{message:?}");
            }
        }
    }
}
