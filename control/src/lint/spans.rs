//! Sets of numbers as spans, exactly: addresses of both families, ports of each protocol.

use std::ops::RangeInclusive;

use ipnet::IpNet;
use lockgate_dataplane::packet::Protocol;
use lockgate_dataplane::policy::ruleset::{PortRange, Ports};

/// In which space, the first and the last.
type Span = (u8, u128, u128);

/// Spans, ascending; none overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spans(Vec<Span>);

/// Packets: who is at the other end, and which traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packets {
    pub(super) peers: Spans,
    pub(super) traffic: Spans,
}

impl Spans {
    fn new(mut spans: Vec<Span>) -> Self {
        spans.sort_unstable();
        let mut all: Vec<Span> = Vec::with_capacity(spans.len());
        for one in spans {
            match all.last_mut() {
                Some(last) if last.0 == one.0 && last.2 >= one.1 => last.2 = last.2.max(one.2),
                _ => all.push(one),
            }
        }
        Self(all)
    }

    /// Every address of these nets.
    pub(super) fn of_nets<'n>(nets: impl IntoIterator<Item = &'n IpNet>) -> Self {
        Self::new(nets.into_iter().map(net).collect())
    }

    /// Every address there is.
    pub(super) fn all_addresses() -> Self {
        Self(vec![(4, 0, u32::MAX.into()), (6, 0, u128::MAX)])
    }

    /// What a rule says of traffic: a space for each protocol. Ranges by the port of the source
    /// are as if they were for any, or `by_source` is false and they are left out.
    pub(super) fn of_ports(ports: &Ports, by_source: bool) -> Self {
        let ports_of = |protocol, range: RangeInclusive<u16>| {
            (protocol as u8, u128::from(*range.start()), u128::from(*range.end()))
        };
        match ports {
            Ports::Any => Self::new(
                Protocol::ALL
                    .into_iter()
                    .map(|one| {
                        ports_of(one, 0..=if one == Protocol::Other { 255 } else { u16::MAX })
                    })
                    .collect(),
            ),
            Ports::Ranges(ranges) => Self::new(
                ranges
                    .iter()
                    .filter(|range| by_source || range.source == PortRange::ANY_SOURCE)
                    .map(|range| ports_of(range.protocol, range.first..=range.last))
                    .collect(),
            ),
        }
    }

    /// In either.
    pub(super) fn or(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&other.0).copied().collect())
    }

    /// In both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let both = self.0.iter().flat_map(|one| {
            let meeting = other.meeting(one).iter();
            meeting.map(|cut| (one.0, one.1.max(cut.1), one.2.min(cut.2)))
        });
        Self(both.collect())
    }

    /// In this and not in that.
    pub(super) fn less(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for one in &self.0 {
            let mut from = Some(one.1);
            for cut in other.meeting(one) {
                let before = cut.1.checked_sub(1);
                let kept = from.zip(before).filter(|(from, before)| from <= before);
                left.extend(kept.map(|(from, before)| (one.0, from, before)));
                from = cut.2.checked_add(1).filter(|next| *next <= one.2);
            }
            left.extend(from.map(|from| (one.0, from, one.2)));
        }
        Self(left)
    }

    /// The least number alone.
    fn least(&self) -> Self {
        Self(self.0.first().map(|one| (one.0, one.1, one.1)).into_iter().collect())
    }

    fn meets(&self, other: &Self) -> bool {
        let (few, many) = if self.0.len() < other.0.len() { (self, other) } else { (other, self) };
        few.0.iter().any(|one| !many.meeting(one).is_empty())
    }

    /// The spans that overlap one.
    fn meeting(&self, one: &Span) -> &[Span] {
        let begin = self.0.partition_point(|it| (it.0, it.2) < (one.0, one.1));
        let rest = self.0.get(begin..).unwrap_or_default();
        let end = rest.partition_point(|it| (it.0, it.1) <= (one.0, one.2));
        rest.get(..end).unwrap_or_default()
    }
}

