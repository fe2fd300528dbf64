//! Kinds of traffic as the tables tell them apart: ports of protocols, and what stands for ports.

use std::iter::once;

use lockgate_dataplane::packet::{FlowKey, Protocol};

use super::rule::{Icmp, IpProtocol, Ports, Traffic};

/// From the first to the last, both included.
pub type Span = (u16, u16);

/// All ports, all messages.
pub const EVERY: Span = (0, u16::MAX);
/// All protocols that are only a number.
const NUMBERS: Span = (0, 255);

/// Traffic of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<'t> {
    /// The protocol.
    pub protocol: Protocol,
    /// Ports of the source.
    pub source: Numbers<'t>,
    /// Ports of the target, or what stands for them.
    pub target: Numbers<'t>,
}

/// Which ports: within one of `spans`, or with one of these names; and with none of those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers<'t> {
    /// These, less those that are not meant.
    pub spans: Vec<Span>,
    /// What the pod calls so, too.
    pub named: Vec<&'t str>,
    /// Whatever it is called, not these.
    pub not: Vec<Span>,
    /// Not what the pod calls so.
    pub not_named: Vec<&'t str>,
}

/// Traffic by protocol; `None` is all there is.
#[must_use]
pub fn tell(traffic: &Traffic) -> Option<Vec<Told<'_>>> {
    let source = Numbers::of(traffic.source_ports.as_deref(), &traffic.not_source_ports);
    let target = Numbers::of(traffic.target_ports.as_deref(), &traffic.not_target_ports);
    let has_ports = source.is_some() || target.is_some();
    if !has_ports && traffic.protocol.is_none() && traffic.not_protocol.is_none() {
        return None;
    }
    let (source, target) = (source.unwrap_or_default(), target.unwrap_or_default());
    let told = Protocol::ALL.into_iter().filter_map(|protocol| {
        let spans = spans(protocol, traffic);
        if spans.is_empty() || (has_ports && !protocol.has_ports()) {
            return None;
        }
        let (source, target) = if protocol.has_ports() {
            (source.clone(), target.clone())
        } else {
            (Numbers::default(), Numbers { spans, ..Numbers::default() })
        };
        Some(Told { protocol, source, target })
    });
    Some(told.collect())
}

/// What of a protocol is meant, before its ports are asked for.
fn spans(protocol: Protocol, traffic: &Traffic) -> Vec<Span> {
    let Traffic { protocol: only, not_protocol: not, icmp, not_icmp, .. } = *traffic;
    let is = |number: IpProtocol| {
        only.is_none_or(|only| only == number) && not.is_none_or(|not| not != number)
    };
    let every = |number| if is(number) { vec![EVERY] } else { Vec::new() };
    match protocol {
        Protocol::Tcp => every(IpProtocol::TCP),
        Protocol::Udp => every(IpProtocol::UDP),
        Protocol::Sctp => every(IpProtocol::SCTP),
        Protocol::Icmp if is(IpProtocol::ICMP) => messages(icmp, not_icmp),
        Protocol::IcmpV6 if is(IpProtocol::ICMPV6) => messages(icmp, not_icmp),
        Protocol::Icmp | Protocol::IcmpV6 => Vec::new(),
        // ICMP of the other version of IP is known by its number alone, and has no messages.
        Protocol::Other if icmp.is_some() || not_icmp.is_some() => Vec::new(),
        Protocol::Other => {
            let only = only.map_or(NUMBERS, |one| (one.0.into(), one.0.into()));
            let not = not.map(|one| (one.0.into(), one.0.into()));
            not.map_or(vec![only], |not| without(only, not))
        }
    }
}

fn messages(only: Option<Icmp>, not: Option<Icmp>) -> Vec<Span> {
    let span = |Icmp { kind, code }: Icmp| {
        let at = |code| FlowKey::message(kind, code);
        (at(code.unwrap_or(0)), at(code.unwrap_or(u8::MAX)))
    };
    let only = only.map_or(EVERY, span);
    not.map_or(vec![only], |not| without(only, span(not)))
}

impl Default for Numbers<'_> {
    /// Any.
    fn default() -> Self {
        Self { spans: vec![EVERY], named: Vec::new(), not: Vec::new(), not_named: Vec::new() }
    }
}

impl<'t> Numbers<'t> {
    /// Those listed and not unlisted; `None` is any.
    fn of(listed: Option<&'t [Ports]>, unlisted: &'t [Ports]) -> Option<Self> {
        if listed.is_none() && unlisted.is_empty() {
            return None;
        }
        let (not, not_named) = apart(unlisted);
        let (spans, named) = listed.map_or((vec![EVERY], Vec::new()), apart);
        let less = |spans: Vec<Span>, not: &Span| {
            spans.into_iter().flat_map(|span| without(span, *not)).collect()
        };
        let spans = not.iter().fold(spans, less);
        Some(Self { spans, named, not, not_named })
    }

    /// Whether one is meant, where it is known whether the pod calls it by a name.
    #[must_use]
    pub fn has(&self, number: u16, is_named: impl Fn(&str) -> bool) -> bool {
        let is_in = |span: &Span| (span.0..=span.1).contains(&number);
        let is_called = |list: &[&str]| list.iter().any(|name| is_named(name));
        let is_listed = self.spans.iter().any(is_in) || is_called(&self.named);
        is_listed && !self.not.iter().any(is_in) && !is_called(&self.not_named)
    }
}

/// Spans and names.
fn apart(ports: &[Ports]) -> (Vec<Span>, Vec<&str>) {
    let (mut spans, mut names) = (Vec::new(), Vec::new());
    for port in ports {
        match port {
            Ports::Range(first, last) => spans.push((*first, *last)),
            Ports::Named(name) => names.push(name.as_str()),
        }
    }
    (spans, names)
}

/// A span less another.
#[must_use]
pub fn without((first, last): Span, (from, to): Span) -> Vec<Span> {
    let below = from.checked_sub(1).map(|end| (first, last.min(end)));
    let above = to.checked_add(1).map(|begin| (first.max(begin), last));
    once(below).chain(once(above)).flatten().filter(|(first, last)| first <= last).collect()
}
