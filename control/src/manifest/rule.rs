//! One rule of a policy as written: peers and ports, read closed (NP-59).
//!
//! An absent and an empty list mean everything (NP-9), so a rule with one broken part is broken
//! as a whole: leaving the part out could leave an empty list. A broken rule opens nothing.

use ipnet::IpNet;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::Direction;
use serde::{Deserialize, Serialize};

use super::block;
use super::fields::{Broken, Place, Report, all};
use super::labels;
use super::problem::quoted;
use super::tree::Value;
use crate::selector::{LabelSelector, is_port_name};

/// What a broken part of a rule does.
const CONSEQUENCE: &str = "until then the whole rule opens nothing";

/// A rule: ANY of its peers AND ANY of its ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Who is at the other end; none listed is everyone.
    pub peers: Vec<Peer>,
    /// Which target ports; none listed is all of every protocol.
    pub ports: Vec<PortPattern>,
}

/// Who can be at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Peer {
    /// Pods. At least one of the two is given.
    Pods {
        /// In which namespaces; `None` is the policy's own.
        namespaces: Option<LabelSelector>,
        /// With which labels; `None` is any.
        pods: Option<LabelSelector>,
    },
    /// Addresses, whoever has them (NP-32).
    Block {
        /// Masked to its length.
        cidr: IpNet,
        /// Strict parts of `cidr` that are left out.
        except: Vec<IpNet>,
    },
}

/// One entry of a rule's `ports`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortPattern {
    /// TCP, UDP or SCTP.
    #[serde(with = "super::protocol")]
    pub protocol: Protocol,
    /// Which ports of it.
    pub which: WhichPorts,
}

/// Ports of one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WhichPorts {
    /// Every port (NP-20).
    All,
    /// From the first to the last, both included.
    Range(u16, u16),
    /// What the target pod calls by this name, in this protocol (NP-22).
    Named(String),
}

/// Reads one item of `ingress` or `egress`.
pub(crate) fn rule(
    at: &Place<'_>,
    direction: Direction,
    report: &mut Report<'_>,
) -> Result<Rule, Broken> {
    let (what, peers) = match direction {
        Direction::Ingress => ("an ingress rule", "from"),
        Direction::Egress => ("an egress rule", "to"),
    };
    report.within(CONSEQUENCE, |report| {
        let is_closed = at.closed(report, what, &[peers, "ports"]);
        let peers = at.field(peers).map_or(Ok(Vec::new()), |place| {
            let items = place.items(report, peers)?;
            all(items.iter().map(|item| peer(item, report)))
        });
        let ports = at.field("ports").map_or(Ok(Vec::new()), |place| {
            let items = place.items(report, "ports")?;
            all(items.iter().map(|item| port(item, report)))
        });
        is_closed?;
        Ok(Rule { peers: peers?, ports: ports? })
    })
}

fn peer(at: &Place<'_>, report: &mut Report<'_>) -> Result<Peer, Broken> {
    let is_closed = at.closed(report, "a peer", &["podSelector", "namespaceSelector", "ipBlock"]);
    let mut selector = |name| at.field(name).map(|place| labels::selector(&place, report));
    let (pods, namespaces) = (selector("podSelector"), selector("namespaceSelector"));
    let block = at.field("ipBlock").map(|place| ip_block(&place, report));
    is_closed?;
    match (pods, namespaces, block) {
        (None, None, None) => {
            let remedy = "add podSelector, namespaceSelector or ipBlock";
            Err(report.error(at, "the peer names nobody", remedy))
        }
        (None, None, Some(block)) => block,
        (_, _, Some(_)) => {
            let message = "a peer is an ipBlock or pods, not both";
            Err(report.error(at, message, "make them two items of the list"))
        }
        (pods, namespaces, None) => {
            Ok(Peer::Pods { pods: pods.transpose()?, namespaces: namespaces.transpose()? })
        }
    }
}

fn ip_block(at: &Place<'_>, report: &mut Report<'_>) -> Result<Peer, Broken> {
    at.closed(report, "an ipBlock", &["cidr", "except"])?;
    let Some(cidr_at) = at.field("cidr") else {
        let remedy = "add cidr, e.g. 10.0.0.0/8";
        return Err(report.error(&at.missing("cidr"), "the ipBlock has no cidr", remedy));
    };
    let cidr = cidr(&cidr_at, report);
    let except = at.field("except").map_or(Ok(Vec::new()), |place| {
        let items = place.items(report, "except")?;
        all(items.iter().map(|item| exception(item, cidr, report)))
    });
    Ok(Peer::Block { cidr: cidr?, except: except? })
}

