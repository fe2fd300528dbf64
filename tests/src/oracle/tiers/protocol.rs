//! Which protocol and which messages a rule of Calico means (CAL-13).
//!
//! A protocol is its number in the IP header, whatever the version of IP: 1 is ICMP in IPv4 and
//! 58 is `ICMPv6` in IPv6, and only these have messages. In the other version either is a number
//! like any, which a rule can mean by its protocol alone.

use lockgate_dataplane::packet::Protocol;
use serde_json::Value;

use super::super::Broken;
use super::super::judge::Asked;
use super::super::reading::{field, only};

const TCP: u64 = 6;
const UDP: u64 = 17;
const SCTP: u64 = 132;
const ICMP: u64 = 1;
const ICMP_V6: u64 = 58;
const UDP_LITE: u64 = 136;

const NAMES: [(&str, u64); 6] = [
    ("TCP", TCP),
    ("UDP", UDP),
    ("SCTP", SCTP),
    ("ICMP", ICMP),
    ("ICMPv6", ICMP_V6),
    ("UDPLite", UDP_LITE),
];

/// A message: its type, and its code where one is given.
type Message = (u64, Option<u64>);

/// The number in the IP header of what is asked about.
pub(super) fn number(asked: &Asked<'_>) -> u64 {
    match asked.protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Sctp => SCTP,
        Protocol::Icmp => ICMP,
        Protocol::IcmpV6 => ICMP_V6,
        Protocol::Other => asked.port.into(),
    }
}

/// Whether a rule of the protocol may name ports.
pub(super) fn has_ports(number: u64) -> bool {
    matches!(number, TCP | UDP | SCTP)
}

/// The `protocol` or `notProtocol` of a rule, by its number.
pub(super) fn given(rule: &Value, name: &str) -> Result<Option<u64>, Broken> {
    field(rule, name).map(read).transpose()
}

/// By name, in any case of letters, or by number.
fn read(written: &Value) -> Result<u64, Broken> {
    let by_name = |text: &str| {
        let known = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        known.map(|(_, number)| *number)
    };
    let number = match written.as_str() {
        Some(text) => by_name(text),
        None => written.as_u64().filter(|number| (1..=255).contains(number)),
    };
    number.ok_or(Broken("no such protocol"))
}

/// Whether what is asked about is of the rule's protocol and one of its messages.
pub(super) fn matches(rule: &Value, asked: &Asked<'_>) -> Result<bool, Broken> {
    let own = number(asked);
    let is_of_protocol = given(rule, "protocol")?.is_none_or(|one| one == own);
    let is_of_other = given(rule, "notProtocol")?.is_none_or(|one| one != own);
    let meant = message(rule, "icmp")?;
    let not_meant = message(rule, "notICMP")?;
    // What has no messages is neither one of these nor another.
    let is_message = match (meant, not_meant) {
        (None, None) => true,
        _ if !asked.protocol.has_messages() => false,
        _ => {
            meant.is_none_or(|one| is(one, asked.port))
                && not_meant.is_none_or(|one| !is(one, asked.port))
        }
    };
    Ok(is_of_protocol && is_of_other && is_message)
}

/// The `icmp` or `notICMP` of a rule; without a type it says nothing.
fn message(rule: &Value, name: &str) -> Result<Option<Message>, Broken> {
    let Some(written) = field(rule, name) else { return Ok(None) };
    only(written, &["type", "code"])?;
    if !matches!(given(rule, "protocol")?, Some(ICMP | ICMP_V6)) {
        return Err(Broken("messages are of ICMP or ICMPv6"));
    }
    let up_to = |name, last| match field(written, name) {
        None => Ok(None),
        Some(value) => {
            let number = value.as_u64().filter(|number| *number <= last);
            number.map(Some).ok_or(Broken("not a type or code of a message"))
        }
    };
    match (up_to("type", 254)?, up_to("code", 255)?) {
        (Some(kind), code) => Ok(Some((kind, code))),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Broken("a code needs a type")),
    }
}

/// Whether the message that stands for a port is this.
fn is((kind, code): Message, port: u16) -> bool {
    let [own_kind, own_code] = port.to_be_bytes().map(u64::from);
    own_kind == kind && code.is_none_or(|code| own_code == code)
}