impl Packets {
    /// Everything.
    pub(super) fn all() -> Self {
        Self { peers: Spans::all_addresses(), traffic: Spans::of_ports(&Ports::Any, true) }
    }

    /// All of these, those of one kind of traffic as one.
    pub(super) fn joined<'p>(parts: impl Iterator<Item = &'p Self>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for part in parts {
            match all.iter_mut().find(|one| one.traffic == part.traffic) {
                Some(known) => known.peers = known.peers.or(&part.peers),
                None => all.push(part.clone()),
            }
        }
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.peers.0.is_empty() || self.traffic.0.is_empty()
    }

    /// One of them.
    pub(super) fn sample(&self) -> Self {
        Self { peers: self.peers.least(), traffic: self.traffic.least() }
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.traffic.meets(&other.traffic) && self.peers.meets(&other.peers)
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self { peers: self.peers.and(&other.peers), traffic: self.traffic.and(&other.traffic) }
    }

    /// These and not those, in up to two parts.
    pub(super) fn less(self, other: &Self) -> Vec<Self> {
        if !self.meets(other) {
            return vec![self];
        }
        let peers = self.peers.and(&other.peers);
        let inside = Self { peers, traffic: self.traffic.less(&other.traffic) };
        let outside = Self { peers: self.peers.less(&other.peers), traffic: self.traffic };
        [outside, inside].into_iter().filter(|part| !part.is_empty()).collect()
    }
}

fn net(net: &IpNet) -> Span {
    match net {
        IpNet::V4(net) => (4, net.network().to_bits().into(), net.broadcast().to_bits().into()),
        IpNet::V6(net) => (6, net.network().to_bits(), net.broadcast().to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans() -> impl Strategy<Value = Spans> {
        let span =
            (1..3u8, 0..12u128, 0..4u128).prop_map(|(space, at, more)| (space, at, at + more));
        proptest::collection::vec(span, 0..5).prop_map(Spans::new)
    }

    fn has(spans: &Spans, space: u8, number: u128) -> bool {
        spans.0.iter().any(|one| one.0 == space && (one.1..=one.2).contains(&number))
    }

    proptest! {
        #[test]
        fn spans_are_what_their_numbers_are(a in spans(), b in spans()) {
            let (and, or, less) = (a.and(&b), a.or(&b), a.less(&b));
            for (space, number) in (1..3).flat_map(|space| (0..17).map(move |one| (space, one))) {
                let (of_a, of_b) = (has(&a, space, number), has(&b, space, number));
                prop_assert_eq!(has(&and, space, number), of_a && of_b);
                prop_assert_eq!(has(&or, space, number), of_a || of_b);
                prop_assert_eq!(has(&less, space, number), of_a && !of_b);
            }
            prop_assert_eq!(a.meets(&b), !and.0.is_empty());
        }

        #[test]
        fn packets_are_what_their_numbers_are(a in spans(), b in spans(), c in spans(), d in spans()) {
            let of = |peers: &Spans, traffic: &Spans| Packets {
                peers: peers.clone(),
                traffic: traffic.clone(),
            };
            let less = of(&a, &b).less(&of(&c, &d));
            let less = |at, port| {
                less.iter().any(|one| has(&one.peers, 1, at) && has(&one.traffic, 1, port))
            };
            for (at, port) in (0..17).flat_map(|at| (0..17).map(move |port| (at, port))) {
                let is_in = has(&a, 1, at) && has(&b, 1, port);
                let is_out = has(&c, 1, at) && has(&d, 1, port);
                prop_assert_eq!(less(at, port), is_in && !is_out);
            }
        }
    }

    #[test]
    fn the_last_numbers_are_no_edge_to_fall_over() {
        let all = Spans::all_addresses();
        let halves =
            ["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"].map(|one| one.parse().unwrap());
        assert_eq!(all.less(&Spans::of_nets(&halves)), Spans(vec![]));
        assert_eq!(all.less(&all), Spans(vec![]));
        assert!(!Spans::of_nets(&["::/0".parse().unwrap()]).meets(&Spans::of_nets(&halves[..2])));
    }
}
