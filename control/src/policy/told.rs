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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Family;

    const WEB: u16 = 81;

    fn is_called(name: &str, number: u16) -> bool {
        name == "web" && number == WEB
    }

    /// A packet: number of the header, version of IP, type and code or ports of target and source.
    type Packet = (u8, Family, u16, u16);

    /// What the words say, read one by one.
    fn means(traffic: &Traffic, (number, family, port, source_port): Packet) -> bool {
        let protocol = IpProtocol(number);
        let is_message = matches!(
            (protocol, family),
            (IpProtocol::ICMP, Family::V4) | (IpProtocol::ICMPV6, Family::V6)
        );
        let is_this = |icmp: Icmp| {
            let [kind, code] = port.to_be_bytes();
            is_message && kind == icmp.kind && icmp.code.is_none_or(|wanted| wanted == code)
        };
        let is_in = |list: &[Ports], number| {
            list.iter().any(|ports| match ports {
                Ports::Range(first, last) => (*first..=*last).contains(&number),
                Ports::Named(name) => is_called(name, number),
            })
        };
        let fits = |only: &Option<Vec<Ports>>, not: &[Ports], number| {
            (only.is_none() && not.is_empty())
                || protocol.has_ports()
                    && only.as_ref().is_none_or(|only| is_in(only, number))
                    && !is_in(not, number)
        };
        traffic.protocol.is_none_or(|only| only == protocol)
            && traffic.not_protocol != Some(protocol)
            && traffic.icmp.is_none_or(is_this)
            && traffic.not_icmp.is_none_or(|icmp| is_message && !is_this(icmp))
            && fits(&traffic.source_ports, &traffic.not_source_ports, source_port)
            && fits(&traffic.target_ports, &traffic.not_target_ports, port)
    }

    fn tells(traffic: &Traffic, (number, family, port, source_port): Packet) -> bool {
        let protocol = IpProtocol(number).within(family);
        let port = if protocol == Protocol::Other { number.into() } else { port };
        let Some(told) = tell(traffic) else { return true };
        told.iter().any(|one| {
            one.protocol == protocol
                && one.target.has(port, |name| is_called(name, port))
                && (!protocol.has_ports()
                    || one.source.has(source_port, |name| is_called(name, source_port)))
        })
    }

    fn protocol() -> impl Strategy<Value = Option<IpProtocol>> {
        prop::option::of(
            prop::sample::select(&[1_u8, 6, 17, 47, 58, 132, 255][..]).prop_map(IpProtocol),
        )
    }

    fn icmp() -> impl Strategy<Value = Option<Icmp>> {
        let one = (prop::sample::select(&[0_u8, 8, 254][..]), prop::option::of(0..2_u8));
        prop::option::weighted(0.3, one.prop_map(|(kind, code)| Icmp { kind, code }))
    }

    fn ports() -> impl Strategy<Value = Vec<Ports>> {
        let port = prop::sample::select(&[0_u16, 79, 80, 81, 65_535][..]);
        let one = prop_oneof![
            3 => (port.clone(), port).prop_map(|(a, b)| Ports::Range(a.min(b), a.max(b))),
            1 => Just(Ports::Named("web".to_owned())),
            1 => Just(Ports::Named("nobodys".to_owned())),
        ];
        prop::collection::vec(one, 0..3)
    }

    prop_compose! {
        /// As rules may be: messages have a protocol that has them, and so have ports.
        fn traffic()(
            protocol in protocol(),
            not_protocol in protocol(),
            (icmp, not_icmp) in (icmp(), icmp()),
            (source_ports, target_ports) in (prop::option::weighted(0.3, ports()), prop::option::weighted(0.4, ports())),
            (not_source_ports, not_target_ports) in (ports(), ports()),
            plain in any::<bool>(),
        ) -> Traffic {
            let all = Traffic { family: None, protocol, not_protocol, icmp, not_icmp, source_ports, not_source_ports, target_ports, not_target_ports };
            let is_icmp = protocol.is_some_and(IpProtocol::is_icmp);
            let has_ports = protocol.is_none_or(IpProtocol::has_ports) && !plain;
            let all = if is_icmp { all } else { Traffic { icmp: None, not_icmp: None, ..all } };
            if has_ports {
                return all;
            }
            Traffic {
                source_ports: None,
                not_source_ports: Vec::new(),
                target_ports: None,
                not_target_ports: Vec::new(),
                ..all
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_told_is_what_the_words_say(traffic in traffic()) {
            let messages = [(0_u8, 0_u8), (8, 0), (8, 1), (8, 2), (254, 0), (255, 255)];
            let messages = messages.map(|(kind, code)| FlowKey::message(kind, code));
            let numbers = [0_u16, 1, 78, 79, 80, 81, 82, 65_534, 65_535];
            for number in [0_u8, 1, 6, 17, 47, 58, 132, 255] {
                for family in [Family::V4, Family::V6] {
                    let has_ports = IpProtocol(number).has_ports();
                    let ports: &[u16] = if has_ports { &numbers } else { &messages };
                    for &port in ports {
                        for source in if has_ports { &numbers[..] } else { &[0] } {
                            let packet = (number, family, port, *source);
                            prop_assert_eq!(tells(&traffic, packet), means(&traffic, packet), "{:?}", packet);
                        }
                    }
                }
            }
        }
    }
}
