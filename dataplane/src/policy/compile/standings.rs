//! The claims that stand at a port while a sweep goes over all of them, by rank.
//!
//! Mostly there are a few: a short sorted list is faster than a tree, and nothing is allocated for
//! it twice. What is beyond stands in a tree, so that no policy makes the sweep slow.

use std::collections::BTreeSet;

use super::super::table::VerdictId;
use super::rules::{Rank, Ruling};

/// So many stand in the list.
const FEW: usize = 32;

/// A claim from its first port on, sorted by rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing {
    pub(super) rank: Rank,
    pub(super) last: u16,
    pub(super) source: (u16, u16),
    pub(super) ruling: Ruling,
}

impl Standing {
    /// Not after any of a tier, and after all of the tiers before it.
    pub(super) fn first_of(tier: u32) -> Self {
        Self {
            rank: Rank { tier, policy: 0, rule: 0 },
            last: 0,
            source: (0, 0),
            ruling: Ruling::Verdict(VerdictId::CLOSED),
        }
    }
}

/// Those that stand.
#[derive(Debug, Default)]
pub(super) struct Standings {
    few: Vec<Standing>,
    many: BTreeSet<Standing>,
}

impl Standings {
    pub(super) fn clear(&mut self) {
        self.few.clear();
        self.many.clear();
    }

    pub(super) fn insert(&mut self, one: Standing) {
        if self.few.len() >= FEW {
            self.many.insert(one);
            return;
        }
        if let Err(place) = self.few.binary_search(&one) {
            self.few.insert(place, one);
        }
    }

    /// The first from this one on that reaches a port. Those that are met and do not are taken away:
    /// no later port is theirs.
    pub(super) fn first_from(&mut self, from: Standing, port: u16) -> Option<Standing> {
        let begin = self.few.partition_point(|one| *one < from);
        let ended = self.few.iter().skip(begin).take_while(|one| one.last < port).count();
        self.few.drain(begin..begin + ended);
        let few = self.few.get(begin).copied();
        loop {
            let many = self.many.range(from..).next().copied();
            match many {
                Some(ended) if ended.last < port => _ = self.many.remove(&ended),
                many => return few.into_iter().chain(many).min(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing(tier: u32, rule: u32, last: u16) -> Standing {
        let rank = Rank { tier, policy: 0, rule };
        Standing { rank, last, ..Standing::first_of(0) }
    }

    proptest! {
        #[test]
        fn the_first_that_reaches_a_port_is_found_among_few_and_many(
            claims in proptest::collection::vec((0..3u32, 0..200u32, 0..100u16), 0..150),
            asked in proptest::collection::vec((0..4u32, 0..100u16), 1..20),
        ) {
            let all: Vec<Standing> =
                claims.into_iter().map(|(tier, rule, last)| standing(tier, rule, last)).collect();
            let mut standings = Standings::default();
            for one in &all {
                standings.insert(*one);
            }
            let mut ports: Vec<u16> = asked.iter().map(|one| one.1).collect();
            ports.sort_unstable();
            for (port, (tier, _)) in ports.into_iter().zip(asked) {
                let from = Standing::first_of(tier);
                let wanted = all.iter().filter(|one| **one >= from && one.last >= port).min();
                let found = standings.first_from(from, port);
                prop_assert_eq!(found.as_ref(), wanted);
            }
        }
    }
}
