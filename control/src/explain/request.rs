//! What is asked, and what rules see of it.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use lockgate_dataplane::packet::{FlowKey, Protocol};
use lockgate_dataplane::policy::ruleset::Service;

use super::{ExplainError, Subject};
use crate::policy::{Family, IpProtocol};

/// A protocol as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedProtocol {
    /// ICMP, whichever of the two is of the version of IP that is spoken.
    Icmp,
    /// This number of the IP header.
    Number(IpProtocol),
}

impl AskedProtocol {
    /// Its number in this version of IP.
    #[must_use]
    pub fn number(self, family: Family) -> IpProtocol {
        match (self, family) {
            (Self::Icmp, Family::V4) => IpProtocol::ICMP,
            (Self::Icmp, Family::V6) => IpProtocol::ICMPV6,
            (Self::Number(number), _) => number,
        }
    }

    fn has_ports(self) -> bool {
        matches!(self, Self::Number(number) if number.has_ports())
    }

    fn is_icmp(self) -> bool {
        match self {
            Self::Icmp => true,
            Self::Number(number) => number.is_icmp(),
        }
    }
}

impl Display for AskedProtocol {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Icmp => IpProtocol::ICMP.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who sends.
    pub from: Subject,
    /// Who receives.
    pub to: Subject,
    /// In which protocol.
    pub protocol: AskedProtocol,
    /// The target port; needed for TCP, UDP and SCTP, none for others.
    pub port: Option<u16>,
    /// The source port, of what has ports; `None` is the highest, which rules seldom name.
    pub source_port: Option<u16>,
    /// The ICMP type; `None` is an echo request.
    pub icmp_type: Option<u8>,
    /// The ICMP code; needs a type. `None` is 0.
    pub icmp_code: Option<u8>,
    /// Which family; `None` is the first that both share, in the order of the source's.
    pub family: Option<Family>,
}

impl Request {
    /// What a packet of this flow asks, as whoever has its addresses now.
    #[must_use]
    pub fn of(key: &FlowKey) -> Self {
        let protocol = AskedProtocol::Number(IpProtocol(key.number));
        let ports = key.protocol.has_ports().then_some((key.source_port, key.target_port));
        let message = key.protocol.has_messages().then(|| key.target_port.to_be_bytes());
        Self {
            from: Subject::Address(IpAddr::from(key.source)),
            to: Subject::Address(IpAddr::from(key.target)),
            protocol,
            port: ports.map(|ports| ports.1),
            source_port: ports.map(|ports| ports.0),
            icmp_type: message.map(|[kind, _]| kind),
            icmp_code: message.map(|[_, code]| code),
            family: None,
        }
    }

    /// Whether the question can be asked.
    ///
    /// # Errors
    /// The protocol, the ports and the ICMP type do not go together.
    pub fn check(&self) -> Result<(), ExplainError> {
        let Self { protocol, .. } = *self;
        if protocol.is_icmp() {
            if self.icmp_type.is_none() && self.icmp_code.is_some() {
                return Err(ExplainError::CodeWithoutType);
            }
        } else if self.icmp_type.is_some() || self.icmp_code.is_some() {
            return Err(ExplainError::NotIcmp(protocol));
        }
        check_port(protocol, self.port)?;
        match self.source_port {
            Some(_) if !protocol.has_ports() => Err(ExplainError::NoPorts(protocol)),
            _ => Ok(()),
        }
    }

    /// What rules see of the packet. A question that [`check`](Self::check) refuses is taken to have
    /// port 0.
    #[must_use]
    pub fn service(&self, family: Family) -> Service {
        let Self { protocol, port, source_port, icmp_type, icmp_code, .. } = *self;
        service(protocol, family, (port, source_port), (icmp_type, icmp_code))
    }
}

/// What rules see of a packet: ports of the target and of the source, type and code.
pub(crate) fn service(
    asked: AskedProtocol,
    family: Family,
    (port, source_port): (Option<u16>, Option<u16>),
    (kind, code): (Option<u8>, Option<u8>),
) -> Service {
    let number = asked.number(family);
    let protocol = number.within(family);
    let echo = if protocol == Protocol::Icmp { 8 } else { 128 };
    let port = match protocol {
        Protocol::Icmp | Protocol::IcmpV6 => {
            FlowKey::message(kind.unwrap_or(echo), code.unwrap_or(0))
        }
        Protocol::Other => number.0.into(),
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp => port.unwrap_or(0),
    };
    let plain = Service::to(protocol, port);
    Service { source_port: source_port.unwrap_or(plain.source_port), ..plain }
}

/// Whether there is a port where one is needed, and none where not.
pub(crate) fn check_port(protocol: AskedProtocol, port: Option<u16>) -> Result<(), ExplainError> {
    match (protocol.has_ports(), port) {
        (false, None) | (true, Some(_)) => Ok(()),
        (false, Some(_)) => Err(ExplainError::NoPorts(protocol)),
        (true, None) => Err(ExplainError::PortNeeded(protocol)),
    }
}

/// Reads a protocol as typed, in any case, or by its number.
///
/// # Errors
/// It is none.
pub fn parse_protocol(text: &str) -> Result<AskedProtocol, ExplainError> {
    let number = || text.parse().ok().map(IpProtocol);
    match IpProtocol::named(text) {
        Some(IpProtocol::ICMP) => Ok(AskedProtocol::Icmp),
        named => named
            .or_else(number)
            .map(AskedProtocol::Number)
            .ok_or_else(|| ExplainError::NotAProtocol(text.to_owned())),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(crate) fn serialize_protocol<S: serde::Serializer>(
    protocol: &AskedProtocol,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(protocol)
}