pub(crate) fn cidr(at: &Place<'_>, report: &mut Report<'_>) -> Result<IpNet, Broken> {
    let text = at.text(report, "a CIDR")?;
    let Some(written) = block::cidr(text) else {
        let message = format!("{} is not a CIDR", quoted(text));
        let remedy = if text.contains('/') || block::address(text).is_none() {
            "write address/length, e.g. 10.0.0.0/8"
        } else if text.contains(':') {
            "add a length: /128 for one address"
        } else {
            "add a length: /32 for one address"
        };
        return Err(report.error(at, &message, remedy));
    };
    for oddity in written.oddities {
        let message = format!("{} {oddity}", quoted(text));
        report.warning(at, &message, &format!("write {}", written.cidr));
    }
    Ok(written.cidr)
}

fn exception(
    at: &Place<'_>,
    block: Result<IpNet, Broken>,
    report: &mut Report<'_>,
) -> Result<IpNet, Broken> {
    let except = cidr(at, report)?;
    let block = block?;
    if block.contains(&except) && block.prefix_len() < except.prefix_len() {
        return Ok(except);
    }
    let message = format!("{except} is not a part of {block}, smaller than it");
    Err(report.error(at, &message, "name a smaller block inside cidr"))
}

fn port(at: &Place<'_>, report: &mut Report<'_>) -> Result<PortPattern, Broken> {
    let is_closed = at.closed(report, "a port", &["protocol", "port", "endPort"]);
    let protocol = at.field("protocol").map_or(Ok(Protocol::Tcp), |place| protocol(&place, report));
    let first = at.field("port").map(|place| port_or_name(&place, report)).transpose();
    let last = at.field("endPort").map(|place| Ok((number(&place, report)?, place))).transpose();
    is_closed?;
    let (protocol, first, last) = (protocol?, first?, last?);
    let which = match (first, last) {
        (None, None) => WhichPorts::All,
        (Some(named @ WhichPorts::Named(_)), None) => named,
        (Some(WhichPorts::Range(first, _)), Some((last, _))) if last >= first => {
            WhichPorts::Range(first, last)
        }
        (Some(one), None) => one,
        (first, Some((last, place))) => {
            let message = match first {
                None => "endPort needs port".to_owned(),
                Some(WhichPorts::Range(first, _)) => {
                    format!("endPort {last} is below port {first}")
                }
                Some(_) => "endPort cannot follow a named port".to_owned(),
            };
            return Err(report.error(&place, &message, "give port a number not above endPort"));
        }
    };
    Ok(PortPattern { protocol, which })
}

/// Reads a protocol that has ports; names are in capitals (NP-20).
pub(crate) fn protocol(at: &Place<'_>, report: &mut Report<'_>) -> Result<Protocol, Broken> {
    match at.text(report, "protocol")? {
        "TCP" => Ok(Protocol::Tcp),
        "UDP" => Ok(Protocol::Udp),
        "SCTP" => Ok(Protocol::Sctp),
        other => {
            let message = format!("{} is not a protocol with ports", quoted(other));
            Err(report.error(at, &message, "write TCP, UDP or SCTP"))
        }
    }
}

fn port_or_name(at: &Place<'_>, report: &mut Report<'_>) -> Result<WhichPorts, Broken> {
    let Value::Text(name) = &at.node.value else {
        return number(at, report).map(|port| WhichPorts::Range(port, port));
    };
    if is_port_name(name) {
        return Ok(WhichPorts::Named(name.clone()));
    }
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty();
    let message = format!("{} in quotes is a port's name, and no port can have it", quoted(name));
    let remedy = if is_number {
        "write the number without quotes"
    } else {
        "use up to 15 lower-case letters, digits and -, with a letter"
    };
    Err(report.error(at, &message, remedy))
}

/// Reads a port number.
pub(crate) fn number(at: &Place<'_>, report: &mut Report<'_>) -> Result<u16, Broken> {
    let written = match &at.node.value {
        Value::Integer(number) => match u16::try_from(*number) {
            Ok(port) if port > 0 => return Ok(port),
            _ => number.to_string(),
        },
        Value::Number(written) => written.clone(),
        _ => return Err(at.mistyped(report, "a port", "a number")),
    };
    let message = format!("{} is not a port", super::escape(&written));
    Err(report.error(at, &message, "write a whole decimal number, 1 to 65535"))
}
