//! Which traffic a rule of Calico is about, but for the ports, which stand with the ends.

use super::super::read::whole;
use super::super::rule::{Family, Icmp, IpProtocol, Ports, Traffic};
use crate::manifest::fields::{Broken, Place, Report};
use crate::manifest::problem::quoted;
use crate::manifest::tree::Value;

/// Characters of the longest name of a port.
const PORT_NAME_MAX: usize = 128;

/// Reads the version of IP, the protocol and the ICMP message.
pub(super) fn traffic(at: &Place<'_>, report: &mut Report<'_>) -> Result<Traffic, Broken> {
    let family = at.field("ipVersion").map(|at| ip_version(&at, report)).transpose();
    let mut named = |name| at.field(name).map(|at| protocol(&at, report)).transpose();
    let (protocol, not_protocol) = (named("protocol"), named("notProtocol"));
    let mut message = |name| at.field(name).map_or(Ok(None), |at| icmp(&at, report));
    let (icmp, not_icmp) = (message("icmp"), message("notICMP"));
    let (family, protocol, not_protocol) = (family?, protocol?, not_protocol?);
    let (icmp, not_icmp) = (icmp?, not_icmp?);
    let is_icmp = protocol.is_some_and(IpProtocol::is_icmp);
    if (icmp.is_some() || not_icmp.is_some()) && !is_icmp {
        let at = at.missing("protocol");
        let message = "icmp and notICMP need a protocol that has messages";
        return Err(report.error(&at, message, "write ICMP or ICMPv6"));
    }
    Ok(Traffic { family, protocol, not_protocol, icmp, not_icmp, ..Traffic::default() })
}

fn ip_version(at: &Place<'_>, report: &mut Report<'_>) -> Result<Family, Broken> {
    match whole(at, "a version of IP", (4, 6), report)? {
        4 => Ok(Family::V4),
        6 => Ok(Family::V6),
        _ => Err(report.error(at, "there is no IPv5", "write 4 or 6")),
    }
}

/// A name in any case, or a number, in quotes or not.
fn protocol(at: &Place<'_>, report: &mut Report<'_>) -> Result<IpProtocol, Broken> {
    let Value::Text(text) = &at.node.value else {
        let number = whole(at, "a protocol's number", (1, 255), report)?;
        return u8::try_from(number).map(IpProtocol).map_err(|_| Broken);
    };
    let number = || plain(text).and_then(|number| u8::try_from(number).ok()).filter(|one| *one > 0);
    IpProtocol::named(text).or_else(|| number().map(IpProtocol)).ok_or_else(|| {
        let message = format!("{} is not a protocol", quoted(text));
        let remedy = "write TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite or a number, 1 to 255";
        report.error(at, &message, remedy)
    })
}

/// A message without a type is any.
fn icmp(at: &Place<'_>, report: &mut Report<'_>) -> Result<Option<Icmp>, Broken> {
    at.closed(report, "an ICMP message", &["type", "code"])?;
    let mut number =
        |name, what, last| at.field(name).map(|at| whole(&at, what, (0, last), report)).transpose();
    let kind = number("type", "an ICMP type", 254);
    let code = number("code", "an ICMP code", 255);
    let byte = |number: u16| u8::try_from(number).map_err(|_| Broken);
    match (kind?, code?) {
        (None, None) => Ok(None),
        (Some(kind), code) => {
            Ok(Some(Icmp { kind: byte(kind)?, code: code.map(byte).transpose()? }))
        }
        (None, Some(_)) => {
            Err(report.error(&at.missing("type"), "an ICMP code needs its type", "add type"))
        }
    }
}

/// A port: a number, a range `first:last` or a name.
pub(super) fn ports(at: &Place<'_>, report: &mut Report<'_>) -> Result<Ports, Broken> {
    let ports = written_ports(at, report)?;
    if let Ports::Range(0, _) = ports {
        let message = "ports begin with 1: Calico itself takes none that is 0";
        report.warning(at, message, "begin with 1; until then port 0 is meant too");
    }
    Ok(ports)
}

fn written_ports(at: &Place<'_>, report: &mut Report<'_>) -> Result<Ports, Broken> {
    let Value::Text(text) = &at.node.value else {
        let port = whole(at, "a port", (0, u16::MAX), report)?;
        return Ok(Ports::Range(port, port));
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    if is_digits(first) && is_digits(last) {
        if let (Some(first), Some(last)) = (plain(first), plain(last))
            && first <= last
        {
            return Ok(Ports::Range(first, last));
        }
        let message = format!("{} is not a range of ports", quoted(text));
        return Err(report.error(at, &message, "write first:last, e.g. 8000:8999"));
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=PORT_NAME_MAX).contains(&text.len()) && text.bytes().all(is_part) {
        return Ok(Ports::Named(text.clone()));
    }
    let message = format!("{} is not a port", quoted(text));
    Err(report.error(at, &message, "write a number, first:last or the name of a port"))
}

/// Digits that every reader takes for the same number.
fn plain(text: &str) -> Option<u16> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_plain)
}
