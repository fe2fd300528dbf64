//! One rule: an action, who is at either end, and which traffic.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use lockgate_dataplane::packet::Protocol;
use serde::{Deserialize, Serialize};

use super::selection::{Selection, Service};
use crate::expression::Expression;

/// A rule of a policy as it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listed {
    /// As written.
    Rule(Box<Rule>),
    /// It is broken and matches nothing.
    Nothing,
    /// It is broken and denies everything.
    DenyAll,
}

/// A rule: matches where its own side, ANY of its peers and ANY of its kinds of traffic do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it is called, where it has a name.
    pub name: Option<String>,
    /// What it does.
    pub action: Action,
    /// What the pod must be that the policy selects: the target of ingress, the source of egress.
    pub own: Side,
    /// Who may be at the other end; none listed is nobody.
    pub peers: Vec<Side>,
    /// Which traffic; none listed is nothing.
    pub traffic: Vec<Traffic>,
}

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Lets it pass this side for good.
    Allow,
    /// Drops it.
    Deny,
    /// Leaves it to the next tier.
    Pass,
    /// Records it and goes on with the next rule.
    Log,
}

/// One end of a connection: everything that is given must hold. The default is anyone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Side {
    /// Its address is in one of these; `None` is any, an empty list is nobody.
    pub nets: Option<Vec<IpNet>>,
    /// Its address is in none of these.
    pub not_nets: Vec<IpNet>,
    /// It is a pod, or in a set of networks, that is selected. Others never match this.
    pub selection: Option<Selection>,
    /// It is no pod and in no set of networks that matches this, wherever that is.
    pub not_selector: Option<Expression>,
    /// It backs this service; a target also only at the ports that it serves there.
    pub service: Option<Service>,
    /// It is an address of a node with such labels.
    pub nodes: Option<Expression>,
}

/// A kind of traffic: everything that is given must hold. The default is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Traffic {
    /// The version of IP.
    pub family: Option<Family>,
    /// The protocol is this.
    pub protocol: Option<IpProtocol>,
    /// The protocol is not this.
    pub not_protocol: Option<IpProtocol>,
    /// The ICMP message is this; the protocol says of which ICMP.
    pub icmp: Option<Icmp>,
    /// The ICMP message is not this.
    pub not_icmp: Option<Icmp>,
    /// The source's port is one of these; `None` is any, an empty list is none.
    pub source_ports: Option<Vec<Ports>>,
    /// The source's port is none of these.
    pub not_source_ports: Vec<Ports>,
    /// The target's port is one of these; `None` is any, an empty list is none.
    pub target_ports: Option<Vec<Ports>>,
    /// The target's port is none of these.
    pub not_target_ports: Vec<Ports>,
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "4" => Ok(Self::V4),
            "6" => Ok(Self::V6),
            _ => Err("write 4 or 6".to_owned()),
        }
    }
}

impl Display for Family {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The number of an IP protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);
    /// UDP-Lite.
    pub const UDP_LITE: Self = Self(136);

    /// Those that have names.
    const NAMED: [(&str, Self); 6] = [
        ("TCP", Self::TCP),
        ("UDP", Self::UDP),
        ("ICMP", Self::ICMP),
        ("ICMPv6", Self::ICMPV6),
        ("SCTP", Self::SCTP),
        ("UDPLite", Self::UDP_LITE),
    ];

    /// The one of this name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let is_it = |one: &&(&str, Self)| one.0.eq_ignore_ascii_case(name);
        Self::NAMED.iter().find(is_it).map(|one| one.1)
    }

    /// As the tables know it, in this version of IP.
    #[must_use]
    pub fn within(self, family: Family) -> Protocol {
        match (self, family) {
            (Self::TCP, _) => Protocol::Tcp,
            (Self::UDP, _) => Protocol::Udp,
            (Self::SCTP, _) => Protocol::Sctp,
            (Self::ICMP, Family::V4) => Protocol::Icmp,
            (Self::ICMPV6, Family::V6) => Protocol::IcmpV6,
            _ => Protocol::Other,
        }
    }

    /// Whether rules may name ports of it.
    #[must_use]
    pub fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }

    /// Whether rules may name messages of it.
    #[must_use]
    pub fn is_icmp(self) -> bool {
        matches!(self, Self::ICMP | Self::ICMPV6)
    }
}

impl Display for IpProtocol {
    /// Its name, or its number.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match Self::NAMED.iter().find(|one| one.1 == *self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// ICMP messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Icmp {
    /// Their type.
    pub kind: u8,
    /// Their code; `None` is any.
    pub code: Option<u8>,
}

/// Ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ports {
    /// From the first to the last, both included.
    Range(u16, u16),
    /// What the pod at that end calls by this name, in the traffic's protocol if one is given.
    Named(String),
}

impl Listed {
    /// As written.
    #[must_use]
    pub fn rule(rule: Rule) -> Self {
        Self::Rule(Box::new(rule))
    }

    /// What a rule with this action is that cannot be read; `None` is an action that cannot.
    #[must_use]
    pub fn closed(action: Option<Action>) -> Self {
        match action {
            Some(Action::Allow | Action::Log) => Self::Nothing,
            // What a rule passes is spared the rules that follow, which may allow it.
            Some(Action::Deny | Action::Pass) | None => Self::DenyAll,
        }
    }

    /// The same where nothing may be opened.
    #[must_use]
    pub fn shut(self) -> Self {
        match self {
            Self::Rule(rule) if matches!(rule.action, Action::Allow | Action::Pass) => {
                Self::closed(Some(rule.action))
            }
            stays => stays,
        }
    }
}

impl Action {
    /// What a broken part of such a rule does, for messages.
    pub(super) fn consequence(action: Option<Self>) -> &'static str {
        match Listed::closed(action) {
            Listed::DenyAll => "until then the rule denies everything to whom the policy selects",
            _ => "until then the whole rule matches nothing",
        }
    }
}
